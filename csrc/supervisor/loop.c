/* supervisor.c - the program: one loop that owns every freeze, every thaw and every script. In its
 * other role it is a successor (successor.c). */
#define _GNU_SOURCE
#include "supervisor/state.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/util.h"

#define EVENTS_PER_WAIT 32
#define STILL_NS (5 * PF_NS_PER_MS)

static void on_frozen(struct pf_supervisor *supervisor)
{
    struct pf_child *child = pf_child_at(supervisor, supervisor->snapshot_child);
    if (child && child->stage == PF_STAGE_STARTING) {
        pf_child_release(child);
        if (child->pid_fd >= 0)
            (void)!pf_watch(supervisor, child->pid_fd, PF_SOURCE_EXIT, supervisor->snapshot_child);
    } else if (child) { /* it died while it was parked */
        pf_window_finish(&supervisor->window);
    } else {
        pf_peer_notify(supervisor);
        pf_reply(supervisor, PF_REPLY_FROZEN, -1, NULL);
    }
}

static void on_closed(struct pf_supervisor *supervisor)
{
    int index = supervisor->snapshot_child;
    struct pf_child *child = pf_child_at(supervisor, index);
    pf_peer_release(supervisor);
    pf_reply_closed(supervisor);
    if (child && (child->stage == PF_STAGE_STARTING || child->stage == PF_STAGE_RUNNING))
        pf_on_child_event(supervisor, index, pf_child_end(child));
    supervisor->snapshot_child = -1;
}

static void reply_opened(struct pf_supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->page->count; i++)
        if (supervisor->workers[i].fd >= 0)
            pf_reply_descriptor(supervisor, (int)i, supervisor->workers[i].fd);
    pf_reply(supervisor, PF_REPLY_OPENED, -1, &supervisor->window.fault);
}

static void on_workers(struct pf_supervisor *supervisor)
{
    uint64_t ends;
    (void)!read(supervisor->pool.done_fd, &ends, sizeof ends); /* they themselves say which */
}

/* A thaw that does not hang is a matter of microseconds, and kernel threads (a block device's, a
 * loop device's) carry it out. At SCHED_FIFO, whatever we did meanwhile would take the processor from
 * them: telling the client and burying the snapshot command can wait. */
static int hold_still(struct pf_supervisor *supervisor)
{
    uint64_t now = pf_now_ns(), until = supervisor->window.thaw_begin_ns + STILL_NS;
    if (supervisor->window.stage != PF_WINDOW_THAWING || now >= until)
        return 0;
    struct pollfd end = {.fd = supervisor->pool.done_fd, .events = POLLIN};
    struct timespec rest = pf_timespec(until - now);
    ppoll(&end, 1, &rest, NULL);
    on_workers(supervisor);
    return 1;
}

static void advance_window(struct pf_supervisor *supervisor)
{
    for (;;)
        switch (pf_window_advance(&supervisor->window)) {
        case PF_WINDOW_EVENT_OPENED:
            reply_opened(supervisor);
            break;
        case PF_WINDOW_EVENT_FLUSHED:
            pf_reply(supervisor, PF_REPLY_FLUSHED, -1, &supervisor->window.fault);
            break;
        case PF_WINDOW_EVENT_FROZEN:
            on_frozen(supervisor);
            break;
        case PF_WINDOW_EVENT_CLOSED:
            on_closed(supervisor);
            break;
        case PF_WINDOW_EVENT_NONE:
            if (!hold_still(supervisor))
                return;
        }
}

static void on_signals(struct pf_supervisor *supervisor)
{
    struct signalfd_siginfo info;
    while (read(supervisor->signal_fd, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD)
            pf_window_give_up(&supervisor->window, PF_VERDICT_ABORTED);
    /* Keepers tell of their children by their sockets; here they, and orphans that outlived their
     * reaper, are only buried. */
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static void on_child(struct pf_supervisor *supervisor, enum pf_source source, int index)
{
    struct pf_child *child = pf_child_at(supervisor, index);
    if (!child)
        return;
    if (source == PF_SOURCE_OUTPUT)
        pf_child_on_output(child);
    else if (source == PF_SOURCE_PARKED) {
        pf_child_on_parked(child);
        if (index == supervisor->snapshot_child && child->is_parked)
            pf_window_stop_awaiting(&supervisor->window);
    } else if (source == PF_SOURCE_EXIT) {
        pf_child_on_exit(child);
        pf_on_child_event(supervisor, index, PF_CHILD_EVENT_NONE);
    } else if (source == PF_SOURCE_TIMER)
        pf_on_child_event(supervisor, index, pf_child_on_timer(child));
    else if (child->control_fd >= 0) /* an event of the same wait may have closed it */
        pf_on_child_event(supervisor, index, pf_child_on_control(child));
}

static void dispatch(struct pf_supervisor *supervisor, uint64_t data)
{
    enum pf_source source = (enum pf_source)(data >> 32);
    int index = (int)(uint32_t)data;
    switch (source) {
    case PF_SOURCE_SOCKET:
        if (supervisor->client_lives)
            pf_requests_receive(supervisor);
        break;
    case PF_SOURCE_CLIENT:
        pf_on_client_death(supervisor);
        break;
    case PF_SOURCE_SIGNALS:
        on_signals(supervisor);
        break;
    case PF_SOURCE_WORKERS:
        on_workers(supervisor);
        break;
    case PF_SOURCE_DEADLINE:
        pf_window_on_deadline(&supervisor->window);
        break;
    case PF_SOURCE_LIMIT:
        pf_window_on_limit(&supervisor->window);
        break;
    case PF_SOURCE_PEER:
        pf_peer_on_answer(supervisor);
        break;
    case PF_SOURCE_CONTROL:
    case PF_SOURCE_OUTPUT:
    case PF_SOURCE_PARKED:
    case PF_SOURCE_EXIT:
    case PF_SOURCE_TIMER:
        on_child(supervisor, source, index);
        break;
    }
}

static void run_once(struct pf_supervisor *supervisor)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    /* -1 is EINTR at most (a stop and a continue): the next wait sees what there is. */
    int count = epoll_wait(supervisor->epoll_fd, events, EVENTS_PER_WAIT, -1);
    for (int i = 0; i < count; i++) {
        dispatch(supervisor, events[i].data.u64);
        advance_window(supervisor);
    }
}

static int has_left(struct pf_supervisor *supervisor)
{
    if (supervisor->client_is_backlogged)
        pf_on_client_death(supervisor);
    return pf_shutdown_advance(supervisor);
}

int main(int count, char **words)
{
    if (count > 2 && strcmp(words[2], PF_ROLE_SUCCESSOR) == 0)
        return pf_successor_run();
    static struct pf_supervisor supervisor;
    pf_fault fault;
    if (pf_setup(&supervisor, &fault) < 0) {
        pf_reply(&supervisor, PF_REPLY_READY, -1, &fault);
        return 1;
    }
    pf_reply(&supervisor, PF_REPLY_READY, -1, NULL);
    while (!has_left(&supervisor))
        run_once(&supervisor);
    return 0;
}
