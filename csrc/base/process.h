/* process.h - all processes below one, found in /proc. */
#ifndef PF_PROCESS_H
#define PF_PROCESS_H
#include <sys/types.h>

/* Send `signal` to every living process below `root` that is not in the process group `except`
 * (0: none is excepted). Returns how many there were, zombies not counted, or -errno. */
int pf_tree_signal(pid_t root, int signal, pid_t except);

#endif
