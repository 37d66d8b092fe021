/* statedir.h - the state directory, its lock, and the files that processes share there. */
#ifndef PF_STATEDIR_H
#define PF_STATEDIR_H
#include "protocol/fault.h"

#define PF_LOCK_NAME "lock"

/* Open the state directory, and make it if it is missing. It must belong to us, and nobody else may
 * write to it. */
int pf_statedir_open(const char *path, pf_fault *fault);
/* Take the lock without waiting; EWOULDBLOCK: another run has it. Returns the descriptor. */
int pf_statedir_lock(int directory_fd, pf_fault *fault);

/* Make the file RUN_ID SUFFIX, allocate all of it, and map it. Returns the descriptor, or
 * -errno. */
int pf_statedir_create(int directory_fd, const char *run_id, const char *suffix, uint64_t size,
                       void **map);
/* Map a file of at least `least` bytes that another process made; for reading only, if the
 * descriptor is for reading only. -EBADMSG: the file cannot be one of ours. */
int pf_statedir_map(int fd, uint64_t least, void **map, uint64_t *size);
void pf_statedir_remove(int directory_fd, const char *run_id, const char *suffix);

#endif
