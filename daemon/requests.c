/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "requests.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "capture.h"
#include "control/control.h"
#include "daemon_private.h"
#include "event.h"
#include "moving.h"
#include "recover.h"
#include "reload.h"
#include "service/service.h"
#include "session/listener.h"
#include "session/session.h"

bool requests_client(void *opaque, struct client_info *out)
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

void requests_set_log_level(const struct daemon_options *options)
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
    requests_set_log_level(&d->options);
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

int requests_reload(void *opaque, struct reload_outcome *out)
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
    daemon_stop(opaque, "vfuctl quit");
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

/*
 * Handovers
 */

static void leave(void *opaque, const char *reason)
{
    daemon_stop(opaque, reason);
}

static int receive(void *opaque, int fd, uint32_t ms)
{
    const struct daemon *d = opaque;

    return moving_receive(d->moving, fd, (int)ms);
}

static const char *refuse_save(void *opaque)
{
    const struct daemon *d = opaque;

    return moving_refuse_save(d->moving);
}

static int save(void *opaque, int fd, uint32_t unused)
{
    const struct daemon *d = opaque;

    (void)unused;
    return moving_save(d->moving, fd);
}

static const char *refuse_load(void *opaque)
{
    const struct daemon *d = opaque;

    return moving_refuse_load(d->moving);
}

static int load(void *opaque, int fd, uint32_t unused)
{
    const struct daemon *d = opaque;

    (void)unused;
    return moving_load(d->moving, fd);
}

static void on_moving_event(void *opaque, const struct event *event)
{
    const struct daemon *d = opaque;

    control_publish(d->control, event);
}

static void on_progress(void *opaque, const struct moving_progress *progress)
{
    const struct daemon *d = opaque;

    control_progress(d->control, progress);
}

static void on_moved(void *opaque, const struct moving_outcome *outcome)
{
    const struct daemon *d = opaque;

    control_moved(d->control, outcome);
}

int requests_make_moving(struct daemon *d)
{
    const struct moving_host host = {
        .opaque = d,
        .loop = &d->loop,
        .dev = d->dev,
        .listener = d->listener,
        .migration = d->migration,
        .held = d->held,
        .name = d->options.name,
        .keeper = d->keeper != NULL ? &d->handover_keeper : NULL,
        .on_phase = d->options.on_phase,
        .leave = leave,
        .event = on_moving_event,
        .progress = on_progress,
        .moved = on_moved,
    };

    return moving_new(&host, &d->moving);
}

int requests_make_control(struct daemon *d)
{
    const struct control_host host = { .opaque = d,
                                       .dev = d->dev,
                                       .migration = d->migration,
                                       .keeper = d->keeper,
                                       .name = d->options.name,
                                       .started_ns = monotonic_now(),
                                       .client = requests_client,
                                       .recovery = recover_get,
                                       .reload = requests_reload,
                                       .quit = quit,
                                       .capture = capture,
                                       .capturing = capturing,
                                       .moving = d->moving,
                                       .receive = receive,
                                       .refuse_save = refuse_save,
                                       .save = save,
                                       .refuse_load = refuse_load,
                                       .load = load,
                                       .stats = &d->stats };
    int fd = d->options.control_fd;
    int err;

    if (d->options.control_path != NULL) {
        fd = accept_listen_at("daemon", d->options.control_path, DAEMON_SOCKET_MODE,
                              &d->control_place);
        if (fd < 0)
            return fd;
    }
    d->options.control_fd = -1;
    if (fd < 0)
        return 0;
    err = control_new(&d->loop, fd, &host, &d->control);
    if (err != 0)
        log_err("daemon", "the control socket cannot be served: %s", strerror(-err));
    return err;
}
