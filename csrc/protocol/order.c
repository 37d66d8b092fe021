#include "protocol/order.h"

uint32_t pf_order_turns(const struct pf_page *page)
{
    uint32_t turns = 1;
    for (uint32_t i = 0; i < page->count; i++)
        if (page->slots[i].level >= turns)
            turns = page->slots[i].level + 1;
    return turns;
}

uint32_t pf_order_turn(const struct pf_page *page, uint32_t turns, uint32_t index)
{
    return turns - 1 - page->slots[index].level;
}

uint32_t pf_order_nth(const struct pf_page *page, uint32_t n)
{
    return page->count - 1 - n;
}
