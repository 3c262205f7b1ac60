/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the daemon is made of: for daemon.c, which makes it and runs it, and requests.c, which does
 * what operators ask of it.
 */
#ifndef VFIO_USERD_DAEMON_PRIVATE_H
#define VFIO_USERD_DAEMON_PRIVATE_H

#include <uv.h>

#include "accept.h"
#include "daemon.h"
#include "heartbeat.h"
#include "keep/keeper.h"
#include "log.h"
#include "migrate/token.h"
#include "session/listener.h"
#include "stats.h"

#define DAEMON_N_SIGNALS 3

/* The sockets' directory is the gate; the group may connect. */
#define DAEMON_SOCKET_MODE 0660

struct daemon {
    uv_loop_t loop;
    struct daemon_options options;
    struct wake *wake;
    struct keeper *keeper;     /* NULL: nothing outlives us */
    struct session *recovered; /* the client of the process before, until it is served */
    uv_prepare_t settle;       /* what was touched in a turn is kept at its end */
    struct token_keeper handover_keeper;
    int token; /* of the handover that is under way: moving's; -1 */
    uint32_t token_serial;
    enum token_owner token_owner; /* who we are in it */
    const char *after;            /* what this process follows; NULL: nothing */
    char held[256];               /* why what was left cannot be used; "": it can, or nothing was */
    struct device *dev;
    struct migration *migration;
    struct listener *listener;
    struct control *control;
    struct moving *moving;
    struct capture *capture; /* NULL: none runs */
    uv_signal_t signals[DAEMON_N_SIGNALS];
    struct heartbeat heartbeat;
    struct log_limit reload_limit;
    struct stats stats;
    enum log_level first_level; /* at the start */
    const char *end_reason;
    char served_at[128];
    struct accept_place socket_place; /* what we made, to be removed at the end */
    struct accept_place control_place;
};

/* The attached client's session, NULL without one. */
static inline struct session *daemon_client(struct daemon *d)
{
    return d->listener != NULL ? listener_client(d->listener) : NULL;
}

/* Ends the loop, and with it the daemon; reason is a string that is never freed. */
static inline void daemon_stop(struct daemon *d, const char *reason)
{
    d->end_reason = reason;
    uv_stop(&d->loop);
}

#endif
