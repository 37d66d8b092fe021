/* process.h - what /proc says of a process, and of all processes below one. */
#ifndef PF_PROCESS_H
#define PF_PROCESS_H
#include <sys/types.h>

/* The scheduler's state of a process, a letter; 0: /proc does not say. */
char pf_process_state(pid_t pid);
/* Send `signal` to every living process below `root` that is not in the process group `except`
 * (0: none is excepted). Returns how many there were, zombies not counted, or -errno. */
int pf_tree_signal(pid_t root, int signal, pid_t except);

#endif
