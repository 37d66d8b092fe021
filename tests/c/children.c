/* Children of a real supervisor: their ends, their limits, and that nothing of them stays. */
#define _GNU_SOURCE
#include "running.h"

TEST_WITH_RUN(success)
{
    struct fifo fifo;
    char text[8] = {0};
    pf_fault fault;
    fifo_open(&fifo);
    pf_child_report report = running_run(run, &(struct script){.words = {"touch", fifo.path}});
    CHECK(report.wait_status == 0 && report.exec_error == 0 && report.attempts == 1);
    CHECK(!report.timed_out && !report.ended_early && !report.unkillable && report.pid > 0);
    CHECK(report.start_ns > 0 && report.end_ns >= report.start_ns);
    CHECK(fifo_rest(&fifo, 'x') == 1);
    fifo_close(&fifo);

    int index = running_child(run, &(struct script){.words = {"print", "5"}});
    report = running_wait(run, index);
    CHECK(report.output_total == 5);
    CHECK(pf_run_child_output(run, index, text, sizeof text, &fault) == 5);
    CHECK(strcmp(text, "abcde") == 0);
}

TEST_WITH_RUN(surroundings)
{
    static char text[4096];
    pf_fault fault;
    int index = running_child(run,
                              &(struct script){.words = {"describe"}, .flags = PF_CHILD_NUMBERED});
    pf_child_report report = running_wait(run, index);
    CHECK(report.wait_status == 0);
    CHECK(pf_run_child_output(run, index, text, sizeof text - 1, &fault) > 0);
    char *last = strstr(text, "fd 2\n");
    CHECK(last && !strstr(last + 1, "fd ")); /* three descriptors, none of the supervisor's */
    CHECK(strstr(text, "SigBlk:\t0000000000000000\n") != NULL);
    /* 32 and 33 are glibc's own: posix_spawn() leaves them ignored, sigaction() will not touch them. */
    const char *ignored = strstr(text, "SigIgn:");
    CHECK(ignored && (strtoull(ignored + 7, NULL, 16) & ~(3ull << 31)) == 0);
    CHECK(strstr(text, "leader 1 1\n") != NULL);
    CHECK(strstr(text, "env LANG=C\nenv PYFREEZE_ATTEMPT=1\n") != NULL);
}

TEST_WITH_RUN(retries)
{
    char text[64] = {0};
    pf_fault fault;
    int index = running_child(run, &(struct script){.words = {"attempt", "3"},
                                                    .flags = PF_CHILD_NUMBERED,
                                                    .attempts = 5});
    pf_child_report report = running_wait(run, index);
    CHECK(report.wait_status == 0 && report.attempts == 3);
    CHECK(pf_run_child_output(run, index, text, sizeof text - 1, &fault) > 0);
    CHECK(strcmp(text, "attempt 1\nattempt 2\nattempt 3\n") == 0);

    report = running_run(run, &(struct script){.words = {"exit", "3"}, .attempts = 4});
    CHECK(running_exited(&report, 3) && report.attempts == 4 && !report.timed_out);

    report = running_run(run, &(struct script){.words = {"signal", "11"}});
    CHECK(WIFSIGNALED(report.wait_status) && WTERMSIG(report.wait_status) == SIGSEGV);
}

/* The remains of a failed attempt are gone before the next one begins. */
TEST_WITH_RUN(retries_after_remains)
{
    struct fifo fifo;
    fifo_open(&fifo);
    pf_child_report report = running_run(run, &(struct script){.words = {"daemon", fifo.path, "7"},
                                                               .attempts = 3});
    CHECK(running_exited(&report, 7) && report.attempts == 3);
    CHECK(fifo_rest(&fifo, '#') == 0);
    fifo_close(&fifo);
}

TEST_WITH_RUN(timeout)
{
    struct fifo fifo;
    fifo_open(&fifo);
    pf_child_report report = running_run(run, &(struct script){.words = {"stubborn", fifo.path},
                                                               .attempts = 3,
                                                               .timeout_ns = 300 * PF_NS_PER_MS,
                                                               .grace_ns = 100 * PF_NS_PER_MS});
    CHECK(report.timed_out && !report.ended_early && !report.unkillable && report.attempts == 1);
    CHECK(WIFSIGNALED(report.wait_status) && WTERMSIG(report.wait_status) == SIGKILL);
    CHECK(report.end_ns - report.start_ns >= 400 * PF_NS_PER_MS);
    CHECK(fifo_next(&fifo) == 'r');
    CHECK(fifo_rest(&fifo, 'T') == 1); /* asked once, then killed */
    fifo_close(&fifo);

    fifo_open(&fifo); /* the whole family */
    report = running_run(run, &(struct script){.words = {"family", fifo.path},
                                               .timeout_ns = 300 * PF_NS_PER_MS});
    CHECK(report.timed_out);
    CHECK(fifo_rest(&fifo, '#') == 0);
    fifo_close(&fifo);
}

TEST_WITH_RUN(much_output)
{
    enum { TOTAL = 10 << 20, KEPT = 100001 };
    static char text[KEPT + 1];
    pf_fault fault;
    char number[16];
    snprintf(number, sizeof number, "%d", TOTAL);
    int index = running_child(run,
                              &(struct script){.words = {"print", number}, .output_bytes = KEPT});
    pf_child_report report = running_wait(run, index);
    CHECK(report.wait_status == 0 && report.output_total == TOTAL);
    REQUIRE(pf_run_child_output(run, index, text, sizeof text, &fault) == KEPT);
    int wrong = 0;
    for (int i = 0; i < KEPT; i++)
        wrong += text[i] != 'a' + (TOTAL - KEPT + i) % 26;
    CHECK(wrong == 0);
}

static void check_exec_error(pf_run *run, const struct script *script, int error)
{
    pf_child_report report = running_run(run, script);
    CHECK(report.exec_error == error && running_exited(&report, error == ENOENT ? 127 : 126));
}

TEST_WITH_RUN(exec_errors)
{
    char path[256];
    snprintf(path, sizeof path, "%s/script", running_here);
    check_exec_error(run, &(struct script){.path = path}, ENOENT);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    REQUIRE(fd >= 0 && write(fd, "exit 0\n", 7) == 7 && close(fd) == 0);
    check_exec_error(run, &(struct script){.path = path}, ENOEXEC);
    check_exec_error(run, &(struct script){.directory = "/no/such", .words = {"exit", "0"}},
                     ENOENT);
    check_exec_error(run, &(struct script){.directory = path, .words = {"exit", "0"}}, ENOTDIR);
    pf_child_report report = running_run(run, &(struct script){.path = path, .attempts = 2});
    CHECK(report.attempts == 2 && report.exec_error == ENOEXEC);
}

TEST_WITH_RUN(end)
{
    struct fifo fifo;
    pf_fault fault;
    fifo_open(&fifo);
    int index = running_child(run, &(struct script){.words = {"stubborn", fifo.path},
                                                    .attempts = 3,
                                                    .grace_ns = 30 * PF_NS_PER_S});
    CHECK(fifo_next(&fifo) == 'r');
    CHECK(running_report(run, index).state == PF_CHILD_RUNNING);
    CHECK(pf_run_request_end(run, index, &fault) == 0);
    CHECK(fifo_next(&fifo) == 'T'); /* long before its grace is over */
    CHECK(kill(running_report(run, index).pid, SIGKILL) == 0);
    pf_child_report report = running_wait(run, index);
    CHECK(report.ended_early && !report.timed_out && report.attempts == 1);
    CHECK(fifo_next(&fifo) == 0);
    fifo_close(&fifo);
    CHECK(pf_run_request_end(run, index, &fault) == 0); /* no more than nothing, twice */
    CHECK(pf_run_request_end(run, 4711, &fault) == 0);
}

TEST_WITH_RUN(reading_what_is_not)
{
    pf_fault fault;
    pf_child_report report;
    pf_filesystem filesystem;
    char byte;
    CHECK(pf_run_child(run, 4711, &report, &fault) == -ERANGE && fault.index == 4711);
    CHECK(pf_run_child(run, -1, &report, &fault) == -ERANGE);
    CHECK(pf_run_child_output(run, 4711, &byte, 1, &fault) == -ERANGE);
    CHECK(pf_run_filesystem(run, 0, &filesystem, &fault) == -ERANGE);
    CHECK(fault.op == PF_OP_SEQUENCE && fault.error == ERANGE);
}

static volatile sig_atomic_t handled;

static void on_signal(int signal)
{
    handled = signal;
}

/* Signals that are held come while the client waits, and only then. */
TEST_WITH_RUN(held_signals)
{
    pf_event event;
    pf_fault fault;
    struct sigaction before, action = {.sa_handler = on_signal};
    REQUIRE(sigaction(SIGUSR1, &action, &before) == 0);
    pf_run_hold_signals(run);
    REQUIRE(kill(getpid(), SIGUSR1) == 0);
    CHECK(handled == 0);
    CHECK(pf_run_next(run, PATIENCE_NS, &event, &fault) == PF_EVENT_INTERRUPTED);
    CHECK(handled == SIGUSR1);
    CHECK(pf_run_next(run, 0, &event, &fault) == PF_EVENT_TIMEOUT);
    pf_run_release_signals(run);
    REQUIRE(sigaction(SIGUSR1, &before, NULL) == 0);
}

/* ---- the run's end -------------------------------------------------------------------------- */

TEST(staged)
{
    struct fifo kept, replaced, replacing;
    fifo_open(&kept);
    fifo_open(&replaced);
    fifo_open(&replacing);
    pf_run *run = running_start(NULL, 0);
    running_child(run, &(struct script){.words = {"touch", kept.path}, .flags = PF_CHILD_DEFERRED});
    int index = running_child(run, &(struct script){.words = {"touch", replaced.path},
                                                    .flags = PF_CHILD_DEFERRED});
    pf_child_report report = running_run(run, &(struct script){.words = {"touch", replacing.path},
                                                               .cancels = index + 1});
    CHECK(report.wait_status == 0);
    CHECK(fifo_next(&replacing) == 'x');
    report = running_report(run, index);
    CHECK(report.state == PF_CHILD_ENDED && report.attempts == 0 && report.ended_early);
    CHECK(read(kept.fd, &(char){0}, 1) == 0); /* not yet */
    running_end(run);
    CHECK(fifo_rest(&kept, 'x') == 1);
    CHECK(read(replaced.fd, &(char){0}, 1) == 0);
    fifo_close(&kept);
    fifo_close(&replaced);
    fifo_close(&replacing);
}

/* What a success has left on purpose lives until the staged children have ended, and no longer. */
TEST(held)
{
    struct fifo held;
    fifo_open(&held);
    pf_run *run = running_start(NULL, 0);
    pf_child_report report = running_run(run, &(struct script){.words = {"daemon", held.path}});
    CHECK(report.wait_status == 0 && report.attempts == 1);
    CHECK(fifo_next(&held) == 'r');
    report = running_run(run, &(struct script){.words = {"exit", "0"}});
    CHECK(fifo_is_quiet(&held));
    running_end(run);
    CHECK(fifo_rest(&held, '#') == 0);
    fifo_close(&held);
}

TEST(running_at_close)
{
    struct fifo ended, outliving;
    char line[300];
    fifo_open(&ended);
    fifo_open(&outliving);
    pf_run *run = running_start(NULL, 0);
    running_child(run, &(struct script){.words = {"stubborn", ended.path}});
    CHECK(fifo_next(&ended) == 'r');
    snprintf(line, sizeof line, "sleep 0.1; echo x >%s", outliving.path);
    running_child(run, &(struct script){.path = "/bin/sh",
                                        .words = {"-c", line},
                                        .flags = PF_CHILD_OUTLIVE});
    running_end(run);
    CHECK(fifo_rest(&ended, '#') == 0);
    CHECK(fifo_next(&outliving) == 'x');
    fifo_close(&ended);
    fifo_close(&outliving);
}

/* ---- deaths --------------------------------------------------------------------------------- */

TEST(killed_supervisor)
{
    struct fifo fifo, staged;
    pf_fault fault;
    fifo_open(&fifo);
    fifo_open(&staged);
    pf_run *run = running_start(NULL, 0);
    int index = running_child(run, &(struct script){.words = {"family", fifo.path}});
    running_child(run,
                  &(struct script){.words = {"touch", staged.path}, .flags = PF_CHILD_DEFERRED});
    for (int i = 0; i < 3; i++)
        CHECK(fifo_next(&fifo) == 'r');
    CHECK(kill(pf_run_supervisor_pid(run), SIGKILL) == 0);
    pf_event event = running_expect(run, PF_EVENT_LOST);
    CHECK(event.verdict == PF_VERDICT_RESCUED);
    CHECK(fifo_rest(&fifo, 'T') == 0);
    CHECK(running_report(run, index).state == PF_CHILD_RUNNING); /* nobody could say otherwise */
    running_expect(run, PF_EVENT_LOST); /* and stays so */
    CHECK(pf_run_request_flush(run, &(pf_flush_options){0}, &fault) == 0);
    CHECK(running_try_child(run, &(struct script){.words = {"exit", "0"}}, &fault) >= 0);
    running_expect(run, PF_EVENT_LOST); /* however often it is asked */
    CHECK(pf_run_close(run, &fault) == 0);
    CHECK(check_bury_all() >= 0);
    CHECK(running_state_is_empty());
    CHECK(read(staged.fd, &(char){0}, 1) == 0); /* its owner, the client, lives and knows */
    fifo_close(&fifo);
    fifo_close(&staged);
}

/* The client dies without a word: what runs is ended, what is staged is run, the page goes. */
TEST(killed_client)
{
    struct fifo fifo, staged;
    fifo_open(&fifo);
    fifo_open(&staged);
    pid_t client = fork();
    if (client == 0) {
        pf_run *run = running_start(NULL, 0);
        running_child(run, &(struct script){.words = {"touch", staged.path},
                                            .flags = PF_CHILD_DEFERRED});
        running_child(run, &(struct script){.words = {"family", fifo.path}});
        for (;;)
            pause();
    }
    for (int i = 0; i < 3; i++)
        CHECK(fifo_next(&fifo) == 'r');
    CHECK(!running_state_is_empty());
    CHECK(kill(client, SIGKILL) == 0);
    CHECK(fifo_rest(&fifo, '#') == 0);
    CHECK(check_bury_all() >= 2); /* until the supervisor has gone too */
    CHECK(fifo_rest(&staged, 'x') == 1);
    CHECK(running_state_is_empty());
    fifo_close(&fifo);
    fifo_close(&staged);
}

TEST(refused_starts)
{
    pf_run *run = NULL;
    pf_fault fault;
    int before = check_count_fds(getpid());
    pf_start_options options = running_options(NULL, 0);
    options.program = "/no/such/program";
    CHECK(pf_run_start(&run, &options, &fault) == -ENOENT && fault.op == PF_OP_SPAWN);
    options.program = "/bin/true"; /* ends without a word */
    CHECK(pf_run_start(&run, &options, &fault) < 0 && fault.op == PF_OP_READY);
    options = running_options(NULL, 0);
    options.run_id = "a/b";
    CHECK(pf_run_start(&run, &options, &fault) == -EINVAL && fault.op == PF_OP_PAGE);
    CHECK(run == NULL && running_state_is_empty());
    CHECK(check_count_fds(getpid()) == before);
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);

    run = running_start(NULL, 0);
    options = running_options(NULL, 0);
    pf_run *second = NULL;
    CHECK(pf_run_start(&second, &options, &fault) == -EWOULDBLOCK && fault.op == PF_OP_LOCK);
    CHECK(!running_state_is_empty());
    running_end(run);
    CHECK(check_count_fds(getpid()) == before);
}

int main(int count, char **words)
{
    running_begin(count, words);
    return check_run();
}
