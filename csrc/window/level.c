#include "window/level.h"

#include "protocol/order.h"

static int wants(const struct pf_worker *worker, enum pf_job job)
{
    uint32_t state = pf_slot_state(worker->slot);
    switch (job) {
    case PF_JOB_OPEN:
        return state == PF_STATE_CHOSEN;
    case PF_JOB_FLUSH:
    case PF_JOB_FREEZE:
        return state == PF_STATE_OPEN;
    case PF_JOB_THAW:
        return state == PF_STATE_FROZEN;
    }
    return 0;
}

static uint32_t level_of(const struct pf_window *window, uint32_t index, enum pf_job job)
{
    return job == PF_JOB_THAW ? pf_order_turn(window->page, window->levels, index)
                              : window->page->slots[index].level;
}

uint32_t pf_level_post(struct pf_window *window, enum pf_job job)
{
    uint32_t count = window->page->count, posted = 0, most = count;
    if ((job == PF_JOB_FREEZE || job == PF_JOB_THAW) &&
        !(window->options.flags & PF_WINDOW_PARALLEL))
        most = 1;
    for (uint32_t n = 0; n < count; n++) {
        uint32_t i = job == PF_JOB_THAW ? pf_order_nth(window->page, n) : n;
        struct pf_worker *worker = &window->workers[i];
        worker->awaited = posted < most && level_of(window, i, job) == window->level &&
                          wants(worker, job);
        posted += worker->awaited != 0;
    }
    pf_workers_post(window->workers, count, job);
    return posted;
}

int pf_level_is_done(const struct pf_window *window)
{
    for (uint32_t i = 0; i < window->page->count; i++)
        if (window->workers[i].awaited && pf_worker_busy(&window->workers[i]))
            return 0;
    return 1;
}

int pf_level_find_failed(const struct pf_window *window, uint32_t op, pf_fault *fault)
{
    for (uint32_t i = 0; i < window->page->count; i++) {
        const struct pf_slot *slot = &window->page->slots[i];
        if (slot->error != 0 && slot->op == op) {
            pf_fail_at(fault, (int)op, (int)i, slot->error);
            return (int)i;
        }
    }
    return -1;
}

void pf_level_stop_waiting(struct pf_window *window)
{
    for (uint32_t i = 0; i < window->page->count; i++)
        window->workers[i].awaited = 0;
}

void pf_level_blame_busy(struct pf_window *window, int op)
{
    pf_fail(&window->fault, op, ETIMEDOUT);
    for (uint32_t i = window->page->count; i-- > 0;)
        if (window->workers[i].awaited && pf_worker_busy(&window->workers[i])) {
            window->page->slots[i].error = ETIMEDOUT;
            window->page->slots[i].op = (uint32_t)op;
            window->fault.index = (int)i;
            pf_page_note(window->page, PF_TRANSITION_GIVEN_UP, (int)i, ETIMEDOUT);
        }
}
