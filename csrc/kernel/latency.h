/* latency.h - PM QoS: a CPU latency request, so that idle processors wake at once.
 *
 * A freeze wakes many threads in turn: our workers, and kernel threads for the grace periods and
 * the block device. A processor in a deep idle state takes long to wake for each of them. Under a
 * request of 0 microseconds an idle processor polls (CPUIDLE_STATE_POLL). The kernel drops the
 * request when the descriptor is closed, so a killed process leaves nothing to put back.
 */
#ifndef PF_LATENCY_H
#define PF_LATENCY_H

/* Returns a descriptor for the request, or -1: then freezing takes longer. */
int pf_latency_open(void);
/* Hold the request, or take it back. */
void pf_latency_set(int fd, int holds);

#endif
