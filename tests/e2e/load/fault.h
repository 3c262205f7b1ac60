/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fault in the making, for the tests of what a daemon's death does: it lies in BAR1, which
 * outlives a process, and is written there like any other memory. vfio-userd-fault looks at it with
 * each command; the daemon that is installed knows nothing of it.
 */
#ifndef VFIO_USERD_TESTS_FAULT_H
#define VFIO_USERD_TESTS_FAULT_H

#include <stdint.h>

/* How far from BAR1's end. */
#define FAULT_FROM_END 64u

#define FAULT_MAGIC 0x21746c66u

/* Little endian. */
struct fault {
    uint32_t magic;     /* anything else: none */
    uint32_t countdown; /* commands that are executed before it, counted down */
    uint32_t deaths;    /* how often the next command kills the process, counted down */
    uint32_t after;     /* 0: before the command is executed; 1: after it, without an answer */
};

#endif
