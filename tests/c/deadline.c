/* The deadline and the snapshot's end are due in the same turn of the loop, which may see either
 * first: a window that is over its time is never a good one. */
#define _GNU_SOURCE
#include <fcntl.h>

#include "base/timer.h"
#include "base/util.h"
#include "check.h"
#include "window/window.h"

#define SHORT_NS (2 * PF_NS_PER_MS)

static struct pf_window window;

static void begin(uint64_t max_window_ns)
{
    pf_fault fault;
    window.options.flush = (pf_flush_options){.rounds = 0, .limit_ns = PF_NS_PER_S};
    window.options.max_window_ns = max_window_ns;
    window.options.freeze_timeout_ns = 10 * PF_NS_PER_S;
    REQUIRE(pf_window_begin_freeze(&window, &fault) == 0);
    REQUIRE(pf_window_advance(&window) == PF_WINDOW_EVENT_FROZEN);
}

static void wait_for_deadline(void)
{
    while (pf_now_ns() < atomic_load(&window.page->deadline_ns))
        ;
}

static void ends_as(enum pf_verdict verdict)
{
    CHECK_EQ(pf_window_advance(&window), PF_WINDOW_EVENT_CLOSED);
    CHECK_EQ(window.verdict, verdict);
    CHECK(pf_window_is_idle(&window));
    CHECK_EQ(atomic_load(&window.page->deadline_ns), 0);
}

/* Not a moment earlier than it says. */
TEST(not_before)
{
    begin(SHORT_NS);
    uint64_t deadline_ns = atomic_load(&window.page->deadline_ns);
    CHECK(deadline_ns >= window.flush_begin_ns + SHORT_NS);
    while (window.stage == PF_WINDOW_OPEN)
        pf_window_on_deadline(&window);
    CHECK(window.thaw_begin_ns >= deadline_ns);
    ends_as(PF_VERDICT_EXPIRED);
}

/* A snapshot that ends after the deadline has expired, though its end is seen first. */
TEST(end_seen_first)
{
    begin(SHORT_NS);
    wait_for_deadline();
    pf_window_finish(&window);
    pf_window_on_deadline(&window);
    ends_as(PF_VERDICT_EXPIRED);
}

/* So it has when the deadline is seen first: the end that follows changes nothing. */
TEST(deadline_seen_first)
{
    begin(SHORT_NS);
    wait_for_deadline();
    while (window.stage == PF_WINDOW_OPEN) /* the timer itself may take a moment */
        pf_window_on_deadline(&window);
    pf_window_finish(&window);
    ends_as(PF_VERDICT_EXPIRED);
}

/* An event of a timer that was disarmed since epoll_wait() told of it. */
TEST(end_in_time)
{
    begin(60 * PF_NS_PER_S);
    pf_window_finish(&window);
    pf_window_on_deadline(&window);
    ends_as(PF_VERDICT_GOOD);
}

/* An abort stays one, though the snapshot ends right after it. */
TEST(given_up_first)
{
    begin(60 * PF_NS_PER_S);
    pf_window_give_up(&window, PF_VERDICT_ABORTED);
    pf_window_finish(&window);
    ends_as(PF_VERDICT_ABORTED);
}

/* Nothing is left of the windows before. */
TEST(windows_in_a_row)
{
    test_end_in_time();
    test_given_up_first();
    test_end_seen_first();
    test_deadline_seen_first();
    test_end_seen_first();
}

int main(int count, char **words)
{
    pf_fault fault;
    struct pf_page *page;
    const pf_start_options options = {.run_id = "deadline"};
    check_begin(count, words);
    int fd = pf_page_create(&page, AT_FDCWD, &options, &fault);
    REQUIRE(fd >= 0 && pf_window_init(&window, page, NULL, &fault) == 0);
    return check_run();
}
