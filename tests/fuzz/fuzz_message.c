/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a message. Decoded as a request, and its payload as the reply to a DMA command. */
#include "message.h"

#include <string.h>

#include "fuzz.h"

#define MAX_DATA 65536u

static void read_request(const struct message_request *r)
{
    switch (r->hdr.command) {
    case VFIO_USER_VERSION:
        if (r->version.json != NULL)
            FUZZ_REQUIRE(strlen(r->version.json) == r->version.json_len);
        break;
    case VFIO_USER_DMA_MAP:
        FUZZ_REQUIRE(r->dma_map.address + (r->dma_map.size - 1) >= r->dma_map.address);
        break;
    case VFIO_USER_DEVICE_SET_IRQS:
        if (r->set_irqs.bools != NULL)
            fuzz_read(r->set_irqs.bools, r->set_irqs.count);
        FUZZ_REQUIRE(r->set_irqs.start + r->set_irqs.count >= r->set_irqs.start);
        break;
    case VFIO_USER_REGION_WRITE:
        FUZZ_REQUIRE(r->access.count <= MAX_DATA);
        fuzz_read(r->access.data, r->access.count);
        break;
    case VFIO_USER_REGION_WRITE_MULTI:
        fuzz_read(r->write_multi.writes,
                  r->write_multi.count * sizeof(struct vfio_user_write_single));
        break;
    case VFIO_USER_DEVICE_FEATURE:
        fuzz_read(r->feature.data, r->feature.data_len);
        break;
    case VFIO_USER_MIG_DATA_WRITE:
        FUZZ_REQUIRE(r->mig_data.size <= MAX_DATA);
        fuzz_read(r->mig_data.data, r->mig_data.size);
        break;
    default:
        break;
    }
}

static void decode_reply(uint16_t command, const uint8_t *payload, size_t len)
{
    struct vfio_user_dma_access asked = { 0 };
    struct message_dma_reply reply;

    memcpy(&asked, payload, len < sizeof(asked) ? len : sizeof(asked));
    for (unsigned i = 0; i < 2; i++) {
        if (message_decode_dma_reply(command, len % 2 == 1, payload, len, asked.address,
                                     asked.count, &reply) == 0) {
            FUZZ_REQUIRE(reply.address == asked.address && reply.count == asked.count);
            if (command == VFIO_USER_DMA_READ)
                fuzz_read(reply.data, reply.count);
        }
        asked.count = (uint32_t)asked.count; /* the other shape */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct message_request request;
    struct vfio_user_header hdr;
    size_t len;
    uint8_t *payload;

    if (size < VFIO_USER_HEADER_SIZE)
        return 0;
    len = size - VFIO_USER_HEADER_SIZE;
    payload = malloc(len > 0 ? len : 1);
    if (payload == NULL)
        return 0;
    memcpy(payload, data + VFIO_USER_HEADER_SIZE, len);
    if (message_decode_header(data, size, &hdr) == 0)
        FUZZ_REQUIRE(hdr.size >= VFIO_USER_HEADER_SIZE && hdr.size <= size);
    memcpy(&hdr, data, sizeof(hdr));
    hdr.size = (uint32_t)size;
    if (message_decode_request(&hdr, payload, MAX_DATA, &request) == 0)
        read_request(&request);
    FUZZ_REQUIRE(message_command_name(hdr.command) != NULL);
    decode_reply(VFIO_USER_DMA_READ, payload, len);
    decode_reply(VFIO_USER_DMA_WRITE, payload, len);
    free(payload);
    return 0;
}
