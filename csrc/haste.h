/* haste.h - what the machine does for a freeze and not otherwise: expedited grace periods, no idle
 * states, SCHED_FIFO where processors are short. Each by its flag. */
#ifndef PF_HASTE_H
#define PF_HASTE_H
#include "window.h"

void pf_haste_begin(struct pf_window *window);
/* The snapshot takes longer than waking late would. */
void pf_haste_let_idle(struct pf_window *window);
/* All but rcu_expedited, which goes back earlier: with the last FIFREEZE's return. */
void pf_haste_end(struct pf_window *window);

#endif
