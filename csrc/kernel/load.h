/* load.h - whether others want the processors, right now. */
#ifndef PF_LOAD_H
#define PF_LOAD_H
#include <stdint.h>

/* Whether one of so many more threads might have to wait for a processor. Reads files: not for
 * inside the window. */
int pf_load_is_high(uint32_t threads);

#endif
