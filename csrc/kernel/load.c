#define _GNU_SOURCE
#include "kernel/load.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* "0.00 0.17 0.61 1/310 4711": the fourth field begins with the present nr_running(), which counts
 * us. The averages before it are of the last minutes. */
static long count_running(void)
{
    char text[64] = {0};
    PF_AUTO_FD fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || PF_RETRY(read(fd, text, sizeof text - 1)) <= 0)
        return 0;
    const char *field = text;
    for (int i = 0; i < 3 && field; i++) {
        field = strchr(field, ' ');
        field = field ? field + 1 : NULL;
    }
    return field ? strtol(field, NULL, 10) : 0;
}

int pf_load_is_high(uint32_t threads)
{
    cpu_set_t ours;
    int processors = sched_getaffinity(0, sizeof ours, &ours) == 0 ? CPU_COUNT(&ours) : 1;
    return count_running() - 1 + threads > processors;
}
