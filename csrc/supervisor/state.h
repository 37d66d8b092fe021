/* supervisor.h - the supervisor program's one state. */
#ifndef PF_SUPERVISOR_H
#define PF_SUPERVISOR_H
#include "children/child.h"
#include "protocol/wire.h"
#include "window/window.h"

#define PF_MAX_CHILDREN 512

/* What a descriptor in the epoll set is; its index, if any, is in the low half of the data. */
enum pf_source {
    PF_SOURCE_SOCKET,
    PF_SOURCE_CLIENT,
    PF_SOURCE_SIGNALS,
    PF_SOURCE_WORKERS,
    PF_SOURCE_DEADLINE,
    PF_SOURCE_LIMIT,
    PF_SOURCE_PEER,
    PF_SOURCE_CONTROL,
    PF_SOURCE_OUTPUT,
    PF_SOURCE_PARKED,
    PF_SOURCE_EXIT,
    PF_SOURCE_TIMER
};

struct pf_supervisor {
    struct pf_page *page;
    struct pf_worker *workers;
    struct pf_window window;
    struct pf_child *children[PF_MAX_CHILDREN]; /* by the client's numbers; NULL: none */
    int child_count;

    int epoll_fd;
    int signal_fd;
    struct pf_pool pool;
    struct pf_heritage heritage;

    int client_lives;
    int client_is_backlogged; /* its queue is full */
    int leaving;        /* PF_REQUEST_BYE came, or the client died: end what is left, then go */
    int deferred_begun;   /* leaving: the staged children have been started */
    int said_bye;
    int snapshot_child; /* let go when frozen, -1: none */
    int notify_fd;      /* the window's peer, -1: none */
    int peer_fd;
};

static inline struct pf_child *pf_child_at(struct pf_supervisor *supervisor, int index)
{
    return index >= 0 && index < supervisor->child_count ? supervisor->children[index] : NULL;
}

/* setup.c: from a process just exec'd to one that can serve. */
int pf_setup(struct pf_supervisor *supervisor, pf_fault *fault);
int pf_watch(struct pf_supervisor *supervisor, int fd, enum pf_source source, int index);

/* successor.c: the program's other role, after a supervisor that was lost. Returns the exit status. */
int pf_successor_run(void);

/* peer.c: the snapshot taker who is told through descriptors. */
int pf_peer_take(struct pf_supervisor *supervisor, int fds[PF_WIRE_MAX_FDS], pf_fault *fault);
void pf_peer_notify(struct pf_supervisor *supervisor);
void pf_peer_on_answer(struct pf_supervisor *supervisor);
void pf_peer_release(struct pf_supervisor *supervisor);

/* tell.c: what the client is told. */
void pf_reply(struct pf_supervisor *supervisor, enum pf_reply_kind kind, int index,
              const pf_fault *fault);
void pf_reply_closed(struct pf_supervisor *supervisor);
void pf_reply_descriptor(struct pf_supervisor *supervisor, int index, int fd);

/* lifecycle.c: children and the end of the run. */
int pf_start_child(struct pf_supervisor *supervisor, int index, pf_fault *fault);
void pf_on_child_event(struct pf_supervisor *supervisor, int index, enum pf_child_event event);
void pf_on_client_death(struct pf_supervisor *supervisor);
void pf_shutdown_begin(struct pf_supervisor *supervisor);
/* Does what is due of leaving; returns whether nothing is left to wait for. */
int pf_shutdown_advance(struct pf_supervisor *supervisor);

/* requests.c: what the client asks. */
void pf_requests_receive(struct pf_supervisor *supervisor);

#endif
