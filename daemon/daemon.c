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
#include "moves.h"
#include "reload.h"
#include "session/listener.h"
#include "session/session.h"
#include "stats.h"
#include "wake.h"

/* The socket's directory is the gate; the group may connect. */
#define SOCKET_MODE 0660

/* A client that does not take its last answers is waited for no longer. */
#define FINISH_MS 500

/* Fds that are not guest memory: connections (80), interrupts (36), the loop, some on their way. */
#define OWN_FDS 160

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

    device_wake(d->dev);
}

struct session *daemon_client(struct daemon *d)
{
    return d->listener != NULL ? listener_client(d->listener) : NULL;
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

/* What is left for guest memory when connections, interrupts and the loop have theirs. */
static uint32_t max_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > UINT32_MAX)
        return UINT32_MAX;
    return limit.rlim_cur > 2 * OWN_FDS ? (uint32_t)limit.rlim_cur - OWN_FDS
                                        : (uint32_t)limit.rlim_cur / 2;
}

static int make_device(struct daemon *d)
{
    const struct device_host host = {
        .opaque = d,
        .now = host_now,
        .wake_at = host_wake_at,
        .event = host_event,
        .messenger = { .opaque = d, .send = host_send_dma, .max_len = host_max_dma },
        .max_files = max_files(),
    };
    const struct migration_host migration = { .opaque = d, .changed = on_migration };
    struct pci_error error;
    int err = wake_new(&d->loop, on_wake, d, &d->wake);

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

static void stop(struct daemon *d, const char *reason)
{
    d->end_reason = reason;
    uv_stop(&d->loop);
}

static void on_done(void *opaque)
{
    struct daemon *d = opaque;

    stop(d, "the connection given with --fd has ended");
}

static void on_client_event(void *opaque, const struct event *event)
{
    const struct daemon *d = opaque;

    control_publish(d->control, event);
}

static int listen_at(const char *path, struct accept_place *place)
{
    int fd = accept_listen(path, SOCKET_MODE, place);

    if (fd == -EADDRINUSE)
        log_err("daemon", "%s: another process serves this socket, or it is no socket", path);
    else if (fd < 0)
        log_err("daemon", "%s: %s", path, strerror(-fd));
    return fd;
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
    };
    int fd = d->options.fd;
    int err;

    if (d->options.socket_path != NULL) {
        fd = listen_at(d->options.socket_path, &d->socket_place);
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

static bool client_of(void *opaque, struct client_info *out)
{
    struct session *s = daemon_client(opaque);

    if (s == NULL)
        return false;
    session_info(s, out);
    return true;
}

static int64_t monotonic_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/*
 * Reload
 */

void daemon_set_log_level(const struct daemon_options *options)
{
    int level = options->description->log_level;

    if (!options->log_level_given)
        log_set_level(level != 0 ? (enum log_level)level : LOG_LEVEL_INFO);
}

static void adopt(struct daemon *d, struct device_description *description,
                  const struct reload_outcome *outcome)
{
    char changed[256] = "";
    const char *text;
    size_t len = 0;

    description_adopt(d->options.description, description);
    description_fini(description);
    device_set_limits(d->dev, &d->options.description->limits);
    log_set_level(d->first_level); /* whatever it was set to since */
    daemon_set_log_level(&d->options);
    for (unsigned i = 0; i < outcome->n_changed && len < sizeof(changed); i++)
        len += (size_t)snprintf(changed + len, sizeof(changed) - len, "%s%s", i > 0 ? ", " : "",
                                outcome->changed[i].key);
    text = len > 0 ? changed : "nothing";
    if (log_limit_pass(&d->reload_limit, "reload"))
        log_event(LOG_EVENT_RELOADED, LOG_FIELDS(LOG_TEXT("CHANGED", text)), LOG_LEVEL_INFO,
                  "reload", "changed: %s", text);
}

/* A level of the command line's stays, whatever the description says. */
static void forget_log_level(struct reload_outcome *outcome)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < outcome->n_changed; i++) {
        if (strcmp(outcome->changed[i].key, "log_level") != 0)
            outcome->changed[kept++] = outcome->changed[i];
    }
    outcome->n_changed = kept;
}

static int reload(void *opaque, struct reload_outcome *out)
{
    struct daemon *d = opaque;
    struct device_description description;
    int err;

    service_reloading(d->options.service);
    err = reload_read(d->options.config, d->options.config_optional, d->options.description,
                      &description, out);
    if (d->options.log_level_given)
        forget_log_level(out);
    if (err == 0)
        adopt(d, &description, out);
    else if (log_limit_pass(&d->reload_limit, "reload"))
        log_event(LOG_EVENT_RELOAD_REFUSED, LOG_FIELDS(LOG_TEXT("REASON", out->reason)),
                  LOG_LEVEL_ERR, "reload", "refused: %s", out->reason);
    heartbeat_ready(&d->heartbeat);
    return err;
}

static void quit(void *opaque)
{
    stop(opaque, "vfuctl quit");
}

/*
 * Capture
 */

static void on_capture_ended(void *opaque)
{
    struct daemon *d = opaque;

    d->capture = NULL;
    listener_set_capture(d->listener, NULL);
}

static int capture(void *opaque, int fd, uint32_t snaplen)
{
    struct daemon *d = opaque;
    const struct capture_host host = { .opaque = d, .ended = on_capture_ended };
    int err;

    if (d->capture != NULL) {
        close(fd);
        return -EBUSY;
    }
    err = capture_new(&d->loop, fd, d->options.name, snaplen, &host, &d->capture);
    if (err == 0)
        listener_set_capture(d->listener, d->capture);
    return err;
}

static bool capturing(void *opaque)
{
    const struct daemon *d = opaque;

    return d->capture != NULL;
}

static int make_control(struct daemon *d)
{
    struct control_host host = { .opaque = d,
                                 .dev = d->dev,
                                 .migration = d->migration,
                                 .name = d->options.name,
                                 .started_ns = monotonic_now(),
                                 .client = client_of,
                                 .reload = reload,
                                 .quit = quit,
                                 .capture = capture,
                                 .capturing = capturing,
                                 .stats = &d->stats };
    int fd = d->options.control_fd;
    int err;

    if (d->options.control_path != NULL) {
        fd = listen_at(d->options.control_path, &d->control_place);
        if (fd < 0)
            return fd;
    }
    d->options.control_fd = -1;
    if (fd < 0)
        return 0;
    moves_fill(d, &host);
    err = control_new(&d->loop, fd, &host, &d->control);
    if (err != 0)
        log_err("daemon", "the control socket cannot be served: %s", strerror(-err));
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
        reload(d, &outcome);
    else
        stop(d, signum == SIGTERM ? "SIGTERM" : "SIGINT");
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

/* For the service manager's STATUS=. */
static void describe(void *opaque, char *text, size_t size)
{
    struct daemon *d = opaque;
    const struct device_state *state = device_state(d->dev);
    unsigned long long interrupts = irq_count(device_irq(d->dev));
    struct client_info client;
    char who[48] = "no client";

    if (client_of(d, &client))
        snprintf(who, sizeof(who), "client %d attached", (int)client.pid);
    snprintf(text, size, "%s, timer %s, %llu interrupt%s", who,
             state->timer.deadline != 0 ? "armed" : "not armed", interrupts,
             interrupts == 1 ? "" : "s");
}

int daemon_new(const struct daemon_options *options, struct daemon **out)
{
    struct daemon *d = calloc(1, sizeof(*d));
    int err;

    if (d == NULL)
        return -ENOMEM;
    d->options = *options;
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
    start_signals(d);
    err = heartbeat_init(&d->heartbeat, &d->loop, options->service, describe, d);
    if (err == 0)
        err = make_device(d);
    if (err == 0)
        err = make_listener(d);
    if (err == 0)
        err = moves_init(d);
    if (err == 0)
        err = make_control(d);
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

void daemon_run(struct daemon *d)
{
    char status[HEARTBEAT_STATUS_BYTES];

    log_ready(d);
    heartbeat_ready(&d->heartbeat);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    log_event(LOG_EVENT_STOPPING, LOG_FIELDS(LOG_TEXT("REASON", d->end_reason)), LOG_LEVEL_INFO,
              "daemon", "stopping: %s", d->end_reason);
    snprintf(status, sizeof(status), "stopping: %s", d->end_reason);
    service_stopping(d->options.service, status);
    control_finish(d->control);
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
    d->control = NULL; /* what happens from here on is nobody's news */
    moves_fini(d);
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
    uv_run(&d->loop, UV_RUN_DEFAULT); /* the close callbacks */
    uv_loop_close(&d->loop);
    free(d);
}
