#define _GNU_SOURCE
#include "kernel/recover.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/thread.h"
#include "base/timer.h"
#include "base/util.h"
#include "kernel/rcu.h"
#include "kernel/thaw.h"
#include "protocol/limits.h"
#include "protocol/order.h"

/* How often a thread looks whether a FIFREEZE has returned: no event tells. */
#define LOOK_NS (20 * PF_NS_PER_MS)

struct job {
    struct recovery *recovery;
    struct pf_slot *slot;
    int fd;
    int has_thread;
};

/* What the threads need, even when pf_recover() has returned: the last user frees it. */
struct recovery {
    struct pf_page *page;
    int owner;
    int idle_fd; /* eventfd: nothing is at work any more */
    _Atomic uint32_t at_work;
    _Atomic uint32_t users;
    struct job jobs[];
};

static void leave(struct recovery *recovery)
{
    if (!recovery || atomic_fetch_sub(&recovery->users, 1) > 1)
        return;
    pf_page_unmap(recovery->page);
    pf_close_fd(&recovery->idle_fd);
    free(recovery);
}

/* NULL: no memory, no descriptor. */
static struct recovery *begin(int page_fd, uint32_t count, int owner)
{
    pf_fault ignored;
    struct recovery *recovery = calloc(1, sizeof *recovery + count * sizeof *recovery->jobs);
    if (!recovery)
        return NULL;
    *recovery = (struct recovery){.owner = owner, .users = 1};
    recovery->idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (recovery->idle_fd >= 0 && pf_page_map(&recovery->page, page_fd, &ignored) == 0)
        return recovery;
    leave(recovery);
    return NULL;
}

static void see_to(struct pf_page *page, struct pf_slot *slot, int fd, int owner)
{
    /* Its FIFREEZE may return long before the last thread of the owner dies. */
    while (owner >= 0 && pf_slot_state(slot) == PF_STATE_FREEZING &&
           !pf_wait_readable(owner, LOOK_NS))
        pf_thaw_if_frozen(page, slot, fd);
    if (pf_state_needs_thaw(pf_slot_state(slot)))
        pf_thaw_left(page, slot, fd);
}

static void *run(void *argument)
{
    struct job *job = argument;
    struct recovery *recovery = job->recovery;
    uint64_t one = 1;
    see_to(recovery->page, job->slot, job->fd, recovery->owner);
    pf_close_fd(&job->fd);
    if (atomic_fetch_sub(&recovery->at_work, 1) == 1)
        (void)!PF_RETRY(write(recovery->idle_fd, &one, sizeof one));
    leave(recovery);
    return NULL;
}

static void start_thread(struct recovery *recovery, uint32_t index, int fd)
{
    struct job *job = &recovery->jobs[index];
    pthread_t thread;
    *job = (struct job){.recovery = recovery, .slot = &recovery->page->slots[index]};
    job->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* the caller closes its own when it likes */
    if (job->fd < 0)
        return;
    atomic_fetch_add(&recovery->at_work, 1);
    atomic_fetch_add(&recovery->users, 1);
    job->has_thread = pf_thread_start(&thread, run, job) == 0;
    if (job->has_thread) {
        pthread_detach(thread);
        return;
    }
    atomic_fetch_sub(&recovery->at_work, 1);
    atomic_fetch_sub(&recovery->users, 1);
    pf_close_fd(&job->fd);
}

static void wait_until_idle(struct recovery *recovery, uint64_t timeout_ns)
{
    uint64_t count, now, until = pf_add_ns(pf_now_ns(), timeout_ns);
    while (atomic_load(&recovery->at_work) > 0 && (now = pf_now_ns()) < until) {
        /* In parts: an event may be of a turn before, or may not have been written. */
        pf_wait_readable(recovery->idle_fd,
                         until - now < PF_RECOVER_TURN_NS ? until - now : PF_RECOVER_TURN_NS);
        (void)!read(recovery->idle_fd, &count, sizeof count);
    }
}

/* Whether it is the filesystem's turn; `sure`: what was frozen, else what may be in FIFREEZE. */
static int is_due(const struct pf_page *page, uint32_t index, int fd, int owner, int sure)
{
    uint32_t state = pf_slot_state(&page->slots[index]);
    int is_sure = owner == PF_OWNER_DEAD || state != PF_STATE_FREEZING;
    return fd >= 0 && pf_state_needs_thaw(state) && is_sure == sure &&
           (sure || owner != PF_OWNER_DYING);
}

static void in_order(struct pf_page *page, struct recovery *recovery, const int *fds, int owner,
                     int by_threads)
{
    uint32_t turns = pf_order_turns(page);
    for (int sure = 1; sure >= 0; sure--)
        for (uint32_t turn = 0; turn < turns; turn++) {
            for (uint32_t n = 0; n < page->count; n++) {
                uint32_t i = pf_order_nth(page, n);
                if (pf_order_turn(page, turns, i) != turn || !is_due(page, i, fds[i], owner, sure))
                    continue;
                if (by_threads)
                    start_thread(recovery, i, fds[i]);
                else if (!recovery || !recovery->jobs[i].has_thread)
                    see_to(page, &page->slots[i], fds[i], owner);
            }
            if (by_threads && sure)
                wait_until_idle(recovery, PF_RECOVER_TURN_NS);
        }
}

uint32_t pf_recover(struct pf_page *page, int page_fd, const int *fds, int owner,
                    uint64_t patience_ns)
{
    struct recovery *recovery = begin(page_fd, page->count, owner);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the process's own threads */
    if (recovery)
        in_order(page, recovery, fds, owner, 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    PF_AUTO_FD rcu_fd = pf_rcu_open();
    pf_rcu_restore(page, rcu_fd);
    in_order(page, recovery, fds, owner, 0); /* what has no thread, one after another */
    if (recovery)
        wait_until_idle(recovery, patience_ns);
    leave(recovery);
    return pf_page_count_needing_thaw(page);
}
