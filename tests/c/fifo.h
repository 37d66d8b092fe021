/* fifo.h - the test's end of an actor's FIFO: letters from it while it lives, then end-of-file. */
#ifndef FIFO_H
#define FIFO_H
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"

struct fifo {
    char path[256];
    int fd;
};

static inline void fifo_open(struct fifo *fifo)
{
    static int number;
    char here[200];
    REQUIRE(getcwd(here, sizeof here) != NULL);
    snprintf(fifo->path, sizeof fifo->path, "%s/fifo.%d", here, number++);
    REQUIRE(mkfifo(fifo->path, 0600) == 0);
    fifo->fd = open(fifo->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    REQUIRE(fifo->fd >= 0);
}

static inline void fifo_close(struct fifo *fifo)
{
    close(fifo->fd);
    unlink(fifo->path);
}

/* The next letter; 0: everything that held the other end is gone. Waits as long as it takes. */
static inline char fifo_next(const struct fifo *fifo)
{
    for (;;) {
        struct pollfd state = {.fd = fifo->fd, .events = POLLIN};
        char letter;
        if (poll(&state, 1, -1) < 0 && errno != EINTR)
            return -1;
        ssize_t length = read(fifo->fd, &letter, 1);
        if (length == 1)
            return letter;
        if (length == 0 && (state.revents & POLLHUP))
            return 0;
    }
}

/* Whether somebody holds the other end, or did and has written something that is unread. */
static inline int fifo_is_quiet(const struct fifo *fifo)
{
    struct pollfd state = {.fd = fifo->fd, .events = POLLIN};
    return poll(&state, 1, 0) == 0;
}

/* What is left to be read until all are gone, counted by letter. */
static inline int fifo_rest(const struct fifo *fifo, char wanted)
{
    int count = 0;
    for (char letter; (letter = fifo_next(fifo)) != 0;)
        count += letter == wanted;
    return count;
}

#endif
