/* Windows over no filesystem at all: every way through one, hundreds of times, and nothing leaks. */
#define _GNU_SOURCE
#include "running.h"

#define MANY 200

static struct script parked(const char *act, const char *what)
{
    return (struct script){.words = {act, what}, .flags = PF_CHILD_PARKED};
}

/* The window's end and its child's come in any order; returns the verdict. */
static int close_with_child(pf_run *run, int index, pf_child_report *report)
{
    int verdict = -1;
    for (int i = 0; i < 2; i++) {
        pf_event event = running_next(run);
        CHECK(event.kind == PF_EVENT_CHILD || event.kind == PF_EVENT_CLOSED);
        if (event.kind == PF_EVENT_CHILD)
            CHECK(event.index == index);
        else
            verdict = event.verdict;
    }
    *report = running_report(run, index);
    CHECK(report->state == PF_CHILD_ENDED);
    return verdict;
}

static int window_with(pf_run *run, const struct script *script, uint64_t max_window_ns,
                       pf_child_report *report)
{
    pf_window_options window = running_window(max_window_ns);
    window.child = running_child(run, script);
    CHECK(running_report(run, window.child).state == PF_CHILD_PENDING);
    running_ask_window(run, &window);
    return close_with_child(run, window.child, report);
}

TEST_WITH_RUN(child)
{
    pf_child_report report;
    struct fifo fifo;
    fifo_open(&fifo);
    struct script script = parked("touch", fifo.path);
    CHECK(window_with(run, &script, 10 * PF_NS_PER_S, &report) == PF_VERDICT_GOOD);
    CHECK(report.wait_status == 0 && report.attempts == 1 && !report.ended_early);
    CHECK(fifo_rest(&fifo, 'x') == 1);
    fifo_close(&fifo);

    script = parked("exit", "9"); /* frozen all the while: what the child made of it is its own */
    CHECK(window_with(run, &script, 10 * PF_NS_PER_S, &report) == PF_VERDICT_GOOD);
    CHECK(running_exited(&report, 9));

    script = parked("exit", "0");
    script.path = "/no/such/program";
    CHECK(window_with(run, &script, 10 * PF_NS_PER_S, &report) == PF_VERDICT_GOOD);
    CHECK(report.exec_error == ENOENT && running_exited(&report, 127));
}

TEST_WITH_RUN(child_past_the_deadline)
{
    pf_child_report report;
    struct fifo fifo;
    fifo_open(&fifo);
    struct script script = parked("stubborn", fifo.path);
    CHECK(window_with(run, &script, 100 * PF_NS_PER_MS, &report) == PF_VERDICT_EXPIRED);
    CHECK(report.ended_early && !report.timed_out && report.attempts == 1);
    CHECK(fifo_rest(&fifo, '#') == 0);
    fifo_close(&fifo);
}

TEST_WITH_RUN(child_timeout)
{
    pf_child_report report;
    struct fifo fifo;
    fifo_open(&fifo);
    struct script script = parked("stubborn", fifo.path);
    script.timeout_ns = 100 * PF_NS_PER_MS;
    CHECK(window_with(run, &script, 10 * PF_NS_PER_S, &report) == PF_VERDICT_GOOD);
    CHECK(report.timed_out && !report.ended_early);
    CHECK(fifo_rest(&fifo, '#') == 0);
    fifo_close(&fifo);
}

static void check_refused(pf_run *run, int child)
{
    pf_window_options window = running_window(10 * PF_NS_PER_S);
    window.child = child;
    running_ask_window(run, &window);
    pf_event event = running_expect(run, PF_EVENT_CLOSED);
    CHECK(event.verdict == PF_VERDICT_FREEZE_FAILED);
    CHECK(event.fault.op == PF_OP_SEQUENCE && event.fault.error == ECHILD);
    CHECK(event.fault.index == child);
}

TEST_WITH_RUN(unfit_children)
{
    struct fifo fifo;
    fifo_open(&fifo);
    check_refused(run, 500);
    int ended = running_child(run, &(struct script){.words = {"exit", "0"}});
    running_wait(run, ended);
    check_refused(run, ended);

    struct script script = parked("touch", fifo.path);
    int given_up = running_child(run, &script);
    pf_fault fault;
    CHECK(pf_run_request_end(run, given_up, &fault) == 0);
    pf_child_report report = running_wait(run, given_up);
    CHECK(report.ended_early && report.exec_error == 0);
    check_refused(run, given_up);
    CHECK(read(fifo.fd, &(char){0}, 1) == 0); /* it has never run */
    fifo_close(&fifo);
}

TEST_WITH_RUN(caller)
{
    pf_fault fault;
    pf_window_options window = running_window(10 * PF_NS_PER_S);
    running_ask_window(run, &window);
    running_expect(run, PF_EVENT_FROZEN);
    CHECK(pf_run_request_thaw(run, &fault) == 0);
    CHECK(running_expect(run, PF_EVENT_CLOSED).verdict == PF_VERDICT_GOOD);
    CHECK(pf_run_request_thaw(run, &fault) == 0); /* late, and without effect */

    window.max_window_ns = 20 * PF_NS_PER_MS;
    running_ask_window(run, &window);
    running_expect(run, PF_EVENT_FROZEN);
    CHECK(running_expect(run, PF_EVENT_CLOSED).verdict == PF_VERDICT_EXPIRED);

    window.max_window_ns = 10 * PF_NS_PER_S;
    running_ask_window(run, &window);
    running_expect(run, PF_EVENT_FROZEN);
    CHECK(pf_run_request_abort(run, &fault) == 0);
    CHECK(running_expect(run, PF_EVENT_CLOSED).verdict == PF_VERDICT_ABORTED);

    const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        running_ask_window(run, &window);
        running_expect(run, PF_EVENT_FROZEN);
        CHECK(kill(pf_run_supervisor_pid(run), signals[i]) == 0);
        CHECK(running_expect(run, PF_EVENT_CLOSED).verdict == PF_VERDICT_ABORTED);
    }
}

TEST_WITH_RUN(abort_with_child)
{
    pf_fault fault;
    pf_child_report report;
    struct fifo fifo;
    fifo_open(&fifo);
    struct script script = parked("stubborn", fifo.path);
    pf_window_options window = running_window(10 * PF_NS_PER_S);
    window.child = running_child(run, &script);
    running_ask_window(run, &window);
    CHECK(fifo_next(&fifo) == 'r');
    CHECK(pf_run_request_abort(run, &fault) == 0);
    CHECK(close_with_child(run, window.child, &report) == PF_VERDICT_ABORTED);
    CHECK(report.ended_early);
    CHECK(fifo_rest(&fifo, '#') == 0);
    fifo_close(&fifo);
}

TEST_WITH_RUN(peer)
{
    for (int i = 0; i < 3; i++) {
        char word[16] = {0};
        int notify[2], done[2];
        REQUIRE(pipe2(notify, O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(done, O_CLOEXEC) == 0);
        pf_window_options window = running_window(10 * PF_NS_PER_S);
        window.notify_fd = notify[1];
        window.done_fd = done[0];
        running_ask_window(run, &window);
        running_expect(run, PF_EVENT_FROZEN);
        CHECK(read(notify[0], word, sizeof word) == 7 && strcmp(word, "frozen\n") == 0);
        CHECK(write(done[1], "k", 1) == 1);
        CHECK(running_expect(run, PF_EVENT_CLOSED).verdict == PF_VERDICT_GOOD);
        const int fds[] = {notify[0], notify[1], done[0], done[1]};
        for (int j = 0; j < 4; j++)
            close(fds[j]);
    }
}

TEST_WITH_RUN(many)
{
    pf_fault fault;
    int ours = 0, theirs = 0;
    for (int i = 0; i < MANY; i++) {
        pf_child_report report;
        struct script script = parked("exit", i % 2 ? "0" : "1");
        script.output_bytes = 1 << 16;
        CHECK(window_with(run, &script, 10 * PF_NS_PER_S, &report) == PF_VERDICT_GOOD);
        CHECK(running_exited(&report, i % 2 ? 0 : 1));

        pf_window_options window = running_window(10 * PF_NS_PER_S);
        running_ask_window(run, &window);
        running_expect(run, PF_EVENT_FROZEN);
        CHECK(pf_run_request_thaw(run, &fault) == 0);
        CHECK(running_expect(run, PF_EVENT_CLOSED).verdict == PF_VERDICT_GOOD);
        if (i == 0) {
            ours = check_count_fds(getpid());
            theirs = check_count_fds(pf_run_supervisor_pid(run));
        }
    }
    CHECK(check_count_fds(getpid()) == ours);
    /* The supervisor keeps at most a timer for each child that it has had, and of the last one, if it
     * succeeded, what it still hears of its reaper by. */
    CHECK(check_count_fds(pf_run_supervisor_pid(run)) < theirs + MANY + 2);
}

TEST(many_runs)
{
    int before = check_count_fds(getpid());
    for (int i = 0; i < 20; i++) {
        pf_run *run = running_start(NULL, 0);
        pf_window_options window = running_window(10 * PF_NS_PER_S);
        running_ask_window(run, &window); /* closed in its midst: with a guard, events unread */
        running_end(run);
    }
    CHECK(check_count_fds(getpid()) == before);
}

/* The supervisor dies while the caller is in the open window. */
TEST(killed_in_window)
{
    for (int i = 0; i < 10; i++) {
        pf_fault fault;
        pf_run *run = running_start(NULL, 0);
        pf_window_options window = running_window(10 * PF_NS_PER_S);
        running_ask_window(run, &window);
        if (i % 2)
            running_expect(run, PF_EVENT_FROZEN);
        CHECK(kill(pf_run_supervisor_pid(run), SIGKILL) == 0);
        for (pf_event event; (event = running_next(run)).kind != PF_EVENT_LOST;)
            CHECK(event.kind == PF_EVENT_FROZEN && i % 2 == 0);
        CHECK(pf_run_request_thaw(run, &fault) == 0); /* the next event tells */
        CHECK(pf_run_close(run, &fault) == 0);
        CHECK(check_bury_all() >= 0 && running_state_is_empty());
    }
}

TEST_WITH_RUN(flush)
{
    pf_fault fault;
    CHECK(pf_run_request_open(run, &fault) == 0);
    CHECK(running_expect(run, PF_EVENT_OPENED).fault.error == 0);
    for (uint32_t rounds = 0; rounds < 3; rounds++) {
        CHECK(pf_run_request_flush(run,
                                   &(pf_flush_options){.rounds = rounds, .limit_ns = PF_NS_PER_S},
                                   &fault) == 0);
        CHECK(running_expect(run, PF_EVENT_FLUSHED).fault.error == 0);
    }
}

int main(int count, char **words)
{
    running_begin(count, words);
    return check_run();
}
