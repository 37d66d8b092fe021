/* recover.h - thawing what a lost supervisor left, in the order of thawing.
 *
 * FITHAW can hang: where what lies below is frozen by somebody else, or no longer answers. So each
 * filesystem has a thread of its own, and the caller chooses how long it waits. */
#ifndef PF_RECOVER_H
#define PF_RECOVER_H
#include "protocol/page.h"

/* The supervisor's last thread has ended, or is ending; else its pidfd. */
#define PF_OWNER_DEAD (-1)
#define PF_OWNER_DYING (-2)

/* Thaw all that needs it, put rcu_expedited back, and note it in the page. What may be in FIFREEZE
 * still is waited for: until the supervisor has ended; if it is dying, it is passed over.
 * `fds` are by slot; -1 is passed over. Threads that have not ended after `patience_ns` go on by
 * themselves. Returns how many filesystems may still be frozen. */
uint32_t pf_recover(struct pf_page *page, int page_fd, const int *fds, int owner,
                    uint64_t patience_ns);

#endif
