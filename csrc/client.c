/* client.c - the embedding process's side: starting a supervisor, asking it, hearing from it. */
#define _GNU_SOURCE
#include "client.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rcu.h"
#include "statedir.h"
#include "util.h"
#include "wire.h"

#define READY_NS (10 * PF_NS_PER_S)
#define FAREWELL_NS (15 * PF_NS_PER_S)

/* ---- starting ------------------------------------------------------------------------------- */

static void release(pf_run *run)
{
    for (uint32_t i = 0; run->filesystem_fds && i < run->page->count; i++)
        pf_close_fd(&run->filesystem_fds[i]);
    free(run->filesystem_fds);
    for (int i = 0; i < run->child_count; i++)
        pf_child_page_unmap(run->children[i]);
    pf_page_unmap(run->page);
    int *const fds[] = {&run->pidfd,   &run->socket_fd, &run->directory_fd,
                        &run->lock_fd, &run->page_fd,   &run->guard_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        pf_close_fd(fds[i]);
    pthread_mutex_destroy(&run->rescue_lock);
    free(run);
}

static void remove_page(pf_run *run)
{
    char name[PF_ID_SIZE + 8];
    pf_page_file_name(name, run->page->run_id);
    unlinkat(run->directory_fd, name, 0);
}

static int make_state(pf_run *run, const pf_start_options *options, pf_fault *fault)
{
    run->directory_fd = pf_statedir_open(options->directory, fault);
    if (run->directory_fd < 0)
        return run->directory_fd;
    run->lock_fd = pf_statedir_lock(run->directory_fd, fault);
    if (run->lock_fd < 0)
        return run->lock_fd;
    run->page_fd = pf_page_create(&run->page, run->directory_fd, options, fault);
    if (run->page_fd < 0)
        return run->page_fd;
    run->guard_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    run->filesystem_fds = calloc(options->target_count + 1, sizeof *run->filesystem_fds);
    if (run->guard_fd < 0 || !run->filesystem_fds) {
        remove_page(run);
        return pf_fail_errno(fault, PF_STEP_PAGE);
    }
    for (uint32_t i = 0; i < options->target_count; i++)
        run->filesystem_fds[i] = -1;
    return 0;
}

/* Descriptors for the supervisor go through numbers above the ones it expects them at, so that
 * none is overwritten before it has been copied. */
static int add_descriptors(posix_spawn_file_actions_t *actions, int high[PF_FD_END],
                           const int fds[PF_FD_END])
{
    int error = 0;
    for (int fd = 0; fd < PF_FD_SOCKET && error == 0; fd++)
        error = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
    for (int fd = PF_FD_SOCKET; fd < PF_FD_END && error == 0; fd++) {
        high[fd] = fcntl(fds[fd], F_DUPFD_CLOEXEC, PF_FD_END);
        error = high[fd] < 0 ? errno : posix_spawn_file_actions_adddup2(actions, high[fd], fd);
    }
    return error;
}

static int spawn(pf_run *run, const char *program, const int fds[PF_FD_END])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int high[PF_FD_END] = {-1, -1, -1, -1, -1, -1, -1, -1};
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        /* A session of its own: the terminal's Ctrl-C is for the client, which then decides. All
         * signals blocked from the first instruction: none can end it before it has a signalfd. */
        sigset_t all;
        sigfillset(&all);
        posix_spawnattr_setsigmask(&attributes, &all);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
        error = add_descriptors(&actions, high, fds);
        char *const argv[] = {(char *)(uintptr_t)program, run->page->run_id, NULL};
        char *const envp[] = {NULL};
        if (error == 0)
            error = posix_spawn(&run->supervisor, program, &actions, &attributes, argv, envp);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    for (int fd = 0; fd < PF_FD_END; fd++)
        pf_close_fd(&high[fd]);
    return error;
}

static int start_supervisor(pf_run *run, const pf_start_options *options, pf_fault *fault)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return pf_fail_errno(fault, PF_STEP_SOCKET);
    run->socket_fd = pair[0];
    PF_AUTO_FD theirs = pair[1];
    PF_AUTO_FD self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (self < 0)
        return pf_fail_errno(fault, PF_STEP_PIDFD);

    const int fds[PF_FD_END] = {
        [PF_FD_SOCKET] = theirs,        [PF_FD_PAGE] = run->page_fd, [PF_FD_CLIENT] = self,
        [PF_FD_LOCK] = run->lock_fd,    [PF_FD_DIRECTORY] = run->directory_fd};
    int error = spawn(run, options->program, fds);
    if (error != 0)
        return pf_fail(fault, PF_STEP_SPAWN, error);
    atomic_store(&run->page->supervisor_pid, run->supervisor);
    run->pidfd = (int)syscall(SYS_pidfd_open, run->supervisor, 0);
    if (run->pidfd < 0) {
        int saved = errno;
        kill(run->supervisor, SIGKILL);
        waitpid(run->supervisor, NULL, 0);
        return pf_fail(fault, PF_STEP_PIDFD, saved);
    }
    return 0;
}

/* ---- hearing -------------------------------------------------------------------------------- */

static void keep_descriptor(pf_run *run, int index, int fds[PF_WIRE_MAX_FDS])
{
    if (index >= 0 && (uint32_t)index < run->page->count && run->filesystem_fds[index] < 0)
        run->filesystem_fds[index] = pf_keep_fd(&fds[0]);
}

/* A child that never came to run is reported like one whose execve failed. */
static void note_child_fault(pf_run *run, const struct pf_message *message)
{
    if (message->error == 0 || message->index < 0 || message->index >= run->child_count)
        return;
    struct pf_child_page *page = run->children[message->index];
    atomic_store(&page->exec_error, message->error);
    page->wait_status = 126 << 8;
    atomic_store(&page->state, PF_CHILD_ENDED);
}

static int event_of(pf_run *run, const struct pf_message *message, pf_event *event)
{
    event->index = message->index;
    event->verdict = message->verdict;
    event->fault = (pf_fault){
        .step = message->step, .index = message->fault_index, .error = message->error};
    switch (message->kind) {
    case PF_TELL_OPENED:
        return PF_EVENT_OPENED;
    case PF_TELL_FLUSHED:
        return PF_EVENT_FLUSHED;
    case PF_TELL_FROZEN:
        pf_guard_look(run); /* the deadline is in the page now */
        return PF_EVENT_FROZEN;
    case PF_TELL_CLOSED:
        atomic_store(&run->asked_ns, 0);
        pf_guard_end(run);
        return PF_EVENT_CLOSED;
    case PF_TELL_CHILD:
        note_child_fault(run, message);
        return PF_EVENT_CHILD;
    default:
        return -1;
    }
}

/* 1: a message was received, 0: there is none, or -errno. */
static int receive(pf_run *run, struct pf_message *message, pf_fault *fault)
{
    int fds[PF_WIRE_MAX_FDS];
    int result = pf_wire_receive(run->socket_fd, message, fds, fault);
    if (result == -EAGAIN)
        return 0;
    if (result < 0)
        return result;
    if (message->kind == PF_TELL_DESCRIPTOR)
        keep_descriptor(run, message->index, fds);
    for (int i = 0; i < PF_WIRE_MAX_FDS; i++)
        pf_close_fd(&fds[i]);
    return 1;
}

static int is_end(int result)
{
    return result == -EPIPE || result == -ECONNRESET;
}

/* Wait for the socket, the supervisor's death, or `until`. Returns -EINTR after a signal handler. */
static int wait_for_supervisor(pf_run *run, uint64_t until, const sigset_t *mask)
{
    struct pollfd fds[2] = {{.fd = run->socket_fd, .events = POLLIN},
                            {.fd = run->pidfd, .events = POLLIN}};
    uint64_t now = pf_now_ns();
    struct timespec left = pf_timespec(until > now ? until - now : 0);
    return ppoll(fds, 2, until == UINT64_MAX ? NULL : &left, mask) < 0 ? -errno : 0;
}

static int has_died(pf_run *run)
{
    struct pollfd death = {.fd = run->pidfd, .events = POLLIN};
    return poll(&death, 1, 0) > 0;
}

/* The next message. 1: there it is; 0: `until` has passed; -EPIPE: the supervisor is lost, and
 * rescued; -EINTR: a signal handler ran. */
static int next_message(pf_run *run, uint64_t until, const sigset_t *mask,
                        struct pf_message *message, pf_fault *fault)
{
    for (;;) {
        if (pf_is_lost(run))
            return -EPIPE;
        int dead = has_died(run); /* looked at first: its last messages are read all the same */
        int result = receive(run, message, fault);
        if (result > 0 && message->kind != PF_TELL_DESCRIPTOR)
            return 1;
        if (result < 0 && !is_end(result))
            return result;
        if (result > 0)
            continue;
        if (dead || is_end(result) || pf_is_mute(run)) {
            pf_rescue(run);
            return -EPIPE;
        }
        if (pf_now_ns() >= until)
            return 0;
        uint64_t mute_at = pf_mute_at(run);
        result = wait_for_supervisor(run, mute_at < until ? mute_at : until, mask);
        if (result < 0)
            return result == -EINTR ? result : pf_fail(fault, PF_STEP_RECEIVE, -result);
    }
}

int pf_next(pf_run *run, int64_t timeout_ns, int unblocked, pf_event *event, pf_fault *fault)
{
    uint64_t until = timeout_ns < 0 ? UINT64_MAX : pf_now_ns() + (uint64_t)timeout_ns;
    sigset_t mask;
    if (unblocked)
        sigemptyset(&mask);
    *event = (pf_event){.index = -1, .fault = {.index = -1}};
    for (;;) {
        struct pf_message message;
        int result = next_message(run, until, unblocked ? &mask : NULL, &message, fault);
        if (result == -EPIPE) {
            pf_guard_end(run);
            event->verdict = PF_VERDICT_RESCUED;
            return event->kind = PF_EVENT_LOST;
        }
        if (result == -EINTR)
            return event->kind = PF_EVENT_INTERRUPTED;
        if (result == 0)
            return event->kind = PF_EVENT_TIMEOUT;
        if (result < 0)
            return result;
        int kind = event_of(run, &message, event);
        if (kind >= 0)
            return event->kind = kind;
    }
}

static int wait_until_ready(pf_run *run, pf_fault *fault)
{
    struct pf_message message;
    uint64_t until = pf_now_ns() + READY_NS;
    int result;
    do
        result = next_message(run, until, NULL, &message, fault);
    while (result == -EINTR);
    if (result == 1 && message.error != 0)
        return pf_fail(fault, message.step, message.error);
    if (result == 1)
        return message.kind == PF_TELL_READY ? 0 : pf_fail(fault, PF_STEP_READY, EBADMSG);
    return pf_fail(fault, PF_STEP_READY, result == 0 ? ETIMEDOUT : -result);
}

int pf_start(pf_run **out, const pf_start_options *options, pf_fault *fault)
{
    pf_run *run = calloc(1, sizeof *run);
    if (!run)
        return pf_fail(fault, PF_STEP_PAGE, ENOMEM);
    run->pidfd = run->socket_fd = run->directory_fd = run->lock_fd = run->page_fd = -1;
    run->guard_fd = -1;
    pthread_mutex_init(&run->rescue_lock, NULL);

    int result = make_state(run, options, fault);
    if (result == 0) {
        result = start_supervisor(run, options, fault);
        if (result == 0)
            result = wait_until_ready(run, fault);
        if (result < 0 && run->pidfd >= 0) {
            pf_rescue(run);
            waitpid(run->supervisor, NULL, WNOHANG);
        }
        if (result < 0)
            remove_page(run);
    }
    if (result < 0) {
        release(run);
        return result;
    }
    *out = run;
    return 0;
}

/* ---- asking --------------------------------------------------------------------------------- */

static int ask(pf_run *run, struct pf_message *message, const int *fds, int count, pf_fault *fault)
{
    return pf_wire_send(run->socket_fd, message, fds, count, fault);
}

static int ask_simply(pf_run *run, enum pf_ask kind, int index, pf_fault *fault)
{
    struct pf_message message = {.kind = kind, .index = index, .fault_index = -1, .replaces = -1};
    return ask(run, &message, NULL, 0, fault);
}

int pf_ask_open(pf_run *run, pf_fault *fault)
{
    return ask_simply(run, PF_ASK_OPEN, -1, fault);
}

static struct pf_message flush_message(enum pf_ask kind, const pf_flush_options *flush)
{
    return (struct pf_message){.kind = kind,
                               .index = -1,
                               .fault_index = -1,
                               .replaces = -1,
                               .rounds = flush->rounds,
                               .spend_ns = flush->spend_ns,
                               .limit_ns = flush->limit_ns};
}

int pf_ask_flush(pf_run *run, const pf_flush_options *flush, pf_fault *fault)
{
    struct pf_message message = flush_message(PF_ASK_FLUSH, flush);
    return ask(run, &message, NULL, 0, fault);
}

int pf_ask_window(pf_run *run, const pf_window_options *window, pf_fault *fault)
{
    struct pf_message message = flush_message(PF_ASK_WINDOW, &window->flush);
    message.index = window->child;
    message.flags = window->flags;
    message.max_window_ns = window->max_window_ns;
    message.freeze_timeout_ns = window->freeze_timeout_ns;
    const int peer[PF_WIRE_MAX_FDS] = {window->notify_fd, window->done_fd};
    int peers = window->notify_fd >= 0 && window->done_fd >= 0 ? 2 : 0;

    run->flush_limit_ns = window->flush.limit_ns;
    atomic_store(&run->asked_ns, pf_now_ns());
    int result = window->child < 0 ? pf_guard_start(run, fault) : 0;
    if (result == 0)
        result = ask(run, &message, peer, peers, fault);
    if (result < 0) {
        atomic_store(&run->asked_ns, 0);
        pf_guard_end(run);
    }
    return result;
}

int pf_ask_thaw(pf_run *run, pf_fault *fault)
{
    return ask_simply(run, PF_ASK_THAW, -1, fault);
}

int pf_ask_abort(pf_run *run, pf_fault *fault)
{
    return ask_simply(run, PF_ASK_ABORT, -1, fault);
}

int pf_ask_end(pf_run *run, int child, pf_fault *fault)
{
    return ask_simply(run, PF_ASK_END, child, fault);
}

int pf_ask_child(pf_run *run, const pf_child_options *options, pf_fault *fault)
{
    if (run->child_count == PF_CLIENT_MAX_CHILDREN)
        return pf_fail(fault, PF_STEP_CHILD_PAGE, EAGAIN);
    struct pf_child_page *page;
    PF_AUTO_FD page_fd = pf_child_page_create(&page, options, fault);
    if (page_fd < 0)
        return page_fd;
    int index = run->child_count;
    struct pf_message message = {.kind = PF_ASK_CHILD,
                                 .index = index,
                                 .fault_index = -1,
                                 .replaces = options->replaces};
    const int fds[1] = {page_fd};
    int result = ask(run, &message, fds, 1, fault);
    if (result < 0) {
        pf_child_page_unmap(page);
        return result;
    }
    run->children[index] = page;
    run->child_count++;
    return index;
}

/* ---- reading -------------------------------------------------------------------------------- */

static struct pf_child_page *child_page(pf_run *run, int child, pf_fault *fault)
{
    if (child >= 0 && child < run->child_count)
        return run->children[child];
    pf_fail_at(fault, PF_STEP_SEQUENCE, child, ERANGE);
    return NULL;
}

int pf_child_read(pf_run *run, int child, pf_child_report *report, pf_fault *fault)
{
    const struct pf_child_page *page = child_page(run, child, fault);
    if (!page)
        return -ERANGE;
    pf_child_page_report(page, report);
    return 0;
}

int pf_child_output(pf_run *run, int child, char *buffer, uint32_t size, pf_fault *fault)
{
    const struct pf_child_page *page = child_page(run, child, fault);
    return page ? (int)pf_child_page_output(page, buffer, size) : -ERANGE;
}

int pf_filesystem_read(pf_run *run, uint32_t index, pf_filesystem *out, pf_fault *fault)
{
    if (index >= run->page->count)
        return pf_fail_at(fault, PF_STEP_SEQUENCE, (int)index, ERANGE);
    pf_slot_read(run->page, index, out);
    return 0;
}

int pf_supervisor_pid(pf_run *run)
{
    return run->supervisor;
}

/* ---- ending --------------------------------------------------------------------------------- */

/* The longest that anything still running may take by its own rights. */
static uint64_t farewell_ns(const pf_run *run)
{
    uint64_t longest = 0;
    for (int i = 0; i < run->child_count; i++) {
        const struct pf_child_page *page = run->children[i];
        uint64_t own = page->timeout_ns + page->grace_ns;
        if (atomic_load(&page->state) != PF_CHILD_ENDED && own > longest)
            longest = own;
    }
    return longest + FAREWELL_NS;
}

static void part(pf_run *run)
{
    struct pf_message message;
    pf_fault fault;
    uint64_t until = pf_now_ns() + farewell_ns(run);
    int result = ask_simply(run, PF_ASK_BYE, -1, &fault);
    do
        result = next_message(run, until, NULL, &message, &fault);
    while (result == -EINTR || (result == 1 && message.kind != PF_TELL_BYE));
    if (result != 1)
        pf_rescue(run);
}

int pf_close(pf_run *run, pf_fault *fault)
{
    *fault = (pf_fault){.index = -1};
    pf_guard_end(run);
    if (!pf_is_lost(run))
        part(run);
    int left = (int)pf_page_count_needing_thaw(run->page);
    if (run->lost && left == 0)
        remove_page(run);
    if (left == 0) {
        /* It is on its way out: only now is the run over. A fork of the embedding process may still
         * hold the lock's open file description, hence the explicit unlock. */
        pf_wait_for_death(run, FAREWELL_NS);
        flock(run->lock_fd, LOCK_UN);
    }
    waitpid(run->supervisor, NULL, WNOHANG);
    release(run);
    return left;
}

void pf_forget(pf_run *run)
{
    release(run);
}
