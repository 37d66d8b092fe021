/* timer.h - timerfds on CLOCK_MONOTONIC, armed with absolute times. */
#ifndef PF_TIMER_H
#define PF_TIMER_H
#include <stdint.h>

/* A descriptor, or -1 with errno. */
int pf_timer_create(void);
/* A moment in the past fires at once. */
void pf_timer_arm(int timer_fd, uint64_t at_ns);
void pf_timer_disarm(int timer_fd);
/* Whether it has fired since it was armed; an event of the same turn may have set it anew. */
int pf_timer_has_fired(int timer_fd);

#endif
