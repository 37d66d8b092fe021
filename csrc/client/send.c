/* ask.c - what the client asks of the supervisor, and what it reads of the shared pages. */
#define _GNU_SOURCE
#include "base/util.h"
#include "client/run.h"
#include "protocol/wire.h"

static int ask(pf_run *run, struct pf_message *message, const int *fds, int count, pf_fault *fault)
{
    int result = pf_wire_send(run->socket_fd, message, fds, count, fault);
    /* That the supervisor is lost is told in one way only: as the next event. */
    return result == -EPIPE || result == -ECONNRESET ? 0 : result;
}

int pf_run_request(pf_run *run, int kind, int index, pf_fault *fault)
{
    struct pf_message message = {.kind = (uint32_t)kind,
                                 .index = index,
                                 .fault_index = -1,
                                 .cancels = -1};
    return ask(run, &message, NULL, 0, fault);
}

int pf_run_request_open(pf_run *run, pf_fault *fault)
{
    return pf_run_request(run, PF_REQUEST_OPEN, -1, fault);
}

static struct pf_message flush_message(enum pf_request_kind kind, const pf_flush_options *flush)
{
    return (struct pf_message){.kind = kind,
                               .index = -1,
                               .fault_index = -1,
                               .cancels = -1,
                               .rounds = flush->rounds,
                               .spend_ns = flush->spend_ns,
                               .limit_ns = flush->limit_ns};
}

int pf_run_request_flush(pf_run *run, const pf_flush_options *flush, pf_fault *fault)
{
    struct pf_message message = flush_message(PF_REQUEST_FLUSH, flush);
    return ask(run, &message, NULL, 0, fault);
}

int pf_run_request_window(pf_run *run, const pf_window_options *window, pf_fault *fault)
{
    struct pf_message message = flush_message(PF_REQUEST_WINDOW, &window->flush);
    message.index = window->child;
    message.flags = window->flags;
    message.max_window_ns = window->max_window_ns;
    message.freeze_timeout_ns = window->freeze_timeout_ns;
    const int peer[PF_WIRE_MAX_FDS] = {window->notify_fd, window->done_fd};
    int peers = window->notify_fd >= 0 && window->done_fd >= 0 ? 2 : 0;

    if (atomic_load(&run->requested_ns) != 0)
        return pf_fail(fault, PF_OP_SEQUENCE, EBUSY); /* the one before is not over */
    run->flush_limit_ns = window->flush.limit_ns;
    run->max_window_ns = window->max_window_ns;
    atomic_store(&run->requested_ns, pf_now_ns());
    int result = window->child < 0 ? pf_guard_start(run, fault) : 0;
    if (result == 0)
        result = ask(run, &message, peer, peers, fault);
    if (result < 0) {
        atomic_store(&run->requested_ns, 0);
        pf_guard_end(run);
    }
    return result;
}

int pf_run_request_thaw(pf_run *run, pf_fault *fault)
{
    return pf_run_request(run, PF_REQUEST_THAW, -1, fault);
}

int pf_run_request_abort(pf_run *run, pf_fault *fault)
{
    return pf_run_request(run, PF_REQUEST_ABORT, -1, fault);
}

int pf_run_request_end(pf_run *run, int child, pf_fault *fault)
{
    return pf_run_request(run, PF_REQUEST_END, child, fault);
}

int pf_run_request_child(pf_run *run, const pf_child_options *options, pf_fault *fault)
{
    if (run->child_count == PF_CLIENT_MAX_CHILDREN)
        return pf_fail(fault, PF_OP_CHILD_PAGE, EAGAIN);
    struct pf_child_page *page;
    PF_AUTO_FD page_fd = pf_child_page_create(&page, options, fault);
    if (page_fd < 0)
        return page_fd;
    int index = run->child_count;
    struct pf_message message = {.kind = PF_REQUEST_CHILD,
                                 .index = index,
                                 .fault_index = -1,
                                 .cancels = options->cancels};
    const int fds[1] = {page_fd};
    int result = ask(run, &message, fds, 1, fault);
    if (result < 0) {
        pf_child_page_unmap(page);
        return result;
    }
    run->children[index] = page;
    run->child_count++;
    return index;
}

/* ---- reading -------------------------------------------------------------------------------- */

static struct pf_child_page *child_page(pf_run *run, int child, pf_fault *fault)
{
    if (child >= 0 && child < run->child_count)
        return run->children[child];
    pf_fail_at(fault, PF_OP_SEQUENCE, child, ERANGE);
    return NULL;
}

int pf_run_child(pf_run *run, int child, pf_child_report *report, pf_fault *fault)
{
    const struct pf_child_page *page = child_page(run, child, fault);
    if (!page)
        return -ERANGE;
    pf_child_page_report(page, report);
    return 0;
}

int pf_run_child_output(pf_run *run, int child, char *buffer, uint32_t size, pf_fault *fault)
{
    const struct pf_child_page *page = child_page(run, child, fault);
    return page ? (int)pf_child_page_output(page, buffer, size) : -ERANGE;
}

int pf_run_filesystem(pf_run *run, uint32_t index, pf_filesystem *out, pf_fault *fault)
{
    if (index >= run->page->count)
        return pf_fail_at(fault, PF_OP_SEQUENCE, (int)index, ERANGE);
    pf_slot_read(run->page, index, out);
    return 0;
}

int pf_run_supervisor_pid(pf_run *run)
{
    return run->supervisor;
}
