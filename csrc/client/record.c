/* record.c - another run's state page: of a dead run to thaw by, of a live one only to look at. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "client/run.h"
#include "kernel/mount.h"
#include "kernel/recover.h"
#include "kernel/thaw.h"
#include "protocol/limits.h"
#include "protocol/order.h"
#include "protocol/plan.h"
#include "protocol/statedir.h"

struct pf_record {
    struct pf_page *page;
    int fd;
    struct pf_plan_page *plan; /* NULL: none was handed over, or it cannot be read */
    int read_only;
};

/* It only tells more: without it, what is frozen can be thawed all the same. */
static struct pf_plan_page *open_journal(const char *page_path)
{
    char path[4096];
    struct pf_plan_page *plan = NULL;
    pf_fault ignored;
    size_t stem = strlen(page_path) - strlen(PF_PAGE_SUFFIX);
    if (strlen(page_path) < strlen(PF_PAGE_SUFFIX) ||
        snprintf(path, sizeof path, "%.*s" PF_JOURNAL_SUFFIX, (int)stem, page_path) >=
            (int)sizeof path)
        return NULL;
    PF_AUTO_FD fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && pf_plan_page_map(&plan, fd, &ignored) == 0 ? plan : NULL;
}

int pf_record_open(pf_record **record, const char *path, int look_only, pf_record_header *header,
                   pf_fault *fault)
{
    PF_AUTO_FD fd = open(path, (look_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return pf_fail_errno(fault, PF_OP_PAGE_READ);
    struct pf_page *page;
    int result = pf_page_map(&page, fd, fault);
    if (result < 0)
        return result;
    *record = malloc(sizeof **record);
    if (!*record) {
        pf_page_unmap(page);
        return pf_fail(fault, PF_OP_PAGE_READ, ENOMEM);
    }
    **record = (struct pf_record){.page = page,
                                  .fd = pf_keep_fd(&fd),
                                  .plan = open_journal(path),
                                  .read_only = look_only};

    char boot_id[PF_ID_SIZE];
    pf_page_boot_id(boot_id);
    *header = (pf_record_header){
        .client_pid = page->client_pid,
        .supervisor_pid = atomic_load(&page->supervisor_pid),
        .same_boot = boot_id[0] == '\0' || strcmp(boot_id, page->boot_id) == 0,
        .count = page->count,
        .deadline_ns = atomic_load(&page->deadline_ns),
        .thawed_limit_ns = pf_limit_thawed_ns(pf_order_turns(page)),
    };
    memcpy(header->run_id, page->run_id, sizeof header->run_id);
    return 0;
}

int pf_record_read(pf_record *record, uint32_t index, pf_filesystem *out, pf_fault *fault)
{
    if (index >= record->page->count)
        return pf_fail(fault, PF_OP_PAGE_READ, ERANGE);
    pf_slot_read(record->page, index, out);
    return 0;
}

int pf_record_transition(pf_record *record, uint64_t after, pf_transition *out)
{
    return pf_blackbox_read(&record->page->blackbox, after, out);
}

uint32_t pf_record_step_count(const pf_record *record)
{
    return record->plan ? record->plan->count : 0;
}

int pf_record_step(pf_record *record, uint32_t step, pf_step_report *report, pf_fault *fault)
{
    if (step >= pf_record_step_count(record))
        return pf_fail(fault, PF_OP_PAGE_READ, ERANGE);
    pf_step_read(&record->plan->steps[step], report);
    return 0;
}

int pf_record_child(pf_record *record, uint32_t step, const char **path, pf_child_report *report,
                    pf_fault *fault)
{
    if (step >= pf_record_step_count(record))
        return pf_fail(fault, PF_OP_PAGE_READ, ERANGE);
    const struct pf_child_page *page = pf_step_child(record->plan, step);
    if (!page)
        return pf_fail(fault, PF_OP_PAGE_READ, ENOENT);
    *path = (const char *)page + page->strings_offset; /* the first of its strings */
    pf_child_page_report(page, report);
    return 0;
}

/* One descriptor for each of the page's filesystems; -1: it has no candidate. */
static int *open_candidates(uint32_t filesystems, pf_candidate *candidates, uint32_t count)
{
    int *fds = malloc((filesystems + 1) * sizeof *fds);
    if (!fds)
        return NULL;
    for (uint32_t i = 0; i < filesystems; i++)
        fds[i] = -1;
    for (uint32_t i = 0; i < count; i++) {
        pf_candidate *one = &candidates[i];
        one->fault = (pf_fault){.index = -1};
        if (one->index >= filesystems || fds[one->index] >= 0)
            pf_fail(&one->fault, PF_OP_PAGE_READ, ERANGE);
        else
            fds[one->index] = pf_open_mount(one->mount, one->mount_id, &one->fault);
    }
    return fds;
}

static void recover(pf_record *record, const pf_recover_options *options, const int *fds,
                    int directory_fd)
{
    const struct pf_lost lost = {.program = options->program,
                                 .page = record->page,
                                 .page_fd = record->fd,
                                 .owner_fd = -1,
                                 .lock_fd = options->lock_fd,
                                 .directory_fd = directory_fd,
                                 .fds = fds};
    if (options->count == 0 || pf_recover_by_process(&lost, PF_RECOVER_LIMIT_NS) < 0)
        pf_recover(record->page, record->fd, fds, PF_OWNER_DEAD, PF_RECOVER_LIMIT_NS);
    pf_page_remove(record->page, directory_fd);
}

int pf_record_recover(pf_record *record, const pf_recover_options *options, pf_fault *fault)
{
    if (record->read_only)
        return pf_fail(fault, PF_OP_PAGE_READ, EROFS);
    PF_AUTO_FD directory_fd = pf_statedir_open(options->directory, fault);
    if (directory_fd < 0)
        return directory_fd;
    const uint32_t filesystems = record->page->count;
    int *fds = open_candidates(filesystems, options->candidates, options->count);
    if (!fds)
        return pf_fail(fault, PF_OP_OPEN, ENOMEM);
    recover(record, options, fds, directory_fd);
    for (uint32_t i = 0; i < filesystems; i++)
        pf_close_fd(&fds[i]);
    free(fds);
    /* What is still frozen is told by the slots, and is worse. */
    if (pf_page_count_needing_thaw(record->page) == 0 && atomic_load(&record->page->rcu_saved) >= 0)
        return pf_fail(fault, PF_OP_RCU, EIO);
    return 0;
}

void pf_record_close(pf_record *record)
{
    pf_plan_page_unmap(record->plan);
    pf_page_unmap(record->page);
    pf_close_fd(&record->fd);
    free(record);
}

int pf_thaw_mount(const char *mount, uint64_t mount_id, pf_fault *fault)
{
    PF_AUTO_FD fd = pf_open_mount(mount, mount_id, fault);
    if (fd < 0)
        return fd;
    int error = pf_fithaw(fd);
    return error == 0 || error == EINVAL ? error == 0 : pf_fail(fault, PF_OP_THAW, error);
}
