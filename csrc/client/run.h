/* run.h - one run as the embedding process holds it. Internal to the client's files. */
#ifndef PF_RUN_H
#define PF_RUN_H
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "protocol/page.h"
#include "protocol/plan.h"

struct pf_run {
    pid_t supervisor;
    char *program; /* the supervisor's */
    int pidfd;
    int socket_fd;
    int directory_fd;
    int lock_fd;
    int page_fd;
    struct pf_page *page;
    int *filesystem_fds; /* the supervisor's, to thaw with when it is lost; by slot, -1: none */
    struct pf_plan_page *plan; /* the last one that was handed over, NULL: none yet */
    pf_event end;              /* that plan's PF_EVENT_ENDED, once it was received */

    uint64_t flush_limit_ns; /* of the plan's window */
    /* It is overdue: how often that was seen, and when last. */
    _Atomic int overdue_looks;
    _Atomic uint64_t overdue_look_ns;

    /* The thread that watches the supervisor while the caller is busy in an open window. */
    pthread_t watchdog;
    int watchdog_runs;
    int watchdog_fd; /* eventfd: stop */
    _Atomic int watchdog_stop;

    int signals_held;
    sigset_t signals_before;

    pthread_mutex_t rescue_lock;
    int lost; /* under rescue_lock: the supervisor is gone, what it froze was seen to */
    int has_ended; /* its last thread too, and no process thaws what it left */
};

struct pf_message;

/* spawn.c: the supervisor's program with `fds` from PF_FD_SOCKET to `end`, by number; -1: none.
 * Returns 0 or an errno value. */
int pf_spawn(const char *program, const struct pf_page *page, const char *role, const int *fds,
             int end, pid_t *pid);

/* What a lost supervisor left, with the descriptors for seeing to it; -1: there is none. */
struct pf_lost {
    const char *program;
    struct pf_page *page;
    int page_fd;
    int owner_fd; /* the supervisor's pidfd, if a thread of it may still be alive */
    int lock_fd;
    int directory_fd;
    const int *fds; /* the filesystems, by slot */
};
/* recover.c: have a process thaw it. 1: that is over; 0: it goes on by itself, `patience_ns` after
 * all its turns must have begun; or -errno: it could not be started. */
int pf_recover_by_process(const struct pf_lost *lost, uint64_t patience_ns);

/* receive.c: the next message. 1: there it is; 0: `until` has passed; -EPIPE: the supervisor is lost,
 * and rescued; -EINTR: a signal handler ran, let in by `mask`. */
int pf_next_message(pf_run *run, uint64_t until, const sigset_t *mask, struct pf_message *message,
                    pf_fault *fault);

/* send.c: a request that needs no more than its kind (enum pf_request_kind). */
int pf_run_request(pf_run *run, int kind, pf_fault *fault);

/* watchdog.c: whether the supervisor does its duty, and what to do when it does not. */
int pf_watchdog_check(struct pf_run *run);
int pf_leader_is_dead(const struct pf_run *run);
/* Until when one may sleep without looking again; UINT64_MAX: nothing is pending. */
uint64_t pf_watchdog_next_look(const struct pf_run *run);
/* Kill the supervisor, if it still lives, and thaw what it froze. Safe from any thread, once. */
void pf_rescue(struct pf_run *run);
int pf_is_lost(struct pf_run *run);
int pf_watchdog_start(struct pf_run *run, pf_fault *fault);
void pf_watchdog_end(struct pf_run *run);
/* Wait until the supervisor's last thread has ended; 0: not within the time. */
int pf_wait_for_death(struct pf_run *run, uint64_t timeout_ns);

#endif
