/* blackbox.h - the last transitions of a run, in its state page: what happened before a bad end.
 *
 * Any thread of any process that maps the page may write, without a lock, an allocation or a system
 * call, and may die while it does: a reader passes over what is half written, and a writer drops a
 * transition whose cell is just being written by another one, a whole ring late.
 */
#ifndef PF_BLACKBOX_H
#define PF_BLACKBOX_H
#include <stdatomic.h>

#include "pyfreeze.h"

#define PF_BLACKBOX_CELLS 512u
#define PF_BLACKBOX_BUSY UINT64_MAX

struct pf_blackbox_cell {
    _Atomic uint64_t number; /* of the transition; 0: none yet, PF_BLACKBOX_BUSY: being written */
    _Atomic uint64_t ns;
    _Atomic uint32_t kind; /* enum pf_transition_kind */
    _Atomic int32_t index;
    _Atomic int32_t value;
    uint32_t reserved;
};

struct pf_blackbox {
    _Atomic uint64_t count; /* of all transitions there were; the last PF_BLACKBOX_CELLS are kept */
    struct pf_blackbox_cell cells[PF_BLACKBOX_CELLS];
};

_Static_assert(sizeof(struct pf_blackbox_cell) == 32, "every later reader agrees on it");

void pf_blackbox_write(struct pf_blackbox *box, enum pf_transition_kind kind, int index, int value);
/* The oldest transition that is kept and comes after number `after`. 1: there it is, 0: there is
 * none. */
int pf_blackbox_read(const struct pf_blackbox *box, uint64_t after, pf_transition *out);
/* Whether it can be what pf_blackbox_write() has made, also while that goes on. */
int pf_blackbox_is_plausible(const struct pf_blackbox *box);

#endif
