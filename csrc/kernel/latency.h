/* latency.h - processors that wake at once while freezing: PM QoS' CPU latency.
 *
 * A freeze is a chain of wake-ups, of workers and of kernel threads: for the grace periods, for the
 * block device. A processor that idles deeply is late for each of them; held at 0 microseconds, it
 * waits in a loop instead (CPUIDLE_STATE_POLL). The kernel drops the request with the descriptor, so
 * there is nothing to put back after a kill.
 */
#ifndef PF_LATENCY_H
#define PF_LATENCY_H

/* A descriptor for the request, or -1 where there is none: nothing but time is lost. */
int pf_latency_open(void);
void pf_latency_hold(int fd);
void pf_latency_release(int fd);

#endif
