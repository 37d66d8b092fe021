/* heir.c - after a supervisor that was killed while threads of it were in FIFREEZE or FITHAW.
 *
 * SIGKILL does not reach such a thread before its call returns, and then nobody is left to thaw what
 * it has frozen. The client need not wait for that; the heir does, with a thread for each filesystem:
 * FITHAW, too, can hang, where what lies below is still to be thawed.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>

#include "fds.h"
#include "rcu.h"
#include "supervisor.h"
#include "thaw.h"
#include "util.h"

#define LOOK_MS 20

/* A filesystem that was left. */
struct legacy {
    struct pf_slot *slot;
    int fd;
    int has_thread;
    pthread_t thread;
};

struct estate {
    struct pf_page *page;
    struct legacy *legacies;
    uint32_t count;
};

static int take(struct estate *estate)
{
    pf_fault fault;
    if (chdir("/") < 0 || pf_page_map(&estate->page, PF_FD_PAGE, &fault) < 0)
        return -1;
    estate->legacies = calloc(estate->page->count, sizeof *estate->legacies);
    if (!estate->legacies)
        return -1;
    for (uint32_t i = 0; i < estate->page->count; i++) {
        struct pf_slot *slot = &estate->page->slots[i];
        if (pf_state_needs_thaw(pf_slot_state(slot))) {
            int fd = PF_FD_FILESYSTEMS + (int)estate->count;
            estate->legacies[estate->count++] = (struct legacy){.slot = slot, .fd = fd};
        }
    }
    return pf_close_from(PF_FD_FILESYSTEMS + (int)estate->count);
}

/* The client may live for years: it gets its child back at once, and has no zombie of the heir. */
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
    struct legacy *legacy = argument;
    /* Its FIFREEZE may return long before the last thread of the owner dies; nobody tells us. */
    while (pf_slot_state(legacy->slot) == PF_STATE_FREEZING && !owner_dies_within(LOOK_MS))
        pf_thaw_if_frozen(legacy->slot, legacy->fd);
    if (pf_state_needs_thaw(pf_slot_state(legacy->slot)))
        pf_thaw_left(legacy->slot, legacy->fd);
    return NULL;
}

static void see_to_all(struct estate *estate)
{
    for (uint32_t i = 0; i < estate->count; i++) {
        struct legacy *legacy = &estate->legacies[i];
        legacy->has_thread = pf_thread_start(&legacy->thread, see_to, legacy) == 0;
    }
    for (uint32_t i = 0; i < estate->count; i++) /* one after another is better than not at all */
        if (!estate->legacies[i].has_thread)
            see_to(&estate->legacies[i]);
    for (uint32_t i = 0; i < estate->count; i++)
        if (estate->legacies[i].has_thread)
            pthread_join(estate->legacies[i].thread, NULL);
}

static void wind_up(struct estate *estate)
{
    PF_AUTO_FD rcu_fd = pf_rcu_open();
    if (pf_rcu_restore(estate->page, rcu_fd) == 0 && pf_page_count_needing_thaw(estate->page) == 0)
        pf_page_remove(estate->page, PF_FD_DIRECTORY);
    free(estate->legacies);
    pf_page_unmap(estate->page);
    /* A fork of the embedding process may still have the lock's open file description. */
    flock(PF_FD_LOCK, LOCK_UN);
    (void)!write(PF_FD_DONE, "", 1); /* the client may have gone */
}

int pf_heir_serve(void)
{
    static struct estate estate;
    prctl(PR_SET_NAME, "pyfreeze-heir");
    if (take(&estate) < 0)
        return 1; /* the client does what it can; the page stays for `pyfreeze thaw` */
    leave_parent(estate.page);
    atomic_store(&estate.page->deadline_ns, 0); /* nobody can promise one any more */
    pf_lower_oom_score();
    pf_lock_memory();
    see_to_all(&estate);
    while (!owner_dies_within(-1))
        ;
    wind_up(&estate);
    return 0;
}
