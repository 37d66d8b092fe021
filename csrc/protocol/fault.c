#include "protocol/fault.h"

static const char *const texts[PF_OP_COUNT] = {
    [PF_OP_NONE] = "nothing failed",
    [PF_OP_DIRECTORY] = "opening the state directory",
    [PF_OP_LOCK] = "taking the lock",
    [PF_OP_PAGE] = "making the state page",
    [PF_OP_PAGE_READ] = "reading the state page",
    [PF_OP_PIDFD] = "pidfd_open",
    [PF_OP_SOCKET] = "socketpair",
    [PF_OP_SPAWN] = "starting the supervisor",
    [PF_OP_READY] = "waiting for the supervisor to be ready",
    [PF_OP_SETUP] = "setting up the supervisor",
    [PF_OP_SEND] = "sending to the supervisor",
    [PF_OP_RECEIVE] = "receiving from the supervisor",
    [PF_OP_OPEN] = "opening the mount point",
    [PF_OP_VERIFY] = "verifying the mount point",
    [PF_OP_FLUSH] = "flushing (syncfs)",
    [PF_OP_FREEZE] = "freezing (FIFREEZE)",
    [PF_OP_THAW] = "thawing (FITHAW)",
    [PF_OP_PLAN] = "handing over the plan",
    [PF_OP_CHILD_FORK] = "starting a child process",
    [PF_OP_SEQUENCE] = "a request out of order",
    [PF_OP_WATCHDOG] = "starting the watchdog thread",
    [PF_OP_RCU] = "putting rcu_expedited back",
};

const char *pf_op_text(int op)
{
    return op >= 0 && op < PF_OP_COUNT ? texts[op] : "an unknown operation";
}
