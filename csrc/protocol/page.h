/* page.h - the state page: timeline, list of what must be thawed, and recovery record in one.
 *
 * A file in the state directory (a tmpfs), mapped by the client and the supervisor. The client
 * writes the plan before the supervisor starts; after that only the supervisor's threads write,
 * each worker its own slot, until the supervisor is gone and the client takes over. A later
 * reader of the file knows from the slots alone what this run froze.
 */
#ifndef PF_PAGE_H
#define PF_PAGE_H
#include <stdatomic.h>
#include <stddef.h>

#include "protocol/blackbox.h"
#include "protocol/fault.h"

/* "pfrezpg"; the last byte is the layout's version. A further figure makes another version by itself.
 * Any other change raises PF_PAGE_LAYOUT, by one more than there are figures removed. */
#define PF_PAGE_LAYOUT '3'
#define PF_PAGE_MAGIC                                                                              \
    (0x67707a65726670ull | (uint64_t)(PF_PAGE_LAYOUT + sizeof(pf_figures) / 8) << 56)
#define PF_PAGE_MAX_FILESYSTEMS 4096u
#define PF_ID_SIZE 40
#define PF_PAGE_SUFFIX ".state"

struct pf_slot {
    _Atomic uint32_t state; /* enum pf_state */
    _Atomic int32_t error; /* of what failed last; ETIMEDOUT: it hangs, and was given up */
    _Atomic uint32_t op; /* enum pf_op that it belongs to */
    uint32_t level;
    uint32_t device_major;
    uint32_t device_minor;
    uint64_t mount_id;
    uint32_t mount_offset; /* of the path, from the page's begin */
    uint32_t reserved;
    pf_figures figures;
};

struct pf_page {
    uint64_t magic;
    uint64_t size;
    char run_id[PF_ID_SIZE];
    char boot_id[PF_ID_SIZE];
    int32_t client_pid;
    _Atomic int32_t supervisor_pid;
    uint32_t count;
    _Atomic int32_t rcu_saved; /* to write back into rcu_expedited, -1: nothing to do */
    _Atomic uint64_t window_ns; /* when the window under way was begun, 0: there is none */
    _Atomic uint64_t deadline_ns; /* of the window once it is freezing, else 0 */
    _Atomic uint32_t thawing; /* the supervisor has begun to thaw: it is not unresponsive */
    uint32_t reserved;
    struct pf_blackbox blackbox;
    struct pf_slot slots[];
};

_Static_assert(sizeof(struct pf_slot) == 40 + sizeof(pf_figures),
               "both sides and every later reader agree on it");
_Static_assert(offsetof(struct pf_page, slots) == 136 + sizeof(struct pf_blackbox),
               "no hidden padding before the slots");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2,
               "a lock inside shared memory would be held by a dead process");

/* Make the page of a run in an open state directory. Returns its descriptor. */
int pf_page_create(struct pf_page **page, int directory_fd, const pf_start_options *options,
                   pf_fault *fault);
/* Map a page that another process made, after checking all that later code relies on: for reading
 * only, if that is all that the descriptor is for. EBADMSG: it is none, or only begun;
 * EPROTONOSUPPORT: another version's. */
int pf_page_map(struct pf_page **page, int fd, pf_fault *fault);
void pf_page_unmap(struct pf_page *page);
/* Remove its file, and the journal's (plan.h), unless it tells of something that is still to be put right. */
void pf_page_remove(const struct pf_page *page, int directory_fd);

const char *pf_page_mount(const struct pf_page *page, const struct pf_slot *slot);
void pf_page_boot_id(char boot_id[PF_ID_SIZE]);
void pf_slot_read(const struct pf_page *page, uint32_t index, pf_filesystem *out);

static inline void pf_page_note(struct pf_page *page, enum pf_transition_kind kind, int index,
                                int value)
{
    pf_blackbox_write(&page->blackbox, kind, index, value);
}

/* A slot's new state, with the transition; `error` is noted, not stored. */
void pf_slot_enter(struct pf_page *page, struct pf_slot *slot, enum pf_state state, int error);

static inline uint32_t pf_slot_state(const struct pf_slot *slot)
{
    return atomic_load(&slot->state);
}

/* Frozen by this run, or about to be, and not known to be thawed. */
static inline int pf_state_needs_thaw(uint32_t state)
{
    return state == PF_STATE_FREEZING || state == PF_STATE_FROZEN || state == PF_STATE_THAWING ||
           state == PF_STATE_STUCK;
}

uint32_t pf_page_count_needing_thaw(const struct pf_page *page);

#endif
