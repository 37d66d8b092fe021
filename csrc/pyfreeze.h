/* pyfreeze.h - what the embedding process sees of the C core.
 *
 * This is the only header that cffi reads: csrc/build_native.py strips the preprocessor lines and
 * hands it the rest, so the two cannot drift. Keep it to plain declarations.
 *
 * Every function returns >= 0, or -errno with the caller's pf_fault filled in. All times are
 * nanoseconds of CLOCK_MONOTONIC; all durations are nanoseconds.
 */
#ifndef PYFREEZE_H
#define PYFREEZE_H
#include <stdint.h>

/* The operation that failed. pf_op_text() says it in words; the object (a path, a mount) is the
 * caller's to add, by the fault's index. */
enum pf_op {
    PF_OP_NONE,
    PF_OP_DIRECTORY,   /* create and open the state directory */
    PF_OP_LOCK,        /* take the lock: EWOULDBLOCK is another run */
    PF_OP_PAGE,        /* create, size, map the state page */
    PF_OP_PAGE_READ,   /* a state page that a dead run left */
    PF_OP_PIDFD,       /* pidfd_open */
    PF_OP_SOCKET,      /* socketpair */
    PF_OP_SPAWN,       /* posix_spawn of the supervisor */
    PF_OP_READY,       /* the supervisor ended before it was ready */
    PF_OP_SETUP,       /* the supervisor's own descriptors, threads, memory */
    PF_OP_SEND,        /* a message to the supervisor */
    PF_OP_RECEIVE,     /* a message from the supervisor */
    PF_OP_OPEN,        /* open a mount point */
    PF_OP_VERIFY,      /* the descriptor is not the mount that was chosen */
    PF_OP_FLUSH,       /* syncfs */
    PF_OP_FREEZE,      /* FIFREEZE */
    PF_OP_THAW,        /* FITHAW */
    PF_OP_PLAN,        /* the plan, and the memory shared about it */
    PF_OP_CHILD_FORK,  /* pipes and processes of one child */
    PF_OP_SEQUENCE,    /* a request that does not fit the state */
    PF_OP_WATCHDOG,    /* the client's watchdog thread */
    PF_OP_RCU,         /* putting rcu_expedited back */
    PF_OP_COUNT
};

typedef struct {
    int op;  /* enum pf_op */
    int index; /* the filesystem or child it concerns, -1: none */
    int error; /* errno */
} pf_fault;

const char *pf_op_text(int op);

/* What a filesystem is doing, as its slot of the state page says. */
enum pf_state {
    PF_STATE_CHOSEN,
    PF_STATE_OPEN,
    PF_STATE_FREEZING, /* FIFREEZE entered and not returned: may become frozen any moment */
    PF_STATE_FROZEN,
    PF_STATE_THAWING,
    PF_STATE_THAWED,
    PF_STATE_FAILED,       /* never frozen by this run */
    PF_STATE_FOREIGN_THAW, /* FITHAW found it not frozen: somebody else had thawed it */
    PF_STATE_STUCK         /* FITHAW failed for good: may still be frozen */
};

/* What became of a window. */
enum pf_verdict {
    PF_VERDICT_NONE,
    PF_VERDICT_GOOD,           /* frozen together from before the snapshot until after it */
    PF_VERDICT_FREEZE_FAILED,  /* FIFREEZE or its flush failed; the fault tells */
    PF_VERDICT_FREEZE_TIMEOUT, /* freezing took longer than allowed */
    PF_VERDICT_EXPIRED,        /* the deadline passed before the snapshot ended */
    PF_VERDICT_ABORTED,        /* a signal or the client asked to thaw at once */
    PF_VERDICT_BROKEN,         /* a foreign thaw inside, or a thaw that failed */
    PF_VERDICT_RESCUED         /* the supervisor was lost; the client thawed */
};

typedef struct {
    const char *mount; /* absolute path, as in mountinfo */
    uint64_t mount_id; /* of mountinfo; statx must report the same */
    uint32_t device_major;
    uint32_t device_minor;
    uint32_t level; /* 0 is frozen first and thawed last */
} pf_target;

/* What is measured of one filesystem, each figure in 8 bytes, 0: it did not come to that. Slots,
 * pf_filesystem and FilesystemTimes (pyfreeze/_model/timeline.py) have all of them. */
typedef struct {
    uint64_t flush_rounds;
    uint64_t flush_ns; /* the time spent in syncfs, all rounds */
    uint64_t freeze_enter_ns;
    uint64_t freeze_return_ns;
    uint64_t thaw_enter_ns;
    uint64_t thaw_return_ns;
} pf_figures;

typedef struct {
    const char *mount;
    uint64_t mount_id;
    uint32_t device_major;
    uint32_t device_minor;
    uint32_t level;
    int state; /* enum pf_state */
    int error; /* errno of what failed last, 0 */
    int op;  /* enum pf_op that it belongs to */
    pf_figures figures;
} pf_filesystem;

/* ---- one run: the client's side of one supervisor ------------------------------------------- */

typedef struct pf_run pf_run;

typedef struct {
    const char *program;   /* the supervisor */
    const char *directory; /* the state directory, absolute */
    const char *run_id;    /* at most 39 characters; names the state page */
    const pf_target *targets;
    uint32_t target_count;
    uint32_t unlocked; /* go without the lock: for a run without filesystems, beside a lost one */
} pf_start_options;

/* Take the lock, make the state page, start the supervisor and wait until it is ready. */
int pf_run_start(pf_run **out, const pf_start_options *options, pf_fault *fault);

/* The state directory's lock alone, for recovery. Returns a descriptor; closing it unlocks. */
int pf_lock(const char *directory, pf_fault *fault);

enum pf_event_kind {
    PF_EVENT_TIMEOUT,     /* nothing came in time */
    PF_EVENT_INTERRUPTED, /* a signal handler ran */
    PF_EVENT_STEP,        /* a step has begun or ended: index. Only if the plan asks for it */
    PF_EVENT_WAITING, /* a step waits for pf_run_request_proceed(): index. A window is frozen */
    PF_EVENT_ENDED, /* the plan is over, or the fault says why it was refused. Told until the next */
    PF_EVENT_LOST /* the supervisor died or was unresponsive and was killed; what it froze is
                     thawed */
};

typedef struct {
    int kind; /* enum pf_event_kind */
    int index; /* of the step */
    pf_fault fault;
} pf_event;

/* Block the calling thread's signals, and let them in again. Between the two, pf_run_next() lets in
 * what was not blocked before, but only while it waits: a caller that holds them, looks at its flags
 * and then calls misses none. */
void pf_run_hold_signals(pf_run *run);
void pf_run_release_signals(pf_run *run);

/* Wait for the next event; timeout_ns < 0: for ever. */
int pf_run_next(pf_run *run, int64_t timeout_ns, pf_event *event, pf_fault *fault);

/* ---- the plan: what a supervisor is to do, decided beforehand ---------------------------------- */

typedef struct {
    uint32_t rounds; /* at most this many rounds of syncfs, 0: none */
    uint64_t spend_ns; /* begin no further round after this */
    uint64_t limit_ns; /* a round that has not ended by then fails the flush */
} pf_flush_options;

enum pf_window_flag {
    PF_WINDOW_EXPEDITE = 1, /* raise rcu_expedited around the FIFREEZEs */
    /* SCHED_FIFO for the supervisor's threads meanwhile, if they would have to share processors. */
    PF_WINDOW_REALTIME = 2,
    PF_WINDOW_PARALLEL = 4, /* freeze, and thaw, all filesystems of a level at once */
    PF_WINDOW_CPU_LATENCY = 8 /* no idle states for the processors meanwhile (PM QoS) */
};

typedef struct {
    pf_flush_options flush; /* right before the freeze */
    uint64_t max_window_ns; /* from the first FIFREEZE's entry */
    uint64_t freeze_timeout_ns; /* for all FIFREEZEs together */
    uint32_t flags; /* enum pf_window_flag */
    uint32_t reserved;
} pf_window_options;

enum pf_child_flag {
    PF_CHILD_NUMBERED = 1, /* add PYFREEZE_ATTEMPT to its environment */
    PF_CHILD_OUTCOME = 2, /* add PYFREEZE_OUTCOME: what became of the snapshot */
    PF_CHILD_LEAVE = 4, /* what a success leaves running is never ended (a started service) */
    PF_CHILD_UMASK_077 = 8, /* else the client's umask */
    PF_CHILD_OUTLIVE = 16 /* neither an abort nor the end of the client or of the run ends it */
};

typedef struct {
    const char *path; /* execve's first argument */
    const char *const *argv; /* NULL-terminated */
    const char *const *envp; /* NULL-terminated */
    const char *directory; /* working directory */
    uint32_t flags; /* enum pf_child_flag */
    uint32_t attempts; /* run again after a failure, up to this many in all */
    uint64_t timeout_ns; /* over all attempts, from its start or release */
    uint64_t grace_ns; /* between SIGTERM and SIGKILL */
    uint32_t output_bytes; /* at most this much of its output is kept: the end */
} pf_child_options;

enum pf_step_kind {
    PF_STEP_OPEN = 1, /* open and verify every filesystem */
    PF_STEP_FLUSH, /* syncfs, as `window.flush` says */
    PF_STEP_CHILD, /* run `child` */
    /* Flush, freeze, let `child` go, and thaw when it has ended. Without a child it thaws when it is
     * told to proceed. */
    PF_STEP_WINDOW,
    PF_STEP_WAIT /* until told to proceed, for `window.max_window_ns` at most; 0: without a limit */
};

enum pf_step_flag {
    PF_STEP_SNAPSHOT = 1, /* it takes the snapshot: PYFREEZE_OUTCOME tells of it */
    /* A window holds its parked child until it is told to proceed. Without a child it always waits. */
    PF_STEP_HOLD = 2,
    PF_STEP_PEER = 4 /* the plan's descriptors tell that it waits, and to proceed */
};

/* What is known of a plan while it is carried out. A step's failure adds to it; a step is skipped by
 * it. Bits from PF_FACT_FIRST_FREE on are the client's to give a meaning. */
enum pf_fact {
    PF_FACT_ABORTED = 1, /* pf_run_request_abort(), or the client's or the run's end */
    PF_FACT_INTERRUPTED = 2, /* pf_run_request_abort() before the snapshot had ended */
    PF_FACT_ABANDONED = 4, /* the client, or the run, ended before the plan */
    PF_FACT_FIRST_FREE = 16
};

typedef struct {
    int kind; /* enum pf_step_kind */
    uint32_t flags; /* enum pf_step_flag */
    uint32_t group; /* neighbours with the same number but 0, all children, run side by side */
    uint32_t skip_if; /* it is skipped if any of these facts holds */
    uint32_t only_if; /* and unless any of these does; 0: whatever holds */
    uint32_t
        on_failure; /* what holds after it has failed; of a window: after freezing has failed */
    int after; /* it is skipped unless that step was begun, -1: whatever was */
    const pf_child_options *child;
    pf_window_options window;
} pf_step_options;

typedef struct {
    const pf_step_options *steps;
    uint32_t count;
    /* The peer: written "frozen\n" or, of a PF_STEP_WAIT, "unfrozen\n"; proceed when the other one
     * becomes readable. Both or neither, which is -1. */
    int notify_fd;
    int done_fd;
    uint32_t tells_steps; /* PF_EVENT_STEP is wanted */
} pf_plan_options;

/* Hand over the whole plan. PF_EVENT_ENDED tells that it is over; another one may follow then. */
int pf_run_request_plan(pf_run *run, const pf_plan_options *options, pf_fault *fault);
/* To the step that waits: go on, thaw, or let the held child go. With `failed` the step has failed; a
 * held child is not let go, and its window's verdict becomes PF_VERDICT_ABORTED. */
int pf_run_request_proceed(pf_run *run, int failed, pf_fault *fault);
/* Thaw at once, end what runs, skip what the plan says; the plan still runs to its end. */
int pf_run_request_abort(pf_run *run, pf_fault *fault);

/* ---- the journal: what became of each step, at any time ----------------------------------------- */

enum pf_step_status {
    PF_STATUS_PENDING,
    PF_STATUS_RUNNING,
    PF_STATUS_DONE,
    PF_STATUS_FAILED,
    PF_STATUS_SKIPPED
};

typedef struct {
    int kind; /* enum pf_step_kind */
    uint32_t flags; /* enum pf_step_flag */
    uint32_t group;
    int status; /* enum pf_step_status */
    int verdict; /* of a window */
    pf_fault fault;
    uint64_t begin_ns;
    uint64_t snapshot_ns; /* when its child was let go, or its waiting was told; 0: never */
    uint64_t end_ns;
} pf_step_report;

enum pf_child_state {
    PF_CHILD_PENDING, /* not started, or parked */
    PF_CHILD_RUNNING,
    PF_CHILD_ENDED
};

typedef struct {
    int state; /* enum pf_child_state */
    int pid;
    uint32_t attempts; /* how often it was started */
    int wait_status; /* as waitpid gives it */
    int exec_error; /* errno of execve or of what comes before it, 0 */
    int timed_out; /* its deadline passed */
    int ended_early; /* an abort, or the end of its window or of the client, ended it */
    int unkillable; /* something of it is still there after SIGKILL */
    uint64_t start_ns; /* of the first attempt's start, or its release */
    uint64_t end_ns; /* when its end was noticed */
    uint64_t output_total; /* bytes it has written; more than is kept: the head is gone */
} pf_child_report;

int pf_run_step(pf_run *run, uint32_t step, pf_step_report *report, pf_fault *fault);
int pf_run_child(pf_run *run, uint32_t step, pf_child_report *report, pf_fault *fault);
/* The kept output, oldest byte first; returns how many bytes were copied. */
int pf_run_child_output(pf_run *run, uint32_t step, char *buffer, uint32_t size, pf_fault *fault);
/* What holds of the plan: enum pf_fact, and the client's own. */
uint32_t pf_run_facts(pf_run *run);

int pf_run_filesystem(pf_run *run, uint32_t index, pf_filesystem *out, pf_fault *fault);

/* End the run: what scripts left is ended, the supervisor exits, page and lock go. Returns how many
 * filesystems may still be frozen or hang in FIFREEZE; their page stays. Frees the run; its handle is NULL
 * then. A NULL handle is left alone; in a forked child it only frees. */
int pf_run_close(pf_run **handle);

/* ---- the black box of a state page: what a run did, and when ----------------------------------- */

enum pf_transition_kind {
    PF_TRANSITION_NONE,
    /* index: a filesystem, which came to this enum pf_state, in its order; value: errno */
    PF_TRANSITION_CHOSEN,
    PF_TRANSITION_OPEN,
    PF_TRANSITION_FREEZING,
    PF_TRANSITION_FROZEN,
    PF_TRANSITION_THAWING,
    PF_TRANSITION_THAWED,
    PF_TRANSITION_FAILED,
    PF_TRANSITION_FOREIGN_THAW,
    PF_TRANSITION_STUCK,
    PF_TRANSITION_GIVEN_UP, /* index: a filesystem whose system call hangs; value: errno */
    /* The window came to this enum pf_window_stage, in its order; value: enum pf_verdict so far */
    PF_TRANSITION_WINDOW_IDLE,
    PF_TRANSITION_WINDOW_OPENING,
    PF_TRANSITION_WINDOW_FLUSHING,
    PF_TRANSITION_WINDOW_AWAITING,
    PF_TRANSITION_WINDOW_FREEZING,
    PF_TRANSITION_WINDOW_OPEN,
    PF_TRANSITION_WINDOW_THAWING,
    PF_TRANSITION_WINDOW_SETTLING,
    PF_TRANSITION_DEADLINE, /* the window's has passed */
    PF_TRANSITION_LIMIT, /* the time for the window's stage has passed */
    PF_TRANSITION_STEP_BEGUN, /* index: a step, also below; value: enum pf_step_kind */
    PF_TRANSITION_STEP_ENDED, /* value: enum pf_step_status */
    PF_TRANSITION_CHILD_FORKED, /* value: its attempt */
    PF_TRANSITION_CHILD_PARKED,
    PF_TRANSITION_CHILD_RELEASED,
    PF_TRANSITION_CHILD_EXITED,
    PF_TRANSITION_CHILD_ENDED, /* nothing is left to wait for; value: wait status */
    PF_TRANSITION_CHILD_FAILED, /* it could not be started; value: errno */
    PF_TRANSITION_READY, /* the supervisor; value: its process id */
    PF_TRANSITION_REQUEST, /* value: enum pf_request_kind */
    PF_TRANSITION_SIGNAL, /* to the supervisor; value: its number */
    PF_TRANSITION_CLIENT_LOST, /* seen by the supervisor */
    PF_TRANSITION_LEAVING, /* the supervisor ends what is left, and then itself */
    PF_TRANSITION_RESCUE, /* the client has found the supervisor dead or unresponsive */
    PF_TRANSITION_DEAD, /* the supervisor's last thread has ended */
    PF_TRANSITION_RECOVER, /* a process thaws what a lost supervisor left; value: its id */
    PF_TRANSITION_RECOVERED, /* value: how many filesystems may still be frozen */
    PF_TRANSITION_COUNT
};

typedef struct {
    uint64_t number; /* from 1 on; one that is missing was overwritten, or never quite written */
    uint64_t ns;
    int kind; /* enum pf_transition_kind */
    int index; /* -1: none */
    int value;
} pf_transition;

/* The oldest transition that is kept and comes after number `after`, 0: of all. 1: there it is, 0:
 * there is none. */
int pf_run_transition(pf_run *run, uint64_t after, pf_transition *out);

/* ---- other runs' pages: of dead ones to clear up, of live ones to look at -------------------- */

typedef struct pf_record pf_record;

typedef struct {
    char run_id[40];
    int client_pid;
    int supervisor_pid;
    int same_boot; /* 0: from before the last boot, nothing of it can be frozen */
    uint32_t count;
    uint64_t deadline_ns; /* of the window it was in, 0: none */
    uint64_t thawed_limit_ns; /* what its supervisor is given from there until all is thawed */
} pf_record_header;

/* With `look_only`, at a live run's too: mapped for reading, and no lock is touched. What changes
 * something of such a record is EROFS. */
int pf_record_open(pf_record **record, const char *path, int look_only, pf_record_header *header,
                   pf_fault *fault);
int pf_record_read(pf_record *record, uint32_t index, pf_filesystem *out, pf_fault *fault);
/* The steps of its plan, from the journal beside the page: how many, and one of them. */
uint32_t pf_record_step_count(const pf_record *record);
int pf_record_step(pf_record *record, uint32_t step, pf_step_report *report, pf_fault *fault);
/* What a step's child executes, and what became of it. -ENOENT: the step has none. */
int pf_record_child(pf_record *record, uint32_t step, const char **path, pf_child_report *report,
                    pf_fault *fault);
int pf_record_transition(pf_record *record, uint64_t after, pf_transition *out);

typedef struct {
    uint32_t index; /* of a filesystem that may be frozen */
    const char *mount; /* a mount of it, which must have this id */
    uint64_t mount_id;
    pf_fault fault; /* out: it could not be opened */
} pf_candidate;

typedef struct {
    const char *program; /* the supervisor */
    const char *directory; /* the state directory, whose lock is held by `lock_fd` */
    int lock_fd;
    pf_candidate *candidates;
    uint32_t count;
} pf_recover_options;

/* Thaw these filesystems of a dead run, put rcu_expedited back, and remove the page if nothing of it
 * may be frozen any more. A process of its own does it, and goes on with what hangs, holding the lock.
 * What became of each filesystem is in its slot. */
int pf_record_recover(pf_record *record, const pf_recover_options *options, pf_fault *fault);
void pf_record_close(pf_record *record);

/* FITHAW a mount that must have that id, also if it was frozen by another program. 1: it was frozen,
 * 0: it was not. */
int pf_thaw_mount(const char *mount, uint64_t mount_id, pf_fault *fault);

#endif
