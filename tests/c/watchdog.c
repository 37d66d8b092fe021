/* When a supervisor counts as mute. Where the whole machine stood still, every deadline has passed
 * for everybody, and the client may be the first to wake up: the supervisor gets a moment. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>

#include "base/util.h"
#include "check.h"
#include "client/run.h"

/* What the supervisor is given from the first look that finds it overdue. */
#define LEAST_MERCY_NS (150 * PF_NS_PER_MS)
/* Overdue beyond any margin. */
#define LONG_AGO_NS (60 * PF_NS_PER_S)

static struct pf_run run;

/* As pf_run_request_window() and the supervisor leave it. */
static void open_window(uint64_t deadline_ns)
{
    atomic_store(&run.requested_ns, pf_now_ns());
    atomic_store(&run.page->deadline_ns, deadline_ns);
}

static void close_window(void)
{
    atomic_store(&run.page->deadline_ns, 0);
    atomic_store(&run.requested_ns, 0);
}

/* As the guard and pf_next_message() do. Returns after how long it counts as mute. */
static uint64_t look_until_mute(void)
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

TEST(nothing_is_owed)
{
    close_window();
    CHECK(!pf_watchdog_check(&run));
    CHECK_EQ(pf_watchdog_next_look(&run), UINT64_MAX);
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
    CHECK(look_until_mute() >= LEAST_MERCY_NS);
    close_window();
    CHECK(!pf_watchdog_check(&run));
    open_window(pf_now_ns() - LONG_AGO_NS);
    CHECK(!pf_watchdog_check(&run));
    CHECK(look_until_mute() >= LEAST_MERCY_NS / 2);
    close_window();
}

/* It has begun to thaw: that may take long, and is no silence. */
TEST(thawing)
{
    open_window(pf_now_ns() - PF_NS_PER_S);
    atomic_store(&run.page->thawing, 1);
    for (int look = 0; look < 10; look++) {
        CHECK(!pf_watchdog_check(&run));
        usleep(50 * 1000);
    }
    atomic_store(&run.page->thawing, 0);
    CHECK(look_until_mute() > 0);
    close_window();
}

int main(int count, char **words)
{
    check_begin(count, words);
    run.page = calloc(1, sizeof *run.page);
    REQUIRE(run.page != NULL);
    int status = check_run();
    free(run.page);
    return status;
}
