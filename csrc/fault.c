#include "fault.h"

static const char *const texts[PF_STEP_COUNT] = {
    [PF_STEP_NONE] = "nothing failed",
    [PF_STEP_DIRECTORY] = "opening the state directory",
    [PF_STEP_LOCK] = "taking the lock",
    [PF_STEP_PAGE] = "making the state page",
    [PF_STEP_PAGE_READ] = "reading the state page",
    [PF_STEP_PIDFD] = "pidfd_open",
    [PF_STEP_SOCKET] = "socketpair",
    [PF_STEP_SPAWN] = "starting the supervisor",
    [PF_STEP_READY] = "waiting for the supervisor to be ready",
    [PF_STEP_SETUP] = "setting up the supervisor",
    [PF_STEP_SEND] = "sending to the supervisor",
    [PF_STEP_RECEIVE] = "receiving from the supervisor",
    [PF_STEP_OPEN] = "opening the mount point",
    [PF_STEP_VERIFY] = "verifying the mount point",
    [PF_STEP_FLUSH] = "flushing (syncfs)",
    [PF_STEP_FREEZE] = "freezing (FIFREEZE)",
    [PF_STEP_THAW] = "thawing (FITHAW)",
    [PF_STEP_CHILD_PAGE] = "sharing memory about a child process",
    [PF_STEP_CHILD_FORK] = "starting a child process",
    [PF_STEP_SEQUENCE] = "a request out of order",
    [PF_STEP_GUARD] = "starting the guard thread",
};

const char *pf_step_text(int step)
{
    return step >= 0 && step < PF_STEP_COUNT ? texts[step] : "an unknown step";
}
