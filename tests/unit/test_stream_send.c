/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/stream.c, the sending side: order, coalescing, fds, and receivers of other habits. */
#define _GNU_SOURCE
#include "stream.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "message.h"
#include "stream_kit.h"
#include "suite.h"

#define SEED 20240611u

static void wait_writable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };

    ck_assert_int_eq(poll(&p, 1, 2000), 1);
}

static void flush_all(struct stream *s)
{
    int err;

    while ((err = stream_flush(s)) == -EAGAIN)
        wait_writable(stream_fd(s));
    ck_assert_int_eq(err, 0);
    ck_assert_uint_eq(stream_queued(s), 0);
}

/* A second stream on the other end, which pair_fini then leaves alone. */
static struct stream *peer_stream(struct pair *p)
{
    struct stream *s;

    ck_assert_int_eq(stream_new(p->peer, MAX_MESSAGE, &s), 0);
    p->peer = -1;
    return s;
}

START_TEST(test_new_refuses)
{
    unsigned before = count_fds();
    struct stream *s = NULL;

    ck_assert_int_eq(stream_new(-1, MAX_MESSAGE, &s), -EBADF);
    ck_assert_ptr_null(s);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

START_TEST(test_coalesce)
{
    struct stream *rx;
    struct pair p;

    pair_init(&p);
    rx = peer_stream(&p);
    for (uint16_t id = 0; id < 100; id++)
        queue(p.s, id, 48, 0);
    ck_assert_uint_eq(stream_queued(p.s), 4800);
    ck_assert_uint_eq(stream_counters(p.s)->send_calls, 0);
    ck_assert_int_eq(stream_flush(p.s), 0);
    ck_assert_uint_eq(stream_counters(p.s)->send_calls, 1);
    ck_assert_uint_eq(stream_counters(p.s)->send_messages, 100);
    for (uint16_t id = 0; id < 100; id++)
        expect(rx, id, 48, 0);
    ck_assert_uint_eq(stream_counters(rx)->recv_calls, 1);
    ck_assert_int_eq(stream_flush(p.s), 0);
    ck_assert_uint_eq(stream_counters(p.s)->send_calls, 1);
    stream_free(rx);
    pair_fini(&p);
}
END_TEST

/* Sizes that are queued together, which of them with an fd, and how many sendmsg they may take. */
static const struct batch {
    size_t sizes[6];
    unsigned with_fds; /* bit per message */
    unsigned calls;
} batches[] = {
    { { 16384, 16384 }, 0, 1 },         { { 16384, 16384, 16 }, 0, 2 },
    { { 16384, 16385 }, 0, 2 },         { { 32768, 16, 16 }, 0, 2 },
    { { 16, 60000, 16, 16 }, 0, 3 },    { { 48, 48, 48 }, 1u << 1, 3 },
    { { 48, 48, 48, 48 }, 1u << 0, 2 }, { { 48, 48, 48, 48 }, 1u << 3, 2 },
    { { 48, 48, 48, 48 }, 0xf, 4 },     { { 48, 48, 48, 48, 48, 48 }, 1u << 2 | 1u << 3, 4 },
};

START_TEST(test_batches)
{
    const struct batch *batch = &batches[_i];
    unsigned before = count_fds();
    struct stream *rx;
    struct pair p;

    pair_init(&p);
    rx = peer_stream(&p);
    for (uint16_t id = 0; id < 6 && batch->sizes[id] > 0; id++)
        queue(p.s, id, batch->sizes[id], (batch->with_fds >> id & 1) * (id + 1u));
    ck_assert_int_eq(stream_flush(p.s), 0);
    ck_assert_uint_eq(stream_counters(p.s)->send_calls, batch->calls);
    for (uint16_t id = 0; id < 6 && batch->sizes[id] > 0; id++)
        expect(rx, id, batch->sizes[id], (batch->with_fds >> id & 1) * (id + 1u));
    stream_free(rx);
    pair_fini(&p);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/* What is refused leaves no trace in what is sent, and none in the table of fds. */
START_TEST(test_commit_refuses)
{
    int fds[STREAM_MAX_FDS + 1];
    unsigned before;
    struct stream *rx;
    struct pair p;

    pair_init(&p);
    rx = peer_stream(&p);
    queue(p.s, 1, 48, 1);
    before = count_fds();
    fill_message(stream_reserve(p.s, 64), 9, 64);
    for (unsigned i = 0; i <= STREAM_MAX_FDS; i++)
        fds[i] = stream_fd(p.s);
    ck_assert_int_lt(stream_commit(p.s, 64, fds, STREAM_MAX_FDS + 1), 0);
    fds[3] = -1;
    ck_assert_int_eq(stream_commit(p.s, 64, fds, 5), -EBADF);
    ck_assert_uint_eq(stream_queued(p.s), 48);
    ck_assert_uint_eq(count_fds(), before);
    queue(p.s, 2, 40, 0);
    flush_all(p.s);
    expect(rx, 1, 48, 1);
    expect(rx, 2, 40, 0);
    expect_nothing(rx);
    stream_free(rx);
    pair_fini(&p);
}
END_TEST

/* However many messages with fds are queued: each is sent or was refused. */
START_TEST(test_many_queued_fds)
{
    unsigned before = count_fds();
    uint16_t ids[200];
    unsigned queued = 0;
    struct stream *rx;
    struct pair p;

    pair_init(&p);
    rx = peer_stream(&p);
    for (uint16_t id = 0; id < 200; id++) {
        int fd = new_eventfd(fd_mark(id, 0));

        fill_message(stream_reserve(p.s, 48), id, 48);
        if (stream_commit(p.s, 48, &fd, 1) == 0)
            ids[queued++] = id;
        close(fd);
    }
    ck_assert_uint_ge(queued, 16);
    flush_all(p.s);
    for (unsigned i = 0; i < queued; i++)
        expect(rx, ids[i], 48, 1);
    expect_nothing(rx);
    stream_free(rx);
    pair_fini(&p);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/* A peer that does not read; 0: the default size of the socket's buffer. */
static const int send_buffers[] = { 0, 1, 10000, 65536 };

START_TEST(test_peer_does_not_read)
{
    enum { COUNT = 2500 };
    static size_t sizes[COUNT];
    uint32_t random = SEED + (uint32_t)_i;
    struct stream *rx;
    struct pair p;
    uint16_t next = 0;
    unsigned refused = 0;

    pair_init(&p);
    if (send_buffers[_i] > 0)
        ck_assert_int_eq(setsockopt(stream_fd(p.s), SOL_SOCKET, SO_SNDBUF, &send_buffers[_i],
                                    sizeof(send_buffers[_i])),
                         0);
    rx = peer_stream(&p);
    for (uint16_t id = 0; id < COUNT; id++) {
        sizes[id] = random_size(&random);
        queue(p.s, id, sizes[id], id % 97 == 0 && refused == 0 ? 2 : 0);
        if (id % 16 == 0 && stream_flush(p.s) == -EAGAIN)
            refused += refused == 0 ? id : 0u;
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_int_eq(stream_flush(p.s), -EAGAIN);
    while (next < COUNT) {
        struct stream_message m = { .nfds = 0 };

        ck_assert_int_gt(stream_fill(rx), 0);
        while (stream_next(rx, &m) == 1) {
            check_message(rx, &m, next, sizes[next], next % 97 == 0 && next <= refused ? 2 : 0);
            next++;
        }
        (void)stream_flush(p.s);
    }
    ck_assert_uint_eq(stream_queued(p.s), 0);
    stream_free(rx);
    pair_fini(&p);
}
END_TEST

START_TEST(test_peer_gone)
{
    struct pair p;

    pair_init(&p);
    close(p.peer);
    p.peer = -1;
    queue(p.s, 1, 48, 1);
    ck_assert_int_eq(stream_flush(p.s), -EPIPE);
    pair_fini(&p);
}
END_TEST

/* How many fds message id of the concurrent tests brings. */
static unsigned concurrent_fds(uint16_t id)
{
    return id % 41 == 7 ? 1 + id % 3u : 0;
}

/* recvmsg as QEMU does it: len bytes at most. Returns its result and how many fds came. */
static ssize_t recv_fds(int fd, void *data, size_t len, int *fds, unsigned *nfds)
{
    union {
        struct cmsghdr align;
        uint8_t space[CMSG_SPACE(STREAM_MAX_FDS * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.space,
                          .msg_controllen = sizeof(control.space) };
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

    *nfds = 0;
    if (c != NULL && c->cmsg_type == SCM_RIGHTS) {
        *nfds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), *nfds * sizeof(int));
    }
    return n;
}

/* What went wrong in the receiver, its exit status. */
enum { ALL_WELL, SHORT_HEADER, WRONG_HEADER, WRONG_FDS, STRAY_FDS, SHORT_BODY, WRONG_BODY };

static int receive_like_qemu(int fd, uint16_t id)
{
    static uint8_t body[1u << 18];
    struct vfio_user_header hdr;
    int fds[STREAM_MAX_FDS];
    size_t have = 0;
    unsigned nfds;

    if (recv_fds(fd, &hdr, sizeof(hdr), fds, &nfds) != sizeof(hdr))
        return SHORT_HEADER;
    if (hdr.id != id || hdr.size < sizeof(hdr) || hdr.size > sizeof(body))
        return WRONG_HEADER;
    if (nfds != concurrent_fds(id))
        return WRONG_FDS;
    for (unsigned i = 0; i < nfds; i++) {
        if (eventfd_value(fds[i]) != fd_mark(id, i))
            return WRONG_FDS;
        close(fds[i]);
    }
    while (have < hdr.size - sizeof(hdr)) {
        ssize_t n = recv_fds(fd, body + have, hdr.size - sizeof(hdr) - have, fds, &nfds);

        if (nfds > 0)
            return STRAY_FDS;
        if (n <= 0)
            return SHORT_BODY;
        have += (size_t)n;
    }
    return is_payload(body, id, hdr.size) ? ALL_WELL : WRONG_BODY;
}

/*
 * The reader takes 16 bytes with one recvmsg and never asks for the rest of a short header; it
 * runs beside the sender, now and then slower than it.
 */
START_TEST(test_header_reader)
{
    enum { COUNT = 4000 };
    uint32_t random = SEED;
    struct pair p;
    int status;
    pid_t child;

    pair_init(&p);
    child = fork();
    if (child == 0) {
        int result = ALL_WELL;

        stream_free(p.s);
        for (uint16_t id = 0; id < COUNT && result == ALL_WELL; id++) {
            result = receive_like_qemu(p.peer, id);
            if (id % 500 == 499)
                usleep(5000);
        }
        _exit(result);
    }
    close(p.peer);
    p.peer = -1;
    for (uint16_t id = 0; id < COUNT; id++) {
        queue(p.s, id, random_size(&random), concurrent_fds(id));
        if (next_random(&random) % 16 != 0)
            continue;
        if (stream_queued(p.s) > 200000)
            flush_all(p.s);
        else
            ck_assert(stream_flush(p.s) <= 0);
    }
    (void)stream_flush(p.s);
    while (stream_flush(p.s) == -EAGAIN)
        wait_writable(stream_fd(p.s));
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == ALL_WELL, "receiver: status %x",
                  (unsigned)status);
    ck_assert_uint_lt(stream_counters(p.s)->send_calls,
                      stream_counters(p.s)->send_messages * 3 / 4);
    pair_fini(&p);
}
END_TEST

/*
 * Everything at random, with both ends in one process: sizes, fds, when to flush, when to read,
 * and which end sends. An end's messages carry ids of their own sequence.
 */
struct end {
    struct stream *s;
    size_t sizes[512]; /* of what is on its way from this end, by id */
    unsigned nfds[512];
    uint16_t sent;
    uint16_t received; /* by the other end */
};

static void random_queue(struct end *e, uint32_t *random)
{
    uint16_t slot = e->sent % 512;

    if ((uint16_t)(e->sent - e->received) >= 40)
        return;
    e->sizes[slot] = random_size(random);
    e->nfds[slot] = next_random(random) % 8 == 0 ? next_random(random) % 5 : 0;
    queue(e->s, e->sent, e->sizes[slot], e->nfds[slot]);
    e->sent++;
}

static void random_receive(struct end *from, struct stream *to)
{
    struct stream_message m = { .nfds = 0 };

    ck_assert_int_ge(stream_fill(to), 0);
    while (stream_next(to, &m) == 1) {
        check_message(to, &m, from->received, from->sizes[from->received % 512],
                      from->nfds[from->received % 512]);
        from->received++;
    }
}

START_TEST(test_random_both_ways)
{
    unsigned before = count_fds();
    uint32_t random = SEED;
    struct end ends[2] = { 0 };
    struct pair p;

    printf("random_both_ways: seed %u\n", SEED);
    pair_init(&p);
    ends[0].s = p.s;
    ends[1].s = peer_stream(&p);
    for (unsigned step = 0; step < 20000; step++) {
        uint32_t r = next_random(&random);
        struct end *e = &ends[r >> 8 & 1];

        if (r % 4 < 2)
            random_queue(e, &random);
        else if (r % 4 == 2)
            ck_assert(stream_flush(e->s) == 0 || stream_queued(e->s) > 0);
        else
            random_receive(&ends[(r >> 8 & 1) ^ 1], e->s);
    }
    for (unsigned i = 0; i < 2; i++) {
        while (ends[i].received != ends[i].sent) {
            (void)stream_flush(ends[i].s);
            random_receive(&ends[i], ends[i ^ 1].s);
        }
        ck_assert_uint_gt(ends[i].sent, 1000);
    }
    stream_free(ends[1].s);
    pair_fini(&p);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/* A message's bytes in random pieces, the fds with its first one, a piece may hold the next ones.
 */
static size_t put_random_pieces(int fd, const uint8_t *bytes, size_t len, uint16_t id,
                                unsigned nfds, uint32_t *random)
{
    size_t sent = 0;

    while (sent < len) {
        size_t piece = 1 + next_random(random) % (next_random(random) % 2 == 0 ? 40 : 4000);

        if (piece > len - sent)
            piece = len - sent;
        ck_assert_int_eq(put(fd, bytes + sent, piece, id, sent == 0 ? nfds : 0), (ssize_t)piece);
        sent += piece;
    }
    return sent;
}

START_TEST(test_random_pieces)
{
    unsigned before = count_fds();
    uint8_t *bytes = malloc(4 * 120000);
    uint32_t random = SEED;
    struct pair p;
    uint16_t id = 0;

    printf("random_pieces: seed %u\n", SEED);
    pair_init(&p);
    while (id < 2500) {
        unsigned group = 1 + next_random(&random) % 4;
        unsigned nfds = next_random(&random) % 3 == 0 ? next_random(&random) % 17 : 0;
        unsigned groups = 1 + next_random(&random) % 3;
        size_t sizes[4], len = 0;

        /* Several sends before a read, all of the same shape. */
        for (unsigned i = 0; i < group; i++)
            sizes[i] = VFIO_USER_HEADER_SIZE + random_size(&random) % 9000;
        for (unsigned g = 0; g < groups; g++) {
            len = 0;
            for (unsigned i = 0; i < group; i++, len += sizes[i - 1])
                fill_message(bytes + len, (uint16_t)(id + g * group + i), sizes[i]);
            put_random_pieces(p.peer, bytes, len, (uint16_t)(id + g * group), nfds, &random);
        }
        for (unsigned i = 0; i < group * groups; i++, id++)
            expect(p.s, id, sizes[i % group], i % group == 0 ? nfds : 0);
    }
    free(bytes);
    pair_fini(&p);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream: send");
    TCase *tc = tcase_create("send");

    tcase_add_test(tc, test_new_refuses);
    tcase_add_test(tc, test_coalesce);
    tcase_add_loop_test(tc, test_batches, 0, sizeof(batches) / sizeof(batches[0]));
    tcase_add_test(tc, test_commit_refuses);
    tcase_add_test(tc, test_many_queued_fds);
    tcase_add_loop_test(tc, test_peer_does_not_read, 0,
                        sizeof(send_buffers) / sizeof(send_buffers[0]));
    tcase_add_test(tc, test_peer_gone);
    tcase_add_test(tc, test_header_reader);
    tcase_add_test(tc, test_random_both_ways);
    tcase_add_test(tc, test_random_pieces);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
