/* wire.h - the messages between client and supervisor: small, of fixed size, over SOCK_SEQPACKET.
 * The plan, what became of it, and the filesystems are in shared memory. */
#ifndef PF_WIRE_H
#define PF_WIRE_H
#include "protocol/fault.h"

/* What the supervisor finds open. */
enum pf_inherited {
    PF_FD_SOCKET = 3,
    PF_FD_PAGE,
    PF_FD_CLIENT, /* a pidfd of the client */
    PF_FD_LOCK,
    PF_FD_DIRECTORY,
    PF_FD_END
};

/* The program's other role, its second argument; the first is the run's id in both. A successor finds
 * a pipe in the socket's place, for its word that all is done, and the lost supervisor's pidfd in the
 * client's. Then come the filesystems of the page that need a thaw, in their order. */
#define PF_ROLE_SUCCESSOR "successor"
#define PF_FD_DONE PF_FD_SOCKET
#define PF_FD_OWNER PF_FD_CLIENT
#define PF_FD_FILESYSTEMS PF_FD_END

enum pf_request_kind {
    PF_REQUEST_PLAN = 1, /* with the journal's descriptor, and the peer's two */
    PF_REQUEST_PROCEED,  /* error: 1, the step has failed */
    PF_REQUEST_ABORT,
    PF_REQUEST_BYE
};

enum pf_reply_kind {
    PF_REPLY_READY = 101,
    PF_REPLY_DESCRIPTOR, /* of filesystem `index`, so that the client can thaw it too */
    PF_REPLY_STEP,       /* it has begun or ended; the journal says more */
    PF_REPLY_WAITING,    /* the step waits for PF_REQUEST_PROCEED */
    PF_REPLY_ENDED,      /* the plan is over, or the fault says why it was refused */
    PF_REPLY_BYE /* index 1: a thread still hangs in the kernel, the supervisor stays for it */
};

/* Of PF_REPLY_READY: a client and a supervisor of different versions do not work together. */
#define PF_PROTOCOL_VERSION 2

struct pf_message {
    uint32_t kind; /* enum pf_request_kind or enum pf_reply_kind */
    int32_t index; /* a step or a filesystem, -1: none */
    uint32_t version;
    int32_t op; /* of a fault, PF_OP_NONE: none */
    int32_t fault_index;
    int32_t error;
};

_Static_assert(sizeof(struct pf_message) == 24, "no padding: what is sent is what was set");

#define PF_WIRE_MAX_FDS 3

/* Send one message with `count` descriptors. Never raises SIGPIPE. */
int pf_wire_send(int socket, const struct pf_message *message, const int *fds, int count,
                 pf_fault *fault);
/* Receive one message; up to PF_WIRE_MAX_FDS descriptors go to `fds` (-1: none). Returns 0, or
 * -EPIPE at the peer's end, -EAGAIN when there is nothing, -EBADMSG for anything misshapen. */
int pf_wire_receive(int socket, struct pf_message *message, int fds[PF_WIRE_MAX_FDS],
                    pf_fault *fault);

#endif
