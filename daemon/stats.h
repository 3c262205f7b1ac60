/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is counted while the daemon runs: plain numbers, filled in by session/ and control/, which
 * do not know each other, and shown by control/. Counting costs an addition, a latency two looks at
 * the clock besides.
 */
#ifndef VFIO_USERD_STATS_H
#define VFIO_USERD_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "vfio_user.h"

/* Latencies of at most 2^8 ns, 2^9 ns, … 2^30 ns, and longer ones. */
#define STATS_BUCKETS     24u
#define STATS_FIRST_SHIFT 8u

struct stats_command {
    uint64_t requests;
    uint64_t errors;
    uint64_t latency_sum; /* ns */
    uint64_t latency[STATS_BUCKETS];
};

struct stats {
    int64_t since; /* ns since the Epoch */
    uint64_t clients;
    uint64_t refused;
    uint64_t interrupts;
    uint64_t resets;
    struct {
        uint64_t connections;
        uint64_t calls;
        uint64_t errors;
    } control;
    /* By command number; that of no command, 0, has those that we do not know. */
    struct stats_command commands[VFIO_USER_COMMAND_COUNT];
};

/* The upper bound of bucket i, which is not the last, in ns. */
uint64_t stats_bound(unsigned i);

/* The counters of a command, whatever its number is. */
struct stats_command *stats_command(struct stats *stats, uint16_t command);

/* An answer that took ns. */
void stats_add_latency(struct stats_command *command, uint64_t ns);

#endif
