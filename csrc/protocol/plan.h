/* plan.h - the plan of a run, and the journal of what became of it: one file beside the state page.
 *
 * The client writes the steps, with a child's page for each step that runs one, and hands the file
 * over in one request. From then on only the supervisor writes: each step's status as it happens. A
 * reader of the file knows at any moment what was meant to be done, what has been, and what is
 * pending, whether or not client and supervisor are alive.
 */
#ifndef PF_PLAN_H
#define PF_PLAN_H
#include <stdatomic.h>
#include <stddef.h>

#include "protocol/childpage.h"

#define PF_PLAN_MAGIC 0x316e6c707a65726full /* "orezpln1" in a little-endian file */
#define PF_PLAN_MAX_STEPS 1024u
#define PF_JOURNAL_SUFFIX ".journal"

struct pf_step {
    /* the plan */
    uint32_t kind; /* enum pf_step_kind */
    uint32_t flags; /* enum pf_step_flag */
    uint32_t group;
    uint32_t skip_if;
    uint32_t only_if;
    uint32_t on_failure;
    int32_t after;
    uint32_t reserved;
    uint64_t child_offset; /* of its page, from the file's begin; 0: it has none */
    uint64_t child_size;
    pf_window_options window; /* as it was asked for: whatever is added to it goes along */
    /* the journal */
    _Atomic uint32_t status; /* enum pf_step_status; written after everything below */
    int32_t verdict; /* enum pf_verdict */
    pf_fault fault;
    uint32_t reserved_too;
    uint64_t begin_ns;
    uint64_t snapshot_ns;
    uint64_t end_ns;
};

struct pf_plan_page {
    uint64_t magic;
    uint64_t size;
    uint32_t count;
    uint32_t tells_steps;
    _Atomic uint32_t facts; /* enum pf_fact, and the client's own */
    _Atomic uint32_t is_over;
    struct pf_step steps[];
};

_Static_assert(sizeof(pf_flush_options) == 24, "no hidden padding");
_Static_assert(sizeof(pf_fault) == 12, "no hidden padding");
_Static_assert(sizeof(pf_window_options) == offsetof(pf_window_options, reserved) + 4,
               "no hidden padding");
_Static_assert(sizeof(struct pf_step) == 96 + sizeof(pf_window_options),
               "both sides and every later reader agree on it");
_Static_assert(offsetof(struct pf_plan_page, steps) == 32, "no hidden padding before the steps");

/* Make the journal of a run in its state directory, in the place of an earlier one. Returns its
 * descriptor. */
int pf_plan_page_create(struct pf_plan_page **page, int directory_fd, const char *run_id,
                        const pf_plan_options *options, pf_fault *fault);
/* Map one that another process made, after checking every offset and string in it: for reading only,
 * if that is all that the descriptor is for. */
int pf_plan_page_map(struct pf_plan_page **page, int fd, pf_fault *fault);
/* Whether nothing has become of any step yet. */
int pf_plan_page_is_fresh(struct pf_plan_page *page);
void pf_plan_page_unmap(struct pf_plan_page *page);
/* Remove its file. */
void pf_plan_page_remove(int directory_fd, const char *run_id);

/* NULL: the step has no child. */
struct pf_child_page *pf_step_child(struct pf_plan_page *page, uint32_t step);
void pf_step_read(const struct pf_step *step, pf_step_report *report);

#endif
