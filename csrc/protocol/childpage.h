/* childpage.h - shared memory of client, supervisor and reaper about one child: what to run, how it
 * ended, and the last of its output. The client makes it, as a part of the plan's file. */
#ifndef PF_CHILDPAGE_H
#define PF_CHILDPAGE_H
#include <stdatomic.h>

#include "protocol/fault.h"

#define PF_CHILD_MAGIC 0x3168637a65726670ull /* "pfrezch1" */
#define PF_CHILD_MAX_BYTES (64u << 20)

struct pf_child_page {
    uint64_t magic;
    uint64_t size;
    /* the request, written by the client before the supervisor sees the page */
    uint64_t timeout_ns;
    uint64_t grace_ns;
    uint32_t flags;
    uint32_t attempts_allowed;
    uint32_t argument_count;
    uint32_t variable_count;
    uint32_t ring_bytes;
    uint32_t reserved;
    uint64_t strings_offset; /* path, directory, arguments, variables: each NUL-terminated */
    uint64_t ring_offset;
    /* the result, written by the supervisor; exec_error by the child itself */
    _Atomic uint32_t state; /* enum pf_child_state */
    _Atomic int32_t exec_error;
    int32_t pid;
    int32_t wait_status;
    uint32_t attempts;
    uint32_t timed_out;
    uint32_t ended_early;
    uint32_t unkillable;
    uint64_t start_ns;
    uint64_t end_ns;
    _Atomic uint64_t output_total;
};

_Static_assert(sizeof(struct pf_child_page) % 8 == 0, "the strings follow without padding");

/* A page's strings as execve takes them. `argv` and `envp` are one allocation, to be freed by
 * `argv`. */
struct pf_child_words {
    const char *path;
    const char *directory;
    char **argv;
    char **envp;
};

/* Variables that the supervisor adds: PYFREEZE_ATTEMPT=4294967295, PYFREEZE_OUTCOME=interrupted */
#define PF_EXTRA_BYTES 32
#define PF_EXTRA_MAX 2

/* Returns the size of the page for `options`; 0: there is no program to run, or no attempt. */
uint64_t pf_child_page_size(const pf_child_options *options);
/* Write the page into memory of that size, which is zero before. */
void pf_child_page_fill(struct pf_child_page *page, uint64_t size, const pf_child_options *options);
/* Whether every offset and string is within the page, which another process has written. */
int pf_child_page_is_plausible(const struct pf_child_page *page, uint64_t size);
/* Point `words` at the page's strings. Each of `extras` but NULL becomes one more variable. */
int pf_child_page_words(struct pf_child_page *page, char *const extras[PF_EXTRA_MAX],
                        struct pf_child_words *words, pf_fault *fault);

void pf_child_page_append(struct pf_child_page *page, const char *bytes, uint32_t count);
uint32_t pf_child_page_output(const struct pf_child_page *page, char *buffer, uint32_t size);
void pf_child_page_report(const struct pf_child_page *page, pf_child_report *report);

#endif
