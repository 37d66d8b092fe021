/* plan.h - what plan.c, the order of the steps, and steps.c, what each kind of step does, share. */
#ifndef PF_SUPERVISOR_PLAN_H
#define PF_SUPERVISOR_PLAN_H
#include "supervisor/state.h"

static inline struct pf_step *pf_step_at(const struct pf_supervisor *supervisor, uint32_t index)
{
    return &supervisor->plan.page->steps[index];
}

static inline int pf_step_is_running(const struct pf_step *step)
{
    return atomic_load(&step->status) == PF_STATUS_RUNNING;
}

/* Begin a step that is due. It may end at once. */
void pf_step_begin(struct pf_supervisor *supervisor, uint32_t index);
/* The window or the waiting under way, which is alone in its group; NULL: neither is. */
struct pf_step *pf_step_find_lone(const struct pf_supervisor *supervisor, uint32_t kind);
/* The waiting under way ends; `error`: of its fault, 0: the client or the peer has answered. */
void pf_step_end_wait(struct pf_supervisor *supervisor, int failed, int error);

#endif
