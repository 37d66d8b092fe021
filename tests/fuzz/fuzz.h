/* fuzz.h - what the harnesses share: their verdict, and how often the code under test said yes. */
#ifndef FUZZ_H
#define FUZZ_H
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *count, char ***words);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): a build may compile it away. */
#define MUST(condition)                                                                            \
    do                                                                                             \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s, errno is %d\n", __FILE__, __LINE__, #condition, errno);    \
            abort();                                                                               \
        }                                                                                          \
    while (0)

static unsigned long fuzz_accepted;

/* A corpus that nothing of is accepted says nothing about what comes after the checks. */
static void fuzz_tell_accepted(void)
{
    fprintf(stderr, "accepted %lu inputs\n", fuzz_accepted);
}

#define FUZZ_MOST_OPEN 128

/* A descriptor that leaks changes it. */
static inline int fuzz_count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < FUZZ_MOST_OPEN; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Something that the optimiser cannot do without. */
static volatile size_t fuzz_sink;

static inline void fuzz_read(const char *text)
{
    fuzz_sink += strlen(text);
}

#endif
