/* Windows over no filesystem at all: every way through one, hundreds of times, and nothing leaks. */
#define _GNU_SOURCE
#include "running.h"

#define MANY 200

static struct script actor(const char *act, const char *what)
{
    return (struct script){.words = {act, what}};
}

static int window_with(pf_run *run, const struct script *script, uint64_t max_window_ns,
                       pf_child_report *report)
{
    struct plan plan = {0};
    running_add(&plan, PF_STEP_WINDOW, script)->window = running_window(max_window_ns);
    running_request(run, &plan);
    int verdict = running_verdict(run);
    *report = running_report(run, 0);
    CHECK_EQ(report->state, PF_CHILD_ENDED);
    return verdict;
}

static void request_window(pf_run *run, uint64_t max_window_ns)
{
    struct plan plan = {0};
    running_add(&plan, PF_STEP_WINDOW, NULL)->window = running_window(max_window_ns);
    running_request(run, &plan);
}

/* A window is good whatever its child makes of it: succeeds, fails, or cannot be executed. */
TEST_WITH_RUN(child)
{
    pf_child_report report;
    struct fifo fifo;
    fifo_open(&fifo);
    struct script script = actor("touch", fifo.path);
    CHECK_EQ(window_with(run, &script, 10 * PF_NS_PER_S, &report), PF_VERDICT_GOOD);
    CHECK_EQ(report.wait_status, 0);
    CHECK_EQ(report.attempts, 1);
    CHECK(!report.ended_early);
    CHECK_EQ(fifo_rest(&fifo, 'x'), 1);
    fifo_close(&fifo);

    script = actor("exit", "9"); /* frozen all the while: what the child made of it is its own */
    CHECK_EQ(window_with(run, &script, 10 * PF_NS_PER_S, &report), PF_VERDICT_GOOD);
    CHECK(running_exited(&report, 9));

    script = actor("exit", "0");
    script.path = "/no/such/program";
    CHECK_EQ(window_with(run, &script, 10 * PF_NS_PER_S, &report), PF_VERDICT_GOOD);
    CHECK_EQ(report.exec_error, ENOENT);
    CHECK(running_exited(&report, 127));
}

/* The deadline ends the child, and the window has expired. */
TEST_WITH_RUN(child_past_the_deadline)
{
    pf_child_report report;
    struct fifo fifo;
    fifo_open(&fifo);
    struct script script = actor("stubborn", fifo.path);
    CHECK_EQ(window_with(run, &script, 100 * PF_NS_PER_MS, &report), PF_VERDICT_EXPIRED);
    CHECK(report.ended_early);
    CHECK(!report.timed_out);
    CHECK_EQ(report.attempts, 1);
    CHECK_EQ(fifo_rest(&fifo, '#'), 0);
    fifo_close(&fifo);
}

/* A child's own timeout ends the child alone: the window is good. */
TEST_WITH_RUN(child_timeout)
{
    pf_child_report report;
    struct fifo fifo;
    fifo_open(&fifo);
    struct script script = actor("stubborn", fifo.path);
    script.timeout_ns = 100 * PF_NS_PER_MS;
    CHECK_EQ(window_with(run, &script, 10 * PF_NS_PER_S, &report), PF_VERDICT_GOOD);
    CHECK(report.timed_out && !report.ended_early);
    CHECK_EQ(fifo_rest(&fifo, '#'), 0);
    fifo_close(&fifo);
}

/* A window of the caller's ends by the caller's word, its deadline, an abort or a signal. */
TEST_WITH_RUN(caller)
{
    pf_fault fault;
    request_window(run, 10 * PF_NS_PER_S);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0);
    CHECK_EQ(running_verdict(run), PF_VERDICT_GOOD);
    CHECK_EQ(running_step(run, 0).status, PF_STATUS_DONE);
    CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0); /* late, and without effect */

    request_window(run, 10 * PF_NS_PER_S); /* frozen all the while, and worth nothing */
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(pf_run_request_proceed(run, 1, &fault), 0);
    CHECK_EQ(running_verdict(run), PF_VERDICT_GOOD);
    CHECK_EQ(running_step(run, 0).status, PF_STATUS_FAILED);

    request_window(run, 20 * PF_NS_PER_MS);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(running_verdict(run), PF_VERDICT_EXPIRED);

    request_window(run, 10 * PF_NS_PER_S);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(pf_run_request_abort(run, &fault), 0);
    CHECK_EQ(running_verdict(run), PF_VERDICT_ABORTED);

    const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        request_window(run, 10 * PF_NS_PER_S);
        running_expect(run, PF_EVENT_WAITING);
        CHECK_EQ(kill(running_supervisor(run), signals[i]), 0);
        CHECK_EQ(running_verdict(run), PF_VERDICT_ABORTED);
    }
}

/* An abort ends the child within the window and all that it started. */
TEST_WITH_RUN(abort_with_child)
{
    pf_fault fault;
    struct fifo fifo;
    fifo_open(&fifo);
    struct script script = actor("stubborn", fifo.path);
    running_request_one(run, PF_STEP_WINDOW, &script);
    CHECK_EQ(fifo_next(&fifo), 'r');
    CHECK_EQ(pf_run_request_abort(run, &fault), 0);
    CHECK_EQ(running_verdict(run), PF_VERDICT_ABORTED);
    CHECK(running_report(run, 0).ended_early);
    CHECK_EQ(fifo_rest(&fifo, '#'), 0);
    fifo_close(&fifo);
}

/* ---- a child that is let go only when somebody says so ----------------------------------------- */

static void add_held(struct plan *plan, const struct script *script, uint64_t max_window_ns)
{
    pf_step_options *step = running_add(plan, PF_STEP_WINDOW, script);
    step->flags = PF_STEP_HOLD | PF_STEP_SNAPSHOT;
    step->window = running_window(max_window_ns);
}

/* A child that is held begins at the caller's word, in the open window. */
TEST_WITH_RUN(held_child_let_go_by_a_request)
{
    pf_fault fault;
    struct fifo fifo;
    fifo_open(&fifo);
    struct script script = actor("touch", fifo.path);
    struct plan plan = {0};
    add_held(&plan, &script, 10 * PF_NS_PER_S);
    running_request(run, &plan);
    CHECK_EQ(running_expect(run, PF_EVENT_WAITING).index, 0);
    CHECK_EQ(running_report(run, 0).state, PF_CHILD_PENDING);
    CHECK_EQ(running_step(run, 0).snapshot_ns, 0);
    CHECK_EQ(read(fifo.fd, &(char){0}, 1), 0);
    CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0);
    CHECK_EQ(running_verdict(run), PF_VERDICT_GOOD);
    pf_child_report report = running_report(run, 0);
    CHECK_EQ(report.wait_status, 0);
    CHECK_EQ(running_step(run, 0).snapshot_ns, report.start_ns);
    CHECK_EQ(fifo_rest(&fifo, 'x'), 1);
    fifo_close(&fifo);
}

/* So it does at the word of a peer. */
TEST_WITH_RUN(held_child_let_go_by_a_descriptor)
{
    char word[16] = {0};
    int notify[2], done[2];
    REQUIRE(pipe2(notify, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0);
    struct script script = actor("exit", "0");
    struct plan plan = {0};
    add_held(&plan, &script, 10 * PF_NS_PER_S);
    plan.steps[0].flags |= PF_STEP_PEER;
    plan.notify_fd = notify[1];
    plan.done_fd = done[0];
    running_request(run, &plan);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(read(notify[0], word, sizeof word), 7);
    CHECK_STR(word, "frozen\n");
    CHECK_EQ(running_report(run, 0).state, PF_CHILD_PENDING);
    CHECK_EQ(write(done[1], "k", 1), 1);
    CHECK_EQ(running_verdict(run), PF_VERDICT_GOOD);
    CHECK_EQ(running_report(run, 0).wait_status, 0);
    const int fds[] = {notify[0], notify[1], done[0], done[1]};
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

/* Under the same deadline: then it has never run. So it is when somebody says that it is not to. */
TEST_WITH_RUN(held_child_never_let_go)
{
    pf_fault fault;
    struct fifo fifo;
    fifo_open(&fifo);
    struct script script = actor("touch", fifo.path);
    for (int refused = 0; refused < 2; refused++) {
        struct plan plan = {0};
        add_held(&plan, &script, refused ? 10 * PF_NS_PER_S : 20 * PF_NS_PER_MS);
        running_request(run, &plan);
        running_expect(run, PF_EVENT_WAITING);
        if (refused)
            CHECK_EQ(pf_run_request_proceed(run, 1, &fault), 0);
        CHECK_EQ(running_verdict(run), refused ? PF_VERDICT_ABORTED : PF_VERDICT_EXPIRED);
        CHECK_EQ(running_step(run, 0).status, PF_STATUS_FAILED);
        CHECK(running_report(run, 0).ended_early);
        CHECK_EQ(running_step(run, 0).snapshot_ns, 0);
    }
    CHECK_EQ(read(fifo.fd, &(char){0}, 1), 0);
    fifo_close(&fifo);
}

/* While it is held somebody kills it: its window ends, and not as a good one. */
TEST_WITH_RUN(held_child_killed)
{
    struct script script = actor("exit", "0");
    struct plan plan = {0};
    add_held(&plan, &script, 10 * PF_NS_PER_S);
    running_request(run, &plan);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(kill(running_report(run, 0).pid, SIGKILL), 0);
    running_finish(run);
    CHECK_EQ(running_step(run, 0).status, PF_STATUS_FAILED);
    CHECK(running_report(run, 0).exec_error != 0);
}

/* A peer is told that all is frozen, and its answer ends the window. */
TEST_WITH_RUN(peer)
{
    for (int i = 0; i < 3; i++) {
        char word[16] = {0};
        int notify[2], done[2];
        REQUIRE(pipe2(notify, O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(done, O_CLOEXEC) == 0);
        struct plan plan = {.notify_fd = notify[1], .done_fd = done[0]};
        running_add(&plan, PF_STEP_WINDOW, NULL)->flags = PF_STEP_PEER;
        running_request(run, &plan);
        running_expect(run, PF_EVENT_WAITING);
        CHECK_EQ(read(notify[0], word, sizeof word), 7);
        CHECK_STR(word, "frozen\n");
        CHECK_EQ(write(done[1], "k", 1), 1);
        CHECK_EQ(running_verdict(run), PF_VERDICT_GOOD);
        const int fds[] = {notify[0], notify[1], done[0], done[1]};
        for (int j = 0; j < 4; j++)
            close(fds[j]);
    }
}

/* Hundreds of windows of one run cost no descriptor, here or in the supervisor. */
TEST_WITH_RUN(many)
{
    pf_fault fault;
    int ours = 0, theirs = 0;
    for (int i = 0; i < MANY; i++) {
        pf_child_report report;
        struct script script = actor("exit", i % 2 ? "0" : "1");
        script.output_bytes = 1 << 16;
        CHECK_EQ(window_with(run, &script, 10 * PF_NS_PER_S, &report), PF_VERDICT_GOOD);
        CHECK(running_exited(&report, i % 2 ? 0 : 1));

        request_window(run, 10 * PF_NS_PER_S);
        running_expect(run, PF_EVENT_WAITING);
        CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0);
        CHECK_EQ(running_verdict(run), PF_VERDICT_GOOD);
        if (i == 0) {
            ours = check_count_fds(getpid());
            theirs = check_count_fds(running_supervisor(run));
        }
    }
    CHECK_EQ(check_count_fds(getpid()), ours);
    /* Of the last plan's child the supervisor may still hear its reaper. */
    CHECK(check_count_fds(running_supervisor(run)) <= theirs + 2);
}

/* Runs that are closed in the midst of a window cost no descriptor. */
TEST(many_runs)
{
    int before = check_count_fds(getpid());
    for (int i = 0; i < 20; i++) {
        pf_run *run = running_start(NULL, 0);
        request_window(run,
                       10 * PF_NS_PER_S); /* closed in its midst: with a watchdog, events unread */
        running_end(run);
    }
    CHECK_EQ(check_count_fds(getpid()), before);
}

/* The supervisor dies while the caller is in the open window. */
TEST(killed_in_window)
{
    for (int i = 0; i < 10; i++) {
        pf_fault fault;
        pf_run *run = running_start(NULL, 0);
        request_window(run, 10 * PF_NS_PER_S);
        if (i % 2)
            running_expect(run, PF_EVENT_WAITING);
        CHECK_EQ(kill(running_supervisor(run), SIGKILL), 0);
        for (pf_event event; (event = running_next(run)).kind != PF_EVENT_LOST;)
            CHECK(event.kind == PF_EVENT_WAITING && i % 2 == 0);
        CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0); /* the next event tells */
        CHECK_EQ(pf_run_close(&run), 0);
        CHECK(check_bury_all() >= 0 && running_state_is_empty());
    }
}

/* Rounds of flushing, none included, are done though there is no filesystem. */
TEST_WITH_RUN(flush)
{
    struct plan plan = {0};
    running_add(&plan, PF_STEP_OPEN, NULL);
    for (uint32_t rounds = 0; rounds < 3; rounds++)
        running_add(&plan, PF_STEP_FLUSH, NULL)->window.flush =
            (pf_flush_options){.rounds = rounds, .limit_ns = PF_NS_PER_S};
    running_request(run, &plan);
    running_finish(run);
    for (uint32_t i = 0; i < plan.count; i++)
        CHECK_EQ(running_step(run, i).status, PF_STATUS_DONE);
}

int main(int count, char **words)
{
    running_begin(count, words);
    return check_run();
}
