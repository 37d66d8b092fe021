/* What a broken supervisor may tell its client: any messages, with any descriptors, and then its
 * death. There is none here; what stands for it is the pidfd of a process that is dead. */
#define _GNU_SOURCE
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/util.h"
#include "client/run.h"
#include "fuzz.h"
#include "inputs.h"
#include "protocol/wire.h"
#include "send.h"

#define FILESYSTEMS 3
#define STEPS 2u
#define MOST_MESSAGES 64 /* what the queue holds for certain */

static int dead;

static int make_dead_process(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    MUST(fd >= 0 && waitpid(pid, NULL, 0) == pid);
    return fd;
}

int LLVMFuzzerInitialize(int *count, char ***words)
{
    (void)count;
    (void)words;
    dead = make_dead_process();
    return atexit(fuzz_tell_accepted);
}

/* As pf_run_request_plan() makes it. */
static void add_plan(pf_run *run)
{
    static const char *const argv[] = {"true", NULL};
    static const char *const envp[] = {NULL};
    static const pf_child_options child = {.path = "/bin/true",
                                           .argv = argv,
                                           .envp = envp,
                                           .directory = "/",
                                           .attempts = 1,
                                           .output_bytes = 16};
    static const pf_step_options steps[STEPS] = {{.kind = PF_STEP_CHILD,
                                                  .after = -1,
                                                  .child = &child},
                                                 {.kind = PF_STEP_WINDOW, .after = -1}};
    const pf_plan_options options = {.steps = steps, .count = STEPS};
    pf_fault fault;
    int fd = pf_plan_page_create(&run->plan, run->directory_fd, "receive", &options, &fault);
    MUST(fd >= 0 && close(fd) == 0);
    pf_plan_page_remove(run->directory_fd, "receive");
}

/* As pf_run_start() makes it. */
static pf_run *make_run(const struct receive_head *head, int socket)
{
    const pf_target targets[FILESYSTEMS] = {{.mount = "/a"}, {.mount = "/b"}, {.mount = "/c"}};
    const pf_start_options options = {.run_id = "receive",
                                      .targets = targets,
                                      .target_count = FILESYSTEMS};
    pf_fault fault;
    pf_run *run = calloc(1, sizeof *run);
    MUST(run != NULL);
    pthread_mutex_init(&run->rescue_lock, NULL);
    run->socket_fd = socket;
    run->pidfd = fcntl(dead, F_DUPFD_CLOEXEC, 0);
    run->watchdog_fd = eventfd(0, EFD_CLOEXEC);
    run->directory_fd = open(".", O_PATH | O_CLOEXEC);
    run->lock_fd = open(".", O_RDONLY | O_CLOEXEC);
    run->page_fd = pf_page_create(&run->page, run->directory_fd, &options, &fault);
    MUST(run->page_fd >= 0 && unlinkat(run->directory_fd, "receive.state", 0) == 0);
    run->filesystem_fds = malloc(FILESYSTEMS * sizeof *run->filesystem_fds);
    MUST(run->filesystem_fds != NULL);
    for (int i = 0; i < FILESYSTEMS; i++)
        run->filesystem_fds[i] = -1;
    if (head->asked & 1)
        add_plan(run);
    if (head->asked & 2) {
        run->flush_limit_ns = 60 * PF_NS_PER_S;
        atomic_store(&run->page->window_ns, pf_now_ns());
    }
    return run;
}

static size_t send_part(int socket, const struct receive_part *part, const uint8_t *data,
                        size_t size, int fd)
{
    size_t length = part->raw & 0x7f;
    const struct pf_message message = {.kind = part->kind,
                                       .index = part->index,
                                       .op = part->op,
                                       .fault_index = part->index,
                                       .error = part->error};
    const int many[FUZZ_MOST_FDS] = {fd, fd, fd, fd};
    size_t fds = part->fds % (FUZZ_MOST_FDS + 1);
    if (part->raw < 0x80 || length > size || length == 0) {
        fuzz_send(socket, &message, sizeof message, many, fds);
        return 0;
    }
    fuzz_send(socket, data, length, many, fds);
    return length;
}

static int send_all(int socket, const uint8_t *data, size_t size, int fd)
{
    struct receive_part part;
    int sent = 0;
    for (; size >= sizeof part && sent < MOST_MESSAGES; sent++) {
        memcpy(&part, data, sizeof part);
        data += sizeof part;
        size -= sizeof part;
        size_t length = send_part(socket, &part, data, size, fd);
        data += length;
        size -= length;
    }
    return sent;
}

static void check_event(const pf_run *run, const pf_event *event)
{
    MUST(event->kind >= PF_EVENT_STEP && event->kind <= PF_EVENT_LOST);
    if (event->kind == PF_EVENT_LOST)
        MUST(run->page->window_ns == 0 && !run->watchdog_runs);
    fuzz_read(pf_op_text(event->fault.op));
}

/* Only what the plan has: whatever index was told. */
static void check_reading(pf_run *run)
{
    uint32_t count = run->plan ? STEPS : 0;
    for (uint32_t i = 0; i <= STEPS; i++) {
        pf_step_report step;
        pf_child_report child;
        pf_fault fault;
        char output[16];
        int has_child = i < count && i == 0;
        MUST(pf_run_step(run, i, &step, &fault) == (i < count ? 0 : -ERANGE));
        MUST(pf_run_child(run, i, &child, &fault) == (has_child ? 0 : -ERANGE));
        MUST(pf_run_child_output(run, i, output, sizeof output, &fault) ==
             (has_child ? 0 : -ERANGE));
    }
    MUST(pf_run_facts(run) == 0);
}

/* Misshapen messages are errors, one each; the plan's end and the run's are told again and again. */
static void hear_all(pf_run *run, int sent)
{
    pf_event event;
    pf_fault fault;
    int heard = 0, result;
    do {
        MUST(heard++ <= sent);
        result = pf_run_next(run, -1, &event, &fault);
        MUST(result == event.kind || result == -EBADMSG || result == -EMFILE);
        if (result >= 0)
            check_event(run, &event);
        if (result == PF_EVENT_ENDED) {
            MUST(pf_run_next(run, 0, &event, &fault) == PF_EVENT_ENDED);
            check_event(run, &event);
            run->end.kind = PF_EVENT_TIMEOUT; /* as a plan's request does */
        }
        fuzz_accepted += result >= 0 && result != PF_EVENT_LOST;
    } while (result != PF_EVENT_LOST);
    MUST(pf_run_next(run, 0, &event, &fault) == PF_EVENT_LOST);
    check_reading(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct receive_head head;
    int ends[2];
    if (size < sizeof head)
        return -1;
    memcpy(&head, data, sizeof head);
    int open_before = fuzz_count_fds();
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    pf_run *run = make_run(&head, ends[0]);
    int any = memfd_create("any", MFD_CLOEXEC);
    int sent = send_all(ends[1], data + sizeof head, size - sizeof head, any);
    close(any);
    close(ends[1]);
    if (head.end & 2) /* the last word is for pf_run_close() to wait for */
        MUST(pf_run_close(&run) == 0);
    else {
        hear_all(run, sent);
        if (head.end & 1)
            run->page->client_pid = 0; /* as if in a fork */
        MUST(pf_run_close(&run) == 0);
    }
    MUST(fuzz_count_fds() == open_before);
    return 0;
}
