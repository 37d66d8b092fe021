#define _GNU_SOURCE
#include "supervisor/state.h"

int pf_start_child(struct pf_supervisor *supervisor, int index, pf_fault *fault)
{
    struct pf_child *child = supervisor->children[index];
    child->epoll_fd = supervisor->epoll_fd;
    int result = pf_child_fork(child, &supervisor->heritage, fault);
    if (result < 0)
        return result;
    result = pf_watch(supervisor, child->control_fd, PF_SOURCE_CONTROL, index);
    if (result == 0)
        result = pf_watch(supervisor, child->output_fd, PF_SOURCE_OUTPUT, index);
    if (result == 0 && child->park_fd >= 0)
        result = pf_watch(supervisor, child->park_fd, PF_SOURCE_PARKED, index);
    if (result == 0)
        return 0;
    pf_child_abandon(child, -result); /* unwatched it would run on unsupervised */
    return pf_fail_at(fault, PF_OP_CHILD_FORK, index, -result);
}

void pf_start_or_report(struct pf_supervisor *supervisor, int index)
{
    pf_fault fault;
    if (pf_start_child(supervisor, index, &fault) < 0) {
        pf_child_abandon(supervisor->children[index], fault.error);
        pf_reply(supervisor, PF_REPLY_CHILD, index, &fault);
    }
}

/* The window need not wait for more than the snapshot's own end: not for what it left running, and
 * not for the grace of one that timed out. */
static void thaw_if_snapshot_ended(struct pf_supervisor *supervisor, int index)
{
    const struct pf_child *child = supervisor->children[index];
    if (index == supervisor->snapshot_child &&
        (child->has_exited || child->attempt_ended || child->stage == PF_STAGE_ENDING ||
         child->stage == PF_STAGE_OVER)) {
        pf_window_lose_command(&supervisor->window);
        pf_window_finish(&supervisor->window);
    }
}

void pf_on_child_event(struct pf_supervisor *supervisor, int index, enum pf_child_event event)
{
    thaw_if_snapshot_ended(supervisor, index);
    if (event == PF_CHILD_EVENT_REPORTED)
        pf_reply(supervisor, PF_REPLY_CHILD, index, NULL);
    else if (event == PF_CHILD_EVENT_AGAIN)
        pf_start_or_report(supervisor, index);
}
