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
#include "state_stream.h"

/* Smaller reads do not hold every record. */
#define SAVING_MIN_READ 512u

/* BAR1 up to this size is sent anew, and all of it, when the device has been stopped. */
#define SAVING_SMALL_BAR1 (1u << 20)

struct saving;

#define SAVING_KEPT_BEGIN (1u << 0) /* BEGIN is due */
#define SAVING_KEPT_STATE (1u << 1) /* STATE is due */
#define SAVING_KEPT_DONE  (1u << 2)

/* How far one is, behind a piece. */
struct saving_kept {
    uint64_t bytes; /* read so far */
    uint64_t bar1_at;
    uint32_t flags; /* SAVING_KEPT_… */
    uint32_t config_at;
    uint32_t msix_at;
    struct state_sum sum;
    uint32_t image; /* a checksum of what is sent of a stopped device */
};

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

void saving_get_kept(const struct saving *s, struct saving_kept *out);

/*
 * One that goes on from where kept says, in a process that has nothing of the old one; live as it
 * was. Where the device is stopped, BAR1 is a small one and neither of them has changed since, what
 * is read is what would have been read. Else the stream begins anew with a BEGIN, which voids what
 * was read before. -EINVAL: kept cannot be of this device; -ENOMEM.
 */
int saving_restore(struct device *dev, bool live, const struct saving_kept *kept,
                   struct saving **out);

/* Whether the END has been read. */
bool saving_done(const struct saving *s);

/* Bytes read so far. */
uint64_t saving_bytes(const struct saving *s);

/* NULL is allowed. */
void saving_free(struct saving *s);

#endif
