#define _GNU_SOURCE
#include "kernel/latency.h"

#include <fcntl.h>

#include "base/util.h"

#define NO_WISH_US 2000000000 /* PM_QOS_CPU_LATENCY_DEFAULT_VALUE */

int pf_latency_open(void)
{
    return open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
}

static void request(int fd, int32_t latency_us)
{
    if (fd >= 0) /* a failed request costs time only */
        (void)!PF_RETRY(write(fd, &latency_us, sizeof latency_us));
}

void pf_latency_hold(int fd)
{
    request(fd, 0);
}

void pf_latency_release(int fd)
{
    request(fd, NO_WISH_US);
}
