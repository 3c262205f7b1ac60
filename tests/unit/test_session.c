/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/session/session.c: whose limits hold. A client keeps those that it was told, however they
 * are set later, and the next one gets the new. Client and session share a loop and a thread.
 */
#define _GNU_SOURCE
#include "session/session.h"

#include "unit/session_kit.h"

static void expect_told(const struct version_caps *caps, const struct device_limits *limits)
{
    ck_assert_uint_eq(caps->max_dma_maps, limits->max_dma_maps);
    ck_assert_uint_eq(caps->max_msg_fds, limits->max_msg_fds);
    ck_assert_uint_eq(caps->max_data_xfer_size, limits->max_data_xfer_size);
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
    const struct device_limits later = { 9, 16, 16384 - 1, 5000 };

    new_limits_hold_for_the_next(&later);
}
END_TEST

START_TEST(smaller_limits)
{
    const struct device_limits later = { 1, 1, 4096, 5000 };

    new_limits_hold_for_the_next(&later);
}
END_TEST

/* A connection that has not said VERSION is no client yet. */
START_TEST(limits_set_before_version)
{
    const struct device_limits later = { 2, 4, 4096, 5000 };
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
    const struct device_limits later = { 1, 1, 1 << 20, 5000 };
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
