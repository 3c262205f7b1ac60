/* SPDX-License-Identifier: BSD-3-Clause */
#include "watch.h"

#include <errno.h>
#include <stdlib.h>

struct watch {
    uv_poll_t poll;
    watch_fn fn;
    void *arg;
    int events;
};

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;

    /* libuv stops watching an fd in error, but there may be something to read before that. */
    if (status != 0)
        uv_poll_start(&w->poll, w->events, on_event);
    w->fn(w->arg, status == 0 ? events : UV_READABLE);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int watch_new(uv_loop_t *loop, int fd, watch_fn fn, void *arg, struct watch **out)
{
    struct watch *w = calloc(1, sizeof(*w));
    int err;

    if (w == NULL)
        return -ENOMEM;
    err = uv_poll_init(loop, &w->poll, fd);
    if (err != 0) {
        free(w);
        return err;
    }
    w->poll.data = w;
    w->fn = fn;
    w->arg = arg;
    w->events = UV_READABLE;
    uv_poll_start(&w->poll, w->events, on_event);
    *out = w;
    return 0;
}

void watch_set(struct watch *w, int events)
{
    w->events = events;
    if (events == 0)
        uv_poll_stop(&w->poll);
    else
        uv_poll_start(&w->poll, events, on_event);
}

void watch_free(struct watch *w)
{
    if (w == NULL)
        return;
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_closed);
}
