/* The state directory is ours alone, or it is refused; its lock is held once. */
#define _GNU_SOURCE
#include "protocol/statedir.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "check.h"
#include "private.h"

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

/* A new directory is ours alone; one that group or others may write is refused. */
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

/* A directory of another user is refused, one of another group is not. */
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

/* A link, a file, or what lies below something missing is refused, and nothing is made. */
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

/* The lock is held once for each directory, and can be taken again when it is closed. */
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

/* A link or a directory in the lock's place is refused, and not followed. */
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

/* ---- shared files ----------------------------------------------------------------------------- */

static int exists(int directory_fd, const char *name)
{
    struct stat status;
    return fstatat(directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

static int open_state(void)
{
    pf_fault fault;
    int directory_fd = pf_statedir_open("state", &fault);
    REQUIRE(directory_fd >= 0);
    return directory_fd;
}

/* A shared file has all its blocks, zeros and mode 0600, and only its own name is removed. */
TEST(files)
{
    struct stat status;
    void *made, *mapped;
    uint64_t size;
    int directory_fd = open_state();
    umask(0);
    int fd = pf_statedir_create(directory_fd, "run", ".page", 5000, &made);
    REQUIRE(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    REQUIRE(fstatat(directory_fd, "run.page", &status, 0) == 0);
    CHECK_EQ(status.st_mode & 07777, 0600);
    CHECK_EQ(status.st_size, 5000);
    CHECK(status.st_blocks * 512 >= status.st_size); /* no hole that could be a SIGBUS later */
    for (int i = 0; i < 5000; i++)
        CHECK_EQ(((char *)made)[i], 0);

    REQUIRE(pf_statedir_map(fd, 5000, &mapped, &size) == 0);
    CHECK_EQ(size, 5000);
    ((char *)mapped)[4999] = 7;
    CHECK_EQ(((char *)made)[4999], 7); /* one memory */
    munmap(mapped, size);
    munmap(made, 5000);
    close(fd);

    pf_statedir_remove(directory_fd, "run", ".pag"); /* another's */
    CHECK(exists(directory_fd, "run.page"));
    pf_statedir_remove(directory_fd, "run", ".page");
    CHECK(!exists(directory_fd, "run.page"));
    pf_statedir_remove(directory_fd, "run", ".page"); /* gone already */
    close(directory_fd);
}

/* A file is made over nothing that is there, through no link, and of no impossible size. */
TEST(file_obstacles)
{
    struct stat status;
    void *map = NULL;
    int directory_fd = open_state();
    int fd = openat(directory_fd, "taken.page", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && write(fd, "precious", 8) == 8);
    CHECK_EQ(pf_statedir_create(directory_fd, "taken", ".page", 100, &map), -EEXIST);
    CHECK_EQ(fstat(fd, &status), 0);
    CHECK_EQ(status.st_size, 8);
    CHECK_EQ(status.st_nlink, 1);
    close(fd);

    REQUIRE(symlinkat("victim", directory_fd, "linked.page") == 0);
    CHECK_EQ(pf_statedir_create(directory_fd, "linked", ".page", 100, &map), -EEXIST);
    CHECK(!exists(directory_fd, "victim") && exists(directory_fd, "linked.page"));
    CHECK_EQ(pf_statedir_create(-1, "run", ".page", 100, &map), -EBADF);
    /* A size that no file can have leaves none. */
    CHECK(pf_statedir_create(directory_fd, "huge", ".page", UINT64_MAX, &map) < 0);
    CHECK_EQ(pf_statedir_create(directory_fd, "nothing", ".page", 0, &map), -EINVAL);
    CHECK(!exists(directory_fd, "huge.page") && !exists(directory_fd, "nothing.page"));
    CHECK(map == NULL);
    close(directory_fd);
}

/* A sparse file there would be a SIGBUS in the middle of a window. */
TEST(full)
{
    void *map = NULL;
    struct stat status;
    if (!private_mounts()) {
        SKIP("a full tmpfs needs a mount namespace of its own");
        return;
    }
    private_tmpfs("state", "size=64k,mode=0700");
    int directory_fd = open_state();
    CHECK_EQ(pf_statedir_create(directory_fd, "large", ".page", 1 << 20, &map), -ENOSPC);
    CHECK(map == NULL && !exists(directory_fd, "large.page"));
    int fd = pf_statedir_create(directory_fd, "small", ".page", 4096, &map); /* it took no room */
    REQUIRE(fd >= 0 && fstat(fd, &status) == 0);
    munmap(map, 4096);
    close(fd);
    close(directory_fd);
}

static int map_and_unmap(int fd, uint64_t least)
{
    void *map;
    uint64_t size;
    int result = pf_statedir_map(fd, least, &map, &size);
    if (result == 0)
        CHECK(size >= least && munmap(map, size) == 0);
    return result;
}

/* What is shorter than it must be, may not be read, or is no file is not mapped. */
TEST(mapping)
{
    void *made, *seen;
    uint64_t size;
    int directory_fd = open_state();
    int fd = pf_statedir_create(directory_fd, "run", ".page", 100, &made);
    REQUIRE(fd >= 0);
    CHECK_EQ(map_and_unmap(fd, 100), 0);
    CHECK_EQ(map_and_unmap(fd, 1), 0);
    CHECK_EQ(map_and_unmap(fd, 101), -EBADMSG);

    int look = openat(directory_fd, "run.page", O_RDONLY | O_CLOEXEC);
    REQUIRE(pf_statedir_map(look, 100, &seen, &size) == 0);
    CHECK_EQ(size, 100);
    CHECK_EQ(mprotect(seen, size, PROT_READ | PROT_WRITE), -1); /* for reading, and no more */
    munmap(seen, size);
    int name = openat(directory_fd, "run.page", O_PATH | O_CLOEXEC);
    CHECK_EQ(map_and_unmap(name, 100), -EBADF);
    int blind = openat(directory_fd, "run.page", O_WRONLY | O_CLOEXEC);
    CHECK_EQ(map_and_unmap(blind, 100), -EACCES);

    int pair[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    int device = open("/dev/zero", O_RDWR | O_CLOEXEC);
    CHECK_EQ(map_and_unmap(pair[0], 1), -EBADMSG);
    CHECK_EQ(map_and_unmap(directory_fd, 1), -EBADMSG);
    CHECK_EQ(map_and_unmap(device, 1), -EBADMSG);
    CHECK_EQ(map_and_unmap(-1, 1), -EBADF);
    munmap(made, 100);
    const int fds[] = {fd, look, name, blind, pair[0], pair[1], device, directory_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        close(fds[i]);
}

int main(int count, char **words)
{
    check_begin(count, words);
    return check_run();
}
