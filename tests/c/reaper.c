/* A reaper and the tree below it: however its processes detach themselves, none gets away. */
#define _GNU_SOURCE
#include "children/reaper.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/process.h"
#include "check.h"
#include "fifo.h"

struct kept {
    struct pf_child_page *page;
    struct pf_child_words words;
    pid_t reaper;
    int control_fd;
    int output_fd;
    int park_fd;
};

struct run {
    const char *path;
    const char *directory;
    const char *words[3];
    uint32_t flags;
    int parks;
};

/* Shared with the reaper and its child, as a part of the plan's file is. */
static struct pf_child_page *share_page(const pf_child_options *options)
{
    uint64_t size = pf_child_page_size(options);
    struct pf_child_page *page = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(page != MAP_FAILED);
    pf_child_page_fill(page, size, options);
    return page;
}

static void drop_words(struct kept *kept)
{
    free(kept->words.argv);
    munmap(kept->page, kept->page->size);
}

static void start(struct kept *kept, const struct run *run)
{
    const char *argv[] = {"actor", run->words[0], run->words[1], run->words[2], NULL};
    const char *const envp[] = {"LANG=C", NULL};
    pf_child_options options = {.path = run->path ? run->path : check_actor,
                                .argv = argv,
                                .envp = envp,
                                .directory = run->directory ? run->directory : "/",
                                .flags = run->flags,
                                .attempts = 1,
                                .output_bytes = 4096};
    char *const no_extras[PF_EXTRA_MAX] = {NULL};
    pf_fault fault;
    int control[2], output[2], park[2] = {-1, -1};
    kept->page = share_page(&options);
    REQUIRE(pf_child_page_words(kept->page, no_extras, &kept->words, &fault) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == 0);
    REQUIRE(pipe2(output, O_CLOEXEC) == 0);
    REQUIRE(!run->parks || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, park) == 0);
    kept->reaper = fork();
    if (kept->reaper == 0)
        pf_reaper_run(&(struct pf_reaper){.words = &kept->words,
                                          .page = kept->page,
                                          .control_fd = control[1],
                                          .output_fd = output[1],
                                          .park_fd = park[0]});
    REQUIRE(kept->reaper > 0);
    close(control[1]);
    close(output[1]);
    if (park[0] >= 0)
        close(park[0]);
    kept->control_fd = control[0];
    kept->output_fd = output[0];
    kept->park_fd = park[1];
}

static void close_once(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void command(const struct kept *kept, char letter)
{
    CHECK_EQ(send(kept->control_fd, &letter, 1, MSG_NOSIGNAL), 1);
}

/* Wait for the report about the child itself. */
static int wait_status(const struct kept *kept)
{
    struct pf_reaper_report report = {.wait_status = -1};
    REQUIRE(recv(kept->control_fd, &report, sizeof report, 0) == sizeof report);
    CHECK(report.ended_ns > 0);
    return report.wait_status;
}

static int is_over(const struct kept *kept)
{
    char byte;
    return recv(kept->control_fd, &byte, 1, 0) == 0;
}

static uint32_t read_output(const struct kept *kept, char *text, size_t size)
{
    size_t total = 0;
    for (ssize_t length; total < size - 1; total += (size_t)length)
        if ((length = read(kept->output_fd, text + total, size - 1 - total)) <= 0)
            break;
    text[total] = '\0';
    return (uint32_t)total;
}

/* The reaper has exited well, and nothing at all is left below us. */
static void finish(struct kept *kept)
{
    int status;
    REQUIRE(waitpid(kept->reaper, &status, 0) == kept->reaper);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    CHECK_EQ(waitpid(-1, NULL, 0), -1);
    CHECK_EQ(errno, ECHILD);
    close_once(&kept->control_fd);
    close_once(&kept->output_fd);
    close_once(&kept->park_fd);
    drop_words(kept);
}

/* ---- plain ends ----------------------------------------------------------------------------- */

/* A child's exit status, or the signal that killed it, is reported as the kernel gave it. */
TEST(exits)
{
    struct kept kept;
    start(&kept, &(struct run){.words = {"exit", "0"}});
    CHECK_EQ(wait_status(&kept), 0);
    CHECK(is_over(&kept) && kept.page->pid > 0);
    finish(&kept);

    start(&kept, &(struct run){.words = {"exit", "37"}});
    int status = wait_status(&kept);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 37);
    CHECK(is_over(&kept));
    finish(&kept);

    const int signals[] = {SIGHUP, SIGKILL, SIGTERM, SIGPIPE, SIGCHLD + 17 /* a real-time one */};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        char number[8];
        snprintf(number, sizeof number, "%d", signals[i]);
        start(&kept, &(struct run){.words = {"signal", number}});
        status = wait_status(&kept);
        CHECK(WIFSIGNALED(status));
        CHECK_EQ(WTERMSIG(status), signals[i]);
        CHECK(is_over(&kept));
        finish(&kept);
    }
}

static void check_exec_failure(const struct run *run, int error)
{
    struct kept kept;
    start(&kept, run);
    int status = wait_status(&kept);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), error == ENOENT ? 127 : 126);
    CHECK_EQ(kept.page->exec_error, error);
    CHECK(is_over(&kept));
    finish(&kept);
}

static void make_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    REQUIRE(fchmod(fd, mode) == 0 && close(fd) == 0);
}

/* Why there was no execve() is in the page, and the exit status is that of a shell. */
TEST(exec_failures)
{
    char here[200], path[300];
    REQUIRE(getcwd(here, sizeof here) != NULL);
    snprintf(path, sizeof path, "%s/script", here);
    const struct run run = {.path = path};
    check_exec_failure(&run, ENOENT);
    make_file(path, "exit 0\n", 0700);
    check_exec_failure(&run, ENOEXEC);
    REQUIRE(chmod(path, 0600) == 0);
    check_exec_failure(&run, EACCES);
    REQUIRE(unlink(path) == 0);
    make_file(path, "#!/no/such/interpreter\n", 0700);
    check_exec_failure(&run, ENOENT);
    check_exec_failure(&(struct run){.path = here}, EACCES);
    check_exec_failure(&(struct run){.directory = "/no/such/directory", .words = {"exit", "0"}},
                       ENOENT);
    check_exec_failure(&(struct run){.directory = path, .words = {"exit", "0"}}, ENOTDIR);
}

/* A script is run by its interpreter, and both of its streams are read. */
TEST(shebang)
{
    char here[200], path[300], text[64];
    struct kept kept;
    REQUIRE(getcwd(here, sizeof here) != NULL);
    snprintf(path, sizeof path, "%s/shebang", here);
    make_file(path, "#!/bin/sh\necho out; echo err >&2; exit 4\n", 0700);
    start(&kept, &(struct run){.path = path});
    int status = wait_status(&kept);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 4);
    CHECK_EQ(kept.page->exec_error, 0);
    read_output(&kept, text, sizeof text);
    CHECK_STR(text, "out\nerr\n");
    CHECK(is_over(&kept));
    finish(&kept);
}

/* A child inherits no other descriptor or variable and no signal's state, and has its umask. */
TEST(surroundings)
{
    char text[4096];
    struct kept kept;
    int stray = dup(0); /* without O_CLOEXEC, as an embedding process may have it */
    signal(SIGPIPE, SIG_IGN);
    start(&kept, &(struct run){.words = {"describe"}, .flags = PF_CHILD_UMASK_077});
    signal(SIGPIPE, SIG_DFL);
    close(stray);
    CHECK_EQ(wait_status(&kept), 0);
    read_output(&kept, text, sizeof text);
    CHECK(strstr(text, "fd 0\n") && strstr(text, "fd 1\n") && strstr(text, "fd 2\n"));
    char *last = strstr(text, "fd 2\n");
    CHECK(last && !strstr(last + 1, "fd "));
    CHECK(strstr(text, "SigBlk:\t0000000000000000\n") != NULL);
    CHECK(strstr(text, "SigIgn:\t0000000000000000\n") != NULL);
    CHECK(strstr(text, "SigPnd:\t0000000000000000\n") != NULL);
    CHECK(strstr(text, "stdin /dev/null\n") != NULL);
    CHECK(strstr(text, "directory /\n") != NULL);
    CHECK(strstr(text, "leader 1 1\n") != NULL);
    CHECK(strstr(text, "umask 077\n") != NULL);
    CHECK(strstr(text, "env LANG=C\n") == strstr(text, "env ")); /* and no other variable */
    CHECK(is_over(&kept));
    finish(&kept);
}

/* ---- trees ---------------------------------------------------------------------------------- */

/* A daemon that ignores its SIGTERM lives on until it is to be killed, and then dies. */
TEST(terminate_and_kill_daemon)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    start(&kept, &(struct run){.words = {"daemon", fifo.path}});
    CHECK_EQ(wait_status(&kept), 0);
    CHECK_EQ(fifo_next(&fifo), 'r');
    command(&kept, PF_REAPER_TERMINATE);
    CHECK_EQ(fifo_next(&fifo), 'T'); /* it was told, and goes on */
    CHECK(fifo_is_quiet(&fifo));
    CHECK(recv(kept.control_fd, &(char){0}, 1, MSG_DONTWAIT) < 0);
    CHECK_EQ(errno, EAGAIN);
    command(&kept, PF_REAPER_KILL);
    CHECK_EQ(fifo_next(&fifo), 0);
    CHECK(is_over(&kept));
    finish(&kept);
    fifo_close(&fifo);
}

/* Each of three processes in two sessions gets its SIGTERM once. */
TEST(terminate_reaches_all)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    start(&kept, &(struct run){.words = {"family", fifo.path}});
    for (int i = 0; i < 3; i++)
        CHECK_EQ(fifo_next(&fifo), 'r');
    command(&kept, PF_REAPER_TERMINATE);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(fifo_next(&fifo), 'T');
    command(&kept, PF_REAPER_KILL);
    int status = wait_status(&kept);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGKILL);
    CHECK_EQ(fifo_rest(&fifo, 'T'), 0);
    CHECK(is_over(&kept));
    finish(&kept);
    fifo_close(&fifo);
}

/* All three processes die when the supervisor's end of the socket closes. */
TEST(supervisor_death)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    start(&kept, &(struct run){.words = {"family", fifo.path}});
    for (int i = 0; i < 3; i++)
        CHECK_EQ(fifo_next(&fifo), 'r');
    close_once(&kept.control_fd);
    CHECK_EQ(fifo_next(&fifo), 0);
    finish(&kept);
    fifo_close(&fifo);
}

/* Killed while it forks: a look at /proc is always too late for the newest generation. */
static void check_fork_chain(const char *kind)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    start(&kept, &(struct run){.words = {kind, fifo.path}});
    CHECK_EQ(wait_status(&kept), 0);
    CHECK_EQ(fifo_next(&fifo), 'r');
    command(&kept, PF_REAPER_KILL);
    CHECK_EQ(fifo_next(&fifo), 0);
    CHECK(is_over(&kept));
    finish(&kept);
    fifo_close(&fifo);
}

/* Each generation forks the next and exits: none gets away. */
TEST(fork_chain)
{
    check_fork_chain("chain");
}

/* Nor when each has a session of its own. */
TEST(fork_chain_of_sessions)
{
    check_fork_chain("sessions");
}

/* Told to leave, the reaper ends; what the child has left lives on under the next subreaper. */
TEST(leave)
{
    struct kept kept;
    struct fifo fifo;
    int status;
    fifo_open(&fifo);
    start(&kept, &(struct run){.words = {"daemon", fifo.path}});
    CHECK_EQ(wait_status(&kept), 0);
    CHECK_EQ(fifo_next(&fifo), 'r');
    command(&kept, PF_REAPER_LEAVE);
    CHECK(is_over(&kept));
    REQUIRE(waitpid(kept.reaper, &status, 0) == kept.reaper);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    CHECK(fifo_is_quiet(&fifo)); /* it lives, and was not even told to end */
    CHECK_EQ(waitpid(-1, &status, WNOHANG), 0); /* and is ours now */

    CHECK_EQ(pf_tree_signal(getpid(), SIGKILL, 0), 1);
    CHECK_EQ(fifo_next(&fifo), 0);
    CHECK_EQ(check_bury_all(), 1);
    close_once(&kept.control_fd);
    close_once(&kept.output_fd);
    drop_words(&kept);
    fifo_close(&fifo);
}

/* ---- parked --------------------------------------------------------------------------------- */

static const struct run *parked_touch(const struct fifo *fifo)
{
    static struct run run;
    run = (struct run){.words = {"touch", fifo->path}, .parks = 1};
    return &run;
}

/* A parked child says that it is, begins nothing, and runs once it is let go. */
TEST(parked_and_released)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    start(&kept, parked_touch(&fifo));
    CHECK_EQ(read(kept.park_fd, &(char){0}, 1), 1); /* it says so itself */
    CHECK_EQ(read(fifo.fd, &(char){0}, 1), 0);      /* and has not begun */
    CHECK_EQ(write(kept.park_fd, "g", 1), 1);
    CHECK_EQ(wait_status(&kept), 0);
    CHECK_EQ(fifo_next(&fifo), 'x');
    CHECK(is_over(&kept));
    finish(&kept);
    fifo_close(&fifo);
}

/* Before it said anything, with its word unread, and after its word was read. */
TEST(parked_and_given_up)
{
    struct kept kept;
    struct fifo fifo;
    for (int moment = 0; moment < 3; moment++) {
        fifo_open(&fifo);
        start(&kept, parked_touch(&fifo));
        if (moment > 0)
            CHECK_EQ(recv(kept.park_fd, &(char){0}, 1, moment == 1 ? MSG_PEEK : 0), 1);
        close_once(&kept.park_fd);
        CHECK_EQ(wait_status(&kept), 0);
        CHECK_EQ(kept.page->exec_error, 0);
        CHECK(is_over(&kept));
        finish(&kept);
        CHECK_EQ(read(fifo.fd, &(char){0}, 1), 0); /* nobody has ever opened it */
        fifo_close(&fifo);
    }
}

/* All of the supervisor's ends close at once when it dies. */
TEST(parked_and_orphaned)
{
    struct kept kept;
    struct fifo fifo;
    for (int first = 0; first < 2; first++) {
        fifo_open(&fifo);
        start(&kept, parked_touch(&fifo));
        close_once(first ? &kept.park_fd : &kept.control_fd);
        close_once(first ? &kept.control_fd : &kept.park_fd);
        finish(&kept);
        CHECK_EQ(read(fifo.fd, &(char){0}, 1), 0);
        fifo_close(&fifo);
    }
}

/* Two parked children side by side: neither may hold the other's pipe open. */
TEST(two_parked)
{
    struct kept one, two;
    struct fifo fifo;
    int status;
    fifo_open(&fifo);
    start(&one, parked_touch(&fifo));
    start(&two, parked_touch(&fifo));
    close_once(&one.park_fd);
    CHECK_EQ(wait_status(&one), 0);
    CHECK(is_over(&one));
    REQUIRE(waitpid(one.reaper, &status, 0) == one.reaper);
    CHECK_EQ(write(two.park_fd, "g", 1), 1);
    CHECK_EQ(wait_status(&two), 0);
    CHECK(is_over(&two));
    CHECK_EQ(fifo_rest(&fifo, 'x'), 1);
    finish(&two);
    close_once(&one.control_fd);
    close_once(&one.output_fd);
    drop_words(&one);
    fifo_close(&fifo);
}

/* ---- the tree itself ------------------------------------------------------------------------ */

/* All below a process are counted and signalled, but no zombie and nothing that is excepted. */
TEST(tree_counts)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    CHECK_EQ(pf_tree_signal(getpid(), 0, 0), 0);
    start(&kept, &(struct run){.words = {"family", fifo.path}});
    for (int i = 0; i < 3; i++)
        CHECK_EQ(fifo_next(&fifo), 'r');
    CHECK_EQ(pf_tree_signal(getpid(), 0, 0), 4); /* with the reaper */
    CHECK_EQ(pf_tree_signal(kept.reaper, 0, 0), 3);
    CHECK_EQ(pf_tree_signal(kept.reaper, SIGTERM, kept.page->pid),
             3); /* counted, but two excepted */
    CHECK_EQ(fifo_next(&fifo), 'T');
    CHECK(fifo_is_quiet(&fifo));
    CHECK_EQ(pf_tree_signal(kept.reaper, SIGKILL, 0), 3); /* somebody else kills them all */
    CHECK_EQ(fifo_next(&fifo), 0);
    wait_status(&kept);
    CHECK(is_over(&kept));
    finish(&kept);
    CHECK_EQ(pf_tree_signal(getpid(), 0, 0), 0);

    pid_t zombie = fork();
    if (zombie == 0)
        _exit(0);
    siginfo_t info;
    REQUIRE(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT) == 0);
    CHECK_EQ(pf_tree_signal(getpid(), SIGKILL, 0), 0); /* a zombie is not alive */
    CHECK_EQ(pf_process_state(zombie), 'Z');
    CHECK_EQ(check_bury_all(), 1);
    CHECK_EQ(pf_process_state(zombie), 0);
    fifo_close(&fifo);
}

/* A name may hold anything, also what looks like the fields after it. */
TEST(tree_with_odd_names)
{
    int ready[2];
    char byte;
    REQUIRE(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NAME, ") Z 1 1 (\n) X");
        (void)!write(ready[1], "r", 1);
        for (;;)
            pause();
    }
    REQUIRE(read(ready[0], &byte, 1) == 1);
    char state = pf_process_state(pid);
    CHECK(state != 0 && state != 'Z' && state != 'X');
    CHECK_EQ(pf_tree_signal(getpid(), SIGKILL, 0), 1);
    CHECK_EQ(check_bury_all(), 1);
    close(ready[0]);
    close(ready[1]);
}

int main(int count, char **words)
{
    check_begin(count, words);
    check_become_subreaper();
    /* A reaper expects what its supervisor has done: every signal blocked. SIGALRM is ours. */
    sigset_t blocked;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGALRM);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    return check_run();
}
