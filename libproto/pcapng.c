/* SPDX-License-Identifier: BSD-3-Clause */
#include "pcapng.h"

#include <errno.h>
#include <string.h>

#include "wire.h"

#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define VERSION_MAJOR    1u
#define VERSION_MINOR    0u

/* Type, length, and the length again. */
#define FRAME_BYTES 12u

/* An option's number and length, before its value. */
#define OPTION_BYTES 4u

#define OPTION_VALUE_MAX 65535u

enum option {
    OPT_END = 0,
    OPT_COMMENT = 1,
    SHB_USERAPPL = 4,
    IF_NAME = 2,
    IF_DESCRIPTION = 3,
    IF_TSRESOL = 9,
    EPB_FLAGS = 2,
    EPB_DROPCOUNT = 4,
    EPB_QUEUE = 6,
    ISB_STARTTIME = 2,
    ISB_ENDTIME = 3,
    ISB_IFRECV = 4,
    ISB_IFDROP = 5,
    ISB_USRDELIV = 8,
};

/* Time stamps are ns: 10 to the power of minus this. */
#define RESOLUTION 9u

static size_t padded(size_t len)
{
    return (len + 3) & ~(size_t)3;
}

/*
 * Writing: a block is measured first, so writing it needs no checks.
 */

static uint8_t *put_u16(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
}

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
}

/* Bytes, and zeros up to a multiple of 4. */
static uint8_t *put_bytes(uint8_t *at, const void *data, size_t len)
{
    if (len == 0)
        return at;
    put_u32(at + padded(len) - sizeof(uint32_t), 0);
    memcpy(at, data, len);
    return at + padded(len);
}

/* The high half first, whatever the byte order. */
static uint8_t *put_time(uint8_t *at, int64_t ns)
{
    return put_u32(put_u32(at, (uint32_t)((uint64_t)ns >> 32)), (uint32_t)ns);
}

static uint8_t *put_option_head(uint8_t *at, enum option code, size_t len)
{
    return put_u16(put_u16(at, (uint16_t)code), (uint16_t)len);
}

static uint8_t *put_option_u32(uint8_t *at, enum option code, uint32_t value)
{
    return put_u32(put_option_head(at, code, sizeof(value)), value);
}

static uint8_t *put_option_u64(uint8_t *at, enum option code, uint64_t value)
{
    return put_u64(put_option_head(at, code, sizeof(value)), value);
}

static uint8_t *put_option_time(uint8_t *at, enum option code, int64_t ns)
{
    return put_time(put_option_head(at, code, sizeof(ns)), ns);
}

/* Of a string that goes into an option; 0 also for none. */
static size_t text_len(const char *text)
{
    return text != NULL ? strnlen(text, OPTION_VALUE_MAX) : 0;
}

static size_t text_size(const char *text)
{
    return text != NULL ? OPTION_BYTES + padded(text_len(text)) : 0;
}

static uint8_t *put_text(uint8_t *at, enum option code, const char *text)
{
    size_t len = text_len(text);

    return text != NULL ? put_bytes(put_option_head(at, code, len), text, len) : at;
}

static uint8_t *put_end(uint8_t *at)
{
    return put_option_head(at, OPT_END, 0);
}

static uint8_t *begin_block(void *buf, enum pcapng_type type, size_t len)
{
    return put_u32(put_u32(buf, type), (uint32_t)len);
}

size_t pcapng_write_section(void *buf, size_t size, const char *application)
{
    size_t len = FRAME_BYTES + 16 + text_size(application) + OPTION_BYTES;
    uint8_t *at;

    if (len > size)
        return 0;
    at = begin_block(buf, PCAPNG_SECTION, len);
    at = put_u32(at, BYTE_ORDER_MAGIC);
    at = put_u16(put_u16(at, VERSION_MAJOR), VERSION_MINOR);
    at = put_u64(at, UINT64_MAX); /* the section's length: not known */
    at = put_text(at, SHB_USERAPPL, application);
    put_u32(put_end(at), (uint32_t)len);
    return len;
}

size_t pcapng_write_interface(void *buf, size_t size, const struct pcapng_interface *interface)
{
    const uint8_t resolution = RESOLUTION;
    size_t len = FRAME_BYTES + 8 + text_size(interface->name) + text_size(interface->description) +
                 OPTION_BYTES + 4 + OPTION_BYTES;
    uint8_t *at;

    if (len > size)
        return 0;
    at = begin_block(buf, PCAPNG_INTERFACE, len);
    at = put_u16(put_u16(at, interface->linktype), 0);
    at = put_u32(at, interface->snaplen);
    at = put_text(at, IF_NAME, interface->name);
    at = put_text(at, IF_DESCRIPTION, interface->description);
    at = put_bytes(put_option_head(at, IF_TSRESOL, sizeof(resolution)), &resolution,
                   sizeof(resolution));
    put_u32(put_end(at), (uint32_t)len);
    return len;
}

size_t pcapng_write_packet(void *buf, size_t size, const struct pcapng_packet *packet)
{
    size_t len = FRAME_BYTES + 20 + padded(packet->kept) + text_size(packet->comment) +
                 OPTION_BYTES + sizeof(uint32_t) +
                 (packet->queue != 0 ? OPTION_BYTES + sizeof(packet->queue) : 0) +
                 (packet->dropped != 0 ? OPTION_BYTES + sizeof(packet->dropped) : 0) + OPTION_BYTES;
    uint8_t *at;

    if (len > size)
        return 0;
    at = begin_block(buf, PCAPNG_PACKET, len);
    at = put_u32(at, 0); /* the interface */
    at = put_time(at, packet->time);
    at = put_u32(at, packet->kept);
    at = put_u32(at, packet->len);
    at = put_bytes(at, packet->data, packet->kept);
    at = put_text(at, OPT_COMMENT, packet->comment);
    at = put_option_u32(at, EPB_FLAGS, packet->direction);
    if (packet->dropped != 0)
        at = put_option_u64(at, EPB_DROPCOUNT, packet->dropped);
    if (packet->queue != 0)
        at = put_option_u32(at, EPB_QUEUE, packet->queue);
    put_u32(put_end(at), (uint32_t)len);
    return len;
}

size_t pcapng_write_statistics(void *buf, size_t size, const struct pcapng_statistics *statistics)
{
    const struct {
        enum option code;
        uint64_t value;
    } counts[] = {
        { ISB_IFRECV, statistics->received },
        { ISB_IFDROP, statistics->dropped },
        { ISB_USRDELIV, statistics->delivered },
    };
    const size_t each = OPTION_BYTES + sizeof(uint64_t);
    size_t len =
        FRAME_BYTES + 12 + each + (statistics->ended != 0 ? each : 0) + 3 * each + OPTION_BYTES;
    uint8_t *at;

    if (len > size)
        return 0;
    at = begin_block(buf, PCAPNG_STATISTICS, len);
    at = put_u32(at, 0); /* the interface */
    at = put_time(at, statistics->time);
    at = put_option_time(at, ISB_STARTTIME, statistics->began);
    if (statistics->ended != 0)
        at = put_option_time(at, ISB_ENDTIME, statistics->ended);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        at = put_option_u64(at, counts[i].code, counts[i].value);
    put_u32(put_end(at), (uint32_t)len);
    return len;
}

/*
 * Reading
 */

int pcapng_peek(const void *data, size_t len, uint32_t *type, uint32_t *block_len)
{
    struct wire w = wire_init(data, len);
    uint32_t claimed;
    uint32_t kind;

    wire_copy(&w, &kind, sizeof(kind));
    wire_copy(&w, &claimed, sizeof(claimed));
    if (w.bad)
        return 0;
    if (claimed < FRAME_BYTES || claimed % 4 != 0)
        return -EBADMSG;
    *type = kind;
    *block_len = claimed;
    return 1;
}

static int64_t take_time(struct wire *w)
{
    uint32_t halves[2];

    wire_copy(w, halves, sizeof(halves));
    return (int64_t)((uint64_t)halves[0] << 32 | halves[1]);
}

static uint64_t take_count(struct wire *w)
{
    uint64_t value;

    wire_copy(w, &value, sizeof(value));
    return value;
}

/* One option; returns whether there may be another. */
static bool take_option(struct wire *w, struct pcapng_statistics *out)
{
    uint16_t head[2];

    wire_copy(w, head, sizeof(head));
    if (w->bad || head[0] == OPT_END)
        return false;
    switch (head[0]) {
    case ISB_STARTTIME:
        out->began = take_time(w);
        break;
    case ISB_ENDTIME:
        out->ended = take_time(w);
        break;
    case ISB_IFRECV:
        out->received = take_count(w);
        break;
    case ISB_IFDROP:
        out->dropped = take_count(w);
        break;
    case ISB_USRDELIV:
        out->delivered = take_count(w);
        break;
    default:
        wire_take(w, padded(head[1]));
    }
    return true;
}

int pcapng_read_statistics(const void *block, size_t len, struct pcapng_statistics *out)
{
    struct pcapng_statistics statistics = { 0 };
    struct wire w = wire_init(block, len);
    uint32_t head[3]; /* type, length, interface */

    wire_copy(&w, head, sizeof(head));
    statistics.time = take_time(&w);
    if (head[0] != PCAPNG_STATISTICS || head[1] != len)
        return -EBADMSG;
    while (take_option(&w, &statistics)) {
    }
    if (w.bad)
        return -EBADMSG;
    *out = statistics;
    return 0;
}
