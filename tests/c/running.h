/* running.h - a run against the real supervisor program, for the tests of client and supervisor. */
#ifndef RUNNING_H
#define RUNNING_H
#include <linux/capability.h>
#include <string.h>
#include <sys/resource.h>

#include "base/util.h"
#include "check.h"
#include "client/run.h"
#include "fifo.h"
#include "private.h"
#include "pyfreeze.h"

#define STATE_NAME "state"
/* How long an event may take before the supervisor counts as hanging. */
#define PATIENCE_NS (20 * (int64_t)PF_NS_PER_S)

static char running_here[200];

/* A sanitizer's shadow is terabytes of address space, which mlockall(MCL_FUTURE) would have to fill.
 * It is refused to a process without the capability and with a limit of 0; the supervisor goes on. */
static inline void running_forbid_locked_memory(void)
{
    const struct rlimit none = {0, 0};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
    if (geteuid() == 0)
        REQUIRE(prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0) == 0);
}

/* Returns whether the state directory is a tmpfs in a mount namespace of our own. */
static inline int running_begin(int count, char **words)
{
    check_begin(count, words);
    REQUIRE(getcwd(running_here, sizeof running_here) != NULL);
    running_forbid_locked_memory();
    check_become_subreaper();
    int is_private = private_mounts();
    if (is_private)
        private_tmpfs(STATE_NAME, "size=1m,mode=700");
    return is_private;
}

static inline pf_start_options running_options(const pf_target *targets, uint32_t count)
{
    static char directory[256];
    snprintf(directory, sizeof directory, "%s/" STATE_NAME, running_here);
    return (pf_start_options){.program = check_supervisor,
                              .directory = directory,
                              .run_id = "run",
                              .targets = targets,
                              .target_count = count};
}

static inline pf_run *running_start(const pf_target *targets, uint32_t count)
{
    pf_run *run = NULL;
    pf_fault fault = {0};
    const pf_start_options options = running_options(targets, count);
    int result = pf_run_start(&run, &options, &fault);
    if (result < 0)
        fprintf(stderr, "pf_run_start: %s: %s\n", pf_op_text(fault.op), strerror(fault.error));
    REQUIRE(result == 0);
    return run;
}

static inline pid_t running_supervisor(const pf_run *run)
{
    return run->supervisor;
}

static inline int running_state_is_empty(void)
{
    return access(STATE_NAME "/run.state", F_OK) < 0 && access(STATE_NAME "/run.journal", F_OK) < 0;
}

/* End the run: nothing frozen, nothing of it left, neither process nor page nor lock. A reaper that
 * is just exiting may become ours to bury; one that lives would keep us here until the alarm. */
static inline void running_end(pf_run *run)
{
    pf_fault fault;
    CHECK_EQ(pf_run_close(&run), 0);
    CHECK(check_bury_all() >= 0);
    CHECK(running_state_is_empty());
    int lock = pf_lock(running_options(NULL, 0).directory, &fault);
    CHECK(lock >= 0);
    close(lock);
}

/* As TEST(), around it a run without filesystems. */
#define TEST_WITH_RUN(name)                                                                        \
    static void with_run_##name(pf_run *run);                                                      \
    TEST(name)                                                                                     \
    {                                                                                              \
        pf_run *run = running_start(NULL, 0);                                                      \
        with_run_##name(run);                                                                      \
        running_end(run);                                                                          \
    }                                                                                              \
    static void with_run_##name(pf_run *run)

static inline pf_event running_next(pf_run *run)
{
    pf_event event = {0};
    pf_fault fault = {0};
    int kind = pf_run_next(run, PATIENCE_NS, &event, &fault);
    REQUIRE(kind >= 0 && kind == event.kind && kind != PF_EVENT_TIMEOUT);
    return event;
}

static inline pf_event running_expect(pf_run *run, int kind)
{
    pf_event event = running_next(run);
    if (!CHECK_EQ(event.kind, kind))
        fprintf(stderr, "event %d instead of %d; step %d, fault %d/%d\n", event.kind, kind,
                event.index, event.fault.op, event.fault.error);
    return event;
}

/* ---- plans ---------------------------------------------------------------------------------- */

struct script {
    const char *path; /* NULL: the actor */
    const char *directory;
    const char *words[3];
    uint32_t flags;
    uint32_t attempts;
    uint64_t timeout_ns;
    uint64_t grace_ns;
    uint32_t output_bytes;
};

#define RUNNING_STEPS 8

/* A plan that is being put together; running_request() hands it over. */
struct plan {
    pf_step_options steps[RUNNING_STEPS];
    pf_child_options children[RUNNING_STEPS];
    const char *argv[RUNNING_STEPS][5];
    uint32_t count;
    int notify_fd; /* with done_fd, the peer of all its steps; 0: it has none */
    int done_fd;
    uint32_t tells_steps;
};

static inline pf_window_options running_window(uint64_t max_window_ns)
{
    return (pf_window_options){.flush = {.rounds = 2,
                                         .spend_ns = PF_NS_PER_S,
                                         .limit_ns = 10 * PF_NS_PER_S},
                               .max_window_ns = max_window_ns,
                               .freeze_timeout_ns = 10 * PF_NS_PER_S};
}

/* Add a step, with a child if there is a script; the caller may change it. */
static inline pf_step_options *running_add(struct plan *plan, int kind, const struct script *script)
{
    static const char *const envp[] = {"LANG=C", NULL};
    REQUIRE(plan->count < RUNNING_STEPS);
    uint32_t index = plan->count++;
    pf_step_options *step = &plan->steps[index];
    *step = (pf_step_options){.kind = kind, .after = -1};
    if (kind == PF_STEP_WINDOW)
        step->window = running_window(10 * PF_NS_PER_S);
    if (!script)
        return step;
    plan->argv[index][0] = "actor";
    for (int i = 0; i < 3; i++)
        plan->argv[index][i + 1] = script->words[i];
    plan->children[index] = (pf_child_options){
        .path = script->path ? script->path : check_actor,
        .argv = plan->argv[index],
        .envp = envp,
        .directory = script->directory ? script->directory : "/",
        .flags = script->flags,
        .attempts = script->attempts ? script->attempts : 1,
        .timeout_ns = script->timeout_ns ? script->timeout_ns : 30 * PF_NS_PER_S,
        .grace_ns = script->grace_ns ? script->grace_ns : 1,
        .output_bytes = script->output_bytes ? script->output_bytes : 4096,
    };
    step->child = &plan->children[index];
    return step;
}

static inline int running_try(pf_run *run, const struct plan *plan, pf_fault *fault)
{
    const pf_plan_options options = {.steps = plan->steps,
                                     .count = plan->count,
                                     .notify_fd = plan->notify_fd ? plan->notify_fd : -1,
                                     .done_fd = plan->done_fd ? plan->done_fd : -1,
                                     .tells_steps = plan->tells_steps};
    return pf_run_request_plan(run, &options, fault);
}

static inline void running_request(pf_run *run, const struct plan *plan)
{
    pf_fault fault;
    REQUIRE(running_try(run, plan, &fault) == 0);
}

/* A plan of one step. */
static inline void running_request_one(pf_run *run, int kind, const struct script *script)
{
    struct plan plan = {0};
    running_add(&plan, kind, script);
    running_request(run, &plan);
}

static inline pf_step_report running_step(pf_run *run, uint32_t step)
{
    pf_step_report report = {0};
    pf_fault fault;
    REQUIRE(pf_run_step(run, step, &report, &fault) == 0);
    return report;
}

static inline pf_child_report running_report(pf_run *run, uint32_t step)
{
    pf_child_report report = {0};
    pf_fault fault;
    REQUIRE(pf_run_child(run, step, &report, &fault) == 0);
    return report;
}

/* Wait for the plan's end and for nothing else. */
static inline void running_finish(pf_run *run)
{
    CHECK_EQ(running_expect(run, PF_EVENT_ENDED).fault.error, 0);
}

/* Run one child to its end. */
static inline pf_child_report running_run(pf_run *run, const struct script *script)
{
    running_request_one(run, PF_STEP_CHILD, script);
    running_finish(run);
    pf_child_report report = running_report(run, 0);
    CHECK_EQ(report.state, PF_CHILD_ENDED);
    return report;
}

/* How a plan of one window has ended. */
static inline int running_verdict(pf_run *run)
{
    running_finish(run);
    return running_step(run, 0).verdict;
}

static inline int running_exited(const pf_child_report *report, int status)
{
    return WIFEXITED(report->wait_status) && WEXITSTATUS(report->wait_status) == status;
}

#endif
