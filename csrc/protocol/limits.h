/* limits.h - how long one process gives another one. A limit that depends on another limit is
 * computed from it. */
#ifndef PF_LIMITS_H
#define PF_LIMITS_H
#include "base/util.h"

/* The supervisor waits this long for the FITHAWs of one turn (order.h). */
#define PF_THAW_LIMIT_NS (10 * PF_NS_PER_S)
/* For a FIFREEZE that was given up but does not hang: it returns within this, also if its grace
 * periods are no longer expedited. */
#define PF_SETTLE_LIMIT_NS (150 * PF_NS_PER_MS)
/* How long something may outlive SIGKILL (in uninterruptible sleep) before the run goes on. */
#define PF_KILL_LIMIT_NS (5 * PF_NS_PER_S)
/* What a machine that is short of processors adds to any of it. */
#define PF_MARGIN_NS (10 * PF_NS_PER_S)
/* A turn of a recovery (kernel/recover.h) that takes longer is taken to hang, and the next begins. */
#define PF_RECOVER_TURN_NS (250 * PF_NS_PER_MS)
/* For the FITHAWs that a recovery has begun, once it has begun all turns. */
#define PF_RECOVER_LIMIT_NS PF_THAW_LIMIT_NS

/* The longest that thawing takes a supervisor before it says how it went. One turn more than there
 * are: filesystems that are thawed one at a time go on side by side after the first that hangs. */
static inline uint64_t pf_limit_thawing_ns(uint32_t turns)
{
    return (turns + 1) * PF_THAW_LIMIT_NS + PF_SETTLE_LIMIT_NS;
}

/* The client's patience with a supervisor that thaws. */
static inline uint64_t pf_limit_thawed_ns(uint32_t turns)
{
    return pf_limit_thawing_ns(turns) + PF_MARGIN_NS;
}

/* The client's patience with a supervisor that was told to leave: scripts may outlive SIGKILL, and
 * that is all that they are given any more. */
static inline uint64_t pf_limit_leaving_ns(uint32_t turns)
{
    return pf_limit_thawed_ns(turns) + PF_KILL_LIMIT_NS;
}

/* The longest that it takes a recovery to begin all turns: after a FITHAW that hangs, each waits. */
static inline uint64_t pf_limit_recovering_ns(uint32_t turns)
{
    return turns * PF_RECOVER_TURN_NS;
}

#endif
