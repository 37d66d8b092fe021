/* harden.h - protection of a process that holds a filesystem frozen: from the OOM killer, and from
 * page faults. */
#ifndef PF_HARDEN_H
#define PF_HARDEN_H

/* Set oom_score_adj to -1000, so that the OOM killer takes another process. Returns the value
 * before. */
int pf_lower_oom_score(void);
/* Lock all pages in memory: a page fault would read from a frozen filesystem, reclaim would write
 * to it. */
void pf_lock_memory(void);

#endif
