/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "loading.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "staging.h"
#include "state_stream.h"

struct loading {
    struct device *dev;
    uint8_t *bar1; /* staged */
    uint64_t bar1_size;
    struct device_state state; /* staged */
    bool begun;
    bool has_state;
    bool complete;
    bool different; /* difference tells in what */
    uint32_t config_at;
    size_t config_size;
    uint32_t msix_at;
    size_t msix_size; /* 0: the device has no MSI-X */
    struct state_sum sum;
    uint32_t records; /* since the start; the one at hand included */
    uint64_t bytes;
    uint8_t *buffer; /* the record that has not come whole; grown to the longest so far */
    size_t capacity;
    size_t have;
    size_t need; /* bytes of it, as far as is known */
    int error;   /* it has failed; 0 */
    struct content_difference difference;
    char reason[192];
};

static int fail(struct loading *l, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct loading *l, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(l->reason, sizeof(l->reason), format, args);
    va_end(args);
    l->error = error;
    l->complete = false;
    return error;
}

/* The same for the record at hand. */
static int fail_record(struct loading *l, uint32_t type, const char *what)
{
    return fail(l, -EINVAL, "record %u (%s): %s", l->records, state_record_name(type), what);
}

static int fail_field(struct loading *l, uint32_t type, const char *field, const char *what)
{
    return fail(l, -EINVAL, "record %u (%s): %s: %s", l->records, state_record_name(type), field,
                what);
}

/*
 * Records
 */

static int take_begin(struct loading *l, const uint8_t *payload, size_t len)
{
    struct content_difference *d = &l->difference;
    int err = content_check_begin(l->dev, payload, len, d);

    if (err == -EPERM) {
        l->different = true;
        return fail(l, err, "it is of another device: %s is %s there, %s here", d->field, d->theirs,
                    d->ours);
    }
    if (err != 0)
        return fail_field(l, STATE_BEGIN, d->field, "malformed or missing");
    if (l->begun)
        staging_clear(l->bar1, l->bar1_size);
    memset(&l->state, 0, sizeof(l->state));
    msix_reset(&l->state.msix);
    l->begun = true;
    l->has_state = false;
    l->config_at = 0;
    l->msix_at = 0;
    return 0;
}

static int take_state(struct loading *l, const uint8_t *payload, size_t len)
{
    const char *field;

    if (l->has_state)
        return fail_record(l, STATE_STATE, "a second one");
    if (content_read_state(payload, len, &l->state, &field) != 0)
        return fail_field(l, STATE_STATE, field, "malformed or missing");
    l->has_state = true;
    return 0;
}

/* The bytes of a CONFIG or MEMORY, which lie inside of size. NULL: they do not. */
static const uint8_t *piece(const uint8_t *payload, size_t *len, uint64_t size, uint64_t *offset)
{
    if (*len < STATE_PIECE_SIZE)
        return NULL;
    *offset = state_get(payload, STATE_PIECE_SIZE);
    *len -= STATE_PIECE_SIZE;
    if (*offset > size || *len > size - *offset)
        return NULL;
    return payload + STATE_PIECE_SIZE;
}

struct image {
    uint8_t *bytes;
    size_t size;
    uint32_t *at; /* how much of it has come */
};

/* The next bytes of something that comes from its start to its end; what: its name. */
static int take_image(struct loading *l, uint32_t type, const uint8_t *payload, size_t len,
                      const struct image *to, const char *what)
{
    uint64_t offset;
    const uint8_t *bytes = piece(payload, &len, to->size, &offset);

    if (bytes == NULL || offset != *to->at)
        return fail_record(l, type, what);
    memcpy(to->bytes + offset, bytes, len);
    *to->at += (uint32_t)len;
    return 0;
}

static int take_config(struct loading *l, const uint8_t *payload, size_t len)
{
    const struct image to = { l->state.pci.config, l->config_size, &l->config_at };

    return take_image(l, STATE_CONFIG, payload, len, &to,
                      "not the next bytes of configuration space");
}

static int take_msix(struct loading *l, const uint8_t *payload, size_t len)
{
    const struct image to = { l->state.msix.table, l->msix_size, &l->msix_at };

    return take_image(l, STATE_MSIX, payload, len, &to, "not the next bytes of MSI-X's table");
}

static int take_memory(struct loading *l, const uint8_t *payload, size_t len)
{
    uint64_t offset;
    const uint8_t *bytes = piece(payload, &len, l->bar1_size, &offset);

    if (bytes == NULL)
        return fail_record(l, STATE_MEMORY, "not inside BAR1");
    memcpy(l->bar1 + offset, bytes, len);
    return 0;
}

static int take_end(struct loading *l, const uint8_t *payload, size_t len,
                    const struct state_sum *before)
{
    char field[DEVICE_FIELD_BYTES];

    if (len != STATE_END_SIZE || !state_end_matches(payload, before))
        return fail_record(l, STATE_END, "records are missing");
    if (!l->has_state || l->config_at != l->config_size)
        return fail_record(l, STATE_END, l->has_state ? "CONFIG is missing" : "STATE is missing");
    if (l->msix_at != l->msix_size)
        return fail_record(l, STATE_END, "MSIX is missing");
    if (device_check_state(l->dev, &l->state, field) != 0)
        return fail_field(l, STATE_END, field, "a value that this device cannot have");
    l->complete = true;
    return 0;
}

/* Checks the whole record at wire, and stages it. */
static int take_record(struct loading *l, const uint8_t *wire, const struct state_record *record)
{
    const struct state_sum before = l->sum;
    const char *wrong = state_record_check(wire, record, &l->sum);
    const uint8_t *payload = wire + STATE_HEADER_SIZE;
    size_t len = record->length - record->padding;

    if (wrong != NULL)
        return fail_record(l, record->type, wrong);
    if (!l->begun && record->type != STATE_BEGIN)
        return fail_record(l, record->type, "before any BEGIN");
    switch (record->type) {
    case STATE_BEGIN:
        return take_begin(l, payload, len);
    case STATE_STATE:
        return take_state(l, payload, len);
    case STATE_CONFIG:
        return take_config(l, payload, len);
    case STATE_MSIX:
        return take_msix(l, payload, len);
    case STATE_MEMORY:
        return take_memory(l, payload, len);
    case STATE_END:
        return take_end(l, payload, len, &before);
    default:
        return 0; /* optional */
    }
}

/* Decodes the header of the next record. */
static int take_header(struct loading *l, const uint8_t *wire, struct state_record *record)
{
    const char *wrong = state_record_decode(wire, record);

    if (wrong == NULL)
        return 0;
    l->records++;
    if (!l->begun)
        return fail(l, -EINVAL, "it is not the state of a device: %s in its first record", wrong);
    return fail_record(l, (uint32_t)state_get(wire, 4), wrong);
}

/*
 * Bytes
 */

/* Takes the record at data, if it is there as a whole. Returns its size, 0 when it is not. */
static int take_whole(struct loading *l, const uint8_t *data, size_t len)
{
    struct state_record record;
    int err;

    if (len < STATE_HEADER_SIZE)
        return 0;
    err = take_header(l, data, &record);
    if (err != 0)
        return err;
    if (len - STATE_HEADER_SIZE < record.length)
        return 0;
    l->records++;
    err = take_record(l, data, &record);
    return err != 0 ? err : (int)(STATE_HEADER_SIZE + record.length);
}

static int make_room(struct loading *l, size_t need)
{
    uint8_t *larger;

    if (need <= l->capacity)
        return 0;
    larger = realloc(l->buffer, need);
    if (larger == NULL)
        return fail(l, -ENOMEM, "no memory for a record of %zu bytes", need);
    l->buffer = larger;
    l->capacity = need;
    return 0;
}

/* Adds bytes to the record that has not come whole, up to its end. Returns how many, or -errno. */
static int add_bytes(struct loading *l, const uint8_t *data, size_t len)
{
    size_t take;
    int done;

    if (l->have == 0)
        l->need = STATE_HEADER_SIZE;
    if (make_room(l, l->need) != 0)
        return l->error;
    take = l->need - l->have < len ? l->need - l->have : len;
    memcpy(l->buffer + l->have, data, take);
    l->have += take;
    if (l->have < l->need)
        return (int)take;
    if (l->need == STATE_HEADER_SIZE) {
        struct state_record record;

        if (take_header(l, l->buffer, &record) != 0)
            return l->error;
        l->need = STATE_HEADER_SIZE + record.length;
    }
    if (l->have < l->need)
        return (int)take;
    done = take_whole(l, l->buffer, l->have);
    l->have = 0;
    return done < 0 ? done : (int)take;
}

int loading_write(struct loading *l, const uint8_t *data, size_t len)
{
    l->bytes += len;
    while (len > 0) {
        int taken = 0;

        if (l->error != 0)
            return l->error;
        if (l->complete)
            return fail(l, -EINVAL, "bytes behind the END");
        if (l->have == 0)
            taken = take_whole(l, data, len);
        if (taken == 0)
            taken = add_bytes(l, data, len);
        if (taken < 0)
            return taken;
        data += taken;
        len -= (size_t)taken;
    }
    return l->error;
}

bool loading_complete(const struct loading *l)
{
    return l->complete;
}

int loading_apply(struct loading *l)
{
    char field[DEVICE_FIELD_BYTES];
    int err;

    if (l->error != 0)
        return l->error;
    if (!l->complete)
        return fail(l, -EINVAL, "the END is missing: %llu bytes came",
                    (unsigned long long)l->bytes);
    device_take_rings(l->dev); /* those were rung on the state that goes */
    err = device_load(l->dev, &l->state, l->bar1, field);
    if (err == -EINVAL)
        return fail_field(l, STATE_END, field, "a value that this device cannot have");
    return err != 0 ? fail(l, err, "%s", strerror(-err)) : 0;
}

const char *loading_reason(const struct loading *l)
{
    return l->reason;
}

const struct content_difference *loading_difference(const struct loading *l)
{
    return l->different ? &l->difference : NULL;
}

uint64_t loading_bytes(const struct loading *l)
{
    return l->bytes;
}

int loading_new(struct device *dev, struct loading **out)
{
    struct loading *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return -ENOMEM;
    l->dev = dev;
    l->config_size = device_config_size(dev);
    l->msix_size = device_msix_table_size(dev);
    l->bar1_size = device_description(dev)->bar1.size;
    l->bar1 = staging_map(l->bar1_size);
    if (l->bar1 == NULL) {
        free(l);
        return -ENOMEM;
    }
    *out = l;
    return 0;
}

void loading_free(struct loading *l)
{
    if (l == NULL)
        return;
    staging_unmap(l->bar1, l->bar1_size);
    free(l->buffer);
    free(l);
}
