/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon/capture.c on a loop of the test's own: what is sent, what is dropped, how it ends. */
#define _GNU_SOURCE
#include "capture.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pcapng.h"
#include "suite.h"

#define STREAM_MAX (16u << 20)

struct world {
    uv_loop_t loop;
    struct capture *capture;
    int reader;
    bool ended;
    uint8_t *stream; /* what the reader has got */
    size_t len;
};

/* What the stream holds. */
struct found {
    unsigned packets;
    unsigned sections;
    unsigned interfaces;
    uint64_t lost;                    /* by the packets' own counts */
    struct pcapng_statistics numbers; /* the last */
};

static void on_ended(void *opaque)
{
    struct world *w = opaque;

    w->ended = true;
}

static void world_init(struct world *w, uint32_t snaplen)
{
    const struct capture_host host = { .opaque = w, .ended = on_ended };
    int fds[2];

    *w = (struct world) { .stream = malloc(STREAM_MAX) };
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    w->reader = fds[0];
    ck_assert_int_eq(capture_new(&w->loop, fds[1], "dev0", snaplen, &host, &w->capture), 0);
}

static void world_fini(struct world *w)
{
    if (!w->ended)
        capture_finish(w->capture, 0, "the test ends");
    ck_assert(w->ended);
    close(w->reader);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
    free(w->stream);
}

/* Reads what is there now; returns whether the stream goes on. */
static bool read_some(struct world *w)
{
    ssize_t n = recv(w->reader, w->stream + w->len, STREAM_MAX - w->len, MSG_DONTWAIT);

    ck_assert(n >= 0 || errno == EAGAIN);
    w->len += n > 0 ? (size_t)n : 0;
    return n != 0;
}

/* Lets the capture and its reader go on until it is over. */
static void run_out(struct world *w)
{
    while (read_some(w))
        uv_run(&w->loop, UV_RUN_NOWAIT);
    ck_assert(w->ended);
}

static uint64_t dropcount(const uint8_t *block, uint32_t len)
{
    uint32_t kept;
    uint64_t count = 0;

    memcpy(&kept, block + 20, sizeof(kept));
    for (size_t at = 28 + ((kept + 3) & ~3u); at + 4 < len;) {
        uint16_t option[2];

        memcpy(option, block + at, sizeof(option));
        if (option[0] == 0)
            break;
        if (option[0] == 4)
            memcpy(&count, block + at + 4, sizeof(count));
        at += 4 + ((option[1] + 3u) & ~3u);
    }
    return count;
}

static struct found look(const struct world *w)
{
    struct found f = { 0 };
    uint32_t type;
    uint32_t len;

    for (size_t at = 0; at < w->len; at += len) {
        ck_assert_int_eq(pcapng_peek(w->stream + at, w->len - at, &type, &len), 1);
        ck_assert_uint_le(len, w->len - at);
        f.sections += type == PCAPNG_SECTION;
        f.interfaces += type == PCAPNG_INTERFACE;
        f.packets += type == PCAPNG_PACKET;
        if (type == PCAPNG_PACKET)
            f.lost += dropcount(w->stream + at, len);
        if (type == PCAPNG_STATISTICS)
            ck_assert_int_eq(pcapng_read_statistics(w->stream + at, len, &f.numbers), 0);
    }
    return f;
}

static void show(struct world *w, size_t len)
{
    static uint8_t wire[1u << 20];
    const struct capture_message m = { .connection = 1, .wire = wire, .len = len };

    capture_message(w->capture, &m);
}

/* Nothing captured, and yet a whole file. */
START_TEST(test_empty)
{
    struct world w;
    struct found f;

    world_init(&w, 65535);
    shutdown(w.reader, SHUT_WR);
    run_out(&w);
    f = look(&w);
    ck_assert_uint_eq(f.sections, 1);
    ck_assert_uint_eq(f.interfaces, 1);
    ck_assert_uint_eq(f.packets, 0);
    ck_assert_int_ne(f.numbers.ended, 0);
    world_fini(&w);
}
END_TEST

/* Few messages are sent too, after a while, and then numbers. */
START_TEST(test_few)
{
    struct world w;
    struct found f;

    world_init(&w, 65535);
    show(&w, 16);
    show(&w, 100);
    do {
        uv_run(&w.loop, UV_RUN_ONCE);
        read_some(&w);
        f = look(&w);
    } while (f.numbers.received != 2);
    ck_assert_uint_eq(f.packets, 2);
    ck_assert_int_eq(f.numbers.ended, 0);
    world_fini(&w);
}
END_TEST

START_TEST(test_snaplen)
{
    struct world w;
    uint32_t lens[2];
    uint32_t type;
    uint32_t len;
    size_t at = 0;

    world_init(&w, 20);
    show(&w, 100);
    shutdown(w.reader, SHUT_WR);
    run_out(&w);
    while (pcapng_peek(w.stream + at, w.len - at, &type, &len) == 1 && type != PCAPNG_PACKET)
        at += len;
    memcpy(lens, w.stream + at + 20, sizeof(lens));
    ck_assert_uint_eq(lens[0], 20);
    ck_assert_uint_eq(lens[1], 100);
    world_fini(&w);
}
END_TEST

/*
 * A reader that does not read: the buffer takes what it can, the rest is dropped and counted; when
 * it reads again the stream goes on, and all numbers agree. Sizes vary, so that the buffer's end is
 * met in many ways.
 */
START_TEST(test_slow_reader)
{
    struct world w;
    struct found f;
    unsigned shown = 0;

    world_init(&w, 65535);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 2500; i++, shown++) {
            show(&w, 16 + i * 37 % 5000);
            if (i % 16 == 0)
                uv_run(&w.loop, UV_RUN_NOWAIT);
        }
        for (int i = 0; i < 50 * (round + 1); i++) {
            read_some(&w);
            uv_run(&w.loop, UV_RUN_NOWAIT);
        }
    }
    for (int i = 0; i < 200; i++) {
        read_some(&w);
        uv_run(&w.loop, UV_RUN_NOWAIT);
    }
    show(&w, 16); /* it says how many were lost before it */
    shown++;
    shutdown(w.reader, SHUT_WR);
    run_out(&w);
    f = look(&w);
    ck_assert_uint_eq(f.numbers.received, shown);
    ck_assert_uint_gt(f.numbers.dropped, 0);
    ck_assert_uint_eq(f.numbers.delivered, f.packets);
    ck_assert_uint_eq(f.numbers.dropped + f.packets, shown);
    ck_assert_uint_eq(f.lost, f.numbers.dropped);
    world_fini(&w);
}
END_TEST

/* The daemon ends: the reader has its rest, as far as it takes it in time. */
START_TEST(test_finish)
{
    struct world w;
    struct found f;

    world_init(&w, 65535);
    for (int i = 0; i < 20; i++)
        show(&w, 1000);
    capture_finish(w.capture, 500, "the test says so");
    ck_assert(w.ended);
    run_out(&w);
    f = look(&w);
    ck_assert_uint_eq(f.packets, 20);
    ck_assert_int_ne(f.numbers.ended, 0);
    world_fini(&w);
}
END_TEST

START_TEST(test_finish_slow_reader)
{
    struct world w;

    world_init(&w, 65535);
    for (int i = 0; i < 2000; i++)
        show(&w, 4096);
    capture_finish(w.capture, 50, "the test says so"); /* and comes back */
    ck_assert(w.ended);
    world_fini(&w);
}
END_TEST

/* The reader is gone: that is noticed, and in no call of ours. */
START_TEST(test_lost)
{
    struct world w;

    world_init(&w, 65535);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    shutdown(w.reader, SHUT_RDWR);
    for (int i = 0; i < 200; i++)
        show(&w, 4096);
    ck_assert(!w.ended);
    for (int i = 0; i < 1000 && !w.ended; i++)
        uv_run(&w.loop, UV_RUN_ONCE);
    ck_assert(w.ended);
    world_fini(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("capture");
    TCase *tcase = tcase_create("capture");

    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, test_empty);
    tcase_add_test(tcase, test_few);
    tcase_add_test(tcase, test_snaplen);
    tcase_add_test(tcase, test_slow_reader);
    tcase_add_test(tcase, test_finish);
    tcase_add_test(tcase, test_finish_slow_reader);
    tcase_add_test(tcase, test_lost);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
