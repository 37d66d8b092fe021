/* floor.c - the bare steps of a freeze window and nothing else: what pyfreeze is measured against.
 *
 *   floor [--expedite] [--flush] [--parallel] [--park] [--fifo] [--cpu_latency]
 *         [--repeat N] [--pause-ms M] MOUNT...
 *
 * Prints one line per window: window_ns frozen_together_ns flush_ns. Without options it does what
 * util-linux fsfreeze does, in one process: FIFREEZE one after another, FITHAW in reverse. Each
 * option adds one step, so that each can be measured alone:
 *
 *   --expedite  raise rcu_expedited around the FIFREEZEs
 *   --flush     syncfs before, again while a round is getting shorter
 *   --parallel  one thread per filesystem
 *   --park      these threads wait before the window; else they are created inside it
 *   --fifo      SCHED_FIFO priority 1
 *   --cpu_latency   no idle states for the processors during the window (PM QoS)
 *
 * No deadline, no supervision, no record: killed in its window it leaves everything frozen.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOUNTS_MAX 256
#define ROUNDS_MAX 8
#define STACK_BYTES 65536
#define CONVERGED_NS 300000ull

enum job { JOB_FLUSH, JOB_FREEZE, JOB_THAW };

static struct {
    int expedite, flush, parallel, park, fifo, cpu_latency;
} options;

static struct filesystem {
    const char *mount;
    int fd;
    int frozen;
    uint64_t enter_ns, return_ns;
} filesystems[MOUNTS_MAX];

static int count;
static int rcu_fd = -1;
static int latency_fd = -1;
static enum job job;
static _Atomic uint32_t turn;    /* futex: how many jobs were given to the parked threads */
static _Atomic uint32_t working; /* futex: how many threads have not finished the present one */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void thaw_all(void)
{
    for (int i = count; i-- > 0;)
        if (filesystems[i].frozen && ioctl(filesystems[i].fd, FITHAW, 0) == 0)
            filesystems[i].frozen = 0;
}

static _Noreturn void die(const char *what, const char *path)
{
    fprintf(stderr, "floor: %s: %s: %s\n", path, what, strerror(errno));
    thaw_all();
    if (rcu_fd >= 0)
        (void)!pwrite(rcu_fd, "0\n", 2, 0);
    exit(1);
}

static void work(struct filesystem *filesystem)
{
    filesystem->enter_ns = now_ns();
    if (job == JOB_FLUSH) {
        if (syncfs(filesystem->fd) < 0)
            die("syncfs", filesystem->mount);
    } else if (job == JOB_FREEZE) {
        if (ioctl(filesystem->fd, FIFREEZE, 0) < 0)
            die("FIFREEZE", filesystem->mount);
        filesystem->frozen = 1;
    } else {
        if (ioctl(filesystem->fd, FITHAW, 0) < 0)
            die("FITHAW", filesystem->mount);
        filesystem->frozen = 0;
    }
    filesystem->return_ns = now_ns();
}

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void finish(void)
{
    if (atomic_fetch_sub(&working, 1) == 1)
        futex(&working, FUTEX_WAKE, 1);
}

static void *run_parked(void *argument)
{
    for (uint32_t seen = 0;; seen++) {
        while (atomic_load(&turn) == seen)
            futex(&turn, FUTEX_WAIT, seen);
        work(argument);
        finish();
    }
    return NULL;
}

static void *run_once(void *argument)
{
    work(argument);
    finish();
    return NULL;
}

static void start_thread(void *(*run)(void *), struct filesystem *filesystem)
{
    pthread_t thread;
    pthread_attr_t small; /* locked memory counts whole */
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK_BYTES);
    errno = pthread_create(&thread, &small, run, filesystem);
    if (errno != 0)
        die("pthread_create", filesystem->mount);
    pthread_detach(thread);
}

static void do_all(enum job what)
{
    job = what;
    if (!options.parallel && what != JOB_FLUSH) {
        for (int i = 0; i < count; i++)
            work(&filesystems[what == JOB_FREEZE ? i : count - 1 - i]);
        return;
    }
    atomic_store(&working, (uint32_t)count);
    if (options.park) {
        atomic_fetch_add(&turn, 1);
        futex(&turn, FUTEX_WAKE, INT32_MAX);
    } else {
        for (int i = 0; i < count; i++)
            start_thread(run_once, &filesystems[i]);
    }
    for (uint32_t left; (left = atomic_load(&working)) > 0;)
        futex(&working, FUTEX_WAIT, left);
}

static void flush(void)
{
    uint64_t before = UINT64_MAX;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        uint64_t begin = now_ns();
        do_all(JOB_FLUSH);
        uint64_t took = now_ns() - begin;
        if (took <= CONVERGED_NS || took >= before - before / 4)
            break;
        before = took;
    }
}

static void expedite(int value)
{
    if (options.expedite && pwrite(rcu_fd, value ? "1\n" : "0\n", 2, 0) < 0)
        die("write", "/sys/kernel/rcu_expedited");
}

static void limit_latency(int32_t latency_us)
{
    if (options.cpu_latency && write(latency_fd, &latency_us, sizeof latency_us) < 0)
        die("write", "/dev/cpu_dma_latency");
}

static void open_window(void)
{
    uint64_t flush_begin = now_ns();
    if (options.flush)
        flush();
    uint64_t flush_end = now_ns();

    limit_latency(0);
    expedite(1);
    do_all(JOB_FREEZE);
    uint64_t first_enter = UINT64_MAX, last_return = 0;
    for (int i = 0; i < count; i++) {
        if (filesystems[i].enter_ns < first_enter)
            first_enter = filesystems[i].enter_ns;
        if (filesystems[i].return_ns > last_return)
            last_return = filesystems[i].return_ns;
    }
    expedite(0);
    do_all(JOB_THAW);
    limit_latency(2000000000); /* PM_QOS_CPU_LATENCY_DEFAULT_VALUE */
    uint64_t first_thaw = UINT64_MAX, end = 0;
    for (int i = 0; i < count; i++) {
        if (filesystems[i].enter_ns < first_thaw)
            first_thaw = filesystems[i].enter_ns;
        if (filesystems[i].return_ns > end)
            end = filesystems[i].return_ns;
    }
    printf("%llu %llu %llu\n", (unsigned long long)(end - first_enter),
           (unsigned long long)(first_thaw - last_return),
           (unsigned long long)(flush_end - flush_begin));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const struct option known[] = {
        {"expedite", no_argument, &options.expedite, 1},
        {"flush", no_argument, &options.flush, 1},
        {"parallel", no_argument, &options.parallel, 1},
        {"park", no_argument, &options.park, 1},
        {"fifo", no_argument, &options.fifo, 1},
        {"cpu_latency", no_argument, &options.cpu_latency, 1},
        {"repeat", required_argument, NULL, 'r'},
        {"pause-ms", required_argument, NULL, 'p'},
        {0},
    };
    long repeat = 1, pause_ms = 20;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'r')
            repeat = strtol(optarg, NULL, 10);
        else if (option == 'p')
            pause_ms = strtol(optarg, NULL, 10);
        else if (option != 0)
            return 2;
    }
    for (; optind < argc; optind++, count++) {
        if (count == MOUNTS_MAX) {
            fprintf(stderr, "floor: more than %d mounts\n", MOUNTS_MAX);
            return 2;
        }
        filesystems[count].mount = argv[optind];
        filesystems[count].fd = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (filesystems[count].fd < 0)
            die("open", argv[optind]);
    }
    if (count == 0) {
        fprintf(stderr, "floor: no MOUNT given\n");
        return 2;
    }
    if (options.expedite && (rcu_fd = open("/sys/kernel/rcu_expedited", O_RDWR | O_CLOEXEC)) < 0)
        die("open", "/sys/kernel/rcu_expedited");

    if (options.cpu_latency &&
        (latency_fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC)) < 0)
        die("open", "/dev/cpu_dma_latency");

    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        die("mlockall", "memory");
    struct sched_param priority = {.sched_priority = 1};
    if (options.fifo && sched_setscheduler(0, SCHED_FIFO, &priority) < 0)
        die("sched_setscheduler", "SCHED_FIFO");
    for (int i = 0; options.park && i < count; i++)
        start_thread(run_parked, &filesystems[i]); /* inherits the class */
    for (long i = 0; i < repeat; i++) {
        open_window();
        struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
    return 0;
}
