/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a running capture is shown of a session: every message of its stream, with a comment where
 * more is known than the bytes say: who speaks, what was negotiated, how many fds travel along.
 */
#ifndef VFIO_USERD_TAP_H
#define VFIO_USERD_TAP_H

#include <stdint.h>

#include "capture.h"
#include "client_info.h"
#include "stream.h"

/* Embedded in the session; its own. */
struct tap {
    struct capture *capture; /* NULL: none runs */
    struct stream *stream;
    const struct client_info *client;
    uint32_t connection; /* its number since the daemon's start, from 1 */
};

/* stream and client outlive it. */
void tap_init(struct tap *t, struct stream *stream, const struct client_info *client,
              uint32_t connection);

/* Shows messages to capture from now on; NULL: to none. */
void tap_set(struct tap *t, struct capture *capture);

#endif
