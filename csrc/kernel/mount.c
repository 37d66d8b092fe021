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

    /* The mount's id, not st_dev: btrfs gives every subvolume an anonymous device of its own, which
     * mountinfo does not show. Between the look-up and this open something may have been mounted
     * over the path, or the filesystem unmounted; then the id differs. */
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0)
        return pf_fail_errno(fault, PF_OP_VERIFY);
    if (!(status.stx_mask & STATX_MNT_ID))
        return pf_fail(fault, PF_OP_VERIFY, ENOSYS);
    if (status.stx_mnt_id != mount_id)
        return pf_fail(fault, PF_OP_VERIFY, ESTALE);
    return pf_keep_fd(&fd);
}
