/* Writes the corpus: `make fuzz-seeds`, after a change of what is shared between processes.
 * Arguments: the directories of the two harnesses' seeds. */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "childpage.h"
#include "fuzz.h"
#include "page.h"
#include "wire.h"

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

static void write_request(const char *directory, const char *name, const uint8_t plan[4],
                          const pf_child_options *options)
{
    pf_fault fault;
    struct pf_child_page *page;
    const struct pf_message message = {.kind = PF_ASK_CHILD, .replaces = -1};
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
                                .replaces = -1};
    write_request(directory, "script", (const uint8_t[]){0x01, 0, 1, 40}, &options);
    write_request(directory, "mended", (const uint8_t[]){0x0f, 0, 2, 200}, &options);
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
        uint8_t mend;
        uint32_t count;
    } seeds[] = {{"three", 0, 3}, {"mended", 3, 3}, {"none", 0, 0}};
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
        write_seed(directory, seeds[i].name, (const void *const[]){&seeds[i].mend, page},
                   (const size_t[]){1, page->size}, 2);
        pf_page_unmap(page);
        close(fd);
    }
}

int main(int count, char **words)
{
    MUST(count == 3);
    write_requests(words[1]);
    write_records(words[2]);
    return 0;
}
