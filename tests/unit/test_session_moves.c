/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/session/freeze.c: another session goes on with the client, as that of another process
 * would, and the client is none the wiser.
 */
#define _GNU_SOURCE
#include "session/freeze.h"

#include <fcntl.h>
#include <stdlib.h>

#include "migrate/handover_wire.h"
#include "unit/session_kit.h"

static void snapshot(struct world *w, struct session_snapshot *out, struct session_sockets *sockets)
{
    session_freeze(w->session);
    ck_assert_int_eq(session_snapshot(w->session, out, sockets), 0);
}

/* What a snapshot says, all of it, as it is carried. */
static size_t encode(const struct session_snapshot *s, uint8_t out[HANDOVER_FIELDS_MAX])
{
    return handover_write_session(s, 0, out);
}

/* The next message that the client gets. */
static void hear(struct world *w, struct stream_message *m)
{
    int n = stream_next(w->client, m);

    for (int i = 0; i < 20 && n == 0; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        ck_assert_int_ge(stream_fill(w->client), 0);
        n = stream_next(w->client, m);
    }
    ck_assert_msg(n == 1, "the client gets no more messages");
}

static void queue(struct world *w, uint16_t id, uint16_t command, const void *payload, size_t len,
                  int fd)
{
    size_t size = VFIO_USER_HEADER_SIZE + len;
    uint8_t *wire = stream_reserve(w->client, size);

    ck_assert_ptr_nonnull(wire);
    message_encode_header(wire, id, command, (uint32_t)size, VFIO_USER_TYPE_COMMAND, 0);
    memcpy(wire + VFIO_USER_HEADER_SIZE, payload, len);
    ck_assert_int_eq(stream_commit(w->client, size, &fd, fd >= 0 ? 1 : 0), 0);
}

#define UNREAD_MESSAGES 24u

/*
 * VERSION and requests in one go, of which the session's first turn handles some; the others it has
 * received, and the client sends nothing more that could remind it of them.
 */
static void leave_unread(struct world *w)
{
    static const char version[] = "\0\0\1\0{\"capabilities\":{}}";
    const struct vfio_user_region_access access = { .region = 1, .count = 8 };
    struct session_sockets sockets;
    struct session_snapshot s;

    w->slow = true;
    connect_client(w);
    queue(w, 0, VFIO_USER_VERSION, version, sizeof(version), -1);
    for (uint16_t id = 1; id < UNREAD_MESSAGES; id++)
        queue(w, id, VFIO_USER_REGION_READ, &access, sizeof(access), -1);
    ck_assert_int_eq(stream_flush(w->client), 0);
    for (int i = 0; i < 20 && w->events[0] == '\0'; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    w->slow = false;
    ck_assert(session_is_quiet(w->session));
    snapshot(w, &s, &sockets);
    ck_assert_uint_ge(sockets.rest.len, 2 * (VFIO_USER_HEADER_SIZE + sizeof(access)));
}

/* As if the session had received one message more, a map with an fd. */
static void add_map(struct stream_rest *rest, uint8_t *room, size_t size)
{
    const struct vfio_user_dma_map map = {
        .argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ, .address = 1 << 20, .size = 4096
    };

    ck_assert_uint_le(rest->len + VFIO_USER_HEADER_SIZE + sizeof(map), size);
    memcpy(room, rest->bytes, rest->len);
    rest->bytes = room;
    room += rest->len;
    message_encode_header(room, UNREAD_MESSAGES, VFIO_USER_DMA_MAP,
                          VFIO_USER_HEADER_SIZE + sizeof(map), VFIO_USER_TYPE_COMMAND, 0);
    memcpy(room + VFIO_USER_HEADER_SIZE, &map, sizeof(map));
    rest->fds[0] =
        (struct stream_rest_fd) { .owner = (uint32_t)rest->len, .fd = fake_memfd(4096, 1) };
    rest->nfds = 1;
    rest->len += VFIO_USER_HEADER_SIZE + sizeof(map);
}

/* The session of w is another one after this, which does not go on yet. more: see add_map. */
static void move(struct world *w, bool more)
{
    const struct session_host host = session_host(w);
    struct session *from = w->session;
    struct session_snapshot said;
    struct session_snapshot heard;
    struct session_sockets sockets;
    struct stream_rest *rest = &sockets.rest;
    struct session *to;
    uint8_t fields[2][HANDOVER_FIELDS_MAX];
    uint8_t room[2048];
    size_t len;

    snapshot(w, &said, &sockets);
    for (unsigned i = 0; i < rest->nfds; i++)
        rest->fds[i].fd = fcntl(rest->fds[i].fd, F_DUPFD_CLOEXEC, 0);
    if (more)
        add_map(rest, room, sizeof(room));
    sockets.socket = fcntl(sockets.socket, F_DUPFD_CLOEXEC, 0);
    if (sockets.twin >= 0)
        sockets.twin = fcntl(sockets.twin, F_DUPFD_CLOEXEC, 0);
    ck_assert_int_eq(session_adopt(&w->loop, w->dev, &host, &said, &sockets, &to), 0);
    ck_assert(sockets.socket == -1 && sockets.twin == -1);
    session_leave(from, "it moves");
    ck_assert_ptr_null(w->session);
    w->session = to;
    snapshot(w, &heard, &sockets);
    len = encode(&said, fields[0]);
    ck_assert_uint_eq(encode(&heard, fields[1]), len);
    ck_assert_mem_eq(fields[0], fields[1], len);
    ck_assert_int_eq(heard.info.pid, said.info.pid);
}

/* All unread messages are answered, in their order. */
static void expect_answers(struct world *w, unsigned n)
{
    for (uint16_t id = 0; id < n; id++) {
        struct stream_message m;

        hear(w, &m);
        ck_assert_uint_eq(m.hdr.id, id);
        ck_assert_msg((m.hdr.flags & VFIO_USER_ERROR) == 0, "message %u: %u", id, m.hdr.error);
        stream_message_fini(w->client, &m);
    }
}

/* One map, with a file: its fd came to it. */
static void expect_mapped(struct world *w)
{
    struct dma_range *ranges;
    unsigned n_ranges;
    unsigned n_files;
    int *files;

    ck_assert_int_eq(dma_export(device_dma(w->dev), &ranges, &n_ranges, &files, &n_files), 0);
    ck_assert_uint_eq(n_ranges, 1);
    ck_assert_uint_eq(n_files, 1);
    ck_assert_int_eq(ranges[0].file, 0);
    free(ranges);
    free(files);
}

/* The row is how often it moves before it goes on; 0: it stays. */
START_TEST(what_was_not_read_is_handled_where_it_goes_on)
{
    struct world w;
    unsigned before;

    world_init(&w); /* libuv keeps some fds from its first loop on */
    world_fini(&w);
    before = fake_open_fds();
    world_init(&w);
    leave_unread(&w);
    for (int i = 0; i < _i; i++)
        move(&w, i == 0);
    session_thaw(w.session);
    expect_answers(&w, UNREAD_MESSAGES + (_i > 0 ? 1 : 0));
    if (_i > 0)
        expect_mapped(&w);
    ck_assert_int_eq(map(&w, 1), 0); /* and goes on */
    disconnect_client(&w);
    world_fini(&w);
    ck_assert_uint_eq(fake_open_fds(), before);
}
END_TEST

/* DMA_WRITEs to a QEMU 10, which takes the data 4 bytes earlier, and answers with a header. */
START_TEST(the_shape_and_the_ids_of_dma_messages_move)
{
    static const char qemu[] = "\0\0\1\0{\"capabilities\":{}}";
    struct stream_message m;
    struct world w;

    world_init(&w);
    device_free(w.dev);
    w.d.profile = PROFILE_QEMU;
    w.dev = fake_device(&w.host, &w.d);
    connect_client(&w);
    ck_assert_int_eq(call(&w, VFIO_USER_VERSION, qemu, sizeof(qemu), &m), 0);
    for (uint16_t id = 0; id < 3; id++) {
        ck_assert_int_eq(session_send_dma(w.session, 1, 0x1000, "abcdefgh", 8), 0);
        hear(&w, &m);
        ck_assert_uint_eq(m.hdr.command, VFIO_USER_DMA_WRITE);
        ck_assert_uint_eq(m.hdr.id, id);
        if (id == 0) /* which shape? */
            ck_assert_uint_eq(m.hdr.size, VFIO_USER_HEADER_SIZE + 16);
        else
            ck_assert_mem_eq(m.payload, "\0\x10\0\0\0\0\0\0\x08\0\0\0abcdefgh\0\0\0", 24);
        stream_message_fini(w.client, &m);
        {
            uint8_t *wire = stream_reserve(w.client, VFIO_USER_HEADER_SIZE);

            message_encode_header(wire, id, VFIO_USER_DMA_WRITE, VFIO_USER_HEADER_SIZE,
                                  VFIO_USER_TYPE_REPLY, 0);
        }
        ck_assert_int_eq(stream_commit(w.client, VFIO_USER_HEADER_SIZE, NULL, 0), 0);
        ck_assert_int_eq(stream_flush(w.client), 0);
        for (int i = 0; i < 20 && !session_is_quiet(w.session); i++)
            uv_run(&w.loop, UV_RUN_NOWAIT);
        ck_assert(session_is_quiet(w.session));
        move(&w, false);
        session_thaw(w.session);
    }
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

/* What a client's maps have told of its memory: maps without a file say no more, or nothing new. */
START_TEST(what_is_known_of_the_memory_moves)
{
    bool shared = _i == 1;
    struct session_snapshot s;
    struct session_sockets sockets;
    struct stream_message m;
    struct world w;

    world_init(&w);
    connect_client(&w);
    attach(&w);
    if (shared) {
        const struct vfio_user_dma_map first = {
            .argsz = sizeof(first), .flags = 1, .address = 1 << 20, .size = 4096
        };
        int file = fake_memfd(4096, 1);

        queue(&w, 1, VFIO_USER_DMA_MAP, &first, sizeof(first), file);
        ck_assert_int_eq(stream_flush(w.client), 0);
        hear(&w, &m);
        ck_assert_uint_eq(m.hdr.flags & VFIO_USER_ERROR, 0);
        stream_message_fini(w.client, &m);
        close(file);
    } else {
        ck_assert_int_eq(map(&w, 0), 0);
    }
    move(&w, false);
    snapshot(&w, &s, &sockets);
    ck_assert_int_eq(s.shared_seen, shared);
    ck_assert_int_eq(s.by_message_said, !shared);
    session_thaw(w.session);
    ck_assert_int_eq(map(&w, 1), 0);
    snapshot(&w, &s, &sockets);
    ck_assert_int_eq(s.by_message_said, !shared);
    session_thaw(w.session);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { the_shape_and_the_ids_of_dma_messages_move };
    const struct fake_loop_test loops[] = {
        { what_was_not_read_is_handled_where_it_goes_on, 3 },
        { what_is_known_of_the_memory_moves, 2 },
    };

    return fake_run("session_moves", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
