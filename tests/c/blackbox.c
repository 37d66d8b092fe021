/* The black box: what is kept, in its order, also while several threads write and one reads. */
#define _GNU_SOURCE
#include "protocol/blackbox.h"

#include <pthread.h>

#include "check.h"

#define WRITERS 3
#define PER_WRITER 20000
#define KINDS (PF_TRANSITION_COUNT - 1)

static struct pf_blackbox box;

/* A transition whose fields follow from each other, so that one made of two is seen. */
static void write_one(uint32_t n)
{
    pf_blackbox_write(&box, PF_TRANSITION_CHOSEN + n % KINDS, (int)n, (int)~n);
}

static void check_one(const pf_transition *one)
{
    uint32_t n = (uint32_t)one->index;
    CHECK_EQ(one->kind, PF_TRANSITION_CHOSEN + n % KINDS);
    CHECK_EQ(one->value, (int)~n);
}

static unsigned count_kept(void)
{
    unsigned count = 0;
    pf_transition one = {0};
    for (uint64_t before = 0; pf_blackbox_read(&box, before, &one); before = one.number) {
        CHECK(one.number > before);
        check_one(&one);
        count++;
    }
    return count;
}

/* Transitions are read as they were written: in order, numbered from 1, at rising times. */
TEST(order)
{
    pf_transition one = {0};
    uint64_t before_ns = 0;
    CHECK_EQ(pf_blackbox_read(&box, 0, &one), 0);
    for (uint32_t n = 0; n < 3; n++)
        write_one(n);
    for (uint32_t n = 0; n < 3; n++) {
        REQUIRE(pf_blackbox_read(&box, n, &one) == 1);
        CHECK_EQ(one.number, n + 1);
        CHECK_EQ(one.index, n);
        check_one(&one);
        CHECK(one.ns >= before_ns);
        before_ns = one.ns;
    }
    CHECK_EQ(pf_blackbox_read(&box, 3, &one), 0);
    CHECK(pf_blackbox_is_plausible(&box));
}

/* A full ring overwrites its oldest; what is read begins with the oldest that is left. */
TEST(only_the_last_are_kept)
{
    pf_transition one = {0};
    for (uint32_t n = 0; n < PF_BLACKBOX_CELLS + 100; n++)
        write_one(n);
    REQUIRE(pf_blackbox_read(&box, 0, &one) == 1);
    CHECK_EQ(one.number, 101);
    CHECK_EQ(count_kept(), PF_BLACKBOX_CELLS);
    CHECK(pf_blackbox_is_plausible(&box));
}

/* Its writer was killed: nobody else sees what is in it, and the others go on. */
TEST(half_written)
{
    pf_transition one = {0};
    for (uint32_t n = 0; n < 3; n++)
        write_one(n);
    atomic_store(&box.cells[1].number, PF_BLACKBOX_BUSY);
    CHECK(pf_blackbox_is_plausible(&box));
    REQUIRE(pf_blackbox_read(&box, 1, &one) == 1);
    CHECK_EQ(one.number, 3);
    for (uint32_t n = 3; n < PF_BLACKBOX_CELLS + 3; n++)
        write_one(n);
    CHECK_EQ(count_kept(), PF_BLACKBOX_CELLS - 1);
}

/* A number that its cell cannot have, or an unknown kind, makes the box implausible. */
TEST(implausible)
{
    for (uint32_t n = 0; n < 9; n++)
        write_one(n);
    const uint64_t numbers[] = {3, 4 + PF_BLACKBOX_CELLS, UINT64_MAX - 1};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        atomic_store(&box.cells[3].number, numbers[i]);
        CHECK(!pf_blackbox_is_plausible(&box));
    }
    atomic_store(&box.cells[3].number, 4);
    CHECK(pf_blackbox_is_plausible(&box));
    const uint32_t kinds[] = {PF_TRANSITION_NONE, PF_TRANSITION_COUNT, UINT32_MAX};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        atomic_store(&box.cells[3].kind, kinds[i]);
        CHECK(!pf_blackbox_is_plausible(&box));
    }
}

/* ---- threads -------------------------------------------------------------------------------- */

static _Atomic int has_read; /* writers go on until then, however busy the machine is */
static _Atomic int writers_left = WRITERS;
static _Atomic uint64_t written;

static void *write_many(void *argument)
{
    uint32_t n = *(const uint32_t *)argument, end = n + PER_WRITER;
    for (; n < end || !atomic_load(&has_read); n++) {
        write_one(n);
        atomic_fetch_add(&written, 1);
    }
    atomic_fetch_sub(&writers_left, 1);
    return NULL;
}

/* No transition that a reader sees is made of two, and none is lost but to a busy cell. */
TEST(concurrent)
{
    pthread_t threads[WRITERS];
    uint32_t from[WRITERS];
    unsigned seen = 0;
    for (uint32_t i = 0; i < WRITERS; i++) {
        from[i] = i * PER_WRITER;
        REQUIRE(pthread_create(&threads[i], NULL, write_many, &from[i]) == 0);
    }
    while (atomic_load(&writers_left) > 0) {
        seen += count_kept();
        CHECK(pf_blackbox_is_plausible(&box));
        atomic_store(&has_read, seen > 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(atomic_load(&box.count), atomic_load(&written));
    /* A cell that was busy, a whole ring late, has cost one. */
    CHECK(count_kept() >= PF_BLACKBOX_CELLS - WRITERS);
}

int main(int count, char **words)
{
    check_begin(count, words);
    return check_run();
}
