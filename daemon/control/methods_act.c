/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "keep/keeper.h"
#include "log.h"
#include "method.h"
#include "migrate/migration.h"
#include "reload.h"
#include "vfio_user.h"

#define DEFAULT_SNAPLEN 65535

static int find_index(const char *name, uint32_t *out)
{
    for (uint32_t i = 0; i < DEVICE_NUM_IRQS; i++) {
        if (method_irq_name(i) != NULL && strcmp(method_irq_name(i), name) == 0) {
            *out = i;
            return 0;
        }
    }
    return -EINVAL;
}

void method_trigger_irq(const struct control_host *host, struct json_object *parameters,
                        struct method_outcome *out)
{
    struct json_object *index_name = method_parameter(parameters, "index");
    struct json_object *number = method_parameter(parameters, "vector");
    const char *name = index_name != NULL ? json_object_get_string(index_name) : "intx";
    int64_t vector = number != NULL ? json_object_get_int64(number) : 0;
    enum irq_delivery how;
    uint32_t index;
    int err;

    keeper_begin(host->keeper, KEEPER_OTHER);
    if (find_index(name, &index) != 0) {
        method_invalid_parameter(out, "index");
    } else if (vector < 0 || vector > UINT16_MAX) {
        method_invalid_parameter(out, "vector");
    } else if ((err = device_trigger_irq(host->dev, index, (uint32_t)vector, &how)) == -EBUSY) {
        if (!method_is_busy(host, out))
            method_busy(out, "the device is stopped");
    } else if (err != 0) {
        out->error = METHOD_INTERFACE ".NoSuchIrq";
        method_add_string(out->parameters, "index", name);
        method_add_int(out->parameters, "vector", vector);
    } else {
        method_add_delivery(out->parameters, how);
    }
    keeper_end(host->keeper);
}

void method_reset(const struct control_host *host, struct json_object *parameters,
                  struct method_outcome *out)
{
    (void)parameters;
    if (method_is_busy(host, out))
        return;
    keeper_begin(host->keeper, KEEPER_OTHER);
    device_reset(host->dev, DEVICE_RESET_BY_OPERATOR);
    if (host->migration != NULL)
        migration_reset(host->migration);
    keeper_touch(host->keeper);
    keeper_end(host->keeper);
}

void method_reload(const struct control_host *host, struct json_object *parameters,
                   struct method_outcome *out)
{
    struct reload_outcome outcome;
    struct json_object *changed;

    (void)parameters;
    if (host->reload(host->opaque, &outcome) != 0) {
        out->error = METHOD_INTERFACE ".ReloadRefused";
        method_add_string(out->parameters, "reason", outcome.reason);
        return;
    }
    changed = json_object_new_array();
    for (unsigned i = 0; i < outcome.n_changed; i++)
        method_append(changed, json_object_new_string(outcome.changed[i].key));
    method_add(out->parameters, "changed", changed);
}

void method_set_log_level(const struct control_host *host, struct json_object *parameters,
                          struct method_outcome *out)
{
    enum log_level level;

    (void)host;
    if (log_level_parse(json_object_get_string(method_parameter(parameters, "level")), &level) !=
        0) {
        method_invalid_parameter(out, "level");
        return;
    }
    method_add_string(out->parameters, "previous", log_level_name(log_current_level()));
    log_set_level(level);
}

void method_quit(const struct control_host *host, struct json_object *parameters,
                 struct method_outcome *out)
{
    (void)host;
    (void)parameters;
    out->then = METHOD_THEN_QUIT;
}

void method_capture(const struct control_host *host, struct json_object *parameters,
                    struct method_outcome *out)
{
    struct json_object *value = method_parameter(parameters, "snaplen");
    int64_t snaplen = value != NULL ? json_object_get_int64(value) : DEFAULT_SNAPLEN;

    if (snaplen < VFIO_USER_HEADER_SIZE || snaplen > INT32_MAX) {
        method_invalid_parameter(out, "snaplen");
    } else if (host->capture == NULL) {
        out->error = METHOD_SERVICE ".MethodNotImplemented";
        method_add_string(out->parameters, "method", METHOD_INTERFACE ".Capture");
    } else if (host->capturing(host->opaque)) {
        method_busy(out, "a capture is under way");
    } else {
        out->then = METHOD_THEN_HAND_OVER;
        out->taker = (struct method_taker) { .take = host->capture,
                                             .argument = (uint32_t)snaplen,
                                             .what = "the capture" };
    }
}
