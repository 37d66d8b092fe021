/* state.h - the supervisor program's one state, and what its files offer each other. */
#ifndef PF_SUPERVISOR_H
#define PF_SUPERVISOR_H
#include "children/child.h"
#include "protocol/plan.h"
#include "protocol/wire.h"
#include "window/window.h"

/* What a descriptor in the epoll set is; its index, if any, is in the low half of the data. */
enum pf_source {
    PF_SOURCE_SOCKET,
    PF_SOURCE_CLIENT,
    PF_SOURCE_SIGNALS,
    PF_SOURCE_WORKERS,
    PF_SOURCE_DEADLINE,
    PF_SOURCE_LIMIT,
    PF_SOURCE_PEER,
    PF_SOURCE_WAIT,
    PF_SOURCE_CONTROL,
    PF_SOURCE_OUTPUT,
    PF_SOURCE_PARKED,
    PF_SOURCE_EXIT,
    PF_SOURCE_TIMER
};

/* The plan under way. Steps first..end-1 are begun side by side; what is before them is over. */
struct pf_plan {
    struct pf_plan_page *page; /* NULL: there is none */
    struct pf_child **children; /* by step; NULL: the step has none */
    uint32_t first;
    uint32_t end;
    int is_over;
    int has_closed;      /* the window of the step under way */
    int has_failed;      /* the client said so of the step under way */
    int wait_fd;         /* timerfd: the limit of a PF_STEP_WAIT */
    const char *outcome; /* PYFREEZE_OUTCOME, once a child was told */
};

struct pf_supervisor {
    struct pf_page *page;
    struct pf_worker *workers;
    struct pf_window window;
    struct pf_plan plan;

    int epoll_fd;
    int signal_fd;
    struct pf_pool pool;
    struct pf_heritage heritage;

    int client_lives;
    int client_is_backlogged; /* its queue is full */
    int leaving; /* PF_REQUEST_BYE came, or the client died: end what is left, then go */
    int said_bye;
    int notify_fd; /* the plan's peer, -1: none */
    int peer_fd;
};

/* setup.c: from a process just exec'd to one that can serve. */
int pf_setup(struct pf_supervisor *supervisor, pf_fault *fault);
int pf_watch(struct pf_supervisor *supervisor, int fd, enum pf_source source, int index);

/* recover.c: the program's other role, after a supervisor that was lost. Returns the exit status. */
int pf_recover_main(void);

/* plan.c: the steps, one after another. */
int pf_plan_take(struct pf_supervisor *supervisor, int fds[PF_WIRE_MAX_FDS], pf_fault *fault);
/* Begin what is due; to be called until it returns 0: nothing was. */
int pf_plan_advance(struct pf_supervisor *supervisor);
/* The step that waits is told to go on, or that it has failed. */
void pf_plan_proceed(struct pf_supervisor *supervisor, int failed);
/* Give up: thaw, end what may be ended. `facts`: enum pf_fact, of why. */
void pf_plan_abort(struct pf_supervisor *supervisor, uint32_t facts);
void pf_plan_on_window(struct pf_supervisor *supervisor, enum pf_window_event event);
void pf_plan_on_child(struct pf_supervisor *supervisor, uint32_t step, enum pf_child_event event);
void pf_plan_on_wait_limit(struct pf_supervisor *supervisor);
void pf_plan_release(struct pf_supervisor *supervisor);
/* The step whose index an event carries; NULL: it has no child, or the plan has gone. */
struct pf_child *pf_plan_child(const struct pf_supervisor *supervisor, int step);
const char *pf_plan_outcome(struct pf_supervisor *supervisor);

/* peer.c: who is told through descriptors. */
int pf_peer_take(struct pf_supervisor *supervisor, int *notify_fd, int *done_fd, pf_fault *fault);
void pf_peer_notify(struct pf_supervisor *supervisor, const char *word);
void pf_peer_on_answer(struct pf_supervisor *supervisor);
void pf_peer_release(struct pf_supervisor *supervisor);

/* replies.c: what the client is told. */
void pf_reply(struct pf_supervisor *supervisor, enum pf_reply_kind kind, int index,
              const pf_fault *fault);
void pf_reply_descriptor(struct pf_supervisor *supervisor, int index, int fd);

/* children.c: starting them, and letting them go. */
int pf_start_child(struct pf_supervisor *supervisor, uint32_t step, pf_fault *fault);
void pf_release_child(struct pf_supervisor *supervisor, uint32_t step);
void pf_on_child(struct pf_supervisor *supervisor, enum pf_source source, int step);

/* shutdown.c: the end of the run. */
void pf_shutdown_begin(struct pf_supervisor *supervisor);
void pf_on_client_death(struct pf_supervisor *supervisor);
/* Do what is due of leaving; returns whether nothing is left to wait for. */
int pf_shutdown_advance(struct pf_supervisor *supervisor);

/* requests.c: what the client requests. */
void pf_requests_receive(struct pf_supervisor *supervisor);

#endif
