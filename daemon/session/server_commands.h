/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own commands to the client, and what becomes of them: DMA_READ and DMA_WRITE for memory that
 * it does not share, VM_INTERRUPT for interrupts that it has no eventfd for. Sections
 * "VFIO_USER_DMA_READ" and "VFIO_USER_DMA_WRITE"; VM_INTERRUPT is an extension. Queues on a stream,
 * and never waits: answers are handed in as they come, in any order, and what has none in time is
 * handed in by whoever keeps the clock. All times are monotonic milliseconds.
 *
 * One without an answer in time has failed for the device. Its id is remembered, as that of the
 * last SERVER_COMMANDS_LATE, and not used meanwhile, so that an answer that comes later is known
 * for what it is and dropped.
 *
 * Two shapes of DMA messages are in use. The specification's has a 64-bit count and the data 32
 * bytes into the message. QEMU 10.1 and 10.2 read a 32-bit count and the data 28 bytes in, 4 bytes
 * early, and answer a DMA_READ in that shape too, of the same length: neither side would notice.
 * They answer a DMA_WRITE with a bare header, though, where later ones repeat address and count. So
 * before the first message, QEMU is asked to write nothing.
 */
#ifndef VFIO_USERD_SERVER_COMMANDS_H
#define VFIO_USERD_SERVER_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/dma.h"
#include "log.h"
#include "stream.h"

/* Commands without an answer, those of cancelled transfers included. */
#define SERVER_COMMANDS_MAX 32

/* Of these, interrupts: DMA is to find room however many of them a client lets wait. */
#define SERVER_COMMANDS_MAX_INTERRUPTS 16

/* Commands that are remembered after their time was over. */
#define SERVER_COMMANDS_LATE 32

/* No deadline is that late. */
#define SERVER_COMMANDS_NEVER UINT64_MAX

enum dma_shape {
    DMA_SHAPE_UNKNOWN, /* to be asked before the first message */
    DMA_SHAPE_WIDE,    /* the specification's */
    DMA_SHAPE_NARROW,  /* QEMU 10's */
};

/* Embedded in the session; its own, but for what is set in the first part. */
struct server_commands {
    struct stream *stream; /* NULL: they have no way to the client (any more) */
    uint32_t timeout_ms;
    size_t max_queued; /* with more bytes than this queued, no more are sent */
    enum dma_shape shape;
    uint16_t next_id;

    struct dma *dma;
    struct log_limit *limit;
    unsigned unanswered;
    bool refused; /* an interrupt found no room, and nobody has been told of some since */
    struct server_command {
        bool used;
        bool asks_shape; /* writes nothing; the transfer's own message follows the answer */
        uint16_t id;
        uint16_t command;
        uint64_t deadline;
        uint32_t tag;
        uint64_t iova;
        const void *data; /* with asks_shape: the transfer's, as long as it waits */
        uint32_t len;
        uint32_t index; /* of a VM_INTERRUPT */
        uint32_t subindex;
    } sent[SERVER_COMMANDS_MAX];
    struct late_command {
        bool used;
        uint16_t id;
        uint16_t command;
        uint64_t deadline;
    } late[SERVER_COMMANDS_LATE];
    unsigned next_late;
};

/* dma and limit outlive it. It has no stream, and so no way to the client, yet. */
void server_commands_init(struct server_commands *c, struct dma *dma, struct log_limit *limit);

/*
 * Queues what struct dma_messenger's send asks for. Returns 0; -EBUSY when too many are unanswered,
 * or more bytes are queued than the client reads; -ENOTCONN without a stream; -ENOMEM.
 */
int server_commands_dma(struct server_commands *c, uint64_t now, uint32_t tag, uint64_t iova,
                        const void *data, uint32_t len);

/* Queues a VM_INTERRUPT. Returns the same; after -EBUSY see server_commands_has_room. */
int server_commands_interrupt(struct server_commands *c, uint64_t now, uint32_t index,
                              uint32_t subindex);

/*
 * Whether there is room for an interrupt after one found none: true once, then the device is to be
 * told.
 */
bool server_commands_has_room(struct server_commands *c);

/* Whether none is without an answer. One whose time is over waits for none. */
bool server_commands_quiet(const struct server_commands *c);

/* A reply has come; one that is late, or was not asked for, is logged and dropped. */
void server_commands_reply(struct server_commands *c, uint64_t now,
                           const struct stream_message *reply);

/* When the first of them has waited long enough; SERVER_COMMANDS_NEVER when it is quiet. */
uint64_t server_commands_deadline(const struct server_commands *c);

/* Fails those whose time is over with -ETIMEDOUT. */
void server_commands_expire(struct server_commands *c, uint64_t now);

/* Another process has sent this one, and nobody waits for its answer: it is known as late. */
void server_commands_put_late(struct server_commands *c, uint64_t now, uint16_t id,
                              uint16_t command);

/* Fails all with -ENOTCONN: their answers cannot come any more. There is no stream after this. */
void server_commands_abandon(struct server_commands *c);

#endif
