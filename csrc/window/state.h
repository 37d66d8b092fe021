/* state.h - what a window is: its stage, its limits, its workers. */
#ifndef PF_WINDOW_STATE_H
#define PF_WINDOW_STATE_H
#include "protocol/page.h"
#include "window/worker.h"

enum pf_window_stage {
    PF_WINDOW_IDLE,
    PF_WINDOW_OPENING,
    PF_WINDOW_FLUSHING,
    PF_WINDOW_AWAITING, /* flushed, and waiting until the snapshot command is parked */
    PF_WINDOW_FREEZING,
    PF_WINDOW_OPEN, /* all frozen together */
    PF_WINDOW_THAWING,
    PF_WINDOW_SETTLING /* thawed, and waiting a moment for a FIFREEZE that was given up */
};

_Static_assert(PF_TRANSITION_WINDOW_SETTLING - PF_TRANSITION_WINDOW_IDLE == PF_WINDOW_SETTLING,
               "the kinds of transitions are in this order");

struct pf_window {
    struct pf_page *page;
    struct pf_worker *workers;
    uint32_t levels;
    int rcu_fd;
    int deadline_fd; /* timerfd: the window's end, from the first FIFREEZE on */
    int latency_fd;
    int limit_fd; /* timerfd: how long the present stage may take */

    enum pf_window_stage stage;
    uint32_t level; /* while thawing, the turn (order.h) */
    enum pf_verdict verdict;
    pf_fault fault; /* why the verdict is not good, or a stage has failed */

    int freeze_follows; /* the flush is part of a window */
    int awaits_command; /* the snapshot command is still on its way to being parked */
    pf_window_options options; /* of a flush alone only `flush`, which is lessened to end it */
    uint32_t round;
    uint64_t flush_begin_ns;
    uint64_t round_begin_ns;
    uint64_t round_before_ns; /* how long the last round took */
    uint64_t thaw_begin_ns;

    int is_realtime;
    int holds_latency;
};

#endif
