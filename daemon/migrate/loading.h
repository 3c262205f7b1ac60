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

struct loading;

/* Takes BAR1's size in memory, as far as the stream fills it. dev outlives it. 0 or -ENOMEM. */
int loading_new(struct device *dev, struct loading **out);

/*
 * Takes the next bytes of the stream. Returns 0; -EINVAL for what cannot be such a stream; -EPERM:
 * it is that of another device; -ENOMEM. After a failure, and behind the END, everything fails.
 * The device is not touched.
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
