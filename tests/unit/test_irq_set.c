/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "device/irq.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "unit/fakes.h"
#include "unit/irq_kit.h"

static const struct bad_set {
    uint32_t flags, index, start, count;
    unsigned nfds;
} bad_sets[] = {
    { NONE | TRIGGER, 5, 0, 1, 0 },
    { NONE | TRIGGER, UINT32_MAX, 0, 1, 0 },
    { NONE | TRIGGER, MSIX, 0, 1, 0 },
    { NONE | TRIGGER, INTX, 0, 2, 0 },
    { NONE | TRIGGER, INTX, 1, 1, 0 },
    { NONE | TRIGGER, INTX, 2, 0, 0 },
    { NONE | TRIGGER, MSI, 4, 1, 0 },
    { NONE | TRIGGER, MSI, 3, 2, 0 },
    { NONE | TRIGGER, MSI, 1, UINT32_MAX, 0 },
    { NONE | TRIGGER, MSI, UINT32_MAX, 1, 0 },
    { NONE | MASK, MSI, 0, 1, 0 },
    { NONE | UNMASK, MSI, 0, 1, 0 },
    { NONE | MASK, ERR, 0, 1, 0 },
    { NONE | UNMASK, REQ, 0, 1, 0 },
    { EVENTFD | MASK, ERR, 0, 1, 1 },
    { EVENTFD | UNMASK, MSI, 0, 1, 1 },
    { EVENTFD | TRIGGER, 5, 0, 1, 1 },
    { EVENTFD | TRIGGER, MSI, 0, 2, 1 },
    { EVENTFD | TRIGGER, MSI, 0, 1, 2 },
    { EVENTFD | TRIGGER, MSI, 2, 4, 4 },
    { EVENTFD | TRIGGER, INTX, 0, 1, 2 },
    { EVENTFD | UNMASK, INTX, 0, 1, 2 },
};

static void check_bad_set(struct line *l, const struct bad_set *b, size_t row, int fds[4])
{
    static const uint8_t ones[4] = { 1, 1, 1, 1 };
    struct irq_state before = l->state;
    unsigned open_before = fake_open_fds();
    int err = irq_set(l->irq, b->flags, b->index, b->start, b->count, ones,
                      b->nfds > 0 ? fds : NULL, b->nfds);

    ck_assert_msg(err == -EINVAL, "row %zu: %d", row, err);
    ck_assert_uint_eq(fake_open_fds(), open_before);
    ck_assert_mem_eq(&l->state, &before, sizeof(before));
    ck_assert_uint_eq(irq_mode(l->irq), INTX);
    ck_assert_int_eq(irq_unmask_fd(l->irq), -1);
    ck_assert_uint_eq(fake_signals(l->fd), 0);
    set_none(l, UNMASK, INTX, 0, 1); /* the eventfd that was there still is */
    ck_assert_uint_eq(fake_signals(l->fd), 1);
}

START_TEST(a_bad_set_is_refused_and_changes_nothing)
{
    struct line l;
    int fds[4];

    line_init(&l, 4);
    fake_give_eventfd(l.irq, TRIGGER, INTX, 0, l.fd);
    irq_update(l.irq, 1, 1);
    ck_assert_uint_eq(fake_signals(l.fd), 1);
    for (unsigned i = 0; i < 4; i++)
        fds[i] = fake_eventfd();
    for (size_t i = 0; i < ARRAY_SIZE(bad_sets); i++)
        check_bad_set(&l, &bad_sets[i], i, fds);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(close(fds[i]), 0);
    line_fini(&l);
}
END_TEST

START_TEST(what_is_no_eventfd_is_refused_with_all_the_others)
{
    static const uint32_t actions[] = { TRIGGER, MASK, UNMASK };
    struct line l;
    int fds[3] = { fake_eventfd(), fake_eventfd(), fake_memfd(8, 0) };
    unsigned open_before;

    line_init(&l, 4);
    open_before = fake_open_fds();
    ck_assert_int_eq(irq_set(l.irq, EVENTFD | TRIGGER, MSI, 0, 3, NULL, fds, 3), -EINVAL);
    ck_assert_uint_eq(irq_mode(l.irq), INTX);
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        ck_assert_int_eq(irq_set(l.irq, EVENTFD | actions[i], INTX, 0, 1, NULL, &fds[2], 1),
                         -EINVAL);
    ck_assert_int_eq(irq_unmask_fd(l.irq), -1);
    ck_assert_uint_eq(fake_open_fds(), open_before);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(close(fds[i]), 0);
    line_fini(&l);
}
END_TEST

START_TEST(parts_of_a_range_are_set)
{
    struct line l;
    int mine[4];
    int fds[2];

    line_init(&l, 4);
    give_msi(&l, mine, 4);
    fds[0] = dup(l.fd);
    fds[1] = dup(l.fd);
    ck_assert_int_eq(irq_set(l.irq, EVENTFD | TRIGGER, MSI, 1, 2, NULL, fds, 2), 0);
    ck_assert_int_eq(fds[0], -1);
    ck_assert_int_eq(fds[1], -1);
    irq_update(l.irq, 15, 15);
    expect_msi(mine, 4, (const uint64_t[]) { 1, 0, 0, 1 });
    ck_assert_uint_eq(fake_signals(l.fd), 2);
    /* Loop-back of a part, by bools. */
    ck_assert_int_eq(
        irq_set(l.irq, BOOL | TRIGGER, MSI, 0, 4, (const uint8_t[]) { 1, 0, 1, 0 }, NULL, 0), 0);
    expect_msi(mine, 4, (const uint64_t[]) { 1, 0, 0, 0 });
    ck_assert_uint_eq(fake_signals(l.fd), 1);
    ck_assert_int_eq(set_none(&l, TRIGGER, MSI, 3, 1), 0);
    expect_msi(mine, 4, (const uint64_t[]) { 0, 0, 0, 1 });
    /* De-assign the last two: two are left. */
    ck_assert_int_eq(irq_set(l.irq, EVENTFD | TRIGGER, MSI, 2, 2, NULL, NULL, 0), 0);
    irq_update(l.irq, 15, 4);
    expect_msi(mine, 4, (const uint64_t[]) { 1, 0, 0, 0 });
    line_fini(&l);
    close_all(mine, 4);
}
END_TEST

START_TEST(mask_eventfd_tells_of_each_trigger)
{
    struct line l;
    int mask = fake_eventfd();

    line_init(&l, 0);
    fake_give_eventfd(l.irq, MASK, INTX, 0, mask);
    irq_update(l.irq, 1, 1);
    ck_assert_uint_eq(fake_signals(mask), 0); /* nothing was triggered */
    fake_give_eventfd(l.irq, TRIGGER, INTX, 0, l.fd);
    ck_assert_uint_eq(fake_signals(mask), 1);
    set_none(&l, UNMASK, INTX, 0, 1);
    ck_assert_uint_eq(fake_signals(mask), 1);
    ck_assert_int_eq(irq_set(l.irq, EVENTFD | MASK, INTX, 0, 1, NULL, NULL, 0), 0);
    set_none(&l, UNMASK, INTX, 0, 1);
    ck_assert_uint_eq(fake_signals(mask), 0);
    ck_assert_uint_eq(fake_signals(l.fd), 3);
    line_fini(&l);
    close(mask);
}
END_TEST

START_TEST(unmask_eventfd_resamples)
{
    int unmask = eventfd(0, EFD_CLOEXEC); /* blocking: reading it must not wait */
    const uint64_t one = 1;
    struct line l;

    alarm(2);
    line_init(&l, 0);
    irq_resample(l.irq); /* there is none */
    fake_give_eventfd(l.irq, TRIGGER, INTX, 0, l.fd);
    fake_give_eventfd(l.irq, UNMASK, INTX, 0, unmask);
    ck_assert_int_ge(irq_unmask_fd(l.irq), 0);
    irq_update(l.irq, 1, 1);
    ck_assert_uint_eq(fake_signals(l.fd), 1);
    irq_resample(l.irq); /* empty */
    ck_assert_uint_eq(fake_signals(l.fd), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(write(unmask, &one, sizeof(one)), sizeof(one));
        irq_resample(l.irq);
        irq_resample(l.irq); /* it has been emptied */
        ck_assert_uint_eq(fake_signals(l.fd), 1);
    }
    irq_update(l.irq, 0, 0);
    ck_assert_int_eq(write(unmask, &one, sizeof(one)), sizeof(one));
    irq_resample(l.irq);
    ck_assert_uint_eq(fake_signals(l.fd), 0);
    set_none(&l, MASK, INTX, 0, 1); /* it takes the client's mask away too */
    irq_update(l.irq, 1, 1);
    ck_assert_int_eq(write(unmask, &one, sizeof(one)), sizeof(one));
    irq_resample(l.irq);
    ck_assert_uint_eq(fake_signals(l.fd), 1);
    set_none(&l, TRIGGER, INTX, 0, 0);
    ck_assert_int_eq(irq_unmask_fd(l.irq), -1);
    alarm(0);
    line_fini(&l);
    close(unmask);
}
END_TEST

static void give_everything(struct line *l)
{
    static const uint32_t actions[] = { TRIGGER, MASK, UNMASK };

    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        fake_give_eventfd(l->irq, actions[i], INTX, 0, l->fd);
    for (unsigned i = 0; i < 4; i++)
        fake_give_eventfd(l->irq, TRIGGER, MSI, i, l->fd);
    fake_give_eventfd(l->irq, TRIGGER, ERR, 0, l->fd);
    fake_give_eventfd(l->irq, TRIGGER, REQ, 0, l->fd);
}

START_TEST(no_eventfd_is_left_open)
{
    static const uint32_t indexes[] = { INTX, MSI, ERR, REQ };
    unsigned before = fake_open_fds();
    unsigned idle;
    struct line l;

    line_init(&l, 4);
    idle = fake_open_fds();
    give_everything(&l);
    ck_assert_uint_eq(fake_open_fds(), idle + 9);
    give_everything(&l); /* the new ones replace the old ones */
    ck_assert_uint_eq(fake_open_fds(), idle + 9);
    for (size_t i = 0; i < ARRAY_SIZE(indexes); i++)
        ck_assert_int_eq(set_none(&l, TRIGGER, indexes[i], 0, 0), 0);
    ck_assert_uint_eq(fake_open_fds(), idle);
    give_everything(&l);
    irq_drop_client(l.irq);
    ck_assert_uint_eq(fake_open_fds(), idle);
    give_everything(&l);
    line_fini(&l);
    ck_assert_uint_eq(fake_open_fds(), before);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_bad_set_is_refused_and_changes_nothing,
        what_is_no_eventfd_is_refused_with_all_the_others,
        parts_of_a_range_are_set,
        mask_eventfd_tells_of_each_trigger,
        unmask_eventfd_resamples,
        no_eventfd_is_left_open,
    };

    return fake_run("irq_set", tests, ARRAY_SIZE(tests), NULL, 0);
}
