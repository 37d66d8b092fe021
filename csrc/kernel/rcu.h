/* rcu.h - expedited RCU grace periods around FIFREEZE.
 *
 * freeze_super() takes three percpu rw-semaphores for writing, and each percpu_down_write() waits
 * for an RCU grace period: some 12 ms at 250 Hz. With rcu_expedited set they take microseconds, at
 * the price of interrupting every processor once per grace period. The value is written back the
 * moment the last FIFREEZE has returned.
 */
#ifndef PF_RCU_H
#define PF_RCU_H
#include "protocol/page.h"

/* A descriptor for rcu_expedited, or -1 where the kernel has none (CONFIG_TINY_RCU) or /sys is
 * read-only: freezing then works as ever, only slower. */
int pf_rcu_open(void);
/* Remember the value in the page, then raise it; does nothing if it is raised already. */
void pf_rcu_raise(struct pf_page *page, int fd);
/* Put the remembered value back. 0, or -errno with the page still remembering it. */
int pf_rcu_restore(struct pf_page *page, int fd);

#endif
