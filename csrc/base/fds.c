#define _GNU_SOURCE
#include "base/fds.h"

#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

static int close_between(unsigned first, unsigned last)
{
    if (first > last)
        return 0;
    return syscall(SYS_close_range, first, last, 0) < 0 ? -errno : 0;
}

int pf_close_from(int first)
{
    return close_between((unsigned)first, UINT_MAX);
}

int pf_close_all_but(const int *keep, int count)
{
    unsigned from = 3;
    for (;;) { /* find the smallest kept descriptor at or above `from`; the list is short */
        unsigned next = UINT_MAX;
        for (int i = 0; i < count; i++)
            if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
                next = (unsigned)keep[i];
        if (next == UINT_MAX)
            return close_between(from, UINT_MAX);
        int result = close_between(from, next - 1);
        if (result < 0)
            return result;
        from = next + 1;
    }
}
