/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "device/dma.h"

#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <unistd.h>

#include "unit/dma_kit.h"
#include "unit/fakes.h"

/* Answers the nth message sent; a DMA_READ with bytes of value. */
static void answer(struct memory *m, unsigned n, int err, uint8_t value)
{
    const struct fake_message *message = &m->host.sent[n];
    uint8_t bytes[8 * PAGE];

    ck_assert_uint_lt(n, m->host.n_sent);
    ck_assert_uint_le(message->len, sizeof(bytes));
    memset(bytes, value, message->len);
    if (message->data != NULL || err != 0)
        dma_message_done(m->dma, message->tag, err, NULL, 0);
    else
        dma_message_done(m->dma, message->tag, 0, bytes, message->len);
}

static void expect_bytes(const struct memory *m, size_t from, size_t len, uint8_t value)
{
    for (size_t i = 0; i < len; i++)
        ck_assert_uint_eq(m->buffer[from + i], value);
}

START_TEST(messages_are_no_longer_than_the_client_takes)
{
    struct memory m;
    struct counted c;

    memory_init(&m, 100);
    m.host.max_len = 1000;
    ck_assert_int_eq(map(&m, PAGE, 2 * PAGE), 0);
    start(&m, &c, DMA_FROM_GUEST, PAGE + 10, 2500);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(c.ends, 0);
        ck_assert_uint_eq(m.host.n_sent, i + 1); /* one at a time */
        ck_assert_uint_eq(m.host.sent[i].iova, PAGE + 10 + 1000 * i);
        ck_assert_uint_eq(m.host.sent[i].len, i < 2 ? 1000 : 500);
        ck_assert_ptr_null(m.host.sent[i].data);
        answer(&m, i, 0, (uint8_t)(i + 1));
    }
    ck_assert_int_eq(c.ends, 1);
    ck_assert_int_eq(c.err, 0);
    expect_bytes(&m, 0, 1000, 1);
    expect_bytes(&m, 1000, 1000, 2);
    expect_bytes(&m, 2000, 500, 3);
    expect_bytes(&m, 2500, 100, 0xcc);
    ck_assert_uint_eq(info(&m).bytes_message, 2500);
    ck_assert_uint_eq(m.host.n_sent, 3);
    memory_fini(&m);
}
END_TEST

START_TEST(writes_carry_their_bytes)
{
    struct memory m;
    struct counted c;

    memory_init(&m, 100);
    m.host.max_len = PAGE;
    for (size_t i = 0; i < sizeof(m.buffer); i++)
        m.buffer[i] = (uint8_t)(i * 7);
    ck_assert_int_eq(map(&m, 0, PAGE + 100), 0);
    ck_assert_int_eq(map(&m, PAGE + 100, PAGE), 0);
    start(&m, &c, DMA_TO_GUEST, 0, PAGE + 200);
    answer(&m, 0, 0, 0);
    answer(&m, 1, 0, 0);
    answer(&m, 2, 0, 0);
    ck_assert_int_eq(c.err, 0);
    ck_assert_int_eq(c.ends, 1);
    ck_assert_uint_eq(m.host.sent[0].len, PAGE);
    expect_pattern(m.host.sent[0].data, PAGE, 0, 0);
    ck_assert_uint_eq(m.host.sent[1].len, 100); /* a message stays inside a range */
    expect_pattern(m.host.sent[1].data, 100, PAGE, 0);
    ck_assert_uint_eq(m.host.sent[2].iova, PAGE + 100);
    expect_pattern(m.host.sent[2].data, 100, PAGE + 100, 0);
    memory_fini(&m);
}
END_TEST

START_TEST(direct_and_message_mix_in_one_transfer)
{
    int fd = fake_memfd(2 * PAGE, 0);
    struct memory m;
    struct counted c;

    memory_init(&m, 100);
    map_file(&m, 0, PAGE, RW, fd, 0);
    ck_assert_int_eq(map(&m, PAGE, PAGE), 0);
    map_file(&m, 2 * PAGE, PAGE, RW, fd, PAGE);
    start(&m, &c, DMA_FROM_GUEST, 0, 3 * PAGE);
    ck_assert_int_eq(c.ends, 0);
    ck_assert_uint_eq(m.host.sent[0].iova, PAGE);
    ck_assert_uint_eq(m.host.sent[0].len, PAGE);
    answer(&m, 0, 0, 0x77);
    ck_assert_int_eq(c.ends, 1);
    ck_assert_int_eq(c.err, 0);
    expect_pattern(m.buffer, PAGE, 0, 0);
    expect_bytes(&m, PAGE, PAGE, 0x77);
    expect_pattern(m.buffer + 2 * PAGE, PAGE, PAGE, 0);
    ck_assert_uint_eq(info(&m).bytes_direct, 2 * PAGE);
    ck_assert_uint_eq(info(&m).bytes_message, PAGE);
    memory_fini(&m);
    close(fd);
}
END_TEST

START_TEST(the_way_can_be_asked_for)
{
    int fd = fake_memfd(PAGE, 0);
    struct memory m;
    struct counted c;

    memory_init(&m, 100);
    ck_assert_int_eq(map(&m, 0, PAGE), 0);
    map_file(&m, PAGE, PAGE, RW, fd, 0);
    prepare(&m, &c, DMA_FROM_GUEST, DMA_DIRECT, 0, 8);
    dma_start(m.dma, &c.t);
    ck_assert_int_eq(c.err, -ENXIO);
    prepare(&m, &c, DMA_FROM_GUEST, DMA_DIRECT, PAGE, 8);
    dma_start(m.dma, &c.t);
    ck_assert_int_eq(c.ends, 1);
    ck_assert_int_eq(c.err, 0);
    prepare(&m, &c, DMA_FROM_GUEST, DMA_MESSAGE, PAGE, 8);
    dma_start(m.dma, &c.t);
    ck_assert_int_eq(c.ends, 0);
    ck_assert_uint_eq(m.host.n_sent, 1);
    answer(&m, 0, 0, 0x12);
    ck_assert_int_eq(c.ends, 1);
    expect_bytes(&m, 0, 8, 0x12);
    memory_fini(&m);
    close(fd);
}
END_TEST

START_TEST(flags_hold_for_messages_too)
{
    struct memory m;
    struct counted c;
    int none = -1;

    memory_init(&m, 100);
    ck_assert_int_eq(dma_map(m.dma, 0, PAGE, R, &none, 0), 0);
    ck_assert_int_eq(dma_map(m.dma, PAGE, PAGE, W, &none, 0), 0);
    ck_assert_int_eq(dma_map(m.dma, 2 * PAGE, PAGE, 0, &none, 0), 0);
    ck_assert_int_eq(copy(&m, DMA_TO_GUEST, 0, 8), -EACCES);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, PAGE, 8), -EACCES);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, 2 * PAGE, 8), -EACCES);
    ck_assert_int_eq(copy(&m, DMA_TO_GUEST, 2 * PAGE, 8), -EACCES);
    ck_assert_uint_eq(m.host.n_sent, 0);
    start(&m, &c, DMA_FROM_GUEST, 0, 2 * PAGE); /* the first half may be read */
    answer(&m, 0, 0, 1);
    ck_assert_int_eq(c.ends, 1);
    ck_assert_int_eq(c.err, -EACCES);
    memory_fini(&m);
}
END_TEST

START_TEST(errors_end_a_transfer)
{
    static const uint8_t bytes[2 * PAGE];
    static const struct {
        enum dma_direction direction;
        int err;
        const uint8_t *data;
        uint32_t len;
        int outcome;
    } answers[] = {
        { DMA_FROM_GUEST, -EIO, NULL, 0, -EIO },
        { DMA_TO_GUEST, -ENODEV, NULL, 0, -ENODEV },
        { DMA_FROM_GUEST, -EIO, bytes, PAGE, -EIO },
        { DMA_FROM_GUEST, 0, bytes, PAGE - 1, -EPROTO },
        { DMA_FROM_GUEST, 0, bytes, PAGE + 1, -EPROTO },
        { DMA_FROM_GUEST, 0, bytes, 0, -EPROTO },
        { DMA_FROM_GUEST, 0, NULL, PAGE, -EPROTO },
        { DMA_FROM_GUEST, 0, bytes, PAGE, 0 },
        { DMA_TO_GUEST, 0, NULL, 0, 0 },
    };
    struct memory m;
    struct counted c;

    memory_init(&m, 100);
    ck_assert_int_eq(map(&m, 0, 2 * PAGE), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(answers); i++) {
        start(&m, &c, answers[i].direction, 0, PAGE);
        ck_assert_int_eq(c.ends, 0);
        dma_message_done(m.dma, m.host.sent[i].tag, answers[i].err, answers[i].data,
                         answers[i].len);
        ck_assert_int_eq(c.ends, 1);
        ck_assert_msg(c.err == answers[i].outcome, "row %u: %d", i, c.err);
    }
    expect_bytes(&m, PAGE, PAGE, 0xcc);
    m.host.send_error = -ENOBUFS;
    ck_assert_int_eq(copy(&m, DMA_TO_GUEST, 0, 8), -ENOBUFS);
    m.host.send_error = 0;
    m.host.max_len = 0;
    ck_assert_int_eq(copy(&m, DMA_TO_GUEST, 0, 8), -ENOTCONN);
    memory_fini(&m);
}
END_TEST

START_TEST(a_late_answer_is_ignored)
{
    struct memory m;
    struct counted a;
    struct counted b;
    uint32_t tag;

    memory_init(&m, 100);
    dma_message_done(m.dma, 0, 0, m.buffer, 8); /* nobody has asked */
    ck_assert_int_eq(map(&m, 0, PAGE), 0);
    start(&m, &a, DMA_FROM_GUEST, 0, 8);
    tag = m.host.sent[0].tag;
    dma_cancel(m.dma, &a.t);
    ck_assert_int_eq(a.ends, 1);
    ck_assert_int_eq(a.err, -ECANCELED);
    answer(&m, 0, 0, 0x99);
    expect_bytes(&m, 0, 8, 0xcc);
    start(&m, &b, DMA_FROM_GUEST, 0, 8);
    ck_assert_uint_ne(m.host.sent[1].tag, tag);
    answer(&m, 0, 0, 0x99); /* again, while another waits */
    ck_assert_int_eq(b.ends, 0);
    expect_bytes(&m, 0, 8, 0xcc);
    answer(&m, 1, 0, 0x42);
    answer(&m, 1, 0, 0x43); /* twice */
    ck_assert_int_eq(b.ends, 1);
    expect_bytes(&m, 0, 8, 0x42);
    dma_cancel(m.dma, &b.t); /* not under way any more */
    ck_assert_int_eq(b.ends, 1);
    ck_assert_int_eq(a.ends, 1);
    memory_fini(&m);
}
END_TEST

START_TEST(transfers_keep_their_order)
{
    int fd = fake_memfd(PAGE, 0);
    struct counted c[4];
    struct memory m;

    memory_init(&m, 100);
    ck_assert_int_eq(map(&m, 0, PAGE), 0);
    map_file(&m, PAGE, PAGE, RW, fd, 0);
    start(&m, &c[0], DMA_TO_GUEST, 0, 8);
    start(&m, &c[1], DMA_TO_GUEST, PAGE, 8); /* direct, and waits for its turn */
    start(&m, &c[2], DMA_TO_GUEST, 8, 8);
    start(&m, &c[3], DMA_TO_GUEST, 16 * PAGE, 8); /* an error does so too */
    ck_assert_uint_eq(m.host.n_sent, 1);
    ck_assert_int_eq(c[1].ends + c[2].ends + c[3].ends, 0);
    answer(&m, 0, 0, 0);
    ck_assert_int_eq(c[0].ends, 1);
    ck_assert_int_eq(c[1].ends, 1);
    ck_assert_int_eq(c[2].ends, 0);
    answer(&m, 1, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(c[i].ends, 1);
        ck_assert_int_eq(c[i].err, i < 3 ? 0 : -EFAULT);
        ck_assert_uint_eq(c[i].order, i + 1);
    }
    memory_fini(&m);
    close(fd);
}
END_TEST

START_TEST(done_may_start_the_next)
{
    int fd = fake_memfd(PAGE, 0);
    struct counted c[3];
    struct memory m;

    memory_init(&m, 100);
    map_file(&m, 0, PAGE, RW, fd, 0);
    ck_assert_int_eq(map(&m, PAGE, PAGE), 0);
    prepare(&m, &c[2], DMA_FROM_GUEST, DMA_ANY, 0, 8);
    prepare(&m, &c[1], DMA_FROM_GUEST, DMA_ANY, PAGE, 8);
    prepare(&m, &c[0], DMA_FROM_GUEST, DMA_ANY, 0, 8);
    c[0].then = &c[1];
    c[1].then = &c[2];
    dma_start(m.dma, &c[0].t);
    ck_assert_int_eq(c[0].ends, 1);
    ck_assert_int_eq(c[1].ends, 0);
    answer(&m, 0, -EIO, 0);
    ck_assert_int_eq(c[1].ends, 1);
    ck_assert_int_eq(c[1].err, -EIO);
    ck_assert_int_eq(c[2].ends, 1);
    ck_assert_int_eq(c[2].err, 0);
    memory_fini(&m);
    close(fd);
}
END_TEST

START_TEST(a_cancelled_transfer_lets_the_next_go)
{
    struct memory m;
    struct counted c[3];

    memory_init(&m, 100);
    ck_assert_int_eq(map(&m, 0, PAGE), 0);
    for (unsigned i = 0; i < 3; i++)
        start(&m, &c[i], DMA_TO_GUEST, 8 * i, 8);
    dma_cancel(m.dma, &c[1].t); /* in the middle of the queue */
    ck_assert_int_eq(c[1].err, -ECANCELED);
    ck_assert_uint_eq(m.host.n_sent, 1);
    dma_cancel(m.dma, &c[0].t); /* in flight */
    ck_assert_uint_eq(m.host.n_sent, 2);
    ck_assert_uint_eq(m.host.sent[1].iova, 16);
    answer(&m, 1, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(c[i].ends, 1);
        ck_assert_int_eq(c[i].err, i < 2 ? -ECANCELED : 0);
    }
    memory_fini(&m);
}
END_TEST

/* Four transfers: the first by message and under way, two of the same range, one of another. */
static void start_four(struct memory *m, struct counted c[4])
{
    ck_assert_int_eq(map(m, 0, PAGE), 0);
    ck_assert_int_eq(map(m, PAGE, PAGE), 0);
    start(m, &c[0], DMA_TO_GUEST, 0, 8);
    start(m, &c[1], DMA_TO_GUEST, 8, 8);
    start(m, &c[2], DMA_TO_GUEST, PAGE, 8);
    start(m, &c[3], DMA_TO_GUEST, PAGE - 4, 8); /* touches both ranges */
}

START_TEST(unmap_cancels_what_touches_the_range)
{
    struct memory m;
    struct counted c[4];

    memory_init(&m, 100);
    start_four(&m, c);
    ck_assert_int_eq(dma_unmap(m.dma, 0, PAGE), 0);
    ck_assert_int_eq(c[0].err, -ECANCELED);
    ck_assert_int_eq(c[1].err, -ECANCELED);
    ck_assert_int_eq(c[3].err, -ECANCELED);
    ck_assert_int_eq(c[2].ends, 0);
    ck_assert_uint_eq(m.host.n_sent, 2);
    answer(&m, 1, 0, 0);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(c[i].ends, 1);
    ck_assert_int_eq(c[2].err, 0);
    memory_fini(&m);
}
END_TEST

START_TEST(without_the_client_nothing_goes_on)
{
    int fd = fake_memfd(PAGE, 0);
    struct memory m;
    struct counted c[4];
    struct counted direct;
    uint8_t byte;

    memory_init(&m, 100);
    start_four(&m, c);
    map_file(&m, 2 * PAGE, PAGE, RW, fd, 0);
    start(&m, &direct, DMA_TO_GUEST, 2 * PAGE, 1);
    dma_cancel_all(m.dma);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(c[i].ends, 1);
        ck_assert_int_eq(c[i].err, -ECANCELED);
    }
    ck_assert_int_eq(direct.ends, 1);
    ck_assert_int_eq(direct.err, -ECANCELED);
    ck_assert_int_eq(pread(fd, &byte, 1, 0), 1);
    ck_assert_uint_eq(byte, 0);          /* its memory is left alone */
    ck_assert_uint_eq(m.host.n_sent, 1); /* nothing is sent to a client that is gone */
    answer(&m, 0, 0, 0);
    ck_assert_int_eq(c[0].ends, 1);
    memory_fini(&m);
    close(fd);
}
END_TEST

START_TEST(unmapping_all_cancels_all)
{
    struct memory m;
    struct counted c[4];

    memory_init(&m, 100);
    start_four(&m, c);
    dma_unmap_all(m.dma);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(c[i].ends, 1);
        ck_assert_int_eq(c[i].err, -ECANCELED);
    }
    memory_fini(&m);
}
END_TEST

START_TEST(free_cancels_all)
{
    struct memory m;
    struct counted c[4];

    memory_init(&m, 100);
    start_four(&m, c);
    memory_fini(&m);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(c[i].ends, 1);
        ck_assert_int_eq(c[i].err, -ECANCELED);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        messages_are_no_longer_than_the_client_takes,
        writes_carry_their_bytes,
        direct_and_message_mix_in_one_transfer,
        the_way_can_be_asked_for,
        flags_hold_for_messages_too,
        errors_end_a_transfer,
        a_late_answer_is_ignored,
        transfers_keep_their_order,
        done_may_start_the_next,
        a_cancelled_transfer_lets_the_next_go,
        unmap_cancels_what_touches_the_range,
        without_the_client_nothing_goes_on,
        unmapping_all_cancels_all,
        free_cancels_all,
    };

    return fake_run("dma_message", tests, ARRAY_SIZE(tests), NULL, 0);
}
