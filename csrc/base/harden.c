#define _GNU_SOURCE
#include "base/harden.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/util.h"

/* Lowering needs CAP_SYS_RESOURCE; without it the supervisor is merely small. */
int pf_lower_oom_score(void)
{
    char text[16] = "0";
    PF_AUTO_FD fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return 0;
    (void)!read(fd, text, sizeof text - 1);
    (void)!pwrite(fd, "-1000", 5, 0);
    return (int)strtol(text, NULL, 10);
}

static int may_lock_without_limit(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & 1u << CAP_IPC_LOCK);
}

/* Where RLIMIT_MEMLOCK binds, MCL_FUTURE would make later mappings fail, those of scripts' pages
 * above all: then what is there now is locked if it fits, and else it goes on unlocked. */
void pf_lock_memory(void)
{
    (void)!mlockall(MCL_CURRENT | (may_lock_without_limit() ? MCL_FUTURE : 0));
}
