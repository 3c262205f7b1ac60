/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/session/session.c: whose limits hold. A client keeps those that it was told, however they
 * are set later, and the next one gets the new. Client and session share a loop and a thread.
 */
#define _GNU_SOURCE
#include "session/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "message.h"
#include "stream.h"
#include "unit/fakes.h"
#include "version.h"

#define CLIENT_MAX (1u << 24)

struct world {
    uv_loop_t loop;
    struct fake_host host;
    struct device_description d;
    struct device *dev;
    struct log_limit limit;
    struct stats stats;
    char events[256];        /* what was told */
    bool taken;              /* another client is attached */
    struct session *session; /* NULL: closed */
    struct stream *client;
};

static const char *on_attach(void *opaque, struct session *s)
{
    const struct world *w = opaque;

    return w->session == s && !w->taken ? NULL : "another client is attached";
}

static void on_closed(void *opaque, struct session *s)
{
    struct world *w = opaque;

    ck_assert_ptr_eq(w->session, s);
    w->session = NULL;
}

static void on_event(void *opaque, const struct event *event)
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
}

static void world_init(struct world *w)
{
    *w = (struct world) { .limit = { 0 } };
    log_set_level(LOG_LEVEL_ERR);
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    fake_host_init(&w->host);
    description_default(&w->d);
    w->d.limits = (struct device_limits) { 3, 5, 8192 };
    w->dev = fake_device(&w->host, &w->d);
}

static void world_fini(struct world *w)
{
    uv_run(&w->loop, UV_RUN_DEFAULT); /* the close callbacks */
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
    device_free(w->dev);
    description_fini(&w->d);
    fake_host_fini(&w->host);
}

static void connect_client(struct world *w)
{
    const struct session_host host = { .opaque = w,
                                       .limit = &w->limit,
                                       .stats = &w->stats,
                                       .attach = on_attach,
                                       .closed = on_closed,
                                       .event = on_event };
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(session_new(&w->loop, fds[0], w->dev, &host, &w->session), 0);
    ck_assert_int_eq(stream_new(fds[1], CLIENT_MAX, &w->client), 0);
}

static void disconnect_client(struct world *w)
{
    stream_free(w->client);
    for (int i = 0; i < 10 && w->session != NULL; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    ck_assert_ptr_null(w->session);
}

/* Sends a command; returns the reply's errno, negative, with *reply valid until the next call. */
static int call(struct world *w, uint16_t command, const void *payload, size_t len,
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
static struct version_caps attach(struct world *w)
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

static void expect_told(const struct version_caps *caps, const struct device_limits *limits)
{
    ck_assert_uint_eq(caps->max_dma_maps, limits->max_dma_maps);
    ck_assert_uint_eq(caps->max_msg_fds, limits->max_msg_fds);
    ck_assert_uint_eq(caps->max_data_xfer_size, limits->max_data_xfer_size);
}

static int map(struct world *w, uint64_t page)
{
    const struct vfio_user_dma_map map = {
        .argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ, .address = page * 4096, .size = 4096
    };
    struct stream_message reply;

    return call(w, VFIO_USER_DMA_MAP, &map, sizeof(map), &reply);
}

static int read_bar1(struct world *w, uint32_t count)
{
    const struct vfio_user_region_access access = { .region = 1, .count = count };
    struct stream_message reply;

    return call(w, VFIO_USER_REGION_READ, &access, sizeof(access), &reply);
}

/* As many maps, and as many bytes in a message, as the limits say, and no more. */
static void expect_enforced(struct world *w, const struct device_limits *limits)
{
    struct dma_info info;

    dma_get_info(device_dma(w->dev), &info);
    for (uint64_t i = info.maps; i < limits->max_dma_maps; i++)
        ck_assert_int_eq(map(w, i), 0);
    ck_assert_int_eq(map(w, limits->max_dma_maps), -ENOSPC);
    ck_assert_int_eq(read_bar1(w, limits->max_data_xfer_size), 0);
    ck_assert_int_eq(read_bar1(w, limits->max_data_xfer_size + 1), -EINVAL);
    ck_assert_uint_eq(session_max_data(w->session), limits->max_data_xfer_size);
}

static void new_limits_hold_for_the_next(const struct device_limits *later)
{
    struct world w;
    struct version_caps caps;

    world_init(&w);
    connect_client(&w);
    caps = attach(&w);
    expect_told(&caps, &w.d.limits);
    ck_assert_int_eq(map(&w, 0), 0);
    device_set_limits(w.dev, later);
    expect_enforced(&w, &w.d.limits); /* its own */
    disconnect_client(&w);
    connect_client(&w);
    caps = attach(&w);
    expect_told(&caps, later);
    expect_enforced(&w, later);
    disconnect_client(&w);
    world_fini(&w);
}

START_TEST(larger_limits)
{
    const struct device_limits later = { 9, 16, 16384 - 1 };

    new_limits_hold_for_the_next(&later);
}
END_TEST

START_TEST(smaller_limits)
{
    const struct device_limits later = { 1, 1, 4096 };

    new_limits_hold_for_the_next(&later);
}
END_TEST

/* A connection that has not said VERSION is no client yet. */
START_TEST(limits_set_before_version)
{
    const struct device_limits later = { 2, 4, 4096 };
    struct world w;
    struct version_caps caps;

    world_init(&w);
    connect_client(&w);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    device_set_limits(w.dev, &later);
    ck_assert_mem_eq(device_limits(w.dev), &later, sizeof(later));
    caps = attach(&w);
    expect_told(&caps, &later);
    expect_enforced(&w, &later);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

/* A WRITE larger than the handshake's bound: the larger limit reaches the stream. */
START_TEST(a_large_message_after_a_small_limit)
{
    static uint8_t write[sizeof(struct vfio_user_region_access) + 100000];
    struct vfio_user_region_access access = { .region = 1, .count = 100000 };
    const struct device_limits later = { 1, 1, 1 << 20 };
    struct stream_message reply;
    struct world w;

    world_init(&w);
    device_set_limits(w.dev, &later);
    connect_client(&w);
    attach(&w);
    memcpy(write, &access, sizeof(access));
    /* Too much for BAR1, but a message that is understood. */
    ck_assert_int_eq(call(&w, VFIO_USER_REGION_WRITE, write, sizeof(write), &reply), -EINVAL);
    ck_assert_ptr_nonnull(w.session);
    ck_assert_int_eq(map(&w, 0), 0);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

START_TEST(the_peer_is_known)
{
    struct client_info info;
    struct world w;

    world_init(&w);
    connect_client(&w);
    attach(&w);
    session_info(w.session, &info);
    ck_assert_int_eq(info.pid, getpid());
    ck_assert_uint_eq(info.uid, getuid());
    ck_assert(info.uid_known || getuid() == 65534);
    disconnect_client(&w);
    world_fini(&w);
}
END_TEST

/* The sum of a command's buckets: how many were timed. */
static uint64_t timed(const struct stats_command *command)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < STATS_BUCKETS; i++)
        n += command->latency[i];
    return n;
}

static void expect_counted(struct world *w, uint16_t command, uint64_t requests, uint64_t errors,
                           uint64_t n_timed)
{
    const struct stats_command *counters = stats_command(&w->stats, command);

    ck_assert_uint_eq(counters->requests, requests);
    ck_assert_uint_eq(counters->errors, errors);
    ck_assert_uint_eq(timed(counters), n_timed);
    ck_assert((counters->latency_sum > 0) == (n_timed > 0));
}

/* A write to BAR1 that wants no answer. */
static void post(struct world *w)
{
    const struct vfio_user_region_access access = { .region = 1, .count = 8 };
    const size_t size = VFIO_USER_HEADER_SIZE + sizeof(access) + 8;
    uint8_t *wire = stream_reserve(w->client, size);

    memset(wire, 0, size);
    message_encode_header(wire, 1, VFIO_USER_REGION_WRITE, (uint32_t)size,
                          VFIO_USER_TYPE_COMMAND | VFIO_USER_NO_REPLY, 0);
    memcpy(wire + VFIO_USER_HEADER_SIZE, &access, sizeof(access));
    ck_assert_int_eq(stream_commit(w->client, size, NULL, 0), 0);
    ck_assert_int_eq(stream_flush(w->client), 0);
}

START_TEST(requests_are_counted_and_timed)
{
    struct stream_message reply;
    struct world w;

    world_init(&w);
    connect_client(&w);
    attach(&w);
    for (int i = 0; i < 3; i++)
        post(&w);
    ck_assert_int_eq(read_bar1(&w, 8), 0);
    ck_assert_int_eq(read_bar1(&w, 1 << 20), -EINVAL);
    ck_assert_int_eq(call(&w, 4711, "", 0, &reply), -ENOTSUP);
    ck_assert_int_eq(call(&w, VFIO_USER_VERSION, "", 0, &reply), -EINVAL);
    expect_counted(&w, VFIO_USER_VERSION, 2, 1, 2);
    expect_counted(&w, VFIO_USER_REGION_WRITE, 3, 0, 0);
    expect_counted(&w, VFIO_USER_REGION_READ, 2, 1, 2);
    expect_counted(&w, 4711, 1, 1, 1);
    expect_counted(&w, VFIO_USER_DMA_MAP, 0, 0, 0);
    disconnect_client(&w);
    ck_assert_uint_eq(w.stats.clients, 1);
    ck_assert_uint_eq(w.stats.refused, 0);
    ck_assert_str_eq(w.events, "attached; detached: it closed the connection; ");
    world_fini(&w);
}
END_TEST

START_TEST(who_is_turned_away_is_told)
{
    static const char version[] = "\0\0\1\0{\"capabilities\":{}}";
    struct stream_message reply;
    struct world w;

    world_init(&w);
    w.taken = true;
    connect_client(&w);
    ck_assert_int_eq(call(&w, VFIO_USER_VERSION, version, sizeof(version), &reply), -EBUSY);
    disconnect_client(&w);
    ck_assert_uint_eq(w.stats.clients, 0);
    ck_assert_uint_eq(w.stats.refused, 1);
    expect_counted(&w, VFIO_USER_VERSION, 1, 1, 1);
    ck_assert_str_eq(w.events, "refused: another client is attached; ");
    world_fini(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        larger_limits,
        smaller_limits,
        limits_set_before_version,
        a_large_message_after_a_small_limit,
        the_peer_is_known,
        requests_are_counted_and_timed,
        who_is_turned_away_is_told,
    };

    return fake_run("session", tests, ARRAY_SIZE(tests), NULL, 0);
}
