/* The plan and its journal: what is written is what is read, and no damaged file is read out of its
 * bounds. */
#define _GNU_SOURCE
#include "protocol/plan.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "check.h"
#include "guarded.h"

#define MUTATIONS 20000
#define RUN_ID "run-1"
#define FILE_NAME RUN_ID PF_JOURNAL_SUFFIX

static int directory_fd;

static const char *const argv[] = {"backup", "-x", "", NULL};
static const char *const envp[] = {"PATH=/usr/bin:/bin", NULL};
static const pf_child_options script = {.path = "/usr/bin/true",
                                        .argv = argv,
                                        .envp = envp,
                                        .directory = "/",
                                        .attempts = 2,
                                        .timeout_ns = 1ull << 40,
                                        .output_bytes = 30};
static const pf_child_options command = {.path = "/sbin/lvcreate",
                                         .argv = argv + 1,
                                         .envp = envp + 1,
                                         .directory = "/srv",
                                         .flags = PF_CHILD_OUTCOME,
                                         .attempts = 1,
                                         .output_bytes = 0};

/* One of each kind; what has a child and what has none take turns. */
static const pf_step_options steps[] = {
    {.kind = PF_STEP_OPEN, .after = -1, .on_failure = 16},
    {.kind = PF_STEP_CHILD, .after = 0, .child = &script, .group = 7, .skip_if = 1},
    {.kind = PF_STEP_FLUSH,
     .after = -1,
     .window.flush = {.rounds = 3, .spend_ns = 4, .limit_ns = 5}},
    {.kind = PF_STEP_WINDOW,
     .flags = PF_STEP_SNAPSHOT | PF_STEP_HOLD,
     .skip_if = UINT32_MAX,
     .only_if = 1u << 31,
     .on_failure = 6,
     .after = 5,
     .child = &command,
     .window = {.flush = {.rounds = UINT32_MAX, .spend_ns = UINT64_MAX, .limit_ns = 1ull << 33},
                .max_window_ns = UINT64_MAX - 1,
                .freeze_timeout_ns = UINT64_MAX - 2,
                .flags = PF_WINDOW_EXPEDITE | PF_WINDOW_CPU_LATENCY}},
    {.kind = PF_STEP_WAIT, .flags = PF_STEP_PEER, .after = -1, .window.max_window_ns = 9},
    {.kind = PF_STEP_WINDOW, .after = -1, .window.max_window_ns = 10},
    {.kind = PF_STEP_CHILD, .after = 1, .child = &script, .only_if = 3},
};
#define STEPS ((uint32_t)(sizeof steps / sizeof *steps))

static pf_plan_options options_of(const pf_step_options *of, uint32_t count)
{
    return (pf_plan_options){.steps = of, .count = count, .notify_fd = -1, .done_fd = -1};
}

static int exists(const char *name)
{
    struct stat status;
    return fstatat(directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Returns its descriptor; the caller removes the file. */
static int make(struct pf_plan_page **page, const pf_step_options *of, uint32_t count)
{
    pf_fault fault;
    pf_plan_options options = options_of(of, count);
    int fd = pf_plan_page_create(page, directory_fd, RUN_ID, &options, &fault);
    REQUIRE(fd >= 0);
    return fd;
}

/* ---- what is written is what is read --------------------------------------------------------- */

static void check_child(struct pf_child_page *page, const pf_child_options *options)
{
    char *const no_extras[PF_EXTRA_MAX] = {NULL};
    struct pf_child_words words;
    pf_fault fault;
    REQUIRE(page != NULL);
    CHECK_EQ(page->flags, options->flags);
    CHECK_EQ(page->attempts_allowed, options->attempts);
    CHECK_EQ(page->timeout_ns, options->timeout_ns);
    CHECK_EQ(page->ring_bytes, options->output_bytes);
    REQUIRE(pf_child_page_words(page, no_extras, &words, &fault) == 0);
    CHECK_STR(words.path, options->path);
    CHECK_STR(words.argv[0], options->argv[0]);
    free(words.argv);
}

static void check_step(struct pf_plan_page *page, uint32_t index, const pf_step_options *wanted)
{
    const struct pf_step *step = &page->steps[index];
    pf_step_report report;
    CHECK_EQ(step->kind, wanted->kind);
    CHECK_EQ(step->flags, wanted->flags);
    CHECK_EQ(step->group, wanted->group);
    CHECK_EQ(step->skip_if, wanted->skip_if);
    CHECK_EQ(step->only_if, wanted->only_if);
    CHECK_EQ(step->on_failure, wanted->on_failure);
    CHECK_EQ(step->after, wanted->after);
    CHECK_EQ(step->window.flags, wanted->window.flags);
    CHECK_EQ(step->window.flush.rounds, wanted->window.flush.rounds);
    CHECK_EQ(step->window.flush.spend_ns, wanted->window.flush.spend_ns);
    CHECK_EQ(step->window.flush.limit_ns, wanted->window.flush.limit_ns);
    CHECK_EQ(step->window.max_window_ns, wanted->window.max_window_ns);
    CHECK_EQ(step->window.freeze_timeout_ns, wanted->window.freeze_timeout_ns);
    if (wanted->child)
        check_child(pf_step_child(page, index), wanted->child);
    else
        CHECK(pf_step_child(page, index) == NULL);
    pf_step_read(step, &report);
    CHECK_EQ(report.kind, wanted->kind);
    CHECK_EQ(report.status, PF_STATUS_PENDING);
    CHECK_EQ(report.verdict, PF_VERDICT_NONE);
    CHECK_EQ(report.fault.op, PF_OP_NONE);
    CHECK_EQ(report.fault.index, -1);
    CHECK_EQ(report.fault.error, 0);
    CHECK_EQ(report.begin_ns, 0);
    CHECK_EQ(report.snapshot_ns, 0);
    CHECK_EQ(report.end_ns, 0);
}

static void check_round_trip(const pf_step_options *of, uint32_t count)
{
    pf_fault fault;
    struct pf_plan_page *made, *mapped;
    int fd = make(&made, of, count);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    REQUIRE(pf_plan_page_map(&mapped, fd, &fault) == 0);
    CHECK(pf_plan_page_is_fresh(mapped));
    CHECK_EQ(mapped->count, count);
    CHECK_EQ(mapped->tells_steps, 0);
    CHECK_EQ(mapped->facts, 0);
    CHECK_EQ(mapped->is_over, 0);
    for (uint32_t i = 0; i < count; i++)
        check_step(mapped, i, &of[i]);
    atomic_store(&mapped->facts, PF_FACT_FIRST_FREE);
    CHECK_EQ(made->facts, PF_FACT_FIRST_FREE); /* one memory */
    pf_plan_page_unmap(mapped);
    pf_plan_page_unmap(made);
    close(fd);
    pf_plan_page_remove(directory_fd, RUN_ID);
    CHECK(!exists(FILE_NAME));
}

/* Steps of each kind, together, alone or none, are read as they were written, and pending. */
TEST(round_trips)
{
    check_round_trip(steps, STEPS);
    for (uint32_t i = 0; i < STEPS; i++) {
        pf_step_options alone = steps[i];
        alone.after = -1;
        check_round_trip(&alone, 1);
    }
    check_round_trip(NULL, 0);
    pf_plan_page_unmap(NULL);
}

/* A plan may have as many steps as the limit says, each with a child. */
TEST(many_steps)
{
    static pf_step_options many[PF_PLAN_MAX_STEPS];
    for (uint32_t i = 0; i < PF_PLAN_MAX_STEPS; i++) {
        many[i] = (pf_step_options){.kind = PF_STEP_CHILD, .after = -1, .child = &script};
        many[i].group = i;
    }
    check_round_trip(many, PF_PLAN_MAX_STEPS);
}

/* The wish to be told of each step arrives. */
TEST(tells_steps)
{
    pf_fault fault;
    struct pf_plan_page *page;
    pf_plan_options options = options_of(steps, STEPS);
    options.tells_steps = 1;
    int fd = pf_plan_page_create(&page, directory_fd, RUN_ID, &options, &fault);
    REQUIRE(fd >= 0);
    CHECK_EQ(page->tells_steps, 1);
    pf_plan_page_unmap(page);
    close(fd);
}

/* All that the supervisor notes of a step is in its report. */
TEST(reports)
{
    pf_step_report report;
    struct pf_step step = {.kind = PF_STEP_WINDOW,
                           .status = PF_STATUS_FAILED,
                           .verdict = PF_VERDICT_BROKEN,
                           .fault = {.op = PF_OP_THAW, .index = 4, .error = EIO},
                           .begin_ns = 1ull << 40,
                           .snapshot_ns = 1ull << 41,
                           .end_ns = 1ull << 42};
    pf_step_read(&step, &report);
    CHECK_EQ(report.kind, PF_STEP_WINDOW);
    CHECK_EQ(report.status, PF_STATUS_FAILED);
    CHECK_EQ(report.verdict, PF_VERDICT_BROKEN);
    CHECK_EQ(report.fault.op, PF_OP_THAW);
    CHECK_EQ(report.fault.index, 4);
    CHECK_EQ(report.fault.error, EIO);
    CHECK_EQ(report.begin_ns, 1ull << 40);
    CHECK_EQ(report.snapshot_ns, 1ull << 41);
    CHECK_EQ(report.end_ns, 1ull << 42);
}

/* A further plan of a run: its file is another one, and the first stays whole for who has mapped it. */
TEST(second_plan_replaces_the_first)
{
    struct pf_plan_page *first, *second;
    struct stat one, two, named;
    int first_fd = make(&first, steps, STEPS);
    int second_fd = make(&second, steps, 1);
    REQUIRE(fstat(first_fd, &one) == 0 && fstat(second_fd, &two) == 0);
    REQUIRE(fstatat(directory_fd, FILE_NAME, &named, 0) == 0);
    CHECK_EQ(named.st_ino, two.st_ino);
    CHECK(one.st_ino != two.st_ino);
    CHECK_EQ(one.st_nlink, 0);
    CHECK_EQ(first->count, STEPS);
    CHECK_EQ(second->count, 1);
    check_step(first, STEPS - 1, &steps[STEPS - 1]);
    pf_plan_page_unmap(first);
    pf_plan_page_unmap(second);
    close(first_fd);
    close(second_fd);
}

/* A link of that name, wherever it leads to, is removed and not followed. */
TEST(link_in_its_place)
{
    struct pf_plan_page *page;
    struct stat status;
    REQUIRE(symlinkat("victim", directory_fd, FILE_NAME) == 0);
    int fd = make(&page, steps, 1);
    CHECK(!exists("victim"));
    REQUIRE(fstatat(directory_fd, FILE_NAME, &status, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK(S_ISREG(status.st_mode));
    CHECK_EQ(status.st_mode & 0777, 0600);
    pf_plan_page_unmap(page);
    close(fd);
}

/* ---- what is not made -------------------------------------------------------------------------- */

static void check_refused(const pf_step_options *of, uint32_t count, int error, int index)
{
    pf_fault fault;
    struct pf_plan_page *page = NULL;
    pf_plan_options options = options_of(of, count);
    CHECK_EQ(pf_plan_page_create(&page, directory_fd, RUN_ID, &options, &fault), -error);
    CHECK_EQ(fault.op, PF_OP_PLAN);
    CHECK_EQ(fault.error, error);
    CHECK_EQ(fault.index, index);
    CHECK(page == NULL);
}

/* A bad step is refused by its index, too much by its size, and the former plan stays. */
TEST(refusals_to_create)
{
    static pf_step_options many[PF_PLAN_MAX_STEPS + 1];
    pf_child_options child = script;
    pf_step_options two[2] = {steps[0], {.kind = PF_STEP_CHILD, .after = -1, .child = &child}};
    struct pf_plan_page *page;
    int fd = make(&page, steps, STEPS); /* which a refused one does not replace */
    check_refused(many, PF_PLAN_MAX_STEPS + 1, E2BIG, -1);
    check_refused(many, UINT32_MAX, E2BIG, -1);

    child.attempts = 0;
    check_refused(two, 2, EINVAL, 1);
    child = script;
    child.argv = envp + 1; /* none */
    check_refused(two, 2, EINVAL, 1);
    child = script;
    child.output_bytes = PF_CHILD_MAX_BYTES;
    check_refused(two, 2, E2BIG, 1);
    child.output_bytes = UINT32_MAX;
    check_refused(two, 2, E2BIG, 1);
    child = script;

    const int unknown[] = {INT32_MIN, -1, 0, PF_STEP_WAIT + 1, INT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        two[1].kind = unknown[i];
        check_refused(two, 2, EINVAL, 1);
    }
    const int childless[] = {PF_STEP_OPEN, PF_STEP_FLUSH, PF_STEP_WAIT};
    for (size_t i = 0; i < sizeof childless / sizeof *childless; i++) {
        two[1].kind = childless[i];
        check_refused(two, 2, EINVAL, 1);
    }
    two[1] = (pf_step_options){.kind = PF_STEP_CHILD, .after = -1};
    check_refused(two, 2, EINVAL, 1);
    const int nowhere[] = {INT32_MIN, -2, 2, INT32_MAX};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        two[0].after = nowhere[i];
        check_refused(two, 2, EINVAL, 0);
    }
    CHECK(exists(FILE_NAME));
    pf_plan_page_unmap(page);
    close(fd);
}

/* Without a directory there is no plan, and the error says so. */
TEST(no_directory)
{
    pf_fault fault;
    struct pf_plan_page *page;
    pf_plan_options options = options_of(steps, STEPS);
    CHECK_EQ(pf_plan_page_create(&page, -1, RUN_ID, &options, &fault), -EBADF);
    CHECK_EQ(fault.op, PF_OP_PLAN);
    CHECK_EQ(fault.error, EBADF);
}

/* ---- what is not read ---------------------------------------------------------------------------- */

struct image {
    char bytes[4096];
    size_t size;
    int fd;
};

static struct image *take_image(void)
{
    struct image *image = malloc(sizeof *image);
    struct pf_plan_page *page;
    REQUIRE(image != NULL);
    image->fd = make(&page, steps, STEPS);
    image->size = page->size;
    REQUIRE(image->size <= sizeof image->bytes);
    memcpy(image->bytes, page, image->size);
    pf_plan_page_unmap(page);
    return image;
}

static void drop_image(struct image *image)
{
    close(image->fd);
    free(image);
}

static void put_image(const struct image *image, const char *bytes, size_t size)
{
    REQUIRE(ftruncate(image->fd, (off_t)size) == 0);
    REQUIRE(pwrite(image->fd, bytes, size, 0) == (ssize_t)size);
}

/* Whatever a child writes stays in its own page: all others are afterwards what they were. */
static void use_children(struct pf_plan_page *page)
{
    char *const no_extras[PF_EXTRA_MAX] = {NULL};
    static const char output[300] = {0};
    for (uint32_t i = 0; i < page->count; i++) {
        struct pf_child_page *child = pf_step_child(page, i);
        if (child)
            pf_child_page_append(child, output, 1 + child->ring_bytes % sizeof output);
    }
    for (uint32_t i = 0; i < page->count; i++) {
        struct pf_child_page *child = pf_step_child(page, i);
        struct pf_child_words words;
        pf_fault fault;
        if (!child)
            continue;
        CHECK(pf_child_page_is_plausible(child, page->steps[i].child_size));
        REQUIRE(pf_child_page_words(child, no_extras, &words, &fault) == 0);
        CHECK(words.argv[0] != NULL && strlen(words.path) < page->size);
        free(words.argv);
    }
}

static int use(const struct image *image)
{
    pf_fault fault = {0};
    struct pf_plan_page *page = NULL;
    int result = pf_plan_page_map(&page, image->fd, &fault);
    if (result < 0) {
        CHECK_EQ(result, -EBADMSG);
        CHECK_EQ(fault.op, PF_OP_PLAN);
        CHECK_EQ(fault.error, EBADMSG);
        CHECK(page == NULL);
        return result;
    }
    for (uint32_t i = 0; i < page->count; i++) {
        const struct pf_step *step = &page->steps[i];
        pf_step_report report;
        pf_step_read(step, &report);
        CHECK(step->kind >= PF_STEP_OPEN && step->kind <= PF_STEP_WAIT);
        CHECK(step->after >= -1 && step->after < (int64_t)page->count);
        CHECK(step->kind != PF_STEP_CHILD || pf_step_child(page, i) != NULL);
    }
    use_children(page);
    (void)pf_plan_page_is_fresh(page);
    pf_plan_page_unmap(page);
    return 0;
}

static int use_with(const struct image *image, const char *bytes)
{
    put_image(image, bytes, image->size);
    return use(image);
}

/* Not a byte may be missing, and none may follow. */
TEST(truncations)
{
    struct image *image = take_image();
    char longer[sizeof image->bytes + 8] = {0};
    for (size_t size = 0; size < image->size; size++) {
        put_image(image, image->bytes, size);
        CHECK_EQ(use(image), -EBADMSG);
    }
    memcpy(longer, image->bytes, image->size);
    put_image(image, longer, image->size + 1);
    CHECK_EQ(use(image), -EBADMSG);
    put_image(image, image->bytes, image->size);
    CHECK_EQ(use(image), 0);
    drop_image(image);
}

/* The header knows of it: then what follows must not fit, or be too much. */
TEST(consistent_lengths)
{
    struct image *image = take_image();
    for (size_t size = sizeof(struct pf_plan_page); size <= image->size + 8; size++) {
        struct image other = *image;
        memset(other.bytes + image->size, 0, 8);
        ((struct pf_plan_page *)(void *)other.bytes)->size = size;
        put_image(image, other.bytes, size);
        CHECK_EQ(use(image), size == image->size ? 0 : -EBADMSG);
    }
    drop_image(image);
}

static void check_field(const struct image *image, size_t offset, size_t width)
{
    uint64_t good = 0;
    memcpy(&good, image->bytes + offset, width);
    const uint64_t values[] = {0,           8,          good - 1,        good + 1,
                               good + 8,    good - 8,   good ^ 0x80,     UINT16_MAX,
                               INT32_MAX,   UINT32_MAX, 1ull << 31,      1ull << 32,
                               1ull << 63,  UINT64_MAX, UINT64_MAX - 7,  good << 32,
                               image->size, 0 - good,   image->size + 8, image->size - 1};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint64_t value = width == 4 ? (uint32_t)values[i] : values[i];
        struct image bad = *image;
        memcpy(bad.bytes + offset, &value, width);
        CHECK_EQ(use_with(image, bad.bytes), value == good ? 0 : -EBADMSG);
    }
}

static size_t offset_of_step(uint32_t index)
{
    return sizeof(struct pf_plan_page) + index * sizeof(struct pf_step);
}

/* Sizes, counts and the places of children are refused with any value but their own. */
TEST(fields)
{
    struct image *image = take_image();
    check_field(image, offsetof(struct pf_plan_page, magic), 8);
    check_field(image, offsetof(struct pf_plan_page, size), 8);
    check_field(image, offsetof(struct pf_plan_page, count), 4);
    for (uint32_t i = 0; i < STEPS; i++) {
        check_field(image, offset_of_step(i) + offsetof(struct pf_step, child_offset), 8);
        check_field(image, offset_of_step(i) + offsetof(struct pf_step, child_size), 8);
    }
    drop_image(image);
}

static void check_values(const struct image *image, size_t offset, const int32_t *values,
                         size_t count)
{
    for (uint32_t step = 0; step < STEPS; step++)
        for (size_t i = 0; i < count; i++) {
            struct image bad = *image;
            memcpy(bad.bytes + offset_of_step(step) + offset, &values[i], 4);
            CHECK_EQ(use_with(image, bad.bytes), -EBADMSG);
        }
}

/* A step of a kind that there is none of is refused. */
TEST(unknown_kinds)
{
    struct image *image = take_image();
    const int32_t kinds[] = {0, PF_STEP_WAIT + 1, 256 + PF_STEP_OPEN, -1, INT32_MIN, INT32_MAX};
    check_values(image, offsetof(struct pf_step, kind), kinds, sizeof kinds / sizeof *kinds);
    drop_image(image);
}

/* A child where none can be, and none where there has to be one. */
TEST(kinds_and_children)
{
    struct image *image = take_image();
    for (uint32_t step = 0; step < STEPS; step++)
        for (uint32_t kind = PF_STEP_OPEN; kind <= PF_STEP_WAIT; kind++) {
            struct image other = *image;
            memcpy(other.bytes + offset_of_step(step), &kind, 4);
            int holds = steps[step].child ? kind == PF_STEP_CHILD || kind == PF_STEP_WINDOW
                                          : kind != PF_STEP_CHILD;
            CHECK_EQ(use_with(image, other.bytes), holds ? 0 : -EBADMSG);
        }
    drop_image(image);
}

/* A step may come after any step of its plan or after none, and after no other. */
TEST(after_out_of_range)
{
    struct image *image = take_image();
    const int32_t nowhere[] = {-2, (int32_t)STEPS, INT32_MIN, INT32_MAX, 1 << 16};
    check_values(image, offsetof(struct pf_step, after), nowhere, sizeof nowhere / sizeof *nowhere);
    for (int32_t after = -1; after < (int32_t)STEPS; after++) {
        struct image other = *image;
        memcpy(other.bytes + offset_of_step(0) + offsetof(struct pf_step, after), &after, 4);
        CHECK_EQ(use_with(image, other.bytes), 0);
    }
    drop_image(image);
}

/* ---- children's pages in each other's way ------------------------------------------------------------ */

static struct pf_plan_page *header_of(struct image *image)
{
    return (struct pf_plan_page *)(void *)image->bytes;
}

/* What one child says would be what the other one executes. */
TEST(children_share_a_page)
{
    struct image *image = take_image();
    struct image bad = *image;
    struct pf_step *of = header_of(&bad)->steps;
    of[6].child_offset = of[1].child_offset;
    of[6].child_size = of[1].child_size;
    CHECK_EQ(use_with(image, bad.bytes), -EBADMSG);
    bad = *image;
    of[1].child_offset = of[6].child_offset;
    of[1].child_size = of[6].child_size;
    CHECK_EQ(use_with(image, bad.bytes), -EBADMSG);
    drop_image(image);
}

/* One page, well-formed in itself, whose ring holds another one. */
TEST(child_within_the_ring_of_another)
{
    struct image *image = take_image();
    struct image bad = *image;
    struct pf_plan_page *page = header_of(&bad);
    struct pf_step *outer = &page->steps[1];
    struct pf_child_page *child = pf_step_child(page, 1);
    outer->child_size = page->size - outer->child_offset;
    child->size = outer->child_size;
    child->ring_bytes = (uint32_t)(child->size - child->ring_offset);
    CHECK(pf_child_page_is_plausible(child, child->size));
    CHECK_EQ(use_with(image, bad.bytes), -EBADMSG);
    drop_image(image);
}

/* Over the steps, over the header, and beyond the end: each with a page there that would hold. */
TEST(child_over_the_steps)
{
    struct image *image = take_image();
    const struct pf_step good = header_of(image)->steps[6];
    char child[512];
    REQUIRE(good.child_size <= sizeof child);
    memcpy(child, image->bytes + good.child_offset, good.child_size);
    for (uint64_t at = 8; at + good.child_size <= image->size; at += 8) {
        struct image bad = *image;
        memcpy(bad.bytes + at, child, good.child_size);
        header_of(&bad)->steps[6].child_offset = at;
        CHECK_EQ(use_with(image, bad.bytes), at == good.child_offset ? 0 : -EBADMSG);
    }
    drop_image(image);
}

/* Their order is that of the steps: else where one ends would say nothing about where another begins. */
TEST(children_change_places)
{
    struct image *image = take_image();
    struct image bad = *image;
    struct pf_step *of = header_of(&bad)->steps;
    const struct pf_step first = of[1], last = of[6];
    CHECK_EQ(first.child_size, last.child_size);
    of[1].child_offset = last.child_offset;
    of[6].child_offset = first.child_offset;
    CHECK_EQ(use_with(image, bad.bytes), -EBADMSG);
    drop_image(image);
}

/* However its bytes are changed, a plan is refused or can be used without a byte out of bounds. */
TEST(mutations)
{
    struct image *image = take_image();
    uint64_t seed = 20240302;
    int accepted = 0, refused = 0;
    for (int i = 0; i < MUTATIONS; i++) {
        struct image bad = *image;
        for (uint64_t left = 1 + check_below(&seed, 3); left > 0; left--)
            bad.bytes[check_below(&seed, bad.size)] = (char)check_random(&seed);
        if (check_below(&seed, 8) == 0)
            bad.size = check_below(&seed, bad.size + 1);
        put_image(image, bad.bytes, bad.size);
        *(use(image) == 0 ? &accepted : &refused) += 1;
    }
    CHECK(accepted > MUTATIONS / 100 && refused > MUTATIONS / 4); /* it does try both */
    drop_image(image);
}

/* What is no file, or not open, is refused. */
TEST(other_files)
{
    pf_fault fault;
    struct pf_plan_page *page = NULL;
    int pipes[2];
    REQUIRE(pipe(pipes) == 0);
    CHECK_EQ(pf_plan_page_map(&page, pipes[0], &fault), -EBADMSG);
    CHECK_EQ(pf_plan_page_map(&page, directory_fd, &fault), -EBADMSG);
    CHECK_EQ(pf_plan_page_map(&page, -1, &fault), -EBADF);
    CHECK_EQ(fault.op, PF_OP_PLAN);
    CHECK(page == NULL);
    close(pipes[0]);
    close(pipes[1]);
}

/* Whoever only looks gets no more than that. */
TEST(read_only)
{
    pf_fault fault;
    struct pf_plan_page *made, *seen;
    int fd = make(&made, steps, STEPS);
    int look = openat(directory_fd, FILE_NAME, O_RDONLY | O_CLOEXEC);
    REQUIRE(pf_plan_page_map(&seen, look, &fault) == 0);
    CHECK_EQ(mprotect(seen, seen->size, PROT_READ | PROT_WRITE), -1);
    CHECK_EQ(errno, EACCES);
    atomic_store(&made->steps[0].status, PF_STATUS_RUNNING);
    CHECK_EQ(seen->steps[0].status, PF_STATUS_RUNNING);
    pf_plan_page_unmap(seen);
    pf_plan_page_unmap(made);
    close(look);
    close(fd);
}

/* ---- freshness ------------------------------------------------------------------------------------- */

static void check_not_fresh(const struct image *image, size_t offset, size_t width)
{
    struct image used = *image;
    struct pf_plan_page *page;
    pf_fault fault;
    for (size_t i = 0; i < width; i++) {
        used.bytes[offset + i] ^= 1;
        put_image(image, used.bytes, used.size);
        REQUIRE(pf_plan_page_map(&page, image->fd, &fault) == 0);
        CHECK(!pf_plan_page_is_fresh(page));
        pf_plan_page_unmap(page);
        used.bytes[offset + i] ^= 1;
    }
}

#define USED(base, type, field)                                                                    \
    check_not_fresh(image, (base) + offsetof(struct type, field), sizeof((struct type *)0)->field)

/* A journal that tells of something, however little, was somebody's before. */
TEST(used_ones_are_told_from_fresh_ones)
{
    struct image *image = take_image();
    USED(0, pf_plan_page, facts);
    USED(0, pf_plan_page, is_over);
    for (uint32_t i = 0; i < STEPS; i++) {
        size_t step = offset_of_step(i), child = header_of(image)->steps[i].child_offset;
        USED(step, pf_step, status);
        USED(step, pf_step, verdict);
        USED(step, pf_step, fault.error);
        USED(step, pf_step, begin_ns);
        USED(step, pf_step, snapshot_ns);
        USED(step, pf_step, end_ns);
        if (child == 0)
            continue;
        USED(child, pf_child_page, state);
        USED(child, pf_child_page, exec_error);
        USED(child, pf_child_page, pid);
        USED(child, pf_child_page, wait_status);
        USED(child, pf_child_page, attempts);
        USED(child, pf_child_page, timed_out);
        USED(child, pf_child_page, ended_early);
        USED(child, pf_child_page, unkillable);
        USED(child, pf_child_page, start_ns);
        USED(child, pf_child_page, end_ns);
        USED(child, pf_child_page, output_total);
    }
    drop_image(image);
}

int main(int count, char **words)
{
    check_begin(count, words);
    REQUIRE(mkdir("state", 0700) == 0 || errno == EEXIST);
    directory_fd = open("state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(directory_fd >= 0);
    return check_run();
}
