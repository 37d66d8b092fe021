/* Each case was a bug once. */
#define _GNU_SOURCE
#include "base/process.h"
#include <sched.h>

#include "running.h"

/* A second plan while a window is open must leave that window as it is. */
TEST(second_window)
{
    pf_fault fault;
    pf_run *run = running_start(NULL, 0);
    running_request_one(run, PF_STEP_WINDOW, NULL);
    running_expect(run, PF_EVENT_WAITING);
    struct plan plan = {0};
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}});
    CHECK_EQ(running_try(run, &plan, &fault), -EBUSY);
    CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0);
    CHECK_EQ(running_verdict(run), PF_VERDICT_GOOD);
    running_end(run);
}

static void close_pair(const int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

/* The same peer may serve several windows. */
TEST(peer_twice)
{
    int notify[2], done[2];
    char byte;
    REQUIRE(pipe2(notify, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0);
    pf_run *run = running_start(NULL, 0);
    struct plan plan = {.notify_fd = notify[1], .done_fd = done[0]};
    running_add(&plan, PF_STEP_WINDOW, NULL)->flags = PF_STEP_PEER;
    running_add(&plan, PF_STEP_WINDOW, NULL)->flags = PF_STEP_PEER;
    for (int i = 0; i < 2; i++) {
        running_request(run, &plan);
        for (uint32_t step = 0; step < 2; step++) {
            CHECK_EQ(running_expect(run, PF_EVENT_WAITING).index, step);
            CHECK_EQ(write(done[1], "k", 1), 1);
            while (running_step(run, step).status == PF_STATUS_RUNNING)
                sched_yield();
            CHECK_EQ(running_step(run, step).verdict, PF_VERDICT_GOOD);
            if (step == 0) /* else what is still readable would be the next answer */
                CHECK_EQ(read(done[0], &byte, 1), 1);
        }
        running_finish(run);
        CHECK_EQ(read(done[0], &byte, 1), 1);
    }
    running_end(run);
    close_pair(notify);
    close_pair(done);
}

/* A peer's answer to one window is no answer to the next. */
TEST(stale_peer)
{
    int notify[2], done[2];
    REQUIRE(pipe2(notify, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0);
    pf_run *run = running_start(NULL, 0);
    struct plan plan = {.notify_fd = notify[1], .done_fd = done[0]};
    running_add(&plan, PF_STEP_WINDOW, NULL)->flags = PF_STEP_PEER;
    running_request(run, &plan);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(write(done[1], "k", 1), 1); /* and nobody reads it */
    CHECK_EQ(running_verdict(run), PF_VERDICT_GOOD);

    plan = (struct plan){0};
    running_add(&plan, PF_STEP_WINDOW, NULL)->window = running_window(200 * PF_NS_PER_MS);
    running_request(run, &plan);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(running_verdict(run), PF_VERDICT_EXPIRED);
    running_end(run);
    close_pair(notify);
    close_pair(done);
}

/* A pipe that is full holds nobody but the one who has to read it: the deadline ends the window. */
TEST(full_peer)
{
    int notify[2], done[2];
    REQUIRE(pipe2(notify, O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(done, O_CLOEXEC) == 0);
    while (write(notify[1], "x", 1) == 1)
        ;
    REQUIRE(fcntl(notify[1], F_SETFL, 0) == 0); /* a write that blocked would be for ever */
    pf_run *run = running_start(NULL, 0);
    struct plan plan = {.notify_fd = notify[1], .done_fd = done[0]};
    pf_step_options *step = running_add(&plan, PF_STEP_WINDOW, NULL);
    step->flags = PF_STEP_PEER;
    step->window = running_window(20 * PF_NS_PER_MS);
    running_request(run, &plan);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(running_verdict(run), PF_VERDICT_EXPIRED);
    running_end(run);
    close_pair(notify);
    close_pair(done);
}

static void limit_descriptors(pid_t pid, int room)
{
    struct rlimit limit;
    REQUIRE(prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0);
    limit.rlim_cur = (rlim_t)(check_count_fds(pid) + room);
    REQUIRE(prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == 0);
}

static void lift_limit(pid_t pid)
{
    struct rlimit limit;
    REQUIRE(prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    REQUIRE(prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == 0);
}

/* A child that was reported as not started is not started later either. */
TEST(failed_fork)
{
    struct fifo fifo;
    struct plan plan = {0};
    fifo_open(&fifo);
    pf_run *run = running_start(NULL, 0);
    running_add(&plan, PF_STEP_CHILD, &(struct script){.words = {"touch", fifo.path}});
    /* The plan itself and the timer, and no pair of sockets. */
    limit_descriptors(running_supervisor(run), 2);
    running_request(run, &plan);
    running_finish(run);
    lift_limit(running_supervisor(run));
    pf_step_report step = running_step(run, 0);
    CHECK_EQ(step.status, PF_STATUS_FAILED);
    CHECK_EQ(step.fault.op, PF_OP_CHILD_FORK);
    CHECK_EQ(step.fault.error, EMFILE);
    CHECK_EQ(running_report(run, 0).state, PF_CHILD_ENDED);
    CHECK_EQ(running_report(run, 0).exec_error, EMFILE);
    running_end(run);
    CHECK_EQ(read(fifo.fd, &(char){0}, 1), 0);
    fifo_close(&fifo);
}

/* A plan whose descriptor could not be taken is answered all the same. */
TEST(unanswered_plan)
{
    pf_run *run = running_start(NULL, 0);
    limit_descriptors(running_supervisor(run), 0);
    running_request_one(run, PF_STEP_CHILD, &(struct script){.words = {"exit", "0"}});
    pf_event event = running_expect(run, PF_EVENT_ENDED);
    CHECK_EQ(event.fault.error, EMFILE);
    CHECK_EQ(running_step(run, 0).status, PF_STATUS_PENDING);
    lift_limit(running_supervisor(run));
    pf_child_report report = running_run(run, &(struct script){.words = {"exit", "0"}});
    CHECK_EQ(report.wait_status, 0);
    running_end(run);
}

/* All attempts share one timeout: none begins after it. */
TEST(late_attempt)
{
    struct fifo fifo;
    fifo_open(&fifo);
    pf_run *run = running_start(NULL, 0);
    /* It fails well before its deadline, but what it leaves takes its grace, beyond it. */
    pf_child_report report = running_run(run, &(struct script){.words = {"daemon", fifo.path, "1"},
                                                               .attempts = 2,
                                                               .timeout_ns = PF_NS_PER_S,
                                                               .grace_ns = 1200 * PF_NS_PER_MS});
    CHECK_EQ(report.attempts, 1);
    running_end(run);
    fifo_close(&fifo);
}

/* However few descriptors there are, a start that fails closes its own and no other. */
TEST(start_without_descriptors)
{
    struct rlimit before;
    pf_fault fault;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    for (int room = 0; room < 30; room++) {
        pf_run *run = NULL;
        int fds = check_count_fds(getpid());
        struct rlimit tight = {.rlim_cur = (rlim_t)(fds + room), .rlim_max = before.rlim_max};
        pf_target target = {.mount = "/nowhere", .mount_id = 1};
        const pf_start_options options = running_options(&target, 1);
        REQUIRE(setrlimit(RLIMIT_NOFILE, &tight) == 0);
        int result = pf_run_start(&run, &options, &fault);
        REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
        if (result == 0)
            CHECK_EQ(pf_run_close(&run), 0);
        CHECK(check_bury_all() >= 0 && running_state_is_empty());
        CHECK_EQ(check_count_fds(getpid()), fds);
        REQUIRE(fcntl(0, F_GETFD) >= 0);
    }
}

/* What a success leaves on purpose is left, and the supervisor is not held up by it. */
TEST(left_child)
{
    struct fifo left;
    pf_fault fault;
    fifo_open(&left);
    pf_run *run = running_start(NULL, 0);
    pf_child_report report = running_run(run, &(struct script){.words = {"daemon", left.path},
                                                               .flags = PF_CHILD_LEAVE});
    CHECK_EQ(report.wait_status, 0);
    CHECK_EQ(fifo_next(&left), 'r');
    for (int i = 0; i < 20; i++) { /* while its reaper takes its leave */
        pf_event event;
        running_request_one(run, PF_STEP_OPEN, NULL);
        REQUIRE(pf_run_next(run, 3 * (int64_t)PF_NS_PER_S, &event, &fault) == PF_EVENT_ENDED);
    }
    CHECK_EQ(pf_run_close(&run), 0);
    CHECK(fifo_is_quiet(&left)); /* it was not even told to end */
    CHECK(pf_tree_signal(getpid(), SIGKILL, 0) >= 1); /* it is ours now */
    CHECK(check_bury_all() >= 1);
    CHECK_EQ(fifo_next(&left), 0);
    fifo_close(&left);
}

/* A timeout without end is one, not one that has passed. */
TEST(endless_timeout)
{
    pf_run *run = running_start(NULL, 0);
    pf_child_report report = running_run(run, &(struct script){.path = "/bin/sh",
                                                               .words = {"-c", "sleep 0.1"},
                                                               .timeout_ns = UINT64_MAX});
    CHECK(!report.timed_out);
    CHECK_EQ(report.wait_status, 0);
    running_end(run);
}

int main(int count, char **words)
{
    running_begin(count, words);
    return check_run();
}
