/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "method.h"
#include "migrate/content.h"
#include "migrate/handover.h"

/* Fds that come with a call. */
#define MAX_CONNECTION 3

#define DEFAULT_FROM "another vfio-userd"

bool method_is_busy(const struct control_host *host, struct method_outcome *out)
{
    const char *reason = host->moving != NULL ? moving_busy(host->moving) : NULL;

    if (reason == NULL)
        return false;
    method_busy(out, reason);
    return true;
}

static bool is_implemented(const struct control_host *host, const char *method,
                           struct method_outcome *out)
{
    if (host->moving != NULL)
        return true;
    out->error = METHOD_SERVICE ".MethodNotImplemented";
    method_add_string(out->parameters, "method", method);
    return false;
}

static int64_t number(struct json_object *parameters, const char *name, int64_t otherwise)
{
    struct json_object *value = method_parameter(parameters, name);

    return value != NULL ? json_object_get_int64(value) : otherwise;
}

static int64_t timeout_of(struct json_object *parameters)
{
    return number(parameters, "timeout", MOVING_TIMEOUT_DEFAULT);
}

static bool is_timeout(int64_t ms)
{
    return ms > 0 && ms <= HANDOVER_TIMEOUT_MAX;
}

/*
 * Migrate
 */

void method_migrate_request(struct json_object *parameters, struct moving_request *out,
                            int *connection)
{
    *out = (struct moving_request) {
        .to = json_object_get_string(method_parameter(parameters, "to")),
        .fd = -1,
        .keep = json_object_get_boolean(method_parameter(parameters, "keep")),
        .timeout_ms = (int)timeout_of(parameters),
    };
    *connection = (int)number(parameters, "connection", -1);
}

/* text may have a NUL in it. */
static bool is_text(struct json_object *value)
{
    size_t len = (size_t)json_object_get_string_len(value);

    return len > 0 && strlen(json_object_get_string(value)) == len;
}

void method_migrate(const struct control_host *host, struct json_object *parameters,
                    struct method_outcome *out)
{
    int64_t connection = number(parameters, "connection", 0);

    if (!is_implemented(host, METHOD_INTERFACE ".Migrate", out))
        return;
    if (!is_text(method_parameter(parameters, "to"))) {
        method_invalid_parameter(out, "to");
    } else if (connection < 0 || connection > MAX_CONNECTION) {
        method_invalid_parameter(out, "connection");
    } else if (!is_timeout(timeout_of(parameters))) {
        method_invalid_parameter(out, "timeout");
    } else if (moving_obstacle(host->moving) != NULL) {
        method_busy(out, moving_obstacle(host->moving));
    } else {
        method_add_string(out->parameters, "phase", "offer");
        method_add_int(out->parameters, "bytes", 0);
        method_add_int(out->parameters, "remaining", 0);
        out->then = METHOD_THEN_MIGRATE;
    }
}

struct json_object *method_migrate_progress(const struct moving_progress *progress)
{
    struct json_object *reply = json_object_new_object();
    struct json_object *o = json_object_new_object();

    method_add_string(o, "phase", progress->phase);
    method_add_int(o, "bytes", (int64_t)progress->bytes);
    method_add_int(o, "remaining", (int64_t)progress->remaining);
    method_add(reply, "parameters", o);
    method_add_bool(reply, "continues", true);
    return reply;
}

static void add_difference(struct json_object *o, const struct content_difference *d)
{
    method_add_string(o, "field", d->field);
    method_add_string(o, "ours", d->ours);
    method_add_string(o, "theirs", d->theirs);
}

static void add_error(struct json_object *reply, struct json_object *o,
                      const struct moving_outcome *outcome)
{
    char name[64] = METHOD_INTERFACE ".";

    strncat(name, outcome->error, sizeof(name) - sizeof(METHOD_INTERFACE) - 1);
    method_add_string(reply, "error", name);
    if (strcmp(outcome->error, "Incompatible") == 0) {
        add_difference(o, outcome->difference);
        return;
    }
    if (strcmp(outcome->error, "MigrationFailed") == 0)
        method_add_string(o, "phase", outcome->phase);
    method_add_string(o, "reason", outcome->reason);
}

struct json_object *method_migrate_end(const struct moving_outcome *outcome)
{
    struct json_object *reply = json_object_new_object();
    struct json_object *o = json_object_new_object();

    if (outcome->error != NULL) {
        add_error(reply, o, outcome);
    } else {
        method_add_string(o, "phase", outcome->phase);
        method_add_int(o, "bytes", (int64_t)outcome->bytes);
        method_add_int(o, "remaining", 0);
        method_add_int(o, "fds", outcome->fds);
        method_add_int(o, "blackout", outcome->blackout);
    }
    method_add(reply, "parameters", o);
    return reply;
}

/*
 * Receive
 */

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

/* Returns the number of bytes, or -EINVAL. */
static int read_hex(const char *text, uint8_t *out, size_t size)
{
    size_t len = strlen(text);

    if (len % 2 != 0 || len / 2 > size)
        return -EINVAL;
    for (size_t i = 0; i < len / 2; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return -EINVAL;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return (int)(len / 2);
}

static const char *name_of_source(struct json_object *parameters)
{
    struct json_object *from = method_parameter(parameters, "from");

    return from != NULL && is_text(from) ? json_object_get_string(from) : DEFAULT_FROM;
}

static void judge(const struct control_host *host, struct json_object *parameters,
                  const uint8_t *offer, size_t len, struct method_outcome *out)
{
    struct content_difference difference;
    const char *reason;
    int err =
        moving_judge(host->moving, name_of_source(parameters), offer, len, &reason, &difference);

    if (err == 0) {
        out->then = METHOD_THEN_HAND_OVER;
        out->taker = (struct method_taker) { .take = host->receive,
                                             .argument = (uint32_t)timeout_of(parameters),
                                             .what = "the handover" };
    } else if (err == -EBUSY) {
        method_busy(out, reason);
    } else if (err == -EPERM) {
        out->error = METHOD_INTERFACE ".Incompatible";
        add_difference(out->parameters, &difference);
    } else {
        method_invalid_parameter(out, "offer");
    }
}

void method_receive(const struct control_host *host, struct json_object *parameters,
                    struct method_outcome *out)
{
    const char *hex = json_object_get_string(method_parameter(parameters, "offer"));
    uint8_t offer[CONTENT_BEGIN_MAX];
    int len = read_hex(hex, offer, sizeof(offer));

    if (!is_implemented(host, METHOD_INTERFACE ".Receive", out))
        return;
    if (len < 0)
        method_invalid_parameter(out, "offer");
    else if (!is_timeout(timeout_of(parameters)))
        method_invalid_parameter(out, "timeout");
    else
        judge(host, parameters, offer, (size_t)len, out);
}
