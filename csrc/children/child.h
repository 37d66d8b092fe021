/* child.h - one script or snapshot command of the supervisor, over all its attempts. */
#ifndef PF_CHILD_H
#define PF_CHILD_H
#include <sys/types.h>

#include "children/reaper.h"
#include "protocol/childpage.h"

enum pf_child_stage {
    PF_STAGE_PENDING, /* nothing runs yet */
    PF_STAGE_STARTING, /* forked, right before execve */
    PF_STAGE_RUNNING,
    PF_STAGE_LINGERING, /* succeeded; its reaper watches what it has left running */
    PF_STAGE_ENDING, /* SIGTERM was sent to all that is left */
    PF_STAGE_KILLING, /* SIGKILL was sent, too */
    PF_STAGE_OVER
};

struct pf_child {
    struct pf_child_page *page;
    struct pf_child_words words;
    enum pf_child_stage stage;
    char attempt[PF_EXTRA_BYTES]; /* PYFREEZE_ATTEMPT=n */
    char outcome[PF_EXTRA_BYTES]; /* PYFREEZE_OUTCOME=word */
    pid_t reaper;
    int epoll_fd;   /* in which the caller watches control_fd and output_fd */
    int pid_fd;     /* of a parked child that was let go: readable as soon as it has exited */
    int control_fd; /* the reaper's socket; at its end no process of the tree is left */
    int output_fd;
    int park_fd; /* readable once it is parked */
    int timer_fd;
    uint64_t deadline_ns; /* for all attempts together */
    int parks;
    int is_parked;        /* it has said that it waits right before execve */
    int has_exited;       /* known by pid_fd, before its reaper has reported it */
    int attempt_ended;    /* the child itself has ended; processes of its tree may be left */
};

/* What the supervisor has to do after something has happened to a child. */
enum pf_child_event {
    PF_CHILD_EVENT_NONE,
    PF_CHILD_EVENT_REPORTED, /* it has ended, or cannot be ended: report it */
    PF_CHILD_EVENT_AGAIN     /* its attempt failed and another one is due: pf_child_fork() */
};

/* Prepare a child from its page in the plan; nothing runs yet. `parks`: it will wait right before
 * execve. */
int pf_child_init(struct pf_child *child, struct pf_child_page *page, int parks, pf_fault *fault);
/* Fork the reaper, which forks the next attempt. A child that parks then waits for
 * pf_child_release(). The caller watches control_fd and output_fd. */
int pf_child_fork(struct pf_child *child, const struct pf_heritage *heritage, pf_fault *fault);
/* Read park_fd: the child is parked, or has ended, of which control_fd tells more. */
void pf_child_on_parked(struct pf_child *child);
/* Let a parked child execve, then open pid_fd for the caller to watch: its reaper's report would
 * come later, and in the window that counts. */
void pf_child_release(struct pf_child *child);
void pf_child_on_exit(struct pf_child *child);

enum pf_child_event pf_child_on_control(struct pf_child *child);
enum pf_child_event pf_child_on_timer(struct pf_child *child);
void pf_child_on_output(struct pf_child *child);

/* Whether its end, which is final, is in its page. */
int pf_child_is_reported(const struct pf_child *child);
int pf_child_has_succeeded(const struct pf_child *child);

/* SIGTERM, then after the grace SIGKILL, to all that is left of it. pf_child_on_control() and
 * pf_child_on_timer() return the event. */
enum pf_child_event pf_child_end(struct pf_child *child);
/* Give up a child that cannot be started or watched: its reaper ends it, and its page says that
 * execve failed with `error`. The client may read the page before it is told. */
void pf_child_abandon(struct pf_child *child, int error);
void pf_child_free(struct pf_child *child);

#endif
