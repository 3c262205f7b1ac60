/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon/device/irq.c: the ways that an interrupt goes out besides INTx's eventfd. */
#include <errno.h>
#include <string.h>

#include "device/irq.h"
#include "unit/fakes.h"
#include "unit/irq_kit.h"

#define MAX_SENT 32

/* A client that takes messages, or not. */
struct taker {
    struct line line;
    int error;      /* what sending returns; 0: it is kept */
    uint64_t order; /* signals of the line's eventfd when the last message came */
    unsigned n;
    struct {
        uint32_t index;
        uint32_t subindex;
    } sent[MAX_SENT];
};

static int take(void *opaque, uint32_t index, uint32_t subindex)
{
    struct taker *t = opaque;

    if (t->error != 0)
        return t->error;
    ck_assert_uint_lt(t->n, MAX_SENT);
    t->sent[t->n].index = index;
    t->sent[t->n++].subindex = subindex;
    t->order = fake_signals(t->line.fd);
    return 0;
}

static void taker_init(struct taker *t, bool both)
{
    const struct irq_vectors vectors = { .msi = 4, .msix = 3 };
    const struct irq_messenger messenger = { .opaque = t, .send = take, .both = both };

    memset(t, 0, sizeof(*t));
    line_init_vectors(&t->line, &vectors);
    irq_set_messenger(t->line.irq, &messenger);
}

static void expect_sent(struct taker *t, unsigned n, uint32_t index, uint32_t subindex)
{
    ck_assert_uint_eq(t->n, n);
    if (n > 0) {
        ck_assert_uint_eq(t->sent[n - 1].index, index);
        ck_assert_uint_eq(t->sent[n - 1].subindex, subindex);
    }
}

static void set_gate(struct taker *t, bool msi, bool msix, uint32_t masked)
{
    const struct irq_gate gate = { .d0 = true,
                                   .msi_enabled = msi,
                                   .msix_enabled = msix,
                                   .msi_count = 4,
                                   .msi_masked = masked,
                                   .msix_masked = masked };

    irq_set_gate(t->line.irq, &gate);
}

/*
 * Messages
 */

START_TEST(without_an_eventfd_it_is_a_message)
{
    struct taker t;

    taker_init(&t, false);
    ck_assert_int_eq(irq_update(t.line.irq, 1, 1), IRQ_DELIVERED_MESSAGE);
    expect_sent(&t, 1, INTX, 0);
    ck_assert_uint_eq(t.line.state.intx_pending, 0);
    ck_assert_int_eq(irq_update(t.line.irq, 1, 1), IRQ_ALREADY_ASSERTED);
    ck_assert_int_eq(set_none(&t.line, UNMASK, INTX, 0, 1), 0); /* still high */
    expect_sent(&t, 2, INTX, 0);
    irq_update(t.line.irq, 0, 0);
    ck_assert_int_eq(set_none(&t.line, UNMASK, INTX, 0, 1), 0);
    expect_sent(&t, 2, INTX, 0);
    line_fini(&t.line);
}
END_TEST

START_TEST(with_an_eventfd_it_is_no_message)
{
    struct taker t;

    taker_init(&t, false);
    fake_give_eventfd(t.line.irq, TRIGGER, INTX, 0, t.line.fd);
    ck_assert_int_eq(irq_update(t.line.irq, 1, 1), IRQ_DELIVERED_EVENTFD);
    ck_assert_uint_eq(fake_signals(t.line.fd), 1);
    expect_sent(&t, 0, 0, 0);
    line_fini(&t.line);
}
END_TEST

/* First the eventfd, then the message. */
START_TEST(both_are_in_order)
{
    struct taker t;
    enum irq_delivery how;

    taker_init(&t, true);
    fake_give_eventfd(t.line.irq, TRIGGER, INTX, 0, t.line.fd);
    ck_assert_int_eq(irq_update(t.line.irq, 1, 1), IRQ_DELIVERED_BOTH);
    expect_sent(&t, 1, INTX, 0);
    ck_assert_uint_eq(t.order, 1);
    ck_assert_int_eq(irq_raise(t.line.irq, ERR, 0, &how), 0);
    ck_assert_int_eq(how, IRQ_DELIVERED_MESSAGE); /* it has no eventfd */
    expect_sent(&t, 2, ERR, 0);
    t.error = -EBUSY;
    irq_update(t.line.irq, 0, 0);
    ck_assert_int_eq(irq_update(t.line.irq, 1, 1), IRQ_DELIVERED_EVENTFD);
    ck_assert_uint_eq(t.line.state.intx_pending, 0); /* one way was enough */
    line_fini(&t.line);
}
END_TEST

START_TEST(what_cannot_be_sent_waits)
{
    struct taker t;
    enum irq_delivery how;

    taker_init(&t, false);
    t.error = -ENOTSUP;
    ck_assert_int_eq(irq_update(t.line.irq, 1, 1), IRQ_PENDING_NO_EVENTFD);
    ck_assert_int_eq(irq_raise(t.line.irq, ERR, 0, &how), 0);
    ck_assert_int_eq(how, IRQ_PENDING_NO_EVENTFD);
    ck_assert_int_eq(irq_raise(t.line.irq, REQ, 0, &how), 0);
    irq_retry(t.line.irq);
    expect_sent(&t, 0, 0, 0);
    t.error = 0;
    irq_retry(t.line.irq);
    ck_assert_uint_eq(t.n, 3);
    ck_assert_uint_eq(t.sent[0].index, INTX);
    ck_assert_uint_eq(t.sent[1].index, ERR);
    ck_assert_uint_eq(t.sent[2].index, REQ);
    irq_retry(t.line.irq); /* once */
    ck_assert_uint_eq(t.n, 3);
    line_fini(&t.line);
}
END_TEST

START_TEST(what_holds_an_eventfd_back_holds_a_message_back)
{
    struct taker t;
    struct irq_gate gate = { .d0 = true, .intx_disabled = true };

    taker_init(&t, false);
    irq_set_gate(t.line.irq, &gate);
    ck_assert_int_eq(irq_update(t.line.irq, 1, 1), IRQ_PENDING_DISABLED);
    irq_retry(t.line.irq);
    expect_sent(&t, 0, 0, 0);
    gate.intx_disabled = false;
    ck_assert_int_eq(set_none(&t.line, MASK, INTX, 0, 1), 0);
    irq_set_gate(t.line.irq, &gate);
    expect_sent(&t, 0, 0, 0);
    irq_stop(t.line.irq);
    ck_assert_int_eq(set_none(&t.line, UNMASK, INTX, 0, 1), 0);
    expect_sent(&t, 0, 0, 0);
    irq_start(t.line.irq);
    expect_sent(&t, 1, INTX, 0);
    line_fini(&t.line);
}
END_TEST

/* A message says that the guest is interrupted: it must have set the vectors up. */
START_TEST(vectors_are_messages_when_the_guest_has_enabled_them)
{
    struct taker t;
    enum irq_delivery how;

    taker_init(&t, false);
    ck_assert_int_eq(irq_raise(t.line.irq, MSIX, 1, &how), 0);
    ck_assert_int_eq(how, IRQ_PENDING_NOT_ENABLED);
    set_gate(&t, false, true, 0);
    expect_sent(&t, 1, MSIX, 1);
    ck_assert_int_eq(irq_update(t.line.irq, 4, 4), IRQ_DELIVERED_MESSAGE);
    expect_sent(&t, 2, MSIX, 2);
    set_gate(&t, true, false, 0);
    ck_assert_int_eq(irq_update(t.line.irq, 5, 1), IRQ_DELIVERED_MESSAGE);
    expect_sent(&t, 3, MSI, 0);
    line_fini(&t.line);
}
END_TEST

/* Of MSI's four vectors the guest was given fewer: what is another's goes to one that it has. */
START_TEST(messages_go_to_vectors_that_the_guest_has)
{
    struct irq_gate gate = { .d0 = true, .msi_enabled = true, .msi_count = 1 };
    struct taker t;
    enum irq_delivery how;

    taker_init(&t, false);
    irq_set_gate(t.line.irq, &gate);
    irq_update(t.line.irq, 4, 4);
    expect_sent(&t, 1, MSI, 0);
    ck_assert_int_eq(irq_raise(t.line.irq, MSI, 1, &how), 0);
    ck_assert_int_eq(how, IRQ_PENDING_NOT_ENABLED);
    expect_sent(&t, 1, MSI, 0);
    gate.msi_count = 2;
    irq_set_gate(t.line.irq, &gate);
    expect_sent(&t, 2, MSI, 1); /* what waited for it */
    irq_update(t.line.irq, 6, 6);
    ck_assert_uint_eq(t.n, 4);
    ck_assert_uint_eq(t.sent[2].subindex, 1);
    ck_assert_uint_eq(t.sent[3].subindex, 0);
    line_fini(&t.line);
}
END_TEST

START_TEST(why_a_message_waits)
{
    static const struct {
        int error;
        enum irq_delivery how;
    } rows[] = { { -ENOTSUP, IRQ_PENDING_NO_EVENTFD },
                 { -EBUSY, IRQ_PENDING_UNANSWERED },
                 { -ENOTCONN, IRQ_PENDING_NO_WAY },
                 { -ENOMEM, IRQ_PENDING_NO_EVENTFD } };
    struct taker t;
    enum irq_delivery how;

    taker_init(&t, false);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        t.error = rows[i].error;
        ck_assert_int_eq(irq_raise(t.line.irq, REQ, 0, &how), 0);
        ck_assert_int_eq(how, rows[i].how);
    }
    t.error = 0;
    irq_retry(t.line.irq);
    expect_sent(&t, 1, REQ, 0);
    line_fini(&t.line);
}
END_TEST

/*
 * MSI-X
 */

START_TEST(vectors_of_their_own)
{
    struct taker t;
    int fds[3];
    uint32_t count;
    uint32_t flags;

    taker_init(&t, false);
    t.error = -ENOTSUP;
    ck_assert_int_eq(irq_info(t.line.irq, MSIX, &count, &flags), 0);
    ck_assert_uint_eq(count, 3);
    ck_assert_uint_eq(flags, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE);
    ck_assert_int_eq(set_none(&t.line, MASK, MSIX, 0, 1), -EINVAL);
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = fake_eventfd();
        fake_give_eventfd(t.line.irq, TRIGGER, MSIX, i, fds[i]);
    }
    ck_assert_uint_eq(irq_mode(t.line.irq), MSIX);
    irq_update(t.line.irq, 7, 7);
    irq_update(t.line.irq, 15, 8); /* modulo 3 */
    expect_msi(fds, 3, (const uint64_t[]) { 2, 1, 1 });
    ck_assert_uint_eq(t.line.state.count, 4);
    ck_assert_int_eq(set_none(&t.line, TRIGGER, MSIX, 0, 0), 0);
    ck_assert_uint_eq(irq_mode(t.line.irq), INTX);
    close_all(fds, 3);
    line_fini(&t.line);
}
END_TEST

/*
 * QEMU gives an eventfd when the guest begins to use a vector, and before a higher one takes all
 * away for a moment, while MSI-X is on.
 */
START_TEST(a_vector_waits_for_its_own_eventfd)
{
    struct taker t;
    int fds[3] = { fake_eventfd(), fake_eventfd(), fake_eventfd() };

    taker_init(&t, false);
    t.error = -ENOTSUP;
    set_gate(&t, false, true, 0);
    fake_give_eventfd(t.line.irq, TRIGGER, MSIX, 0, fds[0]);
    ck_assert_int_eq(irq_update(t.line.irq, 4, 4), IRQ_PENDING_NO_EVENTFD);
    ck_assert_uint_eq(fake_signals(fds[0]), 0);
    ck_assert_uint_eq(t.line.state.msix_pending, 4);
    ck_assert_int_eq(set_none(&t.line, TRIGGER, MSIX, 0, 0), 0);
    ck_assert_uint_eq(t.line.state.msix_pending, 4);
    for (unsigned i = 0; i < 3; i++)
        fake_give_eventfd(t.line.irq, TRIGGER, MSIX, i, fds[i]);
    expect_msi(fds, 3, (const uint64_t[]) { 0, 0, 1 });
    ck_assert_uint_eq(t.line.state.msix_pending, 0);
    close_all(fds, 3);
    line_fini(&t.line);
}
END_TEST

START_TEST(masked_vectors_wait)
{
    struct taker t;
    int fds[3] = { fake_eventfd(), fake_eventfd(), fake_eventfd() };

    taker_init(&t, false);
    for (unsigned i = 0; i < 3; i++)
        fake_give_eventfd(t.line.irq, TRIGGER, MSIX, i, fds[i]);
    set_gate(&t, false, true, 2);
    irq_update(t.line.irq, 3, 3);
    expect_msi(fds, 3, (const uint64_t[]) { 1, 0, 0 });
    ck_assert_uint_eq(t.line.state.msix_pending, 2);
    set_gate(&t, false, true, UINT32_MAX); /* the Function Mask */
    irq_update(t.line.irq, 7, 4);
    expect_msi(fds, 3, (const uint64_t[]) { 0, 0, 0 });
    ck_assert_uint_eq(t.line.state.msix_pending, 6);
    set_gate(&t, false, true, 0);
    expect_msi(fds, 3, (const uint64_t[]) { 0, 1, 1 });
    close_all(fds, 3);
    line_fini(&t.line);
}
END_TEST

/* Off with its capability, what waited goes out as INTx, if it is still so. */
START_TEST(off_again)
{
    struct taker t;

    taker_init(&t, false);
    t.error = -ENOTSUP;
    fake_give_eventfd(t.line.irq, TRIGGER, INTX, 0, t.line.fd);
    set_gate(&t, false, true, 0);
    irq_update(t.line.irq, 1, 1);
    ck_assert_uint_eq(fake_signals(t.line.fd), 0);
    set_gate(&t, false, false, 0);
    ck_assert_uint_eq(t.line.state.msix_pending, 0);
    ck_assert_uint_eq(fake_signals(t.line.fd), 1);
    line_fini(&t.line);
}
END_TEST

START_TEST(msix_is_preferred_to_msi)
{
    struct taker t;

    taker_init(&t, false);
    set_gate(&t, true, true, 0);
    ck_assert_uint_eq(irq_mode(t.line.irq), MSIX);
    irq_update(t.line.irq, 1, 1);
    expect_sent(&t, 1, MSIX, 0);
    line_fini(&t.line);
}
END_TEST

START_TEST(eventfds_are_closed_with_their_client)
{
    unsigned before = fake_open_fds();
    struct taker t;
    int fds[3] = { fake_eventfd(), fake_eventfd(), fake_eventfd() };

    taker_init(&t, false);
    for (unsigned i = 0; i < 3; i++)
        fake_give_eventfd(t.line.irq, TRIGGER, MSIX, i, fds[i]);
    irq_drop_client(t.line.irq);
    ck_assert_uint_eq(irq_mode(t.line.irq), INTX);
    fake_give_eventfd(t.line.irq, TRIGGER, MSIX, 2, fds[2]);
    close_all(fds, 3);
    line_fini(&t.line);
    ck_assert_uint_eq(fake_open_fds(), before);
}
END_TEST

START_TEST(eventfds_of_another_process)
{
    struct taker t;
    struct irq_fds fds;
    struct irq_fds got;

    taker_init(&t, false);
    irq_get_fds(t.line.irq, &fds); /* none */
    fds.msix[2] = fake_eventfd();
    ck_assert_int_eq(irq_take_fds(t.line.irq, &fds), 0);
    ck_assert_int_eq(fds.msix[2], -1);
    irq_get_fds(t.line.irq, &got);
    ck_assert_int_ge(got.msix[2], 0);
    fds.msix[3] = fake_eventfd(); /* there is no vector 3 */
    ck_assert_int_eq(irq_take_fds(t.line.irq, &fds), -EINVAL);
    ck_assert_int_ge(fds.msix[3], 0);
    close(fds.msix[3]);
    fds.msix[3] = -1;
    fds.msix[0] = fake_memfd(8, 0); /* no eventfd */
    ck_assert_int_eq(irq_take_fds(t.line.irq, &fds), -EINVAL);
    close(fds.msix[0]);
    line_fini(&t.line);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        without_an_eventfd_it_is_a_message,
        with_an_eventfd_it_is_no_message,
        both_are_in_order,
        what_cannot_be_sent_waits,
        what_holds_an_eventfd_back_holds_a_message_back,
        vectors_are_messages_when_the_guest_has_enabled_them,
        messages_go_to_vectors_that_the_guest_has,
        why_a_message_waits,
        vectors_of_their_own,
        a_vector_waits_for_its_own_eventfd,
        masked_vectors_wait,
        off_again,
        msix_is_preferred_to_msi,
        eventfds_are_closed_with_their_client,
        eventfds_of_another_process,
    };

    return fake_run("irq-ways", tests, ARRAY_SIZE(tests), NULL, 0);
}
