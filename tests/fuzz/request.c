/* What a client may send: a message of any length with any descriptors, and behind the first of
 * them a child's page of any bytes. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/util.h"
#include "fuzz.h"
#include "protocol/childpage.h"
#include "protocol/wire.h"
#include "send.h"

/* How an input begins; a message and a page follow. */
struct plan {
    uint8_t fix;   /* enum fix */
    uint8_t length; /* of the message, unless fixed */
    uint8_t fds;
    uint8_t appended;
};

/* Without these hardly an input would come past the first checks. */
enum fix {
    MEND_LENGTH = 1,
    MEND_MAGIC = 2, /* and the offset of the strings */
    MEND_SIZE = 4,
    MEND_RING = 8
};

int LLVMFuzzerInitialize(int *count, char ***words)
{
    (void)count;
    (void)words;
    return atexit(fuzz_tell_accepted);
}

static int make_page(const struct plan *plan, const uint8_t *data, size_t size)
{
    struct pf_child_page page;
    int fd = memfd_create("page", MFD_CLOEXEC);
    MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    if (size < sizeof page)
        return fd;
    memcpy(&page, data, sizeof page);
    if (plan->fix & MEND_MAGIC) {
        page.magic = PF_CHILD_MAGIC;
        page.strings_offset = sizeof page;
    }
    if (plan->fix & MEND_SIZE)
        page.size = size;
    if (plan->fix & MEND_RING) {
        page.ring_offset = sizeof page + page.ring_offset % (size - sizeof page + 1);
        page.ring_bytes = (uint32_t)(size - page.ring_offset);
    }
    MUST(pwrite(fd, &page, sizeof page, 0) == (ssize_t)sizeof page);
    return fd;
}

static void use_words(struct pf_child_page *page)
{
    char extra[] = "PYFREEZE_ATTEMPT=1";
    struct pf_child_words words;
    pf_fault fault;
    MUST(pf_child_page_words(page, extra, &words, &fault) == 0);
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

static void use_ring(struct pf_child_page *page, const uint8_t *data, size_t size, size_t appended)
{
    pf_child_report report;
    size_t room = appended + 1; /* now more, now less than the ring has */
    char *output = malloc(room);
    MUST(output != NULL);
    for (int i = 0; i < 3; i++)
        pf_child_page_append(page, (const char *)data,
                             (uint32_t)(appended < size ? appended : size));
    uint32_t kept = pf_child_page_output(page, output, (uint32_t)room);
    MUST(kept <= room && kept <= page->ring_bytes);
    pf_child_page_report(page, &report);
    free(output);
}

static void use_page(int fd, const struct plan *plan, const uint8_t *data, size_t size)
{
    struct pf_child_page *page;
    pf_fault fault;
    if (pf_child_page_map(&page, fd, &fault) < 0)
        return;
    fuzz_accepted++;
    use_words(page);
    use_ring(page, data, size, plan->appended);
    use_words(page); /* the ring is beside the words */
    pf_child_page_unmap(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan plan;
    struct pf_message message;
    int ends[2], fds[PF_WIRE_MAX_FDS];
    pf_fault fault;
    if (size < sizeof plan)
        return -1;
    memcpy(&plan, data, sizeof plan);
    data += sizeof plan;
    size -= sizeof plan;
    size_t length = plan.fix & MEND_LENGTH ? sizeof message : plan.length;
    if (length > size)
        return -1;

    int open_before = fuzz_count_fds();
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    int page_fd = make_page(&plan, data + length, size - length);
    fuzz_send(ends[0], data, length, page_fd, plan.fds % (FUZZ_MOST_FDS + 1));
    close(page_fd);
    int result = pf_wire_receive(ends[1], &message, fds, &fault);
    MUST(result == 0 || result == -EBADMSG || result == -EMFILE || result == -EPIPE);
    MUST((result == 0) == (length == sizeof message && plan.fds % (FUZZ_MOST_FDS + 1) <= 2));
    MUST(result < 0 || memcmp(&message, data, sizeof message) == 0);
    for (int i = 0; i < PF_WIRE_MAX_FDS; i++) {
        MUST((fds[i] >= 0) == (result == 0 && i < plan.fds % (FUZZ_MOST_FDS + 1)));
        if (fds[i] >= 0)
            use_page(fds[i], &plan, data, size);
        pf_close_fd(&fds[i]);
    }
    close(ends[0]);
    close(ends[1]);
    MUST(fuzz_count_fds() == open_before);
    return 0;
}
