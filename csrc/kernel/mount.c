#define _GNU_SOURCE
#include "kernel/mount.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/util.h"

int pf_open_mount(const char *path, uint64_t mount_id, pf_fault *fault)
{
    PF_AUTO_FD fd = PF_RETRY(open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC));
    if (fd < 0)
        return pf_fail_errno(fault, PF_OP_OPEN);

    /* The mount's id differs if somebody has unmounted the filesystem, or mounted another one over
     * the path, since the mount table was read. st_dev would not do: btrfs gives each subvolume an
     * anonymous device of its own, which mountinfo does not show. */
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0)
        return pf_fail_errno(fault, PF_OP_VERIFY);
    if (!(status.stx_mask & STATX_MNT_ID))
        return pf_fail(fault, PF_OP_VERIFY, ENOSYS);
    if (status.stx_mnt_id != mount_id)
        return pf_fail(fault, PF_OP_VERIFY, ESTALE);
    return pf_keep_fd(&fd);
}
