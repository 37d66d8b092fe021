#define _GNU_SOURCE
#include "kernel/rcu.h"

#include <fcntl.h>

#include "base/util.h"

int pf_rcu_open(void)
{
    return open("/sys/kernel/rcu_expedited", O_RDWR | O_CLOEXEC);
}

static int write_value(int fd, int32_t value)
{
    /* The attribute is an int, in practice 0 or 1: one digit, written without formatting. */
    char text[2] = {(char)('0' + value), '\n'};
    return PF_RETRY(pwrite(fd, text, sizeof text, 0)) == sizeof text ? 0 : -errno;
}

void pf_rcu_raise(struct pf_page *page, int fd)
{
    char text[4] = {0};
    if (fd < 0 || PF_RETRY(pread(fd, text, sizeof text - 1, 0)) <= 0)
        return;
    if (text[0] != '0') /* set by the administrator, or by a boot parameter */
        return;
    /* Saved before it is written: after a kill, recovery finds in the page that it may be
     * raised. */
    atomic_store(&page->rcu_saved, 0);
    if (write_value(fd, 1) < 0)
        atomic_store(&page->rcu_saved, -1);
}

int pf_rcu_restore(struct pf_page *page, int fd)
{
    int32_t saved = atomic_load(&page->rcu_saved);
    if (saved < 0)
        return 0;
    int result = -EBADF;
    for (int attempt = 0; attempt < 3 && result < 0; attempt++)
        result = write_value(fd, saved);
    if (result == 0)
        atomic_store(&page->rcu_saved, -1);
    return result;
}
