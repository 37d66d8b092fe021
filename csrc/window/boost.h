/* boost.h - settings of the machine that make a freeze quicker: expedited grace periods, no idle
 * states, SCHED_FIFO where processors are short. Each has a flag. */
#ifndef PF_BOOST_H
#define PF_BOOST_H
#include "window/state.h"

void pf_boost_begin(struct pf_window *window);
/* Let processors idle again: the snapshot takes longer than a late wake-up would. */
void pf_boost_let_idle(struct pf_window *window);
/* Undo all but rcu_expedited, which is put back earlier: when the last FIFREEZE has returned. */
void pf_boost_end(struct pf_window *window);

#endif
