/* What is said about a child arrives as it was said, and nothing that is not well-formed is read. */
#define _GNU_SOURCE
#include "protocol/childpage.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "check.h"
#include "guarded.h"

#define MUTATIONS 20000
#define MANY 3000

static pf_child_options plain_options(void)
{
    static const char *const argv[] = {"backup", "-x", "", "last word", NULL};
    static const char *const envp[] = {"PATH=/usr/bin:/bin", "EMPTY=", NULL};
    return (pf_child_options){.path = "/usr/bin/true",
                              .argv = argv,
                              .envp = envp,
                              .directory = "/",
                              .flags = PF_CHILD_PARKED | PF_CHILD_LEAVE,
                              .attempts = 3,
                              .timeout_ns = 1234567890123,
                              .grace_ns = 42,
                              .output_bytes = 100,
                              .cancels = -1};
}

static void check_list(char *const *found, const char *const *wanted)
{
    for (; *wanted; wanted++, found++) {
        REQUIRE(*found != NULL);
        CHECK_STR(*found, *wanted);
    }
    CHECK(*found == NULL);
}

static void check_round_trip(const pf_child_options *options)
{
    pf_fault fault;
    struct pf_child_page *made, *mapped;
    struct pf_child_words words;
    char extra[] = "PYFREEZE_ATTEMPT=1";
    int fd = pf_child_page_create(&made, options, &fault);
    REQUIRE(fd >= 0);
    REQUIRE(pf_child_page_map(&mapped, fd, &fault) == 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(mapped->timeout_ns, options->timeout_ns);
    CHECK_EQ(mapped->grace_ns, options->grace_ns);
    CHECK_EQ(mapped->flags, options->flags);
    CHECK_EQ(mapped->attempts_allowed, options->attempts);
    CHECK_EQ(mapped->ring_bytes, options->output_bytes);
    CHECK_EQ(mapped->state, PF_CHILD_PENDING);

    REQUIRE(pf_child_page_words(mapped, NULL, &words, &fault) == 0);
    CHECK_STR(words.path, options->path);
    CHECK_STR(words.directory, options->directory);
    check_list(words.argv, options->argv);
    check_list(words.envp, options->envp);
    free(words.argv);

    REQUIRE(pf_child_page_words(mapped, extra, &words, &fault) == 0);
    size_t last = 0;
    while (options->envp[last])
        last++;
    CHECK(words.envp[last] == extra && words.envp[last + 1] == NULL);
    free(words.argv);
    pf_child_page_unmap(mapped);
    pf_child_page_unmap(made);
    close(fd);
}

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

TEST(refusals_to_create)
{
    pf_fault fault;
    struct pf_child_page *page;
    int before = check_count_fds(getpid());
    pf_child_options options = plain_options();
    options.attempts = 0;
    CHECK_EQ(pf_child_page_create(&page, &options, &fault), -EINVAL);
    CHECK_EQ(fault.op, PF_OP_CHILD_PAGE);
    CHECK_EQ(fault.error, EINVAL);
    CHECK_EQ(fault.index, -1);

    options = plain_options();
    options.output_bytes = PF_CHILD_MAX_BYTES;
    CHECK_EQ(pf_child_page_create(&page, &options, &fault), -E2BIG);
    options.output_bytes = UINT32_MAX;
    CHECK_EQ(pf_child_page_create(&page, &options, &fault), -E2BIG);
    CHECK_EQ(check_count_fds(getpid()), before);
}

/* ---- what is refused ------------------------------------------------------------------------ */

struct image {
    char bytes[2048];
    size_t size;
    int fd;
};

static const struct image *take_image(void)
{
    struct image *image = malloc(sizeof *image);
    REQUIRE(image != NULL);
    pf_fault fault;
    struct pf_child_page *page;
    pf_child_options options = plain_options();
    image->fd = pf_child_page_create(&page, &options, &fault);
    REQUIRE(image->fd >= 0);
    image->size = page->size;
    REQUIRE(image->size <= sizeof image->bytes);
    memcpy(image->bytes, page, image->size);
    pf_child_page_unmap(page);
    return image;
}

static void drop_image(const struct image *image)
{
    close(image->fd);
    free((void *)(uintptr_t)image);
}

static void put_image(const struct image *image, const char *bytes, size_t size)
{
    REQUIRE(ftruncate(image->fd, (off_t)size) == 0);
    REQUIRE(pwrite(image->fd, bytes, size, 0) == (ssize_t)size);
}

/* Use all of a page that was accepted, so that a reference out of its bounds is one out of bounds. */
static int use(const struct image *image)
{
    pf_fault fault = {0};
    struct pf_child_page *page = NULL;
    struct pf_child_words words;
    char output[512];
    int result = pf_child_page_map(&page, image->fd, &fault);
    if (result < 0) {
        CHECK_EQ(result, -EBADMSG);
        CHECK_EQ(fault.op, PF_OP_CHILD_PAGE);
        CHECK_EQ(fault.error, EBADMSG);
        CHECK(page == NULL);
        return result;
    }
    REQUIRE(pf_child_page_words(page, NULL, &words, &fault) == 0);
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
    pf_child_page_unmap(page);
    return 0;
}

TEST(truncations)
{
    const struct image *image = take_image();
    char longer[sizeof image->bytes + 1] = {0};
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

/* Truncated, but with a header that says so: then the strings must not fit. */
TEST(consistent_truncations)
{
    const struct image *image = take_image();
    const struct pf_child_page *page = (const void *)image->bytes;
    for (size_t size = sizeof *page; size < page->ring_offset; size++) {
        struct image shorter = *image;
        struct pf_child_page *header = (void *)shorter.bytes;
        header->size = header->ring_offset = size;
        header->ring_bytes = 0;
        put_image(image, shorter.bytes, size);
        CHECK_EQ(use(image), -EBADMSG);
    }
    drop_image(image);
}

static void check_field(const struct image *image, size_t offset, size_t width, uint64_t good)
{
    const uint64_t values[] = {
        0,          1,          good - 1,   good + 1,        good ^ 0x80,
        UINT8_MAX,  UINT16_MAX, UINT32_MAX, 1ull << 31,      1ull << 32,
        1ull << 63, UINT64_MAX, good << 32, image->size - 1, image->size + 1};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint64_t value = width == 4 ? (uint32_t)values[i] : values[i];
        struct image bad = *image;
        memcpy(bad.bytes + offset, &value, width);
        put_image(image, bad.bytes, bad.size);
        CHECK_EQ(use(image), value == good ? 0 : -EBADMSG);
    }
}

#define FIELD(name)                                                                                \
    check_field(image, offsetof(struct pf_child_page, name), sizeof page->name, page->name)

TEST(fields)
{
    const struct image *image = take_image();
    const struct pf_child_page *page = (const void *)image->bytes;
    FIELD(magic);
    FIELD(size);
    FIELD(argument_count);
    FIELD(variable_count);
    FIELD(ring_bytes);
    FIELD(strings_offset);
    FIELD(ring_offset);

    struct image bad = *image;
    ((struct pf_child_page *)bad.bytes)->attempts_allowed = 0;
    put_image(image, bad.bytes, bad.size);
    CHECK_EQ(use(image), -EBADMSG);
    drop_image(image);
}

/* A ring that begins before the strings' end: over them, or over the header. */
TEST(ring_over_others)
{
    const struct image *image = take_image();
    const struct pf_child_page *page = (const void *)image->bytes;
    for (uint64_t offset = 0; offset < page->ring_offset; offset++) {
        struct image bad = *image;
        struct pf_child_page *header = (void *)bad.bytes;
        header->ring_offset = offset;
        header->ring_bytes = (uint32_t)(image->size - offset);
        put_image(image, bad.bytes, bad.size);
        CHECK_EQ(use(image), -EBADMSG);
    }
    drop_image(image);
}

/* A sum that is right says nothing: it must not wrap around, and there must be an argv[0]. */
TEST(counts)
{
    const struct image *image = take_image();
    const struct pf_child_page *page = (const void *)image->bytes;
    uint32_t both = page->argument_count + page->variable_count;
    for (uint32_t arguments = 0; arguments <= both + 1; arguments++) {
        struct image other = *image;
        struct pf_child_page *header = (void *)other.bytes;
        header->argument_count = arguments;
        header->variable_count = both - arguments; /* at last it wraps */
        put_image(image, other.bytes, other.size);
        CHECK_EQ(use(image), arguments >= 1 && arguments <= both ? 0 : -EBADMSG);
    }
    drop_image(image);
}

TEST(mutations)
{
    const struct image *image = take_image();
    uint64_t seed = 20240229;
    int accepted = 0, refused = 0;
    for (int i = 0; i < MUTATIONS; i++) {
        struct image bad = *image;
        for (uint64_t left = 1 + check_below(&seed, 4); left > 0; left--) {
            uint64_t bound = check_below(&seed, 2) ? sizeof(struct pf_child_page) : bad.size;
            bad.bytes[check_below(&seed, bound)] = (char)check_random(&seed);
        }
        if (check_below(&seed, 8) == 0)
            bad.size = check_below(&seed, bad.size + 1);
        put_image(image, bad.bytes, bad.size);
        *(use(image) == 0 ? &accepted : &refused) += 1;
    }
    CHECK(accepted > MUTATIONS / 100 && refused > MUTATIONS / 4); /* it does try both */
    drop_image(image);
}

TEST(other_files)
{
    pf_fault fault;
    struct pf_child_page *page = NULL;
    int pair[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK_EQ(pf_child_page_map(&page, pair[0], &fault), -EBADMSG);
    int directory = open("/", O_RDONLY | O_DIRECTORY);
    CHECK_EQ(pf_child_page_map(&page, directory, &fault), -EBADMSG);
    int huge = memfd_create("huge", 0);
    REQUIRE(ftruncate(huge, (off_t)PF_CHILD_MAX_BYTES + 1) == 0);
    CHECK_EQ(pf_child_page_map(&page, huge, &fault), -EBADMSG);
    CHECK_EQ(pf_child_page_map(&page, -1, &fault), -EBADF);
    CHECK(page == NULL);
    const int fds[] = {pair[0], pair[1], directory, huge};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        close(fds[i]);
    pf_child_page_unmap(NULL);
}

int main(int count, char **words)
{
    check_begin(count, words);
    return check_run();
}
