/* Each case was a bug once. */
#define _GNU_SOURCE
#include "base/process.h"
#include "running.h"

/* A second request while a window is open must leave that window as it is. */
TEST(second_window)
{
    pf_fault fault;
    pf_run *run = running_start(NULL, 0);
    pf_window_options window = running_window(10 * PF_NS_PER_S);
    running_ask_window(run, &window);
    running_expect(run, PF_EVENT_FROZEN);
    window.child = 5; /* no such child; and a window with one starts no second guard */
    int refused = pf_run_request_window(run, &window, &fault) < 0;
    window.child = running_child(run, &(struct script){.words = {"exit", "0"},
                                                       .flags = PF_CHILD_PARKED});
    pf_event event = running_next(run);
    if (!refused && event.kind == PF_EVENT_CLOSED) {
        CHECK(event.fault.op == PF_OP_SEQUENCE);
        event = running_next(run);
    }
    CHECK(event.kind == PF_EVENT_CHILD && event.fault.error == EBUSY);
    CHECK(pf_run_request_thaw(run, &fault) == 0);
    CHECK(running_expect(run, PF_EVENT_CLOSED).verdict == PF_VERDICT_GOOD);
    running_end(run);
}

static void close_pipes(const int notify[2], const int done[2])
{
    close(notify[0]);
    close(notify[1]);
    close(done[0]);
    close(done[1]);
}

/* The same peer may serve several windows. */
TEST(peer_twice)
{
    int notify[2], done[2];
    char byte;
    REQUIRE(pipe2(notify, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0);
    pf_run *run = running_start(NULL, 0);
    pf_window_options window = running_window(10 * PF_NS_PER_S);
    window.notify_fd = notify[1];
    window.done_fd = done[0];
    for (int i = 0; i < 2; i++) {
        running_ask_window(run, &window);
        pf_event event = running_next(run);
        if (CHECK(event.kind == PF_EVENT_FROZEN)) {
            CHECK(write(done[1], "k", 1) == 1);
            CHECK(running_expect(run, PF_EVENT_CLOSED).verdict == PF_VERDICT_GOOD);
            CHECK(read(done[0], &byte, 1) == 1);
        }
    }
    running_end(run);
    close_pipes(notify, done);
}

/* A peer's answer to one window is no answer to the next. */
TEST(stale_peer)
{
    int notify[2], done[2];
    REQUIRE(pipe2(notify, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0);
    pf_run *run = running_start(NULL, 0);
    pf_window_options window = running_window(10 * PF_NS_PER_S);
    window.notify_fd = notify[1];
    window.done_fd = done[0];
    running_ask_window(run, &window);
    running_expect(run, PF_EVENT_FROZEN);
    CHECK(write(done[1], "k", 1) == 1); /* and nobody reads it */
    running_expect(run, PF_EVENT_CLOSED);

    window = running_window(200 * PF_NS_PER_MS);
    running_ask_window(run, &window);
    running_expect(run, PF_EVENT_FROZEN);
    CHECK(running_expect(run, PF_EVENT_CLOSED).verdict == PF_VERDICT_EXPIRED);
    running_end(run);
    close_pipes(notify, done);
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
    fifo_open(&fifo);
    pf_run *run = running_start(NULL, 0);
    limit_descriptors(pf_run_supervisor_pid(run),
                      3); /* its page and timer, and no pair of sockets */
    int index = running_child(run, &(struct script){.words = {"touch", fifo.path}});
    pf_event event = running_expect(run, PF_EVENT_CHILD);
    CHECK(event.index == index && event.fault.error == EMFILE);
    CHECK(running_report(run, index).state == PF_CHILD_ENDED);
    lift_limit(pf_run_supervisor_pid(run));
    running_end(run);
    CHECK(read(fifo.fd, &(char){0}, 1) == 0);
    fifo_close(&fifo);
}

/* A request whose descriptor could not be taken is answered all the same. */
TEST(unanswered_child)
{
    pf_fault fault;
    pf_run *run = running_start(NULL, 0);
    limit_descriptors(pf_run_supervisor_pid(run), 0);
    int index = running_child(run, &(struct script){.words = {"exit", "0"}});
    CHECK(pf_run_request_flush(run, &(pf_flush_options){.rounds = 0}, &fault) == 0);
    pf_event event = running_next(run); /* answers come in the order of the requests */
    CHECK(event.kind == PF_EVENT_CHILD && event.index == index && event.fault.error != 0);
    lift_limit(pf_run_supervisor_pid(run));
    running_end(run);
}

/* A staged child is owed until the one that cancels it has been started. */
TEST(refused_replacement)
{
    struct fifo staged, replacing;
    pf_fault fault;
    fifo_open(&staged);
    fifo_open(&replacing);
    pf_run *run = running_start(NULL, 0);
    int index = running_child(run, &(struct script){.words = {"touch", staged.path},
                                                    .flags = PF_CHILD_DEFERRED});
    pf_window_options window = running_window(10 * PF_NS_PER_S);
    running_ask_window(run, &window);
    running_expect(run, PF_EVENT_FROZEN);
    running_child(run, &(struct script){.words = {"touch", replacing.path}, .cancels = index + 1});
    CHECK(running_expect(run, PF_EVENT_CHILD).fault.error == EBUSY);
    CHECK(pf_run_request_thaw(run, &fault) == 0);
    running_expect(run, PF_EVENT_CLOSED);
    running_end(run);
    CHECK(read(staged.fd, &(char){0}, 1) == 1);
    CHECK(read(replacing.fd, &(char){0}, 1) == 0);
    fifo_close(&staged);
    fifo_close(&replacing);
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
    CHECK(report.attempts == 1);
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
            CHECK(pf_run_close(run, &fault) == 0);
        CHECK(check_bury_all() >= 0 && running_state_is_empty());
        CHECK(check_count_fds(getpid()) == fds);
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
    CHECK(report.wait_status == 0);
    CHECK(fifo_next(&left) == 'r');
    for (int i = 0; i < 20; i++) { /* while its reaper takes its leave */
        pf_event event;
        CHECK(pf_run_request_flush(run, &(pf_flush_options){.rounds = 0}, &fault) == 0);
        REQUIRE(pf_run_next(run, 3 * (int64_t)PF_NS_PER_S, &event, &fault) == PF_EVENT_FLUSHED);
    }
    CHECK(pf_run_close(run, &fault) == 0);
    CHECK(fifo_is_quiet(&left)); /* it was not even told to end */
    CHECK(pf_tree_signal(getpid(), SIGKILL, 0) >= 1); /* it is ours now */
    CHECK(check_bury_all() >= 1);
    CHECK(fifo_next(&left) == 0);
    fifo_close(&left);
}

/* A timeout without end is one, not one that has passed. */
TEST(endless_timeout)
{
    pf_run *run = running_start(NULL, 0);
    pf_child_report report = running_run(run, &(struct script){.path = "/bin/sh",
                                                               .words = {"-c", "sleep 0.1"},
                                                               .timeout_ns = UINT64_MAX});
    CHECK(!report.timed_out && report.wait_status == 0);
    running_end(run);
}

int main(int count, char **words)
{
    running_begin(count, words);
    return check_run();
}
