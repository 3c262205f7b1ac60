/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a running capture is shown of a session: every message of a stream of it, with a comment
 * where more is known than the bytes say: who speaks, what was negotiated, how many fds travel
 * along, and that it is the twin socket.
 */
#ifndef VFIO_USERD_TAP_H
#define VFIO_USERD_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "capture.h"
#include "client_info.h"
#include "stream.h"

/* Embedded in the session, one for each of its streams; its own. */
struct tap {
    struct capture *capture; /* NULL: none runs */
    struct stream *stream;
    const struct client_info *client;
    uint32_t connection; /* its number since the daemon's start, from 1 */
    bool twin;           /* the stream is that of the client's twin socket */
};

/* stream and client outlive it. */
void tap_init(struct tap *t, struct stream *stream, const struct client_info *client,
              uint32_t connection);

/* Shows messages to capture from now on; NULL: to none. */
void tap_set(struct tap *t, struct capture *capture);

#endif
