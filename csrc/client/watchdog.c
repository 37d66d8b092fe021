#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#include "base/process.h"
#include "base/timer.h"
#include "base/util.h"
#include "client/run.h"
#include "kernel/recover.h"
#include "protocol/limits.h"
#include "protocol/order.h"

/* Beyond its deadline a supervisor that is alive has long begun to thaw. */
#define MARGIN_NS (50 * PF_NS_PER_MS)
/* Death takes far less than the first, but for a thread that is in FIFREEZE or FITHAW; the second
 * is for a machine that is short of processors, and for a recovery that has begun all its turns. */
#define DEATH_NS (50 * PF_NS_PER_MS)
#define SLOW_DEATH_NS (1 * PF_NS_PER_S)
/* How often we look for what nothing tells us of. */
#define LOOK_NS (100 * PF_NS_PER_MS)
/* Where the whole machine stood still (a hypervisor's pause, a processor that was not ours), the
 * deadline has passed for everybody, and we may be the first to wake up. So one look is not enough:
 * the supervisor gets the time between the first and the last of these to do its duty. */
#define OVERDUE_LOOKS 5
#define LOOK_AGAIN_NS (50 * PF_NS_PER_MS)

/* From when on the supervisor's silence is overdue. */
static uint64_t overdue_at(const struct pf_run *run)
{
    uint64_t begun = atomic_load(&run->page->window_ns);
    if (begun == 0)
        return UINT64_MAX;
    uint64_t deadline = atomic_load(&run->page->deadline_ns);
    uint64_t thawed = pf_limit_thawed_ns(pf_order_turns(run->page));
    if (deadline == 0) /* not frozen yet, or not any more */
        return pf_add_ns(begun, pf_add_ns(run->flush_limit_ns, thawed));
    return pf_add_ns(deadline, atomic_load(&run->page->thawing) ? thawed : MARGIN_NS);
}

int pf_leader_is_dead(const struct pf_run *run)
{
    /* SIGKILL ends all threads but one that hangs in FIFREEZE, and as long as that is there, the
     * socket stays open and the pidfd quiet. The leader, who runs the loop, is a zombie by then. */
    if (atomic_load(&run->page->window_ns) == 0)
        return 0;
    char state = pf_process_state(run->supervisor); /* without /proc its deadline will tell */
    return state == 'Z' || state == 'X';
}

int pf_watchdog_check(struct pf_run *run)
{
    uint64_t now = pf_now_ns();
    if (now < overdue_at(run)) {
        atomic_store(&run->overdue_looks, 0);
        return 0;
    }
    /* The watchdog and the caller both look: of two looks at the same time one counts. */
    uint64_t last = atomic_load(&run->overdue_look_ns);
    if (now - last >= LOOK_AGAIN_NS &&
        atomic_compare_exchange_strong(&run->overdue_look_ns, &last, now))
        atomic_fetch_add(&run->overdue_looks, 1);
    return atomic_load(&run->overdue_looks) >= OVERDUE_LOOKS;
}

uint64_t pf_watchdog_next_look(const struct pf_run *run)
{
    uint64_t now = pf_now_ns(), overdue = overdue_at(run);
    if (!run->plan || atomic_load(&run->plan->is_over))
        return UINT64_MAX;
    if (overdue <= now)
        return now + LOOK_AGAIN_NS;
    /* No event tells when a window begins, when its deadline is set, or when the leader dies. */
    uint64_t soon = pf_add_ns(now, LOOK_NS);
    return soon < overdue ? soon : overdue;
}

int pf_wait_for_death(struct pf_run *run, uint64_t timeout_ns)
{
    /* A pidfd is readable when the thread group's last thread has ended (do_notify_pidfd), not
     * before: a thread that hangs in FIFREEZE counts. */
    return pf_wait_readable(run->pidfd, timeout_ns);
}

int pf_is_lost(struct pf_run *run)
{
    pthread_mutex_lock(&run->rescue_lock);
    int lost = run->lost;
    pthread_mutex_unlock(&run->rescue_lock);
    return lost;
}

static uint32_t recover_here(struct pf_run *run, int owner)
{
    return pf_recover(run->page, run->page_fd, run->filesystem_fds, owner, DEATH_NS);
}

/* Returns whether a process goes on thawing, without us. */
static int recover(struct pf_run *run, int *is_dead)
{
    const struct pf_lost lost = {.program = run->program,
                                 .page = run->page,
                                 .page_fd = run->page_fd,
                                 .owner_fd = run->pidfd,
                                 .lock_fd = run->lock_fd,
                                 .directory_fd = run->directory_fd,
                                 .fds = run->filesystem_fds};
    int was_dead = *is_dead;
    /* A thread of this process is faster than another process, and surer: exec may hang while
     * something is frozen. But beside a FIFREEZE that hangs, FITHAW may hang as well, and a process
     * cannot end before a thread of it in FITHAW. */
    if (was_dead && recover_here(run, PF_OWNER_DEAD) == 0)
        return 0;
    int result = -ESRCH;
    if (pf_page_count_needing_thaw(run->page) > 0)
        result = pf_recover_by_process(&lost, SLOW_DEATH_NS);
    if (result != 0)
        *is_dead = pf_wait_for_death(run, SLOW_DEATH_NS);
    if (result < 0 && !was_dead)
        recover_here(run, *is_dead ? PF_OWNER_DEAD : PF_OWNER_DYING);
    return result == 0;
}

void pf_rescue(struct pf_run *run)
{
    pthread_mutex_lock(&run->rescue_lock);
    if (!run->lost) {
        pf_page_note(run->page, PF_TRANSITION_RESCUE, -1, 0);
        /* One owner: nobody thaws beside a supervisor that may wake up again. */
        syscall(SYS_pidfd_send_signal, run->pidfd, SIGKILL, NULL, 0);
        int is_dead = pf_wait_for_death(run, DEATH_NS);
        int goes_on = recover(run, &is_dead);
        if (is_dead)
            pf_page_note(run->page, PF_TRANSITION_DEAD, -1, 0);
        atomic_store(&run->page->window_ns, 0);
        run->has_ended = is_dead && !goes_on;
        run->lost = 1;
    }
    pthread_mutex_unlock(&run->rescue_lock);
}

/* ---- the watchdog --------------------------------------------------------------------------- */

static void *watchdog(void *argument)
{
    struct pf_run *run = argument;
    struct pollfd fds[2] = {{.fd = run->pidfd, .events = POLLIN},
                            {.fd = run->watchdog_fd, .events = POLLIN}};
    while (!atomic_load(&run->watchdog_stop)) {
        uint64_t now = pf_now_ns(), until = pf_watchdog_next_look(run);
        struct timespec left = pf_timespec(until > now ? until - now : 0);
        int count = ppoll(fds, 2, until == UINT64_MAX ? NULL : &left, NULL);
        if (atomic_load(&run->watchdog_stop))
            break;
        if ((count > 0 && fds[0].revents) || pf_leader_is_dead(run) || pf_watchdog_check(run)) {
            pf_rescue(run);
            break;
        }
    }
    return NULL;
}

int pf_watchdog_start(struct pf_run *run, pf_fault *fault)
{
    atomic_store(&run->watchdog_stop, 0);
    /* The embedding process's signals are for its own threads. */
    sigset_t all, before;
    sigfillset(&all);
    int error = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (error == 0) {
        error = pthread_create(&run->watchdog, NULL, watchdog, run);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (error != 0)
        return pf_fail(fault, PF_OP_WATCHDOG, error);
    run->watchdog_runs = 1;
    return 0;
}

void pf_watchdog_end(struct pf_run *run)
{
    if (!run->watchdog_runs)
        return;
    uint64_t count = 1;
    atomic_store(&run->watchdog_stop, 1);
    (void)!PF_RETRY(write(run->watchdog_fd, &count, sizeof count)); /* cannot fail: it is at 0 */
    pthread_join(run->watchdog, NULL);
    (void)!PF_RETRY(read(run->watchdog_fd, &count, sizeof count)); /* back to 0 for the next */
    run->watchdog_runs = 0;
}
