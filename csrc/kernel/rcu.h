/* rcu.h - expedited RCU grace periods around FIFREEZE.
 *
 * freeze_super() takes three percpu rw-semaphores for writing, and each percpu_down_write() waits
 * for an RCU grace period: some 12 ms at 250 Hz. With rcu_expedited set a grace period takes
 * microseconds, and interrupts every processor once. The value is written back as soon as the last
 * FIFREEZE has returned.
 */
#ifndef PF_RCU_H
#define PF_RCU_H
#include "protocol/page.h"

/* Returns a descriptor for rcu_expedited, or -1 if the kernel has no such file (CONFIG_TINY_RCU) or
 * /sys is read-only: then freezing takes longer. */
int pf_rcu_open(void);
/* Save the value in the page, then write 1; does nothing if the value is not 0. */
void pf_rcu_raise(struct pf_page *page, int fd);
/* Write the saved value back. Returns 0, or -errno; after an error the value stays saved. */
int pf_rcu_restore(struct pf_page *page, int fd);

#endif
