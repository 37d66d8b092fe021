/* successor.c - after a supervisor that was killed while threads of it were in FIFREEZE or FITHAW.
 *
 * SIGKILL does not reach such a thread before its call returns, and then nobody is left to thaw what
 * it has frozen. The client need not wait for that; the successor does, with a thread for each filesystem:
 * FITHAW, too, can hang, where what lies below is still to be thawed.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>

#include "base/fds.h"
#include "base/harden.h"
#include "base/thread.h"
#include "base/util.h"
#include "kernel/rcu.h"
#include "kernel/thaw.h"
#include "supervisor/state.h"

#define LOOK_MS 20

/* A filesystem that was left. */
struct leftover {
    struct pf_page *page;
    struct pf_slot *slot;
    int fd;
    int has_thread;
    pthread_t thread;
};

struct leftovers {
    struct pf_page *page;
    struct leftover *list;
    uint32_t count;
};

static int take(struct leftovers *leftovers)
{
    pf_fault fault;
    if (chdir("/") < 0 || pf_page_map(&leftovers->page, PF_FD_PAGE, &fault) < 0)
        return -1;
    leftovers->list = calloc(leftovers->page->count, sizeof *leftovers->list);
    if (!leftovers->list)
        return -1;
    for (uint32_t i = 0; i < leftovers->page->count; i++) {
        struct pf_slot *slot = &leftovers->page->slots[i];
        if (pf_state_needs_thaw(pf_slot_state(slot))) {
            int fd = PF_FD_FILESYSTEMS + (int)leftovers->count;
            leftovers->list[leftovers->count++] = (struct leftover){.page = leftovers->page,
                                                                    .slot = slot,
                                                                    .fd = fd};
        }
    }
    return pf_close_from(PF_FD_FILESYSTEMS + (int)leftovers->count);
}

/* The client may live for years: it gets its child back at once, and has no zombie of the successor. */
static void leave_parent(struct pf_page *page)
{
    pid_t pid = fork();
    if (pid == 0)
        return;
    if (pid > 0)
        atomic_store(&page->supervisor_pid, pid);
    _exit(pid < 0);
}

static int owner_dies_within(int timeout_ms)
{
    struct pollfd death = {.fd = PF_FD_OWNER, .events = POLLIN};
    return poll(&death, 1, timeout_ms) > 0; /* EINTR at most: a stop and a continue */
}

static void *see_to(void *argument)
{
    struct leftover *leftover = argument;
    /* Its FIFREEZE may return long before the last thread of the owner dies; nobody tells us. */
    while (pf_slot_state(leftover->slot) == PF_STATE_FREEZING && !owner_dies_within(LOOK_MS))
        pf_thaw_if_frozen(leftover->page, leftover->slot, leftover->fd);
    if (pf_state_needs_thaw(pf_slot_state(leftover->slot)))
        pf_thaw_left(leftover->page, leftover->slot, leftover->fd);
    return NULL;
}

static void see_to_all(struct leftovers *leftovers)
{
    for (uint32_t i = 0; i < leftovers->count; i++) {
        struct leftover *leftover = &leftovers->list[i];
        leftover->has_thread = pf_thread_start(&leftover->thread, see_to, leftover) == 0;
    }
    for (uint32_t i = 0; i < leftovers->count;
         i++) /* one after another is better than not at all */
        if (!leftovers->list[i].has_thread)
            see_to(&leftovers->list[i]);
    for (uint32_t i = 0; i < leftovers->count; i++)
        if (leftovers->list[i].has_thread)
            pthread_join(leftovers->list[i].thread, NULL);
}

static void wind_up(struct leftovers *leftovers)
{
    PF_AUTO_FD rcu_fd = pf_rcu_open();
    if (pf_rcu_restore(leftovers->page, rcu_fd) == 0 &&
        pf_page_count_needing_thaw(leftovers->page) == 0) {
        pf_plan_page_remove(PF_FD_DIRECTORY, leftovers->page->run_id);
        pf_page_remove(leftovers->page, PF_FD_DIRECTORY);
    }
    pf_page_note(leftovers->page, PF_TRANSITION_RECOVERED, -1,
                 (int)pf_page_count_needing_thaw(leftovers->page));
    free(leftovers->list);
    pf_page_unmap(leftovers->page);
    /* A fork of the embedding process may still have the lock's open file description. */
    flock(PF_FD_LOCK, LOCK_UN);
    (void)!write(PF_FD_DONE, "", 1); /* the client may have gone */
}

int pf_successor_run(void)
{
    static struct leftovers leftovers;
    prctl(PR_SET_NAME, "pyfreeze-successor");
    if (take(&leftovers) < 0)
        return 1; /* the client does what it can; the page stays for `pyfreeze thaw` */
    leave_parent(leftovers.page);
    atomic_store(&leftovers.page->deadline_ns, 0); /* nobody can promise one any more */
    pf_page_note(leftovers.page, PF_TRANSITION_RECOVER, -1, getpid());
    pf_lower_oom_score();
    pf_lock_memory();
    see_to_all(&leftovers);
    while (!owner_dies_within(-1))
        ;
    wind_up(&leftovers);
    return 0;
}
