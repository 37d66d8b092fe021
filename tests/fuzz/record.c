/* What a dead run may have left: a state page of any bytes. In the working directory. */
#define _GNU_SOURCE
#include "fuzz.h"
#include "protocol/page.h"
#include "pyfreeze.h"

#define PATH "record.state"

/* How an input begins, and what is put right in the page that follows: without it hardly one would
 * come past the first checks. */
enum fix {
    MEND_HEADER = 1, /* magic and size, and the ends of the two texts */
    MEND_OFFSETS = 2, /* of the paths: into the room behind the slots */
    MEND_BLACKBOX = 4
};

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

static void write_page(uint8_t fix, const uint8_t *data, size_t size)
{
    struct pf_page *page = malloc(size + 1);
    MUST(page != NULL);
    memcpy(page, data, size);
    if (size >= sizeof *page && fix & MEND_HEADER) {
        page->magic = PF_PAGE_MAGIC;
        page->size = size;
        page->run_id[PF_ID_SIZE - 1] = page->boot_id[PF_ID_SIZE - 1] = '\0';
    }
    if (size >= sizeof *page && fix & MEND_OFFSETS)
        mend_offsets(page, size);
    if (size >= sizeof *page && fix & MEND_BLACKBOX)
        mend_blackbox(&page->blackbox);
    int fd = open(PATH, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0 && write(fd, page, size) == (ssize_t)size);
    close(fd);
    free(page);
}

/* Thawing and restoring are left out: they would act on the machine. */
static void use_record(pf_record *record, const pf_record_header *header)
{
    pf_filesystem filesystem;
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pf_record *record;
    pf_record_header header;
    pf_fault fault;
    if (size < 1)
        return -1;
    int open_before = fuzz_count_fds();
    write_page(data[0], data + 1, size - 1);
    if (pf_record_open(&record, PATH, &header, &fault) == 0) {
        fuzz_accepted++;
        use_record(record, &header);
        pf_record_close(record);
    }
    MUST(fuzz_count_fds() == open_before);
    return 0;
}
