/* statedir.h - the state directory and its lock. */
#ifndef PF_STATEDIR_H
#define PF_STATEDIR_H
#include "protocol/fault.h"

#define PF_LOCK_NAME "lock"

/* Open the state directory, made if it is not there; it must be ours and nobody else's to write. */
int pf_statedir_open(const char *path, pf_fault *fault);
/* Take the lock, without waiting: EWOULDBLOCK when another run has it. Returns its descriptor. */
int pf_statedir_lock(int directory_fd, pf_fault *fault);

#endif
