/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a session knows of its client besides what the device knows, as plain values: for another
 * process that is to serve the same connection. Made and used by session/, carried by migrate/.
 */
#ifndef VFIO_USERD_SNAPSHOT_H
#define VFIO_USERD_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "client_info.h"
#include "device/description.h"

struct session_snapshot {
    struct client_info info;     /* pid and uid are the socket's to tell */
    struct device_limits limits; /* that the client was told */
    uint32_t dma_shape;          /* enum dma_shape */
    uint16_t dma_next_id;
    bool shared_seen;     /* see struct command_context */
    bool by_message_said; /* the same */
};

#endif
