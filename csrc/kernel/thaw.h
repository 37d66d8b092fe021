/* thaw.h - thaw one filesystem and be sure of it. The order of several is order.h's. */
#ifndef PF_THAW_H
#define PF_THAW_H
#include "protocol/page.h"

/* FITHAW until it has worked, or the filesystem is not frozen, or it has failed for good. Returns 0,
 * EINVAL, or the error. */
int pf_fithaw(int fd);
/* The same for a slot: writes its state and times. Returns the new state. */
uint32_t pf_thaw(struct pf_page *page, struct pf_slot *slot, int fd);
/* The same, once, for what may not be frozen yet: then nothing changes. Returns whether it worked. */
int pf_thaw_if_frozen(struct pf_page *page, struct pf_slot *slot, int fd);
/* The same, after the slot's supervisor has died, which may have come further than the slot says. */
void pf_thaw_left(struct pf_page *page, struct pf_slot *slot, int fd);

#endif
