/* heir.c - after a supervisor that was killed while a thread of it was in FIFREEZE.
 *
 * SIGKILL does not reach that thread before the call returns, and then nobody is left to thaw what
 * it has frozen. The client need not wait for that; the heir does. */
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

/* The descriptors by slot, as pf_thaw_all() wants them; -1: none. NULL: it cannot be. */
static int *take_filesystems(const struct pf_page *page)
{
    int *fds = malloc((page->count + 1) * sizeof *fds);
    int next = PF_FD_FILESYSTEMS;
    for (uint32_t i = 0; fds && i < page->count; i++)
        fds[i] = pf_state_needs_thaw(pf_slot_state(&page->slots[i])) ? next++ : -1;
    if (pf_close_from(next) < 0) {
        free(fds);
        return NULL;
    }
    return fds;
}

/* The client may live for years: it gets its child back at once, and has no zombie of the heir. */
static void leave_parent(struct pf_page *page)
{
    pid_t pid = fork();
    if (pid == 0)
        return;
    if (pid > 0)
        atomic_store(&page->supervisor_pid, pid);
    _exit(pid < 0); /* without an heir the page stays: `pyfreeze thaw` will see to it */
}

static void wait_for_death(void)
{
    struct pollfd death = {.fd = PF_FD_OWNER, .events = POLLIN};
    while (poll(&death, 1, -1) < 0) /* EINTR at most: a stop and a continue */
        ;
}

static uint32_t thaw(struct pf_page *page, const int *fds)
{
    uint32_t left = pf_thaw_all(page, fds, 1);
    PF_AUTO_FD rcu_fd = pf_rcu_open();
    if (pf_rcu_restore(page, rcu_fd) == 0 && left == 0)
        pf_page_remove(page, PF_FD_DIRECTORY);
    return left;
}

int pf_heir_serve(void)
{
    pf_fault fault;
    struct pf_page *page;
    prctl(PR_SET_NAME, "pyfreeze-heir");
    if (chdir("/") < 0 || pf_page_map(&page, PF_FD_PAGE, &fault) < 0)
        return 1;
    int *fds = take_filesystems(page);
    if (!fds)
        return 1;
    leave_parent(page);
    pf_lower_oom_score();
    pf_lock_memory();

    wait_for_death();
    uint32_t left = thaw(page, fds);
    free(fds);
    /* A fork of the embedding process may still have the lock's open file description. */
    flock(PF_FD_LOCK, LOCK_UN);
    return left > 0;
}
