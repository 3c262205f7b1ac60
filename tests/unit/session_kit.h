/* SPDX-License-Identifier: BSD-3-Clause */
/* A session and its client on one loop and in one thread. */
#ifndef VFIO_USERD_TEST_SESSION_KIT_H
#define VFIO_USERD_TEST_SESSION_KIT_H

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "message.h"
#include "session/session.h"
#include "stream.h"
#include "unit/fakes.h"
#include "version.h"

#define CLIENT_MAX (1u << 24)
#define TURN_MS    5 /* session.c's */

struct world {
    uv_loop_t loop;
    struct fake_host host;
    struct device_description d;
    struct device *dev;
    struct log_limit limit;
    struct stats stats;
    char events[256];        /* what was told */
    bool taken;              /* another client is attached */
    bool slow;               /* to be told of a client takes longer than a turn may */
    struct session *session; /* NULL: closed */
    struct stream *client;
};

static inline const char *on_attach(void *opaque, struct session *s)
{
    const struct world *w = opaque;

    return w->session == s && !w->taken ? NULL : "another client is attached";
}

static inline void on_closed(void *opaque, struct session *s)
{
    struct world *w = opaque;

    ck_assert_ptr_eq(w->session, s);
    w->session = NULL;
}

static inline void on_event(void *opaque, const struct event *event)
{
    struct world *w = opaque;

    snprintf(w->events + strlen(w->events), sizeof(w->events) - strlen(w->events), "%s%s; ",
             event->kind == EVENT_CLIENT_ATTACHED   ? "attached"
             : event->kind == EVENT_CLIENT_DETACHED ? "detached: "
                                                    : "refused: ",
             event->reason != NULL ? event->reason : "");
    if (event->kind == EVENT_CLIENT_REFUSED)
        ck_assert_int_eq(event->pid, getpid());
    else
        ck_assert_int_eq(event->client->pid, getpid());
    if (w->slow)
        poll(NULL, 0, 2 * TURN_MS);
}

static inline void world_init(struct world *w)
{
    *w = (struct world) { .limit = { 0 } };
    log_set_level(LOG_LEVEL_ERR);
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    fake_host_init(&w->host);
    description_default(&w->d);
    w->d.limits = (struct device_limits) { 3, 5, 8192, 5000 };
    w->dev = fake_device(&w->host, &w->d);
}

static inline void world_fini(struct world *w)
{
    uv_run(&w->loop, UV_RUN_DEFAULT); /* the close callbacks */
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
    device_free(w->dev);
    description_fini(&w->d);
    fake_host_fini(&w->host);
}

static inline struct session_host session_host(struct world *w)
{
    return (struct session_host) { .opaque = w,
                                   .limit = &w->limit,
                                   .stats = &w->stats,
                                   .attach = on_attach,
                                   .closed = on_closed,
                                   .event = on_event };
}

static inline void connect_client(struct world *w)
{
    const struct session_host host = session_host(w);
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(session_new(&w->loop, fds[0], w->dev, &host, &w->session), 0);
    ck_assert_int_eq(stream_new(fds[1], CLIENT_MAX, &w->client), 0);
}

static inline void disconnect_client(struct world *w)
{
    stream_free(w->client);
    for (int i = 0; i < 10 && w->session != NULL; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    ck_assert_ptr_null(w->session);
}

/* Sends a command; returns the reply's errno, negative, with *reply valid until the next call. */
static inline int call(struct world *w, uint16_t command, const void *payload, size_t len,
                       struct stream_message *reply)
{
    size_t size = VFIO_USER_HEADER_SIZE + len;
    uint8_t *wire = stream_reserve(w->client, size);
    int n = 0;

    ck_assert_ptr_nonnull(wire);
    message_encode_header(wire, 1, command, (uint32_t)size, VFIO_USER_TYPE_COMMAND, 0);
    memcpy(wire + VFIO_USER_HEADER_SIZE, payload, len);
    ck_assert_int_eq(stream_commit(w->client, size, NULL, 0), 0);
    ck_assert_int_eq(stream_flush(w->client), 0);
    for (int i = 0; i < 10 && n == 0; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        ck_assert_int_ge(stream_fill(w->client), 0);
        n = stream_next(w->client, reply);
    }
    ck_assert_int_eq(n, 1);
    stream_message_fini(w->client, reply);
    return (reply->hdr.flags & VFIO_USER_ERROR) != 0 ? -(int)reply->hdr.error : 0;
}

/* Says VERSION; returns what the daemon says. */
static inline struct version_caps attach(struct world *w)
{
    static const char version[] = "\0\0\1\0{\"capabilities\":{\"max_msg_fds\":16,"
                                  "\"max_data_xfer_size\":1048576}}";
    struct stream_message reply;
    struct version_caps caps;
    const char *field = "";

    ck_assert_int_eq(call(w, VFIO_USER_VERSION, version, sizeof(version), &reply), 0);
    ck_assert_int_eq(version_parse(0, 1, (const char *)reply.payload + 4,
                                   reply.hdr.size - VFIO_USER_HEADER_SIZE - 5, &caps, &field),
                     0);
    return caps;
}

static inline int map(struct world *w, uint64_t page)
{
    const struct vfio_user_dma_map map = {
        .argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ, .address = page * 4096, .size = 4096
    };
    struct stream_message reply;

    return call(w, VFIO_USER_DMA_MAP, &map, sizeof(map), &reply);
}

#endif
