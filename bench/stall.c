/* stall.c - an independent writer that knows the longest that one of its writes has taken.
 *
 *   stall tick FILE              64 bytes each millisecond: the filesystem is idle, a stall is seen
 *   stall buffered FILE MB_PER_S 128 KiB at a time, at that rate, round and round in 512 MB
 *   stall fsync FILE             4 KiB at random places of 64 MB, each with fdatasync
 *
 * It is asked by lines on stdin and answers by lines on stdout; it ends with its stdin:
 *
 *   reset    "ok": forget the longest write so far
 *   longest  "NS BYTES": the longest write since then, and what has been written since then
 *   burst N  "ok": the next N bytes are written as fast as it goes
 *
 * All wait until the write that is under way has ended, which is the one that a freeze holds up.
 * Nothing is allocated, printed or paged in by the thread that writes, so what it sees is the
 * filesystem's doing, or the scheduler's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ull
#define TICK_NS 1000000ull
#define TICK_BYTES 64u
#define BUFFERED_BYTES (128u << 10)
#define BUFFERED_SPAN (512u << 20)
#define FSYNC_BYTES (4u << 10)
#define FSYNC_SPAN (64u << 20)
#define LOOK_NS 100000 /* how often the answering thread looks whether a write has ended */

static struct {
    const char *file;
    uint32_t bytes, span;
    uint64_t period_ns; /* 0: one write after the other */
    int random, sync;
    int fd;
} writer;

static unsigned char data[BUFFERED_BYTES];
static _Atomic uint64_t ended;      /* how many writes have */
static _Atomic uint64_t longest_ns; /* of them */
static _Atomic uint64_t unpaced;    /* so many are to be made without a pause */

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "stall: %s: %s: %s\n", writer.file, what, strerror(errno));
    _exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
    struct timespec until = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static uint64_t next_random(void) /* xorshift64 */
{
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* All blocks are allocated and written before, so that each write costs the same. */
static void fill(void)
{
    for (uint64_t i = 0; i < sizeof data / sizeof(uint64_t); i++) {
        uint64_t word = next_random();
        memcpy(data + i * sizeof word, &word, sizeof word);
    }
    writer.fd = open(writer.file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (writer.fd < 0)
        die("open");
    for (uint32_t at = 0; at < writer.span; at += writer.bytes)
        if (pwrite(writer.fd, data, writer.bytes, at) != writer.bytes)
            die("write");
    if (fsync(writer.fd) < 0)
        die("fsync");
}

static uint64_t write_once(uint64_t number)
{
    uint64_t slots = writer.span / writer.bytes;
    uint64_t slot = (writer.random ? next_random() : number) % slots;
    uint64_t begin = now_ns();
    if (pwrite(writer.fd, data, writer.bytes, (off_t)(slot * writer.bytes)) != writer.bytes)
        die("write");
    if (writer.sync && fdatasync(writer.fd) < 0)
        die("fdatasync");
    return now_ns() - begin;
}

static void *write_on(void *unused)
{
    (void)unused;
    uint64_t due = now_ns();
    for (uint64_t number = 0;; number++) {
        uint64_t took = write_once(number);
        if (took > atomic_load(&longest_ns))
            atomic_store(&longest_ns, took);
        atomic_fetch_add(&ended, 1);
        uint64_t now = now_ns();
        if (atomic_load(&unpaced) > 0) {
            atomic_fetch_sub(&unpaced, 1);
            due = now;
            continue;
        }
        /* What was held up is not made up for: a burst would be another load. */
        due = due + writer.period_ns > now ? due + writer.period_ns : now;
        if (due > now)
            sleep_until(due);
    }
    return NULL;
}

static void wait_for_write(void)
{
    uint64_t before = atomic_load(&ended);
    while (atomic_load(&ended) == before)
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
}

static void answer(void)
{
    char line[64];
    uint64_t since = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        wait_for_write();
        if (strcmp(line, "reset\n") == 0) {
            atomic_store(&longest_ns, 0);
            since = atomic_load(&ended);
            puts("ok");
        } else if (strncmp(line, "burst ", 6) == 0) {
            atomic_store(&unpaced, strtoull(line + 6, NULL, 10) / writer.bytes);
            puts("ok");
        } else if (strcmp(line, "longest\n") == 0) {
            uint64_t bytes = (atomic_load(&ended) - since) * writer.bytes;
            printf("%llu %llu\n", (unsigned long long)atomic_load(&longest_ns),
                   (unsigned long long)bytes);
        } else {
            errno = EINVAL;
            die(line);
        }
        fflush(stdout);
    }
}

static int parse(int argc, char **argv)
{
    if (argc < 3)
        return -1;
    writer.file = argv[2];
    if (strcmp(argv[1], "tick") == 0) {
        writer.bytes = writer.span = TICK_BYTES;
        writer.period_ns = TICK_NS;
    } else if (strcmp(argv[1], "buffered") == 0 && argc == 4 && atoi(argv[3]) > 0) {
        writer.bytes = BUFFERED_BYTES;
        writer.span = BUFFERED_SPAN;
        writer.period_ns = BUFFERED_BYTES * NS_PER_S / ((uint64_t)atoi(argv[3]) * 1000000u);
    } else if (strcmp(argv[1], "fsync") == 0) {
        writer.bytes = FSYNC_BYTES;
        writer.span = FSYNC_SPAN;
        writer.random = writer.sync = 1;
    } else {
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (parse(argc, argv) < 0) {
        fprintf(stderr, "usage: stall tick|buffered|fsync FILE [MB_PER_S]\n");
        return 2;
    }
    fill();
    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        die("mlockall");
    pthread_t thread;
    errno = pthread_create(&thread, NULL, write_on, NULL);
    if (errno != 0)
        die("pthread_create");
    answer();
    /* A write that is held up is not waited for: the last thread that can end takes the process. */
    _exit(0);
}
