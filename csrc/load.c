#define _GNU_SOURCE
#include "load.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

void pf_load_open(struct pf_load *load)
{
    load->fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    load->processors = sysconf(_SC_NPROCESSORS_ONLN);
}

int pf_load_is_high(const struct pf_load *load, uint32_t threads)
{
    /* "0.00 0.17 0.61 1/310 4711": the fourth is nr_running() of this moment, with us among them.
     * The averages before it say what was, minutes ago. */
    char text[64] = {0};
    if (load->fd < 0 || PF_RETRY(pread(load->fd, text, sizeof text - 1, 0)) <= 0)
        return 0;
    const char *running = text;
    for (int field = 0; field < 3 && running; field++) {
        running = strchr(running, ' ');
        running = running ? running + 1 : NULL;
    }
    return running && strtol(running, NULL, 10) - 1 + threads > load->processors;
}
