/* SPDX-License-Identifier: BSD-3-Clause */
#include "state_stream.h"

#include <libdeflate.h>
#include <zlib.h>

/* Bytes of the header under the checksum. */
#define CHECKED 12u

#define PADDING_SHIFT 8
#define KNOWN_FLAGS   (STATE_FLAG_OPTIONAL | STATE_MAX_PADDING << PADDING_SHIFT)

static const char *const names[] = {
    [STATE_BEGIN] = "BEGIN",   [STATE_STATE] = "STATE", [STATE_CONFIG] = "CONFIG",
    [STATE_MEMORY] = "MEMORY", [STATE_END] = "END",     [STATE_MSIX] = "MSIX",
};

static bool is_known(uint32_t type)
{
    return type >= STATE_BEGIN && type <= STATE_MSIX;
}

const char *state_record_name(uint32_t type)
{
    return is_known(type) ? names[type] : "unknown";
}

void state_put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

uint64_t state_get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

/*
 * The checksum of two pieces behind each other, so that a payload is looked at once for both sums.
 * libdeflate's crc32 is zlib's at several times the speed, but cannot do this.
 */
static uint32_t join(uint32_t first, uint32_t second, uint32_t len)
{
    return (uint32_t)crc32_combine(first, second, (z_off_t)len);
}

/* The payload is long and both checksums cover it: it is looked at once. */
static uint32_t record_crc(const uint8_t *wire, uint32_t payload, uint32_t length)
{
    return join(libdeflate_crc32(0, wire, CHECKED), payload, length);
}

static void add(struct state_sum *sum, const uint8_t *wire, uint32_t payload, uint32_t length)
{
    if (state_get(wire, 4) == STATE_BEGIN)
        *sum = (struct state_sum) { 0 };
    sum->records++;
    sum->crc = join(libdeflate_crc32(sum->crc, wire, STATE_HEADER_SIZE), payload, length);
}

void state_record_seal(uint8_t *wire, uint32_t type, uint32_t flags, uint32_t length,
                       uint32_t padding, struct state_sum *sum)
{
    uint32_t payload = libdeflate_crc32(0, wire + STATE_HEADER_SIZE, length);

    state_put(wire, type, 4);
    state_put(wire + 4, flags | padding << PADDING_SHIFT, 4);
    state_put(wire + 8, length, 4);
    state_put(wire + CHECKED, record_crc(wire, payload, length), 4);
    add(sum, wire, payload, length);
}

void state_record_end(uint8_t *wire, const struct state_sum *sum)
{
    struct state_sum ignored = *sum;

    state_put(wire + STATE_HEADER_SIZE, sum->records, 4);
    state_put(wire + STATE_HEADER_SIZE + 4, sum->crc, 4);
    state_record_seal(wire, STATE_END, 0, STATE_END_SIZE, 0, &ignored);
}

const char *state_record_decode(const uint8_t wire[STATE_HEADER_SIZE], struct state_record *out)
{
    uint32_t flags = (uint32_t)state_get(wire + 4, 4);
    struct state_record record = { .type = (uint32_t)state_get(wire, 4),
                                   .length = (uint32_t)state_get(wire + 8, 4),
                                   .crc = (uint32_t)state_get(wire + CHECKED, 4) };

    record.known = is_known(record.type);
    record.padding = flags >> PADDING_SHIFT & STATE_MAX_PADDING;
    if ((flags & ~KNOWN_FLAGS) != 0)
        return "unknown flags";
    if (!record.known && (flags & STATE_FLAG_OPTIONAL) == 0)
        return "of an unknown type";
    if (record.length > STATE_MAX_RECORD - STATE_HEADER_SIZE)
        return "longer than records are";
    if (record.padding > record.length)
        return "more padding than payload";
    *out = record;
    return NULL;
}

const char *state_record_check(const uint8_t *wire, const struct state_record *record,
                               struct state_sum *sum)
{
    const uint8_t *at = wire + STATE_HEADER_SIZE;
    uint32_t payload = libdeflate_crc32(0, at, record->length);

    if (record_crc(wire, payload, record->length) != record->crc)
        return "wrong checksum";
    for (uint32_t i = record->length - record->padding; i < record->length; i++) {
        if (at[i] != 0)
            return "padding that is not 0";
    }
    add(sum, wire, payload, record->length);
    return NULL;
}

bool state_end_matches(const uint8_t payload[STATE_END_SIZE], const struct state_sum *sum)
{
    return state_get(payload, 4) == sum->records && state_get(payload + 4, 4) == sum->crc;
}

uint8_t *state_field_add(struct state_fields *f, uint16_t id, uint16_t size)
{
    uint8_t *data = f->at + STATE_FIELD_SIZE;

    if (f->bad || f->left < STATE_FIELD_SIZE || f->left - STATE_FIELD_SIZE < size) {
        f->bad = true;
        return NULL;
    }
    state_put(f->at, id, 2);
    state_put(f->at + 2, size, 2);
    f->at += STATE_FIELD_SIZE + size;
    f->left -= STATE_FIELD_SIZE + size;
    return data;
}

void state_field_put(struct state_fields *f, uint16_t id, uint64_t value, uint16_t size)
{
    uint8_t *data = state_field_add(f, id, size);

    if (data != NULL)
        state_put(data, value, size);
}

bool state_field_next(struct wire *w, struct state_field *out)
{
    uint8_t header[STATE_FIELD_SIZE];
    const uint8_t *data;

    if (w->bad || w->left == 0)
        return false;
    wire_copy(w, header, sizeof(header));
    data = wire_take(w, (size_t)state_get(header + 2, 2));
    if (data == NULL)
        return false;
    *out = (struct state_field) { .id = (uint16_t)state_get(header, 2),
                                  .size = (uint16_t)state_get(header + 2, 2),
                                  .data = data };
    return true;
}
