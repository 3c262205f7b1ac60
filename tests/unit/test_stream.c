/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/stream.c, the receiving side: framing, and whose fds are whose. */
#define _GNU_SOURCE
#include "stream.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "message.h"
#include "stream_kit.h"
#include "suite.h"

START_TEST(test_many_in_one)
{
    enum { COUNT = 200 };
    uint8_t all[COUNT * 80];
    struct stream_message m;
    struct pair p;
    size_t len = 0;

    pair_init(&p);
    for (uint16_t id = 0; id < COUNT; id++) {
        fill_message(all + len, id, 16u + id % 64);
        len += 16u + id % 64;
    }
    ck_assert_int_eq(put(p.peer, all, len, 0, 0), (ssize_t)len);
    ck_assert_int_eq(stream_fill(p.s), (int)len);
    for (uint16_t id = 0; id < COUNT; id++) {
        ck_assert_int_eq(stream_next(p.s, &m), 1);
        check_message(p.s, &m, id, 16u + id % 64, 0);
    }
    ck_assert_int_eq(stream_next(p.s, &m), 0);
    ck_assert_uint_eq(stream_counters(p.s)->recv_calls, 1);
    ck_assert_uint_eq(stream_counters(p.s)->recv_messages, COUNT);
    ck_assert_int_eq(stream_fill(p.s), 0);
    pair_fini(&p);
}
END_TEST

/* Messages sent one by one and not read yet are one recvmsg as well. */
START_TEST(test_many_sends_in_one)
{
    struct stream_message m;
    struct pair p;

    pair_init(&p);
    for (uint16_t id = 0; id < 50; id++)
        put_message(p.peer, id, 40, 0);
    ck_assert_int_eq(stream_fill(p.s), 50 * 40);
    for (uint16_t id = 0; id < 50; id++) {
        ck_assert_int_eq(stream_next(p.s, &m), 1);
        check_message(p.s, &m, id, 40, 0);
    }
    ck_assert_uint_eq(stream_counters(p.s)->recv_calls, 1);
    pair_fini(&p);
}
END_TEST

START_TEST(test_byte_by_byte)
{
    static const size_t sizes[] = { 16, 17, 48 };
    struct stream_message m;
    struct pair p;

    pair_init(&p);
    for (uint16_t id = 0; id < 3; id++) {
        uint8_t bytes[64];

        fill_message(bytes, id, sizes[id]);
        for (size_t i = 0; i < sizes[id]; i++) {
            ck_assert_int_eq(stream_next(p.s, &m), 0);
            ck_assert_int_eq(put(p.peer, bytes + i, 1, id, i == 0 ? 2 : 0), 1);
            ck_assert_int_eq(stream_fill(p.s), 1);
        }
        ck_assert_int_eq(stream_next(p.s, &m), 1);
        check_message(p.s, &m, id, sizes[id], 2);
    }
    pair_fini(&p);
}
END_TEST

/* Larger than any buffer to begin with, behind small ones, and the largest that is allowed. */
START_TEST(test_large)
{
    static const size_t sizes[] = { 40, 65536, 65537, 30, 300000, 16, MAX_MESSAGE };
    uint8_t *bytes = malloc(MAX_MESSAGE);
    struct pair p;

    pair_init(&p);
    for (uint16_t id = 0; id < 7; id++) {
        struct stream_message m;
        size_t sent = 0;

        fill_message(bytes, id, sizes[id]);
        while (sent < sizes[id]) {
            size_t piece = sizes[id] - sent < 50000 ? sizes[id] - sent : 50000;

            ck_assert_int_eq(stream_next(p.s, &m), 0);
            ck_assert_int_eq(put(p.peer, bytes + sent, piece, 0, 0), (ssize_t)piece);
            sent += piece;
            while (stream_fill(p.s) > 0)
                ;
        }
        expect(p.s, id, sizes[id], 0);
    }
    free(bytes);
    pair_fini(&p);
}
END_TEST

/* A send of the peer: messages of these sizes, and fds that belong to the first one. */
struct script_send {
    size_t sizes[4];
    unsigned nfds;
};

static const struct script {
    const char *name;
    struct script_send sends[6];
} scripts[] = {
    { "fds in the middle", { { { 48 }, 0 }, { { 48 }, 1 }, { { 48 }, 0 } } },
    { "short around it", { { { 16 }, 0 }, { { 33 }, 1 }, { { 16 }, 0 } } },
    { "two share a send", { { { 48 }, 0 }, { { 33, 48 }, 3 } } },
    { "three share a send", { { { 20, 30 }, 0 }, { { 33, 16, 40 }, 2 }, { { 50 }, 0 } } },
    { "fds in a row", { { { 48 }, 1 }, { { 48 }, 2 }, { { 48 }, 16 } } },
    { "row of sharers", { { { 48, 16 }, 1 }, { { 36, 48 }, 2 }, { { 100, 16, 16 }, 3 } } },
    { "last of many", { { { 16, 16, 16, 16 }, 0 }, { { 16, 16 }, 0 }, { { 60 }, 4 } } },
    { "behind a large one", { { { 70000 }, 0 }, { { 40 }, 1 }, { { 30 }, 0 } } },
    { "large one with", { { { 30 }, 0 }, { { 70000, 30 }, 5 }, { { 40 }, 1 }, { { 40 }, 0 } } },
    { "behind a very large one", { { { 110000 }, 0 }, { { 40 }, 1 }, { { 30 }, 0 } } },
    { "very large one with", { { { 30 }, 0 }, { { 110000, 30 }, 5 }, { { 40 }, 1 } } },
    { "large ones in a row", { { { 50000 }, 1 }, { { 50000 }, 2 }, { { 50000 }, 0 } } },
};

static void run_script(const struct script *script, bool read_between)
{
    uint8_t *bytes = malloc(200000);
    uint16_t sent = 0, received = 0;
    struct pair p;

    pair_init(&p);
    for (const struct script_send *send = script->sends; send->sizes[0] > 0; send++) {
        size_t len = 0;

        for (unsigned i = 0; i < 4 && send->sizes[i] > 0; i++) {
            fill_message(bytes + len, (uint16_t)(sent + i), send->sizes[i]);
            len += send->sizes[i];
        }
        ck_assert_int_eq(put(p.peer, bytes, len, sent, send->nfds), (ssize_t)len);
        for (unsigned i = 0; i < 4 && send->sizes[i] > 0; i++, sent++) {
            if (read_between)
                expect(p.s, sent, send->sizes[i], i == 0 ? send->nfds : 0);
        }
    }
    for (const struct script_send *send = script->sends; !read_between && send->sizes[0] > 0;
         send++) {
        for (unsigned i = 0; i < 4 && send->sizes[i] > 0; i++)
            expect(p.s, received++, send->sizes[i], i == 0 ? send->nfds : 0);
    }
    expect_nothing(p.s);
    free(bytes);
    pair_fini(&p);
}

START_TEST(test_fds_stay)
{
    unsigned before = count_fds();

    run_script(&scripts[_i], false);
    run_script(&scripts[_i], true);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

START_TEST(test_fds_alternate)
{
    struct pair p;

    pair_init(&p);
    for (uint16_t id = 0; id < 100; id++)
        put_message(p.peer, id, 48, id % 2);
    for (uint16_t id = 0; id < 100; id++)
        expect(p.s, id, 48, id % 2);
    expect_nothing(p.s);
    pair_fini(&p);
}
END_TEST

/* How a message is cut in two: where, and whether the receiver reads in between. */
static const struct cut {
    size_t at;
    bool read_between;
} cuts[] = { { 1, false }, { 15, false }, { 16, false }, { 40, false },
             { 1, true },  { 15, true },  { 16, true },  { 40, true } };

START_TEST(test_fds_on_second_half)
{
    const struct cut *cut = &cuts[_i];
    uint8_t bytes[48 + 32];
    struct pair p;

    pair_init(&p);
    put_message(p.peer, 1, 20, 0);
    fill_message(bytes, 2, 48);
    fill_message(bytes + 48, 3, 32);
    ck_assert_int_eq(put(p.peer, bytes, cut->at, 2, 0), (ssize_t)cut->at);
    while (cut->read_between && stream_fill(p.s) > 0)
        ;
    ck_assert_int_gt(put(p.peer, bytes + cut->at, sizeof(bytes) - cut->at, 2, 3), 0);
    put_message(p.peer, 4, 30, 1);
    expect(p.s, 1, 20, 0);
    expect(p.s, 2, 48, 3);
    expect(p.s, 3, 32, 0);
    expect(p.s, 4, 30, 1);
    pair_fini(&p);
}
END_TEST

/* The same where the second half is long: what is behind it is not looked at. */
START_TEST(test_fds_on_long_rest)
{
    enum { SIZE = 110000, CUT = 40000 };
    uint8_t *bytes = malloc(SIZE + 32);
    struct pair p;

    pair_init(&p);
    fill_message(bytes, 1, SIZE);
    fill_message(bytes + SIZE, 2, 32);
    ck_assert_int_eq(put(p.peer, bytes, CUT, 1, 0), CUT);
    ck_assert_int_eq(stream_fill(p.s), CUT);
    ck_assert_int_eq(put(p.peer, bytes + CUT, SIZE + 32 - CUT, 1, 3), SIZE + 32 - CUT);
    put_message(p.peer, 3, 30, 1);
    expect(p.s, 1, SIZE, 3);
    expect(p.s, 2, 32, 0);
    expect(p.s, 3, 30, 1);
    expect_nothing(p.s);
    free(bytes);
    pair_fini(&p);
}
END_TEST

START_TEST(test_too_many_fds)
{
    static const unsigned counts[] = { STREAM_MAX_FDS + 1, 20, MANY_FDS };
    unsigned before = count_fds();
    struct stream_message m = { .nfds = 0 };
    struct pair p;

    pair_init(&p);
    for (unsigned i = 0; i < 3; i++) {
        put_message(p.peer, 1, 48, counts[i]);
        put_message(p.peer, 2, 48, 1);
        ck_assert_int_eq(receive(p.s, &m), 1);
        ck_assert(m.fds_lost);
        ck_assert_uint_le(m.nfds, STREAM_MAX_FDS);
        stream_message_fini(p.s, &m);
        expect(p.s, 2, 48, 1);
    }
    pair_fini(&p);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/* A message that never ends, and as many fds with each of its bytes as the kernel lets pass. */
START_TEST(test_fds_without_end)
{
    unsigned before = count_fds();
    struct stream_message m = { .nfds = 0 };
    uint8_t bytes[64];
    struct pair p;

    pair_init(&p);
    fill_message(bytes, 5, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        ck_assert_int_eq(put(p.peer, bytes + i, 1, 5, i < 6 ? MANY_FDS : 1), 1);
        ck_assert_int_eq(stream_fill(p.s), 1);
        ck_assert_uint_lt(count_fds(), before + 2 * MANY_FDS);
    }
    ck_assert_int_eq(stream_next(p.s, &m), 1);
    ck_assert(m.fds_lost);
    ck_assert_uint_le(m.nfds, STREAM_MAX_FDS);
    stream_message_fini(p.s, &m);
    put_message(p.peer, 6, 40, 2);
    expect(p.s, 6, 40, 2);
    pair_fini(&p);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

START_TEST(test_out_of_fds)
{
    struct rlimit limit, few;
    struct stream_message m = { .nfds = 0 };
    struct pair p;
    int lowest;

    pair_init(&p);
    put_message(p.peer, 1, 48, 8);
    put_message(p.peer, 2, 48, 0);
    lowest = dup(p.peer);
    close(lowest);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = (rlim_t)lowest + 3;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    ck_assert_int_eq(receive(p.s, &m), 1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert(m.fds_lost);
    ck_assert_uint_le(m.nfds, 3);
    stream_message_fini(p.s, &m);
    expect(p.s, 2, 48, 0);
    pair_fini(&p);
}
END_TEST

START_TEST(test_take_fds)
{
    unsigned before = count_fds();
    struct stream_message m = { .nfds = 0 };
    struct pair p;
    int fd;

    pair_init(&p);
    put_message(p.peer, 1, 48, 4);
    ck_assert_int_eq(receive(p.s, &m), 1);
    ck_assert_uint_eq(m.nfds, 4);
    fd = stream_message_take_fd(&m, 1);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(stream_message_take_fd(&m, 1), -1);
    ck_assert_int_eq(stream_message_take_fd(&m, 4), -1);
    stream_message_fini(p.s, &m);
    ck_assert_uint_eq(stream_counters(p.s)->fds_closed, 3);
    ck_assert_uint_eq(eventfd_value(fd), fd_mark(1, 1));
    close(fd);
    stream_message_fini(p.s, &m);
    ck_assert_uint_eq(stream_counters(p.s)->fds_closed, 3);

    put_message(p.peer, 2, 48, 2);
    ck_assert_int_eq(receive(p.s, &m), 1);
    pair_fini(&p);
    stream_message_fini(NULL, &m);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

START_TEST(test_free_with_fds)
{
    unsigned before = count_fds();
    uint8_t bytes[48];
    struct pair p;

    pair_init(&p);
    fill_message(bytes, 2, sizeof(bytes));
    put_message(p.peer, 1, 48, 3);
    ck_assert_int_eq(put(p.peer, bytes, 20, 2, 4), 20);
    while (stream_fill(p.s) > 0)
        ;
    queue(p.s, 3, 40, 5);
    queue(p.s, 4, 40, 0);
    pair_fini(&p);
    ck_assert_uint_eq(count_fds(), before);
    stream_free(NULL);
}
END_TEST

START_TEST(test_end_in_message)
{
    for (size_t have = 1; have < 48; have++) {
        struct stream_message m = { .nfds = 0 };
        uint8_t bytes[48];
        struct pair p;

        pair_init(&p);
        fill_message(bytes, 2, sizeof(bytes));
        put_message(p.peer, 1, 30, 0);
        ck_assert_int_eq(put(p.peer, bytes, have, 2, 0), (ssize_t)have);
        close(p.peer);
        p.peer = -1;
        expect(p.s, 1, 30, 0);
        ck_assert_int_eq(receive(p.s, &m), -ENOTCONN);
        ck_assert_int_eq(stream_next(p.s, &m), 0);
        ck_assert_int_eq(stream_fill(p.s), -ENOTCONN);
        pair_fini(&p);
    }
}
END_TEST

static const struct vfio_user_header bad_headers[] = {
    { .size = 0 },
    { .size = 1 },
    { .size = 15 },
    { .size = MAX_MESSAGE + 1 },
    { .size = 0x80000000u },
    { .size = UINT32_MAX },
    { .size = 16, .flags = 2 },
    { .size = 16, .flags = 0xf },
};

/* What came before is delivered, and nothing after it. */
START_TEST(test_bad_header)
{
    struct stream_message m = { .nfds = 0 };
    unsigned before = count_fds();
    uint8_t rest[100] = { 0 };
    struct pair p;

    pair_init(&p);
    put_message(p.peer, 1, 30, 1);
    memcpy(rest, &bad_headers[_i], sizeof(bad_headers[_i]));
    fill_message(rest + 16, 9, 40);
    ck_assert_int_eq(put(p.peer, rest, sizeof(rest), 2, 3), sizeof(rest));
    expect(p.s, 1, 30, 1);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(receive(p.s, &m), -EPROTO);
        ck_assert_int_ge(stream_fill(p.s), 0);
    }
    ck_assert_uint_eq(stream_counters(p.s)->recv_messages, 1);
    pair_fini(&p);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

START_TEST(test_set_max_message)
{
    struct stream_message m = { .nfds = 0 };
    struct pair p;

    pair_init(&p);
    stream_set_max_message(p.s, 64);
    put_message(p.peer, 1, 64, 0);
    expect(p.s, 1, 64, 0);
    put_message(p.peer, 2, 65, 0);
    ck_assert_int_eq(receive(p.s, &m), -EPROTO);
    stream_set_max_message(p.s, 65);
    expect(p.s, 2, 65, 0);
    pair_fini(&p);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, test_many_in_one);
    tcase_add_test(tc, test_many_sends_in_one);
    tcase_add_test(tc, test_byte_by_byte);
    tcase_add_test(tc, test_large);
    tcase_add_loop_test(tc, test_fds_stay, 0, sizeof(scripts) / sizeof(scripts[0]));
    tcase_add_test(tc, test_fds_alternate);
    tcase_add_loop_test(tc, test_fds_on_second_half, 0, sizeof(cuts) / sizeof(cuts[0]));
    tcase_add_test(tc, test_fds_on_long_rest);
    tcase_add_test(tc, test_too_many_fds);
    tcase_add_test(tc, test_fds_without_end);
    tcase_add_test(tc, test_out_of_fds);
    tcase_add_test(tc, test_take_fds);
    tcase_add_test(tc, test_free_with_fds);
    tcase_add_test(tc, test_end_in_message);
    tcase_add_loop_test(tc, test_bad_header, 0, sizeof(bad_headers) / sizeof(bad_headers[0]));
    tcase_add_test(tc, test_set_max_message);
}

int main(void)
{
    Suite *suite = suite_create("stream: receive");
    TCase *tc = tcase_create("receive");

    add_tests(tc);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
