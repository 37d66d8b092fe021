/* Everything above 2 is closed but what was named: against a model, for many lists. */
#define _GNU_SOURCE
#include "base/fds.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>

#include "check.h"

#define HIGHEST 80
#define LISTS 400
#define LONGEST 8

static int is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Open everything from 3 to HIGHEST; sanitizers keep none of these. */
static void open_all(void)
{
    for (int fd = 3; fd <= HIGHEST; fd++)
        REQUIRE(dup2(0, fd) == fd);
}

static void check_list(const int *keep, int count)
{
    open_all();
    CHECK_EQ(pf_close_all_but(keep, count), 0);
    for (int fd = 0; fd <= HIGHEST; fd++) {
        int kept = fd < 3;
        for (int i = 0; i < count; i++)
            kept |= keep[i] == fd;
        CHECK_EQ(is_open(fd), kept);
    }
    CHECK_EQ(pf_close_all_but(NULL, 0), 0);
}

/* Unsorted, repeated, negative, huge and standard descriptors may all be named. */
TEST(chosen_lists)
{
    check_list(NULL, 0);
    const int lists[][4] = {{3, 4, 5, 6},         {6, 5, 4, 3},       {-1, -1, -1, -1},
                            {HIGHEST, 3, -1, 40}, {0, 1, 2, 3},       {7, 7, 7, 7},
                            {INT_MAX, 5, -1, 5},  {INT_MIN, 9, 3, 3}, {HIGHEST, HIGHEST - 1, 4, 3}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (int count = 0; count <= 4; count++)
            check_list(lists[i], count);
}

/* So may any others, in any order. */
TEST(random_lists)
{
    uint64_t seed = 11;
    for (int round = 0; round < LISTS; round++) {
        int keep[LONGEST];
        int count = (int)check_below(&seed, LONGEST + 1);
        for (int i = 0; i < count; i++)
            keep[i] = (int)check_below(&seed, HIGHEST + 10) - 2;
        check_list(keep, count);
    }
}

/* Descriptors that were opened before the limit fell lie above it, and are closed all the same. */
TEST(under_a_limit)
{
    struct rlimit before;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    for (rlim_t limit = 0; limit <= HIGHEST; limit += 13) {
        open_all();
        struct rlimit tight = {.rlim_cur = limit, .rlim_max = before.rlim_max};
        REQUIRE(setrlimit(RLIMIT_NOFILE, &tight) == 0);
        const int keep[] = {70, 4, -1};
        CHECK_EQ(pf_close_all_but(keep, 3), 0);
        for (int fd = 0; fd <= HIGHEST; fd++)
            CHECK_EQ(is_open(fd), fd < 3 || fd == 70 || fd == 4);
        REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
    }
    CHECK_EQ(pf_close_all_but(NULL, 0), 0);
}

int main(int count, char **words)
{
    check_begin(count, words);
    return check_run();
}
