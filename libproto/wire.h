/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A cursor over wire data with a sticky error: reads check their bounds, the first one that does
 * not fit makes the cursor bad and every later one a no-op that yields zeros, so a decoder reads
 * all its fields and asks once at the end. Knows of bytes only, not of messages.
 */
#ifndef VFIO_USERD_WIRE_H
#define VFIO_USERD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wire {
    const uint8_t *at;
    size_t left; /* bytes from at to the end */
    bool bad;    /* a read went past the end */
};

static inline struct wire wire_init(const void *data, size_t len)
{
    return (struct wire) { .at = data, .left = len, .bad = false };
}

/* The next len bytes in place, or NULL when there are fewer: the cursor is bad then. */
static inline const uint8_t *wire_take(struct wire *w, size_t len)
{
    if (w->bad || w->left < len) {
        w->bad = true;
        return NULL;
    }
    const uint8_t *at = w->at;
    w->at += len;
    w->left -= len;
    return at;
}

/* Copies the next len bytes to out, which is zeroed when there are fewer. */
static inline void wire_copy(struct wire *w, void *out, size_t len)
{
    const uint8_t *at = wire_take(w, len);
    if (at == NULL)
        memset(out, 0, len);
    else
        memcpy(out, at, len);
}

#endif
