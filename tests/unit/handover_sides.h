/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The source and the destination of a handover, for tests: each on a loop by itself; the other end
 * of its connection is played by the test. And a keeper that writes down what it is told.
 */
#ifndef VFIO_USERD_TEST_HANDOVER_SIDES_H
#define VFIO_USERD_TEST_HANDOVER_SIDES_H

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
    char text[128];     /* that of the last message */
    struct token token; /* when it has come, or was sent */
};

/* What a keeper was told, a letter each: ( ) begin and end, T token_kept, R received; O and o, it
 * is over, ours or not. And what it answers. */
struct kept {
    char calls[64];
    int error;
    ino_t token;                  /* the file that it was given */
    struct device_state received; /* what the device was when that was to be kept */
    uint32_t maps;
    struct device *dev;
    bool ran;               /* the device did, at the last call */
    enum token_owner owner; /* at the last call, as peer's token has it */
    struct peer *peer;
};

static inline ino_t file_number(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_ino;
}

static inline void kept_note(struct kept *k, char call)
{
    size_t len = strlen(k->calls);

    ck_assert_uint_lt(len + 1, sizeof(k->calls));
    k->calls[len] = call;
    k->ran = device_running(k->dev);
    k->owner = token_fd(&k->peer->token) >= 0 ? token_owner(&k->peer->token) : TOKEN_NOBODY;
}

static inline void kept_begin(void *opaque)
{
    kept_note(opaque, '(');
}

static inline void kept_end(void *opaque)
{
    kept_note(opaque, ')');
}

static inline int kept_token(void *opaque, int fd)
{
    struct kept *k = opaque;

    kept_note(k, 'T');
    k->token = file_number(fd);
    return k->error;
}

static inline int kept_received(void *opaque, int fd)
{
    struct kept *k = opaque;
    struct dma_info info;

    kept_note(k, 'R');
    k->received = *device_state(k->dev);
    dma_get_info(device_dma(k->dev), &info);
    k->maps = info.maps;
    k->token = file_number(fd);
    return k->error;
}

static inline void kept_over(void *opaque, bool ours)
{
    kept_note(opaque, ours ? 'O' : 'o');
}

static inline struct token_keeper kept_keeper(struct kept *k)
{
    return (struct token_keeper) { .opaque = k,
                                   .begin = kept_begin,
                                   .end = kept_end,
                                   .token_kept = kept_token,
                                   .received = kept_received,
                                   .token_over = kept_over };
}

/* The token, if it is among the fds of m. */
static inline void take_token(struct peer *p, struct stream_message *m)
{
    const struct handover_fd *what = (const void *)m->payload;
    unsigned next = 0;

    if (m->hdr.command != HANDOVER_FDS)
        return;
    for (size_t i = 0; i < (m->hdr.size - VFIO_USER_HEADER_SIZE) / sizeof(*what); i++) {
        if (what[i].role == HANDOVER_FD_TOKEN) {
            int fd = stream_message_take_fd(m, next);

            ck_assert_int_eq(token_adopt(&fd, &p->token), 0);
        }
        next += what[i].lost == 0;
    }
}

/* The next command; never waits. */
static inline uint32_t hear(struct peer *p)
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
    take_token(p, &m);
    stream_message_fini(p->stream, &m);
    return m.hdr.command;
}

static inline uint32_t hear_next(uv_loop_t *loop, struct peer *p)
{
    uint32_t command = NOTHING;

    for (int i = 0; i < TURNS && command == NOTHING; i++) {
        uv_run(loop, UV_RUN_NOWAIT);
        command = hear(p);
    }
    ck_assert_uint_ne(command, NOTHING);
    return command;
}

static inline int say(struct peer *p, enum handover_command command)
{
    ck_assert_int_eq(handover_send(p->stream, command, "why", 3, NULL, 0), 0);
    return stream_flush(p->stream);
}

static inline void close_loop(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT); /* the close callbacks */
    ck_assert_int_eq(uv_loop_close(loop), 0);
}

static inline void wait_until(uv_loop_t *loop, const bool *done)
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
    char phase[16];
    char reason[128];
    unsigned thawed;
    bool unsure;
    uint32_t heard_at_thaw; /* by the destination, when the client goes on */
    enum token_owner owner_at_thaw;
    struct kept kept;
    struct token_keeper keeper;
};

static inline const char *no_obstacle(void *opaque)
{
    (void)opaque;
    return NULL;
}

static inline bool has_client(void *opaque)
{
    (void)opaque;
    return true;
}

static inline bool is_quiet(void *opaque)
{
    const struct source *s = opaque;

    return !s->busy;
}

static inline int freeze(void *opaque, struct parcel_client *out)
{
    const struct source *s = opaque;

    *out = s->client;
    return 0;
}

static inline void thaw(void *opaque)
{
    struct source *s = opaque;
    uint32_t command;

    s->thawed++;
    while ((command = hear(&s->peer)) != NOTHING && command != HUNG_UP)
        s->heard_at_thaw = command;
    if (token_fd(&s->peer.token) >= 0)
        s->owner_at_thaw = token_owner(&s->peer.token);
}

static inline void on_phase(void *opaque, const char *phase, uint64_t bytes, uint64_t remaining)
{
    (void)opaque;
    (void)phase;
    (void)bytes;
    (void)remaining;
}

static inline void on_unsure(void *opaque, const struct handover_end *end)
{
    struct source *s = opaque;

    s->unsure = true;
    snprintf(s->reason, sizeof(s->reason), "%s", end->reason);
}

static inline void on_end(void *opaque, const struct handover_end *end)
{
    struct source *s = opaque;

    ck_assert(!s->ended);
    s->ended = true;
    s->outcome = end->outcome;
    snprintf(s->phase, sizeof(s->phase), "%s", end->phase);
    snprintf(s->reason, sizeof(s->reason), "%s", end->reason != NULL ? end->reason : "");
}

/* unread: bytes that the client has sent. timeout_ms: until the source gives up. */
static inline void source_init(struct source *s, size_t unread, int timeout_ms, int fds[2])
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
    s->kept.dev = s->k.dev;
    s->kept.peer = &s->peer;
    s->keeper = kept_keeper(&s->kept);
    host.keeper = &s->keeper;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    ck_assert_int_eq(handover_new(&s->loop, fds[0], &host, timeout_ms, &s->h), 0);
}

static inline void source_fini(struct source *s)
{
    stream_free(s->peer.stream);
    token_fini(&s->peer.token);
    close_loop(&s->loop);
    close(s->client.sockets.socket);
    free((void *)(uintptr_t)s->client.sockets.rest.bytes);
    kit_fini(&s->k);
}

/* The destination accepts; behind its reply comes READY, when it is too eager. */
static inline void accept_offer(struct source *s, int fd, bool eager)
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

static inline void hear_all(struct source *s)
{
    uint32_t command;

    do {
        command = hear_next(&s->loop, &s->peer);
        ck_assert_uint_ne(command, HUNG_UP);
    } while (command != HANDOVER_END);
}

/* The device runs here, and its client is served. */
static inline void expect_kept(const struct source *s, unsigned thawed)
{
    ck_assert(s->ended);
    ck_assert_int_eq(s->outcome, HANDOVER_KEPT);
    ck_assert(device_running(s->k.dev));
    ck_assert_uint_eq(s->thawed, thawed);
}

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
    struct kept kept;
    struct token_keeper keeper;
};

static inline int adopt(void *opaque, const struct session_snapshot *snapshot,
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

static inline void abandon(void *opaque)
{
    struct destination *d = opaque;

    d->abandoned++;
}

static inline void run(void *opaque)
{
    struct destination *d = opaque;

    d->run++;
}

static inline void on_receive_phase(void *opaque, const char *phase)
{
    struct destination *d = opaque;

    d->awaits = strcmp(phase, "await") == 0;
}

static inline void on_receive_end(void *opaque, const struct receive_end *end)
{
    struct destination *d = opaque;

    ck_assert(!d->ended);
    d->ended = true;
    d->received = end->received;
    snprintf(d->reason, sizeof(d->reason), "%s", end->reason != NULL ? end->reason : "");
}

static inline void destination_init(struct destination *d, int timeout_ms)
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
    d->kept.dev = d->ours.dev;
    d->kept.peer = &d->peer;
    d->keeper = kept_keeper(&d->kept);
    host.keeper = &d->keeper;
    ck_assert_int_eq(token_new(&d->peer.token), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(receive_new(&d->loop, fds[0], &host, timeout_ms, &d->r), 0);
    ck_assert_int_eq(stream_new(fds[1], HANDOVER_MAX_MESSAGE, &d->peer.stream), 0);
}

static inline void destination_fini(struct destination *d)
{
    stream_free(d->peer.stream);
    token_fini(&d->peer.token);
    close_loop(&d->loop);
    kit_fini(&d->ours);
    kit_fini(&d->theirs);
}

/* Sends their device, with a client. */
static inline void send_parcel(struct destination *d)
{
    struct parcel_client client = { .sockets = { .socket = fake_eventfd() } };
    struct parcel *parcel;
    int file = fake_memfd(8192, 1);

    version_defaults(&client.snapshot.info.caps);
    client.snapshot.limits = (struct device_limits) { 1000, 8, 1 << 20, 5000 };
    ck_assert_int_eq(dma_map(device_dma(d->theirs.dev), 0, 8192, 3, &file, 0), 0);
    device_stop(d->theirs.dev);
    ck_assert_int_eq(
        parcel_new(d->theirs.dev, &client, token_fd(&d->peer.token), handover_now(), &parcel), 0);
    ck_assert_int_eq(parcel_queue(parcel, d->peer.stream), 0);
    ck_assert_int_eq(stream_flush(d->peer.stream), 0);
    parcel_free(parcel);
    close(client.sockets.socket);
}

/* The same, up to READY. */
static inline void send_device(struct destination *d)
{
    send_parcel(d);
    ck_assert_uint_eq(hear_next(&d->loop, &d->peer), HANDOVER_READY);
    ck_assert_int_eq(d->peer.text[0], 1); /* it is kept */
    wait_until(&d->loop, &d->awaits);
}

static inline ino_t file_of(const struct device *dev)
{
    return file_number(device_bar1_fd(dev));
}

#endif
