/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libproto/stream_keep.c: a stream goes on in another process wherever the one before has died. The
 * processes are one here, which leaves the stream behind and makes another from what it has
 * written.
 */
#define _GNU_SOURCE
#include "stream_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "suite.h"
#include "unit/stream_kit.h"

#define IN_SIZE     (2 * MAX_MESSAGE + 65536)
#define OUT_SIZE    (4 * MAX_MESSAGE)
#define FDS         4096
#define OUTSTANDING (100u << 10)

/* What outlives a process. */
struct world {
    struct stream_journal journal;
    struct stream_fd_table fds;
    uint8_t in[IN_SIZE];
    uint8_t out[OUT_SIZE];
    struct stream_mark mark; /* of the last step that was ended */
};

struct life {
    struct world *world;
    struct stream *s;
    int socket;
    int peer;
    struct stream *from_us; /* what the peer reads */
    int held[FDS];          /* by serial */
    bool drops[FDS];        /* with the step's end */
    uint32_t serial;
    uint32_t random;
    uint8_t message[200000]; /* that the peer is sending */
    size_t size;
    size_t at;
    uint16_t sent; /* messages so far */
    uint16_t handled;
    uint16_t replied; /* that the peer has read */
    size_t outstanding;
    unsigned deaths;
    unsigned marks; /* that the stream has asked for */
};

/*
 * The keeper
 */

static void drop(struct life *l)
{
    for (unsigned i = 0; i < FDS; i++) {
        if (l->drops[i])
            close(l->held[i]);
        l->held[i] = l->drops[i] ? -1 : l->held[i];
        l->drops[i] = false;
    }
}

static void commit(struct life *l)
{
    stream_get_mark(l->s, &l->world->mark);
    drop(l);
}

static uint32_t store(void *opaque, int fd, const char *role)
{
    struct life *l = opaque;

    (void)role;
    do
        l->serial = l->serial % (FDS - 1) + 1;
    while (l->held[l->serial] >= 0);
    l->held[l->serial] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return l->serial;
}

static void forget(void *opaque, uint32_t serial)
{
    struct life *l = opaque;

    ck_assert_int_ge(l->held[serial], 0);
    l->drops[serial] = true;
}

/* What a death now would leave to be sent: all that is queued, and whole but for the first. */
static void check_left(const struct life *l)
{
    static struct world dead;
    static struct stream_kept kept;
    const struct stream_memory memory = { .journal = &dead.journal,
                                          .fds = &dead.fds,
                                          .in = dead.in,
                                          .in_size = IN_SIZE,
                                          .out = dead.out,
                                          .out_size = OUT_SIZE };
    struct vfio_user_header hdr;

    memcpy(&dead, l->world, sizeof(dead));
    ck_assert_int_eq(stream_read_kept(&memory, &dead.mark, &kept), 0);
    ck_assert_uint_eq(kept.out_len, stream_queued(l->s));
    for (size_t at = kept.out_cut; at < kept.out_len; at += hdr.size) {
        memcpy(&hdr, kept.out + at, sizeof(hdr));
        ck_assert_uint_ge(hdr.size, VFIO_USER_HEADER_SIZE);
        ck_assert_uint_le(hdr.size, kept.out_len - at);
        ck_assert(is_payload(kept.out + at + VFIO_USER_HEADER_SIZE, hdr.id, hdr.size));
    }
}

static void mark(void *opaque)
{
    struct life *l = opaque;

    l->marks++;
    check_left(l);
    commit(l);
}

static void keep(struct life *l)
{
    const struct stream_keeper keeper = {
        .opaque = l, .store = store, .forget = forget, .mark = mark
    };
    const struct stream_memory memory = { .journal = &l->world->journal,
                                          .fds = &l->world->fds,
                                          .in = l->world->in,
                                          .in_size = IN_SIZE,
                                          .out = l->world->out,
                                          .out_size = OUT_SIZE };

    ck_assert_int_eq(stream_keep(l->s, &memory, &keeper), 0);
}

/*
 * Death
 */

static int copy(const struct life *l, uint32_t serial)
{
    int fd;

    if (serial == 0)
        return -1;
    ck_assert_int_ge(l->held[serial], 0);
    fd = fcntl(l->held[serial], F_DUPFD_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void revive(struct life *l, const struct stream_kept *kept)
{
    struct stream_rest rest = { .bytes = kept->in, .len = kept->in_len, .nfds = kept->n_in_fds };
    bool before[FDS];

    for (unsigned i = 0; i < FDS; i++)
        before[i] = l->held[i] >= 0;
    for (unsigned i = 0; i < kept->n_in_fds; i++)
        rest.fds[i] = (struct stream_rest_fd) { .owner = kept->in_fds[i].owner,
                                                .fd = copy(l, kept->in_fds[i].serial) };
    ck_assert_int_eq(stream_new(fcntl(l->socket, F_DUPFD_CLOEXEC, 0), MAX_MESSAGE, &l->s), 0);
    ck_assert_int_eq(stream_put_rest(l->s, &rest), 0);
    keep(l);
    ck_assert_int_eq(stream_put_unsent(l->s, kept->out, kept->out_len, kept->out_cut), 0);
    for (unsigned i = 0; i < kept->n_out_fds; i++) {
        int fds[STREAM_MAX_FDS];

        for (unsigned j = 0; j < kept->out_fds[i].nfds; j++)
            fds[j] = copy(l, kept->out_fds[i].serials[j]);
        ck_assert_int_eq(
            stream_put_unsent_fds(l->s, kept->out_fds[i].owner, fds, kept->out_fds[i].nfds), 0);
    }
    for (unsigned i = 0; i < FDS; i++)
        l->drops[i] = before[i];
    commit(l);
}

/* What was not committed has not been. */
static void die(struct life *l)
{
    static struct world dead;
    const struct stream_memory memory = { .journal = &dead.journal,
                                          .fds = &dead.fds,
                                          .in = dead.in,
                                          .in_size = IN_SIZE,
                                          .out = dead.out,
                                          .out_size = OUT_SIZE };
    static struct stream_kept kept;

    memcpy(&dead, l->world, sizeof(dead));
    stream_free(l->s); /* writes nothing that counts */
    memset(l->drops, 0, sizeof(l->drops));
    memset(l->world, 0xee, sizeof(*l->world));
    memset(&l->world->journal, 0, sizeof(l->world->journal));
    ck_assert_int_eq(stream_read_kept(&memory, &dead.mark, &kept), 0);
    revive(l, &kept);
    l->deaths++;
}

/*
 * Life
 */

static unsigned fds_of(uint16_t id)
{
    return id % 5 == 0 ? 1 + id % 3 : 0;
}

static size_t size_of(uint16_t id)
{
    uint32_t state = id + 1u;

    next_random(&state);
    return random_size(&state);
}

/* The peer sends a part of its message; the fds come with the first. */
static void peer_sends(struct life *l)
{
    size_t len;

    if (l->outstanding > OUTSTANDING)
        return;
    if (l->at == l->size) {
        l->size = size_of(l->sent);
        l->at = 0;
        fill_message(l->message, l->sent, l->size);
    }
    len = next_random(&l->random) % 4 != 0 ? l->size - l->at
                                           : 1 + next_random(&l->random) % (l->size - l->at);
    ck_assert_int_eq(
        put(l->peer, l->message + l->at, len, l->sent, l->at == 0 ? fds_of(l->sent) : 0),
        (ssize_t)len);
    l->at += len;
    l->outstanding += len;
    l->sent += l->at == l->size;
}

static void peer_reads(struct life *l)
{
    struct stream_message m;
    int n;

    ck_assert_int_ge(stream_fill(l->from_us), 0);
    while ((n = stream_next(l->from_us, &m)) == 1) {
        l->outstanding -= m.hdr.size;
        check_message(l->from_us, &m, l->replied, size_of(l->replied), fds_of(l->replied));
        l->replied++;
    }
    ck_assert_int_eq(n, 0);
}

/* A step: takes a message, and queues one that is as long. Dies before its end, or does not. */
static void handle(struct life *l, bool dies)
{
    struct stream_message m;

    if (stream_fds_full(l->s) || stream_next(l->s, &m) != 1)
        return;
    ck_assert_uint_eq(m.hdr.id, l->handled);
    for (unsigned i = 0; i < m.nfds; i++) /* one that takes nothing: another process has its own */
        ck_assert_uint_eq(eventfd_value(m.fds[i]), fd_mark(l->handled, i));
    for (unsigned i = 0; i < m.nfds; i++)
        ck_assert_int_eq(eventfd_write(m.fds[i], fd_mark(l->handled, i)), 0);
    ck_assert(is_payload(m.payload, l->handled, size_of(l->handled)));
    ck_assert_uint_eq(m.nfds, fds_of(l->handled));
    ck_assert(!m.fds_lost);
    queue(l->s, l->handled, size_of(l->handled), fds_of(l->handled));
    stream_message_fini(l->s, &m);
    if (dies) {
        die(l);
        return;
    }
    commit(l);
    l->handled++;
}

static void act(struct life *l)
{
    uint32_t what = next_random(&l->random) % 100;

    if (what < 25)
        peer_sends(l);
    else if (what < 50)
        ck_assert_int_ge(stream_fill(l->s), 0);
    else if (what < 70)
        handle(l, what == 50);
    else if (what < 85)
        stream_flush(l->s);
    else if (what < 98)
        peer_reads(l);
    else
        die(l);
}

static void begin(struct life *l, uint32_t seed)
{
    int fds[2];

    memset(l, 0, sizeof(*l));
    l->world = calloc(1, sizeof(*l->world));
    l->random = seed;
    memset(l->held, 0xff, sizeof(l->held));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    l->socket = fds[0];
    l->peer = fds[1];
    ck_assert_int_eq(stream_new(fcntl(fds[0], F_DUPFD_CLOEXEC, 0), MAX_MESSAGE, &l->s), 0);
    ck_assert_int_eq(stream_new(fcntl(fds[1], F_DUPFD_CLOEXEC, 0), MAX_MESSAGE, &l->from_us), 0);
    keep(l);
    commit(l);
}

static void end(struct life *l)
{
    stream_free(l->s);
    stream_free(l->from_us);
    drop(l);
    close(l->socket);
    close(l->peer);
    free(l->world);
}

static unsigned still_held(const struct life *l)
{
    unsigned n = 0;

    for (unsigned i = 0; i < FDS; i++)
        n += l->held[i] >= 0;
    return n;
}

#define ACTS 6000

START_TEST(deaths_anywhere)
{
    static struct life l;
    unsigned fds = count_fds();

    begin(&l, (uint32_t)_i + 1);
    for (unsigned i = 0; i < ACTS; i++)
        act(&l);
    while (l.at != l.size || l.replied != l.sent) {
        if (l.at != l.size)
            peer_sends(&l);
        stream_fill(l.s);
        handle(&l, false);
        stream_flush(l.s);
        peer_reads(&l);
    }
    ck_assert_uint_gt(l.deaths, ACTS / 100);
    ck_assert_uint_gt(l.sent, ACTS / 20);
    commit(&l);
    ck_assert_uint_eq(still_held(&l), 0);
    end(&l);
    ck_assert_uint_eq(count_fds(), fds);
}
END_TEST

/* Fds that came with bytes that nobody had looked at, and were in nobody's hands. */
START_TEST(lost_fds_are_told)
{
    static struct life l;
    struct stream_message m;

    begin(&l, 1);
    fill_message(l.message, 0, 100);
    ck_assert_int_eq(put(l.peer, l.message, 100, 0, 1), 100);
    ck_assert_int_eq(stream_fill(l.s), 100);
    /* As the kernel leaves it behind a call that was given room for them. */
    for (unsigned i = 0; i < 2; i++) {
        l.world->journal.received.notes[i].call.message.msg_controllen = 24;
        l.world->journal.received.notes[i].kept = 0;
    }
    l.world->fds.n_in = 0;
    die(&l);
    ck_assert_int_eq(stream_next(l.s, &m), 1);
    ck_assert(m.fds_lost);
    ck_assert_uint_eq(m.nfds, 0);
    stream_message_fini(l.s, &m);
    end(&l);
}
END_TEST

/* A queue that was sent is not walked: the next step has written over it, and has not ended. */
START_TEST(an_unfinished_message_over_a_sent_one)
{
    static struct life l;
    uint8_t *at;

    begin(&l, 1);
    queue(l.s, 0, 64, 0);
    commit(&l);
    ck_assert_int_eq(stream_flush(l.s), 0);
    at = stream_reserve(l.s, 1000);
    memset(at, 0xff, 1000);
    die(&l);
    ck_assert_uint_eq(stream_queued(l.s), 0);
    expect(l.from_us, 0, 64, 0);
    end(&l);
}
END_TEST

/* A queue that is longer than what the socket takes is moved in its memory, between two marks. */
START_TEST(a_queue_that_is_moved)
{
    static struct life l;
    struct stream_message m;
    uint16_t got = 0;

    begin(&l, 1);
    for (uint16_t id = 0; id < 120; id++) {
        queue(l.s, id, 9000 + id * 7u, 0);
        commit(&l);
    }
    while (got < 120) {
        ck_assert(stream_flush(l.s) == 0 || stream_queued(l.s) > 0);
        check_left(&l);
        ck_assert_int_gt(stream_fill(l.from_us), 0);
        while (stream_next(l.from_us, &m) == 1) {
            check_message(l.from_us, &m, got, 9000 + got * 7u, 0);
            got++;
        }
    }
    ck_assert_uint_ge(l.marks, 2);
    end(&l);
}
END_TEST

/* What cannot be is refused, whatever it is. */
START_TEST(garbage)
{
    static struct life l;
    static struct world spoilt;
    static struct stream_kept kept;
    const struct stream_memory memory = { .journal = &spoilt.journal,
                                          .fds = &spoilt.fds,
                                          .in = spoilt.in,
                                          .in_size = IN_SIZE,
                                          .out = spoilt.out,
                                          .out_size = OUT_SIZE };
    const size_t buffers = offsetof(struct world, in);
    unsigned refused = 0;

    begin(&l, 7);
    for (unsigned i = 0; i < 500; i++)
        act(&l);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t value = (uint64_t)next_random(&l.random) << next_random(&l.random) % 33;
        size_t place = next_random(&l.random) % 2 == 0
                           ? next_random(&l.random) % (buffers - 8)
                           : offsetof(struct world, mark) + next_random(&l.random) % 24;

        memcpy(&spoilt, l.world, buffers);
        memcpy(spoilt.out, l.world->out, 65536);
        memcpy(spoilt.in, l.world->in, 65536);
        spoilt.mark = l.world->mark;
        memcpy((uint8_t *)&spoilt + place, &value, 1 + i % 8);
        if (stream_read_kept(&memory, &spoilt.mark, &kept) != 0) {
            refused++;
            continue;
        }
        ck_assert(kept.in >= spoilt.in && kept.in + kept.in_len <= spoilt.in + IN_SIZE);
        ck_assert(kept.out >= spoilt.out && kept.out + kept.out_len <= spoilt.out + OUT_SIZE);
        ck_assert_uint_le(kept.out_cut, kept.out_len);
        ck_assert_uint_le(kept.n_in_fds, STREAM_REST_FDS);
        ck_assert_uint_le(kept.n_out_fds, STREAM_OUT_FDS_MAX);
    }
    ck_assert_uint_gt(refused, 100);
    end(&l);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream: deaths");
    TCase *tc = tcase_create("deaths");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, deaths_anywhere, 0, 8);
    tcase_add_test(tc, lost_fds_are_told);
    tcase_add_test(tc, an_unfinished_message_over_a_sent_one);
    tcase_add_test(tc, a_queue_that_is_moved);
    tcase_add_test(tc, garbage);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
