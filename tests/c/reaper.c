/* A reaper and the tree below it: however its processes detach themselves, none gets away. */
#define _GNU_SOURCE
#include "children/reaper.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/process.h"
#include "check.h"
#include "fifo.h"

static const char *actor;

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
};

static void start(struct kept *kept, const struct run *run)
{
    const char *argv[] = {"actor", run->words[0], run->words[1], run->words[2], NULL};
    const char *const envp[] = {"LANG=C", NULL};
    pf_child_options options = {.path = run->path ? run->path : actor,
                                .argv = argv,
                                .envp = envp,
                                .directory = run->directory ? run->directory : "/",
                                .flags = run->flags,
                                .attempts = 1,
                                .output_bytes = 4096};
    pf_fault fault;
    int control[2], output[2], park[2] = {-1, -1};
    int page_fd = pf_child_page_create(&kept->page, &options, &fault);
    REQUIRE(page_fd >= 0);
    close(page_fd);
    REQUIRE(pf_child_page_words(kept->page, NULL, &kept->words, &fault) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == 0);
    REQUIRE(pipe2(output, O_CLOEXEC) == 0);
    REQUIRE(!(run->flags & PF_CHILD_PARKED) ||
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, park) == 0);
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
    CHECK(send(kept->control_fd, &letter, 1, MSG_NOSIGNAL) == 1);
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
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    close_once(&kept->control_fd);
    close_once(&kept->output_fd);
    close_once(&kept->park_fd);
    free(kept->words.argv);
    pf_child_page_unmap(kept->page);
}

/* ---- plain ends ----------------------------------------------------------------------------- */

static void test_exits(void)
{
    struct kept kept;
    start(&kept, &(struct run){.words = {"exit", "0"}});
    CHECK(wait_status(&kept) == 0);
    CHECK(is_over(&kept) && kept.page->pid > 0);
    finish(&kept);

    start(&kept, &(struct run){.words = {"exit", "37"}});
    int status = wait_status(&kept);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 37);
    CHECK(is_over(&kept));
    finish(&kept);

    const int signals[] = {SIGHUP, SIGKILL, SIGTERM, SIGPIPE, SIGCHLD + 17 /* a real-time one */};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        char number[8];
        snprintf(number, sizeof number, "%d", signals[i]);
        start(&kept, &(struct run){.words = {"signal", number}});
        status = wait_status(&kept);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == signals[i]);
        CHECK(is_over(&kept));
        finish(&kept);
    }
}

static void check_exec_failure(const struct run *run, int error)
{
    struct kept kept;
    start(&kept, run);
    int status = wait_status(&kept);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == (error == ENOENT ? 127 : 126));
    CHECK(kept.page->exec_error == error);
    CHECK(is_over(&kept));
    finish(&kept);
}

static void make_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    REQUIRE(fchmod(fd, mode) == 0 && close(fd) == 0);
}

static void test_exec_failures(const char *here)
{
    char path[300];
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

static void test_shebang(const char *here)
{
    char path[300], text[64];
    struct kept kept;
    snprintf(path, sizeof path, "%s/shebang", here);
    make_file(path, "#!/bin/sh\necho out; echo err >&2; exit 4\n", 0700);
    start(&kept, &(struct run){.path = path});
    int status = wait_status(&kept);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 4 && kept.page->exec_error == 0);
    read_output(&kept, text, sizeof text);
    CHECK(strcmp(text, "out\nerr\n") == 0);
    CHECK(is_over(&kept));
    finish(&kept);
}

static void test_surroundings(void)
{
    char text[4096];
    struct kept kept;
    int stray = dup(0); /* without O_CLOEXEC, as an embedding process may have it */
    signal(SIGPIPE, SIG_IGN);
    start(&kept, &(struct run){.words = {"describe"}, .flags = PF_CHILD_UMASK_077});
    signal(SIGPIPE, SIG_DFL);
    close(stray);
    CHECK(wait_status(&kept) == 0);
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

static void test_terminate_and_kill_daemon(void)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    start(&kept, &(struct run){.words = {"daemon", fifo.path}});
    CHECK(wait_status(&kept) == 0);
    CHECK(fifo_next(&fifo) == 'r');
    command(&kept, PF_REAPER_TERMINATE);
    CHECK(fifo_next(&fifo) == 'T'); /* it was told, and goes on */
    CHECK(fifo_is_quiet(&fifo));
    CHECK(recv(kept.control_fd, &(char){0}, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    command(&kept, PF_REAPER_KILL);
    CHECK(fifo_next(&fifo) == 0);
    CHECK(is_over(&kept));
    finish(&kept);
    fifo_close(&fifo);
}

/* Each of three processes in two sessions gets its SIGTERM once. */
static void test_terminate_reaches_all(void)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    start(&kept, &(struct run){.words = {"family", fifo.path}});
    for (int i = 0; i < 3; i++)
        CHECK(fifo_next(&fifo) == 'r');
    command(&kept, PF_REAPER_TERMINATE);
    for (int i = 0; i < 3; i++)
        CHECK(fifo_next(&fifo) == 'T');
    command(&kept, PF_REAPER_KILL);
    int status = wait_status(&kept);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK(fifo_rest(&fifo, 'T') == 0);
    CHECK(is_over(&kept));
    finish(&kept);
    fifo_close(&fifo);
}

static void test_supervisor_death(void)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    start(&kept, &(struct run){.words = {"family", fifo.path}});
    for (int i = 0; i < 3; i++)
        CHECK(fifo_next(&fifo) == 'r');
    close_once(&kept.control_fd);
    CHECK(fifo_next(&fifo) == 0);
    finish(&kept);
    fifo_close(&fifo);
}

/* Killed while it forks: a look at /proc is always too late for the newest generation. */
static void test_fork_chain(const char *kind)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    start(&kept, &(struct run){.words = {kind, fifo.path}});
    CHECK(wait_status(&kept) == 0);
    CHECK(fifo_next(&fifo) == 'r');
    command(&kept, PF_REAPER_KILL);
    CHECK(fifo_next(&fifo) == 0);
    CHECK(is_over(&kept));
    finish(&kept);
    fifo_close(&fifo);
}

static void test_leave(void)
{
    struct kept kept;
    struct fifo fifo;
    int status;
    fifo_open(&fifo);
    start(&kept, &(struct run){.words = {"daemon", fifo.path}});
    CHECK(wait_status(&kept) == 0);
    CHECK(fifo_next(&fifo) == 'r');
    command(&kept, PF_REAPER_LEAVE);
    CHECK(is_over(&kept));
    REQUIRE(waitpid(kept.reaper, &status, 0) == kept.reaper);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(fifo_is_quiet(&fifo)); /* it lives, and was not even told to end */
    CHECK(waitpid(-1, &status, WNOHANG) == 0); /* and is ours now */

    CHECK(pf_tree_signal(getpid(), SIGKILL, 0) == 1);
    CHECK(fifo_next(&fifo) == 0);
    CHECK(check_bury_all() == 1);
    close_once(&kept.control_fd);
    close_once(&kept.output_fd);
    free(kept.words.argv);
    pf_child_page_unmap(kept.page);
    fifo_close(&fifo);
}

/* ---- parked --------------------------------------------------------------------------------- */

static const struct run *parked_touch(const struct fifo *fifo)
{
    static struct run run;
    run = (struct run){.words = {"touch", fifo->path}, .flags = PF_CHILD_PARKED};
    return &run;
}

static void test_parked_and_released(void)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    start(&kept, parked_touch(&fifo));
    CHECK(read(kept.park_fd, &(char){0}, 1) == 1); /* it says so itself */
    CHECK(read(fifo.fd, &(char){0}, 1) == 0);      /* and has not begun */
    CHECK(write(kept.park_fd, "g", 1) == 1);
    CHECK(wait_status(&kept) == 0);
    CHECK(fifo_next(&fifo) == 'x');
    CHECK(is_over(&kept));
    finish(&kept);
    fifo_close(&fifo);
}

/* Before it said anything, with its word unread, and after its word was read. */
static void test_parked_and_given_up(void)
{
    struct kept kept;
    struct fifo fifo;
    for (int moment = 0; moment < 3; moment++) {
        fifo_open(&fifo);
        start(&kept, parked_touch(&fifo));
        if (moment > 0)
            CHECK(recv(kept.park_fd, &(char){0}, 1, moment == 1 ? MSG_PEEK : 0) == 1);
        close_once(&kept.park_fd);
        CHECK(wait_status(&kept) == 0);
        CHECK(kept.page->exec_error == 0);
        CHECK(is_over(&kept));
        finish(&kept);
        CHECK(read(fifo.fd, &(char){0}, 1) == 0); /* nobody has ever opened it */
        fifo_close(&fifo);
    }
}

/* All of the supervisor's ends close at once when it dies. */
static void test_parked_and_orphaned(void)
{
    struct kept kept;
    struct fifo fifo;
    for (int first = 0; first < 2; first++) {
        fifo_open(&fifo);
        start(&kept, parked_touch(&fifo));
        close_once(first ? &kept.park_fd : &kept.control_fd);
        close_once(first ? &kept.control_fd : &kept.park_fd);
        finish(&kept);
        CHECK(read(fifo.fd, &(char){0}, 1) == 0);
        fifo_close(&fifo);
    }
}

/* Two parked children side by side: neither may hold the other's pipe open. */
static void test_two_parked(void)
{
    struct kept one, two;
    struct fifo fifo;
    int status;
    fifo_open(&fifo);
    start(&one, parked_touch(&fifo));
    start(&two, parked_touch(&fifo));
    close_once(&one.park_fd);
    CHECK(wait_status(&one) == 0 && is_over(&one));
    REQUIRE(waitpid(one.reaper, &status, 0) == one.reaper);
    CHECK(write(two.park_fd, "g", 1) == 1);
    CHECK(wait_status(&two) == 0 && is_over(&two));
    CHECK(fifo_rest(&fifo, 'x') == 1);
    finish(&two);
    close_once(&one.control_fd);
    close_once(&one.output_fd);
    free(one.words.argv);
    pf_child_page_unmap(one.page);
    fifo_close(&fifo);
}

/* ---- the tree itself ------------------------------------------------------------------------ */

static void test_tree_counts(void)
{
    struct kept kept;
    struct fifo fifo;
    fifo_open(&fifo);
    CHECK(pf_tree_signal(getpid(), 0, 0) == 0);
    start(&kept, &(struct run){.words = {"family", fifo.path}});
    for (int i = 0; i < 3; i++)
        CHECK(fifo_next(&fifo) == 'r');
    CHECK(pf_tree_signal(getpid(), 0, 0) == 4); /* with the reaper */
    CHECK(pf_tree_signal(kept.reaper, 0, 0) == 3);
    CHECK(pf_tree_signal(kept.reaper, SIGTERM, kept.page->pid) ==
          3); /* counted, but two excepted */
    CHECK(fifo_next(&fifo) == 'T');
    CHECK(fifo_is_quiet(&fifo));
    CHECK(pf_tree_signal(kept.reaper, SIGKILL, 0) == 3); /* somebody else kills them all */
    CHECK(fifo_next(&fifo) == 0);
    wait_status(&kept);
    CHECK(is_over(&kept));
    finish(&kept);
    CHECK(pf_tree_signal(getpid(), 0, 0) == 0);

    pid_t zombie = fork();
    if (zombie == 0)
        _exit(0);
    siginfo_t info;
    REQUIRE(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT) == 0);
    CHECK(pf_tree_signal(getpid(), SIGKILL, 0) == 0); /* a zombie is not alive */
    CHECK(check_bury_all() == 1);
    fifo_close(&fifo);
}

/* A name may hold anything, also what looks like the fields after it. */
static void test_tree_with_odd_names(void)
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
    CHECK(pf_tree_signal(getpid(), SIGKILL, 0) == 1);
    CHECK(check_bury_all() == 1);
    close(ready[0]);
    close(ready[1]);
}

int main(int count, char **words)
{
    char here[200];
    check_limit(50);
    REQUIRE(count >= 3 && chdir(words[1]) == 0 && getcwd(here, sizeof here));
    actor = words[2];
    check_become_subreaper();
    int before = check_count_fds(getpid());

    /* A reaper expects what its supervisor has done: every signal blocked. SIGALRM is ours. */
    sigset_t blocked;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGALRM);
    sigprocmask(SIG_SETMASK, &blocked, NULL);

    test_exits();
    test_exec_failures(here);
    test_shebang(here);
    test_surroundings();
    test_terminate_and_kill_daemon();
    test_terminate_reaches_all();
    test_supervisor_death();
    test_fork_chain("chain");
    test_fork_chain("sessions");
    test_leave();
    test_parked_and_released();
    test_parked_and_given_up();
    test_parked_and_orphaned();
    test_two_parked();
    test_tree_counts();
    test_tree_with_odd_names();
    CHECK(check_count_fds(getpid()) == before);
    return check_end();
}
