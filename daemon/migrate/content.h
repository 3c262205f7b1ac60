/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the records BEGIN and STATE say of a device, as fields with a name, an id and a size each:
 * BEGIN whose state this is (model, sizes, identity, capabilities), STATE the registers. The other
 * records are bytes as they are. Knows devices and fields, not streams.
 */
#ifndef VFIO_USERD_CONTENT_H
#define VFIO_USERD_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/device.h"

/* Of the format; another one is refused. */
#define CONTENT_VERSION 1u

/* The largest payloads. */
#define CONTENT_BEGIN_MAX 496u
#define CONTENT_STATE_MAX 496u

/* The first thing in which two devices differ, or what is wrong with a BEGIN (the texts are ""). */
struct content_difference {
    char field[48];
    char ours[48];
    char theirs[48];
};

/* A register of the state block, or several that are one number each: a field of STATE. */
struct content_field {
    uint16_t id;
    uint16_t size;
    const char *name; /* "timer.deadline" */
    size_t offset;    /* in struct device_state */
    bool when_set;    /* left out when it is 0 */
};

/* The table of STATE's fields, but for those of content_masked_fields. */
const struct content_field *content_fields(size_t *n);

/* The fields that are a mask of registers (of size 2), and behind it those that it names. */
struct content_masked_field {
    uint16_t id;
    const char *name;
    size_t mask;   /* offset of the mask in struct device_state */
    size_t values; /* offset of an array of TIMER_WIDE_REGS of 64 bits */
};

const struct content_masked_field *content_masked_fields(size_t *n);

/*
 * Writes the payload of BEGIN for dev, or of STATE for *state, to size bytes at out. Returns the
 * bytes written, or -ENOSPC.
 */
int content_begin(const struct device *dev, uint8_t *out, size_t size);
int content_state(const struct device_state *state, uint8_t *out, size_t size);

/*
 * Whether a BEGIN speaks of a device like dev. Returns 0; -EPERM: of another one, *out tells the
 * first difference; -EBADMSG: it is malformed, out->field names the field.
 */
int content_check_begin(const struct device *dev, const uint8_t *payload, size_t len,
                        struct content_difference *out);

/*
 * Reads STATE's payload into *out, all but configuration space and MSI-X's table, which are left
 * alone. Returns 0, or -EINVAL with *field the name of what is malformed or missing, a string that
 * is never freed.
 * Whether the values are possible is device_check_state's to say.
 */
int content_read_state(const uint8_t *payload, size_t len, struct device_state *out,
                       const char **field);

#endif
