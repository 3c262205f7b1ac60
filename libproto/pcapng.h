/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blocks of a pcapng file, as the IETF's draft-ietf-opsawg-pcapng has them: written into a
 * caller's buffer, each whole or not at all, and taken apart again as far as a program needs that
 * passes them on. Pure functions: no file, no clock, no protocol of what is captured.
 *
 * A file is one section: a section header, one interface (number 0), packets and statistics. All is
 * in the byte order of the host, which the section header tells.
 */
#ifndef VFIO_USERD_PCAPNG_H
#define VFIO_USERD_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Link types; this one is for private use, and so for what has no number of its own. */
#define PCAPNG_LINKTYPE_USER0 147u

enum pcapng_type {
    PCAPNG_SECTION = 0x0a0d0d0a,
    PCAPNG_INTERFACE = 1,
    PCAPNG_STATISTICS = 5,
    PCAPNG_PACKET = 6,
};

enum pcapng_direction { PCAPNG_UNKNOWN = 0, PCAPNG_INBOUND = 1, PCAPNG_OUTBOUND = 2 };

/* Strings may be NULL: the option is left out. Those longer than 65535 bytes are cut. */
struct pcapng_interface {
    uint16_t linktype;
    uint32_t snaplen;
    const char *name;
    const char *description;
};

struct pcapng_packet {
    int64_t time; /* ns since the Epoch */
    const void *data;
    uint32_t len;  /* as it was */
    uint32_t kept; /* of these bytes in the file; at most len */
    enum pcapng_direction direction;
    uint32_t queue;   /* of the interface; 0: left out */
    uint64_t dropped; /* packets lost since the one before; 0: left out */
    const char *comment;
};

/* Numbers since the capture's begin. */
struct pcapng_statistics {
    int64_t time; /* ns since the Epoch, like those below */
    int64_t began;
    int64_t ended; /* 0: it goes on */
    uint64_t received;
    uint64_t dropped;   /* of these, for want of room */
    uint64_t delivered; /* of these, written */
};

/* At most this much for a block of statistics, and for a packet beside its data and comment. */
#define PCAPNG_STATISTICS_MAX 112u
#define PCAPNG_PACKET_EXTRA   80u

/*
 * Write a block to buf, which has room for size bytes. Return its length, a multiple of 4, or 0
 * when it does not fit: then nothing is written.
 */
size_t pcapng_write_section(void *buf, size_t size, const char *application);
size_t pcapng_write_interface(void *buf, size_t size, const struct pcapng_interface *interface);
size_t pcapng_write_packet(void *buf, size_t size, const struct pcapng_packet *packet);
size_t pcapng_write_statistics(void *buf, size_t size, const struct pcapng_statistics *statistics);

/*
 * What stands at the begin of len bytes of a stream of blocks. Returns 1 with the block's type and
 * its length, whether or not all of it is there; 0 when that cannot be told yet; -EBADMSG for a
 * length that no block has.
 */
int pcapng_peek(const void *data, size_t len, uint32_t *type, uint32_t *block_len);

/*
 * Reads a whole block of statistics that pcapng_write_statistics wrote. Returns 0, or -EBADMSG when
 * it is another.
 */
int pcapng_read_statistics(const void *block, size_t len, struct pcapng_statistics *out);

#endif
