/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device's state on its way in: a stream of records, cut anywhere, that is checked and kept until
 * its END has come, and then replaces the device's in one step. Knows devices and records, not
 * messages.
 */
#ifndef VFIO_USERD_LOADING_H
#define VFIO_USERD_LOADING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "content.h"
#include "device/device.h"
#include "state_stream.h"

struct loading;

#define LOADING_KEPT_BEGUN    (1u << 0)
#define LOADING_KEPT_STATE    (1u << 1)
#define LOADING_KEPT_COMPLETE (1u << 2)
#define LOADING_KEPT_TURN     (1u << 3) /* the half of a record is in the second buffer */

/* How far one is, beside what lies in its file. */
struct loading_kept {
    uint64_t bytes; /* of the stream that have been taken */
    uint32_t flags; /* LOADING_KEPT_… */
    uint32_t config_at;
    uint32_t msix_at;
    struct state_sum sum;
    uint32_t records;
    uint32_t have; /* bytes of a record that has not come whole */
    uint32_t need; /* and of which this much is needed, as far as is known */
    int32_t error;
    uint32_t state_version; /* DEVICE_STATE_VERSION, and the size of the state block */
    uint32_t state_size;
    uint32_t reserved;
};

/* Takes BAR1's size in memory, as far as the stream fills it. dev outlives it. 0 or -ENOMEM. */
int loading_new(struct device *dev, struct loading **out);

/* The same, with what is staged in a file, for another process to go on with. 0 or -errno. */
int loading_new_kept(struct device *dev, struct loading **out);

/*
 * One that goes on from where kept says, in a process that has nothing of the old one but its file,
 * fd. The next piece of the stream may have been taken in part, or as a whole, after kept was
 * written: it is to come again, and must be the same. fd is taken, also on failure; -1: it is lost,
 * and the stream with it, so that everything fails. -EINVAL: these cannot belong together, or not
 * to this device; or -errno.
 */
int loading_restore(struct device *dev, const struct loading_kept *kept, int fd,
                    struct loading **out);

/* The file; -1: there is none. It stays ours. */
int loading_fd(const struct loading *l);

void loading_get_kept(const struct loading *l, struct loading_kept *out);

/*
 * Takes the next bytes of the stream. Returns 0; -EINVAL for what cannot be such a stream; -EPERM:
 * it is that of another device. After a failure, and behind the END, everything fails. The device
 * is not touched.
 */
int loading_write(struct loading *l, const uint8_t *data, size_t len);

/* Whether the END has come, and nothing was wrong. */
bool loading_complete(const struct loading *l);

/*
 * Gives the state to the device, which must be stopped; once. Returns 0, or -errno with the device
 * as it was: -EINVAL when the stream was not complete, or the error of loading_write.
 */
int loading_apply(struct loading *l);

/* Why it failed, a sentence without an end; "" when it has not. Valid until loading_free. */
const char *loading_reason(const struct loading *l);

/* After -EPERM, the difference; else NULL. */
const struct content_difference *loading_difference(const struct loading *l);

/* Bytes taken so far. */
uint64_t loading_bytes(const struct loading *l);

/* NULL is allowed. */
void loading_free(struct loading *l);

#endif
