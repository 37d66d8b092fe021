#define _GNU_SOURCE
#include "protocol/childpage.h"

#include <stdlib.h>
#include <string.h>

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

uint64_t pf_child_page_size(const pf_child_options *options)
{
    uint32_t arguments, variables;
    uint64_t strings = put_strings(NULL, sizeof(struct pf_child_page), options, &arguments,
                                   &variables);
    return options->attempts == 0 || arguments == 0 ? 0 : strings + options->output_bytes;
}

void pf_child_page_fill(struct pf_child_page *page, uint64_t size, const pf_child_options *options)
{
    page->magic = PF_CHILD_MAGIC;
    page->size = size;
    page->timeout_ns = options->timeout_ns;
    page->grace_ns = options->grace_ns;
    page->flags = options->flags;
    page->attempts_allowed = options->attempts;
    page->ring_bytes = options->output_bytes;
    page->strings_offset = sizeof *page;
    page->ring_offset = put_strings((char *)page, sizeof *page, options, &page->argument_count,
                                    &page->variable_count);
}

int pf_child_page_is_plausible(const struct pf_child_page *page, uint64_t size)
{
    if (size < sizeof *page || size > PF_CHILD_MAX_BYTES || page->magic != PF_CHILD_MAGIC ||
        page->size != size || page->strings_offset != sizeof *page || page->ring_offset > size ||
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

int pf_child_page_words(struct pf_child_page *page, char *const extras[PF_EXTRA_MAX],
                        struct pf_child_words *words, pf_fault *fault)
{
    size_t slots = (size_t)page->argument_count + 1 + page->variable_count + PF_EXTRA_MAX + 1;
    char **pointers = calloc(slots, sizeof *pointers);
    if (!pointers)
        return pf_fail(fault, PF_OP_PLAN, ENOMEM);
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
    for (int i = 0; i < PF_EXTRA_MAX; i++)
        if (extras[i])
            *pointers++ = extras[i];
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
