/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/migrate/transfers.c on a loop of the test's own: peers that are slow, silent, gone, or
 * send anything else than a state.
 */
#define _GNU_SOURCE
#include "migrate/transfers.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/fakes.h"

#define BAR1       VFIO_PCI_BAR1_REGION_INDEX
#define STREAM_MAX (4u << 20)

struct world {
    uv_loop_t loop;
    struct fake_host host;
    struct device_description d;
    struct device *dev;
    struct transfers *transfers;
    bool has_client;
    unsigned loaded;
    uint8_t *stream; /* what a peer has got */
    size_t len;
};

static bool has_client(void *opaque)
{
    const struct world *w = opaque;

    return w->has_client;
}

static void on_loaded(void *opaque)
{
    struct world *w = opaque;

    w->loaded++;
}

static void world_init(struct world *w, uint64_t bar1, unsigned idle_ms)
{
    const struct transfers_host host = {
        .opaque = w, .has_client = has_client, .loaded = on_loaded, .idle_ms = idle_ms
    };

    *w = (struct world) { .stream = malloc(STREAM_MAX) };
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    fake_host_init(&w->host);
    description_default(&w->d);
    w->d.bar1.size = bar1;
    w->dev = fake_device(&w->host, &w->d);
    ck_assert_int_eq(transfers_new(&w->loop, w->dev, &host, &w->transfers), 0);
}

static void world_fini(struct world *w)
{
    transfers_free(w->transfers);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
    device_free(w->dev);
    fake_host_fini(&w->host);
    description_fini(&w->d);
    free(w->stream);
}

/* A connection; *ours is the daemon's end. */
static int connect_pair(int *ours)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    *ours = fds[0];
    return fds[1];
}

static int start_save(struct world *w)
{
    int ours;
    int peer = connect_pair(&ours);

    ck_assert_int_eq(transfers_save(w->transfers, ours), 0);
    return peer;
}

static int start_load(struct world *w)
{
    int ours;
    int peer = connect_pair(&ours);

    ck_assert_int_eq(transfers_load(w->transfers, ours), 0);
    return peer;
}

/* Reads what comes until the other end is closed, and closes ours. */
static void read_all(struct world *w, int peer)
{
    ssize_t n;

    w->len = 0;
    while ((n = recv(peer, w->stream + w->len, STREAM_MAX - w->len, MSG_DONTWAIT)) != 0) {
        ck_assert(n > 0 || errno == EAGAIN);
        w->len += n > 0 ? (size_t)n : 0;
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    close(peer);
}

/* Sends the stream, as far as it is taken, says that this was all, and reads the outcome. */
static const char *load(struct world *w, const uint8_t *data, size_t len)
{
    static char outcome[512];
    int peer = start_load(w);
    size_t sent = 0;
    ssize_t n;

    while (sent < len) {
        n = send(peer, data + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break;
        sent += n > 0 ? (size_t)n : 0;
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    shutdown(peer, SHUT_WR);
    memset(outcome, 0, sizeof(outcome));
    for (size_t at = 0; (n = recv(peer, outcome + at, sizeof(outcome) - at, 0)) != 0;) {
        ck_assert(n > 0 || errno == EAGAIN);
        at += n > 0 ? (size_t)n : 0;
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    close(peer);
    ck_assert_ptr_null(transfers_busy(w->transfers));
    return outcome;
}

START_TEST(out_and_in)
{
    struct world w;
    uint8_t *stream = malloc(STREAM_MAX);
    size_t len;

    world_init(&w, 1 << 20, 5000);
    fake_put(w.dev, BAR1, 0x12340, 8, 0x1122334455667788);
    read_all(&w, start_save(&w));
    ck_assert_uint_gt(w.len, 1 << 20);
    len = w.len;
    memcpy(stream, w.stream, len);
    fake_put(w.dev, BAR1, 0x12340, 8, 1);
    ck_assert_str_eq(load(&w, stream, len), "{\"parameters\":{}}");
    ck_assert_uint_eq(fake_get(w.dev, BAR1, 0x12340, 8), 0x1122334455667788);
    ck_assert_uint_eq(w.loaded, 1);
    ck_assert(device_running(w.dev));
    free(stream);
    world_fini(&w);
}
END_TEST

/* The state is that of the call, whatever the device does while it is sent. */
START_TEST(what_is_saved_is_the_moment)
{
    struct world w;
    struct world other;
    int peer;

    world_init(&w, 1 << 20, 5000);
    world_init(&other, 1 << 20, 5000);
    fake_put(w.dev, BAR1, 0xffff8, 8, 5);
    peer = start_save(&w);
    ck_assert(device_running(w.dev));
    fake_put(w.dev, BAR1, 0xffff8, 8, 6);
    fake_put(w.dev, 0, 0x800, 4, 6);
    read_all(&w, peer);
    ck_assert_str_eq(load(&other, w.stream, w.len), "{\"parameters\":{}}");
    ck_assert_uint_eq(fake_get(other.dev, BAR1, 0xffff8, 8), 5);
    ck_assert_uint_eq(fake_get(other.dev, 0, 0x800, 4), 0);
    world_fini(&w);
    world_fini(&other);
}
END_TEST

START_TEST(one_at_a_time)
{
    struct world w;
    int first;
    int ours;
    int peer;

    world_init(&w, 1 << 20, 5000);
    ck_assert_ptr_null(transfers_refuse_save(w.transfers));
    first = start_save(&w);
    ck_assert_str_eq(transfers_refuse_save(w.transfers), "the device is being saved");
    peer = connect_pair(&ours);
    ck_assert_int_eq(transfers_save(w.transfers, ours), -EBUSY);
    close(peer);
    peer = start_load(&w);
    ck_assert_str_eq(transfers_refuse_load(w.transfers), "a state is being loaded");
    close(peer);
    read_all(&w, first);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    ck_assert_ptr_null(transfers_busy(w.transfers));
    world_fini(&w);
}
END_TEST

/* A client that comes while the state does. */
START_TEST(a_client_in_the_way)
{
    struct world w;

    world_init(&w, 16384, 5000);
    read_all(&w, start_save(&w));
    w.has_client = true;
    ck_assert_ptr_nonnull(transfers_refuse_load(w.transfers));
    device_stop(w.dev);
    ck_assert_ptr_null(transfers_refuse_load(w.transfers));
    ck_assert_str_eq(load(&w, w.stream, w.len), "{\"parameters\":{}}");
    ck_assert(!device_running(w.dev)); /* as the client wants it */
    device_start(w.dev);
    w.has_client = false;
    {
        int peer = start_load(&w);

        w.has_client = true;
        ck_assert_int_eq(send(peer, w.stream, w.len, 0), (ssize_t)w.len);
        shutdown(peer, SHUT_WR);
        read_all(&w, peer);
    }
    ck_assert_msg(strstr((char *)w.stream, "io.vfiouserd.Device.Busy") != NULL, "%s", w.stream);
    ck_assert_uint_eq(w.loaded, 1);
    world_fini(&w);
}
END_TEST

START_TEST(what_is_no_state)
{
    static const char bad[] = "{\"error\":\"io.vfiouserd.Device.BadStream\",";
    static const char other[] = "{\"error\":\"io.vfiouserd.Device.Incompatible\","
                                "\"parameters\":{\"field\":\"bar1.size\",\"ours\":\"16384\","
                                "\"theirs\":\"32768\"}}";
    struct world w;
    struct world big;
    uint8_t garbage[4096];

    world_init(&w, 16384, 5000);
    world_init(&big, 32768, 5000);
    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (uint8_t)(i * 31);
    fake_put(w.dev, BAR1, 0, 8, 77);
    ck_assert_int_eq(strncmp(load(&w, garbage, sizeof(garbage)), bad, strlen(bad)), 0);
    ck_assert_int_eq(strncmp(load(&w, garbage, 0), bad, strlen(bad)), 0);
    read_all(&big, start_save(&big));
    ck_assert_str_eq(load(&w, big.stream, big.len), other);
    read_all(&w, start_save(&w));
    ck_assert_int_eq(strncmp(load(&w, w.stream, w.len - 1), bad, strlen(bad)), 0);
    ck_assert_uint_eq(fake_get(w.dev, BAR1, 0, 8), 77);
    ck_assert_uint_eq(w.loaded, 0);
    world_fini(&w);
    world_fini(&big);
}
END_TEST

/* Waits until nothing is under way, at most two seconds. */
static void expect_end(struct world *w)
{
    for (int i = 0; i < 2000 && transfers_busy(w->transfers) != NULL; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        poll(NULL, 0, 1);
    }
    ck_assert_ptr_null(transfers_busy(w->transfers));
}

START_TEST(those_that_do_nothing_are_given_up)
{
    struct world w;
    int save;
    int load;

    world_init(&w, 4 << 20, 50);
    memset(device_bar1(w.dev), 1, 4 << 20);
    save = start_save(&w); /* more than the socket takes, and nobody reads */
    load = start_load(&w);
    expect_end(&w);
    close(save);
    close(load);
    world_fini(&w);
}
END_TEST

START_TEST(those_that_go_are_let_go)
{
    struct world w;
    int peer;

    world_init(&w, 4 << 20, 60000);
    memset(device_bar1(w.dev), 1, 4 << 20);
    peer = start_save(&w);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    close(peer);
    expect_end(&w);
    peer = start_load(&w);
    close(peer);
    expect_end(&w);
    ck_assert_uint_eq(w.loaded, 0);
    ck_assert_ptr_null(transfers_refuse_save(w.transfers));
    ck_assert_ptr_null(transfers_refuse_load(w.transfers));
    world_fini(&w);
}
END_TEST

START_TEST(the_end_of_the_daemon_ends_them)
{
    struct world w;
    unsigned fds;
    int save;
    int load;

    world_init(&w, 16384, 60000); /* what libuv opens for good is open then */
    world_fini(&w);
    fds = fake_open_fds();
    world_init(&w, 4 << 20, 60000);
    memset(device_bar1(w.dev), 1, 4 << 20);
    save = start_save(&w);
    load = start_load(&w);
    world_fini(&w);
    ck_assert_int_eq(send(load, "x", 1, MSG_NOSIGNAL), -1);
    close(save);
    close(load);
    ck_assert_uint_eq(fake_open_fds(), fds);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        out_and_in,
        what_is_saved_is_the_moment,
        one_at_a_time,
        a_client_in_the_way,
        what_is_no_state,
        those_that_do_nothing_are_given_up,
        those_that_go_are_let_go,
        the_end_of_the_daemon_ends_them,
    };

    return fake_run("transfers", tests, ARRAY_SIZE(tests), NULL, 0);
}
