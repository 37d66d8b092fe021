/* private.h - mounts that nobody else sees, and that end with the program. */
#ifndef PRIVATE_H
#define PRIVATE_H
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "check.h"

/* A mount namespace of our own; 0 where that is not allowed. Before any thread is started. */
static inline int private_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static inline void private_tmpfs(const char *path, const char *options)
{
    REQUIRE(mkdir(path, 0700) == 0 || errno == EEXIST);
    REQUIRE(mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0);
}

#endif
