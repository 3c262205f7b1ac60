/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/migrate/handover.c and receive.c: what keeps a device from having two owners, or none.
 * Each is on a loop by itself here; the other end of its connection is played by the test.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "message.h"
#include "migrate/handover.h"
#include "migrate/handover_wire.h"
#include "migrate/receive.h"
#include "unit/fakes.h"
#include "unit/migrate_kit.h"

#define TURNS   2000
#define NOTHING UINT32_MAX /* it goes on, and has said nothing */
#define HUNG_UP 0u

#define PATIENT_MS 60000
#define SHORT_MS   300

/* The peer: what it hears, message by message. */
struct peer {
    struct stream *stream;
    char text[128]; /* that of the last message */
};

/* The next command; never waits. */
static uint32_t hear(struct peer *p)
{
    struct stream_message m;
    size_t len;
    int n;

    while ((n = stream_next(p->stream, &m)) == 0) {
        n = stream_fill(p->stream);
        if (n <= 0)
            return n == 0 ? NOTHING : HUNG_UP;
    }
    ck_assert_int_eq(n, 1);
    len = m.hdr.size - VFIO_USER_HEADER_SIZE;
    snprintf(p->text, sizeof(p->text), "%.*s", len < 100 ? (int)len : 100, (const char *)m.payload);
    stream_message_fini(p->stream, &m);
    return m.hdr.command;
}

static uint32_t hear_next(uv_loop_t *loop, struct peer *p)
{
    uint32_t command = NOTHING;

    for (int i = 0; i < TURNS && command == NOTHING; i++) {
        uv_run(loop, UV_RUN_NOWAIT);
        command = hear(p);
    }
    ck_assert_uint_ne(command, NOTHING);
    return command;
}

static int say(struct peer *p, enum handover_command command)
{
    ck_assert_int_eq(handover_send(p->stream, command, "why", 3, NULL, 0), 0);
    return stream_flush(p->stream);
}

static void close_loop(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT); /* the close callbacks */
    ck_assert_int_eq(uv_loop_close(loop), 0);
}

static void wait_until(uv_loop_t *loop, const bool *done)
{
    for (int i = 0; i < TURNS && !*done; i++) {
        uv_run(loop, UV_RUN_NOWAIT);
        poll(NULL, 0, *done ? 0 : i / 10 > 0);
    }
    ck_assert(*done);
}

/*
 * The source
 */

struct source {
    uv_loop_t loop;
    struct kit_device k;
    struct parcel_client client;
    bool busy; /* the client is not quiet */
    struct handover *h;
    struct peer peer;
    bool ended;
    enum handover_outcome outcome;
    char reason[128];
    unsigned thawed;
    uint32_t heard_at_thaw; /* by the destination, when the client goes on */
    int ready_at_thaw;      /* what comes of its READY then */
};

static const char *no_obstacle(void *opaque)
{
    (void)opaque;
    return NULL;
}

static bool has_client(void *opaque)
{
    (void)opaque;
    return true;
}

static bool is_quiet(void *opaque)
{
    const struct source *s = opaque;

    return !s->busy;
}

static int freeze(void *opaque, struct parcel_client *out)
{
    const struct source *s = opaque;

    *out = s->client;
    return 0;
}

static void thaw(void *opaque)
{
    struct source *s = opaque;
    uint32_t command;

    s->thawed++;
    while ((command = hear(&s->peer)) != NOTHING && command != HUNG_UP)
        s->heard_at_thaw = command;
    s->ready_at_thaw = say(&s->peer, HANDOVER_READY);
}

static void on_phase(void *opaque, const char *phase, uint64_t bytes, uint64_t remaining)
{
    (void)opaque;
    (void)phase;
    (void)bytes;
    (void)remaining;
}

static void on_unsure(void *opaque, const struct handover_end *end)
{
    (void)opaque;
    ck_abort_msg("unsure: %s", end->reason);
}

static void on_end(void *opaque, const struct handover_end *end)
{
    struct source *s = opaque;

    ck_assert(!s->ended);
    s->ended = true;
    s->outcome = end->outcome;
    snprintf(s->reason, sizeof(s->reason), "%s", end->reason != NULL ? end->reason : "");
}

/* unread: bytes that the client has sent. timeout_ms: until the source gives up. */
static void source_init(struct source *s, size_t unread, int timeout_ms, int fds[2])
{
    struct handover_host host = { .opaque = s,
                                  .name = "a",
                                  .obstacle = no_obstacle,
                                  .has_client = has_client,
                                  .is_quiet = is_quiet,
                                  .freeze = freeze,
                                  .thaw = thaw,
                                  .phase = on_phase,
                                  .unsure = on_unsure,
                                  .ended = on_end };
    uint8_t *bytes = calloc(1, unread + 1);

    memset(s, 0, sizeof(*s));
    log_set_level(LOG_LEVEL_ERR);
    ck_assert_int_eq(uv_loop_init(&s->loop), 0);
    kit_init(&s->k, 0);
    version_defaults(&s->client.snapshot.info.caps);
    s->client.sockets.rest.bytes = bytes;
    s->client.sockets.rest.len = unread;
    s->client.sockets.socket = fake_eventfd();
    host.dev = s->k.dev;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    ck_assert_int_eq(handover_new(&s->loop, fds[0], &host, timeout_ms, &s->h), 0);
}

static void source_fini(struct source *s)
{
    stream_free(s->peer.stream);
    close_loop(&s->loop);
    close(s->client.sockets.socket);
    free((void *)(uintptr_t)s->client.sockets.rest.bytes);
    kit_fini(&s->k);
}

/* The destination accepts; behind its reply comes READY, when it is too eager. */
static void accept_offer(struct source *s, int fd, bool eager)
{
    static const char reply[] = "{\"parameters\": {}}";
    char call[4096];
    ssize_t n = -1;

    for (int i = 0; i < TURNS && n < 0; i++) {
        uv_run(&s->loop, UV_RUN_NOWAIT);
        n = recv(fd, call, sizeof(call), 0);
    }
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(call[n - 1], '\0');
    ck_assert_int_eq(send(fd, reply, sizeof(reply), 0), sizeof(reply));
    ck_assert_int_eq(stream_new(fd, HANDOVER_MAX_MESSAGE, &s->peer.stream), 0);
    if (eager)
        ck_assert_int_eq(say(&s->peer, HANDOVER_READY), 0);
    for (int i = 0; i < 10; i++)
        uv_run(&s->loop, UV_RUN_NOWAIT);
}

static void hear_all(struct source *s)
{
    uint32_t command;

    do {
        command = hear_next(&s->loop, &s->peer);
        ck_assert_uint_ne(command, HUNG_UP);
    } while (command != HANDOVER_END);
}

/* The device runs here, and its client is served. */
static void expect_kept(const struct source *s, unsigned thawed)
{
    ck_assert(s->ended);
    ck_assert_int_eq(s->outcome, HANDOVER_KEPT);
    ck_assert(device_running(s->k.dev));
    ck_assert_uint_eq(s->thawed, thawed);
}

/*
 * What comes of a device that is ready elsewhere depends on ABORT: without it, our end is a death,
 * and the other one takes the device.
 */
static void expect_abort(struct source *s, const char *text)
{
    uint32_t command;

    do {
        command = hear_next(&s->loop, &s->peer);
    } while (command < HANDOVER_ABORT && command != HUNG_UP && command != HANDOVER_COMMIT);
    ck_assert_msg(command == HANDOVER_ABORT, "%s, not ABORT", handover_command_name(command));
    ck_assert_msg(strstr(s->peer.text, text) != NULL, "%s", s->peer.text);
    ck_assert_uint_eq(hear_next(&s->loop, &s->peer), HUNG_UP);
}

START_TEST(abort_while_the_client_is_not_quiet)
{
    struct source s;
    int fds[2];

    source_init(&s, 100, PATIENT_MS, fds);
    s.busy = true;
    accept_offer(&s, fds[1], false);
    handover_cancel(s.h, "because");
    expect_kept(&s, 0);
    expect_abort(&s, "because");
    source_fini(&s);
}
END_TEST

enum way { CANCELLED, TOO_LATE, REFUSED, N_WAYS };

static const char *const texts[] = { "because", "has not answered within", "the destination: why" };

/* All has been sent, so that the other one may become ready at any time. */
START_TEST(abort_when_all_is_sent)
{
    struct source s;
    int fds[2];

    source_init(&s, 100, _i == TOO_LATE ? SHORT_MS : PATIENT_MS, fds);
    accept_offer(&s, fds[1], false);
    hear_all(&s);
    ck_assert(!device_running(s.k.dev));
    if (_i == CANCELLED)
        handover_cancel(s.h, texts[_i]);
    else if (_i == REFUSED)
        ck_assert_int_eq(say(&s.peer, HANDOVER_FAILED), 0);
    wait_until(&s.loop, &s.ended);
    expect_kept(&s, 1);
    ck_assert(strstr(s.reason, texts[_i]) != NULL);
    /* The other one was told before the client went on, and could not become ready any more. */
    ck_assert_uint_eq(s.heard_at_thaw, HANDOVER_ABORT);
    ck_assert(strstr(s.peer.text, texts[_i]) != NULL);
    ck_assert_int_eq(s.ready_at_thaw, -EPIPE);
    ck_assert_uint_eq(hear_next(&s.loop, &s.peer), HUNG_UP);
    source_fini(&s);
}
END_TEST

/* READY before the other one can have all of it. */
static const struct {
    bool busy;     /* nothing is sent yet */
    size_t unread; /* bytes to be sent */
    int buffer;    /* the socket's; 0: the default */
} early[] = {
    { true, 100, 0 },
    { false, 8u << 20, 0 },      /* more than is queued at once */
    { false, 200u << 10, 4096 }, /* all is queued, and not all is sent */
};

START_TEST(ready_too_early)
{
    struct source s;
    uint32_t command;
    int fds[2];

    source_init(&s, early[_i].unread, PATIENT_MS, fds);
    s.busy = early[_i].busy;
    if (early[_i].buffer > 0)
        ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &early[_i].buffer, sizeof(int)),
                         0);
    accept_offer(&s, fds[1], _i == 0);
    if (_i > 0) {
        ck_assert(!device_running(s.k.dev) && !s.ended);
        ck_assert_int_eq(say(&s.peer, HANDOVER_READY), 0);
    }
    wait_until(&s.loop, &s.ended);
    expect_kept(&s, s.busy ? 0 : 1);
    ck_assert_str_eq(s.reason, "the destination said READY");
    ck_assert(s.heard_at_thaw < HANDOVER_END); /* 0 in row 0 */
    while ((command = hear_next(&s.loop, &s.peer)) != HUNG_UP)
        ck_assert(command != HANDOVER_COMMIT && command != HANDOVER_END);
    source_fini(&s);
}
END_TEST

START_TEST(ready_in_time)
{
    struct source s;
    int fds[2];

    source_init(&s, 200u << 10, PATIENT_MS, fds);
    accept_offer(&s, fds[1], false);
    hear_all(&s);
    ck_assert_int_eq(say(&s.peer, HANDOVER_READY), 0);
    ck_assert_uint_eq(hear_next(&s.loop, &s.peer), HANDOVER_COMMIT);
    ck_assert(!s.ended && !device_running(s.k.dev));
    ck_assert_int_eq(say(&s.peer, HANDOVER_RUNNING), 0);
    wait_until(&s.loop, &s.ended);
    ck_assert_int_eq(s.outcome, HANDOVER_MOVED);
    ck_assert(!device_running(s.k.dev) && s.thawed == 0);
    source_fini(&s);
}
END_TEST

/*
 * The destination
 */

struct destination {
    uv_loop_t loop;
    struct kit_device ours;
    struct kit_device theirs;
    struct device_limits limits;
    struct receive *r;
    struct peer peer;
    bool awaits; /* COMMIT */
    bool ended;
    bool received;
    char reason[128];
    unsigned adopted;
    unsigned abandoned;
    unsigned run;
};

static int adopt(void *opaque, const struct session_snapshot *snapshot,
                 struct session_sockets *sockets)
{
    struct destination *d = opaque;

    ck_assert_uint_eq(sockets->rest.nfds, 0);
    close(sockets->socket);
    sockets->socket = -1;
    d->limits = snapshot->limits;
    device_take_client(d->ours.dev, &d->limits);
    d->adopted++;
    return 0;
}

static void abandon(void *opaque)
{
    struct destination *d = opaque;

    d->abandoned++;
}

static void run(void *opaque)
{
    struct destination *d = opaque;

    d->run++;
}

static void on_receive_phase(void *opaque, const char *phase)
{
    struct destination *d = opaque;

    d->awaits = strcmp(phase, "await") == 0;
}

static void on_receive_end(void *opaque, const struct receive_end *end)
{
    struct destination *d = opaque;

    ck_assert(!d->ended);
    d->ended = true;
    d->received = end->received;
    snprintf(d->reason, sizeof(d->reason), "%s", end->reason != NULL ? end->reason : "");
}

static void destination_init(struct destination *d, int timeout_ms)
{
    struct receive_host host = { .opaque = d,
                                 .adopt = adopt,
                                 .abandon = abandon,
                                 .run = run,
                                 .phase = on_receive_phase,
                                 .ended = on_receive_end };
    int fds[2];

    memset(d, 0, sizeof(*d));
    log_set_level(LOG_LEVEL_ERR);
    ck_assert_int_eq(uv_loop_init(&d->loop), 0);
    kit_init(&d->ours, 0);
    kit_use(&d->ours);
    kit_init(&d->theirs, 0);
    kit_fill(&d->theirs, 100);
    host.dev = d->ours.dev;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(receive_new(&d->loop, fds[0], &host, timeout_ms, &d->r), 0);
    ck_assert_int_eq(stream_new(fds[1], HANDOVER_MAX_MESSAGE, &d->peer.stream), 0);
}

static void destination_fini(struct destination *d)
{
    stream_free(d->peer.stream);
    close_loop(&d->loop);
    kit_fini(&d->ours);
    kit_fini(&d->theirs);
}

/* Sends their device, with a client, up to READY. */
static void send_device(struct destination *d)
{
    struct parcel_client client = { .sockets = { .socket = fake_eventfd() } };
    struct parcel *parcel;
    int file = fake_memfd(8192, 1);

    version_defaults(&client.snapshot.info.caps);
    client.snapshot.limits = (struct device_limits) { 1000, 8, 1 << 20, 5000 };
    ck_assert_int_eq(dma_map(device_dma(d->theirs.dev), 0, 8192, 3, &file, 0), 0);
    device_stop(d->theirs.dev);
    ck_assert_int_eq(parcel_new(d->theirs.dev, &client, handover_now(), &parcel), 0);
    ck_assert_int_eq(parcel_queue(parcel, d->peer.stream), 0);
    ck_assert_int_eq(stream_flush(d->peer.stream), 0);
    ck_assert_uint_eq(hear_next(&d->loop, &d->peer), HANDOVER_READY);
    wait_until(&d->loop, &d->awaits);
    parcel_free(parcel);
    close(client.sockets.socket);
}

static ino_t file_of(const struct device *dev)
{
    struct stat st;

    ck_assert_int_eq(fstat(device_bar1_fd(dev), &st), 0);
    return st.st_ino;
}

enum end { ABORTED, OUT_OF_PLACE, STOPPED, NO_COMMIT, N_ENDS };

/* Nothing comes of it behind READY, when all but the registers is theirs already. */
START_TEST(all_is_put_back_behind_ready)
{
    struct destination d;
    struct device_state state;
    struct dma_info info;
    uint8_t *bytes;
    ino_t file;

    destination_init(&d, _i == NO_COMMIT ? SHORT_MS : PATIENT_MS);
    state = kit_visible(&d.ours);
    bytes = malloc(d.ours.d.bar1.size);
    memcpy(bytes, device_bar1(d.ours.dev), d.ours.d.bar1.size);
    file = file_of(d.ours.dev);
    send_device(&d);
    ck_assert_uint_eq(d.adopted, 1);
    ck_assert(file_of(d.ours.dev) == file_of(d.theirs.dev));
    if (_i == ABORTED)
        ck_assert_int_eq(say(&d.peer, HANDOVER_ABORT), 0);
    else if (_i == OUT_OF_PLACE)
        ck_assert_int_eq(say(&d.peer, HANDOVER_END), 0);
    else if (_i == STOPPED)
        receive_cancel(d.r, "because");
    wait_until(&d.loop, &d.ended);
    ck_assert(!d.received && d.abandoned == 1 && d.run == 0);
    ck_assert(device_running(d.ours.dev));
    ck_assert(file_of(d.ours.dev) == file);
    ck_assert_mem_eq(device_bar1(d.ours.dev), bytes, d.ours.d.bar1.size);
    ck_assert_uint_eq(fake_get(d.ours.dev, VFIO_PCI_BAR1_REGION_INDEX, 0, 1), bytes[0]);
    ck_assert_uint_ne(device_bar1(d.theirs.dev)[0], bytes[0]);
    {
        const struct device_state now = kit_visible(&d.ours);

        ck_assert_mem_eq(&now, &state, sizeof(now));
    }
    dma_get_info(device_dma(d.ours.dev), &info);
    ck_assert_uint_eq(info.maps, 0);
    free(bytes);
    destination_fini(&d);
}
END_TEST

/* With COMMIT, or when the source ends without ABORT, it is theirs that runs. */
START_TEST(theirs_runs_here)
{
    struct destination d;

    destination_init(&d, PATIENT_MS);
    send_device(&d);
    if (_i == 0)
        ck_assert_int_eq(say(&d.peer, HANDOVER_COMMIT), 0);
    else
        shutdown(stream_fd(d.peer.stream), SHUT_RDWR);
    wait_until(&d.loop, &d.ended);
    ck_assert(d.received && d.run == 1 && d.abandoned == 0);
    ck_assert(device_running(d.ours.dev));
    kit_expect_same(&d.ours, &d.theirs);
    ck_assert(file_of(d.ours.dev) == file_of(d.theirs.dev));
    destination_fini(&d);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { abort_while_the_client_is_not_quiet, ready_in_time };
    const struct fake_loop_test loops[] = {
        { abort_when_all_is_sent, N_WAYS },
        { ready_too_early, ARRAY_SIZE(early) },
        { all_is_put_back_behind_ready, N_ENDS },
        { theirs_runs_here, 2 },
    };

    return fake_run("handover_rules", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
