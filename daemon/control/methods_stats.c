/* SPDX-License-Identifier: BSD-3-Clause */
#include "message.h"
#include "method.h"
#include "stats.h"

static struct json_object *latency(const struct stats_command *command)
{
    struct json_object *buckets = json_object_new_array_ext(STATS_BUCKETS);

    for (unsigned i = 0; i < STATS_BUCKETS; i++)
        method_append(buckets, json_object_new_int64((int64_t)command->latency[i]));
    return buckets;
}

static struct json_object *bounds(void)
{
    struct json_object *o = json_object_new_array_ext(STATS_BUCKETS - 1);

    for (unsigned i = 0; i < STATS_BUCKETS - 1; i++)
        method_append(o, json_object_new_int64((int64_t)stats_bound(i)));
    return o;
}

static struct json_object *commands(const struct stats *stats)
{
    struct json_object *all = json_object_new_array();

    for (uint16_t i = 0; i < VFIO_USER_COMMAND_COUNT; i++) {
        const struct stats_command *command = &stats->commands[i];
        struct json_object *o;

        if (command->requests == 0)
            continue;
        o = json_object_new_object();
        method_add_string(o, "command", message_command_name(i));
        method_add_int(o, "requests", (int64_t)command->requests);
        method_add_int(o, "errors", (int64_t)command->errors);
        method_add_int(o, "latency_sum", (int64_t)command->latency_sum);
        method_add(o, "latency", latency(command));
        method_append(all, o);
    }
    return all;
}

static struct json_object *control(const struct stats *stats)
{
    struct json_object *o = json_object_new_object();

    method_add_int(o, "connections", (int64_t)stats->control.connections);
    method_add_int(o, "calls", (int64_t)stats->control.calls);
    method_add_int(o, "errors", (int64_t)stats->control.errors);
    return o;
}

void method_get_stats(const struct control_host *host, struct json_object *parameters,
                      struct method_outcome *out)
{
    const struct stats *stats = host->stats;
    struct json_object *o = out->parameters;

    (void)parameters;
    method_add_int(o, "since", stats->since);
    method_add_int(o, "clients", (int64_t)stats->clients);
    method_add_int(o, "refused", (int64_t)stats->refused);
    method_add_int(o, "interrupts", (int64_t)stats->interrupts);
    method_add_int(o, "resets", (int64_t)stats->resets);
    method_add(o, "dma", method_dma(host->dev));
    method_add(o, "control", control(stats));
    method_add(o, "latency_bounds", bounds());
    method_add(o, "commands", commands(stats));
}
