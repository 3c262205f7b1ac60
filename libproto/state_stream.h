/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The record format of a saved or migrating device: records with a checksum each, the fields inside
 * some of them, and the sum over all. Pure functions over memory; knows neither what a device is
 * nor where the bytes go.
 *
 * A record is a header of 16 bytes, {u32 type, u32 flags, u32 length, u32 crc32}, and length bytes
 * of payload, all little endian. The checksum (zlib's crc32) is over the first 12 bytes of the
 * header and the payload. Of the flags, bit 0 says that who does not know the type may skip the
 * record, bits 8 to 15 how many bytes at the payload's end are padding, zeros; the others are 0.
 * A field is {u16 id, u16 size} and size bytes.
 */
#ifndef VFIO_USERD_STATE_STREAM_H
#define VFIO_USERD_STATE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

enum state_record_type {
    STATE_BEGIN = 1,  /* fields: whose state this is; what came before is void */
    STATE_STATE = 2,  /* fields: the registers */
    STATE_CONFIG = 3, /* u64 offset, bytes of configuration space from there on */
    STATE_MEMORY = 4, /* u64 offset, bytes of BAR1 from there on */
    STATE_END = 5,    /* u32 records, u32 crc32: struct state_sum of what came since BEGIN */
    STATE_MSIX = 6,   /* u64 offset, bytes of MSI-X's table from there on */
};

#define STATE_HEADER_SIZE 16u
#define STATE_PIECE_SIZE  8u /* the offset of CONFIG, MEMORY and MSIX */
#define STATE_END_SIZE    8u
#define STATE_FIELD_SIZE  4u /* id and size */

#define STATE_MAX_RECORD  ((1u << 20) + 64)
#define STATE_MAX_PADDING 255u

#define STATE_FLAG_OPTIONAL (1u << 0)

/* Fields from this id on may be skipped by who does not know them. */
#define STATE_FIELD_OPTIONAL 0x8000u

/* What END tells: the records since and with BEGIN, and the crc32 of all their bytes. */
struct state_sum {
    uint32_t records;
    uint32_t crc;
};

/* A record's header, decoded. */
struct state_record {
    uint32_t type;
    bool known;       /* else it is an optional one, to be skipped */
    uint32_t length;  /* of the payload, padding included */
    uint32_t padding; /* bytes of it */
    uint32_t crc;
};

/* "BEGIN", …; "unknown" for another type. */
const char *state_record_name(uint32_t type);

/*
 * Completes the record at wire, whose payload of length bytes, padding of them zeros at the end,
 * is behind the header already: writes the header, and adds the record to *sum, which begins anew
 * with a BEGIN.
 */
void state_record_seal(uint8_t *wire, uint32_t type, uint32_t flags, uint32_t length,
                       uint32_t padding, struct state_sum *sum);

/* Writes an END of sum, STATE_HEADER_SIZE + STATE_END_SIZE bytes. */
void state_record_end(uint8_t *wire, const struct state_sum *sum);

/*
 * Decodes a header, before the payload is there. Returns NULL, or what is wrong with it: a string
 * that is never freed.
 */
const char *state_record_decode(const uint8_t wire[STATE_HEADER_SIZE], struct state_record *out);

/*
 * Checks the checksum and the padding of the whole record at wire, and adds it to *sum as
 * state_record_seal does. Returns NULL, or what is wrong, and *sum is as it was.
 */
const char *state_record_check(const uint8_t *wire, const struct state_record *record,
                               struct state_sum *sum);

/* Whether an END's payload tells sum. */
bool state_end_matches(const uint8_t payload[STATE_END_SIZE], const struct state_sum *sum);

/* Little-endian numbers of size bytes: 1, 2, 4 or 8. */
void state_put(uint8_t *at, uint64_t value, size_t size);
uint64_t state_get(const uint8_t *at, size_t size);

/* Where fields are written to; bad once one did not fit. */
struct state_fields {
    uint8_t *at;
    size_t left;
    bool bad;
};

/* Room for a field's size bytes, its header written; NULL, and bad, when it does not fit. */
uint8_t *state_field_add(struct state_fields *f, uint16_t id, uint16_t size);

/* A field of a number. */
void state_field_put(struct state_fields *f, uint16_t id, uint64_t value, uint16_t size);

struct state_field {
    uint16_t id;
    uint16_t size;
    const uint8_t *data;
};

/* Takes the next field. False when there is none, or half a one: w->bad then. */
bool state_field_next(struct wire *w, struct state_field *out);

#endif
