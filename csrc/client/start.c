/* start.c - the embedding process's side: making the state, starting a supervisor, ending the run. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/util.h"
#include "client/run.h"
#include "protocol/limits.h"
#include "protocol/order.h"
#include "protocol/statedir.h"
#include "protocol/wire.h"

#define READY_NS (10 * PF_NS_PER_S)
#define QUEUE_BYTES (4 << 20) /* a message takes some 800 */

/* ---- starting ------------------------------------------------------------------------------- */

static void release(pf_run *run)
{
    for (uint32_t i = 0; run->filesystem_fds && i < run->page->count; i++)
        pf_close_fd(&run->filesystem_fds[i]);
    free(run->filesystem_fds);
    pf_plan_page_unmap(run->plan);
    pf_page_unmap(run->page);
    int *const fds[] = {&run->pidfd,   &run->socket_fd, &run->directory_fd,
                        &run->lock_fd, &run->page_fd,   &run->watchdog_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        pf_close_fd(fds[i]);
    pthread_mutex_destroy(&run->rescue_lock);
    free(run->program);
    free(run);
}

static int take_lock(pf_run *run, const pf_start_options *options, pf_fault *fault)
{
    if (!options->unlocked)
        run->lock_fd = pf_statedir_lock(run->directory_fd, fault);
    else if (options->target_count > 0)
        return pf_fail(fault, PF_OP_LOCK, EINVAL);
    else if ((run->lock_fd = fcntl(run->directory_fd, F_DUPFD_CLOEXEC, 0)) < 0)
        return pf_fail_errno(fault, PF_OP_LOCK); /* it only fills the lock's place */
    return run->lock_fd < 0 ? run->lock_fd : 0;
}

static int make_state(pf_run *run, const pf_start_options *options, pf_fault *fault)
{
    run->directory_fd = pf_statedir_open(options->directory, fault);
    if (run->directory_fd < 0)
        return run->directory_fd;
    int result = take_lock(run, options, fault);
    if (result < 0)
        return result;
    run->page_fd = pf_page_create(&run->page, run->directory_fd, options, fault);
    if (run->page_fd < 0)
        return run->page_fd;
    run->watchdog_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    run->filesystem_fds = calloc(options->target_count + 1, sizeof *run->filesystem_fds);
    for (uint32_t i = 0; run->filesystem_fds && i < options->target_count; i++)
        run->filesystem_fds[i] = -1;
    if (run->watchdog_fd < 0 || !run->filesystem_fds) {
        pf_fail(fault, PF_OP_PAGE, run->watchdog_fd < 0 ? errno : ENOMEM);
        pf_page_remove(run->page, run->directory_fd);
        return -fault->error;
    }
    return 0;
}

static int start_supervisor(pf_run *run, pf_fault *fault)
{
    int pair[2];
    const int queue_bytes = QUEUE_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return pf_fail_errno(fault, PF_OP_SOCKET);
    run->socket_fd = pair[0];
    PF_AUTO_FD theirs = pair[1];
    /* The queue has room for all messages of a run: the supervisor never waits for a reader, and
     * takes a reader that lets the queue run full for dead. Beyond wmem_max the size needs
     * CAP_NET_ADMIN. */
    for (int end = 0; end < 2; end++)
        if (setsockopt(pair[end], SOL_SOCKET, SO_SNDBUFFORCE, &queue_bytes, sizeof queue_bytes) < 0)
            (void)!setsockopt(pair[end], SOL_SOCKET, SO_SNDBUF, &queue_bytes, sizeof queue_bytes);
    PF_AUTO_FD self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (self < 0)
        return pf_fail_errno(fault, PF_OP_PIDFD);

    const int fds[PF_FD_END] = {[PF_FD_SOCKET] = theirs,
                                [PF_FD_PAGE] = run->page_fd,
                                [PF_FD_CLIENT] = self,
                                [PF_FD_LOCK] = run->lock_fd,
                                [PF_FD_DIRECTORY] = run->directory_fd};
    int error = pf_spawn(run->program, run->page, NULL, fds, PF_FD_END, &run->supervisor);
    if (error != 0)
        return pf_fail(fault, PF_OP_SPAWN, error);
    atomic_store(&run->page->supervisor_pid, run->supervisor);
    run->pidfd = (int)syscall(SYS_pidfd_open, run->supervisor, 0);
    if (run->pidfd < 0) {
        int saved = errno;
        kill(run->supervisor, SIGKILL);
        waitpid(run->supervisor, NULL, 0);
        return pf_fail(fault, PF_OP_PIDFD, saved);
    }
    return 0;
}

static int wait_until_ready(pf_run *run, pf_fault *fault)
{
    struct pf_message message;
    uint64_t until = pf_now_ns() + READY_NS;
    int result;
    do
        result = pf_next_message(run, until, NULL, &message, fault);
    while (result == -EINTR);
    if (result == 1 && message.error != 0)
        return pf_fail(fault, message.op, message.error);
    if (result == 1)
        return message.kind == PF_REPLY_READY && message.version == PF_PROTOCOL_VERSION
                   ? 0
                   : pf_fail(fault, PF_OP_READY, EPROTO);
    return pf_fail(fault, PF_OP_READY, result == 0 ? ETIMEDOUT : -result);
}

int pf_run_start(pf_run **out, const pf_start_options *options, pf_fault *fault)
{
    pf_run *run = calloc(1, sizeof *run);
    if (!run)
        return pf_fail(fault, PF_OP_PAGE, ENOMEM);
    run->pidfd = run->socket_fd = run->directory_fd = run->lock_fd = run->page_fd = -1;
    run->watchdog_fd = -1;
    pthread_mutex_init(&run->rescue_lock, NULL);

    run->program = strdup(options->program);
    int result = run->program ? make_state(run, options, fault)
                              : pf_fail(fault, PF_OP_PAGE, ENOMEM);
    if (result == 0) {
        result = start_supervisor(run, fault);
        if (result == 0)
            result = wait_until_ready(run, fault);
        if (result < 0 && run->pidfd >= 0) {
            pf_rescue(run);
            waitpid(run->supervisor, NULL, WNOHANG);
        }
        if (result < 0)
            pf_page_remove(run->page, run->directory_fd);
    }
    if (result < 0) {
        release(run);
        return result;
    }
    *out = run;
    return 0;
}

/* ---- ending --------------------------------------------------------------------------------- */

/* The longest that a child which still runs, and then the supervisor, may take by their limits. */
static uint64_t farewell_ns(const pf_run *run)
{
    uint64_t longest = 0;
    for (uint32_t i = 0; run->plan && i < run->plan->count; i++) {
        const struct pf_child_page *page = pf_step_child(run->plan, i);
        uint64_t own = page ? pf_add_ns(page->timeout_ns, page->grace_ns) : 0;
        if (page && atomic_load(&page->state) != PF_CHILD_ENDED && own > longest)
            longest = own;
    }
    return pf_add_ns(longest, pf_limit_leaving_ns(pf_order_turns(run->page)));
}

/* Returns whether the supervisor is on its way out; else a thread of it hangs in the kernel. */
static int part(pf_run *run)
{
    struct pf_message message;
    pf_fault fault;
    uint64_t until = pf_add_ns(pf_now_ns(), farewell_ns(run));
    int result;
    if (pf_run_request(run, PF_REQUEST_BYE, &fault) == 0) {
        do
            result = pf_next_message(run, until, NULL, &message, &fault);
        while (result == -EINTR || (result == 1 && message.kind != PF_REPLY_BYE));
        if (result == 1)
            return message.index == 0;
    } else {
        /* The supervisor takes the end of the messages for a PF_REQUEST_BYE, but does not answer. */
        shutdown(run->socket_fd, SHUT_WR);
        pf_wait_for_death(run, farewell_ns(run));
    }
    pf_rescue(run);
    return run->has_ended;
}

static int end(pf_run *run)
{
    pf_watchdog_end(run);
    int goes = pf_is_lost(run) ? run->has_ended : part(run);
    int left = (int)pf_page_count_needing_thaw(run->page);
    if (run->lost)
        pf_page_remove(run->page, run->directory_fd);
    if (goes) {
        /* It is on its way out: only now is the run over. A fork of the embedding process may still
         * hold the lock's open file description, hence the explicit unlock. */
        pf_wait_for_death(run, PF_MARGIN_NS);
        flock(run->lock_fd, LOCK_UN);
    }
    waitpid(run->supervisor, NULL, WNOHANG);
    return left;
}

int pf_run_close(pf_run **handle)
{
    pf_run *run = *handle;
    if (!run)
        return 0;
    int left = run->page->client_pid == getpid() ? end(run) : 0;
    release(run);
    *handle = NULL;
    return left;
}
