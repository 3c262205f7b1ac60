/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "heartbeat.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "log.h"

#define STATUS_NS (HEARTBEAT_STATUS_MS * 1000000ll)

static void look_later(struct heartbeat *h)
{
    if (!h->looks)
        wake_at(h->status, wake_now() + STATUS_NS);
    h->looks = true;
}

static void tell_status(struct heartbeat *h)
{
    char text[HEARTBEAT_STATUS_BYTES];
    int err;

    h->describe(h->opaque, text, sizeof(text));
    if (!h->owes_ready && strcmp(text, h->told) == 0)
        return;
    err = h->owes_ready ? service_ready(h->service, text) : service_status(h->service, text);
    if (err == 0) {
        strcpy(h->told, text);
        h->owes_ready = false;
    } else if (h->owes_ready && err == -EAGAIN) {
        look_later(h);
    } else if (h->owes_ready) {
        log_err("service", "the service manager cannot be told that we are ready: %s",
                strerror(-err));
        h->owes_ready = false;
    }
}

static void on_status(void *arg)
{
    struct heartbeat *h = arg;

    h->looks = false;
    h->due = true;
}

static void on_watchdog(void *arg)
{
    struct heartbeat *h = arg;

    wake_at(h->watchdog, wake_now() + h->interval_ns);
    service_alive(h->service);
    h->due = true;
}

/*
 * Called when all that the loop's turn has brought is done. A turn that we have begun ourselves
 * does not lead to another, so an idle daemon does not keep itself awake.
 */
static void on_turn(uv_check_t *check)
{
    struct heartbeat *h = check->data;

    if (h->due)
        tell_status(h);
    else
        look_later(h);
    h->due = false;
}

int heartbeat_init(struct heartbeat *h, uv_loop_t *loop, struct service *service,
                   void (*describe)(void *opaque, char *text, size_t size), void *opaque)
{
    int err;

    *h = (struct heartbeat) { .service = service, .describe = describe, .opaque = opaque };
    uv_check_init(loop, &h->turn);
    h->turn.data = h;
    if (!service_is_told(service))
        return 0;
    err = wake_new(loop, on_watchdog, h, &h->watchdog);
    return err == 0 ? wake_new(loop, on_status, h, &h->status) : err;
}

void heartbeat_ready(struct heartbeat *h)
{
    if (!service_is_told(h->service))
        return;
    h->owes_ready = true;
    tell_status(h);
    uv_check_start(&h->turn, on_turn);
    if (h->interval_ns == 0 && service_watchdog_usec(h->service) > 0) {
        /* Twice in the time it is waited for, as sd_watchdog_enabled(3) advises. */
        h->interval_ns = (int64_t)service_watchdog_usec(h->service) * 1000 / 2;
        wake_at(h->watchdog, wake_now() + h->interval_ns);
    }
}

void heartbeat_fini(struct heartbeat *h)
{
    wake_free(h->watchdog);
    wake_free(h->status);
    uv_close((uv_handle_t *)&h->turn, NULL);
}
