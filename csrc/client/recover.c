/* recover.c - starts the process that thaws what a lost supervisor left, and waits for what hangs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/timer.h"
#include "base/util.h"
#include "client/run.h"
#include "protocol/limits.h"
#include "protocol/order.h"
#include "protocol/wire.h"

static int spawn(const struct pf_lost *lost, int done_fd)
{
    const struct pf_page *page = lost->page;
    int end = PF_FD_FILESYSTEMS + (int)page->count, status = 0;
    int *fds = malloc((size_t)end * sizeof *fds);
    if (!fds)
        return -ENOMEM;
    fds[PF_FD_DONE] = done_fd;
    fds[PF_FD_PAGE] = lost->page_fd;
    fds[PF_FD_OWNER] = lost->owner_fd;
    fds[PF_FD_LOCK] = lost->lock_fd;
    fds[PF_FD_DIRECTORY] = lost->directory_fd;
    for (uint32_t i = 0; i < page->count; i++)
        fds[PF_FD_FILESYSTEMS + i] = pf_state_needs_thaw(pf_slot_state(&page->slots[i]))
                                         ? lost->fds[i]
                                         : -1;
    pid_t pid;
    int error = pf_spawn(lost->program, page, PF_ROLE_RECOVER, fds, end, &pid);
    free(fds);
    if (error != 0)
        return -error;
    /* It forks and ends at once. ECHILD: the embedding process ignores SIGCHLD. */
    if (PF_RETRY(waitpid(pid, &status, 0)) == pid && status != 0)
        return -ECHILD;
    return 0;
}

int pf_recover_by_process(const struct pf_lost *lost, uint64_t patience_ns)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return -errno;
    PF_AUTO_FD ours = pair[0];
    int result = spawn(lost, pair[1]);
    close(pair[1]);
    if (result < 0)
        return result;
    uint64_t turns_ns = pf_limit_recovering_ns(pf_order_turns(lost->page));
    return pf_wait_readable(ours, pf_add_ns(turns_ns, patience_ns));
}
