/* reapers.h - reapers that are nothing but the far ends of their sockets: no process is forked, and
 * what a reaper tells of its child is the input's to say. */
#ifndef REAPERS_H
#define REAPERS_H
#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/util.h"
#include "children/reaper.h"
#include "fuzz.h"

#define MOST_REAPERS 128

struct simulated_reaper {
    int control_fd; /* -1: it has ended */
    int park_fd; /* -1: its child need not wait, or waits no more */
    int has_reported;
    int was_told; /* the supervisor has said something, or is gone */
};

static struct simulated_reaper reapers[MOST_REAPERS];
static int reaper_count;
static int fork_fails;
static struct simulated_reaper conceived = {-1, -1, 0, 0}; /* between socketpair() and fork() */

int __real_socketpair(int domain, int type, int protocol, int ends[2]);
int __wrap_socketpair(int domain, int type, int protocol, int ends[2]);
pid_t __wrap_fork(void);

/* In pf_child_fork() the reaper's ends are the second of `control` and the first of `park`. */
int __wrap_socketpair(int domain, int type, int protocol, int ends[2])
{
    int result = __real_socketpair(domain, type, protocol, ends);
    if (result < 0)
        return result;
    if ((type & ~SOCK_CLOEXEC) == SOCK_SEQPACKET)
        conceived.control_fd = fcntl(ends[1], F_DUPFD_CLOEXEC, 0);
    else
        conceived.park_fd = fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
    return result;
}

static inline void reaper_close(struct simulated_reaper *reaper)
{
    pf_close_fd(&reaper->control_fd);
    pf_close_fd(&reaper->park_fd);
}

pid_t __wrap_fork(void)
{
    int fails = fork_fails || reaper_count == MOST_REAPERS;
    if (fails)
        reaper_close(&conceived);
    else
        reapers[reaper_count++] = conceived;
    conceived = (struct simulated_reaper){-1, -1, 0, 0};
    errno = EAGAIN;
    return fails ? -1 : (pid_t)1 << 30;
}

/* The child is there, right before execve. */
static inline void reaper_park(struct simulated_reaper *reaper)
{
    if (reaper->park_fd >= 0)
        (void)!send(reaper->park_fd, "p", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The child has ended; others of its tree may not have. */
static inline void reaper_report(struct simulated_reaper *reaper, int wait_status)
{
    const struct pf_reaper_report report = {.wait_status = wait_status, .ended_ns = pf_now_ns()};
    pf_close_fd(&reaper->park_fd);
    if (reaper->control_fd >= 0 && !reaper->has_reported)
        (void)!send(reaper->control_fd, &report, sizeof report, MSG_NOSIGNAL | MSG_DONTWAIT);
    reaper->has_reported = 1;
}

/* Hear what the supervisor says. When it leaves what remains to itself, or has closed, it ends. */
static inline void reapers_listen(void)
{
    for (int i = 0; i < reaper_count; i++) {
        struct simulated_reaper *reaper = &reapers[i];
        char word;
        ssize_t length;
        while (reaper->control_fd >= 0 &&
               (length = recv(reaper->control_fd, &word, 1, MSG_DONTWAIT)) >= 0) {
            reaper->was_told = 1;
            if (length == 0 || word == PF_REAPER_LEAVE)
                reaper_close(reaper);
        }
    }
}

/* All children end well. What one has left runs on until the supervisor says something of it. */
static inline void reapers_end(void)
{
    reapers_listen();
    for (int i = 0; i < reaper_count; i++) {
        reaper_report(&reapers[i], 0);
        if (reapers[i].was_told)
            reaper_close(&reapers[i]);
    }
}

static inline void reapers_forget(void)
{
    for (int i = 0; i < reaper_count; i++)
        reaper_close(&reapers[i]);
    reaper_count = 0;
}

#endif
