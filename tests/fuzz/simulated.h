/* simulated.h - filesystems that are nothing but a flag, behind the system calls that the workers
 * make: for anything that may be asked in any order, on any machine. */
#ifndef SIMULATED_H
#define SIMULATED_H
#include <errno.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "fuzz.h"
#include "inputs.h"
#include "protocol/fault.h"

/* What fails, and for which of them: bits of struct simulated's `fails`. */
enum failing {
    FAILS_OPEN = 1,
    FAILS_FLUSH = 2,
    FAILS_FREEZE = 4,
    FAILS_THAW_ONCE = 8,
    FOREIGN_FREEZE = 16 /* somebody else's, and so it stays */
};

struct simulated {
    _Atomic int fd;
    _Atomic int frozen;
    _Atomic int fails;
};

static struct simulated simulated[SIMULATED_COUNT];
static inline struct simulated *simulated_by_fd(int fd)
{
    for (int i = 0; i < SIMULATED_COUNT; i++)
        if (simulated[i].fd == fd)
            return &simulated[i];
    return NULL;
}

int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_syncfs(int fd);
int __wrap_pf_open_mount(const char *path, uint64_t mount_id, pf_fault *fault);
int __wrap_pf_load_is_high(uint32_t threads);

static inline int fail_with(int error)
{
    errno = error;
    return -1;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    struct simulated *one = simulated_by_fd(fd);
    if (request != FIFREEZE && request != FITHAW)
        return __real_ioctl(fd, request, argument);
    MUST(one != NULL);
    if (request == FIFREEZE && one->fails & FAILS_FREEZE)
        return fail_with(EIO);
    if (request == FIFREEZE)
        return atomic_exchange(&one->frozen, 1) ? fail_with(EBUSY) : 0;
    MUST(!(one->fails & FOREIGN_FREEZE)); /* never thaw what is not ours */
    if (atomic_fetch_and(&one->fails, ~FAILS_THAW_ONCE) & FAILS_THAW_ONCE)
        return fail_with(EIO);
    return atomic_exchange(&one->frozen, 0) ? 0 : fail_with(EINVAL);
}

int __wrap_syncfs(int fd)
{
    const struct simulated *one = simulated_by_fd(fd);
    MUST(one != NULL);
    MUST(!one->frozen || one->fails & FOREIGN_FREEZE); /* it would hang */
    return one->fails & FAILS_FLUSH ? fail_with(EIO) : 0;
}

int __wrap_pf_open_mount(const char *path, uint64_t mount_id, pf_fault *fault)
{
    struct simulated *one = &simulated[mount_id];
    MUST(path[0] == '/');
    if (one->fails & FAILS_OPEN)
        return pf_fail(fault, PF_OP_OPEN, ENOENT);
    MUST(one->fd < 0);
    one->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return one->fd;
}

/* No SCHED_FIFO for the harness. */
int __wrap_pf_load_is_high(uint32_t threads)
{
    (void)threads;
    return 0;
}

#endif
