/* util.h - descriptors closed at the end of their scope, the clock, and retries after EINTR. */
#ifndef PF_UTIL_H
#define PF_UTIL_H
#include <errno.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define PF_NS_PER_S 1000000000ull
#define PF_NS_PER_MS 1000000ull

static inline void pf_close_fd(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
        *fd = -1;
    }
}

#define PF_AUTO_FD __attribute__((cleanup(pf_close_fd))) int

/* Take the descriptor out of a PF_AUTO_FD: the caller closes it now. */
static inline int pf_keep_fd(int *fd)
{
    int kept = *fd;
    *fd = -1;
    return kept;
}

static inline uint64_t pf_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* a vDSO call; cannot fail for this clock */
    return (uint64_t)now.tv_sec * PF_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Saturating: UINT64_MAX means for ever. */
static inline uint64_t pf_add_ns(uint64_t moment, uint64_t duration)
{
    return duration > UINT64_MAX - moment ? UINT64_MAX : moment + duration;
}

static inline struct timespec pf_timespec(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / PF_NS_PER_S),
                             .tv_nsec = (long)(ns % PF_NS_PER_S)};
}

#define PF_RETRY(call)                                                                             \
    __extension__({                                                                                \
        __typeof__(call) pf_result;                                                                \
        do                                                                                         \
            pf_result = (call);                                                                    \
        while (pf_result == -1 && errno == EINTR);                                                 \
        pf_result;                                                                                 \
    })

#endif
