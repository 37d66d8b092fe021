/* check.h - what every test program needs: checks that go on, a seeded generator, descriptors and
 * processes counted. A program exits with check_end(): 0 good, 1 a check failed, 77 skipped. */
#ifndef CHECK_H
#define CHECK_H
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_SKIPPED 77

static int check_failures;
static int check_skips;

#define CHECK(condition) check_that(!!(condition), #condition, __FILE__, __LINE__)
/* For what the rest of the program cannot go on without. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!CHECK(condition))                                                                     \
            _exit(1);                                                                              \
    } while (0)
#define SKIP(reason) check_skip((reason), __FILE__, __LINE__)

static inline int check_that(int holds, const char *text, const char *file, int line)
{
    int saved = errno;
    if (!holds) {
        fprintf(stderr, "%s:%d: CHECK(%s) failed, errno is %d\n", file, line, text, saved);
        check_failures++;
    }
    errno = saved;
    return holds;
}

static inline void check_skip(const char *reason, const char *file, int line)
{
    fprintf(stderr, "%s:%d: skipped: %s\n", file, line, reason);
    check_skips++;
}

static inline int check_end(void)
{
    if (check_failures > 0)
        fprintf(stderr, "%d checks failed\n", check_failures);
    return check_failures > 0 ? 1 : check_skips > 0 ? CHECK_SKIPPED : 0;
}

/* xorshift64*: the same sequence everywhere, so that a failure can be repeated. */
static inline uint64_t check_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1dull;
}

static inline uint64_t check_below(uint64_t *seed, uint64_t bound)
{
    return check_random(seed) % bound;
}

/* How many descriptors a process has open; of ourselves without the one that looks. */
static inline int check_count_fds(pid_t pid)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    if (!directory)
        return -1;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return pid == getpid() ? count - 1 : count;
}

/* From here on every orphan below us becomes our child: none can be overlooked. */
static inline void check_become_subreaper(void)
{
    REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
}

/* Bury every child until there is none. What still lives is what the code under test has left, and
 * the alarm set by check_limit() ends the wait for it. */
static inline int check_bury_all(void)
{
    int count = 0;
    for (;;) {
        pid_t pid = waitpid(-1, NULL, 0);
        if (pid > 0)
            count++;
        else if (errno != EINTR)
            return errno == ECHILD ? count : -1;
    }
}

/* SIGALRM's default action ends a program that hangs. */
static inline void check_limit(unsigned seconds)
{
    alarm(seconds);
}

#endif
