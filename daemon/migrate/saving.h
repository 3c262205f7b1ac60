/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device's state on its way out: a stream of records that is read piece by piece. Everything that
 * is handed out was copied from BAR1 first and is compared with it later, so a client that writes
 * BAR1 through its mapping all the time costs repetitions and nothing else.
 *
 * Each piece is filled to the byte with whole records, but for the last: of the stream, or, while
 * the device runs, of a round over BAR1. Knows devices and records, not messages.
 */
#ifndef VFIO_USERD_SAVING_H
#define VFIO_USERD_SAVING_H

#include <stdbool.h>
#include <stdint.h>

#include "device/device.h"

/* Smaller reads do not hold every record. */
#define SAVING_MIN_READ 512u

/* BAR1 up to this size is sent anew, and all of it, when the device has been stopped. */
#define SAVING_SMALL_BAR1 (1u << 20)

struct saving;

/*
 * live: the device goes on running, and BAR1 is sent in rounds until saving_stop. Else the state as
 * it is now is copied, and the device, which must be stopped, may go on after this. Takes BAR1's
 * size in memory, as far as BAR1 is used. dev outlives it. Returns 0 or -ENOMEM.
 */
int saving_new(struct device *dev, bool live, struct saving **out);

/*
 * The device is stopped now: what is left comes, then the end. BAR1 must not change any more, where
 * it is a large one. Returns 0 or -errno.
 */
int saving_stop(struct saving *s);

/*
 * The next piece of the stream, at most size bytes. Returns the bytes written; 0: there is no more,
 * or, while the device runs, nothing has changed since it was sent; -EINVAL: size is under
 * SAVING_MIN_READ and not 0.
 */
int saving_read(struct saving *s, uint8_t *out, uint32_t size);

/* Whether the END has been read. */
bool saving_done(const struct saving *s);

/* Bytes read so far. */
uint64_t saving_bytes(const struct saving *s);

/* NULL is allowed. */
void saving_free(struct saving *s);

#endif
