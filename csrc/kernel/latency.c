#define _GNU_SOURCE
#include "kernel/latency.h"

#include <fcntl.h>

#include "base/util.h"

#define NO_WISH_US 2000000000 /* PM_QOS_CPU_LATENCY_DEFAULT_VALUE */

int pf_latency_open(void)
{
    return open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
}

void pf_latency_set(int fd, int holds)
{
    int32_t latency_us = holds ? 0 : NO_WISH_US;
    if (fd >= 0) /* a failed request costs time only */
        (void)!PF_RETRY(write(fd, &latency_us, sizeof latency_us));
}
