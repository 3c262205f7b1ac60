/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

struct json_object *ctl_get(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;

    json_object_object_get_ex(object, key, &value);
    return value;
}

long long ctl_int(struct json_object *object, const char *key)
{
    return json_object_get_int64(ctl_get(object, key));
}

bool ctl_bool(struct json_object *object, const char *key)
{
    return json_object_get_boolean(ctl_get(object, key));
}

const char *ctl_string(struct json_object *object, const char *key)
{
    const char *text = json_object_get_string(ctl_get(object, key));

    return text != NULL ? text : "";
}

const char *ctl_delivery(struct json_object *object)
{
    const char *delivered = ctl_string(object, "delivered");

    return strcmp(delivered, "both") == 0 ? "eventfd and message" : delivered;
}

size_t ctl_length(struct json_object *array)
{
    return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

struct json_object *ctl_at(struct json_object *array, size_t i)
{
    return json_object_array_get_idx(array, i);
}

void ctl_print_json(struct json_object *object)
{
    puts(json_object_to_json_string_ext(object,
                                        JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

void ctl_print_reply(const struct ctl *ctl, struct json_object *reply,
                     void (*print)(struct json_object *reply))
{
    if (ctl->quiet)
        return;
    if (ctl->json)
        ctl_print_json(reply);
    else
        print(reply);
}
