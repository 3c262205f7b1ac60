/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's round trips while something else happens: a thread that reads eight bytes of BAR1 again
 * and again, and remembers how long each took.
 */
#ifndef VFIO_USERD_TEST_GUEST_LATENCY_H
#define VFIO_USERD_TEST_GUEST_LATENCY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "integration/harness.h"

#define GUEST_SAMPLES 400000u /* the first are kept, for the quantiles */

struct guest {
    struct client *client;
    pthread_t thread;
    atomic_bool stop;
    atomic_int error; /* of a read that failed */
    uint64_t count;
    uint64_t max_ns;
    uint32_t *ns;
};

/* Attaches a client and begins. */
void guest_start(struct guest *g, const struct server *s);

/*
 * Ends it, prints what it has measured, and fails when a read failed or took longer than max_ms.
 * what: what has happened meanwhile.
 */
void guest_stop(struct guest *g, const char *what, unsigned max_ms);

#endif
