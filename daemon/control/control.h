/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Varlink service for operators: connections to the control socket, their calls, their
 * replies, and events to those who monitor. A slow or hostile peer costs its own connection and
 * nothing else: of a turn of the loop, all connections together have CONTROL_TURN_US, or one call
 * if that takes longer. Methods are in methods.c.
 */
#ifndef VFIO_USERD_CONTROL_H
#define VFIO_USERD_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "client_info.h"
#include "device/device.h"

/* What calls may take of one turn of the loop, in µs; the call that passes it is the last. */
#define CONTROL_TURN_US 100u

/* What a monitor may have unread, in bytes, before it loses events. */
#define CONTROL_MONITOR_QUEUE (1u << 20)

struct control;
struct event;
struct keeper;
struct migration;
struct moving;
struct moving_outcome;
struct moving_progress;
struct reload_outcome;
struct stats;

/* What of the device outlives this process; strings are never freed, but for reason, the host's. */
struct control_recovery {
    const char *state;  /* "off", "on", "partly", "held" */
    const char *reason; /* of "held"; NULL */
    const char *after;  /* "start", "restart", "crash" */
    unsigned descriptors;
    unsigned max_descriptors;
};

/* What the methods act on. */
struct control_host {
    void *opaque;
    struct device *dev;
    struct migration *migration;                           /* NULL: the device does not migrate */
    struct keeper *keeper;                                 /* NULL: nothing is kept */
    const char *name;                                      /* of the instance */
    int64_t started_ns;                                    /* monotonic */
    bool (*client)(void *opaque, struct client_info *out); /* false: none is attached */
    /*
     * Reads the description again and lets what has changed hold. 0 with the keys in *out, or
     * -errno with the reason there, and nothing has changed. *out is reload.h's.
     */
    int (*reload)(void *opaque, struct reload_outcome *out);
    void (*recovery)(void *opaque, struct control_recovery *out); /* NULL: nothing is kept */
    void (*quit)(void *opaque);                                   /* ends the daemon, soon */
    /*
     * Lets a capture of at most snaplen bytes a message run over the connected socket fd, which it
     * owns from now on, also on failure: -EBUSY when one runs, or another -errno. fd is
     * non-blocking, and all that was said on it before has been sent. NULL: there are no captures.
     */
    int (*capture)(void *opaque, int fd, uint32_t snaplen);
    bool (*capturing)(void *opaque); /* whether one runs; not NULL when capture is not */
    /*
     * The device's state over a connection, out and in; as capture. refuse says why neither can
     * begin now, in words: NULL: it can.
     */
    const char *(*refuse_save)(void *opaque);
    int (*save)(void *opaque, int fd, uint32_t unused);
    const char *(*refuse_load)(void *opaque);
    int (*load)(void *opaque, int fd, uint32_t unused);
    struct moving *moving; /* handovers; outlives it; NULL: there are none */
    /* Takes fd and receives a device over it, within ms. Not NULL when moving is not. */
    int (*receive)(void *opaque, int fd, uint32_t ms);
    struct stats *stats; /* control counts its own in it; outlives it */
};

/* fd: the listening socket, owned from now on, also on failure. 0 or -errno. */
int control_new(uv_loop_t *loop, int fd, const struct control_host *host, struct control **out);

/* Answers the calls that have come so far, and closes all connections. NULL is allowed. */
void control_finish(struct control *c);

/* Memory goes in the loop's next turn. NULL is allowed. */
void control_free(struct control *c);

/* Tells those who monitor; sent in the loop's next turn. NULL is allowed, and has none. */
void control_publish(struct control *c, const struct event *event);

/* Tells whoever called Migrate, if it is still there: how far it is, and how it has ended. */
void control_progress(struct control *c, const struct moving_progress *progress);
void control_moved(struct control *c, const struct moving_outcome *outcome);

#endif
