/* plan.c - the plan, carried out step by step, and the journal of it.
 *
 * Everything was decided by the client beforehand: what a step's failure means for those after it is
 * in their masks of facts. So nothing here waits for the client, except a step whose purpose that is.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>

#include "supervisor/plan.h"

struct pf_child *pf_plan_child(const struct pf_supervisor *supervisor, int step)
{
    const struct pf_plan *plan = &supervisor->plan;
    return plan->page && step >= 0 && (uint32_t)step < plan->page->count ? plan->children[step]
                                                                         : NULL;
}

/* ---- taking it -------------------------------------------------------------------------------- */

static int make_child(struct pf_supervisor *supervisor, uint32_t index, pf_fault *fault)
{
    struct pf_child_page *page = pf_step_child(supervisor->plan.page, index);
    if (!page)
        return 0;
    struct pf_child *child = calloc(1, sizeof *child);
    if (!child)
        return pf_fail_at(fault, PF_OP_PLAN, (int)index, ENOMEM);
    supervisor->plan.children[index] = child;
    int parks = pf_step_at(supervisor, index)->kind == PF_STEP_WINDOW;
    int result = pf_child_init(child, page, parks, fault);
    if (result == 0)
        result = pf_watch(supervisor, child->timer_fd, PF_SOURCE_TIMER, (int)index);
    return result < 0 ? pf_fail_at(fault, PF_OP_PLAN, (int)index, -result) : 0;
}

/* A write to a page that is mapped for reading is a SIGSEGV. A page that is not fresh was handed over
 * before: its pids are no longer those of our children. */
static struct pf_plan_page *map_page(int fd, pf_fault *fault)
{
    struct pf_plan_page *page = NULL;
    int access = fcntl(fd, F_GETFL);
    if (access < 0)
        pf_fail_errno(fault, PF_OP_PLAN);
    else if ((access & O_ACCMODE) != O_RDWR)
        pf_fail(fault, PF_OP_PLAN, EACCES);
    else if (pf_plan_page_map(&page, fd, fault) == 0 && !pf_plan_page_is_fresh(page)) {
        pf_plan_page_unmap(page);
        page = NULL;
        pf_fail(fault, PF_OP_PLAN, EBADMSG);
    }
    return page;
}

int pf_plan_take(struct pf_supervisor *supervisor, int fds[PF_WIRE_MAX_FDS], pf_fault *fault)
{
    struct pf_plan *plan = &supervisor->plan;
    if (plan->page && !plan->is_over)
        return pf_fail(fault, PF_OP_SEQUENCE, EBUSY);
    pf_plan_release(supervisor);
    plan->page = map_page(fds[0], fault);
    if (!plan->page)
        return -fault->error;
    plan->children = calloc(plan->page->count + 1, sizeof(struct pf_child *));
    if (!plan->children)
        return pf_fail(fault, PF_OP_PLAN, ENOMEM);
    /* All that they need is taken before any of them runs. */
    int result = 0;
    for (uint32_t i = 0; i < plan->page->count && result == 0; i++)
        result = make_child(supervisor, i, fault);
    return result < 0 ? result : pf_peer_take(supervisor, &fds[1], &fds[2], fault);
}

void pf_plan_release(struct pf_supervisor *supervisor)
{
    struct pf_plan *plan = &supervisor->plan;
    for (uint32_t i = 0; plan->page && plan->children && i < plan->page->count; i++)
        if (plan->children[i]) {
            pf_child_free(plan->children[i]);
            free(plan->children[i]);
        }
    free(plan->children);
    pf_plan_page_unmap(plan->page);
    *plan = (struct pf_plan){.wait_fd = plan->wait_fd};
}

/* ---- one after another ------------------------------------------------------------------------- */

static int is_due(const struct pf_supervisor *supervisor, const struct pf_step *step)
{
    uint32_t facts = atomic_load(&supervisor->plan.page->facts);
    /* Nobody is there any more whom it could be for, or who could tell it to proceed. */
    if (supervisor->leaving && (step->kind == PF_STEP_WINDOW || step->kind == PF_STEP_WAIT))
        return 0;
    if ((facts & step->skip_if) || (step->only_if && !(facts & step->only_if)))
        return 0;
    if (step->after < 0)
        return 1;
    uint32_t before = atomic_load(&pf_step_at(supervisor, (uint32_t)step->after)->status);
    return before != PF_STATUS_PENDING && before != PF_STATUS_SKIPPED;
}

static int group_has_ended(const struct pf_supervisor *supervisor)
{
    for (uint32_t i = supervisor->plan.first; i < supervisor->plan.end; i++)
        if (pf_step_is_running(pf_step_at(supervisor, i)))
            return 0;
    return 1;
}

static uint32_t end_of_group(const struct pf_supervisor *supervisor, uint32_t first)
{
    const struct pf_step *step = pf_step_at(supervisor, first);
    uint32_t end = first + 1;
    while (step->group != 0 && step->kind == PF_STEP_CHILD && end < supervisor->plan.page->count &&
           pf_step_at(supervisor, end)->group == step->group &&
           pf_step_at(supervisor, end)->kind == PF_STEP_CHILD)
        end++;
    return end;
}

int pf_plan_advance(struct pf_supervisor *supervisor)
{
    struct pf_plan *plan = &supervisor->plan;
    if (!plan->page || plan->is_over || !group_has_ended(supervisor))
        return 0;
    if (plan->end == plan->page->count) {
        plan->is_over = 1;
        atomic_store(&plan->page->is_over, 1);
        pf_peer_release(supervisor);
        pf_reply(supervisor, PF_REPLY_ENDED, -1, NULL);
        return 0;
    }
    plan->first = plan->end;
    plan->end = end_of_group(supervisor, plan->first);
    for (uint32_t i = plan->first; i < plan->end; i++)
        if (is_due(supervisor, pf_step_at(supervisor, i)))
            pf_step_begin(supervisor, i);
        else
            atomic_store(&pf_step_at(supervisor, i)->status, PF_STATUS_SKIPPED);
    return 1;
}

/* ---- giving up -------------------------------------------------------------------------------- */

static int snapshot_is_over(const struct pf_supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->plan.page->count; i++) {
        const struct pf_step *step = pf_step_at(supervisor, i);
        uint32_t status = atomic_load(&step->status);
        if ((step->flags & PF_STEP_SNAPSHOT) && step->snapshot_ns != 0 &&
            status != PF_STATUS_RUNNING)
            return 1;
    }
    return 0;
}

void pf_plan_abort(struct pf_supervisor *supervisor, uint32_t facts)
{
    struct pf_plan *plan = &supervisor->plan;
    if (!plan->page || plan->is_over)
        return;
    if (snapshot_is_over(supervisor))
        facts &= ~(uint32_t)PF_FACT_INTERRUPTED;
    atomic_fetch_or(&plan->page->facts, facts);
    pf_window_give_up(&supervisor->window, PF_VERDICT_ABORTED);
    pf_window_cut_short(&supervisor->window);
    if (pf_step_find_lone(supervisor, PF_STEP_WAIT))
        pf_step_end_wait(supervisor, 1, ECANCELED);
    for (uint32_t i = plan->first; i < plan->end; i++) {
        struct pf_child *child = plan->children[i];
        if (child && !(child->page->flags & PF_CHILD_OUTLIVE) &&
            (child->stage == PF_STAGE_STARTING || child->stage == PF_STAGE_RUNNING))
            pf_plan_on_child(supervisor, i, pf_child_end(child));
    }
}

const char *pf_plan_outcome(struct pf_supervisor *supervisor)
{
    struct pf_plan *plan = &supervisor->plan;
    uint32_t facts = atomic_load(&plan->page->facts);
    if (plan->outcome) /* told once, it stays so: for each attempt, and for each script */
        return plan->outcome;
    plan->outcome = "none";
    for (uint32_t i = 0; i < plan->page->count; i++) {
        const struct pf_step *step = pf_step_at(supervisor, i);
        if ((step->flags & PF_STEP_SNAPSHOT) && step->snapshot_ns != 0)
            plan->outcome = atomic_load(&step->status) == PF_STATUS_DONE ? "success" : "failed";
    }
    if (facts & PF_FACT_INTERRUPTED)
        plan->outcome = "interrupted";
    if (facts & PF_FACT_ABANDONED)
        plan->outcome = "abandoned";
    return plan->outcome;
}
