/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A Varlink interface's text, read: its methods, errors and types, and whether a value is of one of
 * them. For tests, which fail where the text is not an interface.
 */
#ifndef VFIO_USERD_TEST_INTERFACE_TEXT_H
#define VFIO_USERD_TEST_INTERFACE_TEXT_H

#include <json-c/json.h>
#include <stdbool.h>

/*
 * Types are JSON themselves: "int", "bool", "string", "float" or the name of a type; or an object
 * with one member: "optional" or "array" with the type of what it holds, or "fields", an object
 * of types by name.
 */
struct interface_text {
    char name[64];
    struct json_object *types;   /* by name */
    struct json_object *errors;  /* types of the parameters, by name */
    struct json_object *inputs;  /* of methods: types of the parameters, by name */
    struct json_object *outputs; /* of the replies */
};

void interface_read(const char *text, struct interface_text *out);
void interface_free(struct interface_text *i);

#define INTERFACE_WHY_BYTES 256

/*
 * Whether value is of this type: all of its members are known, and none is missing that is not
 * optional. Else why, of INTERFACE_WHY_BYTES, says so; what: the value's name in it.
 */
bool interface_matches(const struct interface_text *i, struct json_object *type,
                       struct json_object *value, const char *what, char *why);

/* Fails unless the reply to method, result or error, is as the interface says. */
void interface_check_reply(const struct interface_text *i, const char *method,
                           struct json_object *reply);

/* What is inside an optional type, with true; else the type. */
struct json_object *interface_optional(struct json_object *type, bool *optional);

#endif
