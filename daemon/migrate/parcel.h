/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the source of a handover sends: everything of a stopped device and of its frozen client,
 * collected at once and queued piece by piece as the socket takes it. Changes nothing of either.
 */
#ifndef VFIO_USERD_PARCEL_H
#define VFIO_USERD_PARCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "device/device.h"
#include "session/snapshot.h"
#include "stream.h"

struct parcel;

/* The client's part; its fds and bytes stay the session's. */
struct parcel_client {
    struct session_snapshot snapshot;
    struct session_sockets sockets;
};

/*
 * Collects; client: NULL without one. dev stays stopped and *client frozen as long as the parcel
 * lives. token: its fd, which stays the caller's; frozen_at: when the blackout began. Returns 0 or
 * -errno.
 */
int parcel_new(struct device *dev, const struct parcel_client *client, int token, int64_t frozen_at,
               struct parcel **out);
void parcel_free(struct parcel *p);

/*
 * Queues what the stream takes now. Returns 1 when there is more, 0 when all is queued, or -errno.
 */
int parcel_queue(struct parcel *p, struct stream *s);

/* Whether all is queued. */
bool parcel_is_queued(const struct parcel *p);

/* Bytes of payload, those of them that are queued, and fds without the token. */
uint64_t parcel_bytes(const struct parcel *p);
uint64_t parcel_queued(const struct parcel *p);
uint32_t parcel_fds(const struct parcel *p);

#endif
