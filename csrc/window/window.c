#define _GNU_SOURCE
#include "window/window.h"

#include "base/timer.h"
#include "base/util.h"
#include "kernel/latency.h"
#include "kernel/rcu.h"
#include "protocol/limits.h"
#include "protocol/order.h"
#include "window/boost.h"
#include "window/level.h"

#define OPEN_LIMIT_NS (10 * PF_NS_PER_S)
/* In a longer snapshot processors do not poll: a late wake-up would cost less. */
#define LATENCY_LIMIT_NS (20 * PF_NS_PER_MS)
/* After a round of syncfs as short as this, another one would gain nothing. */
#define CONVERGED_NS (300 * 1000ull)

int pf_window_init(struct pf_window *window, struct pf_page *page, struct pf_worker *workers,
                   pf_fault *fault)
{
    *window = (struct pf_window){.page = page, .workers = workers};
    window->levels = pf_order_turns(page);
    window->rcu_fd = pf_rcu_open();
    window->latency_fd = pf_latency_open();
    window->deadline_fd = pf_timer_create();
    window->limit_fd = pf_timer_create();
    if (window->deadline_fd < 0 || window->limit_fd < 0)
        return pf_fail_errno(fault, PF_OP_SETUP);
    return 0;
}

static void enter(struct pf_window *window, enum pf_window_stage stage)
{
    window->stage = stage;
    pf_page_note(window->page, PF_TRANSITION_WINDOW_IDLE + stage, -1, (int)window->verdict);
}

/* ---- beginnings ----------------------------------------------------------------------------- */

static int require_idle(const struct pf_window *window, pf_fault *fault)
{
    if (window->stage != PF_WINDOW_IDLE || pf_window_is_pending(window))
        return pf_fail(fault, PF_OP_SEQUENCE, EBUSY);
    return 0;
}

static int require_open(const struct pf_window *window, pf_fault *fault)
{
    int result = require_idle(window, fault);
    for (uint32_t i = 0; i < window->page->count && result == 0; i++)
        if (pf_slot_state(&window->page->slots[i]) != PF_STATE_OPEN)
            result = pf_fail_at(fault, PF_OP_SEQUENCE, (int)i, EBADF);
    return result;
}

int pf_window_begin_open(struct pf_window *window, pf_fault *fault)
{
    int result = require_idle(window, fault);
    if (result < 0)
        return result;
    enter(window, PF_WINDOW_OPENING);
    window->level = 0;
    window->fault = (pf_fault){.index = -1};
    pf_timer_arm(window->limit_fd, pf_now_ns() + OPEN_LIMIT_NS);
    pf_level_post(window, PF_JOB_OPEN);
    return 0;
}

static void begin_round(struct pf_window *window)
{
    window->level = 0;
    window->round_begin_ns = pf_now_ns();
    pf_level_post(window, PF_JOB_FLUSH);
}

static void begin_flushing(struct pf_window *window, int freeze_follows)
{
    enter(window, PF_WINDOW_FLUSHING);
    window->freeze_follows = freeze_follows;
    window->fault = (pf_fault){.index = -1};
    window->round = 0;
    window->round_before_ns = UINT64_MAX;
    window->flush_begin_ns = pf_now_ns();
    pf_timer_arm(window->limit_fd,
                 pf_add_ns(window->flush_begin_ns, window->options.flush.limit_ns));
    pf_level_stop_waiting(window);
    if (window->options.flush.rounds > 0)
        begin_round(window);
}

int pf_window_begin_flush(struct pf_window *window, pf_fault *fault)
{
    int result = require_open(window, fault);
    if (result == 0)
        begin_flushing(window, 0);
    return result;
}

static void begin_freezing(struct pf_window *window)
{
    pf_boost_begin(window);
    uint64_t now = pf_now_ns();
    /* Before the first FIFREEZE, from which the deadline counts. The client reads it in the page,
     * and kills a supervisor that misses it. */
    uint64_t deadline = pf_add_ns(now, window->options.max_window_ns);
    atomic_store(&window->page->deadline_ns, deadline);
    pf_timer_arm(window->deadline_fd, deadline);
    pf_timer_arm(window->limit_fd, pf_add_ns(now, window->options.freeze_timeout_ns));
    enter(window, PF_WINDOW_FREEZING);
    window->level = 0;
    pf_level_post(window, PF_JOB_FREEZE);
}

int pf_window_begin_freeze(struct pf_window *window, pf_fault *fault)
{
    int result = require_idle(window, fault);
    if (result < 0)
        return result;
    for (uint32_t i = 0; i < window->page->count; i++) {
        struct pf_slot *slot = &window->page->slots[i];
        if (pf_slot_state(slot) == PF_STATE_THAWED) /* by an earlier window of this run */
            pf_slot_enter(window->page, slot, PF_STATE_OPEN, 0);
        slot->error = 0;
        slot->op = PF_OP_NONE;
        atomic_store(&window->workers[i].abandoned, 0);
    }
    result = require_open(window, fault);
    if (result < 0)
        return result;
    window->verdict = PF_VERDICT_NONE;
    atomic_store(&window->page->thawing, 0);
    begin_flushing(window, 1);
    return 0;
}

/* ---- the way through ------------------------------------------------------------------------ */

static void begin_thawing(struct pf_window *window, enum pf_verdict verdict)
{
    if (window->verdict == PF_VERDICT_NONE)
        window->verdict = verdict;
    atomic_store(&window->page->thawing, 1);
    pf_timer_disarm(window->deadline_fd);
    window->thaw_begin_ns = pf_now_ns();
    pf_timer_arm(window->limit_fd, window->thaw_begin_ns + PF_THAW_LIMIT_NS);
    enter(window, PF_WINDOW_THAWING);
    /* If a FIFREEZE still hangs, its own worker thaws the filesystem when it returns. The flag is
     * set before pf_level_post() looks at the states; do_freeze() has the other half. */
    for (uint32_t i = 0; i < window->page->count; i++)
        if (pf_worker_busy(&window->workers[i]))
            atomic_store(&window->workers[i].abandoned, 1);
    window->level = 0;
    pf_level_post(window, PF_JOB_THAW);
    pf_rcu_restore(window->page, window->rcu_fd);
}

static void begin_settling(struct pf_window *window)
{
    enter(window, PF_WINDOW_SETTLING);
    pf_timer_arm(window->limit_fd, pf_now_ns() + PF_SETTLE_LIMIT_NS);
    for (uint32_t i = 0; i < window->page->count; i++)
        window->workers[i].awaited = 1; /* idle workers count as done */
}

static enum pf_window_event close_window(struct pf_window *window)
{
    pf_timer_disarm(window->limit_fd);
    pf_rcu_restore(window->page, window->rcu_fd);
    if (window->verdict == PF_VERDICT_GOOD)
        for (uint32_t i = 0; i < window->page->count; i++)
            if (pf_slot_state(&window->page->slots[i]) != PF_STATE_THAWED) {
                window->verdict = PF_VERDICT_BROKEN;
                pf_fail_at(&window->fault, PF_OP_THAW, (int)i, window->page->slots[i].error);
                break;
            }
    atomic_store(&window->page->deadline_ns, 0);
    pf_boost_end(window);
    enter(window, PF_WINDOW_IDLE);
    return PF_WINDOW_EVENT_CLOSED;
}

static int finish_round(struct pf_window *window)
{
    uint64_t now = pf_now_ns();
    uint64_t took = now - window->round_begin_ns;
    uint64_t before = window->round_before_ns;
    window->round_before_ns = took;
    return ++window->round >= window->options.flush.rounds || took <= CONVERGED_NS ||
           now - window->flush_begin_ns >= window->options.flush.spend_ns ||
           took >= before - before / 4;
}

static enum pf_window_event end_flushing(struct pf_window *window)
{
    int failed = pf_level_find_failed(window, PF_OP_FLUSH, &window->fault) >= 0;
    if (!window->freeze_follows) {
        pf_timer_disarm(window->limit_fd);
        enter(window, PF_WINDOW_IDLE);
        return PF_WINDOW_EVENT_FLUSHED;
    }
    if (failed) {
        begin_thawing(window, PF_VERDICT_FREEZE_FAILED);
    } else {
        enter(window, PF_WINDOW_AWAITING);
        if (!window->awaits_command)
            begin_freezing(window);
    }
    return PF_WINDOW_EVENT_NONE;
}

static enum pf_window_event end_opening_level(struct pf_window *window)
{
    if (++window->level < window->levels) {
        pf_level_post(window, PF_JOB_OPEN);
        return PF_WINDOW_EVENT_NONE;
    }
    if (pf_level_find_failed(window, PF_OP_OPEN, &window->fault) < 0)
        pf_level_find_failed(window, PF_OP_VERIFY, &window->fault);
    pf_timer_disarm(window->limit_fd);
    enter(window, PF_WINDOW_IDLE);
    return PF_WINDOW_EVENT_OPENED;
}

static enum pf_window_event end_flushing_level(struct pf_window *window)
{
    /* A filesystem on another one comes first: flushing it dirties the one below. */
    if (window->options.flush.rounds > 0 && ++window->level < window->levels)
        pf_level_post(window, PF_JOB_FLUSH);
    else if (window->options.flush.rounds > 0 && !finish_round(window))
        begin_round(window);
    else
        return end_flushing(window);
    return PF_WINDOW_EVENT_NONE;
}

static enum pf_window_event end_freezing_level(struct pf_window *window)
{
    if (pf_level_find_failed(window, PF_OP_FREEZE, &window->fault) >= 0) {
        begin_thawing(window, PF_VERDICT_FREEZE_FAILED);
        return PF_WINDOW_EVENT_NONE;
    }
    if (pf_level_post(window, PF_JOB_FREEZE) > 0) /* one at a time */
        return PF_WINDOW_EVENT_NONE;
    if (++window->level < window->levels) {
        pf_level_post(window, PF_JOB_FREEZE);
        return PF_WINDOW_EVENT_NONE;
    }
    pf_rcu_restore(window->page, window->rcu_fd);
    pf_timer_arm(window->limit_fd, pf_now_ns() + LATENCY_LIMIT_NS);
    enter(window, PF_WINDOW_OPEN);
    return PF_WINDOW_EVENT_FROZEN;
}

static enum pf_window_event end_thawing_level(struct pf_window *window)
{
    if (pf_level_post(window, PF_JOB_THAW) > 0) /* one at a time */
        return PF_WINDOW_EVENT_NONE;
    if (++window->level < window->levels) {
        pf_timer_arm(window->limit_fd, pf_now_ns() + PF_THAW_LIMIT_NS);
        pf_level_post(window, PF_JOB_THAW);
    } else {
        begin_settling(window);
    }
    return PF_WINDOW_EVENT_NONE;
}

/* What follows when the workers of a level have ended. The other stages wait for no worker. */
static enum pf_window_event (*const end_level[])(struct pf_window *) = {
    [PF_WINDOW_OPENING] = end_opening_level,   [PF_WINDOW_FLUSHING] = end_flushing_level,
    [PF_WINDOW_FREEZING] = end_freezing_level, [PF_WINDOW_THAWING] = end_thawing_level,
    [PF_WINDOW_SETTLING] = close_window,
};

enum pf_window_event pf_window_advance(struct pf_window *window)
{
    while (end_level[window->stage] && pf_level_is_done(window)) {
        enum pf_window_event event = end_level[window->stage](window);
        if (event != PF_WINDOW_EVENT_NONE)
            return event;
    }
    return PF_WINDOW_EVENT_NONE;
}

void pf_window_stop_awaiting(struct pf_window *window)
{
    window->awaits_command = 0;
    if (window->stage == PF_WINDOW_AWAITING)
        begin_freezing(window);
}

void pf_window_lose_command(struct pf_window *window)
{
    if (!window->awaits_command)
        return;
    window->awaits_command = 0;
    pf_fail(&window->fault, PF_OP_CHILD_FORK, ECHILD);
    pf_window_give_up(window, PF_VERDICT_FREEZE_FAILED);
}

void pf_window_finish(struct pf_window *window)
{
    if (window->stage != PF_WINDOW_OPEN)
        return;
    int late = pf_now_ns() >= atomic_load(&window->page->deadline_ns);
    begin_thawing(window, late ? PF_VERDICT_EXPIRED : PF_VERDICT_GOOD);
}

void pf_window_give_up(struct pf_window *window, enum pf_verdict verdict)
{
    int flushes = window->stage == PF_WINDOW_FLUSHING && window->freeze_follows;
    if (flushes || window->stage == PF_WINDOW_AWAITING || window->stage == PF_WINDOW_FREEZING ||
        window->stage == PF_WINDOW_OPEN)
        begin_thawing(window, verdict);
}

void pf_window_cut_short(struct pf_window *window)
{
    if (window->stage != PF_WINDOW_OPENING && window->stage != PF_WINDOW_FLUSHING)
        return;
    window->level = window->levels - 1;
    window->options.flush.rounds = 0;
    pf_level_stop_waiting(window);
}

void pf_window_on_deadline(struct pf_window *window)
{
    if (!pf_timer_take(window->deadline_fd))
        return;
    pf_page_note(window->page, PF_TRANSITION_DEADLINE, -1, 0);
    if (window->stage == PF_WINDOW_FREEZING)
        pf_level_blame_busy(window, PF_OP_FREEZE);
    pf_window_give_up(window, PF_VERDICT_EXPIRED);
}

void pf_window_on_limit(struct pf_window *window)
{
    if (!pf_timer_take(window->limit_fd))
        return;
    if (window->stage != PF_WINDOW_OPEN) /* in that stage the limit ends only the boost */
        pf_page_note(window->page, PF_TRANSITION_LIMIT, -1, 0);
    switch (window->stage) {
    case PF_WINDOW_FREEZING:
        pf_level_blame_busy(window, PF_OP_FREEZE);
        pf_window_give_up(window, PF_VERDICT_FREEZE_TIMEOUT);
        break;
    case PF_WINDOW_FLUSHING:
        pf_level_blame_busy(window, PF_OP_FLUSH);
        if (window->freeze_follows)
            pf_window_give_up(window, PF_VERDICT_FREEZE_TIMEOUT);
        pf_window_cut_short(window);
        break;
    case PF_WINDOW_AWAITING: /* flush.limit_ns is still armed: a chdir() of the command may hang */
        pf_fail(&window->fault, PF_OP_CHILD_FORK, ETIMEDOUT);
        pf_window_give_up(window, PF_VERDICT_FREEZE_TIMEOUT);
        break;
    case PF_WINDOW_OPENING:
        pf_level_blame_busy(window, PF_OP_OPEN);
        pf_window_cut_short(window);
        break;
    case PF_WINDOW_THAWING: /* go on with all others, and no longer one at a time */
        window->options.flags |= PF_WINDOW_PARALLEL;
        pf_timer_arm(window->limit_fd, pf_now_ns() + PF_THAW_LIMIT_NS);
        pf_level_stop_waiting(window);
        break;
    case PF_WINDOW_SETTLING:
        pf_level_stop_waiting(window);
        break;
    case PF_WINDOW_OPEN:
        pf_boost_let_idle(window);
        break;
    case PF_WINDOW_IDLE:
        break;
    }
}

int pf_window_is_idle(const struct pf_window *window)
{
    return window->stage == PF_WINDOW_IDLE;
}

int pf_window_is_pending(const struct pf_window *window)
{
    for (uint32_t i = 0; i < window->page->count; i++)
        if (pf_worker_busy(&window->workers[i]))
            return 1;
    return 0;
}
