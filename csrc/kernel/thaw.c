#define _GNU_SOURCE
#include "kernel/thaw.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "base/util.h"

#define ATTEMPTS 6
#define PAUSE_NS (5 * PF_NS_PER_MS)

int pf_fithaw(int fd)
{
    int error = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (ioctl(fd, FITHAW, 0) == 0)
            return 0;
        error = errno;
        /* thaw_super() says EINVAL when s_writers.frozen is not SB_FREEZE_COMPLETE. */
        if (error == EINVAL)
            break;
        /* Any other error leaves the filesystem frozen: unfreeze_fs failed, or the call never got
         * that far. The second time often works; a pause is for what needs a moment. */
        if (attempt > 0) {
            struct timespec pause = pf_timespec(PAUSE_NS);
            nanosleep(&pause, NULL);
        }
    }
    return error;
}

static uint32_t finish(struct pf_page *page, struct pf_slot *slot, enum pf_state state, int error)
{
    slot->figures.thaw_return_ns = pf_now_ns();
    if (error != 0) {
        slot->error = error;
        slot->op = PF_OP_THAW;
    }
    pf_slot_enter(page, slot, state, error);
    return state;
}

uint32_t pf_thaw(struct pf_page *page, struct pf_slot *slot, int fd)
{
    slot->figures.thaw_enter_ns = pf_now_ns();
    pf_slot_enter(page, slot, PF_STATE_THAWING, 0);
    int error = pf_fithaw(fd);
    enum pf_state state = error == 0        ? PF_STATE_THAWED
                          : error == EINVAL ? PF_STATE_FOREIGN_THAW
                                            : PF_STATE_STUCK;
    return finish(page, slot, state, error);
}

int pf_thaw_if_frozen(struct pf_page *page, struct pf_slot *slot, int fd)
{
    uint64_t begin = pf_now_ns();
    if (ioctl(fd, FITHAW, 0) < 0)
        return 0;
    slot->figures.thaw_enter_ns = begin;
    finish(page, slot, PF_STATE_THAWED, 0);
    return 1;
}

void pf_thaw_left(struct pf_page *page, struct pf_slot *slot, int fd)
{
    /* The owner may have died between a system call and its note in the slot: EINVAL then means that
     * the filesystem never became frozen, or that the owner's own FITHAW had already worked. Neither
     * is a foreign thaw. */
    uint32_t before = pf_slot_state(slot);
    if (pf_thaw(page, slot, fd) == PF_STATE_FOREIGN_THAW && before != PF_STATE_FROZEN)
        pf_slot_enter(page, slot, before == PF_STATE_FREEZING ? PF_STATE_FAILED : PF_STATE_THAWED,
                      EINVAL);
}
