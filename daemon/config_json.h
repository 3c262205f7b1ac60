/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON values with a place: what config.c's tables of keys are parsed with. Every function that
 * refuses a value says where it stands ("pci.capabilities[2].offset") and why. Knows JSON and no
 * key of the description.
 */
#ifndef VFIO_USERD_CONFIG_JSON_H
#define VFIO_USERD_CONFIG_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLACE_PATH_BYTES 192

/* Where the parser is: the file's name, the key's path, and where to put the first error. */
struct place {
    const char *file;
    char path[PLACE_PATH_BYTES];
    char *error;
    size_t error_size; /* bytes */
    void *root;        /* what the outermost object is parsed into */
};

/* A key of an object, and who reads its value; a table of these ends with a NULL name. */
struct key {
    const char *name;
    int (*parse)(struct place *p, struct json_object *value, void *into);
};

/* Writes the error, at the present path. Returns -EINVAL. */
int place_refuse(struct place *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Goes down to key (or, with key NULL, to element i); returns what place_leave goes back up to. */
size_t place_enter(struct place *p, const char *key, size_t i);
void place_leave(struct place *p, size_t up);

/* The whole text as JSON, which the caller puts; NULL with the error written: line and column. */
struct json_object *json_parse_text(struct place *p, const char *text);

/*
 * Reads a value. Return 0 with *out written, or -EINVAL with the error written.
 * json_get_number: an integer or a string such as "0x40"; with is_size also "16K", "1M", "2G".
 * json_get_bytes: a string of hex digits, two a byte; *out is allocated and replaces what was
 * there.
 */
int json_get_number(struct place *p, struct json_object *value, bool is_size, uint64_t min,
                    uint64_t max, uint64_t *out);
int json_get_bool(struct place *p, struct json_object *value, bool *out);
int json_get_bytes(struct place *p, struct json_object *value, size_t max, uint8_t **out,
                   size_t *len);

/* Calls the parser of each key, with into; a key that is not in the table is refused. */
int json_parse_object(struct place *p, struct json_object *object, const struct key *keys,
                      void *into);

/* Calls parse with each element of an array of at most max. */
int json_parse_array(struct place *p, struct json_object *array, size_t max,
                     int (*parse)(struct place *p, struct json_object *value, void *into),
                     void *into);

#endif
