/* load.h - whether other threads want the processors right now. */
#ifndef PF_LOAD_H
#define PF_LOAD_H
#include <stdint.h>

/* Whether one of `threads` more threads might have to wait for a processor. Reads /proc/loadavg:
 * not to be called inside the window. */
int pf_load_is_high(uint32_t threads);

#endif
