/* What a dead run may have left: a state page of any bytes, and a journal of any bytes beside it. In
 * the working directory. */
#define _GNU_SOURCE
#include "inputs.h"
#include "journal.h"
#include "protocol/page.h"
#include "pyfreeze.h"

#define STEM "record"

int LLVMFuzzerInitialize(int *count, char ***words)
{
    (void)count;
    (void)words;
    return atexit(fuzz_tell_accepted);
}

static void mend_offsets(struct pf_page *page, size_t size)
{
    size_t strings = sizeof *page + page->count * sizeof *page->slots;
    if (page->count > PF_PAGE_MAX_FILESYSTEMS || strings >= size)
        return;
    for (uint32_t i = 0; i < page->count; i++) {
        uint32_t room = (uint32_t)(size - strings);
        page->slots[i].mount_offset = (uint32_t)strings + page->slots[i].mount_offset % room;
        page->slots[i].level %= PF_PAGE_MAX_FILESYSTEMS;
    }
}

static void mend_blackbox(struct pf_blackbox *box)
{
    box->count = PF_BLACKBOX_CELLS;
    for (uint32_t i = 0; i < PF_BLACKBOX_CELLS; i++) {
        box->cells[i].number = i + 1;
        box->cells[i].kind = 1 + box->cells[i].kind % (PF_TRANSITION_COUNT - 1);
    }
}

static size_t mend_page(struct pf_page *page, size_t size, int fix)
{
    if (size >= sizeof *page && fix & MEND_HEADER) {
        page->magic = PF_PAGE_MAGIC;
        page->size = size;
        page->run_id[PF_ID_SIZE - 1] = page->boot_id[PF_ID_SIZE - 1] = '\0';
    }
    if (size >= sizeof *page && fix & MEND_OFFSETS)
        mend_offsets(page, size);
    if (size >= sizeof *page && fix & MEND_BLACKBOX)
        mend_blackbox(&page->blackbox);
    return size;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    close(fd);
}

static void write_files(int fix, const uint8_t *data, size_t size, size_t page_size)
{
    size_t journal_size = size - page_size;
    void *page = malloc(page_size + 1), *journal = malloc(journal_size + 1);
    MUST(page != NULL && journal != NULL);
    memcpy(page, data, page_size);
    memcpy(journal, data + page_size, journal_size);
    write_file(STEM PF_PAGE_SUFFIX, page, mend_page(page, page_size, fix));
    write_file(STEM PF_JOURNAL_SUFFIX, journal, journal_mend(journal, journal_size, fix));
    free(page);
    free(journal);
}

static void use_step(pf_record *record, uint32_t index)
{
    pf_step_report step;
    pf_child_report child;
    pf_fault fault;
    const char *path;
    MUST(pf_record_step(record, index, &step, &fault) == 0);
    int result = pf_record_child(record, index, &path, &child, &fault);
    MUST(result == 0 || (result == -ENOENT && step.kind != PF_STEP_CHILD));
    if (result == 0)
        fuzz_read(path);
}

/* Thawing and restoring are left out: they would act on the machine. */
static void use_record(pf_record *record, const pf_record_header *header)
{
    pf_filesystem filesystem;
    pf_step_report step;
    pf_fault fault;
    MUST(memchr(header->run_id, 0, sizeof header->run_id) != NULL);
    for (uint32_t i = 0; i < header->count; i++) {
        MUST(pf_record_read(record, i, &filesystem, &fault) == 0);
        fuzz_read(filesystem.mount);
        MUST(filesystem.level < PF_PAGE_MAX_FILESYSTEMS);
    }
    pf_transition transition = {0};
    for (uint64_t before = 0; pf_record_transition(record, before, &transition);) {
        MUST(transition.number > before);
        MUST(transition.kind > PF_TRANSITION_NONE && transition.kind < PF_TRANSITION_COUNT);
        before = transition.number;
    }
    MUST(pf_record_read(record, header->count, &filesystem, &fault) < 0);
    MUST(pf_record_read(record, UINT32_MAX, &filesystem, &fault) < 0);
    uint32_t steps = pf_record_step_count(record);
    for (uint32_t i = 0; i < steps; i++)
        use_step(record, i);
    MUST(pf_record_step(record, steps, &step, &fault) < 0);
    MUST(pf_record_step(record, UINT32_MAX, &step, &fault) < 0);
    fuzz_accepted += steps > 0;
}

/* Returns whether there is a record. */
static int open_and_use(int look_only)
{
    pf_record *record;
    pf_record_header header;
    pf_fault fault;
    if (pf_record_open(&record, STEM PF_PAGE_SUFFIX, look_only, &header, &fault) < 0)
        return 0;
    use_record(record, &header);
    pf_record_close(record);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record_head head;
    if (size < sizeof head)
        return -1;
    memcpy(&head, data, sizeof head);
    data += sizeof head;
    size -= sizeof head;
    size_t page_size = (size_t)head.page_length[0] << 8 | head.page_length[1];
    if (page_size > size)
        page_size = size;

    int open_before = fuzz_count_fds();
    write_files(head.fix, data, size, page_size);
    MUST(open_and_use(0) == open_and_use(1));
    MUST(fuzz_count_fds() == open_before);
    return 0;
}
