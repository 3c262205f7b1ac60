/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that keeps the device busy and knows at every moment what it must hold: what is written
 * must be read back, and what is counted must have come once. What it finds is counted in totals.
 */
#ifndef VFIO_USERD_TESTS_LOAD_H
#define VFIO_USERD_TESTS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <time.h>

#include "client.h"
#include "doorbell.h"

#define LOAD_MEMORY    8192u /* of BAR1, from its start */
#define LOAD_GUEST     65536u
#define LOAD_PATIENCE  20000 /* ms */
#define LOAD_GAP_NS    20000000ll
#define LOAD_GAPS_MAX  8192u
#define LOAD_COMPLAINS 20u /* lines on stderr, at most */

struct load_totals {
    uint64_t operations;
    uint64_t lost;     /* written and not there, rung or raised and not counted */
    uint64_t repeated; /* counted more often than it was done */
    uint64_t errors;   /* answered with one, or not at all */
};

struct load {
    struct client *client;
    struct doorbell doorbell;
    bool over;     /* the connection is of no use any more */
    uint64_t seed; /* of the next random number */
    int irq;       /* eventfd of INTx */
    uint64_t bar1_size;
    uint8_t memory[LOAD_MEMORY]; /* what BAR1 must hold */
    uint8_t *shared;             /* guest memory that the device reaches by itself */
    int shared_fd;
    uint8_t unshared[LOAD_GUEST]; /* and by message */
    uint32_t rings;               /* what DOORBELL_COUNT must be */
    uint64_t raised;              /* what IRQ_COUNT must be */
    uint64_t awaited;             /* interrupts, since the eventfd was set */
    uint64_t came;                /* of them */
    struct load_totals totals;
    int64_t gaps[LOAD_GAPS_MAX]; /* what took LOAD_GAP_NS or more */
    unsigned n_gaps;
    unsigned complaints;
};

/* Connects, maps the guest's memory, sets the eventfd, and looks what the device's counters are.
 * Returns 0 or -errno. */
int load_open(struct load *l, const char *path, bool twin, uint64_t seed);
void load_close(struct load *l);

/* One operation of each kind, in a random order, with random addresses, values and numbers. */
void load_round(struct load *l);

/* Nothing must come any more that was not asked for. */
void load_settle(struct load *l);

/* A write to BAR1 that is not one of the operations: of what lies beyond LOAD_MEMORY. 0 or -errno.
 */
int load_poke(struct load *l, uint64_t offset, const void *data, uint32_t len);
int load_peek(struct load *l, uint64_t offset, void *data, uint32_t len);

/* A ring by message. It has been answered with an error when that is returned, and does not count.
 */
int load_ring(struct load *l);

/* DOORBELL_COUNT must be what it must be. */
void load_count_rings(struct load *l);

/* Says what is wrong, on stderr. */
void load_complain(struct load *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Nanoseconds. */
int64_t load_now(clockid_t clock);

/* Less than below. */
uint64_t load_random(struct load *l, uint64_t below);

#endif
