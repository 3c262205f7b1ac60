/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/session: the twin socket of a client on the test's own loop: who gets one, what a capture
 * sees of it, when the session's timer runs, and that another session goes on with it.
 */
#define _GNU_SOURCE
#include "session/freeze.h"
#include "session/session.h"

#include <fcntl.h>
#include <stdlib.h>

#include "capture.h"
#include "unit/session_kit.h"
#include "vfio_user.h"

#define TWIN "\"twin_socket\":{\"supported\":true},\"vm_interrupt\":true"

/* VERSION with these capabilities; returns the fd that came with the reply, or -1. */
static int attach_with(struct world *w, const char *capabilities, char *json, size_t size)
{
    char payload[512] = "\0\0\1";
    size_t len = VFIO_USER_HEADER_SIZE;
    struct stream_message m;
    uint8_t *wire;
    int fd;

    len = 4 +
          (size_t)snprintf(payload + 4, sizeof(payload) - 4, "{\"capabilities\":{%s}}",
                           capabilities) +
          1;
    wire = stream_reserve(w->client, VFIO_USER_HEADER_SIZE + len);
    message_encode_header(wire, 1, VFIO_USER_VERSION, (uint32_t)(VFIO_USER_HEADER_SIZE + len), 0,
                          0);
    memcpy(wire + VFIO_USER_HEADER_SIZE, payload, len);
    ck_assert_int_eq(stream_commit(w->client, VFIO_USER_HEADER_SIZE + len, NULL, 0), 0);
    ck_assert_int_eq(stream_flush(w->client), 0);
    for (int i = 0; i < 10 && w->events[0] == '\0'; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    ck_assert_int_gt(stream_fill(w->client), 0);
    ck_assert_int_eq(stream_next(w->client, &m), 1);
    ck_assert_uint_eq(m.hdr.flags, VFIO_USER_TYPE_REPLY);
    snprintf(json, size, "%s", (const char *)m.payload + 4);
    fd = stream_message_take_fd(&m, 0);
    stream_message_fini(w->client, &m);
    return fd;
}

static struct stream *attach_twin(struct world *w)
{
    struct stream *twin;
    char json[512];
    int fd = attach_with(w, TWIN, json, sizeof(json));

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(stream_new(fd, CLIENT_MAX, &twin), 0);
    return twin;
}

/* The next message on a stream; false: there is none. */
static bool hear(struct world *w, struct stream *s, struct vfio_user_header *hdr)
{
    struct stream_message m;
    int n = 0;

    for (int i = 0; i < 5 && n == 0; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        ck_assert_int_ge(stream_fill(s), 0);
        n = stream_next(s, &m);
    }
    if (n == 1) {
        *hdr = m.hdr;
        stream_message_fini(s, &m);
    }
    return n == 1;
}

static void say(struct world *w, struct stream *s, const struct vfio_user_header *hdr)
{
    uint8_t *wire = stream_reserve(s, hdr->size);

    memset(wire, 0, hdr->size);
    memcpy(wire, hdr, sizeof(*hdr));
    ck_assert_int_eq(stream_commit(s, hdr->size, NULL, 0), 0);
    ck_assert_int_eq(stream_flush(s), 0);
    for (int i = 0; i < 5; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
}

static void reply(struct world *w, struct stream *s, struct vfio_user_header hdr)
{
    hdr.size = VFIO_USER_HEADER_SIZE;
    hdr.flags = VFIO_USER_TYPE_REPLY;
    say(w, s, &hdr);
}

static const struct row {
    const char *capabilities;
    const char *answer;
    bool twin;
} rows[] = {
    { TWIN, "\"twin_socket\":{\"supported\":true,\"fd_index\":0}", true },
    { "\"twin_socket\":{\"supported\":true}", "\"fd_index\":0}", true },
    { "\"max_msg_fds\":1," TWIN, "\"supported\":true,\"fd_index\":0}", true },
    { "\"max_msg_fds\":0," TWIN, "\"twin_socket\":{\"supported\":false}", false },
    { "\"vm_interrupt\":true", "\"vm_interrupt\":true", false },
    { "\"vm_interrupt\":false", "\"vm_interrupt\":false", false },
};

START_TEST(who_gets_one)
{
    const struct row *row = &rows[_i];
    struct client_info info;
    char json[512];
    struct world w;
    int fd;

    world_init(&w);
    connect_client(&w);
    fd = attach_with(&w, row->capabilities, json, sizeof(json));
    ck_assert_int_eq(fd >= 0, row->twin);
    ck_assert_msg(strstr(json, row->answer) != NULL, "%s", json);
    session_info(w.session, &info);
    ck_assert_int_eq(info.caps.twin_socket, row->twin);
    ck_assert_int_eq(info.twin, row->twin ? TWIN_OPEN : TWIN_NONE);
    ck_assert_int_eq(session_send_interrupt(w.session, 0, 0),
                     strstr(json, "\"vm_interrupt\":true") != NULL ? 0 : -ENOTSUP);
    if (fd >= 0)
        close(fd);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

/* One that has not asked for it hears nothing of it. */
START_TEST(nobody_else_is_told)
{
    char json[512];
    struct world w;

    world_init(&w);
    connect_client(&w);
    ck_assert_int_eq(attach_with(&w, "\"max_msg_fds\":16", json, sizeof(json)), -1);
    ck_assert_ptr_null(strstr(json, "twin"));
    ck_assert_ptr_null(strstr(json, "interrupt"));
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

/* All our commands go there, and nothing but them. */
START_TEST(commands_go_there)
{
    const struct vfio_user_region_access access = { .region = 1, .count = 8 };
    struct stream_message m;
    struct vfio_user_header hdr;
    struct stream *twin;
    struct world w;

    world_init(&w);
    connect_client(&w);
    twin = attach_twin(&w);
    ck_assert_int_eq(session_send_dma(w.session, 1, 0x1000, NULL, 8), 0);
    ck_assert_int_eq(session_send_dma(w.session, 2, 0x1000, "abcdefgh", 8), 0);
    ck_assert_int_eq(session_send_interrupt(w.session, 1, 2), 0);
    ck_assert_int_eq(call(&w, VFIO_USER_REGION_READ, &access, sizeof(access), &m), 0);
    ck_assert(!hear(&w, w.client, &hdr));
    for (uint16_t i = 0; i < 3; i++) {
        static const uint16_t commands[] = { VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE,
                                             VFIO_USER_VM_INTERRUPT };

        ck_assert(hear(&w, twin, &hdr));
        ck_assert_uint_eq(hdr.command, commands[i]);
        ck_assert_uint_eq(hdr.id, i);
        ck_assert(!session_is_quiet(w.session));
        reply(&w, twin, hdr);
    }
    ck_assert(session_is_quiet(w.session));
    stream_free(twin);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

/* How long the loop would wait for its sockets. */
static int patience(struct world *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT); /* it knows only then */
    return uv_backend_timeout(&w->loop);
}

/* The timer runs while an answer is outstanding, and what is over is waited for no more. */
START_TEST(the_timer_runs_when_it_must)
{
    struct vfio_user_header hdr;
    struct stream *twin;
    struct world w;

    world_init(&w);
    w.d.limits.client_timeout_ms = 30;
    device_set_limits(w.dev, &w.d.limits);
    connect_client(&w);
    twin = attach_twin(&w);
    ck_assert_int_eq(patience(&w), -1); /* nothing but the sockets */
    ck_assert_int_eq(session_send_interrupt(w.session, 1, 2), 0);
    ck_assert_int_ge(patience(&w), 0);
    ck_assert(hear(&w, twin, &hdr));
    reply(&w, twin, hdr);
    ck_assert_int_eq(patience(&w), -1);
    ck_assert_int_eq(session_send_interrupt(w.session, 1, 2), 0);
    ck_assert(!session_is_quiet(w.session));
    for (int i = 0; i < 100 && !session_is_quiet(w.session); i++)
        uv_run(&w.loop, UV_RUN_ONCE);
    ck_assert(session_is_quiet(w.session));
    ck_assert_int_eq(patience(&w), -1);
    stream_free(twin);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

static void ended(void *opaque)
{
    (void)opaque;
}

/* Row 0: it runs when the client comes; 1: it begins later. */
START_TEST(a_capture_has_them)
{
    const struct capture_host host = { .ended = ended };
    struct vfio_user_header hdr;
    struct capture *capture;
    struct stream *twin = NULL;
    uint8_t stream[16384];
    struct world w;
    size_t len;
    int fds[2];

    world_init(&w);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(capture_new(&w.loop, fds[1], "dev0", 65535, &host, &capture), 0);
    connect_client(&w);
    if (_i == 0)
        session_set_capture(w.session, capture);
    twin = attach_twin(&w);
    if (_i == 1)
        session_set_capture(w.session, capture);
    ck_assert_int_eq(session_send_interrupt(w.session, 0x11223344, 0x55667788), 0);
    ck_assert(hear(&w, twin, &hdr));
    hdr.id = 0x7a7a; /* nobody has asked for it: it is seen all the same */
    reply(&w, twin, hdr);
    session_set_capture(w.session, NULL);
    capture_finish(capture, 1000, "it is enough");
    len = (size_t)recv(fds[0], stream, sizeof(stream), MSG_DONTWAIT);
    ck_assert_ptr_nonnull(memmem(stream, len, "\x44\x33\x22\x11\x88\x77\x66\x55", 8));
    ck_assert_ptr_nonnull(memmem(stream, len, "\x7a\x7a\x00\x40\x10\0\0\0\x01", 9));
    ck_assert_ptr_nonnull(memmem(stream, len, "twin socket", 11));
    if (_i == 0)
        ck_assert_ptr_nonnull(memmem(stream, len, ", twin socket, interrupts by message", 36));
    close(fds[0]);
    stream_free(twin);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

/* The session of w is another one after this, and goes on. */
static void move(struct world *w)
{
    const struct session_host host = session_host(w);
    struct session *from = w->session;
    struct session_sockets sockets;
    struct session_snapshot said;
    struct session *to;

    ck_assert(session_is_quiet(from));
    session_freeze(from);
    ck_assert_int_eq(session_snapshot(from, &said, &sockets), 0);
    sockets.socket = fcntl(sockets.socket, F_DUPFD_CLOEXEC, 0);
    if (sockets.twin >= 0)
        sockets.twin = fcntl(sockets.twin, F_DUPFD_CLOEXEC, 0);
    ck_assert_int_eq(session_adopt(&w->loop, w->dev, &host, &said, &sockets, &to), 0);
    session_leave(from, "it moves");
    w->session = to;
    session_thaw(to);
}

/* Half a reply has come when it moves: the other half comes to where it is then. */
START_TEST(it_moves)
{
    struct vfio_user_header hdr;
    struct client_info info;
    struct stream *twin;
    struct world w;
    uint8_t half[8];

    world_init(&w);
    w.d.limits.client_timeout_ms = 30;
    device_set_limits(w.dev, &w.d.limits);
    connect_client(&w);
    twin = attach_twin(&w);
    ck_assert_int_eq(session_send_dma(w.session, 1, 0x1000, NULL, 8), 0);
    ck_assert(hear(&w, twin, &hdr));
    for (int i = 0; i < 100 && !session_is_quiet(w.session); i++)
        uv_run(&w.loop, UV_RUN_ONCE);
    hdr.flags = VFIO_USER_TYPE_REPLY;
    hdr.size = VFIO_USER_HEADER_SIZE;
    memcpy(half, &hdr, sizeof(half));
    ck_assert_int_eq(send(stream_fd(twin), half, sizeof(half), 0), sizeof(half));
    for (int i = 0; i < 5; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 2; i++)
        move(&w);
    ck_assert_int_eq(
        send(stream_fd(twin), (uint8_t *)&hdr + sizeof(half), sizeof(hdr) - sizeof(half), 0), 8);
    ck_assert_int_eq(session_send_interrupt(w.session, 1, 2), 0);
    ck_assert(hear(&w, twin, &hdr)); /* the ids go on, and the twin is not lost */
    ck_assert_uint_eq(hdr.id, 1);
    ck_assert_uint_eq(hdr.command, VFIO_USER_VM_INTERRUPT);
    reply(&w, twin, hdr);
    ck_assert(session_is_quiet(w.session));
    session_info(w.session, &info);
    ck_assert(info.caps.twin_socket && info.caps.vm_interrupt);
    ck_assert_int_eq(info.twin, TWIN_OPEN);
    stream_free(twin);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

/* It is lost before it moves: it is there as well, and the other socket does not stand in for it.
 */
START_TEST(a_lost_one_stays_lost)
{
    struct vfio_user_header hdr;
    struct client_info info;
    struct stream *twin;
    struct world w;

    world_init(&w);
    connect_client(&w);
    twin = attach_twin(&w);
    stream_free(twin);
    for (int i = 0; i < 5; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 2; i++) {
        session_info(w.session, &info);
        ck_assert_int_eq(info.twin, TWIN_LOST);
        ck_assert_int_eq(session_send_interrupt(w.session, 1, 2), -ENOTCONN);
        ck_assert_int_eq(session_send_dma(w.session, 1, 0x1000, NULL, 8), -ENOTCONN);
        move(&w);
    }
    ck_assert(!hear(&w, w.client, &hdr));
    ck_assert_int_eq(map(&w, 1), 0);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

static bool count_line(void *opaque, const struct log_record *record)
{
    unsigned *lines = opaque;

    *lines += strstr(record->text, "the twin socket is closed") != NULL;
    return true;
}

/* Row 0: it closes the twin alone, which is told; 1: both, the twin first, which is no news. */
START_TEST(what_is_told_of_an_end)
{
    unsigned lines = 0;
    struct stream *twin;
    struct world w;

    world_init(&w);
    connect_client(&w);
    twin = attach_twin(&w);
    log_set_level(LOG_LEVEL_WARNING);
    log_set_writer(count_line, &lines);
    for (int i = 0; i < 5; i++) /* nothing is ready before that is */
        uv_run(&w.loop, UV_RUN_NOWAIT);
    stream_free(twin);
    for (int i = 0; i < 5 && _i == 0; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    disconnect_client(&w);
    log_set_writer(NULL, NULL);
    ck_assert_uint_eq(lines, _i == 0 ? 1 : 0);
    world_fini(&w);
}
END_TEST

/* Sockets that do not fit what the snapshot says, or are none. */
START_TEST(snapshots_that_cannot_be)
{
    const struct session_host *host;
    struct session_sockets sockets;
    struct session_snapshot good;
    struct session_snapshot bad;
    struct session_host h;
    struct session *to;
    struct stream *twin;
    struct world w;
    int fds[2];

    world_init(&w);
    h = session_host(&w);
    host = &h;
    connect_client(&w);
    twin = attach_twin(&w);
    session_freeze(w.session);
    ck_assert_int_eq(session_snapshot(w.session, &good, &sockets), 0);
    ck_assert_uint_eq(good.info.twin, TWIN_OPEN);
    bad = good;
    bad.info.twin = TWIN_NONE;
    ck_assert_int_eq(session_adopt(&w.loop, w.dev, host, &bad, &sockets, &to), -EINVAL);
    bad.info.twin = TWIN_LOST + 1;
    ck_assert_int_eq(session_adopt(&w.loop, w.dev, host, &bad, &sockets, &to), -EINVAL);
    bad = good;
    bad.limits.client_timeout_ms = 0;
    ck_assert_int_eq(session_adopt(&w.loop, w.dev, host, &bad, &sockets, &to), -EINVAL);
    fds[0] = sockets.twin;
    sockets.twin = -1;
    ck_assert_int_eq(session_adopt(&w.loop, w.dev, host, &good, &sockets, &to), -EINVAL);
    sockets.twin = fds[1] = fake_eventfd();
    ck_assert_int_eq(session_adopt(&w.loop, w.dev, host, &good, &sockets, &to), -EINVAL);
    ck_assert_int_eq(sockets.twin, fds[1]);
    close(fds[1]);
    session_thaw(w.session);
    stream_free(twin);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nobody_else_is_told,   commands_go_there,        the_timer_runs_when_it_must, it_moves,
        a_lost_one_stays_lost, snapshots_that_cannot_be,
    };
    const struct fake_loop_test loops[] = {
        { who_gets_one, ARRAY_SIZE(rows) },
        { a_capture_has_them, 2 },
        { what_is_told_of_an_end, 2 },
    };

    return fake_run("twin", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
