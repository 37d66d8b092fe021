/* wire.h - the messages between client and supervisor: small, of fixed size, over SOCK_SEQPACKET.
 * Whatever is large (a child's arguments and output, the filesystems) is in shared memory. */
#ifndef PF_WIRE_H
#define PF_WIRE_H
#include "fault.h"

/* What the supervisor finds open. */
enum pf_inherited {
    PF_FD_SOCKET = 3,
    PF_FD_PAGE,
    PF_FD_CLIENT, /* a pidfd of the client */
    PF_FD_LOCK,
    PF_FD_DIRECTORY,
    PF_FD_END
};

/* The program's other role, its second argument; the first is the run's id in both. An heir finds
 * a pipe in the socket's place, for its word that all is done, and the lost supervisor's pidfd in the
 * client's. Then come the filesystems of the page that need a thaw, in their order. */
#define PF_HEIR "heir"
#define PF_FD_DONE PF_FD_SOCKET
#define PF_FD_OWNER PF_FD_CLIENT
#define PF_FD_FILESYSTEMS PF_FD_END

enum pf_ask {
    PF_ASK_OPEN = 1,
    PF_ASK_FLUSH,
    PF_ASK_WINDOW,
    PF_ASK_THAW,
    PF_ASK_ABORT,
    PF_ASK_CHILD, /* with the child page's descriptor */
    PF_ASK_END,
    PF_ASK_BYE
};

enum pf_tell {
    PF_TELL_READY = 101,
    PF_TELL_DESCRIPTOR, /* of filesystem `index`, so that the client can thaw it too */
    PF_TELL_OPENED,
    PF_TELL_FLUSHED,
    PF_TELL_FROZEN,
    PF_TELL_CLOSED, /* verdict */
    PF_TELL_CHILD,
    PF_TELL_BYE /* index 1: a thread still hangs in the kernel, the supervisor stays for it */
};

struct pf_message {
    uint32_t kind; /* enum pf_ask or enum pf_tell */
    int32_t index; /* a child or a filesystem, -1: none */
    int32_t verdict;
    int32_t step; /* of a fault, PF_STEP_NONE: none */
    int32_t fault_index;
    int32_t error;
    int32_t replaces; /* with PF_ASK_CHILD: a staged child that becomes superfluous, -1: none */
    uint32_t flags;
    uint32_t rounds;
    uint32_t reserved;
    uint64_t spend_ns;
    uint64_t limit_ns;
    uint64_t max_window_ns;
    uint64_t freeze_timeout_ns;
};

_Static_assert(sizeof(struct pf_message) == 72, "no padding: what is sent is what was set");

#define PF_WIRE_MAX_FDS 2

/* Send one message with `count` descriptors. Never raises SIGPIPE. */
int pf_wire_send(int socket, const struct pf_message *message, const int *fds, int count,
                 pf_fault *fault);
/* Receive one message; up to PF_WIRE_MAX_FDS descriptors go to `fds` (-1: none). Returns 0, or
 * -EPIPE at the peer's end, -EAGAIN when there is nothing, -EBADMSG for anything misshapen. */
int pf_wire_receive(int socket, struct pf_message *message, int fds[PF_WIRE_MAX_FDS],
                    pf_fault *fault);

#endif
