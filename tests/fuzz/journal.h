/* journal.h - a plan's file of any bytes: what is put right in it, since without that hardly one
 * would come past the first checks, and all that is done with one that was accepted. */
#ifndef JOURNAL_H
#define JOURNAL_H
#include "fuzz.h"
#include "protocol/plan.h"

#define LEAST_WORDS 3 /* path, directory, argv[0] */

enum journal_mend {
    MEND_JOURNAL = 1, /* magic and size, and the number of steps */
    MEND_STEPS = 2, /* kinds, and where the children's pages are */
    MEND_CHILDREN = 4, /* those pages themselves */
    SPREAD_CHILD = 8 /* the first of them, in itself well-formed, goes on to the end of the file */
};

static inline void journal_mend_child(struct pf_child_page *child, uint64_t size)
{
    uint64_t room = size - sizeof *child, texts = LEAST_WORDS;
    char *at = (char *)child + sizeof *child;
    if (room > LEAST_WORDS)
        texts += child->ring_offset % (room - LEAST_WORDS + 1);
    child->magic = PF_CHILD_MAGIC;
    child->size = size;
    child->attempts_allowed |= 1;
    child->strings_offset = sizeof *child;
    child->ring_offset = sizeof *child + texts;
    child->ring_bytes = (uint32_t)(room - texts);
    memset(at, 0, LEAST_WORDS - 1);
    at[texts - 1] = '\0';
    uint32_t count = 0;
    for (uint64_t i = 0; i < texts; i++)
        count += at[i] == '\0';
    child->argument_count = 1 + child->argument_count % (count - 2);
    child->variable_count = count - 2 - child->argument_count;
}

/* Returns where its page ends; `at`: it has none. */
static inline uint64_t journal_mend_step(struct pf_plan_page *page, uint32_t index, uint64_t at,
                                         uint64_t size, int fix)
{
    struct pf_step *step = &page->steps[index];
    uint64_t least = sizeof(struct pf_child_page) + 8, wanted = least + step->child_size % 256;
    step->kind = PF_STEP_OPEN + step->kind % PF_STEP_WAIT;
    step->after = (int32_t)((uint32_t)step->after % (page->count + 1)) - 1;
    int has_child = step->kind == PF_STEP_CHILD ||
                    (step->kind == PF_STEP_WINDOW && step->child_offset % 2);
    if (has_child && size - at < (wanted + 7) / 8 * 8) {
        step->kind = PF_STEP_WAIT;
        has_child = 0;
    }
    step->child_offset = has_child ? at : 0;
    step->child_size = has_child ? wanted : 0;
    if (has_child && fix & MEND_CHILDREN)
        journal_mend_child(pf_step_child(page, index), wanted);
    return has_child ? at + (wanted + 7) / 8 * 8 : at;
}

static inline void journal_spread_child(struct pf_plan_page *page)
{
    uint32_t index = 0;
    while (index < page->count && page->steps[index].child_offset == 0)
        index++;
    if (index == page->count)
        return;
    struct pf_step *step = &page->steps[index];
    struct pf_child_page *child = pf_step_child(page, index);
    step->child_size = child->size = page->size - step->child_offset;
    child->ring_bytes = (uint32_t)(child->size - child->ring_offset);
}

/* Returns the size that it has then. */
static inline uint64_t journal_mend(struct pf_plan_page *page, uint64_t size, int fix)
{
    if (size < sizeof *page || !(fix & MEND_JOURNAL))
        return size;
    page->magic = PF_PLAN_MAGIC;
    page->count %= 1 + (uint32_t)((size - sizeof *page) / sizeof *page->steps);
    if (fix & MEND_STEPS) {
        uint64_t at = sizeof *page + page->count * sizeof *page->steps;
        for (uint32_t i = 0; i < page->count; i++)
            at = journal_mend_step(page, i, at, size, fix);
        size = at;
    }
    page->size = size;
    if (fix & MEND_STEPS && fix & SPREAD_CHILD)
        journal_spread_child(page);
    return size;
}

static inline void journal_use_words(struct pf_child_page *page)
{
    char extra[] = "PYFREEZE_ATTEMPT=1";
    char *const extras[PF_EXTRA_MAX] = {extra, NULL};
    struct pf_child_words words;
    pf_fault fault;
    MUST(pf_child_page_words(page, extras, &words, &fault) == 0);
    fuzz_read(words.path);
    fuzz_read(words.directory);
    MUST(words.argv[0] != NULL);
    uint32_t count = 0;
    for (char **word = words.argv; *word; word++, count++)
        fuzz_read(*word);
    MUST(count == page->argument_count);
    for (char **word = words.envp; *word; word++, count++)
        fuzz_read(*word);
    MUST(count == page->argument_count + page->variable_count + 1);
    free(words.argv);
}

static inline void journal_use_ring(struct pf_child_page *page, const char *bytes, uint32_t count)
{
    pf_child_report report;
    uint32_t room = count + 1; /* now more, now less than the ring has */
    char *output = malloc(room);
    MUST(output != NULL);
    for (int i = 0; i < 3; i++)
        pf_child_page_append(page, bytes, count);
    uint32_t kept = pf_child_page_output(page, output, room);
    MUST(kept <= room && kept <= page->ring_bytes);
    pf_child_page_report(page, &report);
    free(output);
}

/* As the supervisor uses one: what each child writes leaves all others what they were. */
static inline void journal_use(struct pf_plan_page *page, const char *bytes, uint32_t count)
{
    (void)pf_plan_page_is_fresh(page);
    for (uint32_t i = 0; i < page->count; i++)
        if (pf_step_child(page, i))
            journal_use_ring(pf_step_child(page, i), bytes, count);
    for (uint32_t i = 0; i < page->count; i++) {
        pf_step_report report;
        pf_step_read(&page->steps[i], &report);
        MUST(report.kind >= PF_STEP_OPEN && report.kind <= PF_STEP_WAIT);
        MUST(page->steps[i].after >= -1 && page->steps[i].after < (int64_t)page->count);
        MUST(report.kind != PF_STEP_CHILD || pf_step_child(page, i));
        if (pf_step_child(page, i))
            journal_use_words(pf_step_child(page, i));
    }
}

#endif
