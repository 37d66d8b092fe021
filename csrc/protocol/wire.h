/* wire.h - the messages between client and supervisor, of one small size, over SOCK_SEQPACKET. The
 * plan, its journal and the filesystems' states are in shared memory. */
#ifndef PF_WIRE_H
#define PF_WIRE_H
#include "protocol/fault.h"

/* The descriptors that the supervisor is started with. */
enum pf_inherited {
    PF_FD_SOCKET = 3,
    PF_FD_PAGE,
    PF_FD_CLIENT, /* a pidfd of the client */
    PF_FD_LOCK,
    PF_FD_DIRECTORY,
    PF_FD_END
};

/* The program's other role, in its second argument; the first is the run's id. In that role it has a
 * pipe in the socket's place, to which it writes when all is done, and in the client's place the lost
 * supervisor's pidfd, or nothing if that supervisor is known to be dead. A filesystem that needs a
 * thaw is at PF_FD_FILESYSTEMS plus its number in the page. */
#define PF_ROLE_RECOVER "recover"
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
    PF_REPLY_STEP,       /* a step has begun or ended; the journal has more */
    PF_REPLY_WAITING,    /* the step waits for PF_REQUEST_PROCEED */
    PF_REPLY_ENDED,      /* the plan is over, or the fault says why it was refused */
    PF_REPLY_BYE /* index 1: a thread still hangs in the kernel, and the supervisor waits for it */
};

/* In PF_REPLY_READY: client and supervisor have to be of one version. */
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
/* Receive one message; up to PF_WIRE_MAX_FDS descriptors go to `fds` (-1: none). Returns 0, -EPIPE
 * when the other side has closed, -EAGAIN without a message, or -EBADMSG for a malformed one. */
int pf_wire_receive(int socket, struct pf_message *message, int fds[PF_WIRE_MAX_FDS],
                    pf_fault *fault);

#endif
