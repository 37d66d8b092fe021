/* What a client may ask, in any order: the supervisor's own loop, on simulated filesystems and
 * reapers. Whatever it is asked, a plan that it has taken is ended once, and each of its steps with
 * it; and when the client has gone, nothing is frozen, and the supervisor goes too. */
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

#include "base/timer.h"
#include "inputs.h"
#include "reapers.h"
#include "send.h"
#include "simulated.h"
#include "supervisor/plan.h"

#define MOST_TURNS 2000 /* that it may need without waiting; one that spins needs more */
#define MOST_ORDERS 64
#define MOST_STEPS 9
#define PATIENCE_MS 20000

static const uint64_t times_ns[] = {0, 1000, PF_NS_PER_MS, 60 * PF_NS_PER_S, UINT64_MAX};

/* What is known of a plan that was handed over. */
struct given {
    struct pf_plan_page *page; /* NULL: none */
    uint64_t size; /* of which the page itself may say something else */
    int told[MOST_STEPS];
};

static struct pf_supervisor state;
static struct pf_page *page;
static struct pf_worker workers[SIMULATED_COUNT];
static int client, answer;
static struct given under_way, offered; /* taken; handed over, and not answered yet */
static int refusals_owed; /* to messages whose descriptors did not arrive */

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

static void reset_filesystems(const struct handle_head *head)
{
    for (int i = 0; i < SIMULATED_COUNT; i++) {
        MUST(!pf_worker_busy(&workers[i]));
        workers[i].fd = -1;
        workers[i].awaited = 0;
        workers[i].abandoned = 0;
        simulated[i].fd = -1;
        simulated[i].fails = head->fails[i] & 31;
        simulated[i].frozen = (head->fails[i] & FOREIGN_FREEZE) != 0;
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
static void begin_supervisor(const struct handle_head *head)
{
    int pair[2];
    pf_fault fault;
    const struct pf_pool pool = {.done_fd = state.pool.done_fd,
                                 .batch = state.pool.batch,
                                 .in_flight = state.pool.in_flight,
                                 .wakeups = state.pool.wakeups};
    reset_filesystems(head);
    fork_fails = head->flags & HANDLE_FORK_FAILS;
    refusals_owed = 0;
    MUST(__real_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    client = pair[0];
    place(pair[1], PF_FD_SOCKET);
    answer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    memset(&state, 0, sizeof state);
    state.pool = pool;
    state.page = page;
    state.workers = workers;
    state.client_lives = 1;
    state.notify_fd = state.peer_fd = -1;
    state.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    state.plan.wait_fd = pf_timer_create();
    MUST(pf_window_init(&state.window, page, workers, &fault) == 0);
    pf_close_fd(&state.window.rcu_fd); /* both are the machine's */
    pf_close_fd(&state.window.latency_fd);
    MUST(pf_watch(&state, PF_FD_SOCKET, PF_SOURCE_SOCKET, -1) == 0 &&
         pf_watch(&state, pool.done_fd, PF_SOURCE_WORKERS, -1) == 0 &&
         pf_watch(&state, state.window.deadline_fd, PF_SOURCE_DEADLINE, -1) == 0 &&
         pf_watch(&state, state.window.limit_fd, PF_SOURCE_LIMIT, -1) == 0 &&
         pf_watch(&state, state.plan.wait_fd, PF_SOURCE_WAIT, -1) == 0);
}

static void end_supervisor(void)
{
    pf_plan_release(&state);
    for (int i = 0; i < SIMULATED_COUNT; i++)
        pf_close_fd(&workers[i].fd);
    pf_peer_release(&state);
    pf_close_fd(&state.plan.wait_fd);
    pf_close_fd(&state.window.deadline_fd);
    pf_close_fd(&state.window.limit_fd);
    pf_close_fd(&state.epoll_fd);
    pf_close_fd(&answer);
    reapers_forget();
    reserve_numbers();
}

/* ---- what must hold, at any time ------------------------------------------------------------- */

static void check_now(void)
{
    const struct pf_step *window = pf_step_find_lone(&state, PF_STEP_WINDOW);
    const struct pf_child *child = window ? state.plan.children[state.plan.first] : NULL;
    MUST(page->window_ns == 0 || window);
    if (state.window.stage == PF_WINDOW_FREEZING || state.window.stage == PF_WINDOW_OPEN)
        MUST(window && page->deadline_ns != 0 && (!child || child->is_parked));
    /* A command that is lost is this window's own, not an earlier one's. */
    if (child && state.plan.has_closed && window->verdict == PF_VERDICT_FREEZE_FAILED &&
        window->fault.error == ECHILD)
        MUST(child->attempt_ended || child->stage == PF_STAGE_OVER);
}

static int has_events(int timeout_ms)
{
    struct pollfd loop = {.fd = state.epoll_fd, .events = POLLIN};
    return PF_RETRY(poll(&loop, 1, timeout_ms)) > 0; /* libFuzzer has a timer */
}

static void turn_while_due(void)
{
    for (int turns = 0; has_events(0); turns++) {
        MUST(turns < MOST_TURNS);
        run_once(&state);
        check_now();
    }
}

static void check_child(const struct pf_step *step, const struct pf_child_page *child)
{
    if (atomic_load(&step->status) == PF_STATUS_SKIPPED)
        return;
    MUST(atomic_load(&child->state) == PF_CHILD_ENDED);
    if (atomic_load(&step->status) == PF_STATUS_DONE)
        MUST(child->wait_status == 0 && child->exec_error == 0 && !child->timed_out);
    if (step->kind != PF_STEP_WINDOW)
        return;
    /* Only its own end ends a good window; one that died before it was let go is a failure. */
    MUST(step->verdict != PF_VERDICT_GOOD || step->snapshot_ns == 0 || !child->ended_early);
    MUST(atomic_load(&step->status) != PF_STATUS_DONE || step->snapshot_ns != 0);
}

static void check_step(struct pf_plan_page *plan, uint32_t index)
{
    const struct pf_step *step = &plan->steps[index];
    const struct pf_child_page *child = pf_step_child(plan, index);
    uint32_t status = atomic_load(&step->status);
    MUST(status == PF_STATUS_DONE || status == PF_STATUS_FAILED || status == PF_STATUS_SKIPPED);
    MUST((status == PF_STATUS_SKIPPED) == (step->begin_ns == 0));
    MUST((status == PF_STATUS_SKIPPED) == (step->end_ns == 0));
    MUST(step->begin_ns <= step->end_ns);
    if (step->kind == PF_STEP_WINDOW)
        MUST((step->verdict == PF_VERDICT_NONE) == (status == PF_STATUS_SKIPPED) &&
             (step->verdict == PF_VERDICT_GOOD || status != PF_STATUS_DONE));
    else if (status == PF_STATUS_FAILED)
        MUST((plan->facts & step->on_failure) == step->on_failure);
    if (child)
        check_child(step, child);
}

static void forget(struct given *given)
{
    if (given->page)
        munmap(given->page, given->size);
    *given = (struct given){0};
}

static void check_thawed(void)
{
    MUST(page->window_ns == 0 && page->deadline_ns == 0);
    MUST(pf_page_count_needing_thaw(page) == 0);
}

static void check_ended(struct given *given)
{
    struct pf_plan_page *plan = given->page;
    MUST(plan && atomic_load(&plan->is_over));
    if (!offered.page) /* else the next one may have begun already */
        check_thawed();
    for (uint32_t i = 0; i < plan->count; i++)
        check_step(plan, i);
    forget(given);
}

/* Told as often as the client wanted, when it could be told all. */
static void check_told(const struct given *given)
{
    for (uint32_t i = 0; i < given->page->count && i < MOST_STEPS; i++) {
        int has_begun = given->page->steps[i].status != PF_STATUS_SKIPPED;
        MUST(given->told[i] == (given->page->tells_steps && has_begun ? 2 : 0));
    }
}

/* ---- what the client hears --------------------------------------------------------------------- */

static void on_ended(int error)
{
    if (error == 0) {
        struct given ended = under_way.page ? under_way : offered;
        MUST(ended.page != NULL);
        *(under_way.page ? &under_way : &offered) = (struct given){0};
        check_told(&ended);
        check_ended(&ended);
        fuzz_accepted++;
    } else if (offered.page) {
        forget(&offered);
    } else {
        MUST(refusals_owed-- > 0);
    }
}

static void on_step(const struct pf_message *message)
{
    struct given *given = under_way.page ? &under_way : &offered;
    MUST(given->page && message->index >= 0 && (uint32_t)message->index < given->page->count);
    if (message->kind == PF_REPLY_STEP)
        given->told[message->index]++;
}

static void receive(void)
{
    struct pf_message message;
    pf_fault fault;
    int fds[PF_WIRE_MAX_FDS];
    while (pf_wire_receive(client, &message, fds, &fault) == 0) {
        if (message.kind == PF_REPLY_ENDED)
            on_ended(message.error);
        else if (message.kind == PF_REPLY_STEP || message.kind == PF_REPLY_WAITING)
            on_step(&message);
        MUST((fds[0] >= 0) == (message.kind == PF_REPLY_DESCRIPTOR));
        for (int i = 0; i < PF_WIRE_MAX_FDS; i++)
            pf_close_fd(&fds[i]);
    }
    if (!offered.page)
        return;
    MUST(!under_way.page); /* else it would have been refused */
    under_way = offered;
    offered = (struct given){0};
}

/* ---- what the client asks ------------------------------------------------------------------------ */

struct input {
    const uint8_t *at;
    size_t left;
};

static int take_bytes(struct input *input, void *bytes, size_t size)
{
    if (input->left < size)
        return 0;
    memcpy(bytes, input->at, size);
    input->at += size;
    input->left -= size;
    return 1;
}

static void fill_step(pf_step_options *step, pf_child_options *child,
                      const struct drawn_step *drawn, int count)
{
    static const char *const argv[] = {"backup", NULL};
    static const char *const envp[] = {"A=b", NULL};
    uint64_t one = times_ns[drawn->times % 5], other = times_ns[drawn->times / 5 % 5];
    int kind = PF_STEP_OPEN + drawn->kind % PF_STEP_WAIT;
    *child = (pf_child_options){.path = "/nowhere",
                                .argv = argv,
                                .envp = envp,
                                .directory = "/",
                                .flags = drawn->child & 31,
                                .attempts = 1u + (drawn->child >> 5) % 3,
                                .timeout_ns = one,
                                .grace_ns = times_ns[drawn->times / 5 % 3],
                                .output_bytes = drawn->times};
    *step = (pf_step_options){.kind = kind,
                              .flags = drawn->flags & 7,
                              .group = drawn->group % 4,
                              .skip_if = drawn->skip_if,
                              .only_if = drawn->only_if,
                              .on_failure = drawn->on_failure,
                              .after = drawn->after % (count + 1) - 1,
                              .window = {.flush = {.rounds = drawn->group, .limit_ns = other},
                                         .max_window_ns = other,
                                         .freeze_timeout_ns = one,
                                         .flags = drawn->flags >> 3 & 15}};
    int may_have_one = kind == PF_STEP_WINDOW && (drawn->child & 128);
    if (kind == PF_STEP_CHILD || may_have_one)
        step->child = child;
}

static int make_plan(struct input *input, const struct order *order, struct given *given)
{
    pf_step_options steps[MOST_STEPS];
    pf_child_options children[MOST_STEPS];
    struct drawn_step drawn;
    uint8_t damage[3]; /* where, and what */
    pf_fault fault;
    uint32_t count = 0, wanted = order->number % (MOST_STEPS + 1);
    while (count < wanted && take_bytes(input, &drawn, sizeof drawn)) {
        fill_step(&steps[count], &children[count], &drawn, (int)(count + 1));
        count++;
    }
    const pf_plan_options options = {.steps = steps,
                                     .count = count,
                                     .tells_steps = order->flags & ORDER_TELLS_STEPS};
    int fd = pf_plan_page_create(&given->page, AT_FDCWD, "handle", &options, &fault);
    MUST(fd >= 0);
    given->size = given->page->size;
    if (order->flags & ORDER_DAMAGED && take_bytes(input, damage, sizeof damage))
        ((uint8_t *)given->page)[(size_t)(damage[0] << 8 | damage[1]) % given->size] ^= damage[2];
    if (order->flags & ORDER_READ_ONLY) {
        close(fd);
        fd = open("handle.journal", O_RDONLY | O_CLOEXEC);
        MUST(fd >= 0);
    }
    pf_plan_page_remove(AT_FDCWD, "handle");
    return fd;
}

/* What the peer's two places of a plan's message get. */
static int make_peer(const struct order *order)
{
    int ends[2];
    if (order->flags & ORDER_UNWATCHABLE)
        return memfd_create("peer", MFD_CLOEXEC);
    if (!(order->flags & ORDER_HANGS_UP))
        return fcntl(answer, F_DUPFD_CLOEXEC, 0);
    MUST(pipe2(ends, O_CLOEXEC) == 0 && close(ends[1]) == 0);
    return ends[0];
}

static void ask(struct input *input, const struct order *order, uint32_t kind)
{
    const struct pf_message message = {.kind = kind, .index = -1, .error = order->number % 2};
    size_t count = order->fds % (FUZZ_MOST_FDS + 1);
    int peer = make_peer(order);
    int fds[FUZZ_MOST_FDS] = {peer, peer, peer, peer};
    int is_plan = kind == PF_REQUEST_PLAN;
    if (is_plan)
        fds[0] = make_plan(input, order, &offered);
    fuzz_send(client, &message, sizeof message, fds, count);
    if (is_plan)
        close(fds[0]);
    close(peer);
    /* Without a journal, or with what did not arrive, it is refused. */
    if (count > PF_WIRE_MAX_FDS || count == 0)
        forget(&offered);
    refusals_owed += count > PF_WIRE_MAX_FDS || (is_plan && count == 0);
}

/* What a child's reaper does, or tells. */
static void take_reaper(const struct order *order, int kind)
{
    if (reaper_count == 0)
        return;
    struct simulated_reaper *reaper = &reapers[order->number % reaper_count];
    if (kind == ORDER_PARK)
        reaper_park(reaper);
    else if (kind == ORDER_REPORT)
        reaper_report(reaper, order->fds % 2 ? order->fds << 8 : 0);
    else
        reaper_close(reaper);
}

/* As on_signals() does, and the loop after it. */
static void on_signal(void)
{
    pf_window_give_up(&state.window, PF_VERDICT_ABORTED);
    advance(&state);
}

static void take(struct input *input, const struct order *order)
{
    uint64_t one = 1;
    int kind = order->kind % ORDER_KINDS;
    if (kind == ORDER_UNKNOWN)
        ask(input, order, order->number > PF_REQUEST_BYE ? order->number : 0);
    else if (kind <= PF_REQUEST_BYE)
        ask(input, order, (uint32_t)kind);
    else if (kind == ORDER_WAIT)
        has_events(order->number % 4);
    else if (kind == ORDER_ANSWER)
        (void)!(order->number & 1 ? read(answer, &one, sizeof one)
                                  : write(answer, &one, sizeof one));
    else if (kind == ORDER_SIGNAL)
        on_signal();
    else
        take_reaper(order, kind);
}

/* ---- its end ------------------------------------------------------------------------------------ */

static void run_to_its_end(void)
{
    while (!pf_shutdown_advance(&state)) {
        reapers_end();
        MUST(has_events(PATIENCE_MS));
        run_once(&state);
        check_now();
        if (client >= 0)
            receive();
    }
    if (client >= 0)
        receive();
}

static void check_end(void)
{
    if (under_way.page)
        check_ended(&under_way);
    check_thawed();
    for (int i = 0; i < SIMULATED_COUNT; i++)
        MUST(simulated[i].frozen == ((simulated[i].fails & FOREIGN_FREEZE) != 0));
    for (uint32_t i = 0; state.plan.page && i < state.plan.page->count; i++) {
        const struct pf_child *child = state.plan.children[i];
        MUST(!child || child->stage == PF_STAGE_PENDING || child->stage == PF_STAGE_OVER);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct handle_head head;
    struct order order;
    if (!take_bytes(&input, &head, sizeof head))
        return -1;
    int open_before = fuzz_count_fds();
    begin_supervisor(&head);
    for (int orders = 0; orders < MOST_ORDERS && !state.leaving; orders++) {
        if (!take_bytes(&input, &order, sizeof order))
            break;
        take(&input, &order);
        turn_while_due();
        receive();
        reapers_listen();
    }
    if (head.flags & HANDLE_BYE) {
        ask(&input, &(struct order){0}, PF_REQUEST_BYE);
        run_to_its_end();
        MUST(!under_way.page && refusals_owed == 0);
        pf_close_fd(&client);
    } else {
        pf_close_fd(&client);
        run_to_its_end();
    }
    check_end();
    end_supervisor();
    MUST(fuzz_count_fds() == open_before);
    return 0;
}
