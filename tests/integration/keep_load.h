/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that uses all there is, and knows what the device must have made of it: for tests whose
 * daemon dies meanwhile. Failures are ck_assert failures: nothing may be lost, nothing done twice.
 */
#ifndef VFIO_USERD_TEST_KEEP_LOAD_H
#define VFIO_USERD_TEST_KEEP_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"

#define LOAD_BAR1_SIZE (4u << 20)
#define LOAD_LARGE     (1u << 20)

/* The device that it is made for: a larger BAR1, MSI with four vectors. */
#define LOAD_DESCRIPTION                                                                \
    "{\"pci\":{\"capabilities\":[{\"kind\":\"pm\"},{\"kind\":\"msi\",\"vectors\":4}]}," \
    "\"bar1\":{\"size\":\"4M\",\"mmap\":[[\"0\",\"4K\"]]}}"

#define LOAD_FILE_BYTES (64u << 10)
#define LOAD_PAGE       4096u

struct load {
    struct client *c;
    uint32_t seed;
    uint64_t turns;
    int intx;
    int unmask;
    int shared; /* a file of guest memory, mapped at several places */
    uint8_t *memory;
    uint8_t guest[LOAD_FILE_BYTES]; /* memory that is not shared */
    uint64_t dma_messages;
    uint64_t dma_bytes; /* by them */
    int ring;           /* the doorbell */
    uint32_t *shadow;
    uint8_t *bar1; /* its first page, mapped */
    uint32_t rings;
    uint64_t interrupts;
    unsigned told; /* interrupts by message */
    bool small; /* no message takes long: one that is executed when two die is answered with EIO */
};

/* Connects to the socket, with a twin or without. */
void load_begin(struct load *l, const char *socket, bool twin);
void load_end(struct load *l);

/* Everything once. */
void load_turn(struct load *l);

/* One thing, of as many as there are. */
#define LOAD_CHECKS 13
void load_check(struct load *l, unsigned i);

#endif
