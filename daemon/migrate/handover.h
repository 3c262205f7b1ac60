/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The source of a handover: moves the running device, and its client's connection with it, to the
 * daemon at the other end of a connection. On the loop, without ever waiting. Until the other one
 * has claimed the device any failure lets it go on here; from then on it is the other's.
 *
 * The device has one owner, always: see token.h. The other one claims it when it reads COMMIT, or
 * when the connection ends after its READY, since then we have died. We claim it before we go on
 * with it; ABORT only tells the other one why.
 */
#ifndef VFIO_USERD_HANDOVER_H
#define VFIO_USERD_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "content.h"
#include "device/device.h"
#include "parcel.h"
#include "token.h"

#define HANDOVER_REASON_BYTES 192

/* What a handover may be given until it is RUNNING, in ms. */
#define HANDOVER_TIMEOUT_MAX 3600000

/* The most of it, in ms, for what is done while the device stands still. */
#define HANDOVER_STANDSTILL_MAX 5000

struct handover;

enum handover_outcome {
    HANDOVER_MOVED, /* the device is the other's, which serves it */
    HANDOVER_KEPT,  /* it is ours, and runs */
    HANDOVER_LOST,  /* it was the other's, which has ended since */
};

/* How it ends. */
struct handover_end {
    enum handover_outcome outcome;
    const char *error; /* unless MOVED: "Incompatible", "Busy" or "MigrationFailed" */
    const char *phase; /* in which; "commit" and later: the device is the other's */
    const char *reason;
    const struct content_difference *difference; /* of Incompatible; ours is ours */
    uint64_t bytes;                              /* MOVED: of state */
    uint32_t fds;                                /* and of file descriptors */
    int64_t blackout;                            /* ns */
};

/* The daemon around it; functions are called with opaque. */
struct handover_host {
    void *opaque;
    struct device *dev;
    const char *name;                  /* of this instance */
    const struct token_keeper *keeper; /* outlives it; NULL: nothing is kept */
    /* Why the device cannot be moved now; NULL: it can. */
    const char *(*obstacle)(void *opaque);
    /* The client: whether there is one, whether it can be frozen, and session/freeze.h's. */
    bool (*has_client)(void *opaque);
    bool (*is_quiet)(void *opaque);
    int (*freeze)(void *opaque, struct parcel_client *out);
    void (*thaw)(void *opaque);
    /* A phase begins: "offer", "freeze", "state", "ready", "commit", "running". */
    void (*phase)(void *opaque, const char *phase, uint64_t bytes, uint64_t remaining);
    /*
     * The device is claimed by the other one, and the time is over without an answer: it goes on
     * waiting, but whoever waits for it need not.
     */
    void (*unsure)(void *opaque, const struct handover_end *end);
    /* It is over, and must not be used any more; it frees itself. */
    void (*ended)(void *opaque, const struct handover_end *end);
};

/*
 * Begins, over fd, a connection to the other daemon's control socket, which is owned from now on,
 * also on failure. Returns 0 or -errno: nothing has begun, and host->ended is not called.
 */
int handover_new(uv_loop_t *loop, int fd, const struct handover_host *host, int timeout_ms,
                 struct handover **out);

/*
 * Gives up, if that is still possible, which it is until COMMIT; what was committed is the other's.
 * The outcome is as ended tells, before this returns.
 */
void handover_cancel(struct handover *h, const char *reason);

#endif
