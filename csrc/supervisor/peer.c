#define _GNU_SOURCE
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/util.h"
#include "supervisor/plan.h"

/* EPOLLONESHOT, and no event until the window is open: a byte that the peer has written before is no
 * answer yet, and must not keep the loop busy. */
static int watch(struct pf_supervisor *supervisor, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLONESHOT,
                                .data.u64 = (uint64_t)PF_SOURCE_PEER << 32};
    return epoll_ctl(supervisor->epoll_fd, operation, supervisor->peer_fd, &event);
}

int pf_peer_take(struct pf_supervisor *supervisor, int *notify_fd, int *done_fd, pf_fault *fault)
{
    supervisor->notify_fd = pf_keep_fd(notify_fd);
    supervisor->peer_fd = pf_keep_fd(done_fd);
    if (supervisor->peer_fd < 0 || watch(supervisor, EPOLL_CTL_ADD, 0) == 0)
        return 0;
    int result = pf_fail_errno(fault, PF_OP_PLAN);
    pf_peer_release(supervisor);
    return result;
}

void pf_peer_notify(struct pf_supervisor *supervisor, const char *word)
{
    /* A full pipe must not hold the loop: it is writable when PIPE_BUF bytes fit. If the peer cannot
     * be told or heard, the deadline ends the window. */
    struct pollfd room = {.fd = supervisor->notify_fd, .events = POLLOUT};
    if (supervisor->peer_fd >= 0)
        (void)!watch(supervisor, EPOLL_CTL_MOD, EPOLLIN);
    if (supervisor->notify_fd >= 0 && poll(&room, 1, 0) == 1)
        (void)!PF_RETRY(write(supervisor->notify_fd, word, strlen(word)));
}

/* The end of a pipe (EPOLLHUP) is told whether or not it is asked for: also before the peer was told
 * anything, while others than the peer are waited for. */
static int is_awaited(const struct pf_supervisor *supervisor)
{
    const struct pf_step *step = pf_step_find_lone(supervisor, PF_STEP_WINDOW);
    if (!step)
        step = pf_step_find_lone(supervisor, PF_STEP_WAIT);
    return supervisor->peer_fd >= 0 && step && (step->flags & PF_STEP_PEER);
}

void pf_peer_on_answer(struct pf_supervisor *supervisor)
{
    int bytes = 0;
    if (!is_awaited(supervisor))
        return;
    /* Readable with nothing to read is the end of a peer that died without a word: whatever it did,
     * nobody vouches for it. What it said is the client's to read; an eventfd knows no FIONREAD. */
    if (supervisor->window.stage == PF_WINDOW_OPEN &&
        ioctl(supervisor->peer_fd, FIONREAD, &bytes) == 0 && bytes == 0)
        pf_window_give_up(&supervisor->window, PF_VERDICT_ABORTED);
    else
        pf_plan_proceed(supervisor, 0);
}

void pf_peer_release(struct pf_supervisor *supervisor)
{
    /* By hand: the client has the same open file, so closing ours does not end the watch. */
    if (supervisor->peer_fd >= 0)
        epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_DEL, supervisor->peer_fd, NULL);
    pf_close_fd(&supervisor->notify_fd);
    pf_close_fd(&supervisor->peer_fd);
}
