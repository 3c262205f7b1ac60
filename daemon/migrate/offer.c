/* SPDX-License-Identifier: BSD-3-Clause */
#include "offer.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define INTERFACE "io.vfiouserd.Device"

int offer_send(struct varlink *v, const struct device *dev, const char *name, int timeout_ms)
{
    static const char digits[] = "0123456789abcdef";
    struct json_object *parameters = json_object_new_object();
    struct json_object *call = json_object_new_object();
    uint8_t begin[CONTENT_BEGIN_MAX];
    char hex[2 * CONTENT_BEGIN_MAX];
    int len = content_begin(dev, begin, sizeof(begin));
    int err = len < 0 ? len : -ENOMEM;

    for (int i = 0; i < len; i++) {
        hex[2 * i] = digits[begin[i] >> 4];
        hex[2 * i + 1] = digits[begin[i] & 15];
    }
    if (len > 0 && parameters != NULL && call != NULL) {
        json_object_object_add(parameters, "offer", json_object_new_string_len(hex, 2 * len));
        json_object_object_add(parameters, "from", json_object_new_string(name));
        json_object_object_add(parameters, "timeout", json_object_new_int(timeout_ms));
        json_object_object_add(call, "method", json_object_new_string(INTERFACE ".Receive"));
        json_object_object_add(call, "parameters", json_object_get(parameters));
        json_object_object_add(call, "upgrade", json_object_new_boolean(true));
        err = varlink_send(v, call);
    }
    json_object_put(parameters);
    json_object_put(call);
    return err;
}

static const char *member(struct json_object *o, const char *key)
{
    struct json_object *value = NULL;

    json_object_object_get_ex(o, key, &value);
    return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

/* The other's words: what is theirs there is ours here. */
static void refuse(struct offer_reply *out, const char *error, struct json_object *parameters)
{
    struct content_difference *d = &out->difference;

    *out = (struct offer_reply) { .error = "MigrationFailed" };
    if (strcmp(error, INTERFACE ".Incompatible") == 0) {
        snprintf(d->field, sizeof(d->field), "%s", member(parameters, "field"));
        snprintf(d->ours, sizeof(d->ours), "%s", member(parameters, "theirs"));
        snprintf(d->theirs, sizeof(d->theirs), "%s", member(parameters, "ours"));
        out->error = "Incompatible";
    } else if (strcmp(error, INTERFACE ".Busy") == 0) {
        snprintf(out->reason, sizeof(out->reason), "the destination: %s",
                 member(parameters, "reason"));
        out->error = "Busy";
    } else if (strcmp(error, "org.varlink.service.PermissionDenied") == 0) {
        snprintf(out->reason, sizeof(out->reason),
                 "the destination receives devices from root and its own user only");
    } else {
        snprintf(out->reason, sizeof(out->reason), "the destination: %s", error);
    }
}

bool offer_take_reply(struct json_object *reply, struct offer_reply *out)
{
    struct json_object *parameters = NULL;
    const char *error = member(reply, "error");

    if (error[0] == '\0')
        return true;
    json_object_object_get_ex(reply, "parameters", &parameters);
    refuse(out, error, parameters);
    return false;
}
