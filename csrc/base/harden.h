/* harden.h - what keeps a process that holds something frozen from being killed or paged out. */
#ifndef PF_HARDEN_H
#define PF_HARDEN_H

/* The OOM killer must find somebody else while something is frozen. Returns the score before. */
int pf_lower_oom_score(void);
/* No page of ours may have to be read from, or make room on, a frozen filesystem. */
void pf_lock_memory(void);

#endif
