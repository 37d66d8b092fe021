/* send.c - what the client asks of the supervisor, and what it reads of the shared pages. */
#define _GNU_SOURCE
#include "base/util.h"
#include "client/run.h"
#include "protocol/wire.h"

static int send_request(pf_run *run, int kind, int error, const int *fds, int count,
                        pf_fault *fault)
{
    const struct pf_message message = {.kind = (uint32_t)kind,
                                       .index = -1,
                                       .version = PF_PROTOCOL_VERSION,
                                       .fault_index = -1,
                                       .error = error};
    int result = pf_wire_send(run->socket_fd, &message, fds, count, fault);
    /* The caller learns of a lost supervisor in one way only: by the next event. */
    return result == -EPIPE || result == -ECONNRESET ? 0 : result;
}

int pf_run_request(pf_run *run, int kind, pf_fault *fault)
{
    return send_request(run, kind, 0, NULL, 0, fault);
}

int pf_run_request_proceed(pf_run *run, int failed, pf_fault *fault)
{
    return send_request(run, PF_REQUEST_PROCEED, failed, NULL, 0, fault);
}

int pf_run_request_abort(pf_run *run, pf_fault *fault)
{
    return pf_run_request(run, PF_REQUEST_ABORT, fault);
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* While the caller is busy in an open window, nobody else would see that the supervisor is lost. */
static int needs_watchdog(const struct pf_plan_page *plan)
{
    for (uint32_t i = 0; i < plan->count; i++)
        if (plan->steps[i].kind == PF_STEP_WINDOW &&
            (plan->steps[i].child_offset == 0 || (plan->steps[i].flags & PF_STEP_HOLD)))
            return 1;
    return 0;
}

static uint64_t longest_flush_ns(const struct pf_plan_page *plan)
{
    uint64_t longest = 0;
    for (uint32_t i = 0; i < plan->count; i++)
        if (plan->steps[i].kind == PF_STEP_WINDOW && plan->steps[i].window.flush.limit_ns > longest)
            longest = plan->steps[i].window.flush.limit_ns;
    return longest;
}

int pf_run_request_plan(pf_run *run, const pf_plan_options *options, pf_fault *fault)
{
    struct pf_plan_page *plan;
    if (run->plan && !atomic_load(&run->plan->is_over) && !pf_is_lost(run))
        return pf_fail(fault, PF_OP_SEQUENCE, EBUSY); /* the one before is not over */
    if ((options->notify_fd < 0) != (options->done_fd < 0))
        return pf_fail(fault, PF_OP_PLAN, EINVAL);
    PF_AUTO_FD plan_fd = pf_plan_page_create(&plan, run->directory_fd, run->page->run_id, options,
                                             fault);
    if (plan_fd < 0)
        return plan_fd;
    pf_watchdog_end(run); /* of the plan before, which it reads */
    pf_plan_page_unmap(run->plan);
    run->plan = plan;
    run->end.kind = PF_EVENT_TIMEOUT;
    run->flush_limit_ns = longest_flush_ns(plan);
    int result = needs_watchdog(plan) ? pf_watchdog_start(run, fault) : 0;
    const int fds[PF_WIRE_MAX_FDS] = {plan_fd, options->notify_fd, options->done_fd};
    int has_peer = options->notify_fd >= 0 && options->done_fd >= 0;
    if (result == 0)
        result = send_request(run, PF_REQUEST_PLAN, 0, fds, has_peer ? PF_WIRE_MAX_FDS : 1, fault);
    if (result < 0) {
        pf_watchdog_end(run);
        atomic_store(&plan->is_over, 1); /* it never began */
        run->end = (pf_event){.kind = PF_EVENT_ENDED, .index = -1, .fault = *fault};
    }
    return result;
}

/* ---- reading -------------------------------------------------------------------------------- */

static int check_step(pf_run *run, uint32_t step, pf_fault *fault)
{
    if (run->plan && step < run->plan->count)
        return 0;
    return pf_fail_at(fault, PF_OP_SEQUENCE, (int)step, ERANGE);
}

static struct pf_child_page *child_page(pf_run *run, uint32_t step, pf_fault *fault)
{
    struct pf_child_page *page = check_step(run, step, fault) < 0 ? NULL
                                                                  : pf_step_child(run->plan, step);
    if (!page)
        pf_fail_at(fault, PF_OP_SEQUENCE, (int)step, ERANGE);
    return page;
}

int pf_run_step(pf_run *run, uint32_t step, pf_step_report *report, pf_fault *fault)
{
    int result = check_step(run, step, fault);
    if (result == 0)
        pf_step_read(&run->plan->steps[step], report);
    return result;
}

int pf_run_child(pf_run *run, uint32_t step, pf_child_report *report, pf_fault *fault)
{
    const struct pf_child_page *page = child_page(run, step, fault);
    if (!page)
        return -ERANGE;
    pf_child_page_report(page, report);
    return 0;
}

int pf_run_child_output(pf_run *run, uint32_t step, char *buffer, uint32_t size, pf_fault *fault)
{
    const struct pf_child_page *page = child_page(run, step, fault);
    return page ? (int)pf_child_page_output(page, buffer, size) : -ERANGE;
}

uint32_t pf_run_facts(pf_run *run)
{
    return run->plan ? atomic_load(&run->plan->facts) : 0;
}

int pf_run_filesystem(pf_run *run, uint32_t index, pf_filesystem *out, pf_fault *fault)
{
    if (index >= run->page->count)
        return pf_fail_at(fault, PF_OP_SEQUENCE, (int)index, ERANGE);
    pf_slot_read(run->page, index, out);
    return 0;
}

int pf_run_transition(pf_run *run, uint64_t after, pf_transition *out)
{
    return pf_blackbox_read(&run->page->blackbox, after, out);
}
