/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "receive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handover_wire.h"
#include "log.h"
#include "stream.h"
#include "unpack.h"
#include "watch.h"

enum phase { PHASE_OFFER, PHASE_STATE, PHASE_READY, PHASE_AWAIT, PHASE_COMMIT, PHASE_RUNNING };

static const char *const phase_names[] = {
    [PHASE_OFFER] = "offer", [PHASE_STATE] = "state",   [PHASE_READY] = "ready",
    [PHASE_AWAIT] = "await", [PHASE_COMMIT] = "commit", [PHASE_RUNNING] = "running",
};

struct receive {
    struct receive_host host;
    int timeout_ms;
    uv_timer_t deadline;
    struct stream *stream;
    struct watch *watch;
    struct unpack *unpack;
    enum phase phase;
    bool adopted; /* the client */
    int our_bar1; /* what BAR1 was before: to be put back, or closed; -1 */
    bool loaded;  /* the registers, in place of these */
    struct device_state ours;
    struct token token;
    bool kept; /* what was received, under the token */
    bool over;
    char reason[UNPACK_REASON_BYTES];
};

/*
 * What is kept
 */

static int keep_received(struct receive *r)
{
    const struct token_keeper *keeper = r->host.keeper;
    int err = keeper != NULL ? keeper->received(keeper->opaque, token_fd(&r->token)) : 0;

    r->kept = keeper != NULL && err == 0;
    return err;
}

static void drop_token(struct receive *r, bool ours)
{
    if (r->kept)
        r->host.keeper->token_over(r->host.keeper->opaque, ours);
    token_fini(&r->token);
}

/*
 * The end
 */

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void finish(struct receive *r, struct receive_end *end)
{
    end->phase = phase_names[r->phase];
    r->over = true;
    watch_free(r->watch);
    stream_free(r->stream);
    unpack_free(r->unpack);
    r->host.ended(r->host.opaque, end);
    drop_token(r, end->received);
    if (r->our_bar1 >= 0)
        close(r->our_bar1); /* may take a while: its pages go */
    uv_close((uv_handle_t *)&r->deadline, on_closed);
}

/* What was received, if anything: once. */
static void put_back(struct receive *r)
{
    struct device *dev = r->host.dev;
    char field[DEVICE_FIELD_BYTES];

    if (r->adopted) {
        device_drop_client(dev);
        r->host.abandon(r->host.opaque);
    }
    r->adopted = false;
    if (r->loaded && device_load(dev, &r->ours, NULL, field) != 0)
        log_err("migrate", "the device cannot be as it was (%s): restart this daemon", field);
    r->loaded = false;
    if (r->our_bar1 >= 0 && device_adopt_bar1(dev, &r->our_bar1) != 0)
        log_err("migrate", "there is no memory to take BAR1 back: restart this daemon");
    device_start(dev);
}

/* Nothing comes of it: who has not claimed yields. */
static void fail(struct receive *r, const char *reason)
{
    struct receive_end end = { .reason = reason };

    if (token_fd(&r->token) >= 0)
        token_claim(&r->token, TOKEN_SOURCE);
    token_begin_change(r->host.keeper);
    put_back(r);
    token_end_change(r->host.keeper);
    finish(r, &end);
}

/* The same, and the source is told, as far as it still listens. */
static void refuse(struct receive *r, const char *reason)
{
    if (handover_send(r->stream, HANDOVER_FAILED, reason, strlen(reason), NULL, 0) == 0)
        stream_flush(r->stream);
    fail(r, reason);
}

void receive_cancel(struct receive *r, const char *reason)
{
    refuse(r, reason);
}

static void on_socket(void *arg, int events);

static void on_deadline(uv_timer_t *timer)
{
    struct receive *r = timer->data;

    on_socket(r, UV_READABLE); /* what it has said, or its end, comes first */
    if (r->over)
        return;
    snprintf(r->reason, sizeof(r->reason), "the source has not gone on within %d ms",
             r->timeout_ms);
    refuse(r, r->reason);
}

static void begin_phase(struct receive *r, enum phase phase)
{
    r->phase = phase;
    r->host.phase(r->host.opaque, phase_names[phase]);
}

/*
 * Before READY
 */

static int blame(struct receive *r, const char *what, int err)
{
    snprintf(r->reason, sizeof(r->reason), "%s: %s", what, strerror(-err));
    return err;
}

static int adopt_bar1(struct receive *r, struct unpacked *c)
{
    int ours = fcntl(device_bar1_fd(r->host.dev), F_DUPFD_CLOEXEC, 0);
    int err = ours < 0 ? -errno : device_adopt_bar1(r->host.dev, &c->bar1);

    if (err != 0) {
        if (ours >= 0)
            close(ours);
        return blame(r, "BAR1's memory", err);
    }
    r->our_bar1 = ours;
    return 0;
}

/* The client has it from the source, and does not ask again. */
static int adopt_doorbell(struct receive *r, struct unpacked *c)
{
    const struct device_description *d = device_description(r->host.dev);
    int err = device_adopt_doorbell(r->host.dev, &c->doorbell[0], &c->doorbell[1]);

    if (err == -EINVAL)
        snprintf(r->reason, sizeof(r->reason),
                 "doorbell: the client has the file descriptors of another kind than \"%s\", which "
                 "is described here",
                 doorbell_kind_name(d->doorbell));
    return err != 0 && err != -EINVAL ? blame(r, "the doorbell", err) : err;
}

static int adopt_client(struct receive *r, struct unpacked *c)
{
    struct device *dev = r->host.dev;
    int err = r->host.adopt(r->host.opaque, &c->session, &c->sockets);

    if (err != 0)
        return blame(r, "the client's connection", err);
    r->adopted = true;
    err = dma_import(device_dma(dev), c->ranges, c->plan.ranges, c->files, c->plan.files);
    if (err != 0)
        return blame(r, "the client's memory", err);
    err = irq_take_fds(device_irq(dev), &c->irq);
    if (err != 0)
        return blame(r, "the client's eventfds", err);
    if (c->plan.doorbell > 0)
        err = adopt_doorbell(r, c);
    if (err != 0)
        return err;
    err = device_log_import(dev, c->log, c->plan.log);
    return err != 0 ? blame(r, "the log of written pages", err) : 0;
}

static int load_state(struct receive *r, struct unpacked *c)
{
    struct device *dev = r->host.dev;
    char field[DEVICE_FIELD_BYTES];
    int err;

    r->ours = *device_state(dev);
    r->loaded = true;
    err = device_load(dev, &c->state, NULL, field); /* has been checked */
    if (err == 0 && c->irq_masked != 0)
        irq_set(device_irq(dev), VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK,
                VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, NULL, 0);
    return err != 0 ? blame(r, "the registers", err) : 0;
}

static int adopt_all(struct receive *r, struct unpacked *c)
{
    int err = adopt_bar1(r, c);

    if (err == 0 && c->plan.client == 1)
        err = adopt_client(r, c);
    if (err == 0)
        err = load_state(r, c);
    if (err != 0)
        return err;
    err = keep_received(r);
    return err != 0 ? blame(r, "what is to outlive this daemon", err) : 0;
}

/* All that can fail. */
static int prepare(struct receive *r)
{
    struct unpacked *c = unpack_content(r->unpack);
    char field[DEVICE_FIELD_BYTES];
    int err = device_check_state(r->host.dev, &c->state, field);

    if (err != 0) {
        snprintf(r->reason, sizeof(r->reason), "%s has a value that it cannot have", field);
        return err;
    }
    err = token_adopt(&c->token, &r->token);
    if (err != 0)
        return blame(r, "the token", err);
    token_begin_change(r->host.keeper);
    err = adopt_all(r, c);
    if (err != 0) /* whoever comes after us must not find the source's client here */
        put_back(r);
    token_end_change(r->host.keeper);
    return err;
}

static void send_ready(struct receive *r)
{
    int err = stream_flush(r->stream);

    watch_set(r->watch, UV_READABLE | (err == -EAGAIN ? UV_WRITABLE : 0));
    if (err == 0)
        begin_phase(r, PHASE_AWAIT);
    else if (err != -EAGAIN)
        fail(r, "the source has ended, or has closed the connection");
}

static void complete(struct receive *r)
{
    const uint8_t outlives = r->host.keeper != NULL;
    int err;

    begin_phase(r, PHASE_READY);
    err = prepare(r);
    if (err == 0)
        err = handover_send(r->stream, HANDOVER_READY, &outlives, 1, NULL, 0);
    if (err == 0)
        send_ready(r);
    else
        refuse(r, r->reason[0] != '\0' ? r->reason : strerror(-err));
}

static void take_piece(struct receive *r, struct stream_message *m)
{
    const struct unpack_sizes sizes = { .config = device_config_size(r->host.dev),
                                        .msix = device_msix_table_size(r->host.dev) };
    int n;

    if (r->phase == PHASE_OFFER)
        begin_phase(r, PHASE_STATE);
    n = unpack_take(r->unpack, m, &sizes, r->reason);
    if (n == 1)
        complete(r);
    else if (n < 0)
        refuse(r, n == -EINVAL ? r->reason : strerror(-n));
}

/*
 * Behind READY
 */

/* It is ours. */
static void run(struct receive *r, bool orphaned)
{
    struct receive_end end = { .received = true, .orphaned = orphaned };

    uv_timer_stop(&r->deadline);
    begin_phase(r, PHASE_COMMIT);
    token_begin_change(r->host.keeper);
    device_start(r->host.dev);
    if (r->adopted)
        r->host.run(r->host.opaque);
    token_end_change(r->host.keeper);
    end.blackout = handover_now() - unpack_content(r->unpack)->plan.frozen_at;
    begin_phase(r, PHASE_RUNNING);
    if (handover_send(r->stream, HANDOVER_RUNNING, &end.blackout, sizeof(end.blackout), NULL, 0) ==
        0)
        stream_flush(r->stream);
    finish(r, &end);
}

/* The source has said that it is ours, or is dead. */
static void take(struct receive *r, bool orphaned)
{
    if (token_claim(&r->token, TOKEN_DESTINATION))
        run(r, orphaned);
    else
        refuse(r, "the source keeps it");
}

static void take_message(struct receive *r, struct stream_message *m)
{
    size_t len = m->hdr.size - VFIO_USER_HEADER_SIZE;

    if (m->hdr.command == HANDOVER_ABORT) {
        snprintf(r->reason, sizeof(r->reason), "the source keeps it: %.*s",
                 len < 120 ? (int)len : 120, (const char *)m->payload);
        fail(r, r->reason);
    } else if (r->phase < PHASE_READY) {
        take_piece(r, m);
    } else if (r->phase == PHASE_AWAIT && m->hdr.command == HANDOVER_COMMIT) {
        take(r, false);
    } else {
        snprintf(r->reason, sizeof(r->reason), "%s is out of place",
                 handover_command_name(m->hdr.command));
        refuse(r, r->reason);
    }
}

/* The connection has ended. Behind READY: the source is dead, or has claimed the device. */
static void on_end(struct receive *r, int err)
{
    bool ended = err == -ENOTCONN || err == -ECONNRESET || err == -EPIPE;

    if (r->phase == PHASE_AWAIT && ended)
        take(r, true);
    else if (ended)
        fail(r, "the source has ended, or has closed the connection");
    else
        refuse(r, err == -EPROTO ? "what it sends is no message" : strerror(-err));
}

static void on_socket(void *arg, int events)
{
    struct receive *r = arg;
    struct stream_message m;
    int n = 0;

    if ((events & UV_WRITABLE) != 0 && r->phase == PHASE_READY)
        send_ready(r);
    while (!r->over && (events & UV_READABLE) != 0) {
        n = stream_next(r->stream, &m);
        if (n == 0) {
            n = stream_fill(r->stream);
            if (n == 0)
                return;
        } else if (n == 1) {
            take_message(r, &m);
            stream_message_fini(NULL, &m);
        }
        if (n < 0 && !r->over)
            on_end(r, n);
    }
}

int receive_new(uv_loop_t *loop, int fd, const struct receive_host *host, int timeout_ms,
                struct receive **out)
{
    struct receive *r = calloc(1, sizeof(*r));
    int err;

    if (r == NULL) {
        close(fd);
        return -ENOMEM;
    }
    r->host = *host;
    r->timeout_ms = timeout_ms;
    r->our_bar1 = -1;
    err = stream_new(fd, HANDOVER_MAX_MESSAGE, &r->stream);
    if (err == 0)
        err = unpack_new(&r->unpack);
    if (err == 0)
        err = watch_new(loop, fd, on_socket, r, &r->watch);
    if (err != 0) {
        unpack_free(r->unpack);
        stream_free(r->stream);
        free(r);
        return err;
    }
    uv_timer_init(loop, &r->deadline);
    r->deadline.data = r;
    uv_timer_start(&r->deadline, on_deadline, (uint64_t)timeout_ms, 0);
    token_begin_change(r->host.keeper);
    device_stop(host->dev);
    token_end_change(r->host.keeper);
    *out = r;
    begin_phase(r, PHASE_OFFER);
    return 0;
}
