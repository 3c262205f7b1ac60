/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "daemon_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "accept.h"
#include "capture.h"
#include "control/control.h"
#include "device/device.h"
#include "event.h"
#include "heartbeat.h"
#include "log.h"
#include "migrate/migration.h"
#include "moving.h"
#include "recover.h"
#include "reload.h"
#include "requests.h"
#include "session/listener.h"
#include "session/session.h"
#include "session/session_keep.h"
#include "stats.h"
#include "wake.h"

/* A client that does not take its last answers is waited for no longer. */
#define FINISH_MS 500

/* Fds that are not guest memory: connections (80), interrupts (69), the doorbell, a twin socket,
 * the loop, some on their way. */
#define OWN_FDS 200

static const int signals[DAEMON_N_SIGNALS] = { SIGTERM, SIGINT, SIGHUP };

/*
 * What the device asks of the world
 */

static int64_t host_now(void *opaque)
{
    (void)opaque;
    return wake_now();
}

static void host_wake_at(void *opaque, int64_t deadline)
{
    struct daemon *d = opaque;

    wake_at(d->wake, deadline);
}

static void on_wake(void *opaque)
{
    struct daemon *d = opaque;

    keeper_begin_narrow(d->keeper, KEEPER_TIMER);
    device_wake(d->dev);
    keeper_end(d->keeper);
}

static int host_send_dma(void *opaque, uint32_t tag, uint64_t iova, const void *data, uint32_t len)
{
    struct session *s = daemon_client(opaque);

    return s != NULL ? session_send_dma(s, tag, iova, data, len) : -ENOTCONN;
}

static uint32_t host_max_dma(void *opaque)
{
    struct session *s = daemon_client(opaque);

    return s != NULL ? session_max_data(s) : 0;
}

static int host_interrupt(void *opaque, uint32_t index, uint32_t vector)
{
    struct session *s = daemon_client(opaque);

    return s != NULL ? session_send_interrupt(s, index, vector) : -ENOTSUP;
}

static void host_event(void *opaque, const struct device_event *device)
{
    struct daemon *d = opaque;
    const struct event event = { .kind = EVENT_DEVICE, .device = device };

    d->stats.interrupts += device->kind == DEVICE_EVENT_INTERRUPT && device->anew;
    d->stats.resets += device->kind == DEVICE_EVENT_RESET;
    control_publish(d->control, &event);
}

static void on_migration(void *opaque, const char *from, const char *to)
{
    const struct daemon *d = opaque;
    const struct event event = { .kind = EVENT_MIGRATION, .phase = to };

    (void)from;
    control_publish(d->control, &event);
}

/*
 * What is left for guest memory when connections, interrupts and the loop have theirs, and each
 * that is stored its duplicate.
 */
static uint32_t max_files(const struct daemon *d)
{
    uint32_t own = OWN_FDS + service_store_max(d->options.service);
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > UINT32_MAX)
        return UINT32_MAX;
    return limit.rlim_cur > 2 * own ? (uint32_t)limit.rlim_cur - own : (uint32_t)limit.rlim_cur / 2;
}

static int make_device(struct daemon *d)
{
    struct device_memory memory;
    const struct device_host host = {
        .opaque = d,
        .now = host_now,
        .wake_at = host_wake_at,
        .event = host_event,
        .messenger = { .opaque = d, .send = host_send_dma, .max_len = host_max_dma },
        .interrupt = host_interrupt,
        .max_files = max_files(d),
        .memory = d->keeper != NULL ? &memory : NULL,
    };
    const struct migration_host migration = { .opaque = d,
                                              .changed = on_migration,
                                              .keep = d->keeper != NULL };
    struct pci_error error;
    int err = wake_new(&d->loop, on_wake, d, &d->wake);

    if (d->keeper != NULL)
        keeper_device_memory(d->keeper, &memory);
    if (err == 0)
        err = device_new(d->options.description, &host, &d->dev, &error);
    if (err == 0)
        err = migration_new(d->dev, &migration, &d->migration);
    if (err != 0)
        log_err("device", "cannot be made: %s", strerror(-err));
    return err;
}

/*
 * Sockets
 */

static void on_done(void *opaque)
{
    struct daemon *d = opaque;

    daemon_stop(d, "the connection given with --fd has ended");
}

static void on_client_event(void *opaque, const struct event *event)
{
    const struct daemon *d = opaque;

    if (event->kind == EVENT_CLIENT_ATTACHED && d->moving != NULL)
        moving_used(d->moving);
    control_publish(d->control, event);
}

/* Where clients connect, for people: the daemon may have been given its socket. */
static void find_name(int fd, char *name, size_t size)
{
    struct sockaddr_un addr = { 0 };
    socklen_t len = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *)&addr, &len) == 0 && addr.sun_path[0] != '\0')
        snprintf(name, size, "%.*s", (int)sizeof(addr.sun_path), addr.sun_path);
    else
        snprintf(name, size, "the socket it was given");
}

static int make_listener(struct daemon *d)
{
    const struct listener_host host = {
        .opaque = d,
        .done = on_done,
        .event = on_client_event,
        .stats = &d->stats,
        .migration = d->migration,
        .keeper = d->keeper,
    };
    int fd = d->options.fd;
    int err;

    if (d->options.socket_path != NULL) {
        fd = accept_listen_at("daemon", d->options.socket_path, DAEMON_SOCKET_MODE,
                              &d->socket_place);
        if (fd < 0)
            return fd;
    }
    d->options.fd = -1;
    find_name(fd, d->served_at, sizeof(d->served_at));
    err = listener_new(&d->loop, fd, d->dev, &host, &d->listener);
    if (err != 0)
        log_err("daemon", "the vfio-user socket cannot be served: %s", strerror(-err));
    return err;
}

/*
 * The process
 */

static void on_signal(uv_signal_t *handle, int signum)
{
    struct daemon *d = handle->data;

    struct reload_outcome outcome;

    if (signum == SIGHUP)
        requests_reload(d, &outcome);
    else
        daemon_stop(d, signum == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void start_signals(struct daemon *d)
{
    for (size_t i = 0; i < DAEMON_N_SIGNALS; i++) {
        uv_signal_init(&d->loop, &d->signals[i]);
        d->signals[i].data = d;
        uv_signal_start(&d->signals[i], on_signal, signals[i]);
    }
}

/* A client may share as many files as it has maps. */
static void raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Before the loop waits: what a turn has changed besides messages is kept. */
static void on_settle(uv_prepare_t *settle)
{
    const struct daemon *d = settle->data;

    keeper_settle(d->keeper);
}

/* For the service manager's STATUS=. */
static void describe(void *opaque, char *text, size_t size)
{
    struct daemon *d = opaque;
    const struct device_state *state = device_state(d->dev);
    unsigned long long interrupts = irq_count(device_irq(d->dev));
    struct client_info client;
    const char *went_to = moving_went_to(d->moving);
    char who[48] = "no client";

    if (d->held[0] != '\0') {
        snprintf(text, size, "a state is held that cannot be used: %s", d->held);
        return;
    }
    if (requests_client(d, &client))
        snprintf(who, sizeof(who), "client %d attached", (int)client.pid);
    snprintf(text, size, "%s, timer %s, %llu interrupt%s%s%s", who,
             state->timer.deadline != 0 ? "armed" : "not armed", interrupts,
             interrupts == 1 ? "" : "s", went_to != NULL ? "; migrated to " : "",
             went_to != NULL ? went_to : "");
}

int daemon_new(const struct daemon_options *options, struct daemon **out)
{
    struct daemon *d = calloc(1, sizeof(*d));
    int err;

    if (d == NULL)
        return -ENOMEM;
    d->options = *options;
    d->token = -1;
    d->stats.since = wake_now();
    d->first_level = log_current_level();
    raise_fd_limit();
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads must not end the daemon */
    signal(SIGXFSZ, SIG_IGN); /* nor must guest memory beyond the limit for files */
    err = uv_loop_init(&d->loop);
    if (err != 0) {
        free(d);
        return err;
    }
    uv_prepare_init(&d->loop, &d->settle);
    d->settle.data = d;
    start_signals(d);
    err = heartbeat_init(&d->heartbeat, &d->loop, options->service, describe, d);
    if (err == 0)
        err = recover_make_keeper(d);
    if (err == 0)
        err = make_device(d);
    if (err == 0)
        err = make_listener(d);
    if (err == 0)
        err = recover_run(d);
    if (err == 0)
        err = requests_make_moving(d);
    if (err == 0)
        err = requests_make_control(d);
    if (err != 0) {
        daemon_free(d);
        return err;
    }
    *out = d;
    return 0;
}

static void log_ready(const struct daemon *d)
{
    const struct device_description *description = d->options.description;
    const char *path = d->served_at;
    const char *file = d->options.described ? d->options.config : "the default device";
    char id[16];

    snprintf(id, sizeof(id), "%04x:%04x", description->pci.vendor, description->pci.device);
    log_event(LOG_EVENT_READY,
              LOG_FIELDS(LOG_TEXT("DEVICE_ID", id), LOG_TEXT("SOCKET", path),
                         LOG_TEXT("DESCRIPTION", file)),
              LOG_LEVEL_INFO, "daemon", "%s: serving %s (%s) at %s", d->options.name, id, file,
              path);
}

/*
 * Another process may follow: what the client has asked is answered, and it stays connected, unless
 * it could not be kept.
 */
static void leave(struct daemon *d)
{
    struct session *s = daemon_client(d);

    if (keeper_forgot_client(d->keeper))
        listener_finish(d->listener, FINISH_MS);
    else if (s != NULL)
        session_pause(s);
    uv_prepare_stop(&d->settle);
    keeper_leave(d->keeper);
    listener_leave(d->listener);
}

void daemon_run(struct daemon *d)
{
    char status[HEARTBEAT_STATUS_BYTES];

    if (d->held[0] == '\0')
        log_ready(d);
    recover_resume(d);
    if (d->keeper != NULL)
        uv_prepare_start(&d->settle, on_settle);
    heartbeat_ready(&d->heartbeat);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    moving_finish(d->moving);
    log_event(LOG_EVENT_STOPPING, LOG_FIELDS(LOG_TEXT("REASON", d->end_reason)), LOG_LEVEL_INFO,
              "daemon", "stopping: %s", d->end_reason);
    snprintf(status, sizeof(status), "%s%s",
             moving_went_to(d->moving) != NULL ? "" : "stopping: ", d->end_reason);
    service_stopping(d->options.service, status);
    control_finish(d->control);
    if (d->keeper != NULL && keeper_keeps(d->keeper))
        leave(d);
    listener_finish(d->listener, FINISH_MS);
    capture_finish(d->capture, FINISH_MS, d->end_reason);
}

static void close_unused(int fd)
{
    if (fd >= 0)
        close(fd);
}

void daemon_free(struct daemon *d)
{
    close_unused(d->options.fd);
    close_unused(d->options.control_fd);
    accept_unlink(&d->socket_place);
    accept_unlink(&d->control_place);
    control_free(d->control);
    capture_finish(d->capture, 0, "vfio-userd ends");
    moving_free(d->moving);
    d->control = NULL; /* what happens from here on is nobody's news */
    listener_free(d->listener);
    d->listener = NULL;
    migration_free(d->migration);
    device_free(d->dev);
    wake_free(d->wake);
    for (size_t i = 0; i < DAEMON_N_SIGNALS; i++) {
        uv_close((uv_handle_t *)&d->signals[i], NULL);
        signal(signals[i], SIG_IGN); /* the end has begun already */
    }
    heartbeat_fini(&d->heartbeat);
    uv_close((uv_handle_t *)&d->settle, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT); /* the close callbacks */
    uv_loop_close(&d->loop);
    keeper_free(d->keeper);
    free(d);
}
