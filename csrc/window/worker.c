#define _GNU_SOURCE
#include "window/worker.h"

#include <limits.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "base/thread.h"
#include "base/util.h"
#include "kernel/mount.h"
#include "kernel/thaw.h"

#define WAKE_ATTEMPTS 3

static void wait_for_job(struct pf_worker *worker, uint32_t seen)
{
    for (;;) {
        uint32_t wakeups = atomic_load(&worker->pool->wakeups);
        if (atomic_load(&worker->posted) != seen)
            return;
        /* EAGAIN: `wakeups` has changed. EINTR cannot occur: every signal is blocked. */
        syscall(SYS_futex, &worker->pool->wakeups, FUTEX_WAIT_PRIVATE, wakeups, NULL, NULL, 0);
    }
}

/* Count one job of a batch as ended. Returns whether to wake the loop: at the last job of the
 * present batch, and at a job of an earlier batch, which had hung. */
static int end_job(struct pf_pool *pool, uint32_t batch)
{
    uint64_t in_flight = atomic_load(&pool->in_flight);
    do {
        if (in_flight >> 32 != batch)
            return 1;
    } while (!atomic_compare_exchange_weak(&pool->in_flight, &in_flight, in_flight - 1));
    return (uint32_t)in_flight == 1;
}

static void fail_slot(const struct pf_worker *worker, int op, int error)
{
    worker->slot->error = error;
    worker->slot->op = (uint32_t)op;
    pf_slot_enter(worker->page, worker->slot, PF_STATE_FAILED, error);
}

static void do_open(struct pf_worker *worker)
{
    pf_fault fault;
    int fd = pf_open_mount(pf_page_mount(worker->page, worker->slot), worker->slot->mount_id,
                           &fault);
    if (fd < 0) {
        fail_slot(worker, fault.op, fault.error);
        return;
    }
    worker->fd = fd;
    pf_slot_enter(worker->page, worker->slot, PF_STATE_OPEN, 0);
}

static void do_flush(struct pf_worker *worker)
{
    struct pf_slot *slot = worker->slot;
    uint64_t begin = pf_now_ns();
    int error = PF_RETRY(syncfs(worker->fd)) < 0 ? errno : 0;
    slot->figures.flush_ns += pf_now_ns() - begin;
    slot->figures.flush_rounds++;
    if (error != 0) {
        slot->error = error;
        slot->op = PF_OP_FLUSH;
    }
}

static void do_freeze(struct pf_worker *worker)
{
    struct pf_slot *slot = worker->slot;
    if (atomic_load(&worker->abandoned)) /* the loop has given up before the freeze began */
        return;
    slot->figures.freeze_enter_ns = pf_now_ns();
    pf_slot_enter(worker->page, slot, PF_STATE_FREEZING, 0);
    int error = ioctl(worker->fd, FIFREEZE, 0) < 0 ? errno : 0;
    slot->figures.freeze_return_ns = pf_now_ns();
    if (error != 0) {
        fail_slot(worker, PF_OP_FREEZE, error);
        return;
    }
    pf_slot_enter(worker->page, slot, PF_STATE_FROZEN, 0);
    /* The loop sets `abandoned` and then looks at the state. The worker sets the state and then
     * looks at `abandoned`. At least one of them sees the other's store, so a late freeze is always
     * thawed. If both do, the loop's job reaches this same thread and finds nothing to thaw. */
    if (atomic_load(&worker->abandoned))
        pf_thaw(worker->page, slot, worker->fd);
}

static void do_thaw(struct pf_worker *worker)
{
    if (pf_slot_state(worker->slot) == PF_STATE_FROZEN)
        pf_thaw(worker->page, worker->slot, worker->fd);
}

static void (*const jobs[])(struct pf_worker *) = {[PF_JOB_OPEN] = do_open,
                                                   [PF_JOB_FLUSH] = do_flush,
                                                   [PF_JOB_FREEZE] = do_freeze,
                                                   [PF_JOB_THAW] = do_thaw};

static void *run(void *argument)
{
    struct pf_worker *worker = argument;
    for (uint32_t seen = 0;; seen++) {
        wait_for_job(worker, seen);
        uint32_t batch = worker->batch; /* the loop may post the next batch while this job ends */
        jobs[worker->job](worker);
        atomic_store(&worker->done, seen + 1);
        uint64_t one = 1;
        /* Cannot fail: the eventfd's counter never comes near its maximum. */
        if (end_job(worker->pool, batch))
            (void)!PF_RETRY(write(worker->pool->done_fd, &one, sizeof one));
    }
    return NULL;
}

int pf_workers_start(struct pf_worker *workers, struct pf_page *page, struct pf_pool *pool,
                     pf_fault *fault)
{
    for (uint32_t i = 0; i < page->count; i++) {
        workers[i] =
            (struct pf_worker){.pool = pool, .page = page, .slot = &page->slots[i], .fd = -1};
        int error = pf_thread_start(&workers[i].thread, run, &workers[i]);
        if (error != 0)
            return pf_fail(fault, PF_OP_SETUP, error);
    }
    return 0;
}

void pf_workers_post(struct pf_worker *workers, uint32_t count, enum pf_job job)
{
    if (count == 0)
        return;
    struct pf_pool *pool = workers->pool;
    uint64_t awaited = 0;
    for (uint32_t i = 0; i < count; i++)
        awaited += workers[i].awaited != 0;
    pool->batch++;
    atomic_store(&pool->in_flight, (uint64_t)pool->batch << 32 | awaited);
    for (uint32_t i = 0; i < count; i++)
        if (workers[i].awaited) {
            workers[i].job = job;
            workers[i].batch = pool->batch;
            atomic_fetch_add(&workers[i].posted, 1);
        }
    if (awaited == 0)
        return;
    atomic_fetch_add(&pool->wakeups, 1);
    /* FUTEX_WAKE fails only for a bad address. The loop would wait for ever for a lost wake-up, so
     * it is retried all the same. */
    for (int attempt = 0; attempt < WAKE_ATTEMPTS; attempt++)
        if (syscall(SYS_futex, &pool->wakeups, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0) >= 0)
            break;
}

int pf_worker_busy(const struct pf_worker *worker)
{
    return atomic_load(&worker->done) != atomic_load(&worker->posted);
}

void pf_worker_set_realtime(struct pf_worker *worker, int realtime)
{
    struct sched_param parameters = {.sched_priority = realtime ? 1 : 0};
    pthread_setschedparam(worker->thread, realtime ? SCHED_FIFO : SCHED_OTHER, &parameters);
}
