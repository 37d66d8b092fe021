/* worker.h - a thread for each filesystem.
 *
 * A FIFREEZE can hang in the kernel, uninterruptible and without a limit, and then blocks its
 * thread only. Workers are created before anything is frozen, and sleep on a futex.
 */
#ifndef PF_WORKER_H
#define PF_WORKER_H
#include <pthread.h>

#include "protocol/page.h"

enum pf_job {
    PF_JOB_OPEN,
    PF_JOB_FLUSH,
    PF_JOB_FREEZE,
    PF_JOB_THAW,
};

/* What the workers share. A batch is one job for any number of workers: one system call wakes them
 * all, and only the last one to end wakes the loop. */
struct pf_pool {
    int done_fd; /* eventfd: written at a batch's end, and by a worker that ends after it */
    uint32_t batch; /* used by the loop only */
    _Atomic uint64_t in_flight; /* upper half: the batch; lower half: how many workers are at it */
    _Atomic uint32_t wakeups; /* futex: changes when there may be a job */
};

struct pf_worker {
    pthread_t thread;
    struct pf_pool *pool;
    struct pf_page *page;
    struct pf_slot *slot;
    int fd; /* of the filesystem, -1: not open */
    enum pf_job job; /* written by the loop before `posted` */
    uint32_t batch; /* written by the loop before `posted` */
    int awaited; /* used by the loop only: its stage waits for this worker */
    _Atomic uint32_t posted; /* how many jobs it was given */
    _Atomic uint32_t done; /* how many of them have ended */
    /* Set when the loop no longer waits for its FIFREEZE. When that returns, the worker thaws the
     * filesystem itself. */
    _Atomic uint32_t abandoned;
};

/* Create `count` parked workers for the slots of a page. */
int pf_workers_start(struct pf_worker *workers, struct pf_page *page, struct pf_pool *pool,
                     pf_fault *fault);
/* Begin a batch: give the job to each worker with `awaited` set. */
void pf_workers_post(struct pf_worker *workers, uint32_t count, enum pf_job job);
int pf_worker_busy(const struct pf_worker *worker);
/* SCHED_FIFO or back to SCHED_OTHER; without the privilege nothing changes. */
void pf_worker_set_realtime(struct pf_worker *worker, int realtime);

#endif
