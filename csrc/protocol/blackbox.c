#include "protocol/blackbox.h"

#include "base/util.h"

static const struct pf_blackbox_cell *cell_of(const struct pf_blackbox *box, uint64_t number)
{
    return &box->cells[(number - 1) % PF_BLACKBOX_CELLS];
}

/* No release store is reordered with what comes before it: a reader that sees a field of this
 * transition sees that the cell is busy, too, or was and has its new number. */
void pf_blackbox_write(struct pf_blackbox *box, enum pf_transition_kind kind, int index, int value)
{
    uint64_t number = atomic_fetch_add(&box->count, 1) + 1;
    struct pf_blackbox_cell *cell = &box->cells[(number - 1) % PF_BLACKBOX_CELLS];
    uint64_t before = atomic_load(&cell->number);
    if (before > number ||
        !atomic_compare_exchange_strong(&cell->number, &before, PF_BLACKBOX_BUSY))
        return;
    atomic_store_explicit(&cell->ns, pf_now_ns(), memory_order_release);
    atomic_store_explicit(&cell->kind, (uint32_t)kind, memory_order_release);
    atomic_store_explicit(&cell->index, index, memory_order_release);
    atomic_store_explicit(&cell->value, value, memory_order_release);
    atomic_store_explicit(&cell->number, number, memory_order_release);
}

static uint64_t number_of(const struct pf_blackbox_cell *cell)
{
    return atomic_load_explicit(&cell->number, memory_order_acquire);
}

int pf_blackbox_read(const struct pf_blackbox *box, uint64_t after, pf_transition *out)
{
    uint64_t last = atomic_load(&box->count), number = after + 1;
    if (last > PF_BLACKBOX_CELLS && number <= last - PF_BLACKBOX_CELLS)
        number = last - PF_BLACKBOX_CELLS + 1;
    for (; number <= last; number++) {
        const struct pf_blackbox_cell *cell = cell_of(box, number);
        if (number_of(cell) != number)
            continue;
        *out = (pf_transition){
            .number = number,
            .ns = atomic_load_explicit(&cell->ns, memory_order_acquire),
            .kind = (int)atomic_load_explicit(&cell->kind, memory_order_acquire),
            .index = atomic_load_explicit(&cell->index, memory_order_acquire),
            .value = atomic_load_explicit(&cell->value, memory_order_acquire),
        };
        if (number_of(cell) == number)
            return 1;
    }
    return 0;
}

int pf_blackbox_is_plausible(const struct pf_blackbox *box)
{
    for (uint32_t i = 0; i < PF_BLACKBOX_CELLS; i++) {
        const struct pf_blackbox_cell *cell = &box->cells[i];
        uint64_t number = number_of(cell);
        uint32_t kind = atomic_load(&cell->kind);
        /* The count is loaded last: a writer raises it before it stores the number. */
        if (number != 0 && number != PF_BLACKBOX_BUSY &&
            (cell_of(box, number) != cell || kind == PF_TRANSITION_NONE ||
             kind >= PF_TRANSITION_COUNT || number > atomic_load(&box->count)))
            return 0;
    }
    return atomic_load(&box->count) < UINT64_MAX / 2;
}
