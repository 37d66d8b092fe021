/* The state directory is ours alone, or it is refused; its lock is held once. */
#define _GNU_SOURCE
#include "protocol/statedir.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"

static int open_and_close(const char *path, pf_fault *fault)
{
    int fd = pf_statedir_open(path, fault);
    if (fd < 0) {
        CHECK_EQ(fault->op, PF_OP_DIRECTORY);
        CHECK_EQ(fault->error, -fd);
        CHECK_EQ(fault->index, -1);
        return fd;
    }
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    return 0;
}

TEST(modes)
{
    pf_fault fault;
    struct stat status;
    umask(0);
    CHECK_EQ(open_and_close("fresh", &fault), 0);
    CHECK_EQ(stat("fresh", &status), 0);
    CHECK_EQ(status.st_mode & 07777, 0700);
    CHECK_EQ(open_and_close("fresh", &fault), 0); /* it may be there already */
    for (mode_t mode = 0700; mode <= 0777; mode++) {
        REQUIRE(chmod("fresh", mode) == 0);
        CHECK_EQ(open_and_close("fresh", &fault), mode & 022 ? -EPERM : 0);
    }
    REQUIRE(chmod("fresh", 01777) == 0); /* a sticky bit does not help: they could still create */
    CHECK_EQ(open_and_close("fresh", &fault), -EPERM);
    REQUIRE(chmod("fresh", 0700) == 0);
}

TEST(other_owners)
{
    pf_fault fault;
    REQUIRE(mkdir("theirs", 0700) == 0);
    if (geteuid() != 0) {
        SKIP("giving a directory away needs root");
        return;
    }
    REQUIRE(chown("theirs", 65534, 0) == 0);
    CHECK_EQ(open_and_close("theirs", &fault), -EPERM);
    REQUIRE(chown("theirs", 0, 65534) == 0); /* the group may not write */
    CHECK_EQ(open_and_close("theirs", &fault), 0);
}

TEST(other_things)
{
    pf_fault fault;
    REQUIRE(mkdir("real", 0700) == 0);
    REQUIRE(symlink("real", "link") == 0);
    int result = open_and_close("link", &fault);
    CHECK(result == -ENOTDIR || result == -ELOOP);
    REQUIRE(symlink("nowhere", "dangling") == 0);
    CHECK(open_and_close("dangling", &fault) < 0);
    CHECK(access("nowhere", F_OK) < 0); /* and not made through the link */
    close(open("file", O_WRONLY | O_CREAT, 0600));
    CHECK_EQ(open_and_close("file", &fault), -ENOTDIR);
    CHECK_EQ(open_and_close("missing/below", &fault), -ENOENT);
    CHECK_EQ(open_and_close("file/below", &fault), -ENOTDIR);
}

TEST(lock)
{
    pf_fault fault;
    struct stat status;
    int directory_fd = pf_statedir_open("fresh", &fault);
    REQUIRE(directory_fd >= 0);
    int lock = pf_statedir_lock(directory_fd, &fault);
    REQUIRE(lock >= 0);
    CHECK(fcntl(lock, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(fstat(lock, &status), 0);
    CHECK_EQ(status.st_mode & 0777, 0600);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(pf_statedir_lock(directory_fd, &fault), -EWOULDBLOCK);
        CHECK_EQ(fault.op, PF_OP_LOCK);
        CHECK_EQ(fault.error, EWOULDBLOCK);
        CHECK_EQ(pf_lock("fresh", &fault), -EWOULDBLOCK);
    }
    int other = pf_lock("other", &fault);
    CHECK(other >= 3); /* another directory is another lock */
    close(other);
    close(lock);
    lock = pf_lock("fresh", &fault);
    CHECK(lock >= 0);
    close(lock);
    close(directory_fd);
    close(open("file", O_WRONLY | O_CREAT, 0600));
    CHECK_EQ(pf_lock("file", &fault), -ENOTDIR);
    CHECK_EQ(fault.op, PF_OP_DIRECTORY);
}

/* The lock ends with its last holder, however that one ends. */
TEST(lock_of_a_dead_process)
{
    pf_fault fault;
    int told[2];
    char byte;
    REQUIRE(pipe(told) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        byte = pf_lock("fresh", &fault) >= 0;
        (void)!write(told[1], &byte, 1);
        for (;;)
            pause();
    }
    REQUIRE(read(told[0], &byte, 1) == 1 && byte == 1);
    CHECK_EQ(pf_lock("fresh", &fault), -EWOULDBLOCK);
    REQUIRE(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    int lock = pf_lock("fresh", &fault);
    CHECK(lock >= 0);
    close(lock);
    close(told[0]);
    close(told[1]);
}

TEST(lock_obstacles)
{
    pf_fault fault;
    int directory_fd = pf_statedir_open("traps", &fault);
    REQUIRE(directory_fd >= 0);
    REQUIRE(symlinkat("elsewhere", directory_fd, PF_LOCK_NAME) == 0);
    CHECK_EQ(pf_statedir_lock(directory_fd, &fault), -ELOOP);
    CHECK(faccessat(directory_fd, "elsewhere", F_OK, 0) < 0);
    REQUIRE(unlinkat(directory_fd, PF_LOCK_NAME, 0) == 0);
    REQUIRE(mkdirat(directory_fd, PF_LOCK_NAME, 0700) == 0);
    CHECK_EQ(pf_statedir_lock(directory_fd, &fault), -EISDIR);
    CHECK_EQ(fault.op, PF_OP_LOCK);
    close(directory_fd);
}

int main(int count, char **words)
{
    check_begin(count, words);
    return check_run();
}
