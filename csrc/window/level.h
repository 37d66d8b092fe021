/* level.h - one job for all filesystems of one level: posting it, and its results. */
#ifndef PF_LEVEL_H
#define PF_LEVEL_H
#include "window/state.h"

/* Give the job to each worker of the window's level whose filesystem is in the state for it. The
 * stage waits for these workers, and for no others. Returns how many there are. Without
 * PF_WINDOW_PARALLEL one worker at a time freezes or thaws: call again until the result is 0. */
uint32_t pf_level_post(struct pf_window *window, enum pf_job job);
int pf_level_is_done(const struct pf_window *window);
/* Wait for no worker any more: the stage goes on without those that hang. */
void pf_level_stop_waiting(struct pf_window *window);
/* Fill `fault` for the first filesystem on which `op` failed. Returns its index, -1: there is
 * none. */
int pf_level_find_failed(const struct pf_window *window, uint32_t op, pf_fault *fault);
/* Note ETIMEDOUT for each worker that the stage still waits for: in its slot, and for the first one
 * in the window's fault. */
void pf_level_blame_busy(struct pf_window *window, int op);

#endif
