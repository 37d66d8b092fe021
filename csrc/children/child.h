/* child.h - the supervisor's view of one script or snapshot command, over all its attempts. */
#ifndef PF_CHILD_H
#define PF_CHILD_H
#include <sys/types.h>

#include "children/reaper.h"
#include "protocol/childpage.h"

enum pf_child_stage {
    PF_STAGE_PENDING, /* nothing runs yet */
    PF_STAGE_STARTING,  /* forked, right before execve */
    PF_STAGE_RUNNING,
    PF_STAGE_LINGERING,    /* succeeded; its reaper minds what it left running */
    PF_STAGE_ENDING,  /* SIGTERM is sent to all that is left */
    PF_STAGE_KILLING, /* SIGKILL too */
    PF_STAGE_OVER
};

struct pf_child {
    struct pf_child_page *page;
    struct pf_child_words words;
    enum pf_child_stage stage;
    char attempt[PF_EXTRA_BYTES]; /* PYFREEZE_ATTEMPT=n */
    char outcome[PF_EXTRA_BYTES]; /* PYFREEZE_OUTCOME=word */
    pid_t reaper;
    int epoll_fd;   /* where the caller watches control_fd and output_fd */
    int pid_fd;     /* of a parked child that was let go: readable as soon as it has exited */
    int control_fd; /* of the reaper; its end means that nothing of the tree is left */
    int output_fd;
    int park_fd; /* readable once it is parked */
    int timer_fd;
    uint64_t deadline_ns; /* for all attempts together */
    int parks;
    int is_parked;        /* parked, right before execve: it said so */
    int has_exited;       /* seen by pid_fd, before its reaper could tell */
    int attempt_ended;    /* the child itself has ended; something of its tree may be left */
};

/* What a step of a child's life means to the rest of the supervisor. */
enum pf_child_event {
    PF_CHILD_EVENT_NONE,
    PF_CHILD_EVENT_REPORTED, /* it is over, or as good as: tell the client */
    PF_CHILD_EVENT_AGAIN     /* its attempt failed and another one is due: pf_child_fork() */
};

/* Of a page in the plan; `parks`: it is forked to wait right before execve. Nothing runs yet. */
int pf_child_init(struct pf_child *child, struct pf_child_page *page, int parks, pf_fault *fault);
/* Fork the reaper and the next attempt; one that parks then waits for pf_child_release(). The caller
 * watches control_fd and output_fd. */
int pf_child_fork(struct pf_child *child, const struct pf_heritage *heritage, pf_fault *fault);
/* What its park_fd has to tell: that it is waiting, or that it is gone; then control_fd tells. */
void pf_child_on_parked(struct pf_child *child);
/* Let a parked child execve, then open pid_fd for the caller to watch: inside the window its
 * reaper's word would be one hop too many. */
void pf_child_release(struct pf_child *child);
void pf_child_on_exit(struct pf_child *child);

enum pf_child_event pf_child_on_control(struct pf_child *child);
enum pf_child_event pf_child_on_timer(struct pf_child *child);
void pf_child_on_output(struct pf_child *child);

/* SIGTERM, grace, SIGKILL to what is left of it; event comes from on_control and on_timer. */
enum pf_child_event pf_child_end(struct pf_child *child);
/* It cannot be started or watched: its reaper ends it, and here it is over, as one whose execve
 * failed. The page itself says so: the client may look there before it hears of it. */
void pf_child_abandon(struct pf_child *child, int error);
void pf_child_free(struct pf_child *child);

#endif
