/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "moving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "event.h"
#include "instance.h"
#include "log.h"
#include "migrate/content.h"
#include "migrate/handover.h"
#include "migrate/migration.h"
#include "migrate/receive.h"
#include "migrate/transfers.h"
#include "peer.h"
#include "session/freeze.h"
#include "session/listener.h"

#define NAME_BYTES 128

#define STOPPING "vfio-userd is stopping"

struct moving {
    struct moving_host host;
    struct handover *handover; /* NULL: none is under way */
    struct receive *receive;   /* the same */
    struct transfers *transfers;
    struct session *adopted; /* the client that is being received */
    bool keep;
    bool gone;   /* the device went to */
    bool unsure; /* whoever asked has been told that it is */
    char to[NAME_BYTES];
    char from[NAME_BYTES];
    char reason[NAME_BYTES + 32];
    struct log_limit limit;
};

void moving_finish(struct moving *m)
{
    if (m != NULL && m->handover != NULL)
        handover_cancel(m->handover, STOPPING);
    if (m != NULL && m->receive != NULL)
        receive_cancel(m->receive, STOPPING);
}

void moving_free(struct moving *m)
{
    if (m == NULL)
        return;
    moving_finish(m);
    transfers_free(m->transfers);
    free(m);
}

const char *moving_busy(const struct moving *m)
{
    if (m->host.held != NULL && m->host.held[0] != '\0')
        return "a state is held that this vfio-userd cannot use";
    if (m->handover != NULL)
        return "the device is being moved";
    return m->receive != NULL ? "a device is being received" : NULL;
}

/* The same, for what takes the device as a whole. */
static const char *wholly_busy(const struct moving *m)
{
    const char *reason = moving_busy(m);

    return reason != NULL ? reason : transfers_busy(m->transfers);
}

static const char *client_drives(const struct moving *m)
{
    if (m->host.migration == NULL ||
        migration_state(m->host.migration) == VFIO_DEVICE_STATE_RUNNING)
        return NULL;
    return "the client migrates the device, or has stopped it";
}

const char *moving_obstacle(const struct moving *m)
{
    const char *reason = wholly_busy(m);

    return reason != NULL ? reason : client_drives(m);
}

const char *moving_state(const struct moving *m)
{
    if (m->handover != NULL)
        return "moving";
    return m->receive != NULL ? "receiving" : NULL;
}

void moving_used(struct moving *m)
{
    m->gone = false;
}

const char *moving_went_to(const struct moving *m)
{
    return m->gone ? m->to : NULL;
}

static void tell_phase(const struct moving *m, const char *phase)
{
    const struct event event = { .kind = EVENT_MIGRATION, .phase = phase };

    m->host.event(m->host.opaque, &event);
    if (m->host.on_phase != NULL)
        m->host.on_phase(phase);
}

/*
 * Away
 */

static const char *obstacle(void *opaque)
{
    return client_drives(opaque);
}

static bool has_client(void *opaque)
{
    const struct moving *m = opaque;

    return listener_client(m->host.listener) != NULL;
}

static bool is_quiet(void *opaque)
{
    const struct moving *m = opaque;

    return session_is_quiet(listener_client(m->host.listener));
}

static int freeze(void *opaque, struct parcel_client *out)
{
    const struct moving *m = opaque;
    struct session *s = listener_client(m->host.listener);

    session_freeze(s);
    return session_snapshot(s, &out->snapshot, &out->sockets);
}

static void thaw(void *opaque)
{
    const struct moving *m = opaque;

    session_thaw(listener_client(m->host.listener));
}

static void on_phase(void *opaque, const char *phase, uint64_t bytes, uint64_t remaining)
{
    const struct moving *m = opaque;
    const struct moving_progress progress = { .phase = phase,
                                              .bytes = bytes,
                                              .remaining = remaining };

    /* The call's own reply says the first phase, and its end the last. */
    if (strcmp(phase, "offer") != 0 && strcmp(phase, "running") != 0)
        m->host.progress(m->host.opaque, &progress);
    tell_phase(m, phase);
}

static struct moving_outcome outcome_of(const struct handover_end *end)
{
    return (struct moving_outcome) {
        .error = end->error,
        .phase = end->phase,
        .reason = end->reason,
        .difference = end->difference,
        .bytes = end->bytes,
        .fds = end->fds,
        .blackout = end->blackout,
    };
}

static void on_unsure(void *opaque, const struct handover_end *end)
{
    struct moving *m = opaque;
    const struct moving_outcome outcome = outcome_of(end);

    m->unsure = true;
    m->host.moved(m->host.opaque, &outcome);
}

static void log_failed(struct moving *m, const struct moving_outcome *o, bool lost)
{
    const struct content_difference *d = o->difference;
    char reason[2 * HANDOVER_REASON_BYTES];

    if (strcmp(o->error, "Incompatible") == 0)
        snprintf(reason, sizeof(reason), "%s is %s here and %s there", d->field, d->ours,
                 d->theirs);
    else
        snprintf(reason, sizeof(reason), "%s", o->reason);
    if (log_limit_pass(&m->limit, "migrate"))
        log_event(LOG_EVENT_MOVE_FAILED,
                  LOG_FIELDS(LOG_TEXT("DESTINATION", m->to), LOG_TEXT("PHASE", o->phase),
                             LOG_TEXT("REASON", reason)),
                  lost ? LOG_LEVEL_ERR : LOG_LEVEL_WARNING, "migrate", "not moved to %s: %s: %s",
                  m->to, o->phase, reason);
}

static void log_moved(struct moving *m, const struct moving_outcome *o)
{
    log_event(LOG_EVENT_MOVED,
              LOG_FIELDS(LOG_TEXT("DESTINATION", m->to), LOG_NUMBER("BYTES", (int64_t)o->bytes),
                         LOG_NUMBER("FDS", o->fds), LOG_NUMBER("BLACKOUT", o->blackout)),
              LOG_LEVEL_INFO, "migrate",
              "moved to %s: %u fd%s, %llu bytes of state, blackout %lld us", m->to, o->fds,
              o->fds == 1 ? "" : "s", (unsigned long long)o->bytes,
              (long long)(o->blackout / 1000));
}

/* The device and its client are another process's: what we still have of them goes. */
static void part(struct moving *m)
{
    struct session *s = listener_client(m->host.listener);

    snprintf(m->reason, sizeof(m->reason), "migrated to %s", m->to);
    if (s != NULL)
        session_leave(s, m->reason);
}

static void renew(struct moving *m)
{
    int err = device_renew(m->host.dev);

    if (err == 0)
        return;
    log_err("migrate", "there is no memory for an empty device: %s", strerror(-err));
    m->host.leave(m->host.opaque, m->reason);
}

static void on_handover_end(void *opaque, const struct handover_end *end)
{
    struct moving *m = opaque;
    const struct moving_outcome outcome = outcome_of(end);

    m->handover = NULL;
    listener_reserve(m->host.listener, NULL);
    if (end->outcome == HANDOVER_MOVED)
        log_moved(m, &outcome);
    else
        log_failed(m, &outcome, end->outcome == HANDOVER_LOST);
    if (end->outcome != HANDOVER_MOVED)
        tell_phase(m, "failed");
    m->gone = end->outcome == HANDOVER_MOVED;
    if (end->outcome != HANDOVER_KEPT)
        part(m);
    if (!m->unsure)
        m->host.moved(m->host.opaque, &outcome);
    /* What is kept of us is not to be the device that has gone, also when we end. */
    if (end->outcome == HANDOVER_LOST ||
        (end->outcome == HANDOVER_MOVED && (m->keep || m->host.keeper != NULL)))
        renew(m);
    if (end->outcome == HANDOVER_MOVED && !m->keep)
        m->host.leave(m->host.opaque, m->reason);
}

static int connect_to(const char *to)
{
    struct instance place;

    if (strchr(to, '/') != NULL)
        return peer_connect(to, SOCK_NONBLOCK);
    return instance_init(&place, to) == 0 ? peer_connect(place.control_socket, SOCK_NONBLOCK)
                                          : -EINVAL;
}

/* -ENOTSOCK for what a caller passes along by mistake. */
static int check_connection(int fd)
{
    int type;
    socklen_t len = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 ? 0 : -errno;
}

static void not_begun(struct moving *m, const char *error, const char *reason)
{
    const struct moving_outcome outcome = { .error = error, .phase = "offer", .reason = reason };

    log_failed(m, &outcome, false);
    m->host.moved(m->host.opaque, &outcome);
}

void moving_migrate(struct moving *m, const struct moving_request *request)
{
    const struct handover_host host = {
        .opaque = m,
        .dev = m->host.dev,
        .name = m->host.name,
        .keeper = m->host.keeper,
        .obstacle = obstacle,
        .has_client = has_client,
        .is_quiet = is_quiet,
        .freeze = freeze,
        .thaw = thaw,
        .phase = on_phase,
        .unsure = on_unsure,
        .ended = on_handover_end,
    };
    int fd = request->fd >= 0 ? request->fd : connect_to(request->to);
    int err = fd < 0 ? fd : 0;

    m->keep = request->keep;
    m->unsure = false;
    m->gone = false;
    snprintf(m->to, sizeof(m->to), "%s", request->to);
    if (err == 0 && (err = check_connection(fd)) != 0)
        close(fd);
    if (err == 0)
        err = handover_new(m->host.loop, fd, &host, request->timeout_ms, &m->handover);
    if (err == 0)
        listener_reserve(m->host.listener, "the device is being moved");
    if (err != 0)
        not_begun(m, "MigrationFailed", strerror(-err));
}

/*
 * To here
 */

static int adopt(void *opaque, const struct session_snapshot *snapshot,
                 struct session_sockets *sockets)
{
    struct moving *m = opaque;

    return listener_adopt(m->host.listener, snapshot, sockets, &m->adopted);
}

static void abandon(void *opaque)
{
    struct moving *m = opaque;

    session_leave(m->adopted, "");
    m->adopted = NULL;
}

static void run(void *opaque)
{
    struct moving *m = opaque;

    session_thaw(m->adopted);
    m->adopted = NULL;
}

static void on_receive_phase(void *opaque, const char *phase)
{
    tell_phase(opaque, phase);
}

static void on_receive_end(void *opaque, const struct receive_end *end)
{
    struct moving *m = opaque;

    m->receive = NULL;
    listener_reserve(m->host.listener, NULL);
    if (end->received) {
        m->gone = false;
        log_event(LOG_EVENT_RECEIVED,
                  LOG_FIELDS(LOG_TEXT("SOURCE", m->from), LOG_NUMBER("BLACKOUT", end->blackout)),
                  LOG_LEVEL_INFO, "migrate", "received from %s%s: blackout %lld us", m->from,
                  end->orphaned ? ", which had ended" : "", (long long)(end->blackout / 1000));
    } else {
        tell_phase(m, "failed");
        log_limited(&m->limit, LOG_LEVEL_WARNING, "migrate", "not received from %s: %s: %s",
                    m->from, end->phase, end->reason);
    }
}

int moving_judge(struct moving *m, const char *from, const uint8_t *offer, size_t len,
                 const char **reason, struct content_difference *difference)
{
    int err;

    *reason = wholly_busy(m);
    if (*reason == NULL && listener_is_taken(m->host.listener))
        *reason = "a client is attached";
    if (m->handover != NULL)
        *reason = "it moves its own device, or is the source itself";
    if (*reason != NULL) {
        log_limited(&m->limit, LOG_LEVEL_INFO, "migrate", "not received from %s: %s", from,
                    *reason);
        return -EBUSY;
    }
    err = content_check_begin(m->host.dev, offer, len, difference);
    if (err == 0)
        snprintf(m->from, sizeof(m->from), "%s", from);
    else if (err == -EPERM)
        log_limited(&m->limit, LOG_LEVEL_INFO, "migrate",
                    "not received from %s: %s is %s here and %s there", from, difference->field,
                    difference->ours, difference->theirs);
    return err;
}

int moving_receive(struct moving *m, int fd, int timeout_ms)
{
    const struct receive_host host = {
        .opaque = m,
        .dev = m->host.dev,
        .keeper = m->host.keeper,
        .adopt = adopt,
        .abandon = abandon,
        .run = run,
        .phase = on_receive_phase,
        .ended = on_receive_end,
    };
    int err;

    if (wholly_busy(m) != NULL || listener_is_taken(m->host.listener)) {
        close(fd); /* it was free when this was asked for */
        return -EBUSY;
    }
    err = receive_new(m->host.loop, fd, &host, timeout_ms, &m->receive);
    if (err == 0)
        listener_reserve(m->host.listener, "a device is being received");
    return err;
}

/*
 * Files and pipes
 */

const char *moving_refuse_save(const struct moving *m)
{
    const char *busy = moving_busy(m);

    return busy != NULL ? busy : transfers_refuse_save(m->transfers);
}

const char *moving_refuse_load(const struct moving *m)
{
    const char *busy = moving_busy(m);

    return busy != NULL ? busy : transfers_refuse_load(m->transfers);
}

int moving_save(struct moving *m, int fd)
{
    if (moving_busy(m) != NULL) {
        close(fd);
        return -EBUSY;
    }
    return transfers_save(m->transfers, fd);
}

int moving_load(struct moving *m, int fd)
{
    if (moving_busy(m) != NULL) {
        close(fd);
        return -EBUSY;
    }
    return transfers_load(m->transfers, fd);
}

static bool client_there(void *opaque)
{
    const struct moving *m = opaque;

    return listener_is_taken(m->host.listener);
}

static void on_loaded(void *opaque)
{
    moving_used(opaque);
    tell_phase(opaque, "loaded");
}

int moving_new(const struct moving_host *host, struct moving **out)
{
    struct moving *m = calloc(1, sizeof(*m));
    const struct transfers_host transfers = {
        .opaque = m,
        .has_client = client_there,
        .loaded = on_loaded,
        .idle_ms = TRANSFERS_IDLE_MS,
        .keeper = host->keeper,
    };
    int err;

    if (m == NULL)
        return -ENOMEM;
    m->host = *host;
    err = transfers_new(host->loop, host->dev, &transfers, &m->transfers);
    if (err != 0) {
        free(m);
        return err;
    }
    *out = m;
    return 0;
}
