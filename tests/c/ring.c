/* The ring that a child's output goes to: it holds the last of it, however it was written. */
#define _GNU_SOURCE
#include <string.h>

#include "check.h"
#include "protocol/childpage.h"

static struct pf_child_page *page_with_ring(uint32_t bytes)
{
    static const char *const argv[] = {"backup", NULL};
    static const char *const envp[] = {NULL};
    const pf_child_options options = {.path = "/usr/bin/true",
                                      .argv = argv,
                                      .envp = envp,
                                      .directory = "/",
                                      .attempts = 1,
                                      .output_bytes = bytes};
    uint64_t size = pf_child_page_size(&options);
    struct pf_child_page *page = calloc(1, size); /* the ring is the end of it */
    REQUIRE(page != NULL);
    pf_child_page_fill(page, size, &options);
    return page;
}

/* The model: everything ever written; the ring must hold the last `room` bytes of it. */
struct model {
    char bytes[8192];
    uint32_t count;
};

static void check_ring(const struct pf_child_page *page, const struct model *model, uint32_t size)
{
    char found[256];
    uint32_t kept = model->count < page->ring_bytes ? model->count : page->ring_bytes;
    if (kept > size)
        kept = size;
    memset(found, '#', sizeof found);
    CHECK_EQ(pf_child_page_output(page, found, size), kept);
    CHECK_EQ(memcmp(found, model->bytes + model->count - kept, kept), 0);
    CHECK_EQ(found[kept], '#');
    CHECK_EQ(page->output_total, model->count);
}

static void append(struct pf_child_page *page, struct model *model, uint32_t count, uint64_t *seed)
{
    REQUIRE(model->count + count <= sizeof model->bytes);
    char *chunk = malloc(count + 1); /* of its own, so that reading past it is seen */
    for (uint32_t i = 0; i < count; i++)
        chunk[i] = model->bytes[model->count + i] = (char)('!' + check_below(seed, 90));
    pf_child_page_append(page, chunk, count);
    model->count += count;
    free(chunk);
}

/* From every offset, chunks of every length: shorter than the ring, as long, and longer. */
TEST(ring_at_every_offset)
{
    uint64_t seed = 1;
    const uint32_t rooms[] = {0, 1, 2, 7, 16};
    for (size_t r = 0; r < sizeof rooms / sizeof *rooms; r++) {
        uint32_t room = rooms[r];
        for (uint32_t offset = 0; offset <= 2 * room + 1; offset++)
            for (uint32_t length = 0; length <= 3 * room + 2; length++) {
                struct model model = {.count = 0};
                struct pf_child_page *page = page_with_ring(room);
                append(page, &model, offset, &seed);
                append(page, &model, length, &seed);
                check_ring(page, &model, room);
                check_ring(page, &model, room + 3);
                check_ring(page, &model, room / 2);
                check_ring(page, &model, 0);
                free(page);
            }
    }
}

/* Many chunks of any length, one after the other: the ring always holds the last. */
TEST(ring_over_time)
{
    uint64_t seed = 7;
    for (int round = 0; round < 50; round++) {
        struct model model = {.count = 0};
        struct pf_child_page *page = page_with_ring((uint32_t)check_below(&seed, 200));
        for (uint32_t length; model.count < 7000;) {
            length = (uint32_t)check_below(&seed, 300);
            append(page, &model, length, &seed);
            check_ring(page, &model, 255);
        }
        free(page);
    }
}

/* What one read of a pipe brings, into rings around its size, from positions on both sides of it. */
TEST(ring_of_whole_reads)
{
    enum { READ = 65536 };
    static char written[5 * READ], found[2 * READ];
    const uint32_t rooms[] = {READ - 1, READ, READ + 1, READ + READ / 2, 2 * READ};
    const uint32_t starts[] = {0, 1, READ / 2, READ - 1, READ, READ + 1, READ + READ / 2};
    uint64_t seed = 11;
    for (size_t i = 0; i < sizeof written; i++)
        written[i] = (char)check_random(&seed);
    for (size_t r = 0; r < sizeof rooms / sizeof *rooms; r++)
        for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
            struct pf_child_page *page = page_with_ring(rooms[r]);
            uint32_t total = starts[s];
            pf_child_page_append(page, written, total);
            for (int reads = 0; reads < 3; reads++, total += READ) {
                pf_child_page_append(page, written + total, READ);
                uint32_t all = total + READ, kept = all < rooms[r] ? all : rooms[r];
                CHECK_EQ(pf_child_page_output(page, found, sizeof found), kept);
                CHECK_EQ(memcmp(found, written + all - kept, kept), 0);
            }
            free(page);
        }
}

int main(int count, char **words)
{
    check_begin(count, words);
    return check_run();
}
