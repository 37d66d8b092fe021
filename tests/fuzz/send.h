/* send.h - one message of any length, with any descriptors. */
#ifndef SEND_H
#define SEND_H
#include <sys/socket.h>

#include "fuzz.h"

#define FUZZ_MOST_FDS 4

static inline void fuzz_send(int socket, const void *bytes, size_t size, const int *fds,
                             size_t count)
{
    char control[CMSG_SPACE(FUZZ_MOST_FDS * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    MUST(count <= FUZZ_MOST_FDS);
    if (count > 0) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    }
    MUST(sendmsg(socket, &header, MSG_NOSIGNAL) == (ssize_t)size);
}

#endif
