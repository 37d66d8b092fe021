#define _GNU_SOURCE
#include <unistd.h>

#include "kernel/rcu.h"
#include "supervisor/state.h"

void pf_shutdown_begin(struct pf_supervisor *supervisor)
{
    if (supervisor->leaving)
        return;
    supervisor->leaving = 1;
    pf_window_give_up(&supervisor->window, PF_VERDICT_ABORTED);
    pf_window_cut_short(&supervisor->window);
    for (int i = 0; i < supervisor->child_count; i++) {
        struct pf_child *child = supervisor->children[i];
        if (child && !(child->page->flags & PF_CHILD_OUTLIVE) &&
            (child->stage == PF_STAGE_STARTING || child->stage == PF_STAGE_RUNNING))
            pf_on_child_event(supervisor, i, pf_child_end(child));
    }
}

void pf_on_client_death(struct pf_supervisor *supervisor)
{
    if (!supervisor->client_lives)
        return;
    supervisor->client_lives = 0;
    close(PF_FD_SOCKET);
    close(PF_FD_CLIENT);
    pf_shutdown_begin(supervisor);
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
    return any_child_in(supervisor, PF_STAGE_STARTING, PF_STAGE_RUNNING) ||
           any_child_in(supervisor, PF_STAGE_ENDING, PF_STAGE_KILLING);
}

/* A post-script is owed to every pre-script that was started, whatever became of the client. */
static void start_deferred(struct pf_supervisor *supervisor)
{
    supervisor->deferred_begun = 1;
    for (int i = 0; i < supervisor->child_count; i++)
        if (supervisor->children[i] && supervisor->children[i]->stage == PF_STAGE_DEFERRED)
            pf_start_or_report(supervisor, i);
}

static void end_lingering(struct pf_supervisor *supervisor)
{
    for (int i = 0; i < supervisor->child_count; i++)
        if (supervisor->children[i] && supervisor->children[i]->stage == PF_STAGE_LINGERING)
            pf_on_child_event(supervisor, i, pf_child_end(supervisor->children[i]));
}

static void say_bye(struct pf_supervisor *supervisor)
{
    if (!supervisor->said_bye)
        pf_reply(supervisor, PF_REPLY_BYE, pf_window_is_pending(&supervisor->window), NULL);
    supervisor->said_bye = 1;
}

static void remove_page(struct pf_supervisor *supervisor)
{
    if (pf_page_count_needing_thaw(supervisor->page) > 0 ||
        pf_rcu_restore(supervisor->page, supervisor->window.rcu_fd) < 0)
        return; /* it is the record for `pyfreeze thaw` */
    pf_page_remove(supervisor->page, PF_FD_DIRECTORY);
}

int pf_shutdown_advance(struct pf_supervisor *supervisor)
{
    if (!supervisor->leaving || !pf_window_is_idle(&supervisor->window) ||
        any_child_runs(supervisor))
        return 0;
    if (!supervisor->deferred_begun) {
        start_deferred(supervisor);
        return pf_shutdown_advance(supervisor);
    }
    end_lingering(
        supervisor); /* what pre-scripts left running on purpose: until here, and no longer */
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
