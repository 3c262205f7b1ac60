/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own commands to the client: DMA_READ and DMA_WRITE for memory that it does not share.
 * Sections "VFIO_USER_DMA_READ" and "VFIO_USER_DMA_WRITE". Queues on the session's stream, and
 * never waits: answers are handed in as they come, in any order.
 *
 * Two shapes are in use. The specification's has a 64-bit count and the data 32 bytes into the
 * message. QEMU 10.1 and 10.2 read a 32-bit count and the data 28 bytes in, 4 bytes early, and
 * answer a DMA_READ in that shape too, of the same length: neither side would notice. They answer a
 * DMA_WRITE with a bare header, though, where later ones repeat address and count. So before the
 * first message, QEMU is asked to write nothing.
 */
#ifndef VFIO_USERD_DMA_MESSAGES_H
#define VFIO_USERD_DMA_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "device/dma.h"
#include "log.h"
#include "stream.h"

/* Commands without an answer, those of cancelled transfers included. */
#define DMA_MESSAGES_MAX 32

enum dma_shape {
    DMA_SHAPE_UNKNOWN, /* to be asked before the first message */
    DMA_SHAPE_WIDE,    /* the specification's */
    DMA_SHAPE_NARROW,  /* QEMU 10's */
};

/* Embedded in the session; its own. */
struct dma_messages {
    struct stream *stream;
    struct dma *dma;
    struct log_limit *limit;
    enum dma_shape shape;
    uint16_t next_id;
    struct dma_message {
        bool used;
        bool asks_shape; /* writes nothing; the transfer's own message follows the answer */
        uint16_t id;
        uint16_t command;
        uint32_t tag;
        uint64_t iova;
        const void *data; /* with asks_shape: the transfer's, as long as it waits */
        uint32_t len;
    } sent[DMA_MESSAGES_MAX];
};

/* All outlive it. */
void dma_messages_init(struct dma_messages *m, struct stream *stream, struct dma *dma,
                       struct log_limit *limit);

/*
 * Queues what struct dma_messenger's send asks for. Returns 0, -EBUSY when too many are unanswered,
 * -ENOMEM.
 */
int dma_messages_send(struct dma_messages *m, uint32_t tag, uint64_t iova, const void *data,
                      uint32_t len);

/* Whether none is without an answer. */
bool dma_messages_quiet(const struct dma_messages *m);

/* A reply has come; one that was not asked for is logged and ignored. */
void dma_messages_reply(struct dma_messages *m, const struct stream_message *reply);

#endif
