/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "transfers.h"
#include "token.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loading.h"
#include "log.h"
#include "peer.h"
#include "saving.h"
#include "watch.h"

/* What is sent or taken in one turn of the loop, in bytes. */
#define PIECE (256u << 10)

#define INTERFACE "io.vfiouserd.Device."

/* One connection and what goes over it. */
struct transfer {
    struct transfers *owner;
    uv_timer_t idle;
    struct watch *watch;
    struct peer peer;
    int fd;
    struct saving *saving;   /* NULL: it loads */
    struct loading *loading; /* NULL: it saves */
    uint32_t begin;          /* of what is not sent yet of buffer */
    uint32_t end;
    uint8_t buffer[PIECE];
};

struct transfers {
    uv_loop_t *loop;
    struct device *dev;
    struct transfers_host host;
    struct transfer *save; /* NULL: none is under way */
    struct transfer *load;
};

int transfers_new(uv_loop_t *loop, struct device *dev, const struct transfers_host *host,
                  struct transfers **out)
{
    struct transfers *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return -ENOMEM;
    t->loop = loop;
    t->dev = dev;
    t->host = *host;
    *out = t;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void end_transfer(struct transfer *x)
{
    struct transfers *t = x->owner;

    if (t->save == x)
        t->save = NULL;
    if (t->load == x)
        t->load = NULL;
    watch_free(x->watch);
    saving_free(x->saving);
    loading_free(x->loading);
    close(x->fd);
    uv_close((uv_handle_t *)&x->idle, on_closed);
}

void transfers_free(struct transfers *t)
{
    if (t == NULL)
        return;
    if (t->save != NULL)
        end_transfer(t->save);
    if (t->load != NULL)
        end_transfer(t->load);
    free(t);
}

const char *transfers_busy(const struct transfers *t)
{
    if (t->save != NULL)
        return "the device is being saved";
    return t->load != NULL ? "a state is being loaded" : NULL;
}

const char *transfers_refuse_save(const struct transfers *t)
{
    return t->save != NULL ? transfers_busy(t) : NULL;
}

/* Whatever a running client does is not for us to replace. */
static const char *refuse_apply(const struct transfers *t)
{
    if (device_running(t->dev) && t->host.has_client(t->host.opaque))
        return "a client is attached, and has not stopped the device";
    return NULL;
}

const char *transfers_refuse_load(const struct transfers *t)
{
    return t->load != NULL ? "a state is being loaded" : refuse_apply(t);
}

static void give_up(struct transfer *x, const char *reason)
{
    log_warning(x->saving != NULL ? "save" : "load", "for pid %d: given up: %s", (int)x->peer.pid,
                reason);
    end_transfer(x);
}

static void on_idle(uv_timer_t *timer)
{
    give_up(timer->data, "the other side does not go on");
}

static void restart_idle(struct transfer *x)
{
    uv_timer_start(&x->idle, on_idle, x->owner->host.idle_ms, 0);
}

/* On failure fd is closed. */
static int begin(struct transfers *t, int fd, watch_fn fn, struct transfer **out)
{
    struct transfer *x = calloc(1, sizeof(*x));
    int err = -ENOMEM;

    if (x != NULL)
        err = watch_new(t->loop, fd, fn, x, &x->watch);
    if (err != 0) {
        free(x);
        close(fd);
        return err;
    }
    x->owner = t;
    x->fd = fd;
    peer_credentials(fd, &x->peer);
    uv_timer_init(t->loop, &x->idle);
    x->idle.data = x;
    restart_idle(x);
    *out = x;
    return 0;
}

/*
 * Out
 */

/* Fills the buffer when it is empty. Returns whether there is something to send. */
static bool refill(struct transfer *x)
{
    int n;

    if (x->begin < x->end)
        return true;
    n = saving_read(x->saving, x->buffer, PIECE);
    x->begin = 0;
    x->end = n > 0 ? (uint32_t)n : 0;
    return n > 0;
}

static void on_save(void *arg, int events)
{
    struct transfer *x = arg;
    ssize_t n;

    (void)events; /* one that is in error is tried too, and says so */
    if (!refill(x)) {
        log_info("save", "for pid %d: %llu bytes", (int)x->peer.pid,
                 (unsigned long long)saving_bytes(x->saving));
        end_transfer(x);
        return;
    }
    n = send(x->fd, x->buffer + x->begin, x->end - x->begin, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
        x->begin += (uint32_t)n;
        restart_idle(x);
    } else if (errno != EAGAIN && errno != EINTR) {
        give_up(x, strerror(errno));
    }
}

/* What is saved is the device of one instant. */
static int latch(struct transfers *t, struct saving **out)
{
    bool runs = device_running(t->dev);
    int err;

    token_begin_change(t->host.keeper);
    device_stop(t->dev);
    err = saving_new(t->dev, false, out);
    if (runs)
        device_start(t->dev);
    token_end_change(t->host.keeper);
    return err;
}

int transfers_save(struct transfers *t, int fd)
{
    struct transfer *x;
    int err;

    if (transfers_refuse_save(t) != NULL) {
        close(fd);
        return -EBUSY;
    }
    err = begin(t, fd, on_save, &x);
    if (err != 0)
        return err;
    err = latch(t, &x->saving);
    if (err != 0) {
        end_transfer(x);
        return err;
    }
    t->save = x;
    watch_set(x->watch, UV_WRITABLE);
    return 0;
}

/*
 * In
 */

static void add_text(struct json_object *o, const char *key, const char *text)
{
    if (o != NULL) /* without memory, less is said */
        json_object_object_add(o, key, json_object_new_string(text));
}

/* The outcome as a Varlink reply; the peer reads it or does not. */
static void reply(const struct transfer *x, const char *error, struct json_object *parameters)
{
    struct json_object *o = json_object_new_object();
    const char *text = NULL;
    size_t len = 0;

    if (error != NULL)
        add_text(o, "error", error);
    if (o != NULL && json_object_object_add(o, "parameters", parameters) == 0)
        text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &len);
    if (text != NULL && send(x->fd, text, len + 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("load", "the outcome for pid %d is not sent: %s", (int)x->peer.pid,
                  strerror(errno));
    json_object_put(o);
}

static void refuse(struct transfer *x, const char *error, const char *reason)
{
    struct json_object *parameters = json_object_new_object();

    add_text(parameters, "reason", reason);
    reply(x, error, parameters);
    log_warning("load", "for pid %d: refused: %s", (int)x->peer.pid, reason);
    end_transfer(x);
}

/* The stream is not one, or not one for this device. */
static void refuse_stream(struct transfer *x)
{
    const struct content_difference *difference = loading_difference(x->loading);
    struct json_object *parameters;

    if (difference == NULL) {
        refuse(x, INTERFACE "BadStream", loading_reason(x->loading));
        return;
    }
    parameters = json_object_new_object();
    add_text(parameters, "field", difference->field);
    add_text(parameters, "ours", difference->ours);
    add_text(parameters, "theirs", difference->theirs);
    reply(x, INTERFACE "Incompatible", parameters);
    log_warning("load", "for pid %d: refused: %s is %s here, %s there", (int)x->peer.pid,
                difference->field, difference->ours, difference->theirs);
    end_transfer(x);
}

static int apply(struct transfer *x)
{
    struct device *dev = x->owner->dev;
    bool runs = device_running(dev);
    int err;

    token_begin_change(x->owner->host.keeper);
    device_stop(dev);
    err = loading_apply(x->loading);
    if (runs)
        device_start(dev);
    token_end_change(x->owner->host.keeper);
    return err;
}

/* The peer has sent all. */
static void finish_load(struct transfer *x)
{
    const struct transfers *t = x->owner;
    const char *busy = refuse_apply(t);

    if (!loading_complete(x->loading)) {
        const char *reason = loading_reason(x->loading);

        refuse(x, INTERFACE "BadStream",
               reason[0] != '\0'                ? reason
               : loading_bytes(x->loading) == 0 ? "it is empty"
                                                : "it ends in the middle");
    } else if (busy != NULL) {
        refuse(x, INTERFACE "Busy", busy);
    } else if (apply(x) != 0) {
        refuse_stream(x);
    } else {
        log_info("load", "for pid %d: %llu bytes", (int)x->peer.pid,
                 (unsigned long long)loading_bytes(x->loading));
        reply(x, NULL, json_object_new_object());
        t->host.loaded(t->host.opaque);
        end_transfer(x);
    }
}

static void on_load(void *arg, int events)
{
    struct transfer *x = arg;
    ssize_t n;

    (void)events;
    n = recv(x->fd, x->buffer, PIECE, MSG_DONTWAIT);
    if (n == 0) {
        finish_load(x);
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        give_up(x, strerror(errno));
    } else if (n > 0) {
        int err = loading_write(x->loading, x->buffer, (size_t)n);

        restart_idle(x);
        if (err == -ENOMEM)
            refuse(x, INTERFACE "BadStream", "there is no memory for it");
        else if (err != 0)
            refuse_stream(x);
    }
}

int transfers_load(struct transfers *t, int fd)
{
    struct transfer *x;
    int err;

    if (transfers_refuse_load(t) != NULL) {
        close(fd);
        return -EBUSY;
    }
    err = begin(t, fd, on_load, &x);
    if (err != 0)
        return err;
    err = loading_new(t->dev, &x->loading);
    if (err != 0) {
        end_transfer(x);
        return err;
    }
    t->load = x;
    return 0;
}
