/* Writes the corpus: `make fuzz-seeds`, after a change of what is shared between processes.
 * Argument: the directory of the harnesses' directories. */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "fuzz.h"
#include "protocol/childpage.h"
#include "protocol/page.h"
#include "protocol/wire.h"

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

static void write_request(const char *directory, const char *name, const uint8_t plan[4],
                          const pf_child_options *options)
{
    pf_fault fault;
    struct pf_child_page *page;
    const struct pf_message message = {.kind = PF_REQUEST_CHILD, .cancels = -1};
    int fd = pf_child_page_create(&page, options, &fault);
    MUST(fd >= 0);
    write_seed(directory, name, (const void *const[]){plan, &message, page},
               (const size_t[]){4, sizeof message, page->size}, 3);
    pf_child_page_unmap(page);
    close(fd);
}

static void write_requests(const char *directory)
{
    const char *const argv[] = {"backup", "-x", "", NULL};
    const char *const envp[] = {"PATH=/usr/bin:/bin", "EMPTY=", NULL};
    const char *const none[] = {NULL};
    pf_child_options options = {.path = "/usr/bin/true",
                                .argv = argv,
                                .envp = envp,
                                .directory = "/",
                                .attempts = 2,
                                .timeout_ns = 30,
                                .output_bytes = 64,
                                .cancels = -1};
    write_request(directory, "script", (const uint8_t[]){0x01, 0, 1, 40}, &options);
    write_request(directory, "fixed", (const uint8_t[]){0x0f, 0, 2, 200}, &options);
    write_request(directory, "too-many-descriptors", (const uint8_t[]){0x01, 0, 3, 0}, &options);
    write_request(directory, "short", (const uint8_t[]){0x00, 71, 1, 0}, &options);
    options.output_bytes = 0;
    options.envp = none;
    write_request(directory, "no-output", (const uint8_t[]){0x01, 0, 1, 9}, &options);
}

static void write_records(const char *directory)
{
    const pf_target targets[] = {{.mount = "/srv", .mount_id = 30, .device_major = 7},
                                 {.mount = "/srv/a b", .mount_id = 31, .level = 1},
                                 {.mount = "/", .mount_id = 1, .level = 2}};
    const struct {
        const char *name;
        uint8_t fix;
        uint32_t count;
    } seeds[] = {{"three", 0, 3}, {"fixed", 7, 3}, {"none", 0, 0}};
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
        write_seed(directory, seeds[i].name, (const void *const[]){&seeds[i].fix, page},
                   (const size_t[]){1, page->size}, 2);
        pf_page_unmap(page);
        close(fd);
    }
}

/* The steps are handle.c's, five bytes each: kind, index, descriptors, times, flags. */
static void write_orders(const char *directory)
{
    enum { MINUTE = 18, AT_ONCE = 0, STAGED = PF_CHILD_DEFERRED, PARKED = PF_CHILD_PARKED };
    static const uint8_t window[] = {0,
                                     0,
                                     0,
                                     2, /* a plan: nothing fails; bye */
                                     PF_REQUEST_OPEN,
                                     255,
                                     0,
                                     MINUTE,
                                     0, /* */
                                     PF_REQUEST_FLUSH,
                                     255,
                                     0,
                                     MINUTE,
                                     0, /* */
                                     PF_REQUEST_WINDOW,
                                     255,
                                     1,
                                     MINUTE,
                                     4, /* */
                                     PF_REQUEST_THAW,
                                     255,
                                     0,
                                     MINUTE,
                                     0};
    static const uint8_t failing[] = {1,
                                      4,
                                      8,
                                      0, /* */
                                      PF_REQUEST_OPEN,
                                      255,
                                      0,
                                      MINUTE,
                                      0, /* */
                                      PF_REQUEST_WINDOW,
                                      255,
                                      2,
                                      AT_ONCE,
                                      0, /* */
                                      PF_REQUEST_ABORT,
                                      255,
                                      0,
                                      MINUTE,
                                      0};
    static const uint8_t child[] = {0,
                                    8,
                                    0,
                                    2, /* */
                                    PF_REQUEST_OPEN,
                                    255,
                                    0,
                                    MINUTE,
                                    0,      /* */
                                    PF_REQUEST_CHILD,
                                    0,
                                    1,
                                    MINUTE,
                                    STAGED, /* */
                                    PF_REQUEST_CHILD,
                                    1,
                                    1,
                                    MINUTE,
                                    PARKED, /* */
                                    PF_REQUEST_WINDOW,
                                    1,
                                    0,
                                    MINUTE,
                                    4,      /* */
                                    PF_REQUEST_CHILD,
                                    2,
                                    5,
                                    MINUTE,
                                    0,      /* */
                                    PF_REQUEST_END,
                                    0,
                                    0,
                                    MINUTE,
                                    0};
    WRITE_BYTES(directory, "window", window);
    WRITE_BYTES(directory, "failing", failing);
    WRITE_BYTES(directory, "child", child);
}

/* The parts are receive.c's, six bytes each: raw, descriptors, kind, index, verdict, error. */
static void write_news(const char *directory)
{
    static const uint8_t run[] = {1, 1, /* a plan */
                                  0, 1, PF_REPLY_DESCRIPTOR, 0,   0, 0, /* */
                                  0, 1, PF_REPLY_DESCRIPTOR, 2,   0, 0, /* */
                                  0, 0, PF_REPLY_OPENED,     255, 0, 0, /* */
                                  0, 0, PF_REPLY_FROZEN,     255, 0, 0, /* */
                                  0, 0, PF_REPLY_CHILD,      1,   0, 2, /* */
                                  0, 0, PF_REPLY_CLOSED,     255, 1, 0};
    static const uint8_t wrong[] = {0,    0, /* */
                                    0,    3, PF_REPLY_DESCRIPTOR,
                                    100,  0, 0,      /* */
                                    0,    1, PF_REPLY_CHILD,
                                    100,  0, 1,      /* */
                                    0x82, 0, 0,
                                    0,    0, 0,
                                    1,    2, /* */
                                    0,    2, PF_REPLY_FLUSHED,
                                    128,  9, 9};
    static const uint8_t bye[] = {1, 2, /* */
                                  0, 0, PF_REPLY_FROZEN, 255, 0, 0, /* */
                                  0, 0, PF_REPLY_BYE,    1,   0, 0};
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
                     {"receive", write_news}};
    MUST(count == 2);
    for (size_t i = 0; i < sizeof harnesses / sizeof *harnesses; i++) {
        char directory[256];
        snprintf(directory, sizeof directory, "%s/%s", words[1], harnesses[i].name);
        MUST(mkdir(directory, 0755) == 0 || access(directory, W_OK) == 0);
        harnesses[i].write(directory);
    }
    return 0;
}
