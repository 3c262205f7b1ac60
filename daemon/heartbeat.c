/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "heartbeat.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "log.h"

static void on_status(uv_timer_t *timer);

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
        uv_timer_start(&h->status, on_status, HEARTBEAT_STATUS_MS, 0);
    } else if (h->owes_ready) {
        log_err("service", "the service manager cannot be told that we are ready: %s",
                strerror(-err));
        h->owes_ready = false;
    }
}

static void on_status(uv_timer_t *timer)
{
    tell_status(timer->data);
}

static void on_watchdog(uv_timer_t *timer)
{
    struct heartbeat *h = timer->data;

    service_alive(h->service);
    tell_status(h);
}

/*
 * Called when the loop has polled and before it looks at its timers. A turn that one of ours has
 * begun finds that timer still due, so an idle daemon does not keep itself awake.
 */
static void on_turn(uv_check_t *check)
{
    struct heartbeat *h = check->data;
    bool ours = uv_is_active((uv_handle_t *)&h->watchdog) && uv_timer_get_due_in(&h->watchdog) == 0;

    if (!ours && !uv_is_active((uv_handle_t *)&h->status))
        uv_timer_start(&h->status, on_status, HEARTBEAT_STATUS_MS, 0);
}

void heartbeat_init(struct heartbeat *h, uv_loop_t *loop, struct service *service,
                    void (*describe)(void *opaque, char *text, size_t size), void *opaque)
{
    *h = (struct heartbeat) { .service = service, .describe = describe, .opaque = opaque };
    uv_timer_init(loop, &h->watchdog);
    uv_timer_init(loop, &h->status);
    uv_check_init(loop, &h->turn);
    h->watchdog.data = h;
    h->status.data = h;
    h->turn.data = h;
}

void heartbeat_ready(struct heartbeat *h)
{
    /* Twice in the time it is waited for, as sd_watchdog_enabled(3) advises. */
    uint64_t interval_ms = service_watchdog_usec(h->service) / 1000 / 2;

    if (!service_is_told(h->service))
        return;
    h->owes_ready = true;
    tell_status(h);
    uv_check_start(&h->turn, on_turn);
    if (interval_ms > 0 && !uv_is_active((uv_handle_t *)&h->watchdog))
        uv_timer_start(&h->watchdog, on_watchdog, interval_ms, interval_ms);
}

void heartbeat_fini(struct heartbeat *h)
{
    uv_close((uv_handle_t *)&h->watchdog, NULL);
    uv_close((uv_handle_t *)&h->status, NULL);
    uv_close((uv_handle_t *)&h->turn, NULL);
}
