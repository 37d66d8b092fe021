#define _GNU_SOURCE
#include "protocol/plan.h"

#include <sys/mman.h>

#include "protocol/statedir.h"

/* ---- the client's hand ----------------------------------------------------------------------- */

static uint64_t aligned(uint64_t size)
{
    return (size + 7) & ~7ull;
}

/* Of a plan of `count` steps. */
static int is_sound(int64_t kind, int64_t after, int has_child, uint32_t count)
{
    if (kind < PF_STEP_OPEN || kind > PF_STEP_WAIT || after < -1 || after >= (int64_t)count)
        return 0;
    return has_child ? kind == PF_STEP_CHILD || kind == PF_STEP_WINDOW : kind != PF_STEP_CHILD;
}

static int measure(const pf_plan_options *options, uint64_t *size, pf_fault *fault)
{
    *size = sizeof(struct pf_plan_page) + options->count * sizeof(struct pf_step);
    if (options->count > PF_PLAN_MAX_STEPS)
        return pf_fail(fault, PF_OP_PLAN, E2BIG);
    for (uint32_t i = 0; i < options->count; i++) {
        const pf_step_options *step = &options->steps[i];
        const pf_child_options *child = step->child;
        uint64_t needed = child ? pf_child_page_size(child) : 0;
        if ((child && needed == 0) ||
            !is_sound(step->kind, step->after, child != NULL, options->count))
            return pf_fail_at(fault, PF_OP_PLAN, (int)i, EINVAL);
        if (needed > PF_CHILD_MAX_BYTES)
            return pf_fail_at(fault, PF_OP_PLAN, (int)i, E2BIG);
        *size += aligned(needed);
    }
    return 0;
}

static void fill_step(struct pf_step *step, const pf_step_options *options)
{
    *step = (struct pf_step){
        .kind = (uint32_t)options->kind,
        .flags = options->flags,
        .group = options->group,
        .skip_if = options->skip_if,
        .only_if = options->only_if,
        .on_failure = options->on_failure,
        .after = options->after,
        .window = options->window,
        .fault = {.index = -1},
    };
}

static void fill(struct pf_plan_page *page, uint64_t size, const pf_plan_options *options)
{
    uint64_t at = sizeof *page + options->count * sizeof *page->steps;
    page->magic = PF_PLAN_MAGIC;
    page->size = size;
    page->count = options->count;
    page->tells_steps = options->tells_steps;
    for (uint32_t i = 0; i < options->count; i++) {
        const pf_step_options *step = &options->steps[i];
        fill_step(&page->steps[i], step);
        if (!step->child)
            continue;
        page->steps[i].child_offset = at;
        page->steps[i].child_size = pf_child_page_size(step->child);
        pf_child_page_fill(pf_step_child(page, i), page->steps[i].child_size, step->child);
        at += aligned(page->steps[i].child_size);
    }
}

int pf_plan_page_create(struct pf_plan_page **page, int directory_fd, const char *run_id,
                        const pf_plan_options *options, pf_fault *fault)
{
    uint64_t size;
    void *map;
    int result = measure(options, &size, fault);
    if (result < 0)
        return result;
    pf_plan_page_remove(directory_fd, run_id); /* of a plan before */
    int fd = pf_statedir_create(directory_fd, run_id, PF_JOURNAL_SUFFIX, size, &map);
    if (fd < 0)
        return pf_fail(fault, PF_OP_PLAN, -fd);
    *page = map;
    fill(*page, size, options);
    return fd;
}

void pf_plan_page_remove(int directory_fd, const char *run_id)
{
    pf_statedir_remove(directory_fd, run_id, PF_JOURNAL_SUFFIX);
}

/* ---- the other side -------------------------------------------------------------------------- */

/* Whether a child's page is where it has to be: at `*at`, which then moves on behind it. So no two of
 * them overlap, and what is written into one changes nothing that was checked of another. */
static int plausible_child(struct pf_plan_page *page, uint32_t index, uint64_t *at)
{
    const struct pf_step *step = &page->steps[index];
    if (step->child_offset == 0)
        return step->child_size == 0;
    if (step->child_offset != *at || *at > page->size || step->child_size > page->size - *at ||
        !pf_child_page_is_plausible(pf_step_child(page, index), step->child_size))
        return 0;
    *at += aligned(step->child_size);
    return 1;
}

static int plausible(struct pf_plan_page *page, uint64_t size)
{
    uint64_t at = sizeof *page + page->count * sizeof *page->steps;
    if (page->magic != PF_PLAN_MAGIC || page->size != size || page->count > PF_PLAN_MAX_STEPS ||
        at > size)
        return 0;
    for (uint32_t i = 0; i < page->count; i++) {
        const struct pf_step *step = &page->steps[i];
        if (!is_sound(step->kind, step->after, step->child_offset != 0, page->count) ||
            !plausible_child(page, i, &at))
            return 0;
    }
    return at == size;
}

int pf_plan_page_map(struct pf_plan_page **page, int fd, pf_fault *fault)
{
    void *map;
    uint64_t size;
    /* Populated: the output of a snapshot command arrives inside the window. */
    int result = pf_statedir_map(fd, sizeof **page, &map, &size);
    if (result < 0)
        return pf_fail(fault, PF_OP_PLAN, -result);
    if (!plausible(map, size)) {
        munmap(map, size);
        return pf_fail(fault, PF_OP_PLAN, EBADMSG);
    }
    *page = map;
    return 0;
}

static int child_is_fresh(const struct pf_child_page *page)
{
    return atomic_load(&page->state) == PF_CHILD_PENDING && atomic_load(&page->exec_error) == 0 &&
           page->pid == 0 && page->wait_status == 0 && page->attempts == 0 &&
           page->timed_out == 0 && page->ended_early == 0 && page->unkillable == 0 &&
           page->start_ns == 0 && page->end_ns == 0 && atomic_load(&page->output_total) == 0;
}

int pf_plan_page_is_fresh(struct pf_plan_page *page)
{
    if (atomic_load(&page->facts) != 0 || atomic_load(&page->is_over) != 0)
        return 0;
    for (uint32_t i = 0; i < page->count; i++) {
        const struct pf_step *step = &page->steps[i];
        const struct pf_child_page *child = pf_step_child(page, i);
        if (atomic_load(&step->status) != PF_STATUS_PENDING || step->verdict != PF_VERDICT_NONE ||
            step->fault.error != 0 || step->begin_ns != 0 || step->snapshot_ns != 0 ||
            step->end_ns != 0 || (child && !child_is_fresh(child)))
            return 0;
    }
    return 1;
}

void pf_plan_page_unmap(struct pf_plan_page *page)
{
    if (page)
        munmap(page, page->size);
}

struct pf_child_page *pf_step_child(struct pf_plan_page *page, uint32_t step)
{
    uint64_t offset = page->steps[step].child_offset;
    return offset ? (struct pf_child_page *)((char *)page + offset) : NULL;
}

void pf_step_read(const struct pf_step *step, pf_step_report *report)
{
    *report = (pf_step_report){
        .kind = (int)step->kind,
        .flags = step->flags,
        .group = step->group,
        .status = (int)atomic_load(&step->status),
        .verdict = step->verdict,
        .fault = step->fault,
        .begin_ns = step->begin_ns,
        .snapshot_ns = step->snapshot_ns,
        .end_ns = step->end_ns,
    };
}
