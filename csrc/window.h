/* window.h - opening, flushing, freezing and thawing all filesystems of a run: a state machine that
 * the loop drives with the workers' ends and two timers. */
#ifndef PF_WINDOW_H
#define PF_WINDOW_H
#include "page.h"
#include "worker.h"

enum pf_window_stage {
    PF_WINDOW_IDLE,
    PF_WINDOW_OPENING,
    PF_WINDOW_FLUSHING,
    PF_WINDOW_AWAITING, /* flushed; the snapshot command is not parked yet */
    PF_WINDOW_FREEZING,
    PF_WINDOW_OPEN, /* all frozen together */
    PF_WINDOW_THAWING,
    PF_WINDOW_SETTLING /* thawed; a FIFREEZE that was given up may be about to return */
};

enum pf_window_news {
    PF_NEWS_NONE,
    PF_NEWS_OPENED,
    PF_NEWS_FLUSHED,
    PF_NEWS_FROZEN,
    PF_NEWS_CLOSED
};

struct pf_window {
    struct pf_page *page;
    struct pf_worker *workers;
    uint32_t levels;
    int rcu_fd;
    int deadline_fd; /* timerfd: the window's end, from the first FIFREEZE on */
    int latency_fd;
    int limit_fd; /* timerfd: how long the present stage may take */

    enum pf_window_stage stage;
    uint32_t level;
    enum pf_verdict verdict;
    pf_fault fault; /* what made the verdict, or a stage fail */

    int freeze_follows; /* this flush is a window's */
    int awaits_command; /* the snapshot command is still on its way to being parked */
    pf_flush_options flush;
    uint32_t round;
    uint64_t flush_begin_ns;
    uint64_t round_begin_ns;
    uint64_t round_before_ns; /* how long the round before took */
    uint64_t thaw_begin_ns;

    uint64_t max_window_ns;
    uint64_t freeze_timeout_ns;
    uint32_t flags; /* enum pf_window_flag */
    int is_realtime;
    int is_wakeful;
};

int pf_window_init(struct pf_window *window, struct pf_page *page, struct pf_worker *workers,
                   pf_fault *fault);

/* Each begins a stage; 0, or -errno for a request out of order. */
int pf_window_begin_open(struct pf_window *window, pf_fault *fault);
int pf_window_begin_flush(struct pf_window *window, pf_fault *fault);
int pf_window_begin_freeze(struct pf_window *window, pf_fault *fault);

/* Go on as far as the workers allow; to be called until it returns PF_NEWS_NONE. */
enum pf_window_news pf_window_advance(struct pf_window *window);
/* The snapshot command is parked. */
void pf_window_stop_awaiting(struct pf_window *window);
/* The snapshot command has ended: if that was on its way to being parked, nothing is frozen for it. */
void pf_window_lose_command(struct pf_window *window);
/* The snapshot has ended well, the peer has answered: thaw. Late is PF_VERDICT_EXPIRED. */
void pf_window_finish(struct pf_window *window);
/* Give up and thaw what is frozen; the first reason given stays the verdict. */
void pf_window_give_up(struct pf_window *window, enum pf_verdict verdict);

/* End an opening or a flush with what has been done so far: nobody needs it any more. */
void pf_window_cut_short(struct pf_window *window);

void pf_window_on_deadline(struct pf_window *window);
void pf_window_on_limit(struct pf_window *window);

int pf_window_is_idle(const struct pf_window *window);
/* A worker still hangs in the kernel, or a filesystem could not be thawed. */
int pf_window_is_pending(const struct pf_window *window);

#endif
