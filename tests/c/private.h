/* private.h - mounts that nobody else sees, and that end with the program. */
#ifndef PRIVATE_H
#define PRIVATE_H
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static inline int private_root(void)
{
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* In a chroot "/" may be a plain directory, whose mount no path leads to (EINVAL). Entering a
 * namespace, be it our own, sets the root to the namespace's; afterwards we go back. */
static inline int private_root_from_outside(void)
{
    int namespace = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int done = namespace >= 0 && root >= 0 && here >= 0 && setns(namespace, CLONE_NEWNS) == 0 &&
               private_root() && fchdir(root) == 0 && chroot(".") == 0 && fchdir(here) == 0;
    close(namespace);
    close(root);
    close(here);
    return done;
}

/* A mount namespace of our own; 0 where that is not allowed. Before any thread is started. */
static inline int private_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 &&
           (private_root() || (errno == EINVAL && private_root_from_outside()));
}

static inline void private_tmpfs(const char *path, const char *options)
{
    REQUIRE(mkdir(path, 0700) == 0 || errno == EEXIST);
    REQUIRE(mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0);
}

#endif
