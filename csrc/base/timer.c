#define _GNU_SOURCE
#include "base/timer.h"

#include <poll.h>
#include <sys/timerfd.h>

#include "base/util.h"

int pf_timer_create(void)
{
    return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
}

/* timerfd_settime() fails only for a bad descriptor or an invalid time. */
static void set(int timer_fd, uint64_t at_ns)
{
    struct itimerspec when = {.it_value = pf_timespec(at_ns)};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void pf_timer_arm(int timer_fd, uint64_t at_ns)
{
    set(timer_fd, at_ns > 0 ? at_ns : 1); /* an it_value of 0 disarms */
}

void pf_timer_disarm(int timer_fd)
{
    set(timer_fd, 0);
}

int pf_timer_take(int timer_fd)
{
    uint64_t expirations;
    return PF_RETRY(read(timer_fd, &expirations, sizeof expirations)) > 0; /* else EAGAIN */
}

int pf_wait_readable(int fd, uint64_t timeout_ns)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    uint64_t until = pf_add_ns(pf_now_ns(), timeout_ns);
    for (;;) {
        uint64_t now = pf_now_ns();
        struct timespec left = pf_timespec(until > now ? until - now : 0);
        int result = ppoll(&readable, 1, until == UINT64_MAX ? NULL : &left, NULL);
        if (result >= 0)
            return result;
    }
}
