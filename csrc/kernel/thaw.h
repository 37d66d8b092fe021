/* thaw.h - thaw one filesystem and be sure of it. Shared by the supervisor's workers, the client's
 * rescue and the recovery of what a dead run left. */
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
/* The same, after whose slot it was has died: it may have come further than the slot says. */
void pf_thaw_left(struct pf_page *page, struct pf_slot *slot, int fd);
/* Thaw all that needs it, deepest level first: the reverse of the order of freezing. `fds` by slot;
 * -1 is passed over. A FIFREEZE whose thread may still be in the kernel is waited for by FITHAW,
 * possibly for ever; unless its process is dead, it is passed over too. Returns how many may still
 * be frozen. */
uint32_t pf_thaw_all(struct pf_page *page, const int *fds, int owner_is_dead);

#endif
