/* window.h - opening, flushing, freezing and thawing all filesystems of a run: a state machine that
 * the loop drives with the workers' ends and two timers. */
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

/* Each begins a stage; 0, or -errno for a request out of order. */
int pf_window_begin_open(struct pf_window *window, pf_fault *fault);
int pf_window_begin_flush(struct pf_window *window, pf_fault *fault);
int pf_window_begin_freeze(struct pf_window *window, pf_fault *fault);

/* Go on as far as the workers allow; to be called until it returns PF_WINDOW_EVENT_NONE. */
enum pf_window_event pf_window_advance(struct pf_window *window);
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
