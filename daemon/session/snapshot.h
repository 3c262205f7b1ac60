/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a session knows of its client besides what the device knows, as plain values, and its
 * sockets: for another process that is to serve the same connection. Made and used by session/,
 * carried by migrate/.
 */
#ifndef VFIO_USERD_SNAPSHOT_H
#define VFIO_USERD_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "client_info.h"
#include "device/description.h"
#include "stream_rest.h"

struct session_snapshot {
    struct client_info info;     /* pid and uid are the socket's to tell */
    struct device_limits limits; /* that the client was told */
    uint32_t dma_shape;          /* enum dma_shape */
    uint16_t dma_next_id;        /* of our next command, whatever it is */
    uint32_t client_fds;         /* that the client takes in one message */
    bool shared_seen;            /* see struct command_context */
    bool by_message_said;        /* the same */
};

/* The connection, and what has come on it that nobody has handled. */
struct session_sockets {
    int socket;
    struct stream_rest rest;
    int twin; /* -1: there is none (any more) */
    struct stream_rest twin_rest;
};

#endif
