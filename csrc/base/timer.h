/* timer.h - timerfds on CLOCK_MONOTONIC, armed with absolute times, and waiting with a limit. */
#ifndef PF_TIMER_H
#define PF_TIMER_H
#include <stdint.h>

/* Returns a descriptor, or -1 with errno. */
int pf_timer_create(void);
/* With a time in the past the timer fires at once. */
void pf_timer_arm(int timer_fd, uint64_t at_ns);
void pf_timer_disarm(int timer_fd);
/* Read the timer empty. Returns whether it had fired since it was armed: epoll_wait() may return an
 * event of a timer that an earlier event of the same call has armed anew. */
int pf_timer_take(int timer_fd);

/* Whether a descriptor becomes readable in time. */
int pf_wait_readable(int fd, uint64_t timeout_ns);

#endif
