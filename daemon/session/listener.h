/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where vfio-user clients come in: a socket at a path, or an fd that we were started with. Accepts
 * at once, keeps the connections, and says which of them is the client. A connection that is left
 * in the backlog would hang Cloud Hypervisor; one too many is accepted to be closed.
 */
#ifndef VFIO_USERD_LISTENER_H
#define VFIO_USERD_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "client_info.h"
#include "device/device.h"
#include "event.h"
#include "snapshot.h"
#include "stats.h"

struct capture;
struct keeper;
struct listener;
struct migration;
struct session;

struct listener_host {
    void *opaque;
    /* The only connection that there will ever be (fd was a connected socket) is gone. */
    void (*done)(void *opaque);
    /* A client has attached, detached, or was turned away. */
    void (*event)(void *opaque, const struct event *event);
    struct stats *stats;         /* outlives the listener */
    struct migration *migration; /* outlives the listener; NULL: the device does not migrate */
    struct keeper *keeper;       /* outlives the listener; NULL: nothing is kept */
};

/*
 * fd: a listening UNIX socket, or a connected one; owned from now on, also on failure. dev outlives
 * the listener. Returns 0 or -errno.
 */
int listener_new(uv_loop_t *loop, int fd, struct device *dev, const struct listener_host *host,
                 struct listener **out);

/*
 * Closes the client's connection after what it has asked so far is answered, the others at once.
 * A client that does not take its answers is waited for no longer than ms.
 */
void listener_finish(struct listener *l, int ms);

/*
 * Gives up the client to the process that follows, and the listening socket: nothing is sent, and
 * nothing shut down.
 */
void listener_leave(struct listener *l);

/* Closes all connections, each after what it can be sent at once. NULL is allowed. */
void listener_free(struct listener *l);

/* Shows the messages of all connections to a capture from now on; NULL: to none. */
void listener_set_capture(struct listener *l, struct capture *capture);

/*
 * Whether nobody may become the client, since one is to come from another process. reason: why, for
 * those who are turned away; NULL: anybody may again.
 */
void listener_reserve(struct listener *l, const char *reason);

/* Makes the client of another process ours: session_adopt. It is the client from here on. */
int listener_adopt(struct listener *l, const struct session_snapshot *snapshot,
                   struct session_sockets *sockets, struct session **out);

/* Whether a client is there that has not closed its connection. */
bool listener_is_taken(struct listener *l);

/* The attached client's session, NULL without one. */
struct session *listener_client(struct listener *l);

#endif
