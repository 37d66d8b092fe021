#define _GNU_SOURCE
#include "protocol/childpage.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/util.h"

static uint64_t put(char *base, uint64_t at, const char *text)
{
    size_t length = strlen(text) + 1;
    if (base)
        memcpy(base + at, text, length);
    return at + length;
}

/* Lay the strings out from `at`; with base NULL only measure. */
static uint64_t put_strings(char *base, uint64_t at, const pf_child_options *options,
                            uint32_t *arguments, uint32_t *variables)
{
    *arguments = *variables = 0;
    at = put(base, at, options->path);
    at = put(base, at, options->directory);
    for (const char *const *word = options->argv; *word; word++, ++*arguments)
        at = put(base, at, *word);
    for (const char *const *word = options->envp; *word; word++, ++*variables)
        at = put(base, at, *word);
    return at;
}

int pf_child_page_create(struct pf_child_page **page, const pf_child_options *options,
                         pf_fault *fault)
{
    uint32_t arguments, variables;
    uint64_t strings = sizeof **page;
    uint64_t ring = put_strings(NULL, strings, options, &arguments, &variables);
    uint64_t size = ring + options->output_bytes;
    if (size > PF_CHILD_MAX_BYTES)
        return pf_fail(fault, PF_OP_CHILD_PAGE, E2BIG);
    if (options->attempts == 0 || arguments == 0)
        return pf_fail(fault, PF_OP_CHILD_PAGE, EINVAL);

    PF_AUTO_FD fd = memfd_create("pyfreeze-child", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return pf_fail_errno(fault, PF_OP_CHILD_PAGE);
    struct pf_child_page *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (made == MAP_FAILED)
        return pf_fail_errno(fault, PF_OP_CHILD_PAGE);

    made->magic = PF_CHILD_MAGIC;
    made->size = size;
    made->timeout_ns = options->timeout_ns;
    made->grace_ns = options->grace_ns;
    made->flags = options->flags;
    made->attempts_allowed = options->attempts;
    made->ring_bytes = options->output_bytes;
    made->strings_offset = strings;
    made->ring_offset = ring;
    put_strings((char *)made, strings, options, &made->argument_count, &made->variable_count);
    *page = made;
    return pf_keep_fd(&fd);
}

static int plausible(const struct pf_child_page *page, uint64_t size)
{
    if (page->magic != PF_CHILD_MAGIC || page->size != size ||
        page->strings_offset != sizeof *page || page->ring_offset > size ||
        page->ring_offset < page->strings_offset || page->ring_bytes != size - page->ring_offset ||
        page->attempts_allowed == 0)
        return 0;
    /* Exactly path, directory, arguments and variables, the last one terminated. */
    uint64_t wanted = 2ull + page->argument_count + page->variable_count;
    const char *at = (const char *)page + page->strings_offset;
    const char *end = (const char *)page + page->ring_offset;
    uint64_t found = 0;
    while (at < end && found < wanted) {
        const char *nul = memchr(at, 0, (size_t)(end - at));
        if (!nul)
            return 0;
        at = nul + 1;
        found++;
    }
    return found == wanted && at == end && page->argument_count > 0;
}

int pf_child_page_map(struct pf_child_page **page, int fd, pf_fault *fault)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return pf_fail_errno(fault, PF_OP_CHILD_PAGE);
    if (!S_ISREG(status.st_mode) || status.st_size < (off_t)sizeof **page ||
        status.st_size > (off_t)PF_CHILD_MAX_BYTES)
        return pf_fail(fault, PF_OP_CHILD_PAGE, EBADMSG);
    uint64_t size = (uint64_t)status.st_size;
    /* Populated: the output of a snapshot command arrives inside the window. */
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED)
        return pf_fail_errno(fault, PF_OP_CHILD_PAGE);
    if (!plausible(map, size)) {
        munmap(map, size);
        return pf_fail(fault, PF_OP_CHILD_PAGE, EBADMSG);
    }
    *page = map;
    return 0;
}

void pf_child_page_unmap(struct pf_child_page *page)
{
    if (page)
        munmap(page, page->size);
}

int pf_child_page_words(struct pf_child_page *page, char *extra, struct pf_child_words *words,
                        pf_fault *fault)
{
    size_t slots = (size_t)page->argument_count + 1 + page->variable_count + 2;
    char **pointers = calloc(slots, sizeof *pointers);
    if (!pointers)
        return pf_fail(fault, PF_OP_CHILD_PAGE, ENOMEM);
    char *at = (char *)page + page->strings_offset;
    words->path = at;
    at += strlen(at) + 1;
    words->directory = at;
    at += strlen(at) + 1;

    words->argv = pointers;
    for (uint32_t i = 0; i < page->argument_count; i++, at += strlen(at) + 1)
        *pointers++ = at;
    words->envp = ++pointers; /* past the NULL that ends argv */
    for (uint32_t i = 0; i < page->variable_count; i++, at += strlen(at) + 1)
        *pointers++ = at;
    *pointers = extra;
    return 0;
}

/* The ring holds the last ring_bytes of the output; byte n of it is at n modulo ring_bytes. */
void pf_child_page_append(struct pf_child_page *page, const char *bytes, uint32_t count)
{
    uint64_t total = atomic_load(&page->output_total);
    char *ring = (char *)page + page->ring_offset;
    uint32_t room = page->ring_bytes;
    uint32_t kept = count < room ? count : room;
    const char *from = bytes + (count - kept);
    uint64_t at = total + (count - kept);
    for (uint32_t left = kept; left > 0;) {
        uint32_t offset = (uint32_t)(at % room);
        uint32_t part = left < room - offset ? left : room - offset;
        memcpy(ring + offset, from, part);
        from += part;
        at += part;
        left -= part;
    }
    atomic_store(&page->output_total, total + count);
}

uint32_t pf_child_page_output(const struct pf_child_page *page, char *buffer, uint32_t size)
{
    uint64_t total = atomic_load(&page->output_total);
    const char *ring = (const char *)page + page->ring_offset;
    uint32_t room = page->ring_bytes;
    uint64_t kept = total < room ? total : room;
    if (kept > size)
        kept = size;
    for (uint64_t i = 0; i < kept; i++)
        buffer[i] = ring[(total - kept + i) % room];
    return (uint32_t)kept;
}

void pf_child_page_report(const struct pf_child_page *page, pf_child_report *report)
{
    *report = (pf_child_report){
        .state = (int)atomic_load(&page->state),
        .pid = page->pid,
        .attempts = page->attempts,
        .wait_status = page->wait_status,
        .exec_error = atomic_load(&page->exec_error),
        .timed_out = (int)page->timed_out,
        .ended_early = (int)page->ended_early,
        .unkillable = (int)page->unkillable,
        .start_ns = page->start_ns,
        .end_ns = page->end_ns,
        .output_total = atomic_load(&page->output_total),
    };
}
