#define _GNU_SOURCE
#include "protocol/page.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "protocol/plan.h"
#include "protocol/statedir.h"

/* Left empty where it cannot be read: then the page counts as one of this boot, the safe side. */
void pf_page_boot_id(char boot_id[PF_ID_SIZE])
{
    memset(boot_id, 0, PF_ID_SIZE);
    PF_AUTO_FD fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || PF_RETRY(read(fd, boot_id, PF_ID_SIZE - 1)) < 0)
        boot_id[0] = '\0';
    boot_id[strcspn(boot_id, "\n")] = '\0';
}

static uint64_t size_for(const pf_start_options *options)
{
    uint64_t size = sizeof(struct pf_page) + options->target_count * sizeof(struct pf_slot);
    for (uint32_t i = 0; i < options->target_count; i++)
        size += strlen(options->targets[i].mount) + 1;
    return size;
}

static void fill(struct pf_page *page, uint64_t size, const pf_start_options *options)
{
    page->magic = PF_PAGE_MAGIC;
    page->size = size;
    page->client_pid = getpid();
    page->count = options->target_count;
    atomic_store(&page->rcu_saved, -1);
    strncpy(page->run_id, options->run_id, PF_ID_SIZE - 1);
    pf_page_boot_id(page->boot_id);

    uint64_t at = sizeof *page + options->target_count * sizeof *page->slots;
    for (uint32_t i = 0; i < options->target_count; i++) {
        const pf_target *target = &options->targets[i];
        struct pf_slot *slot = &page->slots[i];
        size_t length = strlen(target->mount) + 1;
        memcpy((char *)page + at, target->mount, length);
        slot->mount_offset = (uint32_t)at;
        slot->mount_id = target->mount_id;
        slot->device_major = target->device_major;
        slot->device_minor = target->device_minor;
        slot->level = target->level;
        at += length;
    }
}

int pf_page_create(struct pf_page **page, int directory_fd, const pf_start_options *options,
                   pf_fault *fault)
{
    if (options->target_count > PF_PAGE_MAX_FILESYSTEMS || strlen(options->run_id) >= PF_ID_SIZE ||
        strchr(options->run_id, '/'))
        return pf_fail(fault, PF_OP_PAGE, EINVAL);

    void *map;
    uint64_t size = size_for(options);
    int fd = pf_statedir_create(directory_fd, options->run_id, PF_PAGE_SUFFIX, size, &map);
    if (fd < 0)
        return pf_fail(fault, PF_OP_PAGE, -fd);
    *page = map;
    fill(*page, size, options);
    return fd;
}

static int plausible(const struct pf_page *page, uint64_t size)
{
    if (page->magic != PF_PAGE_MAGIC || page->size != size || page->count > PF_PAGE_MAX_FILESYSTEMS)
        return 0;
    uint64_t strings = sizeof *page + page->count * sizeof *page->slots;
    if (strings > size || page->run_id[PF_ID_SIZE - 1] != '\0' || strchr(page->run_id, '/') ||
        page->boot_id[PF_ID_SIZE - 1] != '\0')
        return 0;
    for (uint32_t i = 0; i < page->count; i++) {
        uint64_t at = page->slots[i].mount_offset;
        if (page->slots[i].level >= PF_PAGE_MAX_FILESYSTEMS || at < strings || at >= size ||
            !memchr((const char *)page + at, 0, size - at))
            return 0;
    }
    return pf_blackbox_is_plausible(&page->blackbox);
}

/* The run of such a page may have frozen something: it is not to be taken for one only begun. */
static int is_of_another_version(int fd)
{
    uint64_t magic;
    return PF_RETRY(pread(fd, &magic, sizeof magic, 0)) == sizeof magic && magic != PF_PAGE_MAGIC &&
           (magic ^ PF_PAGE_MAGIC) << 8 == 0;
}

int pf_page_map(struct pf_page **page, int fd, pf_fault *fault)
{
    void *map;
    uint64_t size;
    if (is_of_another_version(fd))
        return pf_fail(fault, PF_OP_PAGE_READ, EPROTONOSUPPORT);
    int result = pf_statedir_map(fd, sizeof **page, &map, &size);
    if (result < 0)
        return pf_fail(fault, PF_OP_PAGE_READ, -result);
    if (!plausible(map, size)) {
        munmap(map, size);
        return pf_fail(fault, PF_OP_PAGE_READ, EBADMSG);
    }
    *page = map;
    return 0;
}

void pf_page_unmap(struct pf_page *page)
{
    if (page)
        munmap(page, page->size);
}

void pf_page_remove(const struct pf_page *page, int directory_fd)
{
    if (pf_page_count_needing_thaw(page) > 0 || atomic_load(&page->rcu_saved) >= 0)
        return; /* it is the record for `pyfreeze thaw` */
    /* The journal first: one without a page counts as left by a run that is gone. */
    pf_plan_page_remove(directory_fd, page->run_id);
    pf_statedir_remove(directory_fd, page->run_id, PF_PAGE_SUFFIX);
}

const char *pf_page_mount(const struct pf_page *page, const struct pf_slot *slot)
{
    return (const char *)page + slot->mount_offset;
}

void pf_slot_read(const struct pf_page *page, uint32_t index, pf_filesystem *out)
{
    const struct pf_slot *slot = &page->slots[index];
    *out = (pf_filesystem){
        .mount = pf_page_mount(page, slot),
        .mount_id = slot->mount_id,
        .device_major = slot->device_major,
        .device_minor = slot->device_minor,
        .level = slot->level,
        .state = (int)pf_slot_state(slot),
        .error = slot->error,
        .op = (int)slot->op,
    };
    /* One by one: a worker may be writing, and copying a struct need not read whole figures. */
    const uint64_t *from = (const uint64_t *)&slot->figures;
    uint64_t *to = (uint64_t *)&out->figures;
    for (size_t i = 0; i < sizeof slot->figures / sizeof *from; i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void pf_slot_enter(struct pf_page *page, struct pf_slot *slot, enum pf_state state, int error)
{
    _Static_assert(PF_TRANSITION_STUCK - PF_TRANSITION_CHOSEN == PF_STATE_STUCK,
                   "the kinds are in enum pf_state's order");
    atomic_store(&slot->state, (uint32_t)state);
    pf_page_note(page, PF_TRANSITION_CHOSEN + state, (int)(slot - page->slots), error);
}

uint32_t pf_page_count_needing_thaw(const struct pf_page *page)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < page->count; i++)
        count += (uint32_t)pf_state_needs_thaw(pf_slot_state(&page->slots[i]));
    return count;
}
