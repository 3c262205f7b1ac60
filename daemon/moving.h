/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ways in which an operator moves this daemon's device: to another daemon, or another one's to
 * here; to a file, and from one. One at a time. Puts migrate/, the listener and the control
 * socket's word together, and tells the log.
 */
#ifndef VFIO_USERD_MOVING_H
#define VFIO_USERD_MOVING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "device/device.h"

/*
 * What a handover may take until COMMIT, in ms, when nobody says; at most HANDOVER_TIMEOUT_MAX.
 * Twice the time that a client has by default for its answers, and some: a transfer that times out
 * is an interrupt, which may be a message too.
 */
#define MOVING_TIMEOUT_DEFAULT 15000

struct content_difference;
struct event;
struct listener;
struct migration;
struct moving;
struct token_keeper;

/* An operator's wish. */
struct moving_request {
    const char *to; /* what people call the destination: a name, or a path */
    int fd;         /* a connection to its control socket, taken in any case; -1: we connect */
    bool keep;      /* stay as an empty device */
    int timeout_ms;
};

/* How far it is. */
struct moving_progress {
    const char *phase;
    uint64_t bytes; /* of state, sent and still to be sent */
    uint64_t remaining;
};

/* How it has ended. */
struct moving_outcome {
    const char *error; /* NULL: it is there; else "Incompatible", "Busy" or "MigrationFailed" */
    const char *phase;
    const char *reason;
    const struct content_difference *difference; /* of Incompatible */
    uint64_t bytes;
    uint32_t fds;
    int64_t blackout; /* ns */
};

/* The daemon around it; all outlive it. */
struct moving_host {
    void *opaque;
    uv_loop_t *loop;
    struct device *dev;
    struct listener *listener;
    struct migration *migration;
    const struct token_keeper *keeper;               /* NULL: nothing is kept */
    const char *held;                                /* why nobody is served; "" or NULL: all are */
    const char *name;                                /* of the instance */
    void (*on_phase)(const char *phase);             /* for tests; NULL */
    void (*leave)(void *opaque, const char *reason); /* the device is away: end */
    /* What has happened; how far a handover is that moving_migrate began; and how it has ended. */
    void (*event)(void *opaque, const struct event *event);
    void (*progress)(void *opaque, const struct moving_progress *progress);
    void (*moved)(void *opaque, const struct moving_outcome *outcome);
};

/* host is copied. Returns 0 or -errno. */
int moving_new(const struct moving_host *host, struct moving **out);

/* Gives up what is under way, if that is still possible. NULL is allowed. */
void moving_finish(struct moving *m);
void moving_free(struct moving *m);

/* Why the device cannot be moved away now; NULL: it can. */
const char *moving_obstacle(const struct moving *m);

/* Why nothing may change the device from outside now; NULL: it may. */
const char *moving_busy(const struct moving *m);

/* "moving", "receiving", or NULL: neither. */
const char *moving_state(const struct moving *m);

/* The empty device that stayed has a client, or a state: it is this daemon's own from now on. */
void moving_used(struct moving *m);

/* Where the device went, if it has gone; NULL: it is here. */
const char *moving_went_to(const struct moving *m);

/*
 * Begins to move the device away. host.progress and host.moved tell of it, the latter also
 * when it cannot even begin.
 */
void moving_migrate(struct moving *m, const struct moving_request *request);

/*
 * Whether a device that BEGIN of len bytes speaks of would be received; from: what people call
 * its daemon. Returns 0; -EBUSY with
 * *reason; -EPERM with *difference; -EBADMSG: the offer is malformed.
 */
int moving_judge(struct moving *m, const char *from, const uint8_t *offer, size_t len,
                 const char **reason, struct content_difference *difference);

/*
 * The device's state to a file or a pipe, and from there: see migrate/transfers.h. refuse: why it
 * cannot begin now; NULL: it can.
 */
const char *moving_refuse_save(const struct moving *m);
const char *moving_refuse_load(const struct moving *m);
int moving_save(struct moving *m, int fd);
int moving_load(struct moving *m, int fd);

/* Begins to receive the one that was judged last, over fd, which is taken. Returns 0 or -errno. */
int moving_receive(struct moving *m, int fd, int timeout_ms);

#endif
