/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "monitor.h"

#include <time.h>

#include "method.h"

static struct json_object *new_event(const char *kind)
{
    struct json_object *o = json_object_new_object();
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    method_add_int(o, "time", now.tv_sec * 1000000000ll + now.tv_nsec);
    method_add_string(o, "kind", kind);
    return o;
}

void method_monitor(const struct control_host *host, struct json_object *parameters,
                    struct method_outcome *out)
{
    struct json_object *event = new_event("monitoring");
    struct client_info client;
    bool attached = host->client(host->opaque, &client);

    (void)parameters;
    method_add(event, "client", attached ? method_client(&client) : NULL);
    method_add(out->parameters, "event", event);
    out->then = METHOD_THEN_MONITOR;
}

static struct json_object *interrupt(const struct device_event *event)
{
    struct json_object *o = new_event("interrupt");

    method_add_string(o, "index", method_irq_name(event->index));
    method_add_int(o, "vector", event->vector);
    method_add_delivery(o, event->how);
    return o;
}

static struct json_object *reset(const struct device_event *event)
{
    static const char *const by[] = {
        [DEVICE_RESET_BY_CLIENT] = "client",
        [DEVICE_RESET_BY_GUEST] = "guest",
        [DEVICE_RESET_BY_OPERATOR] = "operator",
    };
    struct json_object *o = new_event("reset");

    method_add_string(o, "by", by[event->by]);
    return o;
}

static struct json_object *map(const struct device_event *event)
{
    bool is_map = event->kind == DEVICE_EVENT_DMA_MAP;
    struct json_object *o = new_event(is_map ? "dma-map" : "dma-unmap");

    if (event->size > 0) {
        method_add_int(o, "iova", (int64_t)event->iova);
        method_add_int(o, "size", (int64_t)event->size);
    }
    if (is_map)
        method_add_bool(o, "shared", event->shared);
    return o;
}

static struct json_object *device(const struct device_event *event)
{
    switch (event->kind) {
    case DEVICE_EVENT_INTERRUPT:
        return interrupt(event);
    case DEVICE_EVENT_RESET:
        return reset(event);
    case DEVICE_EVENT_DMA_MAP:
    case DEVICE_EVENT_DMA_UNMAP:
        break;
    }
    return map(event);
}

static struct json_object *client(const struct event *event)
{
    static const char *const kinds[] = {
        [EVENT_CLIENT_ATTACHED] = "client-attached",
        [EVENT_CLIENT_DETACHED] = "client-detached",
        [EVENT_CLIENT_REFUSED] = "client-refused",
    };
    struct json_object *o = new_event(kinds[event->kind]);

    if (event->client != NULL)
        method_add(o, "client", method_client(event->client));
    else
        method_add_int(o, "pid", event->pid);
    if (event->reason != NULL)
        method_add_string(o, "reason", event->reason);
    return o;
}

static struct json_object *migration(const struct event *event)
{
    struct json_object *o = new_event("migration");

    method_add_string(o, "phase", event->phase);
    return o;
}

static struct json_object *reply_of(struct json_object *event)
{
    struct json_object *parameters = json_object_new_object();
    struct json_object *reply = json_object_new_object();

    method_add(parameters, "event", event);
    method_add(reply, "parameters", parameters);
    method_add_bool(reply, "continues", true);
    return reply;
}

struct json_object *monitor_event(const struct event *event)
{
    switch (event->kind) {
    case EVENT_DEVICE:
        return reply_of(device(event->device));
    case EVENT_MIGRATION:
        return reply_of(migration(event));
    default:
        return reply_of(client(event));
    }
}

struct json_object *monitor_lost(uint64_t count)
{
    struct json_object *event = new_event("lost");

    method_add_int(event, "count", (int64_t)count);
    return reply_of(event);
}
