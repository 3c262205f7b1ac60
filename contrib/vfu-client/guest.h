/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake guest's memory: a few parts at addresses of its own, most of them memfds that the device
 * may reach directly, one that it can only reach by message. Knows nothing of the walk.
 */
#ifndef VFU_CLIENT_GUEST_H
#define VFU_CLIENT_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"

#define GUEST_PART_SIZE 0x10000ull

/* In order of address; the first three are one stretch of addresses without gaps. */
enum guest_part_index {
    GUEST_LOW,      /* shared */
    GUEST_SECOND,   /* shared: the same file, behind the first */
    GUEST_UNSHARED, /* by message only */
    GUEST_READONLY, /* shared, and the device may not write it */
    GUEST_HIGH,     /* shared, from 4 GiB on */
    GUEST_PARTS,
};

struct guest_part {
    const char *name;
    uint64_t iova;
    uint64_t offset; /* in the file */
    uint32_t flags;  /* VFIO_DMA_MAP_FLAG_* */
    int fd;          /* -1: not shared */
    uint8_t *at;     /* GUEST_PART_SIZE bytes */
};

struct guest;

/* Makes all parts, zeroed; without shared, the device reaches all of them by message only. 0 or
 * -errno. */
int guest_new(bool shared, struct guest **out);
void guest_free(struct guest *g);

/* A part, which stays the guest's. */
const struct guest_part *guest_part(const struct guest *g, enum guest_part_index i);

/* The bytes at iova; NULL when not all of count bytes are in parts that lie side by side. */
uint8_t *guest_at(const struct guest *g, uint64_t iova, uint64_t count);

/* What serves the server's DMA_READ and DMA_WRITE: -EFAULT outside, -EACCES against the flags. */
struct client_memory guest_memory(struct guest *g);

/* DMA messages served since guest_new. */
uint64_t guest_messages(const struct guest *g);

#endif
