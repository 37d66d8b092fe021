#define _GNU_SOURCE
#include "protocol/statedir.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
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

/* ---- shared files ----------------------------------------------------------------------------- */

/* A run id is checked when its state page is made; a longer name than this is nobody's. */
#define NAME_BYTES 64

static void name_file(char name[NAME_BYTES], const char *run_id, const char *suffix)
{
    snprintf(name, NAME_BYTES, "%s%s", run_id, suffix);
}

int pf_statedir_create(int directory_fd, const char *run_id, const char *suffix, uint64_t size,
                       void **map)
{
    char name[NAME_BYTES];
    name_file(name, run_id, suffix);
    PF_AUTO_FD fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                           0600);
    if (fd < 0)
        return -errno;
    /* Allocated here and now: on a full tmpfs this is ENOSPC; a sparse file would be a SIGBUS in the
     * middle of a window. */
    int error = posix_fallocate(fd, 0, (off_t)size);
    if (error == 0) {
        *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (*map == MAP_FAILED)
            error = errno;
    }
    if (error != 0) {
        unlinkat(directory_fd, name, 0);
        return -error;
    }
    return pf_keep_fd(&fd);
}

int pf_statedir_map(int fd, uint64_t least, void **map, uint64_t *size)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode) || status.st_size < (off_t)least)
        return -EBADMSG;
    int access = fcntl(fd, F_GETFL);
    if (access < 0)
        return -errno;
    int protection = (access & O_ACCMODE) == O_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE;
    *size = (uint64_t)status.st_size;
    *map = mmap(NULL, *size, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
    return *map == MAP_FAILED ? -errno : 0;
}

void pf_statedir_remove(int directory_fd, const char *run_id, const char *suffix)
{
    char name[NAME_BYTES];
    name_file(name, run_id, suffix);
    unlinkat(directory_fd, name, 0);
}
