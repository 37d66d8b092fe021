/* Messages and descriptors arrive whole or not at all, and no descriptor is ever left over. */
#define _GNU_SOURCE
#include "protocol/wire.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "check.h"

static int ends[2];
static int resting_fds;

/* Every test begins with a fresh pair and ends with as many descriptors as it found. */
static void begin(void)
{
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    resting_fds = check_count_fds(getpid());
}

static void end(void)
{
    CHECK_EQ(check_count_fds(getpid()), resting_fds);
    close(ends[0]);
    close(ends[1]);
}

static struct pf_message some_message(uint64_t seed)
{
    struct pf_message message;
    for (size_t i = 0; i < sizeof message; i++)
        ((char *)&message)[i] = (char)check_random(&seed);
    return message;
}

static int same_file(int fd, int other)
{
    struct stat one, two;
    return fstat(fd, &one) == 0 && fstat(other, &two) == 0 && one.st_ino == two.st_ino &&
           one.st_dev == two.st_dev;
}

static void receive_fails(int error)
{
    struct pf_message message;
    int fds[PF_WIRE_MAX_FDS] = {7, 7, 7};
    pf_fault fault = {0};
    CHECK_EQ(pf_wire_receive(ends[1], &message, fds, &fault), -error);
    CHECK_EQ(fault.op, PF_OP_RECEIVE);
    CHECK_EQ(fault.error, error);
    CHECK_EQ(fault.index, -1);
    for (int i = 0; i < PF_WIRE_MAX_FDS; i++)
        CHECK_EQ(fds[i], -1);
}

static void check_round_trip(int count)
{
    begin();
    int files[PF_WIRE_MAX_FDS];
    REQUIRE(pipe(files) == 0 && (files[2] = dup(0)) >= 0);
    const struct pf_message sent = some_message((uint64_t)count + 1);
    struct pf_message received;
    int fds[PF_WIRE_MAX_FDS];
    pf_fault fault;
    CHECK_EQ(pf_wire_send(ends[0], &sent, files, count, &fault), 0);
    CHECK_EQ(pf_wire_receive(ends[1], &received, fds, &fault), 0);
    CHECK_EQ(memcmp(&sent, &received, sizeof sent), 0);
    for (int i = 0; i < PF_WIRE_MAX_FDS; i++) {
        CHECK_EQ(fds[i] >= 0, i < count);
        if (fds[i] < 0)
            continue;
        CHECK(same_file(fds[i], files[i]) && (fcntl(fds[i], F_GETFD) & FD_CLOEXEC));
        close(fds[i]);
    }
    for (int i = 0; i < PF_WIRE_MAX_FDS; i++)
        close(files[i]);
    receive_fails(EAGAIN); /* and never blocks */
    end();
}

/* A message arrives as it was sent, with none to all of its descriptors. */
TEST(round_trips)
{
    for (int count = 0; count <= PF_WIRE_MAX_FDS; count++)
        check_round_trip(count);
}

/* Many wait, with and without descriptors: each comes with its own, in order. */
TEST(queue)
{
    begin();
    int pipes[2];
    pf_fault fault;
    REQUIRE(pipe(pipes) == 0);
    for (int i = 0; i < 60; i++) {
        const struct pf_message sent = {.kind = PF_REPLY_STEP, .index = i};
        REQUIRE(pf_wire_send(ends[0], &sent, pipes, i % 3, &fault) == 0);
    }
    for (int i = 0; i < 60; i++) {
        struct pf_message received;
        int fds[PF_WIRE_MAX_FDS], found = 0;
        REQUIRE(pf_wire_receive(ends[1], &received, fds, &fault) == 0);
        for (int j = 0; j < PF_WIRE_MAX_FDS; j++)
            if (fds[j] >= 0) {
                close(fds[j]);
                found++;
            }
        CHECK_EQ(received.index, i);
        CHECK_EQ(found, i % 3);
    }
    close(pipes[0]);
    close(pipes[1]);
    end();
}

/* What pf_wire_send() never does: any length, any number of descriptors. */
static void send_raw(const void *bytes, size_t size, const int *fds, size_t count)
{
    char control[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    REQUIRE(count <= 16);
    if (count > 0) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    }
    REQUIRE(sendmsg(ends[0], &header, 0) == (ssize_t)size);
}

/* Nothing is sent that could not be received. */
TEST(more_than_allowed)
{
    begin();
    const struct pf_message message = some_message(7);
    const int many[PF_WIRE_MAX_FDS + 1] = {0};
    pf_fault fault;
    CHECK_EQ(pf_wire_send(ends[0], &message, many, PF_WIRE_MAX_FDS + 1, &fault), -EINVAL);
    CHECK_EQ(fault.op, PF_OP_SEND);
    receive_fails(EAGAIN);
    end();
}

/* Only a message of exactly its length is taken; of any other nothing is left. */
TEST(wrong_lengths)
{
    char bytes[2 * sizeof(struct pf_message)] = {0};
    for (size_t size = 1; size < sizeof bytes; size++) {
        begin();
        int fds[PF_WIRE_MAX_FDS] = {0, 1, 2};
        send_raw(bytes, size, fds, size % (PF_WIRE_MAX_FDS + 1));
        if (size == sizeof(struct pf_message)) {
            struct pf_message message;
            int taken[PF_WIRE_MAX_FDS];
            pf_fault fault;
            CHECK_EQ(pf_wire_receive(ends[1], &message, taken, &fault), 0);
            for (int i = 0; i < PF_WIRE_MAX_FDS; i++)
                if (taken[i] >= 0)
                    close(taken[i]);
        } else {
            receive_fails(EBADMSG);
        }
        receive_fails(EAGAIN); /* the rest of a long one is gone with it */
        end();
    }
}

/* A message with more descriptors than allowed is refused, and all are closed. */
TEST(too_many_descriptors)
{
    const struct pf_message message = some_message(3);
    int fds[16];
    for (size_t i = 0; i < 16; i++)
        fds[i] = (int)(i % 3);
    for (size_t count = PF_WIRE_MAX_FDS + 1; count <= 16; count++) {
        begin();
        send_raw(&message, sizeof message, fds, count);
        receive_fails(EMFILE);
        receive_fails(EAGAIN);
        end();
    }
}

/* The kernel cuts off the descriptors that the table has no room for. */
TEST(full_table)
{
    struct rlimit before;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    for (int room = 0; room <= PF_WIRE_MAX_FDS + 1; room++) {
        begin();
        const struct pf_message message = some_message(4);
        const int sent[PF_WIRE_MAX_FDS] = {0, 1, 2};
        send_raw(&message, sizeof message, sent, PF_WIRE_MAX_FDS);
        int lowest = dup(0); /* what is free is contiguous from here on */
        close(lowest);
        struct rlimit tight = {.rlim_cur = (rlim_t)(lowest + room), .rlim_max = before.rlim_max};
        REQUIRE(setrlimit(RLIMIT_NOFILE, &tight) == 0);
        struct pf_message received;
        int fds[PF_WIRE_MAX_FDS];
        pf_fault fault;
        int result = pf_wire_receive(ends[1], &received, fds, &fault);
        REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
        CHECK_EQ(result, room < PF_WIRE_MAX_FDS ? -EMFILE : 0);
        for (int i = 0; i < PF_WIRE_MAX_FDS; i++) {
            CHECK_EQ(fds[i] >= 0, room >= PF_WIRE_MAX_FDS);
            if (fds[i] >= 0)
                close(fds[i]);
        }
        end();
    }
}

/* What was sent before the end is received; then it is EPIPE, and no SIGPIPE. */
TEST(closed_peer)
{
    begin();
    const struct pf_message message = some_message(5);
    struct pf_message received;
    int fds[PF_WIRE_MAX_FDS];
    pf_fault fault;
    CHECK_EQ(pf_wire_send(ends[0], &message, NULL, 0, &fault), 0);
    close(ends[0]);
    CHECK_EQ(pf_wire_receive(ends[1], &received, fds, &fault), 0); /* its last words */
    receive_fails(EPIPE);
    CHECK_EQ(pf_wire_send(ends[1], &message, NULL, 0, &fault), -EPIPE); /* no SIGPIPE */
    CHECK_EQ(fault.op, PF_OP_SEND);
    CHECK_EQ(fault.error, EPIPE);
    CHECK_EQ(fault.index, -1);
    resting_fds--;
    CHECK_EQ(check_count_fds(getpid()), resting_fds);
    close(ends[1]);
}

/* A descriptor that is not open, as the socket or to be sent, is EBADF and sends nothing. */
TEST(bad_socket)
{
    pf_fault fault;
    struct pf_message message = some_message(6);
    int fds[PF_WIRE_MAX_FDS];
    CHECK_EQ(pf_wire_send(-1, &message, NULL, 0, &fault), -EBADF);
    CHECK_EQ(pf_wire_receive(-1, &message, fds, &fault), -EBADF);
    begin();
    const int bad[1] = {-1};
    CHECK_EQ(pf_wire_send(ends[0], &message, bad, 1, &fault), -EBADF);
    receive_fails(EAGAIN);
    end();
}

int main(int count, char **words)
{
    check_begin(count, words);
    return check_run();
}
