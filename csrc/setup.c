#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

#include "fds.h"
#include "supervisor.h"
#include "util.h"

int pf_watch(struct pf_supervisor *supervisor, int fd, enum pf_source source, int index)
{
    struct epoll_event event = {.events = EPOLLIN,
                                .data.u64 = (uint64_t)source << 32 | (uint32_t)index};
    return epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* The OOM killer must find somebody else while something is frozen. Lowering needs
 * CAP_SYS_RESOURCE; without it the supervisor is merely small. */
static int lower_oom_score(void)
{
    char text[16] = "0";
    PF_AUTO_FD fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return 0;
    (void)!read(fd, text, sizeof text - 1);
    (void)!pwrite(fd, "-1000", 5, 0);
    return (int)strtol(text, NULL, 10);
}

/* No page of ours may have to be read from, or make room on, a frozen filesystem. The arena limit
 * keeps worker threads from reserving heaps of their own. Without CAP_IPC_LOCK it goes on. */
static void lock_memory(void)
{
    mallopt(M_ARENA_MAX, 1);
    (void)!mlockall(MCL_CURRENT | MCL_FUTURE);
}

static int take_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigset_t wanted;
    sigemptyset(&wanted);
    const int signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaddset(&wanted, signals[i]);
    return signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int take_inherited(struct pf_supervisor *supervisor, pf_fault *fault)
{
    const int keep[] = {PF_FD_SOCKET, PF_FD_PAGE, PF_FD_CLIENT, PF_FD_LOCK, PF_FD_DIRECTORY};
    int result = pf_close_all_but(keep, sizeof keep / sizeof *keep);
    if (result < 0)
        return pf_fail(fault, PF_STEP_SETUP, -result);
    for (int fd = PF_FD_SOCKET; fd < PF_FD_END; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
            return pf_fail_errno(fault, PF_STEP_SETUP);
    if (fcntl(PF_FD_SOCKET, F_SETFL, O_NONBLOCK) < 0)
        return pf_fail_errno(fault, PF_STEP_SETUP);
    return pf_page_map(&supervisor->page, PF_FD_PAGE, fault);
}

static int watch_all(struct pf_supervisor *supervisor)
{
    const struct {
        int fd;
        enum pf_source source;
    } sources[] = {
        {PF_FD_SOCKET, PF_SOURCE_SOCKET},
        {PF_FD_CLIENT, PF_SOURCE_CLIENT},
        {supervisor->signal_fd, PF_SOURCE_SIGNALS},
        {supervisor->crew.done_fd, PF_SOURCE_WORKERS},
        {supervisor->window.deadline_fd, PF_SOURCE_DEADLINE},
        {supervisor->window.limit_fd, PF_SOURCE_LIMIT},
    };
    int result = 0;
    for (size_t i = 0; i < sizeof sources / sizeof *sources && result == 0; i++)
        result = pf_watch(supervisor, sources[i].fd, sources[i].source, -1);
    return result;
}

int pf_setup(struct pf_supervisor *supervisor, pf_fault *fault)
{
    memset(supervisor, 0, sizeof *supervisor);
    supervisor->client_lives = 1;
    supervisor->snapshot_child = supervisor->notify_fd = supervisor->peer_fd = -1;
    prctl(PR_SET_NAME, "pyfreeze-superv");
    int result = take_inherited(supervisor, fault);
    if (result < 0)
        return result;

    supervisor->signal_fd = take_signals();
    supervisor->oom_score_adj = lower_oom_score();
    lock_memory();
    supervisor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    supervisor->crew.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    supervisor->workers = calloc(supervisor->page->count + 1, sizeof *supervisor->workers);
    /* The client's working directory is not ours to keep busy. */
    if (chdir("/") < 0 || supervisor->signal_fd < 0 || supervisor->epoll_fd < 0 ||
        supervisor->crew.done_fd < 0 || !supervisor->workers ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return pf_fail_errno(fault, PF_STEP_SETUP);
    result = pf_workers_start(supervisor->workers, supervisor->page, &supervisor->crew, fault);
    if (result == 0)
        result = pf_window_init(&supervisor->window, supervisor->page, supervisor->workers, fault);
    if (result < 0)
        return result;
    result = watch_all(supervisor);
    return result < 0 ? pf_fail(fault, PF_STEP_SETUP, -result) : 0;
}
