/* Writes the corpus: `make fuzz-seeds`, after a change of what is shared between processes.
 * Argument: the directory of the harnesses' directories. */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "fuzz.h"
#include "inputs.h"
#include "journal.h"
#include "protocol/page.h"

static void write_seed(const char *directory, const char *name, const void *const parts[],
                       const size_t sizes[], int count)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    MUST(fd >= 0);
    for (int i = 0; i < count; i++)
        MUST(write(fd, parts[i], sizes[i]) == (ssize_t)sizes[i]);
    close(fd);
}

#define WRITE_BYTES(directory, name, bytes)                                                        \
    write_seed(directory, name, (const void *const[]){bytes}, (const size_t[]){sizeof(bytes)}, 1)

/* ---- plans ---------------------------------------------------------------------------------------- */

static const char *const argv[] = {"backup", "-x", "", NULL};
static const char *const envp[] = {"PATH=/usr/bin:/bin", "EMPTY=", NULL};
static const char *const none[] = {NULL};
static const pf_child_options script = {.path = "/usr/bin/true",
                                        .argv = argv,
                                        .envp = envp,
                                        .directory = "/",
                                        .attempts = 2,
                                        .timeout_ns = 30,
                                        .output_bytes = 64};
static const pf_child_options silent = {
    .path = "/usr/bin/true", .argv = argv, .envp = none, .directory = "/srv", .attempts = 1};
static const pf_step_options plain[] = {{.kind = PF_STEP_OPEN, .after = -1, .on_failure = 16},
                                        {.kind = PF_STEP_FLUSH, .after = -1, .skip_if = 16},
                                        {.kind = PF_STEP_WINDOW, .after = 0},
                                        {.kind = PF_STEP_WAIT, .after = -1, .only_if = 16}};
static const pf_step_options scripts[] = {
    {.kind = PF_STEP_CHILD, .after = -1, .child = &script, .group = 1},
    {.kind = PF_STEP_CHILD, .after = -1, .child = &silent, .group = 1},
    {.kind = PF_STEP_WINDOW, .after = -1, .child = &silent, .flags = PF_STEP_SNAPSHOT},
    {.kind = PF_STEP_CHILD, .after = 0, .child = &script}};

static struct pf_plan_page *make_plan(const pf_step_options *steps, uint32_t count)
{
    struct pf_plan_page *page;
    pf_fault fault;
    const pf_plan_options options = {.steps = steps, .count = count, .tells_steps = 1};
    int fd = pf_plan_page_create(&page, AT_FDCWD, "seed", &options, &fault);
    MUST(fd >= 0 && close(fd) == 0);
    pf_plan_page_remove(AT_FDCWD, "seed");
    return page;
}

static void write_requests(const char *directory)
{
    static const struct {
        const char *name;
        struct request_head head;
        const pf_step_options *steps;
        uint32_t count;
    } seeds[] = {
        {"plain", {MEND_LENGTH, 0, 1, 0}, plain, 4},
        {"scripts", {MEND_LENGTH, 0, 3, 200}, scripts, 4},
        {"mended", {MEND_LENGTH | MEND_JOURNAL | MEND_STEPS | MEND_CHILDREN, 0, 2, 40}, scripts, 3},
        {"steps-mended", {MEND_LENGTH | MEND_JOURNAL | MEND_STEPS, 0, 1, 9}, plain, 4},
        {"spread",
         {MEND_LENGTH | MEND_JOURNAL | MEND_STEPS | MEND_CHILDREN | SPREAD_CHILD, 0, 1, 200},
         scripts,
         3},
        {"too-many-descriptors", {MEND_LENGTH, 0, 4, 0}, plain, 1},
        {"short", {0, sizeof(struct pf_message) - 1, 1, 0}, plain, 1},
        {"nothing", {MEND_LENGTH, 0, 1, 0}, NULL, 0}};
    const struct pf_message message = {.kind = PF_REQUEST_PLAN, .index = -1};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        struct pf_plan_page *plan = make_plan(seeds[i].steps, seeds[i].count);
        size_t length = seeds[i].head.fix & MEND_LENGTH ? sizeof message : seeds[i].head.length;
        write_seed(directory, seeds[i].name, (const void *const[]){&seeds[i].head, &message, plan},
                   (const size_t[]){sizeof seeds[i].head, length, plan->size}, 3);
        pf_plan_page_unmap(plan);
    }
}

static void write_records(const char *directory)
{
    const pf_target targets[] = {{.mount = "/srv", .mount_id = 30, .device_major = 7},
                                 {.mount = "/srv/a b", .mount_id = 31, .level = 1},
                                 {.mount = "/", .mount_id = 1, .level = 2}};
    static const struct {
        const char *name;
        uint8_t fix;
        uint32_t count;
        const pf_step_options *steps;
        uint32_t step_count;
    } seeds[] = {{"three", 0, 3, scripts, 4},
                 {"mended",
                  MEND_HEADER | MEND_OFFSETS | MEND_BLACKBOX | MEND_JOURNAL | MEND_STEPS |
                      MEND_CHILDREN,
                  3, scripts, 3},
                 {"steps-mended", MEND_HEADER | MEND_JOURNAL | MEND_STEPS, 1, plain, 4},
                 {"none", 0, 0, NULL, 0}};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        pf_fault fault;
        struct pf_page *page;
        const pf_start_options options = {.run_id = "seed",
                                          .targets = targets,
                                          .target_count = seeds[i].count};
        int fd = pf_page_create(&page, AT_FDCWD, &options, &fault);
        MUST(fd >= 0 && unlink("seed.state") == 0);
        page->client_pid = 0;
        memset(page->boot_id, '0', PF_ID_SIZE - 4);
        for (int kind = PF_TRANSITION_CHOSEN; kind < PF_TRANSITION_COUNT; kind++) {
            pf_page_note(page, (enum pf_transition_kind)kind, kind % 3, kind);
            page->blackbox.cells[kind - 1].ns = 1000 * (uint64_t)kind;
        }
        struct pf_plan_page *plan = make_plan(seeds[i].steps, seeds[i].step_count);
        const struct record_head head = {seeds[i].fix,
                                         {(uint8_t)(page->size >> 8), (uint8_t)page->size}};
        write_seed(directory, seeds[i].name, (const void *const[]){&head, page, plan},
                   (const size_t[]){sizeof head, page->size, plan->size}, 3);
        pf_plan_page_unmap(plan);
        pf_page_unmap(page);
        close(fd);
    }
}

/* ---- orders ----------------------------------------------------------------------------------------- */

enum {
    /* Two of handle.c's times: the second is of windows, waits and flushes. */
    MINUTES = 18, /* 60 s, 60 s */
    AT_ONCE = 0,
    FOR_EVER = 24,
    HAS_CHILD = 128,
    NO_FAILURE = 0
};

#define MOST_ORDERS 16

/* An order, and a plan of so many steps behind it, as the bytes that they are. */
struct plan_order {
    struct order order;
    struct drawn_step steps[5];
};

#define PLAN(steps, descriptors, flags) {PF_REQUEST_PLAN, steps, descriptors, flags}
#define OPEN_ALL {PF_STEP_OPEN - 1, 0, 0, 0, 0, 16, 0, 0, MINUTES}
#define FLUSH {PF_STEP_FLUSH - 1, 0, 3, 16, 0, 0, 0, 0, MINUTES}
#define WINDOW(flags, child) {PF_STEP_WINDOW - 1, flags, 1, 17, 0, 32, 1, child, MINUTES}
#define SCRIPT(group, child) {PF_STEP_CHILD - 1, 0, group, 1, 0, 16, 0, child, MINUTES}
#define ALWAYS(child) {PF_STEP_CHILD - 1, 0, 0, 0, 0, 0, 0, child, MINUTES}
#define WAIT(flags, times) {PF_STEP_WAIT - 1, flags, 0, 0, 0, 16, 0, 0, times}

static const struct {
    const char *name;
    struct handle_head head;
    struct plan_order first;
    struct order orders[MOST_ORDERS];
} order_seeds[] = {
    {"window",
     {{0, 0, 0}, HANDLE_BYE},
     {PLAN(5, 3, ORDER_TELLS_STEPS),
      {OPEN_ALL, FLUSH, WINDOW(PF_STEP_PEER | PF_STEP_SNAPSHOT, 0), WAIT(0, FOR_EVER), ALWAYS(0)}},
     {{ORDER_WAIT, 3, 0, 0},
      {ORDER_ANSWER, 0, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {PF_REQUEST_PROCEED, 0, 0, 0},
      {ORDER_REPORT, 0, 0, 0},
      {ORDER_REAPER_ENDS, 0, 0, 0}}},
    {"parked",
     {{0, 0, 0}, HANDLE_BYE},
     {PLAN(3, 1, 0),
      {OPEN_ALL, WINDOW(PF_STEP_SNAPSHOT, HAS_CHILD | PF_CHILD_OUTCOME), ALWAYS(PF_CHILD_OUTLIVE)}},
     {{ORDER_WAIT, 1, 0, 0},
      {ORDER_PARK, 0, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_REPORT, 0, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_REPORT, 1, 1, 0},
      {ORDER_REAPER_ENDS, 1, 0, 0}}},
    {"lingering",
     {{0, 0, 0}, HANDLE_BYE},
     {PLAN(5, 1, 0),
      {OPEN_ALL, WINDOW(0, HAS_CHILD), SCRIPT(0, 64), WINDOW(PF_STEP_HOLD, HAS_CHILD), ALWAYS(0)}},
     {{ORDER_WAIT, 3, 0, 0},
      {ORDER_PARK, 0, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_REPORT, 0, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_REPORT, 1, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_REAPER_ENDS, 0, 0, 0},
      {ORDER_WAIT, 3, 0, 0},
      {ORDER_PARK, 2, 0, 0},
      {PF_REQUEST_PROCEED, 1, 0, 0}}},
    {"failing",
     {{1, 4, 8}, NO_FAILURE},
     {PLAN(4, 3, ORDER_HANGS_UP),
      {OPEN_ALL, WINDOW(0, 0), SCRIPT(2, 0), SCRIPT(2, PF_CHILD_NUMBERED)}},
     {{ORDER_SIGNAL, 0, 0, 0},
      {ORDER_REPORT, 0, 1, 0},
      {ORDER_REAPER_ENDS, 0, 0, 0},
      {PF_REQUEST_ABORT, 0, 0, 0}}},
    {"thawing-fails",
     {{8, 16, 0}, HANDLE_FORK_FAILS},
     {PLAN(3, 1, 0), {OPEN_ALL, WINDOW(0, 0), ALWAYS(0)}},
     {{ORDER_WAIT, 3, 0, 0}, {PF_REQUEST_PROCEED, 0, 0, 0}, {ORDER_WAIT, 3, 0, 0}}},
    {"goes-early",
     {{0, 0, 0}, NO_FAILURE},
     {PLAN(5, 2, 0),
      {OPEN_ALL, SCRIPT(1, 0), SCRIPT(1, PF_CHILD_LEAVE), WAIT(0, FOR_EVER), WINDOW(0, 0)}},
     {{ORDER_REPORT, 0, 0, 0}, {ORDER_REPORT, 1, 0, 0}}},
    {"refused",
     {{0, 0, 0}, HANDLE_BYE},
     {PLAN(2, 3, ORDER_UNWATCHABLE), {ALWAYS(0), WAIT(PF_STEP_PEER, AT_ONCE)}},
     {PLAN(0, 1, ORDER_READ_ONLY), PLAN(0, 4, 0), PLAN(0, 0, 0), PLAN(0, 1, 0),
      PLAN(0, 2, ORDER_TELLS_STEPS)}},
};

static void write_orders(const char *directory)
{
    for (size_t i = 0; i < sizeof order_seeds / sizeof *order_seeds; i++) {
        const struct plan_order *plan = &order_seeds[i].first;
        int orders = 0;
        while (orders < MOST_ORDERS && order_seeds[i].orders[orders].kind != ORDER_UNKNOWN)
            orders++;
        write_seed(directory, order_seeds[i].name,
                   (const void *const[]){&order_seeds[i].head, &plan->order, plan->steps,
                                         order_seeds[i].orders},
                   (const size_t[]){sizeof(struct handle_head), sizeof(struct order),
                                    plan->order.number * sizeof(struct drawn_step),
                                    (size_t)orders * sizeof(struct order)},
                   4);
    }
}

/* ---- messages --------------------------------------------------------------------------------------- */

static void write_messages(const char *directory)
{
    static const uint8_t run[] = {3, 1, /* a head */
                                  0, 1, PF_REPLY_DESCRIPTOR, 0,   0, 0, /* */
                                  0, 1, PF_REPLY_DESCRIPTOR, 2,   0, 0, /* */
                                  0, 0, PF_REPLY_STEP,       0,   0, 0, /* */
                                  0, 0, PF_REPLY_WAITING,    1,   0, 0, /* */
                                  0, 0, PF_REPLY_ENDED,      255, 0, 0};
    static const uint8_t wrong[] = {0,    0, /* */
                                    0,    3, PF_REPLY_DESCRIPTOR,
                                    100,  0, 0, /* */
                                    0,    4, PF_REPLY_STEP,
                                    100,  0, 1, /* */
                                    0x82, 0, 0,
                                    0,    0, 0,
                                    1,    2, /* */
                                    0,    2, PF_REPLY_ENDED,
                                    128,  9, 9};
    static const uint8_t bye[] = {1, 2, /* */
                                  0, 0, PF_REPLY_WAITING, 1, 0, 0, /* */
                                  0, 0, PF_REPLY_BYE,     1, 0, 0};
    WRITE_BYTES(directory, "run", run);
    WRITE_BYTES(directory, "wrong", wrong);
    WRITE_BYTES(directory, "bye", bye);
}

int main(int count, char **words)
{
    static const struct {
        const char *name;
        void (*write)(const char *directory);
    } harnesses[] = {{"request", write_requests},
                     {"record", write_records},
                     {"handle", write_orders},
                     {"receive", write_messages}};
    MUST(count == 2);
    for (size_t i = 0; i < sizeof harnesses / sizeof *harnesses; i++) {
        char directory[256];
        snprintf(directory, sizeof directory, "%s/%s", words[1], harnesses[i].name);
        MUST(mkdir(directory, 0755) == 0 || access(directory, W_OK) == 0);
        harnesses[i].write(directory);
    }
    return 0;
}
