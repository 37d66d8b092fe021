/* load.h - whether others want the processors, right now. */
#ifndef PF_LOAD_H
#define PF_LOAD_H
#include <stdint.h>

struct pf_load {
    int fd; /* -1: then the load is never high */
    long processors;
};

void pf_load_open(struct pf_load *load);
/* Whether one of so many more threads might have to wait for a processor. */
int pf_load_is_high(const struct pf_load *load, uint32_t threads);

#endif
