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
#include "protocol/wire.h"
#include "send.h"

#define FILESYSTEMS 3
#define CHILDREN 2
#define MOST_MESSAGES 64 /* what the queue holds for certain */

/* How an input begins; parts follow. */
struct plan {
    uint8_t asked; /* 1: a window is owed */
    uint8_t end;   /* 1: the run is closed as it ought to be; else it is forgotten */
};

/* One message: made of this, or the bytes that follow. */
struct part {
    uint8_t raw; /* from 0x80 on: how many bytes */
    uint8_t fds;
    uint8_t kind;
    int8_t index;
    int8_t verdict;
    int8_t error;
};

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

static void add_children(pf_run *run)
{
    const char *const argv[] = {"true", NULL};
    const char *const envp[] = {NULL};
    const pf_child_options options = {.path = "/bin/true",
                                      .argv = argv,
                                      .envp = envp,
                                      .directory = "/",
                                      .attempts = 1,
                                      .output_bytes = 16};
    for (; run->child_count < CHILDREN; run->child_count++) {
        pf_fault fault;
        int fd = pf_child_page_create(&run->children[run->child_count], &options, &fault);
        MUST(fd >= 0 && close(fd) == 0);
    }
}

/* As pf_run_start() makes it. */
static pf_run *make_run(const struct plan *plan, int socket)
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
    run->guard_fd = eventfd(0, EFD_CLOEXEC);
    run->directory_fd = open(".", O_PATH | O_CLOEXEC);
    run->lock_fd = open(".", O_RDONLY | O_CLOEXEC);
    run->page_fd = pf_page_create(&run->page, run->directory_fd, &options, &fault);
    MUST(run->page_fd >= 0 && unlinkat(run->directory_fd, "receive.state", 0) == 0);
    run->filesystem_fds = malloc(FILESYSTEMS * sizeof *run->filesystem_fds);
    MUST(run->filesystem_fds != NULL);
    for (int i = 0; i < FILESYSTEMS; i++)
        run->filesystem_fds[i] = -1;
    add_children(run);
    if (plan->asked & 1) {
        run->max_window_ns = run->flush_limit_ns = 60 * PF_NS_PER_S;
        atomic_store(&run->requested_ns, pf_now_ns());
    }
    return run;
}

static size_t send_part(int socket, const struct part *part, const uint8_t *data, size_t size,
                        int fd)
{
    size_t length = part->raw & 0x7f;
    const struct pf_message message = {.kind = part->kind,
                                       .index = part->index,
                                       .verdict = part->verdict,
                                       .op = part->verdict,
                                       .fault_index = part->index,
                                       .error = part->error};
    size_t fds = part->fds % (FUZZ_MOST_FDS + 1);
    if (part->raw < 0x80 || length > size || length == 0) {
        fuzz_send(socket, &message, sizeof message, fd, fds);
        return 0;
    }
    fuzz_send(socket, data, length, fd, fds);
    return length;
}

static int send_all(int socket, const uint8_t *data, size_t size, int fd)
{
    struct part part;
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
    MUST(event->kind >= PF_EVENT_OPENED && event->kind <= PF_EVENT_LOST);
    if (event->kind == PF_EVENT_CLOSED || event->kind == PF_EVENT_LOST)
        MUST(run->requested_ns == 0 && !run->guard_runs);
    fuzz_read(pf_op_text(event->fault.op));
}

/* Misshapen messages are errors, one each; the end is told again and again. */
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
        fuzz_accepted += result >= 0 && result != PF_EVENT_LOST;
    } while (result != PF_EVENT_LOST);
    MUST(event.verdict == PF_VERDICT_RESCUED);
    MUST(pf_run_next(run, 0, &event, &fault) == PF_EVENT_LOST);
    for (int i = 0; i < CHILDREN; i++) {
        pf_child_report report;
        MUST(pf_run_child(run, i, &report, &fault) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan plan;
    pf_fault fault;
    int ends[2];
    if (size < sizeof plan)
        return -1;
    memcpy(&plan, data, sizeof plan);
    int open_before = fuzz_count_fds();
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    pf_run *run = make_run(&plan, ends[0]);
    int any = memfd_create("any", MFD_CLOEXEC);
    int sent = send_all(ends[1], data + sizeof plan, size - sizeof plan, any);
    close(any);
    close(ends[1]);
    if (plan.end & 2) /* the last word is for pf_run_close() to wait for */
        MUST(pf_run_close(run, &fault) == 0);
    else {
        hear_all(run, sent);
        if (plan.end & 1)
            MUST(pf_run_close(run, &fault) == 0);
        else
            pf_run_forget(run);
    }
    MUST(fuzz_count_fds() == open_before);
    return 0;
}
