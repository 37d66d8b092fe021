/* process.h - what /proc says of a process, and of all processes below one. */
#ifndef PF_PROCESS_H
#define PF_PROCESS_H
#include <sys/types.h>

/* The scheduler's state of a process, a letter; 0: /proc does not say. */
char pf_process_state(pid_t pid);
/* Send `signal` to every living descendant of `root` outside the process group `except` (0: to all
 * of them). Returns the number of living descendants (no zombies), or -errno. */
int pf_tree_signal(pid_t root, int signal, pid_t except);

#endif
