/* order.h - the order of thawing, the same in the window, the rescue and the recovery.
 *
 * It is the reverse of the order of freezing: what others lie on comes first, as FITHAW of those may
 * have to write to it. Those of one turn do not depend on each other and are thawed side by side; or
 * one at a time, if that is asked for. */
#ifndef PF_ORDER_H
#define PF_ORDER_H
#include "protocol/page.h"

/* How many turns there are, of freezing as of thawing. */
uint32_t pf_order_turns(const struct pf_page *page);
/* A filesystem's turn to be thawed, from 0 on; `turns` are pf_order_turns(). */
uint32_t pf_order_turn(const struct pf_page *page, uint32_t turns, uint32_t index);
/* The filesystem that is the n-th to be looked at in each turn. */
uint32_t pf_order_nth(const struct pf_page *page, uint32_t n);

#endif
