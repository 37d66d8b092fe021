#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "base/fds.h"
#include "base/harden.h"
#include "base/timer.h"
#include "supervisor/state.h"

/* Timer, socket, output, park and pidfd, with their other ends while it is forked. */
#define DESCRIPTORS_PER_CHILD 8
#define OWN_DESCRIPTORS 64

int pf_watch(struct pf_supervisor *supervisor, int fd, enum pf_source source, int index)
{
    struct epoll_event event = {.events = EPOLLIN,
                                .data.u64 = (uint64_t)source << 32 | (uint32_t)index};
    return epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Once a pre-script was started, its post-script must not lack a descriptor. So the supervisor gets
 * many, whatever the caller's limit is (beyond the hard one this needs CAP_SYS_RESOURCE), or begins
 * nothing at all. */
static int raise_descriptor_limit(struct pf_supervisor *supervisor, pf_fault *fault)
{
    struct rlimit before;
    rlim_t least = OWN_DESCRIPTORS + supervisor->page->count;
    rlim_t wanted = least + (rlim_t)PF_PLAN_MAX_STEPS * DESCRIPTORS_PER_CHILD;
    if (getrlimit(RLIMIT_NOFILE, &before) < 0)
        return pf_fail_errno(fault, PF_OP_SETUP);
    if (before.rlim_cur >= wanted)
        return 0;
    struct rlimit limit = {wanted, before.rlim_max > wanted ? before.rlim_max : wanted};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        limit = (struct rlimit){before.rlim_max, before.rlim_max};
        setrlimit(RLIMIT_NOFILE, &limit); /* cannot fail: raising the soft one is free */
    }
    supervisor->heritage.descriptors = before;
    return limit.rlim_cur < least ? pf_fail(fault, PF_OP_SETUP, EMFILE) : 0;
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
        return pf_fail(fault, PF_OP_SETUP, -result);
    for (int fd = PF_FD_SOCKET; fd < PF_FD_END; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
            return pf_fail_errno(fault, PF_OP_SETUP);
    if (fcntl(PF_FD_SOCKET, F_SETFL, O_NONBLOCK) < 0)
        return pf_fail_errno(fault, PF_OP_SETUP);
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
        {supervisor->pool.done_fd, PF_SOURCE_WORKERS},
        {supervisor->window.deadline_fd, PF_SOURCE_DEADLINE},
        {supervisor->window.limit_fd, PF_SOURCE_LIMIT},
        {supervisor->plan.wait_fd, PF_SOURCE_WAIT},
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
    supervisor->notify_fd = supervisor->peer_fd = -1;
    prctl(PR_SET_NAME, "pyfreeze-superv");
    int result = take_inherited(supervisor, fault);
    if (result == 0)
        result = raise_descriptor_limit(supervisor, fault);
    if (result < 0)
        return result;

    supervisor->signal_fd = take_signals();
    supervisor->heritage.oom_score_adj = pf_lower_oom_score();
    mallopt(M_ARENA_MAX, 1); /* else worker threads reserve heaps of their own */
    supervisor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    supervisor->plan.wait_fd = pf_timer_create();
    supervisor->pool.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    supervisor->workers = calloc(supervisor->page->count + 1, sizeof *supervisor->workers);
    /* The client's working directory is not ours to keep busy. */
    if (chdir("/") < 0 || supervisor->signal_fd < 0 || supervisor->epoll_fd < 0 ||
        supervisor->plan.wait_fd < 0 || supervisor->pool.done_fd < 0 || !supervisor->workers ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return pf_fail_errno(fault, PF_OP_SETUP);
    result = pf_workers_start(supervisor->workers, supervisor->page, &supervisor->pool, fault);
    if (result == 0)
        result = pf_window_init(&supervisor->window, supervisor->page, supervisor->workers, fault);
    if (result < 0)
        return result;
    pf_lock_memory(); /* with the workers' stacks */
    result = watch_all(supervisor);
    return result < 0 ? pf_fail(fault, PF_OP_SETUP, -result) : 0;
}
