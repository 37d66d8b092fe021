/* Windows over two ext4 filesystems of the test's own, on loop devices over a tmpfs. */
#define _GNU_SOURCE
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "base/process.h"
#include "running.h"

#define COUNT 2
#define WINDOWS 5

static const char *const names[COUNT] = {"alpha", "beta"};
static char mounts[COUNT][256];
static int roots[COUNT] = {-1, -1};
static pf_target targets[COUNT];
static int rcu_before = -1;

/* ---- what the tests need -------------------------------------------------------------------- */

static int make_filesystem(int index)
{
    char line[1200];
    const char *name = names[index];
    snprintf(mounts[index], sizeof mounts[index], "%s/disks/%s", running_here, name);
    snprintf(line, sizeof line,
             "truncate -s 64M disks/%s.img && mkfs.ext4 -q -F disks/%s.img >/dev/null 2>&1 && "
             "mkdir disks/%s && for attempt in 1 2 3 4 5; do "
             /* its device may be claimed for a moment by somebody who looks for a free one */
             "mount -o loop disks/%s.img disks/%s && exit 0; sleep 0.1; done; false",
             name, name, name, name, name);
    if (system(line) != 0)
        return 0;
    roots[index] = open(mounts[index], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(roots[index] >= 0);
    return 1;
}

static void describe_target(int index)
{
    struct statx status;
    REQUIRE(statx(roots[index], "", AT_EMPTY_PATH, STATX_MNT_ID, &status) == 0);
    targets[index] = (pf_target){.mount = mounts[index],
                                 .mount_id = status.stx_mnt_id,
                                 .device_major = status.stx_dev_major,
                                 .device_minor = status.stx_dev_minor,
                                 .level = (uint32_t)index};
}

static int read_rcu(void)
{
    int value = -1;
    FILE *file = fopen("/sys/kernel/rcu_expedited", "re");
    if (file) {
        if (fscanf(file, "%d", &value) != 1)
            value = -1;
        fclose(file);
    }
    return value;
}

static void write_rcu(int value)
{
    FILE *file = value < 0 ? NULL : fopen("/sys/kernel/rcu_expedited", "we");
    if (file) {
        fprintf(file, "%d\n", value);
        fclose(file);
    }
}

/* Whatever has become of the tests: nothing of theirs stays frozen, nor running, nor mounted. First
 * thawed, because who writes to a frozen filesystem can't even be killed; and once more when nobody
 * is left who could freeze. */
static void clean_up(void)
{
    char line[1200];
    for (int i = COUNT - 1; i >= 0; i--)
        ioctl(roots[i], FITHAW, 0);
    pf_tree_signal(getpid(), SIGKILL, 0);
    check_bury_all();
    write_rcu(rcu_before);
    for (int i = COUNT - 1; i >= 0; i--) {
        if (roots[i] < 0)
            continue;
        ioctl(roots[i], FITHAW, 0);
        close(roots[i]);
        /* Its loop device goes with its last user. */
        snprintf(line, sizeof line,
                 "fsfreeze -u '%s' 2>/dev/null; umount '%s' && for attempt in 1 2 3 4 5; do "
                 "[ -z \"$(losetup -j 'disks/%s.img')\" ] && exit 0; sleep 0.1; done; false",
                 mounts[i], mounts[i], names[i]);
        CHECK_EQ(system(line), 0);
    }
}

/* An independent writer; blocks while the filesystem is frozen. */
static void check_writable(void)
{
    for (int i = 0; i < COUNT; i++) {
        int fd = openat(roots[i], "written", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        CHECK(fd >= 0);
        CHECK_EQ(write(fd, "x", 1), 1);
        close(fd);
    }
}

static pf_filesystem filesystem(pf_run *run, uint32_t index)
{
    pf_filesystem found = {0};
    pf_fault fault;
    REQUIRE(pf_run_filesystem(run, index, &found, &fault) == 0);
    return found;
}

static void check_states(pf_run *run, int state)
{
    for (uint32_t i = 0; i < COUNT; i++)
        CHECK_EQ(filesystem(run, i).state, state);
}

static pf_run *start_and_open(void)
{
    for (int i = 0; i < COUNT; i++)
        describe_target(i);
    pf_run *run = running_start(targets, COUNT);
    running_request_one(run, PF_STEP_OPEN, NULL);
    running_finish(run);
    CHECK_EQ(running_step(run, 0).fault.error, 0);
    check_states(run, PF_STATE_OPEN);
    return run;
}

static pf_window_options expedited_window(void)
{
    pf_window_options window = running_window(10 * PF_NS_PER_S);
    window.flags = PF_WINDOW_EXPEDITE | PF_WINDOW_REALTIME | PF_WINDOW_PARALLEL;
    return window;
}

static void request_window(pf_run *run, const pf_window_options *window,
                           const struct script *script)
{
    struct plan plan = {0};
    running_add(&plan, PF_STEP_WINDOW, script)->window = *window;
    running_request(run, &plan);
}

/* ---- good windows --------------------------------------------------------------------------- */

/* Level 0 is frozen first and thawed last; the snapshot lies between. */
static void check_order(pf_run *run, uint64_t snapshot_from, uint64_t snapshot_to)
{
    const pf_filesystem low = filesystem(run, 0), high = filesystem(run, 1);
    const pf_filesystem *const both[] = {&low, &high};
    for (int i = 0; i < COUNT; i++) {
        const pf_filesystem *one = both[i];
        CHECK_EQ(one->state, PF_STATE_THAWED);
        CHECK_EQ(one->error, 0);
        CHECK(one->figures.flush_rounds >= 1 && one->figures.flush_rounds <= 2);
        CHECK(0 < one->figures.freeze_enter_ns &&
              one->figures.freeze_enter_ns <= one->figures.freeze_return_ns);
        CHECK(one->figures.freeze_return_ns <= snapshot_from &&
              snapshot_to <= one->figures.thaw_enter_ns);
        CHECK(one->figures.thaw_enter_ns <= one->figures.thaw_return_ns);
    }
    CHECK(low.figures.freeze_return_ns <= high.figures.freeze_enter_ns);
    CHECK(high.figures.thaw_return_ns <= low.figures.thaw_enter_ns);
}

/* Both levels are frozen while the child runs, in their order, and writable afterwards. */
TEST(window_with_child)
{
    int rcu = read_rcu();
    pf_run *run = start_and_open();
    pf_window_options window = expedited_window();
    check_writable();
    request_window(run, &window, &(struct script){.words = {"exit", "0"}});
    CHECK_EQ(running_verdict(run), PF_VERDICT_GOOD);
    pf_child_report report = running_report(run, 0);
    CHECK_EQ(report.wait_status, 0);
    check_order(run, report.start_ns, report.end_ns);
    CHECK_EQ(read_rcu(), rcu);
    check_writable();
    running_end(run);
}

/* Each window notes the same states of a filesystem, from open to thawed. */
static void check_black_box(pf_run *run, int windows)
{
    enum { STATES = PF_TRANSITION_THAWED - PF_TRANSITION_OPEN + 1 };
    pf_transition one = {0};
    int states = 0;
    while (pf_run_transition(run, one.number, &one))
        if (one.kind >= PF_TRANSITION_CHOSEN && one.kind <= PF_TRANSITION_STUCK && one.index == 0) {
            CHECK_EQ(one.kind, PF_TRANSITION_OPEN + states % STATES);
            states++;
        }
    CHECK_EQ(states, windows * STATES);
}

/* Until the caller goes on both are frozen, in each of several windows of one run. */
TEST(windows_of_the_caller)
{
    int rcu = read_rcu();
    pf_fault fault;
    pf_run *run = start_and_open();
    uint32_t rounds = 0;
    for (int i = 0; i < WINDOWS; i++) {
        pf_window_options window = expedited_window();
        request_window(run, &window, NULL);
        running_expect(run, PF_EVENT_WAITING);
        CHECK_EQ(read_rcu(), rcu); /* raised around the FIFREEZEs only */
        check_states(run, PF_STATE_FROZEN);
        CHECK(ioctl(roots[0], FIFREEZE, 0) < 0);
        CHECK_EQ(errno, EBUSY);
        CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0);
        CHECK_EQ(running_verdict(run), PF_VERDICT_GOOD);
        check_states(run, PF_STATE_THAWED);
        CHECK(filesystem(run, 0).figures.flush_rounds > rounds);
        rounds = filesystem(run, 0).figures.flush_rounds;
        check_writable();
    }
    check_black_box(run, WINDOWS);
    running_end(run);
}

/* ---- windows that are not good -------------------------------------------------------------- */

/* The deadline thaws both although the caller never says a word. */
TEST(expired)
{
    pf_run *run = start_and_open();
    pf_window_options window = expedited_window();
    window.max_window_ns = 100 * PF_NS_PER_MS;
    request_window(run, &window, NULL);
    running_expect(run, PF_EVENT_WAITING);
    check_writable(); /* returns once the deadline has thawed */
    CHECK_EQ(running_verdict(run), PF_VERDICT_EXPIRED);
    check_states(run, PF_STATE_THAWED);
    running_end(run);
}

/* A thaw by somebody else makes the window a broken one, and names the filesystem. */
TEST(foreign_thaw)
{
    pf_fault fault;
    pf_run *run = start_and_open();
    pf_window_options window = expedited_window();
    request_window(run, &window, NULL);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(ioctl(roots[1], FITHAW, 0), 0);
    CHECK_EQ(pf_run_request_proceed(run, 0, &fault), 0);
    CHECK_EQ(running_verdict(run), PF_VERDICT_BROKEN);
    pf_fault found = running_step(run, 0).fault;
    CHECK_EQ(found.op, PF_OP_THAW);
    CHECK_EQ(found.index, 1);
    CHECK_EQ(found.error, EINVAL);
    CHECK_EQ(filesystem(run, 0).state, PF_STATE_THAWED);
    CHECK_EQ(filesystem(run, 1).state, PF_STATE_FOREIGN_THAW);
    check_writable();
    running_end(run);
}

/* Frozen by somebody else beforehand: what we froze is thawed, theirs is left alone. */
TEST(foreign_freeze)
{
    pf_run *run = start_and_open();
    REQUIRE(ioctl(roots[1], FIFREEZE, 0) == 0);
    pf_window_options window = expedited_window();
    window.flush.rounds = 0;
    request_window(run, &window, NULL);
    CHECK_EQ(running_verdict(run), PF_VERDICT_FREEZE_FAILED);
    pf_fault found = running_step(run, 0).fault;
    CHECK_EQ(found.op, PF_OP_FREEZE);
    CHECK_EQ(found.index, 1);
    CHECK_EQ(found.error, EBUSY);
    CHECK_EQ(filesystem(run, 0).state, PF_STATE_THAWED);
    CHECK_EQ(filesystem(run, 1).state, PF_STATE_FAILED);
    CHECK_EQ(ioctl(roots[1], FITHAW, 0), 0); /* it was still theirs to thaw */
    CHECK(ioctl(roots[0], FITHAW, 0) < 0);
    CHECK_EQ(errno, EINVAL);
    check_writable();
    running_end(run);
}

/* A mount that has another id is not opened, and without all mounts nothing is frozen. */
TEST(wrong_mount)
{
    for (int i = 0; i < COUNT; i++)
        describe_target(i);
    targets[1].mount_id++; /* as if another one had been mounted over it meanwhile */
    pf_run *run = running_start(targets, COUNT);
    running_request_one(run, PF_STEP_OPEN, NULL);
    running_finish(run);
    pf_fault found = running_step(run, 0).fault;
    CHECK_EQ(found.op, PF_OP_VERIFY);
    CHECK_EQ(found.index, 1);
    CHECK_EQ(found.error, ESTALE);
    pf_window_options window = expedited_window();
    request_window(run, &window, NULL);
    CHECK_EQ(running_verdict(run), PF_VERDICT_FREEZE_FAILED);
    CHECK_EQ(running_step(run, 0).fault.op, PF_OP_SEQUENCE);
    CHECK_EQ(filesystem(run, 0).figures.freeze_enter_ns, 0);
    running_end(run);
}

/* ---- rescues -------------------------------------------------------------------------------- */

/* The caller hears nothing, it is busy writing; its watchdog thread thaws. */
TEST(killed_supervisor)
{
    int rcu = read_rcu();
    pf_run *run = start_and_open();
    pf_window_options window = expedited_window();
    window.max_window_ns = 3600 * PF_NS_PER_S;
    request_window(run, &window, NULL);
    running_expect(run, PF_EVENT_WAITING);
    CHECK_EQ(kill(running_supervisor(run), SIGKILL), 0);
    check_writable(); /* returns once it is thawed */
    running_expect(run, PF_EVENT_LOST);
    const pf_filesystem low = filesystem(run, 0), high = filesystem(run, 1);
    CHECK(high.figures.thaw_return_ns <= low.figures.thaw_enter_ns);
    check_states(run, PF_STATE_THAWED);
    CHECK_EQ(read_rcu(), rcu);
    CHECK_EQ(pf_run_close(&run), 0);
    CHECK(check_bury_all() >= 0 && running_state_is_empty());
}

static void die_in_window(int tell_fd, int kill_supervisor)
{
    pf_run *run = start_and_open();
    pf_window_options window = expedited_window();
    window.max_window_ns = 3600 * PF_NS_PER_S;
    request_window(run, &window, NULL);
    running_expect(run, PF_EVENT_WAITING);
    if (kill_supervisor) {
        REQUIRE(kill(running_supervisor(run), SIGSTOP) == 0);
        pid_t pid = running_supervisor(run);
        REQUIRE(write(tell_fd, &pid, sizeof pid) == sizeof pid);
    } else {
        int none = 0;
        REQUIRE(write(tell_fd, &none, sizeof none) == sizeof none);
    }
    for (;;)
        pause();
}

/* The client dies: the supervisor thaws. Both die: the page that is left names what to thaw. */
static void kill_client(int both)
{
    int told[2], supervisor;
    REQUIRE(pipe2(told, O_CLOEXEC) == 0);
    pid_t client = fork();
    if (client == 0)
        die_in_window(told[1], both);
    REQUIRE(read(told[0], &supervisor, sizeof supervisor) == sizeof supervisor);
    CHECK_EQ(kill(client, SIGKILL), 0);
    if (!both)
        check_writable(); /* returns once it is thawed */
    else
        REQUIRE(kill(supervisor, SIGKILL) == 0);
    CHECK(check_bury_all() >= 1);
    CHECK_EQ(running_state_is_empty(), !both);
    close(told[0]);
    close(told[1]);
}

/* The supervisor thaws when its client dies in the window. */
TEST(killed_client)
{
    kill_client(0);
}

/* Who only looks sees the same, and changes nothing, not even by asking for it. */
static void check_view(void)
{
    pf_fault fault;
    pf_record *record;
    pf_record_header header;
    REQUIRE(pf_record_open(&record, STATE_NAME "/run.state", 1, &header, &fault) == 0);
    CHECK_STR(header.run_id, "run");
    CHECK(header.same_boot);
    CHECK_EQ(header.count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        pf_filesystem found;
        CHECK_EQ(pf_record_read(record, i, &found, &fault), 0);
        CHECK_EQ(found.state, PF_STATE_FROZEN);
    }
    CHECK_EQ(pf_record_recover(record, &(pf_recover_options){0}, &fault), -EROFS);
    pf_record_close(record);
}

/* Thawed by name, whoever froze it: without a page, and so by the mount's id. */
TEST(thaw_by_name)
{
    pf_fault fault;
    CHECK_EQ(pf_thaw_mount(mounts[0], targets[0].mount_id, &fault), 0); /* it is not frozen */
    int fd = open(mounts[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(fd >= 0 && ioctl(fd, FIFREEZE, 0) == 0);
    CHECK_EQ(pf_thaw_mount(mounts[0], targets[0].mount_id + 1, &fault), -ESTALE);
    CHECK_EQ(fault.op, PF_OP_VERIFY);
    CHECK_EQ(pf_thaw_mount(mounts[0], targets[0].mount_id, &fault), 1);
    CHECK_EQ(pf_thaw_mount("/nowhere", 1, &fault), -ENOENT);
    CHECK_EQ(fault.op, PF_OP_OPEN);
    close(fd);
    check_writable();
}

/* ---- recoveries ----------------------------------------------------------------------------- */

static pf_record *open_record(void)
{
    pf_fault fault;
    pf_record *record;
    pf_record_header header;
    REQUIRE(pf_record_open(&record, STATE_NAME "/run.state", 0, &header, &fault) == 0);
    CHECK_STR(header.run_id, "run");
    CHECK(header.same_boot);
    CHECK_EQ(header.count, COUNT);
    return record;
}

static pf_filesystem recorded(pf_record *record, uint32_t index)
{
    pf_filesystem found = {0};
    pf_fault fault;
    REQUIRE(pf_record_read(record, index, &found, &fault) == 0);
    return found;
}

/* Recover both; a mount's id is off by as much as is given. Returns the fault of the second one. */
static pf_fault recover_by(pf_record *record, const char *program, uint64_t off)
{
    pf_fault fault;
    pf_candidate candidates[COUNT];
    const char *directory = running_options(NULL, 0).directory;
    int lock = pf_lock(directory, &fault);
    REQUIRE(lock >= 0);
    for (uint32_t i = 0; i < COUNT; i++)
        candidates[i] = (pf_candidate){.index = i,
                                       .mount = mounts[i],
                                       .mount_id = targets[i].mount_id + (i == 1 ? off : 0)};
    const pf_recover_options options = {.program = program,
                                        .directory = directory,
                                        .lock_fd = lock,
                                        .candidates = candidates,
                                        .count = COUNT};
    CHECK_EQ(pf_record_recover(record, &options, &fault), 0);
    CHECK_EQ(candidates[0].fault.error, 0);
    close(lock);
    return candidates[1].fault;
}

static int is_noted(pf_record *record, enum pf_transition_kind kind)
{
    pf_transition one = {0};
    while (pf_record_transition(record, one.number, &one))
        if (one.kind == (int)kind)
            return 1;
    return 0;
}

/* Level 1 first: the same order as in a window. */
static void check_thaw_order(const pf_filesystem *low, const pf_filesystem *high)
{
    CHECK_EQ(low->state, PF_STATE_THAWED);
    CHECK_EQ(high->state, PF_STATE_THAWED);
    CHECK(high->figures.thaw_return_ns <= low->figures.thaw_enter_ns);
}

static void recover_all(const char *program, int by_process)
{
    kill_client(1);
    check_view();
    pf_record *record = open_record();
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK_EQ(recorded(record, i).state, PF_STATE_FROZEN);
        CHECK_STR(recorded(record, i).mount, mounts[i]);
    }
    int fds = check_count_fds(getpid());
    CHECK_EQ(recover_by(record, program, 0).error, 0);
    while (check_count_fds(getpid()) > fds) /* the last thread closes the eventfd, maybe after us */
        sched_yield();
    const pf_filesystem low = recorded(record, 0), high = recorded(record, 1);
    check_thaw_order(&low, &high);
    check_writable();
    CHECK(running_state_is_empty());
    CHECK_EQ(is_noted(record, PF_TRANSITION_RECOVER), by_process);
    CHECK_EQ(is_noted(record, PF_TRANSITION_RECOVERED), by_process);
    pf_record_close(record);
    CHECK(check_bury_all() >= 0);
}

/* What a dead client and supervisor have left frozen is thawed by the supervisor's program. */
TEST(recovered_by_a_process)
{
    recover_all(check_supervisor, 1);
}

/* Deleted, or not to be executed: then the caller does it. */
TEST(recovered_without_the_program)
{
    recover_all("/nowhere", 0);
}

/* What cannot be thawed stays recorded as frozen, and a second recovery thaws it. */
TEST(recovered_in_parts)
{
    pf_fault fault;
    kill_client(1);
    pf_record *record = open_record();
    CHECK_EQ(recover_by(record, check_supervisor, 1).error, ESTALE);
    CHECK_EQ(recorded(record, 0).state, PF_STATE_THAWED);
    CHECK_EQ(recorded(record, 1).state, PF_STATE_FROZEN);
    CHECK(!running_state_is_empty());
    CHECK_EQ(recover_by(record, check_supervisor, 0).error, 0);
    CHECK_EQ(recorded(record, 1).state, PF_STATE_THAWED);
    CHECK(running_state_is_empty());
    CHECK_EQ(pf_record_read(record, COUNT, &(pf_filesystem){0}, &fault), -ERANGE);
    check_writable();
    pf_record_close(record);
    CHECK(check_bury_all() >= 0);
}

static void on_alarm(int signal)
{
    (void)signal; /* it ends the waiting, that is all */
}

/* The case runs in a child, so that the cleaning is done even if it crashes or hangs. */
static int run_and_clean_up(void)
{
    int status = -1;
    rcu_before = read_rcu();
    pid_t test = fork();
    if (test == 0) {
        check_become_subreaper();
        exit(check_run());
    }
    struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
    sigaction(SIGALRM, &action, NULL);
    CHECK_EQ(waitpid(test, &status, 0), test); /* else it has taken too long */
    clean_up();
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    return check_end();
}

int main(int count, char **words)
{
    if (!running_begin(count, words)) {
        SKIP("loop devices need a mount namespace of our own");
        return check_end();
    }
    private_tmpfs("disks", "size=200m,mode=700");
    for (int i = 0; i < COUNT; i++)
        if (!make_filesystem(i)) {
            clean_up();
            SKIP("mkfs.ext4 or mount -o loop does not work here");
            return check_end();
        }
    for (int i = 0; i < COUNT; i++)
        describe_target(i);
    return run_and_clean_up();
}
