/* steps.c - what each kind of step does, from its beginning to its end in the journal. */
#define _GNU_SOURCE
#include "base/timer.h"
#include "base/util.h"
#include "supervisor/plan.h"

struct pf_step *pf_step_find_lone(const struct pf_supervisor *supervisor, uint32_t kind)
{
    const struct pf_plan *plan = &supervisor->plan;
    if (!plan->page || plan->is_over || plan->first == plan->end)
        return NULL;
    struct pf_step *step = pf_step_at(supervisor, plan->first);
    return step->kind == kind && pf_step_is_running(step) ? step : NULL;
}

/* ---- a step's end ----------------------------------------------------------------------------- */

static void tell_step(struct pf_supervisor *supervisor, uint32_t index)
{
    if (supervisor->plan.page->tells_steps)
        pf_reply(supervisor, PF_REPLY_STEP, (int)index, NULL);
}

static void end_step(struct pf_supervisor *supervisor, uint32_t index, int failed, uint32_t facts)
{
    struct pf_step *step = pf_step_at(supervisor, index);
    step->end_ns = pf_now_ns();
    atomic_store(&step->status, failed ? PF_STATUS_FAILED : PF_STATUS_DONE);
    pf_page_note(supervisor->page, PF_TRANSITION_STEP_ENDED, (int)index,
                 failed ? PF_STATUS_FAILED : PF_STATUS_DONE);
    if (failed)
        atomic_fetch_or(&supervisor->plan.page->facts, facts);
    tell_step(supervisor, index);
}

static void end_by_fault(struct pf_supervisor *supervisor, uint32_t index, const pf_fault *fault)
{
    struct pf_step *step = pf_step_at(supervisor, index);
    step->fault = *fault;
    end_step(supervisor, index, fault->error != 0, step->on_failure);
}

/* A window's step is over when it has closed and nothing of its child is left. */
static void end_window_if_due(struct pf_supervisor *supervisor)
{
    struct pf_plan *plan = &supervisor->plan;
    const struct pf_child *child = plan->children[plan->first];
    struct pf_step *step = pf_step_find_lone(supervisor, PF_STEP_WINDOW);
    if (!step || !plan->has_closed || (child && !pf_child_is_reported(child)))
        return;
    int was_good = step->verdict == PF_VERDICT_GOOD;
    int froze_not = step->verdict == PF_VERDICT_FREEZE_FAILED ||
                    step->verdict == PF_VERDICT_FREEZE_TIMEOUT;
    /* Nothing was frozen for a child that could not even be parked: the failure is the child's. */
    if (step->verdict == PF_VERDICT_FREEZE_FAILED && child &&
        atomic_load(&child->page->exec_error) != 0)
        froze_not = 0;
    int failed = !was_good || plan->has_failed || (child && !pf_child_has_succeeded(child));
    end_step(supervisor, plan->first, failed, froze_not ? step->on_failure : 0);
}

/* ---- windows ---------------------------------------------------------------------------------- */

static int must_be_told(const struct pf_supervisor *supervisor)
{
    const struct pf_plan *plan = &supervisor->plan;
    return !plan->children[plan->first] ||
           (pf_step_at(supervisor, plan->first)->flags & PF_STEP_HOLD) != 0;
}

static void let_child_go(struct pf_supervisor *supervisor)
{
    struct pf_plan *plan = &supervisor->plan;
    if (plan->children[plan->first]->stage == PF_STAGE_STARTING) {
        pf_release_child(supervisor, plan->first);
        pf_step_at(supervisor, plan->first)->snapshot_ns =
            plan->children[plan->first]->page->start_ns;
    } else { /* it died while it was parked */
        pf_window_finish(&supervisor->window);
    }
}

static void tell_waiting(struct pf_supervisor *supervisor, const char *word)
{
    uint32_t index = supervisor->plan.first;
    struct pf_step *step = pf_step_at(supervisor, index);
    if (!supervisor->plan.children[index])
        step->snapshot_ns = pf_now_ns();
    if (step->flags & PF_STEP_PEER)
        pf_peer_notify(supervisor, word);
    pf_reply(supervisor, PF_REPLY_WAITING, (int)index, NULL);
}

static void close_window(struct pf_supervisor *supervisor, int verdict, const pf_fault *fault)
{
    struct pf_plan *plan = &supervisor->plan;
    struct pf_step *step = pf_step_at(supervisor, plan->first);
    struct pf_child *child = plan->children[plan->first];
    step->verdict = verdict;
    step->fault = *fault;
    plan->has_closed = 1;
    atomic_store(&supervisor->page->window_ns, 0);
    if (child && (child->stage == PF_STAGE_STARTING || child->stage == PF_STAGE_RUNNING))
        pf_plan_on_child(supervisor, plan->first, pf_child_end(child));
    end_window_if_due(supervisor);
}

static void begin_window(struct pf_supervisor *supervisor, uint32_t index)
{
    const struct pf_step *step = pf_step_at(supervisor, index);
    struct pf_window *window = &supervisor->window;
    struct pf_child *child = supervisor->plan.children[index];
    pf_fault fault = {.index = -1};
    window->options = step->window;
    window->awaits_command = child != NULL;
    int result = child ? pf_start_child(supervisor, index, &fault) : 0;
    if (result == 0) {
        atomic_store(&supervisor->page->window_ns, pf_now_ns());
        result = pf_window_begin_freeze(window, &fault);
    }
    if (result < 0)
        close_window(supervisor, PF_VERDICT_FREEZE_FAILED, &fault);
}

static void tell_descriptors(struct pf_supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->page->count; i++)
        if (supervisor->workers[i].fd >= 0)
            pf_reply_descriptor(supervisor, (int)i, supervisor->workers[i].fd);
}

void pf_plan_on_window(struct pf_supervisor *supervisor, enum pf_window_event event)
{
    struct pf_plan *plan = &supervisor->plan;
    const struct pf_window *window = &supervisor->window;
    switch (event) {
    case PF_WINDOW_EVENT_OPENED:
        tell_descriptors(supervisor);
        end_by_fault(supervisor, plan->first, &window->fault);
        break;
    case PF_WINDOW_EVENT_FLUSHED:
        end_by_fault(supervisor, plan->first, &window->fault);
        break;
    case PF_WINDOW_EVENT_FROZEN:
        if (must_be_told(supervisor))
            tell_waiting(supervisor, "frozen\n");
        else
            let_child_go(supervisor);
        break;
    case PF_WINDOW_EVENT_CLOSED:
        close_window(supervisor, (int)window->verdict, &window->fault);
        break;
    case PF_WINDOW_EVENT_NONE:
        break;
    }
}

/* ---- steps ------------------------------------------------------------------------------------ */

static void begin_child(struct pf_supervisor *supervisor, uint32_t index)
{
    struct pf_step *step = pf_step_at(supervisor, index);
    pf_fault fault;
    if (step->flags & PF_STEP_SNAPSHOT)
        step->snapshot_ns = step->begin_ns;
    if (pf_start_child(supervisor, index, &fault) < 0)
        end_by_fault(supervisor, index, &fault);
}

static void begin_flush(struct pf_supervisor *supervisor, uint32_t index)
{
    pf_fault fault;
    supervisor->window.options.flush = pf_step_at(supervisor, index)->window.flush;
    if (pf_window_begin_flush(&supervisor->window, &fault) < 0)
        end_by_fault(supervisor, index, &fault);
}

static void begin_open(struct pf_supervisor *supervisor, uint32_t index)
{
    pf_fault fault;
    if (pf_window_begin_open(&supervisor->window, &fault) < 0)
        end_by_fault(supervisor, index, &fault);
}

static void begin_wait(struct pf_supervisor *supervisor, uint32_t index)
{
    uint64_t limit_ns = pf_step_at(supervisor, index)->window.max_window_ns;
    if (limit_ns > 0)
        pf_timer_arm(supervisor->plan.wait_fd, pf_add_ns(pf_now_ns(), limit_ns));
    tell_waiting(supervisor, "unfrozen\n");
}

void pf_step_end_wait(struct pf_supervisor *supervisor, int failed, int error)
{
    uint32_t index = supervisor->plan.first;
    pf_timer_disarm(supervisor->plan.wait_fd);
    pf_step_at(supervisor, index)->fault.error = error;
    end_step(supervisor, index, failed, pf_step_at(supervisor, index)->on_failure);
}

void pf_step_begin(struct pf_supervisor *supervisor, uint32_t index)
{
    struct pf_step *step = pf_step_at(supervisor, index);
    supervisor->plan.has_closed = supervisor->plan.has_failed = 0;
    step->begin_ns = pf_now_ns();
    atomic_store(&step->status, PF_STATUS_RUNNING);
    pf_page_note(supervisor->page, PF_TRANSITION_STEP_BEGUN, (int)index, (int)step->kind);
    tell_step(supervisor, index);
    switch (step->kind) {
    case PF_STEP_OPEN:
        begin_open(supervisor, index);
        break;
    case PF_STEP_FLUSH:
        begin_flush(supervisor, index);
        break;
    case PF_STEP_CHILD:
        begin_child(supervisor, index);
        break;
    case PF_STEP_WINDOW:
        begin_window(supervisor, index);
        break;
    case PF_STEP_WAIT:
        begin_wait(supervisor, index);
        break;
    default: /* pf_plan_page_map() lets no other through */
        break;
    }
}

/* ---- what happens meanwhile ------------------------------------------------------------------- */

void pf_plan_proceed(struct pf_supervisor *supervisor, int failed)
{
    struct pf_plan *plan = &supervisor->plan;
    if (pf_step_find_lone(supervisor, PF_STEP_WAIT)) {
        pf_step_end_wait(supervisor, failed, 0);
        return;
    }
    if (!pf_step_find_lone(supervisor, PF_STEP_WINDOW) ||
        supervisor->window.stage != PF_WINDOW_OPEN || !must_be_told(supervisor))
        return;
    plan->has_failed = failed;
    if (!plan->children[plan->first])
        pf_window_finish(&supervisor->window);
    else if (failed)
        pf_window_give_up(&supervisor->window, PF_VERDICT_ABORTED);
    else if (pf_step_at(supervisor, plan->first)->snapshot_ns == 0)
        let_child_go(supervisor);
}

void pf_plan_on_wait_limit(struct pf_supervisor *supervisor)
{
    if (pf_timer_take(supervisor->plan.wait_fd) && pf_step_find_lone(supervisor, PF_STEP_WAIT))
        pf_step_end_wait(supervisor, 1, ETIMEDOUT);
}

/* The window need not wait for more than the snapshot's own end: not for what it left running, and
 * not for the grace of one that timed out. */
static void thaw_if_snapshot_ended(struct pf_supervisor *supervisor, uint32_t index)
{
    const struct pf_child *child = supervisor->plan.children[index];
    if (child->has_exited || child->attempt_ended || child->stage == PF_STAGE_ENDING ||
        child->stage == PF_STAGE_OVER) {
        pf_window_lose_command(&supervisor->window);
        pf_window_finish(&supervisor->window);
    }
}

void pf_plan_on_child(struct pf_supervisor *supervisor, uint32_t step, enum pf_child_event event)
{
    struct pf_child *child = supervisor->plan.children[step];
    if (pf_step_at(supervisor, step)->kind == PF_STEP_WINDOW) {
        /* A process left by an earlier window's command may end now: this window goes on. */
        if (pf_step_find_lone(supervisor, PF_STEP_WINDOW) != pf_step_at(supervisor, step))
            return;
        thaw_if_snapshot_ended(supervisor, step);
        if (child->is_parked)
            pf_window_stop_awaiting(&supervisor->window);
        end_window_if_due(supervisor);
        return;
    }
    pf_fault fault;
    if (event == PF_CHILD_EVENT_REPORTED)
        end_step(supervisor, step, !pf_child_has_succeeded(child),
                 pf_step_at(supervisor, step)->on_failure);
    else if (event == PF_CHILD_EVENT_AGAIN && pf_start_child(supervisor, step, &fault) < 0)
        end_by_fault(supervisor, step, &fault);
}
