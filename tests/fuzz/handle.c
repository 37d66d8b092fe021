/* What a client may ask, in any order: the supervisor's own loop, on simulated filesystems. Whatever
 * it is asked, each request has its answer; and when the client has gone, nothing is frozen, and the
 * supervisor goes too. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define main supervisor_main
int supervisor_main(int count, char **words);
#include "supervisor/loop.c"
#undef main

#include "send.h"
#include "simulated.h"

#define MOST_TURNS 2000 /* that it may need without waiting; one that spins needs more */
#define PATIENCE_MS 20000

/* How an input begins; steps follow. */
struct plan {
    uint8_t fails[SIMULATED_COUNT]; /* enum failing */
    uint8_t flags; /* enum plan_flag */
};

enum plan_flag {
    PLAN_FORK_FAILS = 1,
    PLAN_BYE = 2 /* the client takes its leave; else it only goes */
};

struct step {
    uint8_t kind; /* enum pf_request_kind; or, beyond, enum other_step */
    int8_t index;
    uint8_t fds;
    uint8_t times; /* two numbers of times_ns[] */
    uint8_t flags;
};

enum other_step {
    STEP_WAIT = 9,
    STEP_ANSWER, /* of the window's peer */
    STEP_SIGNAL,
    STEP_KINDS
};

static const uint64_t times_ns[] = {0, 1000, PF_NS_PER_MS, 60 * PF_NS_PER_S, UINT64_MAX};

/* How many of each were sent and heard. */
struct counts {
    int opens, flushes, windows, children, replacements;
};

static struct pf_supervisor state;
static struct pf_page *page;
static struct pf_worker workers[SIMULATED_COUNT];
static int client, answer;
static struct counts asked, told;

/* ---- one supervisor after another ---------------------------------------------------------- */

/* The supervisor closes its inherited descriptors; nobody else is to get their numbers. */
static void reserve_numbers(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = PF_FD_SOCKET; fd < PF_FD_END; fd++)
        MUST(fd == null || dup3(null, fd, O_CLOEXEC) == fd);
    if (null >= PF_FD_END)
        close(null);
}

/* The workers' threads never end: they are the same for all inputs. */
int LLVMFuzzerInitialize(int *count, char ***words)
{
    const pf_target targets[SIMULATED_COUNT] = {{.mount = "/a", .mount_id = 0, .level = 1},
                                                {.mount = "/b", .mount_id = 1},
                                                {.mount = "/c", .mount_id = 2}};
    const pf_start_options options = {.run_id = "handle",
                                      .targets = targets,
                                      .target_count = SIMULATED_COUNT};
    pf_fault fault;
    (void)count;
    (void)words;
    signal(SIGPIPE, SIG_IGN);
    reserve_numbers();
    state.pool.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int fd = pf_page_create(&page, AT_FDCWD, &options, &fault);
    MUST(fd >= 0 && unlink("handle.state") == 0 && close(fd) == 0);
    MUST(pf_workers_start(workers, page, &state.pool, &fault) == 0);
    return atexit(fuzz_tell_accepted);
}

static void reset_filesystems(const struct plan *plan)
{
    for (int i = 0; i < SIMULATED_COUNT; i++) {
        MUST(!pf_worker_busy(&workers[i]));
        workers[i].fd = -1;
        workers[i].awaited = 0;
        workers[i].abandoned = 0;
        simulated[i].fd = -1;
        simulated[i].fails = plan->fails[i] & 31;
        simulated[i].frozen = (plan->fails[i] & FOREIGN_FREEZE) != 0;
        page->slots[i].error = 0;
        page->slots[i].op = PF_OP_NONE;
        atomic_store(&page->slots[i].state, PF_STATE_CHOSEN);
    }
}

static void place(int fd, int number)
{
    MUST(dup3(fd, number, O_CLOEXEC) == number);
    close(fd);
}

/* As pf_setup() does, in a process that is not its own. */
static void begin_supervisor(const struct plan *plan)
{
    int pair[2];
    pf_fault fault;
    reset_filesystems(plan);
    fork_fails = plan->flags & PLAN_FORK_FAILS;
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    client = pair[0];
    place(pair[1], PF_FD_SOCKET);
    answer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int done_fd = state.pool.done_fd;
    uint32_t turn = state.pool.batch;
    uint64_t in_flight = state.pool.in_flight;
    uint32_t call = state.pool.wakeups;
    memset(&state, 0, sizeof state);
    state.pool = (struct pf_pool){.done_fd = done_fd,
                                  .batch = turn,
                                  .in_flight = in_flight,
                                  .wakeups = call};
    state.page = page;
    state.workers = workers;
    state.client_lives = 1;
    state.snapshot_child = state.notify_fd = state.peer_fd = -1;
    state.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    MUST(pf_window_init(&state.window, page, workers, &fault) == 0);
    pf_close_fd(&state.window.rcu_fd); /* both are the machine's */
    pf_close_fd(&state.window.latency_fd);
    MUST(pf_watch(&state, PF_FD_SOCKET, PF_SOURCE_SOCKET, -1) == 0 &&
         pf_watch(&state, done_fd, PF_SOURCE_WORKERS, -1) == 0 &&
         pf_watch(&state, state.window.deadline_fd, PF_SOURCE_DEADLINE, -1) == 0 &&
         pf_watch(&state, state.window.limit_fd, PF_SOURCE_LIMIT, -1) == 0);
}

static void end_supervisor(void)
{
    for (int i = 0; i < state.child_count; i++)
        if (state.children[i]) {
            pf_child_free(state.children[i]);
            free(state.children[i]);
        }
    for (int i = 0; i < SIMULATED_COUNT; i++)
        pf_close_fd(&workers[i].fd);
    pf_peer_release(&state);
    pf_close_fd(&state.window.deadline_fd);
    pf_close_fd(&state.window.limit_fd);
    pf_close_fd(&state.epoll_fd);
    pf_close_fd(&answer);
    reserve_numbers();
}

static int has_events(int timeout_ms)
{
    struct pollfd loop = {.fd = state.epoll_fd, .events = POLLIN};
    return poll(&loop, 1, timeout_ms) > 0;
}

static void turn_while_due(void)
{
    int turns = 0;
    while (has_events(0)) {
        MUST(turns++ < MOST_TURNS);
        run_once(&state);
    }
}

/* ---- the client ----------------------------------------------------------------------------- */

static int make_page(const struct step *step)
{
    const char *const argv[] = {"backup", NULL};
    const char *const envp[] = {"A=b", NULL};
    const pf_child_options options = {.path = "/nowhere",
                                      .argv = argv,
                                      .envp = envp,
                                      .directory = "/",
                                      .flags = step->flags,
                                      .attempts = 1u + step->times % 3,
                                      .timeout_ns = times_ns[step->times % 5],
                                      .grace_ns = times_ns[step->times / 5 % 3],
                                      .output_bytes = step->times};
    struct pf_child_page *made;
    pf_fault fault;
    int fd = pf_child_page_create(&made, &options, &fault);
    MUST(fd >= 0);
    if (step->times == UINT8_MAX)
        made->magic = 0;
    pf_child_page_unmap(made);
    return fd;
}

static void ask(const struct step *step, int kind)
{
    int count = step->fds % 4;
    struct pf_message message = {.kind = (uint32_t)kind,
                                 .index = step->index,
                                 .cancels = step->fds / 4 - 1,
                                 .rounds = step->fds,
                                 .spend_ns = times_ns[step->times % 5],
                                 .limit_ns = times_ns[step->times / 5 % 5],
                                 .max_window_ns = times_ns[step->times / 5 % 5],
                                 .freeze_timeout_ns = times_ns[step->times % 5],
                                 .flags = step->flags};
    if (step->index == 127)
        message.index = PF_MAX_CHILDREN - 1;
    int fd = kind == PF_REQUEST_CHILD ? make_page(step) : fcntl(answer, F_DUPFD_CLOEXEC, 0);
    fuzz_send(client, &message, sizeof message, fd, (size_t)count);
    close(fd);
    asked.opens += kind == PF_REQUEST_OPEN && count <= PF_WIRE_MAX_FDS;
    asked.flushes += kind == PF_REQUEST_FLUSH && count <= PF_WIRE_MAX_FDS;
    asked.windows += kind == PF_REQUEST_WINDOW;
    asked.children += kind == PF_REQUEST_CHILD;
    asked.replacements += kind == PF_REQUEST_CHILD && message.cancels >= 0;
}

static void take(const struct step *step)
{
    uint64_t one = 1;
    int kind = step->kind % STEP_KINDS;
    if (kind == STEP_WAIT)
        has_events(step->times % 4);
    else if (kind == STEP_ANSWER)
        (void)!(step->flags & 1 ? read(answer, &one, sizeof one) : write(answer, &one, sizeof one));
    else if (kind == STEP_SIGNAL)
        pf_window_give_up(&state.window, PF_VERDICT_ABORTED);
    else
        ask(step, kind);
}

static void receive(void)
{
    struct pf_message message;
    pf_fault fault;
    int fds[PF_WIRE_MAX_FDS];
    uint32_t last = 0;
    while (pf_wire_receive(client, &message, fds, &fault) == 0) {
        fuzz_accepted++;
        told.opens += message.kind == PF_REPLY_OPENED;
        told.flushes += message.kind == PF_REPLY_FLUSHED;
        told.windows += message.kind == PF_REPLY_CLOSED;
        told.children += message.kind == PF_REPLY_CHILD;
        MUST((fds[0] >= 0) == (message.kind == PF_REPLY_DESCRIPTOR));
        for (int i = 0; i < PF_WIRE_MAX_FDS; i++)
            pf_close_fd(&fds[i]);
        last = message.kind;
    }
    MUST(last != PF_REPLY_CLOSED || pf_page_count_needing_thaw(page) == 0);
}

/* ---- what must hold ------------------------------------------------------------------------- */

static void run_to_its_end(void)
{
    while (!pf_shutdown_advance(&state)) {
        MUST(has_events(PATIENCE_MS));
        run_once(&state);
        receive();
    }
    receive();
}

static void check_end(void)
{
    MUST(page->deadline_ns == 0);
    MUST(pf_page_count_needing_thaw(page) == 0);
    for (int i = 0; i < SIMULATED_COUNT; i++)
        MUST(simulated[i].frozen == ((simulated[i].fails & FOREIGN_FREEZE) != 0));
    for (int i = 0; i < state.child_count; i++)
        MUST(!state.children[i] || state.children[i]->stage == PF_STAGE_OVER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan plan;
    struct step step;
    if (size < sizeof plan)
        return -1;
    memcpy(&plan, data, sizeof plan);
    data += sizeof plan;
    size -= sizeof plan;
    asked = told = (struct counts){0};

    int open_before = fuzz_count_fds();
    begin_supervisor(&plan);
    for (int steps = 0; size >= sizeof step && steps < 64 && !state.leaving; steps++) {
        memcpy(&step, data, sizeof step);
        data += sizeof step;
        size -= sizeof step;
        take(&step);
        turn_while_due();
        receive();
    }
    if (plan.flags & PLAN_BYE) {
        ask(&(struct step){.index = -1}, PF_REQUEST_BYE);
        run_to_its_end();
        MUST(asked.opens == told.opens && asked.flushes == told.flushes);
        MUST(asked.windows >= told.windows && asked.children >= told.children);
        /* Of a staged child that another one replaced nothing is told. */
        MUST(asked.children - told.children <= asked.replacements);
        close(client);
    } else {
        close(client);
        client = -1;
        run_to_its_end();
    }
    check_end();
    end_supervisor();
    MUST(fuzz_count_fds() == open_before);
    return 0;
}
