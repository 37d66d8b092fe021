#define _GNU_SOURCE
#include <stdlib.h>

#include "base/util.h"
#include "supervisor/state.h"

static pf_flush_options flush_of(const struct pf_message *message)
{
    return (pf_flush_options){.rounds = message->rounds,
                              .spend_ns = message->spend_ns,
                              .limit_ns = message->limit_ns};
}

static void begin_flush(struct pf_supervisor *supervisor, const struct pf_message *message)
{
    pf_fault fault;
    supervisor->window.flush = flush_of(message);
    if (pf_window_begin_flush(&supervisor->window, &fault) < 0)
        pf_reply(supervisor, PF_REPLY_FLUSHED, -1, &fault);
}

static void begin_open(struct pf_supervisor *supervisor)
{
    pf_fault fault;
    if (pf_window_begin_open(&supervisor->window, &fault) < 0)
        pf_reply(supervisor, PF_REPLY_OPENED, -1, &fault);
}

static int is_parked(struct pf_supervisor *supervisor, int index)
{
    struct pf_child *child = pf_child_at(supervisor, index);
    return child && child->stage == PF_STAGE_STARTING;
}

static void refuse_window(struct pf_supervisor *supervisor, const pf_fault *fault)
{
    supervisor->snapshot_child = -1;
    pf_peer_release(supervisor);
    supervisor->window.verdict = PF_VERDICT_FREEZE_FAILED;
    supervisor->window.fault = *fault;
    pf_reply_closed(supervisor);
}

static void begin_window(struct pf_supervisor *supervisor, const struct pf_message *message,
                         int fds[PF_WIRE_MAX_FDS])
{
    struct pf_window *window = &supervisor->window;
    pf_fault fault;
    int result;
    if (!pf_window_is_idle(window)) /* the client knows that; nothing of the open one may change */
        return;
    if (message->index >= 0 && !is_parked(supervisor, message->index))
        result = pf_fail_at(&fault, PF_OP_SEQUENCE, message->index, ECHILD);
    else
        result = pf_peer_take(supervisor, fds, &fault);
    if (result == 0) {
        supervisor->snapshot_child = message->index;
        window->flush = flush_of(message);
        window->max_window_ns = message->max_window_ns;
        window->freeze_timeout_ns = message->freeze_timeout_ns;
        window->flags = message->flags;
        window->awaits_command = message->index >= 0 &&
                                 !supervisor->children[message->index]->is_parked;
        result = pf_window_begin_freeze(window, &fault);
    }
    if (result < 0) {
        refuse_window(supervisor, &fault);
    }
}

static int make_child(struct pf_child **child, int page_fd, pf_fault *fault)
{
    *child = calloc(1, sizeof **child);
    if (!*child)
        return pf_fail(fault, PF_OP_CHILD_PAGE, ENOMEM);
    int result = pf_child_adopt(*child, page_fd, fault);
    if (result < 0) {
        pf_child_free(*child);
        free(*child);
    }
    return result;
}

static int add_child(struct pf_supervisor *supervisor, int index, int page_fd, pf_fault *fault)
{
    if (index < 0 || index >= PF_MAX_CHILDREN)
        return pf_fail(fault, PF_OP_SEQUENCE, EAGAIN);
    /* Forking and allocating have no place inside a window. */
    if (supervisor->children[index] || !pf_window_is_idle(&supervisor->window))
        return pf_fail(fault, PF_OP_SEQUENCE, EBUSY);
    struct pf_child *child;
    int result = make_child(&child, page_fd, fault);
    if (result < 0)
        return result;
    supervisor->children[index] = child;
    if (index >= supervisor->child_count)
        supervisor->child_count = index + 1;
    result = pf_watch(supervisor, child->timer_fd, PF_SOURCE_TIMER, index);
    if (result < 0)
        pf_fail(fault, PF_OP_CHILD_PAGE, -result);
    else if (!(child->page->flags & PF_CHILD_DEFERRED))
        result = pf_start_child(supervisor, index, fault);
    if (result < 0)
        pf_child_abandon(child, fault->error); /* told as failed, it must not run later */
    return result;
}

/* The client numbers its children itself. */
static void begin_child(struct pf_supervisor *supervisor, const struct pf_message *message,
                        int page_fd)
{
    pf_fault fault;
    if (add_child(supervisor, message->index, page_fd, &fault) < 0) {
        pf_reply(supervisor, PF_REPLY_CHILD, message->index, &fault);
        return;
    }
    struct pf_child *replaced = pf_child_at(supervisor, message->cancels);
    if (replaced && replaced->stage == PF_STAGE_DEFERRED)
        pf_child_end(replaced);
}

static void end_child(struct pf_supervisor *supervisor, int index)
{
    struct pf_child *child = pf_child_at(supervisor, index);
    if (child)
        pf_on_child_event(supervisor, index, pf_child_end(child));
}

static void abort_window(struct pf_supervisor *supervisor)
{
    pf_window_give_up(&supervisor->window, PF_VERDICT_ABORTED);
    end_child(supervisor, supervisor->snapshot_child);
}

static void handle(struct pf_supervisor *supervisor, const struct pf_message *message,
                   int fds[PF_WIRE_MAX_FDS])
{
    switch (message->kind) {
    case PF_REQUEST_OPEN:
        begin_open(supervisor);
        break;
    case PF_REQUEST_FLUSH:
        begin_flush(supervisor, message);
        break;
    case PF_REQUEST_WINDOW:
        begin_window(supervisor, message, fds);
        break;
    case PF_REQUEST_THAW:
        pf_window_finish(&supervisor->window);
        break;
    case PF_REQUEST_ABORT:
        abort_window(supervisor);
        break;
    case PF_REQUEST_CHILD:
        begin_child(supervisor, message, fds[0]);
        break;
    case PF_REQUEST_END:
        end_child(supervisor, message->index);
        break;
    case PF_REQUEST_BYE:
        pf_shutdown_begin(supervisor);
        break;
    default: /* of no version of the client that we know */
        break;
    }
}

/* A request whose descriptors did not arrive: an answer is owed all the same. */
static void refuse(struct pf_supervisor *supervisor, const struct pf_message *message,
                   const pf_fault *fault)
{
    if (message->kind == PF_REQUEST_CHILD)
        pf_reply(supervisor, PF_REPLY_CHILD, message->index, fault);
    else if (message->kind == PF_REQUEST_WINDOW && pf_window_is_idle(&supervisor->window))
        refuse_window(supervisor, fault);
}

void pf_requests_receive(struct pf_supervisor *supervisor)
{
    struct pf_message message;
    int fds[PF_WIRE_MAX_FDS];
    pf_fault fault;
    int result = pf_wire_receive(PF_FD_SOCKET, &message, fds, &fault);
    if (result == -EAGAIN)
        return;
    if (result == -EPIPE || result == -ECONNRESET) {
        /* The client has closed its end without a word: it is in_flight, or gone. */
        pf_on_client_death(supervisor);
        return;
    }
    if (result == 0)
        handle(supervisor, &message, fds);
    else if (result == -EMFILE)
        refuse(supervisor, &message, &fault);
    for (int i = 0; i < PF_WIRE_MAX_FDS; i++)
        pf_close_fd(&fds[i]);
}
