/* When a supervisor counts as unresponsive. After the whole machine has stood still, the client may
 * wake up before the supervisor and find its deadline passed: the supervisor gets a moment. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>

#include "base/util.h"
#include "check.h"
#include "client/run.h"
#include "protocol/limits.h"

/* What the supervisor is given from the first look that finds it overdue. */
#define LEAST_MERCY_NS (150 * PF_NS_PER_MS)
/* Overdue beyond any margin. */
#define LONG_AGO_NS (600 * PF_NS_PER_S)

#define MOST_LEVELS 5

static struct pf_run run;

/* As the supervisor leaves it. */
static void open_window(uint64_t deadline_ns)
{
    atomic_store(&run.page->window_ns, pf_now_ns());
    atomic_store(&run.page->deadline_ns, deadline_ns);
}

static void close_window(void)
{
    atomic_store(&run.page->deadline_ns, 0);
    atomic_store(&run.page->window_ns, 0);
}

/* As the watchdog and pf_next_message() do. Returns after how long it counts as unresponsive. */
static uint64_t look_until_unresponsive(void)
{
    uint64_t begin = pf_now_ns();
    while (!pf_watchdog_check(&run)) {
        uint64_t now = pf_now_ns(), until = pf_watchdog_next_look(&run);
        REQUIRE(until > now && until - now <= PF_NS_PER_S);
        struct timespec rest = pf_timespec(until - now);
        nanosleep(&rest, NULL);
    }
    return pf_now_ns() - begin;
}

/* With no plan, and after one: nobody has to look. */
TEST(nothing_is_pending)
{
    struct pf_plan_page *plan = run.plan;
    close_window();
    CHECK(!pf_watchdog_check(&run));
    run.plan = NULL;
    CHECK(pf_watchdog_next_look(&run) == UINT64_MAX);
    run.plan = plan;
    atomic_store(&plan->is_over, 1);
    CHECK(pf_watchdog_next_look(&run) == UINT64_MAX);
    CHECK(!pf_watchdog_check(&run));
}

/* Between windows nothing is overdue, but nobody tells when one begins. */
TEST(no_window_yet)
{
    close_window();
    CHECK(!pf_watchdog_check(&run));
    CHECK(pf_watchdog_next_look(&run) < pf_now_ns() + PF_NS_PER_S);
}

/* Until the first FIFREEZE there is no deadline: the flush has its own limit, and then a margin. */
TEST(not_frozen_yet)
{
    open_window(0);
    CHECK(!pf_watchdog_check(&run));
    atomic_store(&run.page->window_ns, pf_now_ns() - LONG_AGO_NS);
    run.flush_limit_ns = 2 * LONG_AGO_NS;
    CHECK(!pf_watchdog_check(&run));
    CHECK_EQ(run.overdue_looks, 0);
    run.flush_limit_ns = UINT64_MAX; /* for ever */
    CHECK(!pf_watchdog_check(&run));
    CHECK_EQ(run.overdue_looks, 0);
    run.flush_limit_ns = 0;
    CHECK(look_until_unresponsive() >= LEAST_MERCY_NS);
    close_window();
}

TEST(in_time)
{
    open_window(pf_now_ns() + LONG_AGO_NS);
    CHECK(!pf_watchdog_check(&run));
    CHECK(pf_watchdog_next_look(&run) < pf_now_ns() + PF_NS_PER_S);
    close_window();
}

/* Two threads look: however often they do, it is the time that counts. */
TEST(mercy_after_a_pause)
{
    open_window(pf_now_ns() - LONG_AGO_NS);
    uint64_t begin = pf_now_ns(), end;
    do {
        end = pf_now_ns();
        sched_yield();
    } while (!pf_watchdog_check(&run));
    CHECK(end - begin >= LEAST_MERCY_NS);
    close_window();
    CHECK(!pf_watchdog_check(&run)); /* it has answered after all */
}

TEST(mercy_anew)
{
    open_window(pf_now_ns() - LONG_AGO_NS);
    CHECK(look_until_unresponsive() >= LEAST_MERCY_NS);
    close_window();
    CHECK(!pf_watchdog_check(&run));
    open_window(pf_now_ns() - LONG_AGO_NS);
    CHECK(!pf_watchdog_check(&run));
    CHECK(look_until_unresponsive() >= LEAST_MERCY_NS / 2);
    close_window();
}

static void set_levels(uint32_t levels)
{
    run.page->count = levels;
    for (uint32_t i = 0; i < levels; i++)
        run.page->slots[i].level = i;
}

/* It has begun to thaw: that may take as long as it gives its own workers, for each level. */
TEST(thawing)
{
    for (uint32_t levels = 1; levels <= MOST_LEVELS; levels++) {
        set_levels(levels);
        open_window(pf_now_ns() - levels * PF_THAW_LIMIT_NS);
        atomic_store(&run.page->thawing, 1);
        for (int look = 0; look < 10; look++) {
            CHECK(!pf_watchdog_check(&run));
            usleep(50 * 1000);
        }
        open_window(pf_now_ns() - pf_limit_thawed_ns(levels));
        CHECK(look_until_unresponsive() > 0);
        atomic_store(&run.page->thawing, 0);
        close_window();
        CHECK(!pf_watchdog_check(&run));
    }
    set_levels(0);
}

/* A process waits longer for another's answer than that one gives itself. */
TEST(limits)
{
    for (uint32_t levels = 1; levels <= MOST_LEVELS; levels++) {
        CHECK(pf_limit_thawing_ns(levels) > levels * PF_THAW_LIMIT_NS + PF_SETTLE_LIMIT_NS);
        CHECK(pf_limit_thawed_ns(levels) >= pf_limit_thawing_ns(levels) + PF_MARGIN_NS);
        CHECK(pf_limit_leaving_ns(levels) >= pf_limit_thawed_ns(levels) + PF_KILL_LIMIT_NS);
        CHECK(pf_limit_recovering_ns(levels) >= levels * PF_RECOVER_TURN_NS);
        CHECK(pf_limit_thawing_ns(levels) + PF_THAW_LIMIT_NS == pf_limit_thawing_ns(levels + 1));
    }
}

/* A FITHAW that hangs delays each turn of a recovery: its process is given that time besides. */
TEST(recovery_of_many_levels)
{
    const uint32_t levels = 60;
    static const char script[] = "#!/bin/sh\nsleep 0.3 &\n"; /* it has PF_FD_DONE until it ends */
    struct pf_page *page = calloc(1, sizeof *page + levels * sizeof *page->slots);
    int *fds = malloc(levels * sizeof *fds);
    REQUIRE(page != NULL && fds != NULL);
    page->count = levels;
    for (uint32_t i = 0; i < levels; i++) {
        page->slots[i].level = i;
        fds[i] = -1;
    }
    int program = open("slow", O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    REQUIRE(write(program, script, sizeof script - 1) == sizeof script - 1);
    close(program);
    const struct pf_lost lost = {.program = "./slow",
                                 .page = page,
                                 .page_fd = -1,
                                 .owner_fd = -1,
                                 .lock_fd = -1,
                                 .directory_fd = -1,
                                 .fds = fds};
    CHECK_EQ(pf_recover_by_process(&lost, 0), 1);
    free(fds);
    free(page);
}

int main(int count, char **words)
{
    check_begin(count, words);
    run.page = calloc(1, sizeof *run.page + MOST_LEVELS * sizeof *run.page->slots);
    run.plan = calloc(1, sizeof *run.plan);
    REQUIRE(run.page != NULL && run.plan != NULL);
    int status = check_run();
    free(run.plan);
    free(run.page);
    return status;
}
