/* SPDX-License-Identifier: BSD-3-Clause */
#include "config_json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Errors and paths
 */

int place_refuse(struct place *p, const char *format, ...)
{
    va_list args;
    int n = snprintf(p->error, p->error_size, "%s: %s%s", p->file, p->path,
                     p->path[0] != '\0' ? ": " : "");

    if (n < 0 || (size_t)n >= p->error_size)
        return -EINVAL;
    va_start(args, format);
    vsnprintf(p->error + n, p->error_size - (size_t)n, format, args);
    va_end(args);
    return -EINVAL;
}

/* Goes down to key (or, with key NULL, to element i); returns the length to go back up to. */
size_t place_enter(struct place *p, const char *key, size_t i)
{
    size_t len = strlen(p->path);

    if (key == NULL)
        snprintf(p->path + len, sizeof(p->path) - len, "[%zu]", i);
    else
        snprintf(p->path + len, sizeof(p->path) - len, "%s%s", len > 0 ? "." : "", key);
    return len;
}

void place_leave(struct place *p, size_t len)
{
    p->path[len] = '\0';
}

/*
 * Values
 */

/* "0x40", "64", "16K", "1M": digits of base 10 or 16, and with sizes a power of 1024. */
static int parse_text_number(struct place *p, const char *text, bool is_size, uint64_t *out)
{
    unsigned shift = 0;
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return place_refuse(p, "\"%s\" is not a number", text);
    errno = 0;
    *out = strtoull(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
    if (errno == ERANGE)
        return place_refuse(p, "%s is too large", text);
    if (is_size && *end != '\0' && strchr("KMG", *end) != NULL)
        shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 30;
    if (shift > 0)
        end++;
    if (*end != '\0')
        return place_refuse(p, "\"%s\" is not a number", text);
    if (*out > UINT64_MAX >> shift)
        return place_refuse(p, "%s is too large", text);
    *out <<= shift;
    return 0;
}

int json_get_number(struct place *p, struct json_object *value, bool is_size, uint64_t min,
                    uint64_t max, uint64_t *out)
{
    uint64_t number = 0;

    if (json_object_is_type(value, json_type_string)) {
        int err = parse_text_number(p, json_object_get_string(value), is_size, &number);

        if (err != 0)
            return err;
    } else if (json_object_is_type(value, json_type_int)) {
        if (json_object_get_int64(value) < 0)
            return place_refuse(p, "must not be negative");
        number = json_object_get_uint64(value);
    } else {
        return place_refuse(p, "must be a number, or a string with one such as \"0x40\"");
    }
    if (number < min || number > max)
        return place_refuse(p, "%llu (0x%llx) is not between %llu and %llu (0x%llx)",
                            (unsigned long long)number, (unsigned long long)number,
                            (unsigned long long)min, (unsigned long long)max,
                            (unsigned long long)max);
    *out = number;
    return 0;
}

int json_get_bool(struct place *p, struct json_object *value, bool *out)
{
    if (!json_object_is_type(value, json_type_boolean))
        return place_refuse(p, "must be true or false");
    *out = json_object_get_boolean(value);
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int json_get_bytes(struct place *p, struct json_object *value, size_t max, uint8_t **out,
                   size_t *len)
{
    const char *text = json_object_get_string(value);
    size_t digits = (size_t)json_object_get_string_len(value);
    uint8_t *bytes;

    if (!json_object_is_type(value, json_type_string) || digits % 2 != 0)
        return place_refuse(p, "must be a string of hexadecimal digits, two for each byte");
    if (digits / 2 > max)
        return place_refuse(p, "has more than %zu bytes", max);
    bytes = malloc(digits / 2 + 1);
    if (bytes == NULL)
        return place_refuse(p, "no memory");
    for (size_t i = 0; i < digits / 2; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            free(bytes);
            return place_refuse(p, "must be a string of hexadecimal digits, two for each byte");
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    free(*out);
    *out = bytes;
    *len = digits / 2;
    return 0;
}

/*
 * Objects: a table of keys each
 */

int json_parse_object(struct place *p, struct json_object *object, const struct key *keys,
                      void *into)
{
    if (!json_object_is_type(object, json_type_object))
        return place_refuse(p, "must be an object");
    json_object_object_foreach (object, name, value) {
        const struct key *key = keys;
        size_t up = place_enter(p, name, 0);
        int err;

        while (key->name != NULL && strcmp(key->name, name) != 0)
            key++;
        err = key->name != NULL ? key->parse(p, value, into) : place_refuse(p, "unknown key");
        if (err != 0)
            return err;
        place_leave(p, up);
    }
    return 0;
}

int json_parse_array(struct place *p, struct json_object *array, size_t max,
                     int (*parse)(struct place *p, struct json_object *value, void *into),
                     void *into)
{
    size_t n;

    if (!json_object_is_type(array, json_type_array))
        return place_refuse(p, "must be an array");
    n = json_object_array_length(array);
    if (n > max)
        return place_refuse(p, "has %zu elements, at most %zu are possible", n, max);
    for (size_t i = 0; i < n; i++) {
        size_t up = place_enter(p, NULL, i);
        int err = parse(p, json_object_array_get_idx(array, i), into);

        if (err != 0)
            return err;
        place_leave(p, up);
    }
    return 0;
}

/* The line and column of a position in text, counted from 1. */
static void locate(const char *text, size_t at, unsigned *line, unsigned *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < at && text[i] != '\0'; i++) {
        *column += 1;
        if (text[i] == '\n') {
            *line += 1;
            *column = 1;
        }
    }
}

struct json_object *json_parse_text(struct place *p, const char *text)
{
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *root;
    unsigned line;
    unsigned column;

    if (tokener == NULL) {
        place_refuse(p, "no memory");
        return NULL;
    }
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    root = json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
    if (root == NULL && json_tokener_get_error(tokener) == json_tokener_success) {
        place_refuse(p, "must be an object"); /* the text is "null" */
    } else if (root == NULL) {
        locate(text, json_tokener_get_parse_end(tokener), &line, &column);
        place_refuse(p, "line %u, column %u: %s", line, column,
                     json_tokener_error_desc(json_tokener_get_error(tokener)));
    }
    json_tokener_free(tokener);
    return root;
}
