/* window.h - opening, flushing, freezing and thawing all filesystems of a run. A state machine: the
 * loop drives it when workers have ended and when one of two timers fires. */
#ifndef PF_WINDOW_H
#define PF_WINDOW_H
#include "window/state.h"

enum pf_window_event {
    PF_WINDOW_EVENT_NONE,
    PF_WINDOW_EVENT_OPENED,
    PF_WINDOW_EVENT_FLUSHED,
    PF_WINDOW_EVENT_FROZEN,
    PF_WINDOW_EVENT_CLOSED
};

int pf_window_init(struct pf_window *window, struct pf_page *page, struct pf_worker *workers,
                   pf_fault *fault);

/* Begin a stage. Returns 0, or -errno for a request out of order. */
int pf_window_begin_open(struct pf_window *window, pf_fault *fault);
int pf_window_begin_flush(struct pf_window *window, pf_fault *fault);
int pf_window_begin_freeze(struct pf_window *window, pf_fault *fault);

/* Go on until a worker has to be waited for. Call again until it returns PF_WINDOW_EVENT_NONE. */
enum pf_window_event pf_window_advance(struct pf_window *window);
/* The snapshot command is parked. */
void pf_window_stop_awaiting(struct pf_window *window);
/* The snapshot command has ended. If it was not parked yet, nothing is frozen. */
void pf_window_lose_command(struct pf_window *window);
/* The snapshot has been taken: thaw. After the deadline the verdict is PF_VERDICT_EXPIRED. */
void pf_window_finish(struct pf_window *window);
/* Give up, and thaw what is frozen. The first verdict given stays. */
void pf_window_give_up(struct pf_window *window, enum pf_verdict verdict);

/* End an opening or a flush at once; the rest of it is not done. */
void pf_window_cut_short(struct pf_window *window);

void pf_window_on_deadline(struct pf_window *window);
void pf_window_on_limit(struct pf_window *window);

int pf_window_is_idle(const struct pf_window *window);
/* Whether a worker still hangs in the kernel. */
int pf_window_is_pending(const struct pf_window *window);

#endif
