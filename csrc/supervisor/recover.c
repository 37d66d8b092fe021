/* recover.c - the program's second role: thaw what a lost supervisor left, and wait for what hangs.
 *
 * SIGKILL ends a thread in FIFREEZE when that returns: then the filesystem is frozen, and no thread of
 * the supervisor is left to thaw it. FITHAW can hang, too. */
#include "kernel/recover.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/harden.h"
#include "base/timer.h"
#include "supervisor/state.h"

static int is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* The descriptors that are there, by slot; NULL: no memory, or no page. */
static int *take(struct pf_page **page)
{
    pf_fault fault;
    if (chdir("/") < 0 || pf_page_map(page, PF_FD_PAGE, &fault) < 0)
        return NULL;
    int count = (int)(*page)->count;
    if (pf_close_from(PF_FD_FILESYSTEMS + count) < 0)
        return NULL;
    int *fds = calloc((size_t)count + 1, sizeof *fds);
    if (!fds)
        return NULL;
    for (int i = 0; i < count; i++)
        fds[i] = is_open(PF_FD_FILESYSTEMS + i) ? PF_FD_FILESYSTEMS + i : -1;
    return fds;
}

/* The client waits for its child, which ends at once: the client may live for years, and is to have
 * no zombie. */
static void leave_parent(struct pf_page *page)
{
    pid_t pid = fork();
    if (pid == 0)
        return;
    if (pid > 0)
        atomic_store(&page->supervisor_pid, pid);
    _exit(pid < 0);
}

static void wind_up(struct pf_page *page, int has_owner)
{
    pf_page_note(page, PF_TRANSITION_RECOVERED, -1, (int)pf_page_count_needing_thaw(page));
    pf_page_remove(page, PF_FD_DIRECTORY);
    /* A fork of the embedding process may still have the lock's open file description. Without an
     * owner, the process that started this one holds the lock, and may go on with it. */
    if (has_owner)
        flock(PF_FD_LOCK, LOCK_UN);
    close(PF_FD_LOCK); /* before the word: its reader may take the lock anew */
    (void)!write(PF_FD_DONE, "", 1); /* the client may have gone */
}

int pf_recover_main(void)
{
    struct pf_page *page;
    prctl(PR_SET_NAME, "pyfreeze-recov");
    int *fds = take(&page);
    if (!fds)
        return 1; /* the client does what it can; the page stays for `pyfreeze thaw` */
    leave_parent(page);
    int has_owner = is_open(PF_FD_OWNER);
    atomic_store(&page->deadline_ns, 0); /* no process can promise one any more */
    pf_page_note(page, PF_TRANSITION_RECOVER, -1, getpid());
    pf_lower_oom_score();
    pf_lock_memory();
    pf_recover(page, PF_FD_PAGE, fds, has_owner ? PF_FD_OWNER : PF_OWNER_DEAD, UINT64_MAX);
    while (has_owner && !pf_wait_readable(PF_FD_OWNER, UINT64_MAX))
        ;
    wind_up(page, has_owner);
    free(fds);
    return 0;
}
