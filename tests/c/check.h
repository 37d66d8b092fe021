/* check.h - what every test program needs: cases, checks that go on, a seeded generator, descriptors
 * and processes counted. A case's exit status: 0 good, 1 a check failed, 77 skipped. */
#ifndef CHECK_H
#define CHECK_H
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_SKIPPED 77
#define CHECK_UNKNOWN 2
#define CHECK_LIMIT_S 50

static int check_failures;
static int check_skips;

/* ---- cases ---------------------------------------------------------------------------------- */

/* TEST(name) { ... } defines a case. Each one runs in a process and a directory of its own. */
#define TEST(name)                                                                                 \
    static void test_##name(void);                                                                 \
    __attribute__((constructor)) static void check_add_##name(void)                                \
    {                                                                                              \
        check_add(#name, test_##name);                                                             \
    }                                                                                              \
    static void test_##name(void)

struct check_case {
    const char *name;
    void (*run)(void);
};

static struct check_case check_cases[64];
static int check_case_count;
static const struct check_case *check_chosen;
static const char *check_actor;
static const char *check_supervisor;

static inline void check_add(const char *name, void (*run)(void))
{
    if (check_case_count == (int)(sizeof check_cases / sizeof *check_cases))
        abort();
    check_cases[check_case_count++] = (struct check_case){name, run};
}

/* ---- checks --------------------------------------------------------------------------------- */

#define CHECK(condition) check_that(!!(condition), #condition, __FILE__, __LINE__)
/* Two numbers, or two texts, which are both printed when they differ. */
#define CHECK_EQ(found, wanted)                                                                    \
    check_eq((intmax_t)(found), (intmax_t)(wanted), #found " == " #wanted, __FILE__, __LINE__)
#define CHECK_STR(found, wanted)                                                                   \
    check_str((found), (wanted), #found " is " #wanted, __FILE__, __LINE__)
/* For what the rest of the case cannot go on without. */
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

static inline int check_eq(intmax_t found, intmax_t wanted, const char *text, const char *file,
                           int line)
{
    if (!check_that(found == wanted, text, file, line))
        fprintf(stderr, "    found %jd, expected %jd\n", found, wanted);
    return found == wanted;
}

static inline int check_str(const char *found, const char *wanted, const char *text,
                            const char *file, int line)
{
    int same = strcmp(found, wanted) == 0;
    if (!check_that(same, text, file, line))
        fprintf(stderr, "    found \"%s\", expected \"%s\"\n", found, wanted);
    return same;
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
 * the alarm set by check_begin() ends the wait for it. */
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

/* ---- the program ---------------------------------------------------------------------------- */

/* PROGRAM --list, or PROGRAM DIRECTORY ACTOR SUPERVISOR CASE. Returns in the case's directory. */
static inline void check_begin(int count, char **words)
{
    for (int i = 0; i < check_case_count; i++) {
        if (count == 2 && strcmp(words[1], "--list") == 0)
            puts(check_cases[i].name);
        else if (count == 5 && strcmp(words[4], check_cases[i].name) == 0)
            check_chosen = &check_cases[i];
    }
    if (!check_chosen)
        exit(count == 2 ? 0 : CHECK_UNKNOWN);
    alarm(CHECK_LIMIT_S); /* SIGALRM's default action ends a case that hangs */
    REQUIRE(chdir(words[1]) == 0);
    check_actor = words[2];
    check_supervisor = words[3];
}

/* Run the case; afterwards as many descriptors are open as before. Returns the exit status. */
static inline int check_run(void)
{
    int before = check_count_fds(getpid());
    check_chosen->run();
    CHECK_EQ(check_count_fds(getpid()), before);
    return check_end();
}

#endif
