/* What a client may send: a message of any length with any descriptors, and behind the first of
 * them a plan's file of any bytes. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/util.h"
#include "inputs.h"
#include "journal.h"
#include "protocol/wire.h"
#include "send.h"

int LLVMFuzzerInitialize(int *count, char ***words)
{
    (void)count;
    (void)words;
    return atexit(fuzz_tell_accepted);
}

static int make_file(int fix, const uint8_t *data, size_t size)
{
    struct pf_plan_page *page = malloc(size + 1);
    int fd = memfd_create("plan", MFD_CLOEXEC);
    MUST(page != NULL && fd >= 0);
    memcpy(page, data, size);
    size = journal_mend(page, size, fix);
    MUST(write(fd, page, size) == (ssize_t)size);
    free(page);
    return fd;
}

static void use_file(int fd, const struct request_head *head, const uint8_t *data, size_t size)
{
    struct pf_plan_page *page;
    pf_fault fault;
    if (pf_plan_page_map(&page, fd, &fault) < 0)
        return;
    fuzz_accepted++;
    journal_use(page, (const char *)data,
                (uint32_t)(head->appended < size ? head->appended : size));
    pf_plan_page_unmap(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request_head head;
    struct pf_message message;
    int ends[2], fds[PF_WIRE_MAX_FDS];
    pf_fault fault;
    if (size < sizeof head)
        return -1;
    memcpy(&head, data, sizeof head);
    data += sizeof head;
    size -= sizeof head;
    size_t length = head.fix & MEND_LENGTH ? sizeof message : head.length;
    size_t count = head.fds % (FUZZ_MOST_FDS + 1);
    if (length > size)
        return -1;

    int open_before = fuzz_count_fds();
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    int fd = make_file(head.fix, data + length, size - length);
    fuzz_send(ends[0], data, length, (const int[FUZZ_MOST_FDS]){fd, fd, fd, fd}, count);
    close(fd);
    int result = pf_wire_receive(ends[1], &message, fds, &fault);
    MUST(result == 0 || result == -EBADMSG || result == -EMFILE || result == -EPIPE);
    MUST((result == 0) == (length == sizeof message && count <= PF_WIRE_MAX_FDS));
    MUST(result < 0 || memcmp(&message, data, sizeof message) == 0);
    for (size_t i = 0; i < PF_WIRE_MAX_FDS; i++) {
        MUST((fds[i] >= 0) == (result == 0 && i < count));
        if (fds[i] >= 0)
            use_file(fds[i], &head, data, size);
        pf_close_fd(&fds[i]);
    }
    close(ends[0]);
    close(ends[1]);
    MUST(fuzz_count_fds() == open_before);
    return 0;
}
