/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Varlink service for operators: connections to the control socket, their calls, their
 * replies. A slow or hostile peer costs its own connection and nothing else. Methods are in
 * methods.c.
 */
#ifndef VFIO_USERD_CONTROL_H
#define VFIO_USERD_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "client_info.h"
#include "device/device.h"

struct control;
struct reload_outcome;

/* What the methods act on. */
struct control_host {
    void *opaque;
    struct device *dev;
    const char *name;                                      /* of the instance */
    int64_t started_ns;                                    /* monotonic */
    bool (*client)(void *opaque, struct client_info *out); /* false: none is attached */
    /*
     * Reads the description again and lets what has changed hold. 0 with the keys in *out, or
     * -errno with the reason there, and nothing has changed. *out is reload.h's.
     */
    int (*reload)(void *opaque, struct reload_outcome *out);
};

/* fd: the listening socket, owned from now on, also on failure. 0 or -errno. */
int control_new(uv_loop_t *loop, int fd, const struct control_host *host, struct control **out);

/* Answers the calls that have come so far, and closes all connections. NULL is allowed. */
void control_finish(struct control *c);

void control_free(struct control *c);

#endif
