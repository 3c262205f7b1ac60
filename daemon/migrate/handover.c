/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "handover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handover_wire.h"
#include "offer.h"
#include "stream.h"
#include "varlink.h"
#include "watch.h"

#define TAKEN "the destination has ended after it took the device"
#define ENDED "the destination has ended, or has closed the connection"

/* At most so much can be behind the reply to Receive: a FAILED. */
#define BEHIND_REPLY 512

/* How much longer than we the other one waits. */
#define MARGIN_MS 500

enum phase { PHASE_OFFER, PHASE_FREEZE, PHASE_STATE, PHASE_READY, PHASE_COMMIT, PHASE_RUNNING };

static const char *const phase_names[] = {
    [PHASE_OFFER] = "offer", [PHASE_FREEZE] = "freeze", [PHASE_STATE] = "state",
    [PHASE_READY] = "ready", [PHASE_COMMIT] = "commit", [PHASE_RUNNING] = "running",
};

struct handover {
    uv_loop_t *loop;
    struct handover_host host;
    int timeout_ms;
    uv_timer_t deadline;
    uv_prepare_t turn; /* while the client is to become quiet: looked at before the loop waits */
    unsigned closing;
    struct varlink *varlink; /* in PHASE_OFFER */
    struct stream *stream;   /* later */
    struct watch *watch;
    struct parcel *parcel;
    struct parcel_client client;
    struct token token; /* from PHASE_FREEZE on */
    bool token_kept;
    bool outlives; /* what the other one has received, that one */
    enum phase phase;
    bool frozen;
    bool over; /* ended has been told */
    int64_t frozen_at;
    struct content_difference difference;
    char reason[HANDOVER_REASON_BYTES];
};

/*
 * What is kept
 */

static int make_token(struct handover *h)
{
    const struct token_keeper *keeper = h->host.keeper;
    int err = token_new(&h->token);

    if (err != 0 || keeper == NULL)
        return err;
    err = keeper->token_kept(keeper->opaque, token_fd(&h->token));
    h->token_kept = err == 0;
    return err;
}

static void drop_token(struct handover *h, bool ours)
{
    if (h->token_kept)
        h->host.keeper->token_over(h->host.keeper->opaque, ours);
    token_fini(&h->token);
}

/* Whether the device is who's now. Without a token it is ours. */
static bool claim(struct handover *h, enum token_owner who)
{
    return token_fd(&h->token) >= 0 ? token_claim(&h->token, who) : who == TOKEN_SOURCE;
}

/*
 * The end
 */

static void on_closed(uv_handle_t *handle)
{
    struct handover *h = handle->data;

    if (--h->closing == 0)
        free(h);
}

/* Tells, and frees all but the memory that the handles are in. */
static void finish(struct handover *h, struct handover_end *end)
{
    if (h->parcel != NULL) {
        end->bytes = parcel_bytes(h->parcel);
        end->fds = parcel_fds(h->parcel);
    }
    end->phase = phase_names[h->phase];
    h->over = true;
    h->closing = 2;
    watch_free(h->watch);
    varlink_free(h->varlink);
    stream_free(h->stream);
    parcel_free(h->parcel);
    h->host.ended(h->host.opaque, end);
    drop_token(h, end->outcome == HANDOVER_KEPT);
    uv_close((uv_handle_t *)&h->deadline, on_closed);
    uv_close((uv_handle_t *)&h->turn, on_closed);
}

/* The device goes on here: it is claimed, or the other one has never had a token. */
static void keep_as(struct handover *h, const char *error, const char *reason)
{
    struct handover_end end = {
        .outcome = HANDOVER_KEPT, .error = error, .reason = reason, .difference = &h->difference
    };

    if (h->frozen) {
        token_begin_change(h->host.keeper);
        device_start(h->host.dev);
        if (h->host.has_client(h->host.opaque))
            h->host.thaw(h->host.opaque);
        token_end_change(h->host.keeper);
    } else if (h->phase >= PHASE_FREEZE) {
        token_begin_change(h->host.keeper);
        device_resume_dma(h->host.dev);
        token_end_change(h->host.keeper);
    }
    finish(h, &end);
}

static void keep(struct handover *h, const char *reason)
{
    keep_as(h, "MigrationFailed", reason);
}

/* It is the other's, which is no more: nobody serves the client. */
static void lose(struct handover *h, const char *reason)
{
    struct handover_end end = { .outcome = HANDOVER_LOST,
                                .error = "MigrationFailed",
                                .reason = reason };

    if (h->phase < PHASE_COMMIT)
        h->phase = PHASE_COMMIT; /* it did not wait for that */
    finish(h, &end);
}

static bool is_gone(int err)
{
    return err == -EPIPE || err == -ECONNRESET || err == -ENOTCONN;
}

/* Takes the device back, unless the other one has claimed it. */
static void give_up(struct handover *h, const char *reason)
{
    if (!claim(h, TOKEN_SOURCE)) {
        lose(h, h->outlives ? TAKEN "; it goes on with it when it is started again" : TAKEN);
        return;
    }
    if (h->phase == PHASE_COMMIT)
        h->phase = PHASE_READY; /* nothing came of it: who is told COMMIT has lost the device */
    /* Where this does not arrive, our end says as much. */
    if (h->stream != NULL &&
        handover_send(h->stream, HANDOVER_ABORT, reason, strlen(reason), NULL, 0) == 0)
        stream_flush(h->stream);
    keep(h, reason);
}

static void read_messages(struct handover *h);

void handover_cancel(struct handover *h, const char *reason)
{
    if (h->phase < PHASE_COMMIT) {
        give_up(h, reason);
        return;
    }
    read_messages(h); /* what it has said, or its end, comes first */
    if (h->over)
        return;
    claim(h, TOKEN_DESTINATION);
    lose(h, reason);
}

static void on_deadline(uv_timer_t *timer)
{
    struct handover *h = timer->data;
    struct handover_end end = { .error = "MigrationFailed" };

    if (h->phase == PHASE_COMMIT)
        read_messages(h); /* as above */
    if (h->over)
        return;
    if (claim(h, TOKEN_SOURCE)) {
        snprintf(h->reason, sizeof(h->reason),
                 h->phase == PHASE_FREEZE ? "the client has not answered within %d ms"
                                          : "the destination has not answered within %d ms",
                 h->timeout_ms);
        give_up(h, h->reason);
    } else {
        end.phase = phase_names[PHASE_COMMIT];
        end.reason = "the destination does not answer: it has the device";
        h->host.unsure(h->host.opaque, &end);
    }
}

static void begin_phase(struct handover *h, enum phase phase)
{
    uint64_t queued = h->parcel != NULL ? parcel_queued(h->parcel) : 0;

    h->phase = phase;
    h->host.phase(h->host.opaque, phase_names[phase], queued,
                  h->parcel != NULL ? parcel_bytes(h->parcel) - queued : 0);
}

/*
 * From READY on
 */

static void moved(struct handover *h, int64_t told)
{
    struct handover_end end = { .outcome = HANDOVER_MOVED };
    int64_t seen = handover_now() - h->frozen_at;

    claim(h, TOKEN_DESTINATION); /* it has done so */
    begin_phase(h, PHASE_RUNNING);
    end.blackout = told > 0 && told < seen ? told : seen; /* clocks may be of two namespaces */
    finish(h, &end);
}

static void commit(struct handover *h)
{
    int err;

    begin_phase(h, PHASE_READY);
    err = handover_send(h->stream, HANDOVER_COMMIT, NULL, 0, NULL, 0);
    if (err == 0)
        err = stream_flush(h->stream);
    if (err == 0)
        begin_phase(h, PHASE_COMMIT);
    else
        give_up(h, is_gone(err) ? ENDED : strerror(-err));
}

static bool is_text(const struct stream_message *m, const char *text)
{
    return m->hdr.size == VFIO_USER_HEADER_SIZE + strlen(text) &&
           memcmp(m->payload, text, strlen(text)) == 0;
}

/* What it says that is neither READY nor RUNNING. "PLAN: version" is all that version 2 says. */
static void describe(struct handover *h, const struct stream_message *m)
{
    size_t len = m->hdr.size - VFIO_USER_HEADER_SIZE;

    if (m->hdr.command == HANDOVER_FAILED && is_text(m, "PLAN: version"))
        snprintf(h->reason, sizeof(h->reason),
                 "the destination does not speak version %u of the handover", HANDOVER_VERSION);
    else if (m->hdr.command != HANDOVER_FAILED)
        snprintf(h->reason, sizeof(h->reason), "the destination said %s",
                 handover_command_name(m->hdr.command));
    else
        snprintf(h->reason, sizeof(h->reason), "the destination: %.*s", len < 150 ? (int)len : 150,
                 (const char *)m->payload);
}

/* Before that, nobody can be ready. */
static bool has_sent_all(const struct handover *h)
{
    return h->phase == PHASE_STATE && parcel_is_queued(h->parcel) && stream_queued(h->stream) == 0;
}

static void take_message(struct handover *h, const struct stream_message *m)
{
    size_t len = m->hdr.size - VFIO_USER_HEADER_SIZE;
    int64_t blackout = 0;

    if (m->hdr.command == HANDOVER_READY && has_sent_all(h)) {
        h->outlives = len > 0 && m->payload[0] == 1;
        commit(h);
    } else if (m->hdr.command == HANDOVER_RUNNING && h->phase == PHASE_COMMIT) {
        memcpy(&blackout, m->payload, len < sizeof(blackout) ? len : sizeof(blackout));
        moved(h, blackout);
    } else if (h->phase < PHASE_COMMIT || m->hdr.command == HANDOVER_FAILED) {
        describe(h, m);
        give_up(h, h->reason);
    }
}

/* The connection has ended, or failed. */
static void on_end(struct handover *h, int err)
{
    if (!is_gone(err))
        give_up(h, err == -EPROTO ? "the destination is no vfio-userd" : strerror(-err));
    else if (h->phase < PHASE_COMMIT)
        give_up(h, ENDED);
    else
        give_up(h, "the destination has ended before it took the device");
}

static void read_messages(struct handover *h)
{
    struct stream_message m;
    int n = 0;

    while (!h->over) {
        n = stream_next(h->stream, &m);
        if (n == 0) {
            n = stream_fill(h->stream);
            if (n == 0)
                return;
        } else if (n == 1) {
            struct stream *s = h->stream;

            take_message(h, &m);
            stream_message_fini(h->over ? NULL : s, &m);
        }
        if (n < 0 && !h->over)
            on_end(h, n);
    }
}

/*
 * The state
 */

/* Sends what the socket takes. */
static void pump(struct handover *h)
{
    int more;
    int err;

    do {
        more = parcel_queue(h->parcel, h->stream);
        err = more < 0 ? more : stream_flush(h->stream);
    } while (more > 0 && err == 0);
    if (err == 0 || err == -EAGAIN)
        watch_set(h->watch, UV_READABLE | (err != 0 ? UV_WRITABLE : 0));
    else if (is_gone(err))
        read_messages(h); /* it may have said why */
    else
        give_up(h, strerror(-err));
}

static int freeze(struct handover *h)
{
    bool has_client = h->host.has_client(h->host.opaque);
    int err;

    token_begin_change(h->host.keeper);
    err = has_client ? h->host.freeze(h->host.opaque, &h->client) : 0;
    h->frozen = true;
    h->frozen_at = handover_now();
    device_stop(h->host.dev);
    token_end_change(h->host.keeper);
    if (err != 0)
        return err;
    return parcel_new(h->host.dev, has_client ? &h->client : NULL, token_fd(&h->token),
                      h->frozen_at, &h->parcel);
}

/* A client waits for its device only so long, whatever patience the operator has. */
static void limit_standstill(struct handover *h)
{
    if (uv_timer_get_due_in(&h->deadline) <= HANDOVER_STANDSTILL_MAX)
        return;
    h->timeout_ms = HANDOVER_STANDSTILL_MAX;
    uv_timer_start(&h->deadline, on_deadline, HANDOVER_STANDSTILL_MAX, 0);
}

static void try_freeze(struct handover *h)
{
    const char *obstacle;
    int err;

    if (h->host.has_client(h->host.opaque) && !h->host.is_quiet(h->host.opaque))
        return;
    uv_prepare_stop(&h->turn);
    obstacle = h->host.obstacle(h->host.opaque);
    if (obstacle != NULL) {
        give_up(h, obstacle);
        return;
    }
    err = freeze(h);
    if (err != 0) {
        give_up(h, strerror(-err));
        return;
    }
    limit_standstill(h);
    begin_phase(h, PHASE_STATE);
    pump(h);
}

static void on_turn(uv_prepare_t *turn)
{
    try_freeze(turn->data);
}

/* The client goes on until all replies are sent and no command of ours is without an answer. */
static void begin_freeze(struct handover *h)
{
    int err;

    begin_phase(h, PHASE_FREEZE);
    err = make_token(h);
    if (err != 0) {
        give_up(h, strerror(-err));
        return;
    }
    device_stop_dma(h->host.dev);
    uv_prepare_start(&h->turn, on_turn);
    try_freeze(h);
}

/*
 * The offer
 */

static void refused(struct handover *h, const struct offer_reply *reply)
{
    h->difference = reply->difference;
    snprintf(h->reason, sizeof(h->reason), "%s", reply->reason);
    keep_as(h, reply->error, h->reason);
}

/* It may have changed its mind already: what came behind its reply is the stream's. */
static int make_stream(struct handover *h)
{
    uint8_t behind[BEHIND_REPLY];
    int n = varlink_read_raw(h->varlink, behind, sizeof(behind));
    struct stream_rest rest = { .bytes = behind };
    int err;

    if (n < 0 || n == (int)sizeof(behind))
        return n < 0 ? n : -EPROTO;
    rest.len = (size_t)n;
    err = stream_new(varlink_take_fd(h->varlink), HANDOVER_MAX_MESSAGE, &h->stream);
    h->varlink = NULL;
    return err == 0 ? stream_put_rest(h->stream, &rest) : err;
}

static void accepted(struct handover *h)
{
    int err = make_stream(h);

    if (err != 0) {
        on_end(h, err);
        return;
    }
    begin_freeze(h);
    if (!h->over)
        read_messages(h);
}

static void take_reply(struct handover *h, struct json_object *json)
{
    struct offer_reply reply;

    if (offer_take_reply(json, &reply))
        accepted(h);
    else
        refused(h, &reply);
}

static void read_reply(struct handover *h)
{
    struct json_object *reply;
    int n = varlink_fill(h->varlink);

    if (n > 0)
        n = varlink_next(h->varlink, &reply);
    if (n == 1) {
        take_reply(h, reply);
        json_object_put(reply);
    } else if (is_gone(n)) {
        keep(h,
             "the destination has closed the connection without a reply: is it a control socket?");
    } else if (n == -EBADMSG || n == -EMSGSIZE) {
        keep(h, "the destination is no vfio-userd");
    } else if (n < 0) {
        keep(h, strerror(-n));
    }
}

/* So that it is we who give up first, and can say why. */
static int their_timeout(const struct handover *h)
{
    return h->timeout_ms < HANDOVER_TIMEOUT_MAX - MARGIN_MS ? h->timeout_ms + MARGIN_MS
                                                            : HANDOVER_TIMEOUT_MAX;
}

static void on_socket(void *arg, int events)
{
    struct handover *h = arg;

    if ((events & UV_WRITABLE) != 0 && h->varlink != NULL) {
        int err = varlink_flush(h->varlink);

        if (err == 0)
            watch_set(h->watch, UV_READABLE);
        else if (err != -EAGAIN)
            keep(h, strerror(-err));
    } else if ((events & UV_WRITABLE) != 0 && h->phase == PHASE_STATE) {
        pump(h);
    }
    if (h->over || (events & UV_READABLE) == 0)
        return;
    if (h->varlink != NULL)
        read_reply(h);
    else
        read_messages(h);
}

int handover_new(uv_loop_t *loop, int fd, const struct handover_host *host, int timeout_ms,
                 struct handover **out)
{
    struct handover *h = calloc(1, sizeof(*h));
    int err;

    if (h == NULL) {
        close(fd);
        return -ENOMEM;
    }
    h->loop = loop;
    h->host = *host;
    h->timeout_ms = timeout_ms;
    err = varlink_new(fd, &h->varlink);
    if (err == 0)
        err = offer_send(h->varlink, host->dev, host->name, their_timeout(h));
    if (err == 0)
        err = watch_new(loop, fd, on_socket, h, &h->watch);
    if (err != 0) {
        varlink_free(h->varlink);
        free(h);
        return err;
    }
    watch_set(h->watch, UV_READABLE | UV_WRITABLE);
    uv_timer_init(loop, &h->deadline);
    uv_prepare_init(loop, &h->turn);
    h->deadline.data = h;
    h->turn.data = h;
    uv_timer_start(&h->deadline, on_deadline, (uint64_t)timeout_ms, 0);
    *out = h;
    begin_phase(h, PHASE_OFFER);
    return 0;
}
