/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the destination of a handover receives: a parcel, message by message, until it is complete.
 * Believes nothing: counts, sizes and the order are checked here; whether a device can be like this
 * is the device's to say. Knows no device and no session.
 */
#ifndef VFIO_USERD_UNPACK_H
#define VFIO_USERD_UNPACK_H

#include "handover_wire.h"
#include "stream.h"

#define UNPACK_REASON_BYTES 160

/* All of it; what is allocated and the fds are its own, fds until their slot is set to -1. */
struct unpacked {
    struct handover_plan plan;
    struct device_state state; /* with configuration space and MSI-X's table */
    struct session_snapshot session;
    uint8_t irq_masked;
    struct dma_range *ranges;
    int *files;
    struct irq_fds irq;
    int doorbell[2]; /* eventfd and shadow */
    int bar1;
    int token;
    struct session_sockets sockets; /* the rests are of unread and twin_unread */
    uint8_t *unread;
    uint8_t *twin_unread;
    uint8_t *log;
};

/* Of the device that is to become it, in bytes. */
struct unpack_sizes {
    size_t config;
    size_t msix; /* MSI-X's table */
};

struct unpack;

/* Returns 0 or -ENOMEM. */
int unpack_new(struct unpack **out);

/* Closes the fds that nobody took. NULL is allowed. */
void unpack_free(struct unpack *u);

/*
 * Takes a message of the source. Returns 0; 1: that was the last one, and all is there;
 * -EINVAL with the reason in words, -ENOMEM.
 */
int unpack_take(struct unpack *u, struct stream_message *m, const struct unpack_sizes *sizes,
                char reason[UNPACK_REASON_BYTES]);

/* When it is complete. */
struct unpacked *unpack_content(struct unpack *u);

/* Bytes of payload, and fds, so far. */
uint64_t unpack_bytes(const struct unpack *u);
uint32_t unpack_fds(const struct unpack *u);

#endif
