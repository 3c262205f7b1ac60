/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "accept.h"
#include "control/control.h"
#include "device/device.h"
#include "log.h"
#include "service/service.h"
#include "session/listener.h"
#include "session/session.h"
#include "wake.h"

/* The socket's directory is the gate; the group may connect. */
#define SOCKET_MODE 0660

#define NAME_BYTES 64

/* Fds that are not guest memory: connections (80), interrupts (36), the loop, some on their way. */
#define OWN_FDS 160

struct daemon {
    uv_loop_t loop;
    struct daemon_options options;
    char name[NAME_BYTES];
    struct wake *wake;
    struct device *dev;
    struct listener *listener;
    struct control *control;
    uv_signal_t sigterm;
    uv_signal_t sigint;
    struct accept_place socket_place; /* what we made, to be removed at the end */
    struct accept_place control_place;
};

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

static struct session *client_session(struct daemon *d)
{
    return d->listener != NULL ? listener_client(d->listener) : NULL;
}

static int host_send_dma(void *opaque, uint32_t tag, uint64_t iova, const void *data, uint32_t len)
{
    struct session *s = client_session(opaque);

    return s != NULL ? session_send_dma(s, tag, iova, data, len) : -ENOTCONN;
}

static uint32_t host_max_dma(void *opaque)
{
    struct session *s = client_session(opaque);

    return s != NULL ? session_max_data(s) : 0;
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
        .messenger = { .opaque = d, .send = host_send_dma, .max_len = host_max_dma },
        .max_files = max_files(),
    };
    struct pci_error error;
    int err = wake_new(&d->loop, on_wake, d, &d->wake);

    if (err == 0)
        err = device_new(d->options.description, &host, &d->dev, &error);
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

    log_info("daemon", "the connection given with --fd has ended");
    uv_stop(&d->loop);
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

static int make_listener(struct daemon *d)
{
    const struct listener_host host = { .opaque = d, .done = on_done };
    int fd = d->options.fd;
    int err;

    if (d->options.socket_path != NULL) {
        fd = listen_at(d->options.socket_path, &d->socket_place);
        if (fd < 0)
            return fd;
    }
    err = listener_new(&d->loop, fd, d->dev, &host, &d->listener);
    if (err != 0)
        log_err("daemon", "the vfio-user socket cannot be served: %s", strerror(-err));
    return err;
}

static bool client_of(void *opaque, struct client_info *out)
{
    struct session *s = client_session(opaque);

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

static int make_control(struct daemon *d)
{
    const struct control_host host = { .opaque = d,
                                       .dev = d->dev,
                                       .name = d->name,
                                       .started_ns = monotonic_now(),
                                       .client = client_of };
    int fd;
    int err;

    if (d->options.control_path == NULL)
        return 0;
    fd = listen_at(d->options.control_path, &d->control_place);
    if (fd < 0)
        return fd;
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

    log_info("daemon", "%s: stopping", signum == SIGTERM ? "SIGTERM" : "SIGINT");
    uv_stop(&d->loop);
}

static void start_signal(struct daemon *d, uv_signal_t *handle, int signum)
{
    uv_signal_init(&d->loop, handle);
    handle->data = d;
    uv_signal_start(handle, on_signal, signum);
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

/* The instance is called after its socket's directory, or its socket: /run/vfio-userd/dev0/… */
static void make_name(struct daemon *d)
{
    const char *path = d->options.socket_path;
    char *copy = path != NULL ? strdup(path) : NULL;
    char *slash = copy != NULL ? strrchr(copy, '/') : NULL;
    const char *name = "vfio-userd";

    if (slash != NULL && strcmp(slash, "/device.sock") == 0) {
        *slash = '\0';
        name = strrchr(copy, '/') != NULL ? strrchr(copy, '/') + 1 : copy;
    } else if (copy != NULL) {
        name = slash != NULL ? slash + 1 : copy;
    }
    snprintf(d->name, sizeof(d->name), "%s", name);
    free(copy);
}

int daemon_new(const struct daemon_options *options, struct daemon **out)
{
    struct daemon *d = calloc(1, sizeof(*d));
    int err;

    if (d == NULL)
        return -ENOMEM;
    d->options = *options;
    make_name(d);
    raise_fd_limit();
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads must not end the daemon */
    signal(SIGXFSZ, SIG_IGN); /* nor must guest memory beyond the limit for files */
    err = uv_loop_init(&d->loop);
    if (err != 0) {
        free(d);
        return err;
    }
    start_signal(d, &d->sigterm, SIGTERM);
    start_signal(d, &d->sigint, SIGINT);
    err = make_device(d);
    if (err == 0)
        err = make_listener(d);
    if (err == 0)
        err = make_control(d);
    if (err != 0) {
        daemon_free(d);
        return err;
    }
    *out = d;
    return 0;
}

void daemon_run(struct daemon *d)
{
    if (d->options.socket_path != NULL)
        log_info("daemon", "%s: serving %04x:%04x at %s", d->name,
                 d->options.description->pci.vendor, d->options.description->pci.device,
                 d->options.socket_path);
    service_ready();
    uv_run(&d->loop, UV_RUN_DEFAULT);
    service_stopping();
}

void daemon_free(struct daemon *d)
{
    accept_unlink(&d->socket_place);
    accept_unlink(&d->control_place);
    control_free(d->control);
    listener_free(d->listener);
    d->listener = NULL;
    device_free(d->dev);
    wake_free(d->wake);
    uv_close((uv_handle_t *)&d->sigterm, NULL);
    uv_close((uv_handle_t *)&d->sigint, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT); /* the close callbacks */
    uv_loop_close(&d->loop);
    free(d);
}
