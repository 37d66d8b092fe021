#define _GNU_SOURCE
#include <unistd.h>

#include "rcu.h"
#include "supervisor.h"

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
    return pf_fail_at(fault, PF_STEP_CHILD_FORK, index, -result);
}

static void start_or_tell(struct pf_supervisor *supervisor, int index)
{
    pf_fault fault;
    if (pf_start_child(supervisor, index, &fault) < 0) {
        pf_child_abandon(supervisor->children[index], fault.error);
        pf_tell(supervisor, PF_TELL_CHILD, index, &fault);
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

void pf_on_child_news(struct pf_supervisor *supervisor, int index, enum pf_child_news news)
{
    thaw_if_snapshot_ended(supervisor, index);
    if (news == PF_CHILD_REPORTED)
        pf_tell(supervisor, PF_TELL_CHILD, index, NULL);
    else if (news == PF_CHILD_AGAIN)
        start_or_tell(supervisor, index);
}

/* ---- leaving -------------------------------------------------------------------------------- */

void pf_leave(struct pf_supervisor *supervisor)
{
    if (supervisor->leaving)
        return;
    supervisor->leaving = 1;
    pf_window_give_up(&supervisor->window, PF_VERDICT_ABORTED);
    pf_window_cut_short(&supervisor->window);
    for (int i = 0; i < supervisor->child_count; i++) {
        struct pf_child *child = supervisor->children[i];
        if (child && !(child->page->flags & PF_CHILD_OUTLIVE) &&
            (child->stage == PF_STAGE_PARKED || child->stage == PF_STAGE_RUNNING))
            pf_on_child_news(supervisor, i, pf_child_end(child));
    }
}

void pf_on_client_death(struct pf_supervisor *supervisor)
{
    if (!supervisor->client_lives)
        return;
    supervisor->client_lives = 0;
    close(PF_FD_SOCKET);
    close(PF_FD_CLIENT);
    pf_leave(supervisor);
}

static int any_child_in(const struct pf_supervisor *supervisor, enum pf_child_stage first,
                        enum pf_child_stage last)
{
    for (int i = 0; i < supervisor->child_count; i++) {
        const struct pf_child *child = supervisor->children[i];
        if (child && child->stage >= first && child->stage <= last)
            return 1;
    }
    return 0;
}

static int any_child_runs(const struct pf_supervisor *supervisor)
{
    return any_child_in(supervisor, PF_STAGE_PARKED, PF_STAGE_RUNNING) ||
           any_child_in(supervisor, PF_STAGE_ENDING, PF_STAGE_KILLING);
}

/* A post-script is owed to every pre-script that was started, whatever became of the client. */
static void start_staged(struct pf_supervisor *supervisor)
{
    supervisor->staged_begun = 1;
    for (int i = 0; i < supervisor->child_count; i++)
        if (supervisor->children[i] && supervisor->children[i]->stage == PF_STAGE_STAGED)
            start_or_tell(supervisor, i);
}

static void end_held(struct pf_supervisor *supervisor)
{
    for (int i = 0; i < supervisor->child_count; i++)
        if (supervisor->children[i] && supervisor->children[i]->stage == PF_STAGE_HELD)
            pf_on_child_news(supervisor, i, pf_child_end(supervisor->children[i]));
}

static void say_bye(struct pf_supervisor *supervisor)
{
    if (!supervisor->told_bye)
        pf_tell(supervisor, PF_TELL_BYE, pf_window_is_pending(&supervisor->window), NULL);
    supervisor->told_bye = 1;
}

static void remove_page(struct pf_supervisor *supervisor)
{
    if (pf_page_count_needing_thaw(supervisor->page) > 0 ||
        pf_rcu_restore(supervisor->page, supervisor->window.rcu_fd) < 0)
        return; /* it is the record for `pyfreeze thaw` */
    pf_page_remove(supervisor->page, PF_FD_DIRECTORY);
}

int pf_has_left(struct pf_supervisor *supervisor)
{
    if (!supervisor->leaving || !pf_window_is_idle(&supervisor->window) ||
        any_child_runs(supervisor))
        return 0;
    if (!supervisor->staged_begun) {
        start_staged(supervisor);
        return pf_has_left(supervisor);
    }
    end_held(supervisor); /* what pre-scripts left running on purpose: until here, and no longer */
    if (any_child_runs(supervisor))
        return 0;
    if (!pf_window_is_pending(&supervisor->window)) {
        remove_page(supervisor);
        say_bye(supervisor);
        return 1;
    }
    /* A FIFREEZE hangs. The client need not wait; we do, to thaw what may come of it. */
    say_bye(supervisor);
    return 0;
}
