/* The state page: what it says, what it refuses to be made over, and what it refuses to be. */
#define _GNU_SOURCE
#include "protocol/page.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "check.h"
#include "guarded.h"
#include "private.h"

#define MUTATIONS 20000
#define MOUNT_COUNT 3

static const pf_target targets[MOUNT_COUNT] = {
    {.mount = "/", .mount_id = 21, .device_major = 8, .device_minor = 1, .level = 1},
    {.mount = "", .mount_id = UINT64_MAX, .device_minor = UINT32_MAX},
    {.mount = "/srv/with space\n/and\377", .mount_id = 1ull << 40, .device_major = 253, .level = 2},
};

static pf_start_options options_named(const char *run_id)
{
    return (pf_start_options){.run_id = run_id, .targets = targets, .target_count = MOUNT_COUNT};
}

static int directory_fd;
static int is_private;

static int exists(const char *name)
{
    struct stat status;
    return fstatat(directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

static void remove_file(const char *name)
{
    REQUIRE(unlinkat(directory_fd, name, 0) == 0);
}

static void check_content(const struct pf_page *page)
{
    char boot_id[PF_ID_SIZE];
    pf_page_boot_id(boot_id);
    CHECK_EQ(strlen(boot_id), 36);
    CHECK_STR(page->boot_id, boot_id);
    CHECK_STR(page->run_id, "run-1");
    CHECK_EQ(page->client_pid, getpid());
    CHECK_EQ(page->rcu_saved, -1);
    CHECK_EQ(page->deadline_ns, 0);
    CHECK_EQ(page->window_ns, 0);
    CHECK_EQ(page->thawing, 0);
    CHECK_EQ(page->supervisor_pid, 0);
    REQUIRE(page->count == MOUNT_COUNT);
    for (uint32_t i = 0; i < MOUNT_COUNT; i++) {
        pf_filesystem found;
        pf_slot_read(page, i, &found);
        CHECK_STR(found.mount, targets[i].mount);
        CHECK_EQ(found.mount_id, targets[i].mount_id);
        CHECK_EQ(found.device_major, targets[i].device_major);
        CHECK_EQ(found.device_minor, targets[i].device_minor);
        CHECK_EQ(found.level, targets[i].level);
        CHECK_EQ(found.state, PF_STATE_CHOSEN);
        CHECK_EQ(found.error, 0);
        CHECK_EQ(found.op, PF_OP_NONE);
    }
}

/* A page has its mounts, all its blocks and mode 0600; who maps its file shares its memory. */
TEST(round_trip)
{
    pf_fault fault;
    struct pf_page *made, *mapped;
    struct stat status;
    pf_start_options options = options_named("run-1");
    int fd = pf_page_create(&made, directory_fd, &options, &fault);
    REQUIRE(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    REQUIRE(fstat(fd, &status) == 0);
    CHECK_EQ(status.st_mode & 0777, 0600);
    CHECK_EQ(status.st_size, (off_t)made->size);
    CHECK(status.st_blocks * 512 >= status.st_size); /* no hole that could be a SIGBUS later */
    REQUIRE(pf_page_map(&mapped, fd, &fault) == 0);
    check_content(made);
    check_content(mapped);
    atomic_store(&mapped->slots[1].state, PF_STATE_FROZEN);
    CHECK_EQ(pf_slot_state(&made->slots[1]), PF_STATE_FROZEN); /* one memory */
    pf_filesystem found;
    for (size_t i = 0; i < sizeof found.figures / 8; i++)
        ((uint64_t *)&mapped->slots[1].figures)[i] = i + 1;
    pf_slot_read(made, 1, &found);
    CHECK_EQ(memcmp(&found.figures, &mapped->slots[1].figures, sizeof found.figures), 0);
    pf_page_unmap(mapped);
    pf_page_unmap(made);
    pf_page_unmap(NULL);
    close(fd);
    remove_file("run-1.state");
}

/* Freezing, frozen, thawing and stuck are the states that need a thaw, in any combination. */
TEST(counts)
{
    static const char needs[] = {[PF_STATE_CHOSEN] = 0,   [PF_STATE_OPEN] = 0,
                                 [PF_STATE_FREEZING] = 1, [PF_STATE_FROZEN] = 1,
                                 [PF_STATE_THAWING] = 1,  [PF_STATE_THAWED] = 0,
                                 [PF_STATE_FAILED] = 0,   [PF_STATE_FOREIGN_THAW] = 0,
                                 [PF_STATE_STUCK] = 1};
    const unsigned kinds = sizeof needs;
    pf_fault fault;
    struct pf_page *page;
    pf_start_options options = options_named("counts");
    int fd = pf_page_create(&page, directory_fd, &options, &fault);
    REQUIRE(fd >= 0);
    for (unsigned all = 0; all < kinds * kinds * kinds; all++) {
        const unsigned states[MOUNT_COUNT] = {all % kinds, all / kinds % kinds,
                                              all / kinds / kinds};
        uint32_t wanted = 0;
        for (int i = 0; i < MOUNT_COUNT; i++) {
            atomic_store(&page->slots[i].state, states[i]);
            wanted += (uint32_t)needs[states[i]];
        }
        CHECK_EQ(pf_page_count_needing_thaw(page), wanted);
    }
    pf_page_unmap(page);
    close(fd);
    remove_file("counts.state");
}

/* ---- names, and what stands in the way ------------------------------------------------------ */

static int create(const char *run_id, pf_fault *fault)
{
    struct pf_page *page = NULL;
    pf_start_options options = options_named(run_id);
    int fd = pf_page_create(&page, directory_fd, &options, fault);
    if (fd >= 0) {
        CHECK_STR(page->run_id, run_id);
        pf_page_unmap(page);
        close(fd);
        return 0;
    }
    CHECK_EQ(fault->op, PF_OP_PAGE);
    CHECK_EQ(fault->error, -fd);
    CHECK_EQ(fault->index, -1);
    return fd;
}

/* Only the page's own file is removed, and twice does no harm. */
TEST(removal)
{
    pf_fault fault;
    struct pf_page *page;
    pf_start_options options = options_named("gone");
    int fd = pf_page_create(&page, directory_fd, &options, &fault);
    REQUIRE(fd >= 0 && create("stays", &fault) == 0);
    pf_page_remove(page, directory_fd);
    pf_page_remove(page, directory_fd); /* whoever else has removed it */
    CHECK(!exists("gone.state") && exists("stays.state"));
    pf_page_unmap(page);
    close(fd);
    remove_file("stays.state");
}

/* A run's id that is too long, or that leads out of the directory, makes no page. */
TEST(names)
{
    char name[PF_ID_SIZE + sizeof PF_PAGE_SUFFIX];
    char longest[PF_ID_SIZE + 1];
    pf_fault fault;
    memset(longest, 'i', sizeof longest);
    longest[PF_ID_SIZE] = '\0';
    CHECK_EQ(create(longest, &fault), -EINVAL);
    longest[PF_ID_SIZE - 1] = '\0';
    CHECK_EQ(create(longest, &fault), 0);
    snprintf(name, sizeof name, "%s" PF_PAGE_SUFFIX, longest);
    CHECK(exists(name));
    remove_file(name);

    CHECK_EQ(create("../escape", &fault), -EINVAL);
    CHECK_EQ(create("/escape", &fault), -EINVAL);
    CHECK_EQ(create("under/neath", &fault), -EINVAL);
    CHECK_EQ(create("..", &fault), 0); /* a plain name once its ending is there */
    remove_file("...state");
}

/* A page is made over nothing that is there, through no link, and not for too many mounts. */
TEST(obstacles)
{
    pf_fault fault;
    REQUIRE(symlinkat("victim", directory_fd, "linked.state") == 0);
    CHECK_EQ(create("linked", &fault), -EEXIST);
    CHECK(!exists("victim"));
    int victim = openat(directory_fd, "victim", O_WRONLY | O_CREAT, 0600);
    REQUIRE(write(victim, "precious", 8) == 8);
    CHECK_EQ(create("linked", &fault), -EEXIST);
    struct stat status;
    CHECK_EQ(fstat(victim, &status), 0);
    CHECK_EQ(status.st_size, 8);
    close(victim);
    remove_file("linked.state");
    remove_file("victim");

    CHECK_EQ(create("twice", &fault), 0);
    CHECK_EQ(create("twice", &fault), -EEXIST);
    CHECK(exists("twice.state")); /* the other run's page is not removed */
    remove_file("twice.state");

    pf_start_options options = options_named("many");
    struct pf_page *page;
    options.target_count = PF_PAGE_MAX_FILESYSTEMS + 1;
    CHECK_EQ(pf_page_create(&page, directory_fd, &options, &fault), -EINVAL);
    CHECK_EQ(pf_page_create(&page, -1, &options, &fault), -EINVAL);
    options.target_count = 1;
    CHECK_EQ(pf_page_create(&page, -1, &options, &fault), -EBADF);
}

/* Without room for all of a page there is none, and no file of it is left. */
TEST(full)
{
    if (!is_private) {
        SKIP("a full tmpfs needs a mount namespace of its own");
        return;
    }
    static pf_target many[PF_PAGE_MAX_FILESYSTEMS];
    pf_fault fault;
    struct pf_page *page;
    for (uint32_t i = 0; i < PF_PAGE_MAX_FILESYSTEMS; i++)
        many[i] = targets[i % MOUNT_COUNT];
    const pf_start_options options = {.run_id = "full",
                                      .targets = many,
                                      .target_count = PF_PAGE_MAX_FILESYSTEMS};
    CHECK_EQ(pf_page_create(&page, directory_fd, &options, &fault), -ENOSPC);
    CHECK_EQ(fault.op, PF_OP_PAGE);
    CHECK_EQ(fault.error, ENOSPC);
    CHECK(page == NULL);
    CHECK(!exists("full.state"));
}

/* ---- what is refused ------------------------------------------------------------------------ */

struct image {
    char bytes[20000];
    size_t size;
    int fd;
};

static const struct image *take_image(void)
{
    struct image *image = malloc(sizeof *image);
    REQUIRE(image != NULL);
    pf_fault fault;
    struct pf_page *page;
    pf_start_options options = options_named("image");
    image->fd = pf_page_create(&page, directory_fd, &options, &fault);
    REQUIRE(image->fd >= 0 && page->size <= sizeof image->bytes);
    image->size = page->size;
    for (unsigned i = 0; i < PF_BLACKBOX_CELLS; i++)
        pf_page_note(page, PF_TRANSITION_CHOSEN + i % (PF_TRANSITION_COUNT - 1), (int)i, 0);
    memcpy(image->bytes, page, image->size);
    pf_page_unmap(page);
    return image;
}

static void drop_image(const struct image *image)
{
    close(image->fd);
    free((void *)(uintptr_t)image);
    remove_file("image.state");
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
    struct pf_page *page = NULL;
    size_t length = 0;
    int result = pf_page_map(&page, image->fd, &fault);
    if (result < 0) {
        CHECK(result == -EBADMSG || result == -EPROTONOSUPPORT);
        CHECK_EQ(fault.op, PF_OP_PAGE_READ);
        CHECK_EQ(fault.error, -result);
        CHECK(page == NULL);
        return result;
    }
    for (uint32_t i = 0; i < page->count; i++) {
        pf_filesystem found;
        pf_slot_read(page, i, &found);
        length += strlen(found.mount);
    }
    pf_transition transition = {0};
    while (pf_blackbox_read(&page->blackbox, transition.number, &transition))
        CHECK(transition.kind > PF_TRANSITION_NONE && transition.kind < PF_TRANSITION_COUNT);
    length += strlen(page->run_id) + strlen(page->boot_id);
    CHECK(length <= page->size * (page->count + 1));
    CHECK(pf_page_count_needing_thaw(page) <= page->count);
    pf_page_unmap(page);
    return 0;
}

/* Not a byte may be missing, and none may follow, whatever size the header says. */
TEST(truncations)
{
    const struct image *image = take_image();
    char longer[sizeof image->bytes + 1] = {0};
    const size_t box = offsetof(struct pf_page, blackbox), slots = box + sizeof(struct pf_blackbox);
    for (size_t size = 0; size<image->size; size += size> box && size < slots - 64 ? 61 : 1) {
        put_image(image, image->bytes, size);
        CHECK_EQ(use(image), -EBADMSG);
        if (size < sizeof(struct pf_page))
            continue;
        struct image shorter =
            *image; /* and with a header that says so: the strings must not fit */
        ((struct pf_page *)shorter.bytes)->size = size;
        put_image(image, shorter.bytes, size);
        CHECK_EQ(use(image), -EBADMSG);
    }
    memcpy(longer, image->bytes, image->size);
    put_image(image, longer, image->size + 1);
    CHECK_EQ(use(image), -EBADMSG);
    drop_image(image);
}

static void refuse(const struct image *image, size_t offset, size_t width, uint64_t value)
{
    struct image bad = *image;
    memcpy(bad.bytes + offset, &value, width);
    put_image(image, bad.bytes, bad.size);
    CHECK_EQ(use(image), -EBADMSG);
}

/* Sizes, counts, offsets, ids, paths without an end, a bad black box: each is refused. */
TEST(fields)
{
    const struct image *image = take_image();
    const size_t strings = sizeof(struct pf_page) + MOUNT_COUNT * sizeof(struct pf_slot);
    const uint64_t bad_sizes[] = {0, 1, image->size - 1, image->size + 1, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof bad_sizes / sizeof *bad_sizes; i++) {
        refuse(image, offsetof(struct pf_page, magic), 8, bad_sizes[i]);
        refuse(image, offsetof(struct pf_page, size), 8, bad_sizes[i]);
    }
    const uint32_t bad_counts[] = {MOUNT_COUNT + 1, MOUNT_COUNT + 100, PF_PAGE_MAX_FILESYSTEMS,
                                   PF_PAGE_MAX_FILESYSTEMS + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad_counts / sizeof *bad_counts; i++)
        refuse(image, offsetof(struct pf_page, count), 4, bad_counts[i]);
    refuse(image, offsetof(struct pf_page, run_id) + PF_ID_SIZE - 1, 1, 'x');
    refuse(image, offsetof(struct pf_page, boot_id) + PF_ID_SIZE - 1, 1, 'x');
    refuse(image, offsetof(struct pf_page, run_id), 1, '/'); /* a file has its name */
    const uint64_t bad_offsets[] = {0, strings - 1, image->size, image->size + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad_offsets / sizeof *bad_offsets; i++)
        for (size_t slot = 0; slot < MOUNT_COUNT; slot++)
            refuse(image,
                   sizeof(struct pf_page) + slot * sizeof(struct pf_slot) +
                       offsetof(struct pf_slot, mount_offset),
                   4, bad_offsets[i]);
    refuse(image, image->size - 1, 1, '!'); /* the last path would not end */
    refuse(image, offsetof(struct pf_page, blackbox), 8, UINT64_MAX);
    refuse(image, offsetof(struct pf_page, blackbox.cells[7].kind), 4, PF_TRANSITION_COUNT);
    put_image(image, image->bytes, image->size);
    CHECK_EQ(use(image), 0);
    drop_image(image);
}

/* The black box is most of a page: more often anywhere else. */
static size_t place_in(uint64_t *seed, size_t size)
{
    size_t place = check_below(seed, size), box = offsetof(struct pf_page, blackbox);
    size_t other = check_below(seed, size - sizeof(struct pf_blackbox));
    if (check_below(seed, 4) == 0)
        return place;
    return other < box ? other : other + sizeof(struct pf_blackbox);
}

/* What another version has made was not cut short, as one of ours that cannot be read was. */
TEST(another_version)
{
    const struct image *image = take_image();
    pf_fault fault;
    struct pf_page *page = NULL;
    uint64_t magic = PF_PAGE_MAGIC - (1ull << 56);
    struct image other = *image;
    memcpy(other.bytes, &magic, sizeof magic);
    put_image(image, other.bytes, 256);
    CHECK_EQ(pf_page_map(&page, image->fd, &fault), -EPROTONOSUPPORT);
    CHECK_EQ(fault.op, PF_OP_PAGE_READ);
    drop_image(image);
}

/* However its bytes are changed, a page is refused or can be used without a byte out of bounds. */
TEST(mutations)
{
    const struct image *image = take_image();
    uint64_t seed = 20240301;
    int accepted = 0, refused = 0;
    for (int i = 0; i < MUTATIONS; i++) {
        struct image bad = *image;
        for (uint64_t left = 1 + check_below(&seed, 6); left > 0; left--)
            bad.bytes[place_in(&seed, bad.size)] = (char)check_random(&seed);
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
    struct pf_page *page = NULL;
    int pipes[2];
    REQUIRE(pipe(pipes) == 0);
    CHECK_EQ(pf_page_map(&page, pipes[0], &fault), -EBADMSG);
    CHECK_EQ(pf_page_map(&page, directory_fd, &fault), -EBADMSG);
    CHECK_EQ(pf_page_map(&page, -1, &fault), -EBADF);
    CHECK(page == NULL);
    close(pipes[0]);
    close(pipes[1]);
}

int main(int count, char **words)
{
    check_begin(count, words);
    is_private = private_mounts();
    if (is_private)
        private_tmpfs("state", "size=64k");
    else
        REQUIRE(mkdir("state", 0700) == 0);
    directory_fd = open("state", O_RDONLY | O_DIRECTORY);
    return check_run();
}
