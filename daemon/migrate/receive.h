/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The destination of a handover: takes over a device that runs in another daemon, with its client.
 * See handover.h. Our own device stands still meanwhile, and is as it was when nothing comes of it.
 * All is checked, and all that could fail is done, before READY.
 */
#ifndef VFIO_USERD_RECEIVE_H
#define VFIO_USERD_RECEIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "device/device.h"
#include "session/snapshot.h"
#include "token.h"

struct receive;

struct receive_end {
    bool received;      /* the device is ours, and runs */
    bool orphaned;      /* and the source had ended before it said COMMIT */
    const char *reason; /* else: why not */
    const char *phase;
    int64_t blackout; /* ns */
};

/* The daemon around it; functions are called with opaque. */
struct receive_host {
    void *opaque;
    struct device *dev;
    const struct token_keeper *keeper; /* outlives it; NULL: nothing is kept */
    /* The client of the other daemon becomes ours, and stands still: listener_adopt. */
    int (*adopt)(void *opaque, const struct session_snapshot *snapshot,
                 struct session_sockets *sockets);
    /* It is not ours after all. */
    void (*abandon)(void *opaque);
    /* It is served from now on. */
    void (*run)(void *opaque);
    /* A phase begins: "offer", "state", "ready", "await", "commit", "running". */
    void (*phase)(void *opaque, const char *phase);
    /* It is over, and must not be used any more; it frees itself. */
    void (*ended)(void *opaque, const struct receive_end *end);
};

/*
 * Begins, over fd, the connection on which Receive was accepted, which is owned from now on, also
 * on failure. The device is stopped. Returns 0 or -errno: nothing has begun then.
 */
int receive_new(uv_loop_t *loop, int fd, const struct receive_host *host, int timeout_ms,
                struct receive **out);

/* Gives up: ended is called before this returns. */
void receive_cancel(struct receive *r, const char *reason);

#endif
