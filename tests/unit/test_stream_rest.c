/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/stream_rest.c: a stream goes on where another one has stopped. */
#define _GNU_SOURCE
#include "stream_rest.h"

#include <errno.h>
#include <fcntl.h>

#include "suite.h"
#include "unit/stream_kit.h"

/* More than the largest message, and what is read with its end. */
#define TOO_MUCH (MAX_MESSAGE + 65536 + 1)

/* Duplicates of the rest's fds, as another process would get them. */
static void copy_rest(const struct pair *p, struct stream_rest *rest)
{
    ck_assert_int_eq(stream_get_rest(p->s, rest), 0);
    for (unsigned i = 0; i < rest->nfds; i++) {
        if (rest->fds[i].fd >= 0)
            rest->fds[i].fd = fcntl(rest->fds[i].fd, F_DUPFD_CLOEXEC, 0);
    }
}

static struct stream *new_stream(int fd)
{
    struct stream *s;

    ck_assert_int_eq(stream_new(fcntl(fd, F_DUPFD_CLOEXEC, 0), MAX_MESSAGE, &s), 0);
    return s;
}

/* Another stream of the same socket, with what the first has not handed out; that one is freed. */
static struct stream *move(struct pair *p)
{
    struct stream_rest rest;
    struct stream *s = new_stream(stream_fd(p->s));

    copy_rest(p, &rest);
    ck_assert_int_eq(stream_put_rest(s, &rest), 0);
    for (unsigned i = 0; i < rest.nfds; i++)
        ck_assert_int_eq(rest.fds[i].fd, -1);
    stream_free(p->s);
    p->s = s;
    return s;
}

/* The row is how many of its bytes the last message has when the stream moves. */
static const size_t parts[] = { 0, 1, 15, 16, 17, 100, 199 };

START_TEST(messages_and_their_fds_go_on)
{
    unsigned before = count_fds();
    uint8_t last[200];
    struct pair p;

    pair_init(&p);
    put_message(p.peer, 1, 100, 0);
    put_message(p.peer, 2, 100, 3);
    put_message(p.peer, 3, 5000, 0);
    put_message(p.peer, 4, 60, 1);
    fill_message(last, 5, sizeof(last));
    if (parts[_i] > 0)
        ck_assert_int_gt(put(p.peer, last, parts[_i], 5, 2), 0);
    expect(p.s, 1, 100, 0);
    for (int i = 0; i < 8; i++)
        stream_fill(p.s);
    move(&p);
    ck_assert_int_gt(
        put(p.peer, last + parts[_i], sizeof(last) - parts[_i], 5, parts[_i] > 0 ? 0 : 2), 0);
    put_message(p.peer, 6, 50, 1);
    expect(p.s, 2, 100, 3);
    expect(p.s, 3, 5000, 0);
    move(&p); /* once more */
    expect(p.s, 4, 60, 1);
    expect(p.s, 5, 200, 2);
    expect(p.s, 6, 50, 1);
    expect_nothing(p.s);
    pair_fini(&p);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/* Larger than a stream's buffer is at first. */
START_TEST(a_large_message_goes_on)
{
    size_t size = 300000;
    uint8_t *m = malloc(size);
    struct pair p;
    size_t sent = 0;

    pair_init(&p);
    fill_message(m, 1, size);
    while (sent < size) {
        ssize_t n = send(p.peer, m + sent, size - sent, MSG_DONTWAIT);

        sent += n > 0 ? (size_t)n : 0;
        ck_assert_int_ge(stream_fill(p.s), 0);
        if (sent > size / 2)
            move(&p);
    }
    free(m);
    expect(p.s, 1, size, 0);
    pair_fini(&p);
}
END_TEST

/* An fd that could not be received is still missed where its message is. */
START_TEST(a_lost_fd_is_still_lost)
{
    struct stream_message m;
    struct pair p;

    pair_init(&p);
    put_message(p.peer, 1, 100, STREAM_MAX_FDS);
    put_message(p.peer, 2, 100, 1);
    for (int i = 0; i < 4; i++)
        stream_fill(p.s);
    {
        struct stream_rest rest;
        struct stream *s = new_stream(stream_fd(p.s));

        copy_rest(&p, &rest);
        ck_assert_uint_eq(rest.nfds, STREAM_MAX_FDS + 1);
        close(rest.fds[3].fd);
        rest.fds[3].fd = -1;
        ck_assert_int_eq(stream_put_rest(s, &rest), 0);
        stream_free(p.s);
        p.s = s;
    }
    ck_assert_int_eq(receive(p.s, &m), 1);
    ck_assert(m.fds_lost);
    stream_message_fini(p.s, &m);
    expect(p.s, 2, 100, 1);
    pair_fini(&p);
}
END_TEST

START_TEST(nothing_is_taken_with_replies_unsent)
{
    struct stream_rest rest;
    struct pair p;

    pair_init(&p);
    queue(p.s, 1, 100, 0);
    ck_assert_int_eq(stream_get_rest(p.s, &rest), -EBUSY);
    ck_assert_int_eq(stream_flush(p.s), 0);
    ck_assert_int_eq(stream_get_rest(p.s, &rest), 0);
    ck_assert_uint_eq(rest.len + rest.nfds, 0);
    pair_fini(&p);
}
END_TEST

/* What cannot be is refused, and its fds stay the caller's. */
START_TEST(bad_rests)
{
    static const struct {
        uint32_t owners[2];
        unsigned nfds;
        size_t len;
        int err;
    } rows[] = {
        { { 0, 100 }, 2, 200, 0 },
        { { 100, 100 }, 2, 200, 0 },
        { { 0, 100 }, 2, 150, 0 }, /* half a message at the end */
        { { 100, 0 }, 2, 200, -EINVAL },
        { { 1 }, 1, 200, -EINVAL },
        { { 99 }, 1, 200, -EINVAL },
        { { 200 }, 1, 200, -EINVAL }, /* of a message that has not begun */
        { { 0 }, 1, 0, -EINVAL },
        { { UINT32_MAX }, 1, 200, -EINVAL },
        { { 0 }, STREAM_REST_FDS + 1, 200, -EINVAL },
        { { 0 }, 0, TOO_MUCH, -EINVAL },
    };
    uint8_t *bytes = calloc(1, TOO_MUCH);
    struct stream_rest rest = { .bytes = bytes, .len = rows[_i].len, .nfds = rows[_i].nfds };
    struct pair p;
    int err;

    pair_init(&p);
    fill_message(bytes, 1, 100);
    fill_message(bytes + 100, 2, 100);
    for (unsigned i = 0; i < rows[_i].nfds && i < 2; i++)
        rest.fds[i] = (struct stream_rest_fd) { .owner = rows[_i].owners[i], .fd = -1 };
    if (rows[_i].nfds == 0)
        rest.fds[0].fd = -1;
    if (rows[_i].nfds == 1 || rows[_i].nfds == 2)
        rest.fds[0].fd = new_eventfd(1);
    err = stream_put_rest(p.s, &rest);
    ck_assert_int_eq(err, rows[_i].err);
    ck_assert_int_eq(rest.fds[0].fd >= 0,
                     rows[_i].err != 0 && rows[_i].nfds <= 2 && rows[_i].nfds > 0);
    if (err != 0 && rest.nfds > 0 && rest.nfds <= 2)
        close(rest.fds[0].fd);
    if (err != 0) { /* the stream is as it was */
        put_message(p.peer, 7, 100, 1);
        expect(p.s, 7, 100, 1);
    }
    free(bytes);
    pair_fini(&p);
}
END_TEST

#define N_BAD_RESTS 11

START_TEST(only_a_new_stream_takes_one)
{
    struct stream_rest rest = { .len = 0 };
    struct pair p;

    pair_init(&p);
    ck_assert_int_eq(stream_put_rest(p.s, &rest), 0);
    put_message(p.peer, 1, 100, 0);
    expect(p.s, 1, 100, 0);
    ck_assert_int_eq(stream_put_rest(p.s, &rest), -EBUSY);
    pair_fini(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream_rest");
    TCase *tcase = tcase_create("rest");

    tcase_add_loop_test(tcase, messages_and_their_fds_go_on, 0,
                        (int)(sizeof(parts) / sizeof(parts[0])));
    tcase_add_test(tcase, a_large_message_goes_on);
    tcase_add_test(tcase, a_lost_fd_is_still_lost);
    tcase_add_test(tcase, nothing_is_taken_with_replies_unsent);
    tcase_add_loop_test(tcase, bad_rests, 0, N_BAD_RESTS);
    tcase_add_test(tcase, only_a_new_stream_takes_one);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
