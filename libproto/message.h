/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-user messages: decoding with every length check there is, and encoding of headers. Pure
 * functions over memory; no socket, no device, no allocation.
 *
 * A decoded request is a view: pointers in it point into the payload it was decoded from and are
 * valid as long as that is. Values that only the device can judge (does this region exist, is that
 * offset inside it) are the device's to check; what can be judged from the message alone is checked
 * here, so that a handler need not look at a length again.
 */
#ifndef VFIO_USERD_MESSAGE_H
#define VFIO_USERD_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio_user.h"

/* Room that a message may need beyond the data it transfers: headers, JSON, bundles of writes. */
#define MESSAGE_OVERHEAD 65536u

/* Most writes in one REGION_WRITE_MULTI; QEMU sends up to 200. */
#define MESSAGE_WRITE_MULTI_MAX 2048u

struct message_request {
    struct vfio_user_header hdr;
    union {
        struct {
            uint16_t major;
            uint16_t minor;
            const char *json; /* NULL when there is none; else json[json_len] == '\0' */
            size_t json_len;  /* without the NUL */
        } version;
        struct vfio_user_dma_map dma_map;
        struct vfio_user_dma_unmap dma_unmap;
        struct {
            uint32_t argsz;
            uint32_t index;
        } query; /* GET_INFO (no index), GET_REGION_INFO, GET_IRQ_INFO, GET_REGION_IO_FDS */
        struct {
            uint32_t flags;
            uint32_t index;
            uint32_t start;
            uint32_t count;
            const uint8_t *bools; /* count bytes when DATA_BOOL is set, else NULL */
        } set_irqs;
        struct {
            uint64_t offset;
            uint32_t region;
            uint32_t count;
            const uint8_t *data; /* count bytes of a REGION_WRITE; NULL for REGION_READ */
        } access;
        struct {
            uint64_t count;
            const uint8_t *writes; /* count times struct vfio_user_write_single, unaligned */
        } write_multi;
        struct {
            uint32_t argsz;
            uint32_t flags;
            const uint8_t *data;
            size_t data_len;
        } feature;
        struct {
            uint32_t argsz;
            uint32_t size;
            const uint8_t *data; /* size bytes of a MIG_DATA_WRITE; NULL for MIG_DATA_READ */
        } mig_data;
    };
};

/* A reply to DMA_READ or DMA_WRITE, of either shape that is in use (see message_decode_dma_reply).
 */
struct message_dma_reply {
    uint64_t address;
    uint64_t count;
    const uint8_t *data; /* count bytes for DMA_READ, NULL for DMA_WRITE */
};

/*
 * Decodes the 16 bytes at wire. max_size is the largest message that is accepted, header included.
 * Returns 0, or -EPROTO when the stream cannot be in step any more: a size under 16 or over
 * max_size, or a type that is neither command nor reply. Section "Header".
 */
int message_decode_header(const uint8_t *wire, size_t max_size, struct vfio_user_header *out);

/*
 * Validates a command's payload of hdr->size - 16 bytes and makes a view of it. max_data is the
 * max_data_xfer_size that we announced. *out is written only on success.
 * Returns 0; -EINVAL for a payload that is too short, too long or contradicts itself; -ENOTSUP for
 * a command that a server does not know.
 */
int message_decode_request(const struct vfio_user_header *hdr, const uint8_t *payload,
                           uint32_t max_data, struct message_request *out);

/*
 * Decodes a reply's payload of len bytes to the DMA_READ or DMA_WRITE (command) of count bytes at
 * address. narrow: the client is known to have the shape of QEMU 10, a 32-bit count and the data 12
 * bytes in, with 4 bytes of padding at the end or none, and for DMA_WRITE nothing at all. Without,
 * the specification's shape is tried first, and then that one without padding.
 * Returns 0 or -EINVAL when the shape does not fit or it speaks of another transfer.
 */
int message_decode_dma_reply(uint16_t command, bool narrow, const uint8_t *payload, size_t len,
                             uint64_t address, uint64_t count, struct message_dma_reply *out);

/* Writes a header of 16 bytes to wire. size counts the whole message. */
void message_encode_header(uint8_t *wire, uint16_t id, uint16_t command, uint32_t size,
                           uint32_t flags, uint32_t error);

/* A command's name without its VFIO_USER_ prefix, for logs; "UNKNOWN" for a number without one. */
const char *message_command_name(uint16_t command);

#endif
