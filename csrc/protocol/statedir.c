#define _GNU_SOURCE
#include "protocol/statedir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/util.h"

int pf_statedir_open(const char *path, pf_fault *fault)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return pf_fail_errno(fault, PF_OP_DIRECTORY);
    PF_AUTO_FD fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return pf_fail_errno(fault, PF_OP_DIRECTORY);
    /* Somebody else who may write here could put a lock or a page of theirs in our way. */
    if (status.st_uid != geteuid() || (status.st_mode & 022) != 0)
        return pf_fail(fault, PF_OP_DIRECTORY, EPERM);
    return pf_keep_fd(&fd);
}

int pf_statedir_lock(int directory_fd, pf_fault *fault)
{
    PF_AUTO_FD fd = openat(directory_fd, PF_LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                           0600);
    if (fd < 0 || PF_RETRY(flock(fd, LOCK_EX | LOCK_NB)) < 0)
        return pf_fail_errno(fault, PF_OP_LOCK);
    return pf_keep_fd(&fd);
}

int pf_lock(const char *directory, pf_fault *fault)
{
    PF_AUTO_FD directory_fd = pf_statedir_open(directory, fault);
    return directory_fd < 0 ? directory_fd : pf_statedir_lock(directory_fd, fault);
}
