/* What is said about a child arrives as it was said, and nothing that is not well-formed is read. */
#define _GNU_SOURCE
#include "protocol/childpage.h"

#include <stddef.h>
#include <string.h>

#include "check.h"

#define MUTATIONS 20000
#define MANY 3000

static char *const no_extras[PF_EXTRA_MAX] = {NULL};

static pf_child_options plain_options(void)
{
    static const char *const argv[] = {"backup", "-x", "", "last word", NULL};
    static const char *const envp[] = {"PATH=/usr/bin:/bin", "EMPTY=", NULL};
    return (pf_child_options){.path = "/usr/bin/true",
                              .argv = argv,
                              .envp = envp,
                              .directory = "/",
                              .flags = PF_CHILD_OUTLIVE | PF_CHILD_LEAVE,
                              .attempts = 3,
                              .timeout_ns = 1234567890123,
                              .grace_ns = 42,
                              .output_bytes = 100};
}

/* In memory of exactly its size: AddressSanitizer sees one byte too many. */
static struct pf_child_page *make_page(const pf_child_options *options)
{
    uint64_t size = pf_child_page_size(options);
    REQUIRE(size >= sizeof(struct pf_child_page));
    struct pf_child_page *page = calloc(1, size);
    REQUIRE(page != NULL);
    pf_child_page_fill(page, size, options);
    CHECK_EQ(page->size, size);
    return page;
}

static void check_list(char *const *found, const char *const *wanted)
{
    for (; *wanted; wanted++, found++) {
        REQUIRE(*found != NULL);
        CHECK_STR(*found, *wanted);
    }
    CHECK(*found == NULL);
}

static void check_extras(struct pf_child_page *page, const pf_child_options *options,
                         char *const extras[PF_EXTRA_MAX])
{
    pf_fault fault;
    struct pf_child_words words;
    size_t last = 0;
    REQUIRE(pf_child_page_words(page, extras, &words, &fault) == 0);
    while (options->envp[last])
        last++;
    for (int i = 0; i < PF_EXTRA_MAX; i++)
        if (extras[i])
            CHECK(words.envp[last++] == extras[i]);
    CHECK(words.envp[last] == NULL);
    free(words.argv);
}

static void check_round_trip(const pf_child_options *options)
{
    pf_fault fault;
    struct pf_child_words words;
    pf_child_report report;
    char attempt[] = "PYFREEZE_ATTEMPT=1", outcome[] = "PYFREEZE_OUTCOME=none";
    struct pf_child_page *page = make_page(options);
    CHECK(pf_child_page_is_plausible(page, page->size));
    CHECK_EQ(page->timeout_ns, options->timeout_ns);
    CHECK_EQ(page->grace_ns, options->grace_ns);
    CHECK_EQ(page->flags, options->flags);
    CHECK_EQ(page->attempts_allowed, options->attempts);
    CHECK_EQ(page->ring_bytes, options->output_bytes);

    REQUIRE(pf_child_page_words(page, no_extras, &words, &fault) == 0);
    CHECK_STR(words.path, options->path);
    CHECK_STR(words.directory, options->directory);
    check_list(words.argv, options->argv);
    check_list(words.envp, options->envp);
    free(words.argv);
    check_extras(page, options, (char *const[]){attempt, NULL});
    check_extras(page, options, (char *const[]){NULL, outcome});
    check_extras(page, options, (char *const[]){attempt, outcome});

    pf_child_page_report(page, &report);
    CHECK_EQ(report.state, PF_CHILD_PENDING);
    CHECK_EQ(report.attempts, 0);
    CHECK_EQ(report.output_total, 0);
    free(page);
}

/* All that a child is started with is read from its page as it was put in, empty or long. */
TEST(round_trips)
{
    pf_child_options options = plain_options();
    check_round_trip(&options);

    static const char *const nothing[] = {NULL};
    static const char *const empty[] = {"", NULL};
    options.path = options.directory = "";
    options.argv = empty;
    options.envp = nothing;
    options.output_bytes = 0;
    check_round_trip(&options);

    static char texts[MANY][16];
    static const char *many[MANY + 1];
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "%.*d", i % 9, i);
        many[i] = texts[i];
    }
    options.argv = options.envp = many;
    check_round_trip(&options);
}

/* All that the supervisor notes of a child is in its report. */
TEST(reports)
{
    pf_child_options options = plain_options();
    struct pf_child_page *page = make_page(&options);
    pf_child_report report;
    page->pid = 101;
    page->attempts = 2;
    page->wait_status = 37 << 8;
    page->timed_out = 1;
    page->ended_early = 2;
    page->unkillable = 3;
    page->start_ns = 1ull << 40;
    page->end_ns = UINT64_MAX;
    atomic_store(&page->exec_error, ENOEXEC);
    atomic_store(&page->state, PF_CHILD_ENDED);
    pf_child_page_append(page, "0123", 4);
    pf_child_page_report(page, &report);
    CHECK_EQ(report.state, PF_CHILD_ENDED);
    CHECK_EQ(report.pid, 101);
    CHECK_EQ(report.attempts, 2);
    CHECK_EQ(report.wait_status, 37 << 8);
    CHECK_EQ(report.exec_error, ENOEXEC);
    CHECK_EQ(report.timed_out, 1);
    CHECK_EQ(report.ended_early, 2);
    CHECK_EQ(report.unkillable, 3);
    CHECK_EQ(report.start_ns, 1ull << 40);
    CHECK_EQ(report.end_ns, UINT64_MAX);
    CHECK_EQ(report.output_total, 4);
    CHECK(pf_child_page_is_plausible(page, page->size)); /* whatever has become of it */
    free(page);
}

/* Nothing to run, or never to be run, has no page. */
TEST(nothing_to_run)
{
    static const char *const nothing[] = {NULL};
    pf_child_options options = plain_options();
    options.attempts = 0;
    CHECK_EQ(pf_child_page_size(&options), 0);
    options = plain_options();
    options.argv = nothing;
    CHECK_EQ(pf_child_page_size(&options), 0);
    options = plain_options();
    options.output_bytes = UINT32_MAX; /* its size does not wrap around */
    CHECK(pf_child_page_size(&options) > UINT32_MAX);
}

/* ---- what is refused ------------------------------------------------------------------------ */

struct image {
    size_t size;
    char bytes[];
};

static struct image *take_image(void)
{
    pf_child_options options = plain_options();
    struct pf_child_page *page = make_page(&options);
    struct image *image = malloc(sizeof *image + page->size);
    REQUIRE(image != NULL);
    image->size = page->size;
    memcpy(image->bytes, page, image->size);
    free(page);
    return image;
}

static struct pf_child_page *copy_of(const struct image *image)
{
    struct pf_child_page *page = malloc(image->size);
    REQUIRE(page != NULL);
    memcpy(page, image->bytes, image->size);
    return page;
}

/* Use all of a page that is plausible, so that a reference out of its bounds is seen. */
static int use(struct pf_child_page *page, uint64_t size)
{
    pf_fault fault;
    struct pf_child_words words;
    char output[512];
    if (!pf_child_page_is_plausible(page, size))
        return 0;
    REQUIRE(pf_child_page_words(page, no_extras, &words, &fault) == 0);
    size_t total = strlen(words.path) + strlen(words.directory) + 2;
    CHECK(words.argv[0] != NULL);
    for (char **word = words.argv; *word; word++)
        total += strlen(*word) + 1;
    for (char **word = words.envp; *word; word++)
        total += strlen(*word) + 1;
    CHECK_EQ(total, page->ring_offset - page->strings_offset);
    free(words.argv);
    pf_child_page_append(page, "0123456789", 10);
    CHECK(pf_child_page_output(page, output, sizeof output) <= page->ring_bytes);
    return 1;
}

static int use_and_free(struct pf_child_page *page, uint64_t size)
{
    int was_plausible = use(page, size);
    free(page);
    return was_plausible;
}

/* The first `size` bytes of a page. */
static int use_part(const struct pf_child_page *page, uint64_t size)
{
    struct pf_child_page *part = malloc(size + (size == 0));
    REQUIRE(part != NULL);
    memcpy(part, page, size);
    return use_and_free(part, size);
}

/* Not a byte may be missing, and none may follow. */
TEST(truncations)
{
    struct image *image = take_image();
    struct pf_child_page *page = copy_of(image);
    for (size_t size = 0; size < image->size; size++)
        CHECK(!use_part(page, size));
    CHECK(use_part(page, image->size));
    struct pf_child_page *longer = calloc(1, image->size + 1);
    REQUIRE(longer != NULL);
    memcpy(longer, page, image->size);
    CHECK(!use_and_free(longer, image->size + 1));
    free(page);
    free(image);
}

/* Truncated, but with a header that says so: then the strings must not fit. */
TEST(consistent_truncations)
{
    struct image *image = take_image();
    const uint64_t ring_offset =
        ((const struct pf_child_page *)(const void *)image->bytes)->ring_offset;
    for (size_t size = sizeof(struct pf_child_page); size < ring_offset; size++) {
        struct pf_child_page *page = copy_of(image);
        page->size = page->ring_offset = size;
        page->ring_bytes = 0;
        CHECK(!use_part(page, size));
        free(page);
    }
    free(image);
}

/* A size above the limit is refused before a byte of the page is read. */
TEST(huge)
{
    struct image *image = take_image();
    struct pf_child_page *page = copy_of(image);
    page->size = (uint64_t)PF_CHILD_MAX_BYTES +
                 1; /* said of memory that is smaller: not looked at */
    page->ring_bytes = (uint32_t)(page->size - page->ring_offset);
    CHECK(!use_and_free(page, (uint64_t)PF_CHILD_MAX_BYTES + 1));
    free(image);
}

static void check_field(const struct image *image, size_t offset, size_t width)
{
    uint64_t good = 0;
    memcpy(&good, image->bytes + offset, width);
    const uint64_t values[] = {
        0,          1,          good - 1,   good + 1,        good ^ 0x80,
        UINT8_MAX,  UINT16_MAX, UINT32_MAX, 1ull << 31,      1ull << 32,
        1ull << 63, UINT64_MAX, good << 32, image->size - 1, image->size + 1};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint64_t value = width == 4 ? (uint32_t)values[i] : values[i];
        struct pf_child_page *page = copy_of(image);
        memcpy((char *)page + offset, &value, width);
        CHECK_EQ(use_and_free(page, image->size), value == good);
    }
}

#define FIELD(name)                                                                                \
    check_field(image, offsetof(struct pf_child_page, name),                                       \
                sizeof((struct pf_child_page *)0)->name)

/* Each field that says where something lies is refused with any value but its own. */
TEST(fields)
{
    struct image *image = take_image();
    FIELD(magic);
    FIELD(size);
    FIELD(argument_count);
    FIELD(variable_count);
    FIELD(ring_bytes);
    FIELD(strings_offset);
    FIELD(ring_offset);

    struct pf_child_page *page = copy_of(image);
    page->attempts_allowed = 0;
    CHECK(!use_and_free(page, image->size));
    free(image);
}

/* A ring that begins before the strings' end: over them, or over the header. */
TEST(ring_over_others)
{
    struct image *image = take_image();
    const uint64_t end = ((const struct pf_child_page *)(const void *)image->bytes)->ring_offset;
    for (uint64_t offset = 0; offset < end; offset++) {
        struct pf_child_page *page = copy_of(image);
        page->ring_offset = offset;
        page->ring_bytes = (uint32_t)(image->size - offset);
        CHECK(!use_and_free(page, image->size));
    }
    free(image);
}

/* A sum that is right says nothing: it must not wrap around, and there must be an argv[0]. */
TEST(counts)
{
    struct image *image = take_image();
    const struct pf_child_page *good = (const void *)image->bytes;
    uint32_t both = good->argument_count + good->variable_count;
    for (uint32_t arguments = 0; arguments <= both + 1; arguments++) {
        struct pf_child_page *page = copy_of(image);
        page->argument_count = arguments;
        page->variable_count = both - arguments; /* at last it wraps */
        CHECK_EQ(use_and_free(page, image->size), arguments >= 1 && arguments <= both);
    }
    free(image);
}

/* However its bytes are changed, a page is refused or can be used without a byte out of bounds. */
TEST(mutations)
{
    struct image *image = take_image();
    uint64_t seed = 20240229;
    int accepted = 0, refused = 0;
    for (int i = 0; i < MUTATIONS; i++) {
        struct pf_child_page *page = copy_of(image);
        uint64_t size = image->size;
        for (uint64_t left = 1 + check_below(&seed, 4); left > 0; left--) {
            uint64_t bound = check_below(&seed, 2) ? sizeof *page : size;
            ((char *)page)[check_below(&seed, bound)] = (char)check_random(&seed);
        }
        if (check_below(&seed, 8) == 0)
            size = check_below(&seed, size + 1);
        *(use_part(page, size) ? &accepted : &refused) += 1;
        free(page);
    }
    CHECK(accepted > MUTATIONS / 100 && refused > MUTATIONS / 4); /* it does try both */
    free(image);
}

int main(int count, char **words)
{
    check_begin(count, words);
    return check_run();
}
