/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the daemon is made of: for daemon.c, which makes it and runs it, and moves.c, which moves
 * its device's state.
 */
#ifndef VFIO_USERD_DAEMON_PRIVATE_H
#define VFIO_USERD_DAEMON_PRIVATE_H

#include <uv.h>

#include "accept.h"
#include "daemon.h"
#include "heartbeat.h"
#include "log.h"
#include "stats.h"

#define DAEMON_N_SIGNALS 3

struct daemon {
    uv_loop_t loop;
    struct daemon_options options;
    struct wake *wake;
    struct device *dev;
    struct migration *migration;
    struct listener *listener;
    struct control *control;
    struct capture *capture; /* NULL: none runs */
    struct transfers *transfers;
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
struct session *daemon_client(struct daemon *d);

#endif
