/* Children of a real supervisor: their ends, their limits, and that nothing of them stays. */
#define _GNU_SOURCE
#include "running.h"

/* A child that succeeds runs once; its times, its exit status and its output are reported. */
TEST_WITH_RUN(success)
{
    struct fifo fifo;
    char text[8] = {0};
    pf_fault fault;
    fifo_open(&fifo);
    pf_child_report report = running_run(run, &(struct script){.words = {"touch", fifo.path}});
    CHECK_EQ(report.wait_status, 0);
    CHECK_EQ(report.exec_error, 0);
    CHECK_EQ(report.attempts, 1);
    CHECK(!report.timed_out && !report.ended_early && !report.unkillable && report.pid > 0);
    CHECK(report.start_ns > 0 && report.end_ns >= report.start_ns);
    CHECK_EQ(fifo_rest(&fifo, 'x'), 1);
    fifo_close(&fifo);

    report = running_run(run, &(struct script){.words = {"print", "5"}});
    CHECK_EQ(report.output_total, 5);
    CHECK_EQ(pf_run_child_output(run, 0, text, sizeof text, &fault), 5);
    CHECK_STR(text, "abcde");
}

/* A child gets three descriptors, no signal blocked or ignored, a session, and its number. */
TEST_WITH_RUN(surroundings)
{
    static char text[4096];
    pf_fault fault;
    pf_child_report report = running_run(run, &(struct script){.words = {"describe"},
                                                               .flags = PF_CHILD_NUMBERED});
    CHECK_EQ(report.wait_status, 0);
    CHECK(pf_run_child_output(run, 0, text, sizeof text - 1, &fault) > 0);
    char *last = strstr(text, "fd 2\n");
    CHECK(last && !strstr(last + 1, "fd ")); /* three descriptors, none of the supervisor's */
    CHECK(strstr(text, "SigBlk:\t0000000000000000\n") != NULL);
    /* 32 and 33 are glibc's own: posix_spawn() leaves them ignored, sigaction() will not touch them. */
    const char *ignored = strstr(text, "SigIgn:");
    REQUIRE(ignored);
    CHECK_EQ(strtoull(ignored + 7, NULL, 16) & ~(3ull << 31), 0);
    CHECK(strstr(text, "leader 1 1\n") != NULL);
    CHECK(strstr(text, "env LANG=C\nenv PYFREEZE_ATTEMPT=1\n") != NULL);
}

/* A child that fails is run again until it succeeds, and no more often than it may be. */
TEST_WITH_RUN(retries)
{
    char text[64] = {0};
    pf_fault fault;
    pf_child_report report = running_run(run, &(struct script){.words = {"attempt", "3"},
                                                               .flags = PF_CHILD_NUMBERED,
                                                               .attempts = 5});
    CHECK_EQ(report.wait_status, 0);
    CHECK_EQ(report.attempts, 3);
    CHECK(pf_run_child_output(run, 0, text, sizeof text - 1, &fault) > 0);
    CHECK_STR(text, "attempt 1\nattempt 2\nattempt 3\n");

    report = running_run(run, &(struct script){.words = {"exit", "3"}, .attempts = 4});
    CHECK(running_exited(&report, 3));
    CHECK_EQ(report.attempts, 4);
    CHECK(!report.timed_out);

    report = running_run(run, &(struct script){.words = {"signal", "11"}});
    CHECK(WIFSIGNALED(report.wait_status));
    CHECK_EQ(WTERMSIG(report.wait_status), SIGSEGV);
}

/* The remains of a failed attempt are gone before the next one begins. */
TEST_WITH_RUN(retries_after_remains)
{
    struct fifo fifo;
    fifo_open(&fifo);
    pf_child_report report = running_run(run, &(struct script){.words = {"daemon", fifo.path, "7"},
                                                               .attempts = 3});
    CHECK(running_exited(&report, 7));
    CHECK_EQ(report.attempts, 3);
    CHECK_EQ(fifo_rest(&fifo, '#'), 0);
    fifo_close(&fifo);
}

/* After its timeout a child gets SIGTERM, after its grace SIGKILL, with all that it started. */
TEST_WITH_RUN(timeout)
{
    struct fifo fifo;
    fifo_open(&fifo);
    pf_child_report report = running_run(run, &(struct script){.words = {"stubborn", fifo.path},
                                                               .attempts = 3,
                                                               .timeout_ns = 300 * PF_NS_PER_MS,
                                                               .grace_ns = 100 * PF_NS_PER_MS});
    CHECK(report.timed_out);
    CHECK(!report.ended_early);
    CHECK(!report.unkillable);
    CHECK_EQ(report.attempts, 1);
    CHECK(WIFSIGNALED(report.wait_status));
    CHECK_EQ(WTERMSIG(report.wait_status), SIGKILL);
    CHECK(report.end_ns - report.start_ns >= 400 * PF_NS_PER_MS);
    CHECK_EQ(fifo_next(&fifo), 'r');
    CHECK_EQ(fifo_rest(&fifo, 'T'), 1); /* asked once, then killed */
    fifo_close(&fifo);

    fifo_open(&fifo); /* the whole family */
    report = running_run(run, &(struct script){.words = {"family", fifo.path},
                                               .timeout_ns = 300 * PF_NS_PER_MS});
    CHECK(report.timed_out);
    CHECK_EQ(fifo_rest(&fifo, '#'), 0);
    fifo_close(&fifo);
}

/* Of an output that is longer than its ring the last bytes are kept, and all are counted. */
TEST_WITH_RUN(much_output)
{
    enum { TOTAL = 10 << 20, KEPT = 100001 };
    static char text[KEPT + 1];
    pf_fault fault;
    char number[16];
    snprintf(number, sizeof number, "%d", TOTAL);
    pf_child_report report = running_run(run, &(struct script){.words = {"print", number},
                                                               .output_bytes = KEPT});
    CHECK_EQ(report.wait_status, 0);
    CHECK_EQ(report.output_total, TOTAL);
    REQUIRE(pf_run_child_output(run, 0, text, sizeof text, &fault) == KEPT);
    int wrong = 0;
    for (int i = 0; i < KEPT; i++)
        wrong += text[i] != 'a' + (TOTAL - KEPT + i) % 26;
    CHECK_EQ(wrong, 0);
}

static void check_exec_error(pf_run *run, const struct script *script, int error)
{
    pf_child_report report = running_run(run, script);
    CHECK_EQ(report.exec_error, error);
    CHECK(running_exited(&report, error == ENOENT ? 127 : 126));
}

/* Why a child could not be executed is reported, with the exit status that a shell would give. */
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
    CHECK_EQ(report.attempts, 2);
    CHECK_EQ(report.exec_error, ENOEXEC);
}

/* An abort sends SIGTERM to the child that runs, fails its step and begins no further attempt. */
TEST_WITH_RUN(abort)
{
    struct fifo fifo;
    pf_fault fault;
    fifo_open(&fifo);
    running_request_one(run, PF_STEP_CHILD,
                        &(struct script){.words = {"stubborn", fifo.path},
                                         .attempts = 3,
                                         .grace_ns = 30 * PF_NS_PER_S});
    CHECK_EQ(fifo_next(&fifo), 'r');
    CHECK_EQ(running_report(run, 0).state, PF_CHILD_RUNNING);
    CHECK_EQ(pf_run_request_abort(run, &fault), 0);
    CHECK_EQ(fifo_next(&fifo), 'T'); /* long before its grace is over */
    CHECK_EQ(kill(running_report(run, 0).pid, SIGKILL), 0);
    running_finish(run);
    pf_child_report report = running_report(run, 0);
    CHECK(report.ended_early && !report.timed_out);
    CHECK_EQ(report.attempts, 1);
    CHECK_EQ(running_step(run, 0).status, PF_STATUS_FAILED);
    CHECK(pf_run_facts(run) & PF_FACT_ABORTED);
    CHECK_EQ(fifo_next(&fifo), 0);
    fifo_close(&fifo);
    CHECK_EQ(pf_run_request_abort(run, &fault), 0); /* of no plan: no more than nothing */
}

/* Reading a step, a child or a filesystem that there is none of is ERANGE. */
TEST_WITH_RUN(reading_what_is_not)
{
    pf_fault fault;
    pf_child_report report;
    pf_step_report step;
    pf_filesystem filesystem;
    char byte;
    CHECK_EQ(pf_run_step(run, 0, &step, &fault), -ERANGE); /* there is no plan yet */
    running_request_one(run, PF_STEP_OPEN, NULL);
    running_finish(run);
    CHECK_EQ(pf_run_step(run, 0, &step, &fault), 0);
    CHECK_EQ(pf_run_step(run, 1, &step, &fault), -ERANGE);
    CHECK_EQ(pf_run_child(run, 0, &report, &fault), -ERANGE); /* it has none */
    CHECK_EQ(pf_run_child(run, 4711, &report, &fault), -ERANGE);
    CHECK_EQ(fault.index, 4711);
    CHECK_EQ(pf_run_child_output(run, 4711, &byte, 1, &fault), -ERANGE);
    CHECK_EQ(pf_run_filesystem(run, 0, &filesystem, &fault), -ERANGE);
    CHECK_EQ(fault.op, PF_OP_SEQUENCE);
    CHECK_EQ(fault.error, ERANGE);
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
    CHECK_EQ(handled, 0);
    CHECK_EQ(pf_run_next(run, PATIENCE_NS, &event, &fault), PF_EVENT_INTERRUPTED);
    CHECK_EQ(handled, SIGUSR1);
    CHECK_EQ(pf_run_next(run, 0, &event, &fault), PF_EVENT_TIMEOUT);
    pf_run_release_signals(run);
    REQUIRE(sigaction(SIGUSR1, &before, NULL) == 0);
}

/* A caller whose signal handler raises does not hear what he was told: he asks again. */
TEST_WITH_RUN(end_of_a_plan_is_told_until_the_next)
{
    running_run(run, &(struct script){.path = "/bin/true"});
    for (int i = 0; i < 3; i++)
        CHECK_EQ(running_expect(run, PF_EVENT_ENDED).fault.error, 0);
    running_run(run, &(struct script){.words = {"exit", "3"}});
    CHECK_EQ(running_report(run, 0).wait_status, 3 << 8); /* not the first one's end again */
}

/* ---- the steps ------------------------------------------------------------------------------ */

enum { FIRST = PF_FACT_FIRST_FREE, SECOND = 2 * PF_FACT_FIRST_FREE };

static void check_statuses(pf_run *run, const int *statuses, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!CHECK_EQ(running_step(run, i).status, statuses[i]))
            fprintf(stderr, "    of step %u\n", i);
}

/* What a failure means is in the steps' masks. */
TEST_WITH_RUN(facts)
{
    struct plan plan = {0};
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "1"}})->on_failure = FIRST;
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}})->on_failure =
        SECOND;
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}})->skip_if = FIRST;
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}})->skip_if = SECOND;
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}})->only_if = FIRST;
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}})->only_if = SECOND;
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}})->after = 0;
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}})->after = 2;
    running_request(run, &plan);
    running_finish(run);
    check_statuses(run,
                   (const int[]){PF_STATUS_FAILED, PF_STATUS_DONE, PF_STATUS_SKIPPED,
                                 PF_STATUS_DONE, PF_STATUS_DONE, PF_STATUS_SKIPPED, PF_STATUS_DONE,
                                 PF_STATUS_SKIPPED},
                   8);
    CHECK_EQ(pf_run_facts(run), FIRST);
    for (uint32_t i = 0; i < 8; i++) {
        pf_step_report step = running_step(run, i);
        CHECK_EQ(step.begin_ns == 0, step.status == PF_STATUS_SKIPPED);
        CHECK(step.end_ns >= step.begin_ns);
    }
}

/* Those of a group run side by side, the next step begins after all of them. */
TEST_WITH_RUN(groups)
{
    struct fifo one, other, next;
    struct plan plan = {.tells_steps = 1};
    fifo_open(&one);
    fifo_open(&other);
    fifo_open(&next);
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"stubborn", one.path}})->group = 1;
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"stubborn", other.path}})->group =
        1;
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"touch", next.path}})->group = 2;
    running_request(run, &plan);
    CHECK_EQ(fifo_next(&one), 'r');
    CHECK_EQ(fifo_next(&other), 'r');
    CHECK_EQ(running_expect(run, PF_EVENT_STEP).index, 0);
    CHECK_EQ(running_expect(run, PF_EVENT_STEP).index, 1);
    CHECK_EQ(kill(running_report(run, 0).pid, SIGKILL), 0);
    CHECK_EQ(running_expect(run, PF_EVENT_STEP).index, 0); /* its end */
    CHECK_EQ(running_step(run, 2).status, PF_STATUS_PENDING);
    CHECK_EQ(kill(running_report(run, 1).pid, SIGKILL), 0);
    CHECK_EQ(running_expect(run, PF_EVENT_STEP).index, 1);
    CHECK_EQ(running_expect(run, PF_EVENT_STEP).index, 2);
    CHECK_EQ(running_expect(run, PF_EVENT_STEP).index, 2);
    running_finish(run);
    CHECK(running_step(run, 2).begin_ns >= running_step(run, 1).end_ns);
    CHECK_EQ(fifo_rest(&next, 'x'), 1);
    fifo_close(&one);
    fifo_close(&other);
    fifo_close(&next);
}

/* A wait ends as it is told to, well or badly, and fails at its own deadline. */
TEST_WITH_RUN(waits)
{
    pf_fault fault;
    struct plan plan = {0};
    running_add(&plan, PF_STEP_WAIT, NULL)->on_failure = FIRST;
    running_add(&plan, PF_STEP_WAIT, NULL)->on_failure = SECOND;
    running_add(&plan, PF_STEP_WAIT, NULL)->window.max_window_ns = 20 * PF_NS_PER_MS;
    running_request(run, &plan);
    CHECK_EQ(running_expect(run, PF_EVENT_WAITING).index, 0);
    CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0);
    CHECK_EQ(running_expect(run, PF_EVENT_WAITING).index, 1);
    CHECK_EQ(pf_run_request_proceed(run, 1, &fault), 0);
    CHECK_EQ(running_expect(run, PF_EVENT_WAITING).index, 2);
    running_finish(run);
    check_statuses(run, (const int[]){PF_STATUS_DONE, PF_STATUS_FAILED, PF_STATUS_FAILED}, 3);
    CHECK_EQ(running_step(run, 2).fault.error, ETIMEDOUT);
    CHECK_EQ(pf_run_facts(run), SECOND);
}

static pf_child_options no_child(void)
{
    static const char *const none[] = {NULL};
    return (pf_child_options){.path = "/", .argv = none, .envp = none, .directory = "/"};
}

/* A plan with nothing to run or half a peer is refused, and one beside another that runs. */
TEST_WITH_RUN(refused_plans)
{
    pf_fault fault;
    struct plan plan = {0};
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}});
    plan.children[0] = no_child();
    CHECK_EQ(running_try(run, &plan, &fault), -EINVAL);
    CHECK_EQ(fault.op, PF_OP_PLAN);

    plan = (struct plan){0}; /* nothing to run */
    running_add(&plan, PF_STEP_CHILD, NULL);
    CHECK_EQ(running_try(run, &plan, &fault), -EINVAL);
    CHECK_EQ(fault.op, PF_OP_PLAN);
    CHECK_EQ(fault.index, 0);

    plan = (struct plan){.notify_fd = 1}; /* half a peer */
    running_add(&plan, PF_STEP_WAIT, NULL)->flags = PF_STEP_PEER;
    CHECK_EQ(running_try(run, &plan, &fault), -EINVAL);

    plan = (struct plan){0}; /* one at a time */
    running_add(&plan, PF_STEP_WAIT, NULL);
    running_request(run, &plan);
    CHECK_EQ(running_try(run, &plan, &fault), -EBUSY);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0);
    running_finish(run);
}

/* ---- the run's end -------------------------------------------------------------------------- */

/* What a success has left on purpose lives until the last step has ended, and no longer. */
TEST(lingering)
{
    struct fifo left;
    struct plan plan = {0};
    fifo_open(&left);
    pf_run *run = running_start(NULL, 0);
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"daemon", left.path}});
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}});
    running_request(run, &plan);
    CHECK_EQ(fifo_next(&left), 'r');
    running_finish(run);
    CHECK_EQ(running_report(run, 0).wait_status, 0);
    CHECK_EQ(running_report(run, 0).attempts, 1);
    CHECK(fifo_is_quiet(&left));
    running_end(run);
    CHECK_EQ(fifo_rest(&left, '#'), 0);
    fifo_close(&left);
}

/* A run that is closed before its plan is over: what may be ended is, and what is pending is done. */
TEST(running_at_close)
{
    struct fifo ended, pending;
    struct plan plan = {0};
    fifo_open(&ended);
    fifo_open(&pending);
    pf_run *run = running_start(NULL, 0);
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"stubborn", ended.path}});
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}})->skip_if =
        PF_FACT_ABORTED;
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"touch", pending.path}})->after =
        0;
    running_request(run, &plan);
    CHECK_EQ(fifo_next(&ended), 'r');
    CHECK_EQ(read(pending.fd, &(char){0}, 1), 0); /* not yet */
    running_end(run);
    CHECK_EQ(fifo_rest(&ended, '#'), 0);
    CHECK_EQ(fifo_rest(&pending, 'x'), 1);
    fifo_close(&ended);
    fifo_close(&pending);
}

/* Neither an abort nor the end of the run ends what is to outlive them. */
TEST(outliving)
{
    struct fifo fifo;
    char line[300];
    pf_fault fault;
    fifo_open(&fifo);
    pf_run *run = running_start(NULL, 0);
    snprintf(line, sizeof line, "exec 3>%s; echo r >&3; sleep 0.1; echo x >&3", fifo.path);
    running_request_one(run, PF_STEP_CHILD,
                        &(struct script){.path = "/bin/sh",
                                         .words = {"-c", line},
                                         .flags = PF_CHILD_OUTLIVE});
    CHECK_EQ(fifo_next(&fifo), 'r');
    CHECK_EQ(pf_run_request_abort(run, &fault), 0);
    running_end(run);
    CHECK_EQ(fifo_next(&fifo), '\n');
    CHECK_EQ(fifo_next(&fifo), 'x');
    fifo_close(&fifo);
}

/* What a post-script is told of the snapshot. */
static void check_outcome(pf_run *run, const char *word, const struct script *snapshot, int aborts)
{
    char text[64] = {0};
    pf_fault fault;
    struct plan plan = {.tells_steps = 1};
    pf_step_options *step = running_add(&plan, PF_STEP_CHILD, snapshot);
    step->flags = PF_STEP_SNAPSHOT;
    step->skip_if = aborts ? 0 : PF_FACT_FIRST_FREE;
    running_add(&plan, PF_STEP_CHILD,
                &(struct script){.path = "/bin/sh",
                                 .words = {"-c", "echo $PYFREEZE_OUTCOME"},
                                 .flags = PF_CHILD_OUTCOME});
    running_request(run, &plan);
    running_expect(run, PF_EVENT_STEP);
    if (aborts)
        CHECK_EQ(pf_run_request_abort(run, &fault), 0);
    while (running_next(run).kind != PF_EVENT_ENDED)
        ;
    CHECK(pf_run_child_output(run, 1, text, sizeof text - 1, &fault) > 0);
    text[strcspn(text, "\n")] = '\0';
    CHECK_STR(text, word);
}

/* PYFREEZE_OUTCOME says whether the snapshot succeeded, failed or was interrupted. */
TEST_WITH_RUN(outcomes)
{
    check_outcome(run, "success", &(struct script){.words = {"exit", "0"}}, 0);
    check_outcome(run, "failed", &(struct script){.words = {"exit", "1"}}, 0);
    check_outcome(run, "interrupted", &(struct script){.path = "/bin/sleep", .words = {"600"}}, 1);
}

/* ---- deaths --------------------------------------------------------------------------------- */

/* The children end with their supervisor, the client is told, and no pending step begins. */
TEST(killed_supervisor)
{
    struct fifo fifo, pending;
    struct plan plan = {0};
    pf_fault fault;
    fifo_open(&fifo);
    fifo_open(&pending);
    pf_run *run = running_start(NULL, 0);
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"family", fifo.path}});
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"touch", pending.path}});
    running_request(run, &plan);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(fifo_next(&fifo), 'r');
    CHECK_EQ(kill(running_supervisor(run), SIGKILL), 0);
    running_expect(run, PF_EVENT_LOST);
    CHECK_EQ(fifo_rest(&fifo, 'T'), 0);
    /* Nobody could say otherwise. */
    CHECK_EQ(running_report(run, 0).state, PF_CHILD_RUNNING);
    CHECK_EQ(running_step(run, 0).status, PF_STATUS_RUNNING);
    CHECK_EQ(running_step(run, 1).status, PF_STATUS_PENDING);
    running_expect(run, PF_EVENT_LOST); /* and stays so */
    CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0);
    running_expect(run, PF_EVENT_LOST); /* however often it is asked */
    CHECK_EQ(pf_run_close(&run), 0);
    CHECK(check_bury_all() >= 0);
    CHECK(running_state_is_empty());
    CHECK_EQ(read(pending.fd, &(char){0}, 1), 0); /* the client lives and knows of it */
    fifo_close(&fifo);
    fifo_close(&pending);
}

/* The client dies without a word: what runs is ended, what is pending is done, the files go. */
TEST(killed_client)
{
    struct fifo fifo, pending;
    fifo_open(&fifo);
    fifo_open(&pending);
    pid_t client = fork();
    if (client == 0) {
        struct plan plan = {0};
        pf_run *run = running_start(NULL, 0);
        running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"family", fifo.path}});
        running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"touch", pending.path}});
        running_request(run, &plan);
        for (;;)
            pause();
    }
    for (int i = 0; i < 3; i++)
        CHECK_EQ(fifo_next(&fifo), 'r');
    CHECK(!running_state_is_empty());
    CHECK_EQ(kill(client, SIGKILL), 0);
    CHECK_EQ(fifo_rest(&fifo, '#'), 0);
    CHECK(check_bury_all() >= 2); /* until the supervisor has gone too */
    CHECK_EQ(fifo_rest(&pending, 'x'), 1);
    CHECK(running_state_is_empty());
    fifo_close(&fifo);
    fifo_close(&pending);
}

/* A start that fails says why, and leaves no file, no descriptor and no process. */
TEST(refused_starts)
{
    pf_run *run = NULL;
    pf_fault fault;
    int before = check_count_fds(getpid());
    pf_start_options options = running_options(NULL, 0);
    options.program = "/no/such/program";
    CHECK_EQ(pf_run_start(&run, &options, &fault), -ENOENT);
    CHECK_EQ(fault.op, PF_OP_SPAWN);
    options.program = "/bin/true"; /* ends without a word */
    CHECK(pf_run_start(&run, &options, &fault) < 0);
    CHECK_EQ(fault.op, PF_OP_READY);
    options = running_options(NULL, 0);
    options.run_id = "a/b";
    CHECK_EQ(pf_run_start(&run, &options, &fault), -EINVAL);
    CHECK_EQ(fault.op, PF_OP_PAGE);
    CHECK(run == NULL && running_state_is_empty());
    CHECK_EQ(check_count_fds(getpid()), before);
    CHECK_EQ(waitpid(-1, NULL, 0), -1);
    CHECK_EQ(errno, ECHILD);

    run = running_start(NULL, 0);
    options = running_options(NULL, 0);
    pf_run *second = NULL;
    CHECK_EQ(pf_run_start(&second, &options, &fault), -EWOULDBLOCK);
    CHECK_EQ(fault.op, PF_OP_LOCK);
    CHECK(!running_state_is_empty());
    running_end(run);
    CHECK_EQ(check_count_fds(getpid()), before);
}

int main(int count, char **words)
{
    running_begin(count, words);
    return check_run();
}
