#define _GNU_SOURCE
#include "protocol/wire.h"

#include <string.h>
#include <sys/socket.h>

#include "base/util.h"

#define SEND_ATTEMPTS 3

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(PF_WIRE_MAX_FDS * sizeof(int))];
};

int pf_wire_send(int socket, const struct pf_message *message, const int *fds, int count,
                 pf_fault *fault)
{
    if (count > PF_WIRE_MAX_FDS)
        return pf_fail(fault, PF_OP_SEND, EINVAL);
    struct iovec part = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof *message};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    union control control = {0};
    if (count > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, (size_t)count * sizeof(int));
    }
    /* The peer would wait forever for a lost message; ENOMEM is usually transient, so retry. */
    for (int attempt = 0; attempt < SEND_ATTEMPTS; attempt++) {
        if (PF_RETRY(sendmsg(socket, &header, MSG_NOSIGNAL)) >= 0)
            return 0;
        if (errno == EAGAIN || errno == EPIPE || errno == ECONNRESET)
            break;
    }
    return pf_fail_errno(fault, PF_OP_SEND);
}

static void take_fds(struct msghdr *header, int fds[PF_WIRE_MAX_FDS])
{
    int taken = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
            if (taken < PF_WIRE_MAX_FDS)
                fds[taken++] = fd;
            else
                close(fd);
        }
    }
}

int pf_wire_receive(int socket, struct pf_message *message, int fds[PF_WIRE_MAX_FDS],
                    pf_fault *fault)
{
    struct iovec part = {.iov_base = message, .iov_len = sizeof *message};
    union control control;
    /* Not the whole of it: the padding at its end is room for one descriptor more (scm_max_fds). */
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = CMSG_LEN(PF_WIRE_MAX_FDS * sizeof(int))};
    for (int i = 0; i < PF_WIRE_MAX_FDS; i++)
        fds[i] = -1;

    ssize_t length = PF_RETRY(recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
    if (length < 0)
        return pf_fail_errno(fault, PF_OP_RECEIVE);
    take_fds(&header, fds);
    if (length == sizeof *message && !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return 0;
    for (int i = 0; i < PF_WIRE_MAX_FDS; i++)
        pf_close_fd(&fds[i]);
    /* The kernel cuts descriptors off when there is no room for them in our table. */
    int error = header.msg_flags & MSG_CTRUNC ? EMFILE : length == 0 ? EPIPE : EBADMSG;
    return pf_fail(fault, PF_OP_RECEIVE, error);
}
