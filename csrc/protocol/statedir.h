/* statedir.h - the state directory, its lock, and the files that processes share there. */
#ifndef PF_STATEDIR_H
#define PF_STATEDIR_H
#include "protocol/fault.h"

#define PF_LOCK_NAME "lock"

/* Open the state directory, made if it is not there; it must be ours and nobody else's to write. */
int pf_statedir_open(const char *path, pf_fault *fault);
/* Take the lock, without waiting: EWOULDBLOCK when another run has it. Returns its descriptor. */
int pf_statedir_lock(int directory_fd, pf_fault *fault);

/* Make the file RUN_ID SUFFIX, whole, and map it. Returns its descriptor, or -errno. */
int pf_statedir_create(int directory_fd, const char *run_id, const char *suffix, uint64_t size,
                       void **map);
/* Map a file that another process made, of at least that size: for reading only, if that is all that
 * the descriptor is for. -EBADMSG: it cannot be one. */
int pf_statedir_map(int fd, uint64_t least, void **map, uint64_t *size);
void pf_statedir_remove(int directory_fd, const char *run_id, const char *suffix);

#endif
