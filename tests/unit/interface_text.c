/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit/interface_text.h"

#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/*
 * Reading
 */

/* What stands there next, behind spaces and comments. */
static const char *skip(const char **at)
{
    while (isspace((unsigned char)**at) || **at == '#')
        *at += **at == '#' ? strcspn(*at, "\n") : 1;
    return *at;
}

static bool take(const char **at, const char *token)
{
    if (strncmp(skip(at), token, strlen(token)) != 0)
        return false;
    *at += strlen(token);
    return true;
}

static void expect(const char **at, const char *token)
{
    ck_assert_msg(take(at, token), "\"%s\" is missing before: %.40s", token, *at);
}

static void take_name(const char **at, char *name, size_t size)
{
    size_t len = strspn(skip(at), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_.-");

    ck_assert_msg(len > 0 && len < size, "a name is missing before: %.40s", *at);
    memcpy(name, *at, len);
    name[len] = '\0';
    *at += len;
}

static struct json_object *wrap(const char *kind, struct json_object *inside)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, kind, inside);
    return o;
}

static struct json_object *read_type(const char **at);

static struct json_object *read_fields(const char **at)
{
    struct json_object *fields = json_object_new_object();
    char name[64];

    expect(at, "(");
    while (!take(at, ")")) {
        take_name(at, name, sizeof(name));
        expect(at, ":");
        ck_assert_msg(!json_object_object_get_ex(fields, name, NULL), "%s is there twice", name);
        json_object_object_add(fields, name, read_type(at));
        if (!take(at, ","))
            ck_assert_msg(*skip(at) == ')', "\")\" is missing before: %.40s", *at);
    }
    return wrap("fields", fields);
}

static struct json_object *read_type(const char **at)
{
    char name[64];

    if (take(at, "?"))
        return wrap("optional", read_type(at));
    if (take(at, "[]"))
        return wrap("array", read_type(at));
    if (*skip(at) == '(')
        return read_fields(at);
    take_name(at, name, sizeof(name));
    return json_object_new_string(name);
}

static void add_once(struct json_object *to, const char *name, struct json_object *type)
{
    ck_assert_msg(!json_object_object_get_ex(to, name, NULL), "%s is there twice", name);
    json_object_object_add(to, name, type);
}

void interface_read(const char *text, struct interface_text *out)
{
    const char *at = text;
    char word[64];
    char name[64];

    *out = (struct interface_text) { .types = json_object_new_object(),
                                     .errors = json_object_new_object(),
                                     .inputs = json_object_new_object(),
                                     .outputs = json_object_new_object() };
    expect(&at, "interface");
    take_name(&at, out->name, sizeof(out->name));
    while (*skip(&at) != '\0') {
        take_name(&at, word, sizeof(word));
        take_name(&at, name, sizeof(name));
        if (strcmp(word, "type") == 0) {
            add_once(out->types, name, read_fields(&at));
        } else if (strcmp(word, "error") == 0) {
            add_once(out->errors, name, read_fields(&at));
        } else {
            ck_assert_str_eq(word, "method");
            add_once(out->inputs, name, read_fields(&at));
            expect(&at, "->");
            add_once(out->outputs, name, read_fields(&at));
        }
    }
}

void interface_free(struct interface_text *i)
{
    json_object_put(i->types);
    json_object_put(i->errors);
    json_object_put(i->inputs);
    json_object_put(i->outputs);
}

/*
 * Checking
 */

struct json_object *interface_optional(struct json_object *type, bool *optional)
{
    struct json_object *inside;

    *optional = json_object_is_type(type, json_type_object) &&
                json_object_object_get_ex(type, "optional", &inside);
    return *optional ? inside : type;
}

/* Returns false, with what is wrong. */
static bool wrong(char *why, const char *what, const char *problem)
{
    snprintf(why, INTERFACE_WHY_BYTES, "%s %s", what, problem);
    return false;
}

static bool matches_named(const struct interface_text *i, const char *type,
                          struct json_object *value, const char *what, char *why)
{
    static const struct {
        const char *name;
        enum json_type type;
    } basic[] = {
        { "int", json_type_int },
        { "bool", json_type_boolean },
        { "string", json_type_string },
        { "float", json_type_double },
    };
    struct json_object *named;

    for (size_t n = 0; n < sizeof(basic) / sizeof(basic[0]); n++) {
        if (strcmp(basic[n].name, type) == 0)
            return json_object_is_type(value, basic[n].type) ||
                   wrong(why, what, "has not its type");
    }
    if (!json_object_object_get_ex(i->types, type, &named))
        return wrong(why, what, "has a type that is not described");
    return interface_matches(i, named, value, what, why);
}

static bool matches_fields(const struct interface_text *i, struct json_object *fields,
                           struct json_object *value, const char *what, char *why)
{
    char inner[128];

    if (!json_object_is_type(value, json_type_object))
        return wrong(why, what, "is no object");
    json_object_object_foreach (value, key, member) {
        (void)member;
        snprintf(inner, sizeof(inner), "%s.%s", what, key);
        if (!json_object_object_get_ex(fields, key, NULL))
            return wrong(why, inner, "is not described");
    }
    json_object_object_foreach (fields, name, type) {
        struct json_object *found = NULL;
        bool optional;

        interface_optional(type, &optional);
        snprintf(inner, sizeof(inner), "%s.%s", what, name);
        if (!json_object_object_get_ex(value, name, &found) && !optional)
            return wrong(why, inner, "is missing");
        if (!interface_matches(i, type, found, inner, why))
            return false;
    }
    return true;
}

static bool matches_array(const struct interface_text *i, struct json_object *type,
                          struct json_object *value, const char *what, char *why)
{
    if (!json_object_is_type(value, json_type_array))
        return wrong(why, what, "is no array");
    for (size_t n = 0; n < json_object_array_length(value); n++) {
        if (!interface_matches(i, type, json_object_array_get_idx(value, n), what, why))
            return false;
    }
    return true;
}

bool interface_matches(const struct interface_text *i, struct json_object *type,
                       struct json_object *value, const char *what, char *why)
{
    struct json_object *inside;
    bool optional;

    type = interface_optional(type, &optional);
    if (value == NULL)
        return optional || wrong(why, what, "is null");
    if (json_object_is_type(type, json_type_string))
        return matches_named(i, json_object_get_string(type), value, what, why);
    if (json_object_object_get_ex(type, "array", &inside))
        return matches_array(i, inside, value, what, why);
    return matches_fields(i, json_object_object_get(type, "fields"), value, what, why);
}

void interface_check_reply(const struct interface_text *i, const char *method,
                           struct json_object *reply)
{
    struct json_object *parameters = json_object_object_get(reply, "parameters");
    struct json_object *error = json_object_object_get(reply, "error");
    struct json_object *type = NULL;
    const char *name = method;
    size_t len = strlen(i->name);
    char why[INTERFACE_WHY_BYTES];

    if (error != NULL) {
        name = json_object_get_string(error);
        if (strncmp(name, i->name, len) != 0 || name[len] != '.')
            return; /* another interface's */
        json_object_object_get_ex(i->errors, name + len + 1, &type);
    } else {
        json_object_object_get_ex(i->outputs, method, &type);
    }
    ck_assert_msg(type != NULL, "%s is not described", name);
    ck_assert_msg(interface_matches(i, type, parameters, name, why), "%s: %s", why,
                  json_object_get_string(reply));
}
