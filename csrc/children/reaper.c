#define _GNU_SOURCE
#include "children/reaper.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fds.h"
#include "base/process.h"
#include "base/util.h"

/* How often the tree is swept for SIGKILL while something of it is left: soon again, because a
 * process may have forked between our look at /proc and our kill; then ever more rarely. */
#define SWEEP_FIRST_MS 2
#define SWEEP_LAST_MS 1000

/* _NSIG of the kernel, here and on all of its younger architectures. */
#define KERNEL_SIGNALS 64

struct state {
    const struct pf_reaper *reaper;
    int signal_fd;
    pid_t child;
    int child_ended;
    int sweep_ms; /* 0: nothing is being killed */
};

/* ---- the child, until execve ---------------------------------------------------------------- */

static void restore_signals(void)
{
    /* The kernel's own call, because sigaction() keeps the C library's two signals to itself, and a
     * client may have had them ignored. A struct kernel_sigaction of zeros is SIG_DFL. SIGKILL and
     * SIGSTOP always have that, and the call says EINVAL. */
    static const uint64_t standard[8];
    for (int signal = 1; signal <= KERNEL_SIGNALS; signal++)
        syscall(SYS_rt_sigaction, signal, standard, NULL, KERNEL_SIGNALS / 8);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void restore_oom_score(int value)
{
    char text[16];
    PF_AUTO_FD fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    int length = snprintf(text, sizeof text, "%d", value);
    if (fd >= 0) /* if it fails the child is merely better protected than it should be */
        (void)!write(fd, text, (size_t)length);
}

static void restore_descriptor_limit(const struct rlimit *limit)
{
    if (limit->rlim_max > 0) /* lowering is always allowed */
        setrlimit(RLIMIT_NOFILE, limit);
}

/* 1: go; 0: the supervisor gave the window up, or is gone; -1: the socket failed, with errno. The
 * supervisor freezes nothing before it has the child's byte: what the child does until then would
 * take the processors from the freeze. */
static ssize_t wait_to_be_let_go(int park_fd)
{
    char byte = 'p';
    if (park_fd < 0)
        return 1;
    if (PF_RETRY(send(park_fd, &byte, 1, MSG_NOSIGNAL)) < 0)
        return errno == EPIPE ? 0 : -1;
    ssize_t go = PF_RETRY(read(park_fd, &byte, 1));
    return go < 0 && errno == ECONNRESET ? 0 : go; /* closed with our word unread */
}

static _Noreturn void become_the_program(const struct pf_reaper *reaper)
{
    const struct pf_child_words *words = reaper->words;
    setsid(); /* cannot fail: a process just forked leads no group */
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(reaper->output_fd, 1) < 0 ||
        dup2(reaper->output_fd, 2) < 0 || chdir(words->directory) < 0)
        goto failed;
    if (reaper->page->flags & PF_CHILD_UMASK_077)
        umask(077);
    restore_oom_score(reaper->heritage.oom_score_adj);
    restore_descriptor_limit(&reaper->heritage.descriptors);
    pf_close_all_but(&reaper->park_fd, 1);
    restore_signals();
    ssize_t go = wait_to_be_let_go(reaper->park_fd);
    if (go < 0)
        goto failed;
    if (go == 0)
        _exit(0);
    pf_close_all_but(NULL, 0);
    execve(words->path, words->argv, words->envp);
failed:
    atomic_store(&reaper->page->exec_error, errno);
    _exit(errno == ENOENT ? 127 : 126);
}

/* ---- the reaper ----------------------------------------------------------------------------- */

static void report_end(struct state *state, int wait_status)
{
    struct pf_reaper_report report = {.wait_status = wait_status, .ended_ns = pf_now_ns()};
    state->child_ended = 1;
    /* If it cannot be told, the supervisor is gone, and the loop is about to see that. */
    (void)!PF_RETRY(send(state->reaper->control_fd, &report, sizeof report, MSG_NOSIGNAL));
}

/* Returns whether any child is left, below us or about to become so. */
static int reap(struct state *state)
{
    for (;;) {
        int status; /* retried: the SIGCHLD that brought us here does not come again */
        pid_t pid = PF_RETRY(waitpid(-1, &status, WNOHANG));
        if (pid <= 0)
            return pid == 0;
        if (pid == state->child)
            report_end(state, status);
    }
}

static void terminate(struct state *state)
{
    pid_t group = state->child;
    /* The script's own group at once, then whatever has left it. The search for it takes a
     * millisecond or two, for which those just signalled need not wait, should they share our
     * processor. */
    if (!state->child_ended) {
        kill(-group, SIGTERM);
        sched_yield();
    }
    pf_tree_signal(getpid(), SIGTERM, state->child_ended ? 0 : group);
}

static void sweep(struct state *state)
{
    if (!state->child_ended)
        kill(-state->child, SIGKILL);
    pf_tree_signal(getpid(), SIGKILL, 0);
    state->sweep_ms = state->sweep_ms == 0 ? SWEEP_FIRST_MS : state->sweep_ms * 2;
    if (state->sweep_ms > SWEEP_LAST_MS)
        state->sweep_ms = SWEEP_LAST_MS;
}

/* Nobody supervises what is left, but somebody has to read what it still writes. Ends with the last
 * process that holds our child's stdout or stderr: usually at once. */
static _Noreturn void drain(const struct state *state)
{
    char buffer[4096];
    struct sigaction ignore = {.sa_handler = SIG_IGN}; /* no zombies */
    sigaction(SIGCHLD, &ignore, NULL);
    close(state->reaper->control_fd);
    /* O_NONBLOCK is on, and belongs to the supervisor too: the open file description is one. */
    struct pollfd pipe_end = {.fd = state->reaper->drain_fd, .events = POLLIN};
    for (;;) {
        ssize_t length = PF_RETRY(read(state->reaper->drain_fd, buffer, sizeof buffer));
        if (length == 0 || (length < 0 && errno != EAGAIN))
            _exit(0);
        poll(&pipe_end, 1, -1);
    }
}

static void handle(struct state *state)
{
    char command;
    ssize_t length = PF_RETRY(recv(state->reaper->control_fd, &command, 1, MSG_DONTWAIT));
    if (length == 1 && command == PF_REAPER_LEAVE)
        drain(state);
    if (length == 1 && command == PF_REAPER_TERMINATE)
        terminate(state);
    else if (state->sweep_ms == 0) /* KILL, or the supervisor's death */
        sweep(state);
}

/* Every signal is blocked since before the fork, so no SIGCHLD is lost before this exists. */
static int own_signal_fd(void)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void start(struct state *state)
{
    state->signal_fd = own_signal_fd();
    state->child = state->signal_fd < 0 ? -1 : fork();
    if (state->child == 0)
        become_the_program(state->reaper);
    if (state->child < 0) {
        atomic_store(&state->reaper->page->exec_error, errno);
        report_end(state, 126 << 8);
    }
    state->reaper->page->pid = state->child;
    close(state->reaper->output_fd);
    if (state->reaper->park_fd >= 0)
        close(state->reaper->park_fd);
}

static void wait_for_event(struct state *state)
{
    int supervised = state->sweep_ms == 0;
    struct pollfd fds[2] = {
        {.fd = state->signal_fd, .events = POLLIN},
        /* A socket that has ended is readable for ever: after that, only children matter. */
        {.fd = supervised ? state->reaper->control_fd : -1, .events = POLLIN},
    };
    int count = poll(fds, 2, supervised ? -1 : state->sweep_ms);
    struct signalfd_siginfo info;
    while (count > 0 && fds[0].revents && read(state->signal_fd, &info, sizeof info) > 0)
        ; /* that children changed is all it says; reap() finds out which */
    if (count > 0 && fds[1].revents)
        handle(state);
    else if (!supervised)
        sweep(state);
}

_Noreturn void pf_reaper_run(const struct pf_reaper *reaper)
{
    struct state state = {.reaper = reaper};
    const int keep[] = {reaper->control_fd, reaper->output_fd, reaper->drain_fd, reaper->park_fd};
    prctl(PR_SET_NAME, "pyfreeze-reaper");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pf_close_all_but(keep, sizeof keep / sizeof *keep);
    start(&state);
    while (reap(&state))
        wait_for_event(&state);
    _exit(0);
}
