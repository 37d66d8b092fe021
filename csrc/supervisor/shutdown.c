#define _GNU_SOURCE
#include <unistd.h>

#include "kernel/rcu.h"
#include "supervisor/state.h"

void pf_shutdown_begin(struct pf_supervisor *supervisor)
{
    if (supervisor->leaving)
        return;
    supervisor->leaving = 1;
    pf_page_note(supervisor->page, PF_TRANSITION_LEAVING, -1, 0);
    pf_plan_abort(supervisor, PF_FACT_ABORTED | PF_FACT_ABANDONED);
}

void pf_on_client_death(struct pf_supervisor *supervisor)
{
    if (!supervisor->client_lives)
        return;
    supervisor->client_lives = 0;
    pf_page_note(supervisor->page, PF_TRANSITION_CLIENT_LOST, -1, 0);
    close(PF_FD_SOCKET);
    close(PF_FD_CLIENT);
    pf_shutdown_begin(supervisor);
}

static int any_child_in(const struct pf_supervisor *supervisor, enum pf_child_stage first,
                        enum pf_child_stage last)
{
    const struct pf_plan *plan = &supervisor->plan;
    for (uint32_t i = 0; plan->page && i < plan->page->count; i++) {
        const struct pf_child *child = plan->children[i];
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

static void end_lingering(struct pf_supervisor *supervisor)
{
    const struct pf_plan *plan = &supervisor->plan;
    for (uint32_t i = 0; plan->page && i < plan->page->count; i++)
        if (plan->children[i] && plan->children[i]->stage == PF_STAGE_LINGERING)
            pf_plan_on_child(supervisor, i, pf_child_end(plan->children[i]));
}

static void say_bye(struct pf_supervisor *supervisor)
{
    if (!supervisor->said_bye)
        pf_reply(supervisor, PF_REPLY_BYE, pf_window_is_pending(&supervisor->window), NULL);
    supervisor->said_bye = 1;
}

int pf_shutdown_advance(struct pf_supervisor *supervisor)
{
    if (supervisor->client_is_backlogged)
        pf_on_client_death(supervisor);
    if (!supervisor->leaving || !pf_window_is_idle(&supervisor->window) ||
        (supervisor->plan.page && !supervisor->plan.is_over) || any_child_runs(supervisor))
        return 0;
    end_lingering(supervisor); /* what pre-scripts left running on purpose: until here, no longer */
    if (any_child_runs(supervisor))
        return 0;
    if (!pf_window_is_pending(&supervisor->window)) {
        pf_rcu_restore(supervisor->page, supervisor->window.rcu_fd);
        pf_page_remove(supervisor->page, PF_FD_DIRECTORY);
        say_bye(supervisor);
        return 1;
    }
    /* A FIFREEZE hangs. The client need not wait; we do, to thaw what may come of it. */
    say_bye(supervisor);
    return 0;
}
