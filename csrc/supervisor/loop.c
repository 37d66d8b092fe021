/* loop.c - the program: one loop that owns every freeze, every thaw and every script. Its
 * other role is recover.c. */
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

static void on_workers(struct pf_supervisor *supervisor)
{
    uint64_t ends;
    (void)!read(supervisor->pool.done_fd, &ends, sizeof ends); /* they themselves say which */
}

/* A thaw that does not hang is a matter of microseconds, and kernel threads (a block device's, a
 * loop device's) carry it out. At SCHED_FIFO, any work of this thread would take the processor from
 * them: telling the client and reaping the snapshot command can wait. */
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
    for (;;) {
        enum pf_window_event event = pf_window_advance(&supervisor->window);
        if (event != PF_WINDOW_EVENT_NONE)
            pf_plan_on_window(supervisor, event);
        else if (!hold_still(supervisor))
            return;
    }
}

static void advance(struct pf_supervisor *supervisor)
{
    do
        advance_window(supervisor);
    while (pf_plan_advance(supervisor));
}

static void on_signals(struct pf_supervisor *supervisor)
{
    struct signalfd_siginfo info;
    while (read(supervisor->signal_fd, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD) {
            pf_page_note(supervisor->page, PF_TRANSITION_SIGNAL, -1, (int)info.ssi_signo);
            pf_window_give_up(&supervisor->window, PF_VERDICT_ABORTED);
        }
    /* A reaper reports its child by its socket. Here only zombies go: reapers, and orphans that
     * outlived their reaper. */
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
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
    case PF_SOURCE_WAIT:
        pf_plan_on_wait_limit(supervisor);
        break;
    case PF_SOURCE_CONTROL:
    case PF_SOURCE_OUTPUT:
    case PF_SOURCE_PARKED:
    case PF_SOURCE_EXIT:
    case PF_SOURCE_TIMER:
        pf_on_child(supervisor, source, index);
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
        advance(supervisor);
    }
}

int main(int count, char **words)
{
    if (count > 2 && strcmp(words[2], PF_ROLE_RECOVER) == 0)
        return pf_recover_main();
    static struct pf_supervisor supervisor;
    pf_fault fault;
    if (pf_setup(&supervisor, &fault) < 0) {
        pf_reply(&supervisor, PF_REPLY_READY, -1, &fault);
        return 1;
    }
    pf_page_note(supervisor.page, PF_TRANSITION_READY, -1, getpid());
    pf_reply(&supervisor, PF_REPLY_READY, -1, NULL);
    while (!pf_shutdown_advance(&supervisor))
        run_once(&supervisor);
    return 0;
}
