#define _GNU_SOURCE
#include "haste.h"

#include <sched.h>

#include "latency.h"
#include "load.h"
#include "rcu.h"

static void set_realtime(struct pf_window *window, int realtime)
{
    if (window->is_realtime == realtime)
        return;
    window->is_realtime = realtime;
    /* What is forked meanwhile, scripts above all, must not inherit it. */
    struct sched_param parameters = {.sched_priority = realtime ? 1 : 0};
    sched_setscheduler(0, (realtime ? SCHED_FIFO : SCHED_OTHER) | SCHED_RESET_ON_FORK, &parameters);
    for (uint32_t i = 0; i < window->page->count; i++)
        pf_worker_set_realtime(&window->workers[i], realtime);
}

static void set_wakeful(struct pf_window *window, int wakeful)
{
    if (window->is_wakeful == wakeful)
        return;
    window->is_wakeful = wakeful;
    if (wakeful)
        pf_latency_hold(window->latency_fd);
    else
        pf_latency_release(window->latency_fd);
}

void pf_haste_begin(struct pf_window *window)
{
    set_wakeful(window, (window->flags & PF_WINDOW_WAKEFUL) != 0);
    if (window->flags & PF_WINDOW_REALTIME)
        set_realtime(window, pf_load_is_high(window->page->count));
    if (window->flags & PF_WINDOW_EXPEDITE)
        pf_rcu_raise(window->page, window->rcu_fd);
}

void pf_haste_let_idle(struct pf_window *window)
{
    set_wakeful(window, 0);
}

void pf_haste_end(struct pf_window *window)
{
    set_realtime(window, 0);
    set_wakeful(window, 0);
}
