#define _GNU_SOURCE
#include "base/util.h"
#include "supervisor/state.h"

static void take_plan(struct pf_supervisor *supervisor, int fds[PF_WIRE_MAX_FDS])
{
    pf_fault fault;
    int was_under_way = supervisor->plan.page && !supervisor->plan.is_over;
    if (supervisor->leaving || pf_plan_take(supervisor, fds, &fault) == 0)
        return;
    if (!was_under_way)
        pf_plan_release(supervisor);
    pf_reply(supervisor, PF_REPLY_ENDED, -1, &fault);
}

static void handle(struct pf_supervisor *supervisor, const struct pf_message *message,
                   int fds[PF_WIRE_MAX_FDS])
{
    pf_page_note(supervisor->page, PF_TRANSITION_REQUEST, message->index, (int)message->kind);
    switch (message->kind) {
    case PF_REQUEST_PLAN:
        take_plan(supervisor, fds);
        break;
    case PF_REQUEST_PROCEED:
        pf_plan_proceed(supervisor, message->error != 0);
        break;
    case PF_REQUEST_ABORT:
        pf_plan_abort(supervisor, PF_FACT_ABORTED | PF_FACT_INTERRUPTED);
        break;
    case PF_REQUEST_BYE:
        pf_shutdown_begin(supervisor);
        break;
    default: /* of no version of the client that we know */
        break;
    }
}

void pf_requests_receive(struct pf_supervisor *supervisor)
{
    struct pf_message message;
    int fds[PF_WIRE_MAX_FDS];
    pf_fault fault;
    int result = pf_wire_receive(PF_FD_SOCKET, &message, fds, &fault);
    if (result == -EAGAIN)
        return;
    if (result == -EPIPE || result == -ECONNRESET) {
        /* The client has closed its end without a word: it is going, or gone. */
        pf_on_client_death(supervisor);
        return;
    }
    if (result == 0)
        handle(supervisor, &message, fds);
    else if (result ==
             -EMFILE) /* its descriptors did not arrive; an answer is pending all the same */
        pf_reply(supervisor, PF_REPLY_ENDED, -1, &fault);
    for (int i = 0; i < PF_WIRE_MAX_FDS; i++)
        pf_close_fd(&fds[i]);
}
