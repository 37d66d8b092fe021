/* level.h - one job for all filesystems of one level: posting it, and what came of it. */
#ifndef PF_LEVEL_H
#define PF_LEVEL_H
#include "window/state.h"

/* Give the job to every worker of the window's level whose filesystem is in the state for it, and
 * wait for these and no others from now on. Freezing and thawing may be asked for one at a time: it
 * is to be called again until it returns 0, the number of workers that got the job. */
uint32_t pf_level_post(struct pf_window *window, enum pf_job job);
int pf_level_is_done(const struct pf_window *window);
/* What hangs is left to itself; the stage goes on without it. */
void pf_level_stop_waiting(struct pf_window *window);
/* The first filesystem that the present stage failed on, as a fault; -1: none. */
int pf_level_find_failed(const struct pf_window *window, uint32_t op, pf_fault *fault);
/* Those that keep the present stage from ending hang, as far as we can know. The fault names the
 * first, the slots all of them. */
void pf_level_blame_busy(struct pf_window *window, int op);

#endif
