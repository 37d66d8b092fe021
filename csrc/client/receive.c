/* receive.c - what the supervisor tells, and noticing when it no longer does. */
#define _GNU_SOURCE
#include <poll.h>

#include "base/util.h"
#include "client/run.h"
#include "protocol/wire.h"

/* ---- receiving ------------------------------------------------------------------------------ */

static void keep_descriptor(pf_run *run, int index, int fds[PF_WIRE_MAX_FDS])
{
    if (index >= 0 && (uint32_t)index < run->page->count && run->filesystem_fds[index] < 0)
        run->filesystem_fds[index] = pf_keep_fd(&fds[0]);
}

static int event_of(pf_run *run, const struct pf_message *message, pf_event *event)
{
    event->index = message->index;
    event->fault = (pf_fault){.op = message->op,
                              .index = message->fault_index,
                              .error = message->error};
    switch (message->kind) {
    case PF_REPLY_STEP:
        return PF_EVENT_STEP;
    case PF_REPLY_WAITING:
        return PF_EVENT_WAITING;
    case PF_REPLY_ENDED:
        if (message->error != 0 && run->plan) /* it was refused: nobody else says so in the file */
            atomic_store(&run->plan->is_over, 1);
        pf_watchdog_end(run);
        run->end = *event;
        return run->end.kind = PF_EVENT_ENDED;
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
    if (message->kind == PF_REPLY_DESCRIPTOR)
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

int pf_next_message(pf_run *run, uint64_t until, const sigset_t *mask, struct pf_message *message,
                    pf_fault *fault)
{
    for (;;) {
        if (pf_is_lost(run))
            return -EPIPE;
        int dead = has_died(run) ||
                   pf_leader_is_dead(
                       run); /* looked at first: its last messages are read all the same */
        int result = receive(run, message, fault);
        if (result > 0 && message->kind != PF_REPLY_DESCRIPTOR)
            return 1;
        if (result < 0 && !is_end(result))
            return result;
        if (result > 0)
            continue;
        if (dead || is_end(result) || pf_watchdog_check(run)) {
            pf_rescue(run);
            return -EPIPE;
        }
        if (pf_now_ns() >= until)
            return 0;
        uint64_t look_again_at = pf_watchdog_next_look(run);
        result = wait_for_supervisor(run, look_again_at < until ? look_again_at : until, mask);
        if (result < 0)
            return result == -EINTR ? result : pf_fail(fault, PF_OP_RECEIVE, -result);
    }
}

void pf_run_hold_signals(pf_run *run)
{
    sigset_t all;
    sigfillset(&all);
    if (!run->signals_held && pthread_sigmask(SIG_SETMASK, &all, &run->signals_before) == 0)
        run->signals_held = 1;
}

void pf_run_release_signals(pf_run *run)
{
    if (run->signals_held)
        pthread_sigmask(SIG_SETMASK, &run->signals_before, NULL);
    run->signals_held = 0;
}

int pf_run_next(pf_run *run, int64_t timeout_ns, pf_event *event, pf_fault *fault)
{
    uint64_t until = timeout_ns < 0 ? UINT64_MAX : pf_add_ns(pf_now_ns(), (uint64_t)timeout_ns);
    const sigset_t *mask = run->signals_held ? &run->signals_before : NULL;
    *event = (pf_event){.index = -1, .fault = {.index = -1}};
    /* Told again: a signal handler that raised may have kept the caller from hearing it. */
    if (run->end.kind == PF_EVENT_ENDED)
        *event = run->end;
    while (event->kind != PF_EVENT_ENDED) {
        struct pf_message message;
        int result = pf_next_message(run, until, mask, &message, fault);
        if (result == -EPIPE) {
            pf_watchdog_end(run);
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
    return event->kind;
}
