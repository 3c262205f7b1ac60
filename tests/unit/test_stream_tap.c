/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/stream.c: what a tap is shown. */
#define _GNU_SOURCE
#include "stream.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "message.h"
#include "stream_kit.h"
#include "suite.h"

#define SHOWN_MAX 16

/* What was shown, in its order. */
struct shown {
    unsigned n;
    struct {
        bool sent;
        bool together;
        uint16_t id;
        size_t len;
        unsigned nfds;
    } items[SHOWN_MAX];
};

static void on_message(void *opaque, const struct stream_tapped *m)
{
    struct shown *shown = opaque;
    struct vfio_user_header hdr;

    ck_assert_uint_lt(shown->n, SHOWN_MAX);
    ck_assert_uint_ge(m->len, sizeof(hdr));
    memcpy(&hdr, m->wire, sizeof(hdr));
    shown->items[shown->n].sent = m->sent;
    shown->items[shown->n].together = m->together;
    shown->items[shown->n].id = hdr.id;
    shown->items[shown->n].len = m->len;
    shown->items[shown->n++].nfds = m->nfds;
}

static void expect_shown(const struct shown *s, unsigned i, bool sent, bool together, uint16_t id,
                         size_t len, unsigned nfds)
{
    ck_assert_uint_gt(s->n, i);
    ck_assert_int_eq(s->items[i].sent, sent);
    ck_assert_int_eq(s->items[i].together, together);
    ck_assert_uint_eq(s->items[i].id, id);
    ck_assert_uint_eq(s->items[i].len, len);
    ck_assert_uint_eq(s->items[i].nfds, nfds);
}

static void take_all(struct stream *s)
{
    struct stream_message m;

    while (stream_next(s, &m) == 1)
        stream_message_fini(s, &m);
}

/* Those of one read are told from those of the next, before any is taken, and each once. */
START_TEST(test_reads)
{
    struct shown shown = { 0 };
    uint8_t wire[64];
    struct pair p;

    pair_init(&p);
    stream_set_tap(p.s, on_message, &shown);
    put_message(p.peer, 1, 40, 0);
    put_message(p.peer, 2, 16, 0);
    ck_assert_int_eq(stream_fill(p.s), 56);
    ck_assert_uint_eq(shown.n, 2);
    expect_shown(&shown, 0, false, false, 1, 40, 0);
    expect_shown(&shown, 1, false, true, 2, 16, 0);
    ck_assert_int_eq(stream_fill(p.s), 0);
    put_message(p.peer, 3, 24, 0);
    ck_assert_int_eq(stream_fill(p.s), 24); /* with the others not taken */
    expect_shown(&shown, 2, false, false, 3, 24, 0);
    take_all(p.s);
    fill_message(wire, 4, 48);
    ck_assert_int_eq(put(p.peer, wire, 20, 0, 0), 20);
    ck_assert_int_eq(stream_fill(p.s), 20);
    ck_assert_uint_eq(shown.n, 3); /* it is not complete */
    ck_assert_int_eq(put(p.peer, wire + 20, 28, 0, 0), 28);
    ck_assert_int_eq(stream_fill(p.s), 28);
    ck_assert_uint_eq(shown.n, 4);
    expect_shown(&shown, 3, false, false, 4, 48, 0);
    take_all(p.s);
    stream_set_tap(p.s, NULL, NULL);
    put_message(p.peer, 5, 24, 0);
    ck_assert_int_eq(stream_fill(p.s), 24);
    take_all(p.s);
    ck_assert_uint_eq(shown.n, 4);
    pair_fini(&p);
}
END_TEST

START_TEST(test_fds)
{
    struct shown shown = { 0 };
    struct pair p;

    pair_init(&p);
    stream_set_tap(p.s, on_message, &shown);
    put_message(p.peer, 1, 48, 0);
    put_message(p.peer, 2, 48, 3);
    put_message(p.peer, 3, 48, 1);
    while (shown.n < 3)
        ck_assert_int_gt(stream_fill(p.s), 0);
    expect_shown(&shown, 0, false, false, 1, 48, 0);
    expect_shown(&shown, 1, false, shown.items[1].together, 2, 48, 3);
    expect_shown(&shown, 2, false, shown.items[2].together, 3, 48, 1);
    take_all(p.s);
    ck_assert_uint_eq(shown.n, 3);
    pair_fini(&p);
}
END_TEST

START_TEST(test_sent)
{
    struct shown shown = { 0 };
    struct pair p;

    pair_init(&p);
    stream_set_tap(p.s, on_message, &shown);
    for (uint16_t id = 0; id < 2; id++) {
        uint8_t *wire = stream_reserve(p.s, 32);

        fill_message(wire, id, 32);
        ck_assert_int_eq(stream_commit(p.s, 32, &p.peer, id), 0);
    }
    ck_assert_uint_eq(shown.n, 2);
    expect_shown(&shown, 0, true, false, 0, 32, 0);
    expect_shown(&shown, 1, true, false, 1, 32, 1);
    ck_assert_int_eq(stream_flush(p.s), 0);
    ck_assert_uint_eq(shown.n, 2);
    pair_fini(&p);
}
END_TEST

/* Messages that wait while a tap is set are shown with the next read, unless they are taken. */
START_TEST(test_set_late)
{
    struct shown shown = { 0 };
    struct stream_message m;
    struct pair p;

    pair_init(&p);
    for (uint16_t id = 1; id <= 3; id++)
        put_message(p.peer, id, 40, 0);
    ck_assert_int_eq(stream_fill(p.s), 120);
    ck_assert_int_eq(stream_next(p.s, &m), 1);
    stream_set_tap(p.s, on_message, &shown);
    ck_assert_int_eq(stream_next(p.s, &m), 1);
    put_message(p.peer, 4, 40, 0);
    ck_assert_int_eq(stream_fill(p.s), 40);
    ck_assert_uint_eq(shown.n, 2);
    expect_shown(&shown, 0, false, false, 3, 40, 0);
    expect_shown(&shown, 1, false, true, 4, 40, 0);
    pair_fini(&p);
}
END_TEST

/* What is no message is shown when that is found, once, with all that is there. */
START_TEST(test_out_of_step)
{
    struct shown shown = { 0 };
    struct stream_message m;
    uint8_t wire[64];
    struct pair p;

    pair_init(&p);
    stream_set_tap(p.s, on_message, &shown);
    put_message(p.peer, 1, 16, 0);
    message_encode_header(wire, 2, VFIO_USER_DMA_MAP, 3, VFIO_USER_TYPE_COMMAND, 0);
    ck_assert_int_eq(put(p.peer, wire, 40, 0, 0), 40);
    ck_assert_int_eq(stream_fill(p.s), 56);
    ck_assert_uint_eq(shown.n, 1);
    ck_assert_int_eq(stream_next(p.s, &m), 1);
    ck_assert_int_eq(stream_next(p.s, &m), -EPROTO);
    ck_assert_int_eq(stream_next(p.s, &m), -EPROTO);
    ck_assert_uint_eq(shown.n, 2);
    expect_shown(&shown, 1, false, false, 2, 40, 0);
    pair_fini(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream tap");
    TCase *tcase = tcase_create("tap");

    tcase_add_test(tcase, test_reads);
    tcase_add_test(tcase, test_fds);
    tcase_add_test(tcase, test_sent);
    tcase_add_test(tcase, test_set_late);
    tcase_add_test(tcase, test_out_of_step);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
