/* mount.h - opening the mount that was chosen, and no other one at its path. */
#ifndef PF_MOUNT_H
#define PF_MOUNT_H
#include "protocol/fault.h"

/* Open a mount point. PF_OP_VERIFY fails with ESTALE if the mount there has another id. Returns the
 * descriptor. */
int pf_open_mount(const char *path, uint64_t mount_id, pf_fault *fault);

#endif
