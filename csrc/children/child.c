#define _GNU_SOURCE
#include "children/child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/timer.h"
#include "base/util.h"
#include "protocol/limits.h"

#define READ_BYTES 65536
/* One pass of the loop reads at most this often from one child, so that none keeps the loop busy. */
#define READS_PER_PASS 4
#define FURTHER_FORKS 10

int pf_child_init(struct pf_child *child, struct pf_child_page *page, int parks, pf_fault *fault)
{
    *child = (struct pf_child){.page = page,
                               .parks = parks,
                               .reaper = -1,
                               .epoll_fd = -1,
                               .pid_fd = -1,
                               .control_fd = -1,
                               .output_fd = -1,
                               .park_fd = -1};
    child->timer_fd = pf_timer_create();
    if (child->timer_fd < 0)
        return pf_fail_errno(fault, PF_OP_PLAN);
    char *const extras[PF_EXTRA_MAX] = {page->flags & PF_CHILD_NUMBERED ? child->attempt : NULL,
                                        page->flags & PF_CHILD_OUTCOME ? child->outcome : NULL};
    return pf_child_page_words(page, extras, &child->words, fault);
}

/* A reaper has copies of our descriptors, so closing ours does not take them out of the epoll set:
 * there the end of the child's output would be told for as long as the reaper lives. */
static void stop_watching(struct pf_child *child, int *fd)
{
    if (*fd >= 0)
        epoll_ctl(child->epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
    pf_close_fd(fd);
}

static void let_go(struct pf_child *child)
{
    stop_watching(child, &child->control_fd);
    stop_watching(child, &child->output_fd);
    stop_watching(child, &child->pid_fd);
    stop_watching(child, &child->park_fd);
}

static void begin(struct pf_child *child)
{
    child->stage = PF_STAGE_RUNNING;
    if (child->deadline_ns == 0) { /* else it is a further attempt: they share one deadline */
        child->page->start_ns = pf_now_ns();
        child->deadline_ns = pf_add_ns(child->page->start_ns, child->page->timeout_ns);
    }
    atomic_store(&child->page->state, PF_CHILD_RUNNING);
}

int pf_child_fork(struct pf_child *child, const struct pf_heritage *heritage, pf_fault *fault)
{
    int control[2] = {-1, -1}, output[2] = {-1, -1}, park[2] = {-1, -1};
    int failed = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 ||
                 pipe2(output, O_CLOEXEC) < 0 ||
                 (child->parks && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, park) < 0) ||
                 fcntl(output[0], F_SETFL, O_NONBLOCK) < 0;

    child->attempt_ended = child->has_exited = child->is_parked = 0;
    child->page->attempts++;
    atomic_store(&child->page->exec_error, 0);
    snprintf(child->attempt, sizeof child->attempt, "PYFREEZE_ATTEMPT=%u", child->page->attempts);
    if (!failed) {
        /* EAGAIN: pids.max or RLIMIT_NPROC, maybe for a moment. What a pre-script has quiesced waits
         * for its post-script; nothing is frozen yet, or any more. */
        for (int i = 0; (child->reaper = fork()) < 0 && errno == EAGAIN && i < FURTHER_FORKS; i++)
            nanosleep(&(struct timespec){.tv_nsec = 20 * PF_NS_PER_MS}, NULL);
        if (child->reaper == 0) {
            struct pf_reaper reaper = {.words = &child->words,
                                       .page = child->page,
                                       .control_fd = control[1],
                                       .output_fd = output[1],
                                       .drain_fd = output[0],
                                       .park_fd = park[0],
                                       .heritage = *heritage};
            pf_reaper_run(&reaper);
        }
        failed = child->reaper < 0;
    }
    int error = failed ? errno : 0;
    pf_close_fd(&control[1]);
    pf_close_fd(&output[1]);
    pf_close_fd(&park[0]);
    if (failed) {
        pf_close_fd(&control[0]);
        pf_close_fd(&output[0]);
        pf_close_fd(&park[1]);
        return pf_fail(fault, PF_OP_CHILD_FORK, error);
    }
    child->control_fd = control[0];
    child->output_fd = output[0];
    child->park_fd = park[1];
    child->stage = PF_STAGE_STARTING;
    if (!child->parks) {
        begin(child);
        pf_timer_arm(child->timer_fd, child->deadline_ns);
    }
    return 0;
}

void pf_child_on_parked(struct pf_child *child)
{
    char word;
    if (child->park_fd < 0)
        return;
    /* If it is gone, its reaper is about to say so. */
    child->is_parked = PF_RETRY(recv(child->park_fd, &word, 1, MSG_DONTWAIT)) == 1;
    epoll_ctl(child->epoll_fd, EPOLL_CTL_DEL, child->park_fd, NULL);
}

void pf_child_release(struct pf_child *child)
{
    char go = 1;
    begin(child);
    /* The end of the socket that follows tells a child that did not get its byte to exit, with status
     * 0: it must not count as one that ran. EPIPE is a child that is gone, SIGPIPE is blocked. */
    if (PF_RETRY(write(child->park_fd, &go, 1)) < 0)
        atomic_store(&child->page->exec_error, errno);
    pf_close_fd(&child->park_fd);
    pf_timer_arm(child->timer_fd, child->deadline_ns);
    /* Without it, the reaper's report ends the window: as when the child was reaped already. */
    child->pid_fd = (int)syscall(SYS_pidfd_open, child->page->pid, 0);
}

void pf_child_on_exit(struct pf_child *child)
{
    if (child->pid_fd < 0)
        return;
    stop_watching(child, &child->pid_fd);
    child->has_exited = 1;
    child->page->end_ns = pf_now_ns();
}

void pf_child_on_output(struct pf_child *child)
{
    static char buffer[READ_BYTES]; /* one loop, one thread */
    for (int i = 0; i < READS_PER_PASS && child->output_fd >= 0; i++) {
        ssize_t length = PF_RETRY(read(child->output_fd, buffer, sizeof buffer));
        if (length > 0)
            pf_child_page_append(child->page, buffer, (uint32_t)length);
        else if (length == 0 || errno != EAGAIN)
            stop_watching(child, &child->output_fd);
        else
            return;
    }
}

static void command_reaper(struct pf_child *child, enum pf_reaper_command command)
{
    char byte = (char)command;
    /* A reaper that is gone has left nothing to end. */
    if (child->control_fd >= 0)
        (void)!PF_RETRY(send(child->control_fd, &byte, 1, MSG_NOSIGNAL));
}

int pf_child_has_succeeded(const struct pf_child *child)
{
    return child->attempt_ended && child->page->wait_status == 0 && !child->page->timed_out &&
           !child->page->ended_early && atomic_load(&child->page->exec_error) == 0;
}

static enum pf_child_event report(struct pf_child *child)
{
    if (atomic_exchange(&child->page->state, PF_CHILD_ENDED) == PF_CHILD_ENDED)
        return PF_CHILD_EVENT_NONE; /* a success that was told before its remains ended */
    return PF_CHILD_EVENT_REPORTED;
}

int pf_child_is_reported(const struct pf_child *child)
{
    return atomic_load(&child->page->state) == PF_CHILD_ENDED;
}

static enum pf_child_event end_tree(struct pf_child *child)
{
    child->stage = PF_STAGE_ENDING;
    command_reaper(child, PF_REAPER_TERMINATE);
    pf_timer_arm(child->timer_fd, pf_add_ns(pf_now_ns(), child->page->grace_ns));
    return PF_CHILD_EVENT_NONE;
}

/* The child itself has ended; its tree may not have. */
static enum pf_child_event on_attempt_end(struct pf_child *child,
                                          const struct pf_reaper_report *end)
{
    pf_child_on_output(child);
    child->attempt_ended = 1;
    child->page->wait_status = end->wait_status;
    if (!child->has_exited)
        child->page->end_ns = end->ended_ns;
    if (child->stage == PF_STAGE_STARTING) { /* it has said why, unless somebody killed it */
        int32_t none = 0;
        atomic_compare_exchange_strong(&child->page->exec_error, &none, ESRCH);
    }
    if (child->stage != PF_STAGE_RUNNING)
        return PF_CHILD_EVENT_NONE;
    pf_timer_disarm(child->timer_fd);
    if (!pf_child_has_succeeded(child))
        return end_tree(child);
    child->stage = PF_STAGE_LINGERING;
    if (child->page->flags & PF_CHILD_LEAVE)
        command_reaper(child, PF_REAPER_LEAVE);
    return report(child);
}

static int has_attempts_left(const struct pf_child *child)
{
    const struct pf_child_page *page = child->page;
    return !pf_child_is_reported(child) && !child->parks &&
           page->attempts < page->attempts_allowed && !page->ended_early;
}

/* Nothing of the attempt is left, or its reaper was killed by somebody. */
static enum pf_child_event on_tree_end(struct pf_child *child)
{
    pf_child_on_output(child); /* more than a pipe holds, so this is the rest */
    let_go(child);
    pf_timer_disarm(child->timer_fd);
    if (!child->attempt_ended) { /* somebody killed the reaper */
        if (child->page->pid > 0)
            kill(-child->page->pid, SIGKILL);
        child->attempt_ended = 1;
        child->page->wait_status = SIGKILL;
        child->page->end_ns = pf_now_ns();
    }
    if (has_attempts_left(child)) {
        /* Attempts share one deadline: what is left of a failed one may have used it up. */
        child->page->timed_out |= pf_now_ns() >= child->deadline_ns;
        if (!child->page->timed_out)
            return PF_CHILD_EVENT_AGAIN;
    }
    child->stage = PF_STAGE_OVER;
    return report(child);
}

enum pf_child_event pf_child_on_control(struct pf_child *child)
{
    struct pf_reaper_report end;
    ssize_t length = PF_RETRY(recv(child->control_fd, &end, sizeof end, MSG_DONTWAIT));
    if (length == sizeof end)
        return on_attempt_end(child, &end);
    if (length < 0 && errno == EAGAIN)
        return PF_CHILD_EVENT_NONE;
    return on_tree_end(child);
}

enum pf_child_event pf_child_on_timer(struct pf_child *child)
{
    if (!pf_timer_take(child->timer_fd))
        return PF_CHILD_EVENT_NONE;
    switch (child->stage) {
    case PF_STAGE_RUNNING:
        if (child->has_exited) /* in time: its reaper is about to say so */
            return PF_CHILD_EVENT_NONE;
        child->page->timed_out = 1;
        return end_tree(child);
    case PF_STAGE_ENDING:
        child->stage = PF_STAGE_KILLING;
        command_reaper(child, PF_REAPER_KILL);
        pf_timer_arm(child->timer_fd, pf_now_ns() + PF_KILL_LIMIT_NS);
        return PF_CHILD_EVENT_NONE;
    case PF_STAGE_KILLING:
        /* The reaper goes on alone: its socket ends here, and it sweeps until nothing is left. */
        child->page->unkillable = 1;
        let_go(child);
        child->stage = PF_STAGE_OVER;
        return report(child);
    case PF_STAGE_PENDING:
    case PF_STAGE_STARTING:
    case PF_STAGE_LINGERING:
    case PF_STAGE_OVER:
        break;
    }
    return PF_CHILD_EVENT_NONE;
}

enum pf_child_event pf_child_end(struct pf_child *child)
{
    switch (child->stage) {
    case PF_STAGE_STARTING:
        /* It reads the end of its socket and exits without having run anything. */
        child->page->ended_early |= !child->attempt_ended; /* it may have died by itself */
        stop_watching(child, &child->park_fd);
        return end_tree(child);
    case PF_STAGE_RUNNING:
        if (child->has_exited) /* the same */
            return PF_CHILD_EVENT_NONE;
        child->page->ended_early = 1;
        return end_tree(child);
    case PF_STAGE_LINGERING: /* a success all the same: only what it left is ended */
        return end_tree(child);
    case PF_STAGE_PENDING:
    case PF_STAGE_ENDING:
    case PF_STAGE_KILLING:
    case PF_STAGE_OVER:
        break;
    }
    return PF_CHILD_EVENT_NONE;
}

void pf_child_abandon(struct pf_child *child, int error)
{
    let_go(child); /* the reaper takes it for our death, and kills */
    if (!pf_child_is_reported(child)) {
        atomic_store(&child->page->exec_error, error);
        child->page->wait_status = 126 << 8;
    }
    pf_timer_disarm(child->timer_fd);
    child->stage = PF_STAGE_OVER;
    report(child);
}

void pf_child_free(struct pf_child *child)
{
    let_go(child);
    pf_close_fd(&child->timer_fd);
    free(child->words.argv);
}
