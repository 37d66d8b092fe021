#define _GNU_SOURCE
#include "base/harden.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/util.h"

/* Lowering the score needs CAP_SYS_RESOURCE. Without it the supervisor is small, and so an unlikely
 * victim. */
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

/* Without CAP_IPC_LOCK, RLIMIT_MEMLOCK limits MCL_FUTURE, and later mappings (of scripts' pages)
 * would fail. Then lock only the present pages. If they exceed the limit, run unlocked. */
void pf_lock_memory(void)
{
    (void)!mlockall(MCL_CURRENT | (may_lock_without_limit() ? MCL_FUTURE : 0));
}
