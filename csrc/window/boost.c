#define _GNU_SOURCE
#include "window/boost.h"

#include <sched.h>

#include "kernel/latency.h"
#include "kernel/load.h"
#include "kernel/rcu.h"

static void set_realtime(struct pf_window *window, int realtime)
{
    if (window->is_realtime == realtime)
        return;
    window->is_realtime = realtime;
    /* SCHED_RESET_ON_FORK: children, such as scripts, must not inherit SCHED_FIFO. */
    struct sched_param parameters = {.sched_priority = realtime ? 1 : 0};
    sched_setscheduler(0, (realtime ? SCHED_FIFO : SCHED_OTHER) | SCHED_RESET_ON_FORK, &parameters);
    for (uint32_t i = 0; i < window->page->count; i++)
        pf_worker_set_realtime(&window->workers[i], realtime);
}

static void set_latency(struct pf_window *window, int cpu_latency)
{
    if (window->holds_latency == cpu_latency)
        return;
    window->holds_latency = cpu_latency;
    pf_latency_set(window->latency_fd, cpu_latency);
}

void pf_boost_begin(struct pf_window *window)
{
    set_latency(window, (window->options.flags & PF_WINDOW_CPU_LATENCY) != 0);
    if (window->options.flags & PF_WINDOW_REALTIME)
        set_realtime(window, pf_load_is_high(window->page->count));
    if (window->options.flags & PF_WINDOW_EXPEDITE)
        pf_rcu_raise(window->page, window->rcu_fd);
}

void pf_boost_let_idle(struct pf_window *window)
{
    set_latency(window, 0);
}

void pf_boost_end(struct pf_window *window)
{
    set_realtime(window, 0);
    set_latency(window, 0);
}
