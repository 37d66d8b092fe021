/* boost.h - what the machine does for a freeze and not otherwise: expedited grace periods, no idle
 * states, SCHED_FIFO where processors are short. Each by its flag. */
#ifndef PF_BOOST_H
#define PF_BOOST_H
#include "window/state.h"

void pf_boost_begin(struct pf_window *window);
/* The snapshot takes longer than waking late would. */
void pf_boost_let_idle(struct pf_window *window);
/* All but rcu_expedited, which goes back earlier: with the last FIFREEZE's return. */
void pf_boost_end(struct pf_window *window);

#endif
