#define _GNU_SOURCE
#include <stdio.h>

#include "supervisor/state.h"

static int watch(struct pf_supervisor *supervisor, const struct pf_child *child, uint32_t step)
{
    int result = pf_watch(supervisor, child->control_fd, PF_SOURCE_CONTROL, (int)step);
    if (result == 0)
        result = pf_watch(supervisor, child->output_fd, PF_SOURCE_OUTPUT, (int)step);
    if (result == 0 && child->park_fd >= 0)
        result = pf_watch(supervisor, child->park_fd, PF_SOURCE_PARKED, (int)step);
    return result;
}

/* A child that cannot be started or watched is given up: unwatched, it would run unsupervised. */
int pf_start_child(struct pf_supervisor *supervisor, uint32_t step, pf_fault *fault)
{
    struct pf_child *child = supervisor->plan.children[step];
    child->epoll_fd = supervisor->epoll_fd;
    if (child->page->flags & PF_CHILD_OUTCOME)
        snprintf(child->outcome, sizeof child->outcome, "PYFREEZE_OUTCOME=%s",
                 pf_plan_outcome(supervisor));
    int result = pf_child_fork(child, &supervisor->heritage, fault);
    if (result == 0)
        result = watch(supervisor, child, step);
    if (result == 0) {
        pf_page_note(supervisor->page, PF_TRANSITION_CHILD_FORKED, (int)step,
                     (int)child->page->attempts);
        return 0;
    }
    pf_page_note(supervisor->page, PF_TRANSITION_CHILD_FAILED, (int)step, -result);
    pf_child_abandon(child, -result);
    return pf_fail_at(fault, PF_OP_CHILD_FORK, (int)step, -result);
}

void pf_release_child(struct pf_supervisor *supervisor, uint32_t step)
{
    struct pf_child *child = supervisor->plan.children[step];
    pf_child_release(child);
    pf_page_note(supervisor->page, PF_TRANSITION_CHILD_RELEASED, (int)step, 0);
    if (child->pid_fd >= 0)
        (void)!pf_watch(supervisor, child->pid_fd, PF_SOURCE_EXIT, (int)step);
}

void pf_on_child(struct pf_supervisor *supervisor, enum pf_source source, int step)
{
    struct pf_child *child = pf_plan_child(supervisor, step);
    enum pf_child_event event = PF_CHILD_EVENT_NONE;
    if (!child)
        return;
    if (source == PF_SOURCE_OUTPUT) {
        pf_child_on_output(child);
        return;
    }
    if (source == PF_SOURCE_PARKED) {
        pf_child_on_parked(child);
        if (child->is_parked)
            pf_page_note(supervisor->page, PF_TRANSITION_CHILD_PARKED, step, 0);
    } else if (source == PF_SOURCE_EXIT) {
        pf_child_on_exit(child);
        pf_page_note(supervisor->page, PF_TRANSITION_CHILD_EXITED, step, 0);
    } else if (source == PF_SOURCE_TIMER)
        event = pf_child_on_timer(child);
    else if (child->control_fd >= 0) /* an event of the same wait may have closed it */
        event = pf_child_on_control(child);
    if (event == PF_CHILD_EVENT_REPORTED)
        pf_page_note(supervisor->page, PF_TRANSITION_CHILD_ENDED, step, child->page->wait_status);
    pf_plan_on_child(supervisor, (uint32_t)step, event);
}
