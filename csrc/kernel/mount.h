/* mount.h - opening a mount point, and knowing that it is the mount that was chosen. */
#ifndef PF_MOUNT_H
#define PF_MOUNT_H
#include "protocol/fault.h"

/* Open a mount point; PF_OP_VERIFY fails with ESTALE when another mount is there. Returns its
 * descriptor. */
int pf_open_mount(const char *path, uint64_t mount_id, pf_fault *fault);

#endif
