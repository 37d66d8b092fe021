/* For a kernel that is a process (User Mode Linux), on processors whose registers take more room
 * than it knows of: with AMX some 11,000 bytes, of which versions before 6.14 save 2,696.
 *
 * It sets a process's registers by what it has saved, and the kernel below refuses a part of them
 * (PTRACE_SETREGSET: EFAULT). Here what the process has now is put behind that part. Preloaded. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const unsigned long XSTATE = 0x202; /* NT_X86_XSTATE */

/* Not on the stack, which is as small as a kernel's. It has one processor only. */
static char whole[1 << 16];

static struct iovec *widen(pid_t pid, struct iovec *part, struct iovec *wide)
{
    *wide = (struct iovec){whole, sizeof whole};
    if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, XSTATE, wide) < 0 ||
        wide->iov_len <= part->iov_len)
        return part;
    memcpy(whole, part->iov_base, part->iov_len);
    return wide;
}

/* In place of the C library's. */
long ptrace(enum __ptrace_request request, ...)
{
    va_list list;
    va_start(list, request);
    pid_t pid = va_arg(list, pid_t);
    void *addr = va_arg(list, void *);
    void *data = va_arg(list, void *);
    va_end(list);

    struct iovec wide;
    long peeked = 0;
    int peeks = request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA ||
                request == PTRACE_PEEKUSER;
    if (peeks)
        data = &peeked;
    else if (request == PTRACE_SETREGSET && (unsigned long)addr == XSTATE)
        data = widen(pid, data, &wide);
    long result = syscall(SYS_ptrace, request, pid, addr, data);
    if (!peeks || result < 0)
        return result;
    errno = 0;
    return peeked;
}
