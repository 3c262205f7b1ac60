/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The doorbell as an eventfd: what GET_REGION_IO_FDS says of it, and rings as KVM does them for a
 * guest. Knows nothing of the walk. Section "VFIO_USER_DEVICE_GET_REGION_IO_FDS".
 */
#ifndef VFU_CLIENT_DOORBELL_H
#define VFU_CLIENT_DOORBELL_H

#include <stddef.h>
#include <stdint.h>

#include "client.h"

enum doorbell_kind { DOORBELL_NONE, DOORBELL_IOEVENTFD, DOORBELL_SHADOW };

struct doorbell {
    enum doorbell_kind kind;
    int fd;          /* -1 */
    uint32_t *value; /* in the shadow memory, NULL */
    void *map;
    size_t map_len;
};

/*
 * Asks for BAR0's eventfds and opens the doorbell's; *out is to be closed also on failure. The kind
 * is DOORBELL_NONE when the device serves it by message only. 0 or -errno as those of client.h;
 * -EPROTO for what is no doorbell, or shadow memory that is too small.
 */
int doorbell_open(struct client *c, struct doorbell *out);
void doorbell_close(struct doorbell *d);

/* Stores the value, when there is memory for it, and signals. 0 or -errno. */
int doorbell_ring(const struct doorbell *d, uint32_t value);

/* For what is printed. */
const char *doorbell_kind_name(enum doorbell_kind kind);

#endif
