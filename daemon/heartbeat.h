/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the service manager hears of a running daemon: that its loop turns (WATCHDOG=1), and how
 * things stand (STATUS=), soon after they have changed. An idle daemon is woken for the watchdog
 * alone, and without one not at all. By timerfds: while one of libuv's timers is pending, the
 * kernel sets one up at each turn of the loop, and a guest's round trip waits for that. Knows the
 * loop and service/; the status' words are its owner's.
 */
#ifndef VFIO_USERD_HEARTBEAT_H
#define VFIO_USERD_HEARTBEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "service/service.h"
#include "wake.h"

#define HEARTBEAT_STATUS_BYTES 256

/* How long after something has happened the status is looked at. */
#define HEARTBEAT_STATUS_MS 1000

/* Embedded in its owner, whose memory outlives the loop's handles: see heartbeat_fini. */
struct heartbeat {
    struct service *service;
    void (*describe)(void *opaque, char *text, size_t size);
    void *opaque;
    struct wake *watchdog; /* NULL: nobody is told */
    struct wake *status;
    uv_check_t turn; /* every turn of the loop: something may have happened */
    char told[HEARTBEAT_STATUS_BYTES];
    bool owes_ready;     /* READY=1 was not taken */
    bool looks;          /* status will wake */
    bool due;            /* the status is to be looked at in this turn */
    int64_t interval_ns; /* between two beats; 0: there are none */
};

/*
 * describe writes the status, one line. service outlives it. Returns 0 or -errno; heartbeat_fini is
 * called in any case.
 */
int heartbeat_init(struct heartbeat *h, uv_loop_t *loop, struct service *service,
                   void (*describe)(void *opaque, char *text, size_t size), void *opaque);

/* Ready: tells so, with the status, and begins to beat. Also after a reload. */
void heartbeat_ready(struct heartbeat *h);

/* Closes the handles; the memory may go when the loop has called their close callbacks. */
void heartbeat_fini(struct heartbeat *h);

#endif
