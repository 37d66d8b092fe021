/* witness.c - a script that knows by its own clock when what happened to it.
 *
 *   witness FILE start  write the time of its first instruction, exit
 *   witness FILE exit   write the time right before it exits
 *   witness FILE term   wait for SIGTERM, write the time at which it came, exit
 *
 * Times are nanoseconds of CLOCK_MONOTONIC, one line in FILE.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static volatile uint64_t term_ns;

static void on_term(int number)
{
    (void)number;
    term_ns = now_ns();
}

static int note(FILE *file, uint64_t ns)
{
    return fprintf(file, "%llu\n", (unsigned long long)ns) < 0 || fflush(file) != 0;
}

int main(int argc, char **argv)
{
    uint64_t start_ns = now_ns();
    FILE *file = argc == 3 ? fopen(argv[1], "w") : NULL;
    if (!file)
        return 2;
    if (strcmp(argv[2], "start") == 0)
        return note(file, start_ns);
    if (strcmp(argv[2], "exit") == 0) {
        int failed = note(file, now_ns()); /* written once, so that the next is only the write */
        rewind(file);
        failed |= note(file, now_ns());
        _exit(failed);
    }
    struct sigaction action = {.sa_handler = on_term};
    sigset_t term, before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before);
    sigaction(SIGTERM, &action, NULL);
    while (term_ns == 0)
        sigsuspend(&before);
    return note(file, term_ns);
}
