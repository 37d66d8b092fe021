#define _GNU_SOURCE
#include "supervisor/state.h"

static void send_to_client(struct pf_supervisor *supervisor, const struct pf_message *message,
                           const int *fds, int count)
{
    pf_fault ignored;
    /* The loop never waits for the client. The send fails if the client is gone, or has left the
     * queue full of unread messages: then the loop gives the client up like a dead one. */
    if (supervisor->client_lives && !supervisor->client_is_backlogged &&
        pf_wire_send(PF_FD_SOCKET, message, fds, count, &ignored) < 0)
        supervisor->client_is_backlogged = 1;
}

void pf_reply(struct pf_supervisor *supervisor, enum pf_reply_kind kind, int index,
              const pf_fault *fault)
{
    struct pf_message message = {.kind = kind,
                                 .index = index,
                                 .version = PF_PROTOCOL_VERSION,
                                 .fault_index = -1};
    if (fault) {
        message.op = fault->op;
        message.fault_index = fault->index;
        message.error = fault->error;
    }
    send_to_client(supervisor, &message, NULL, 0);
}

void pf_reply_descriptor(struct pf_supervisor *supervisor, int index, int fd)
{
    struct pf_message message = {.kind = PF_REPLY_DESCRIPTOR, .index = index, .fault_index = -1};
    send_to_client(supervisor, &message, &fd, 1);
}
