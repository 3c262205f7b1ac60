/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens while the daemon runs, for those who watch it: told by session/ and the device,
 * shown by control/, which do not know each other.
 */
#ifndef VFIO_USERD_EVENT_H
#define VFIO_USERD_EVENT_H

#include <sys/types.h>

#include "client_info.h"
#include "device/device.h"

enum event_kind {
    EVENT_CLIENT_ATTACHED, /* client */
    EVENT_CLIENT_DETACHED, /* client, reason */
    EVENT_CLIENT_REFUSED,  /* pid, reason */
    EVENT_DEVICE,          /* device */
    EVENT_MIGRATION,       /* phase: the state, or how far the device has moved */
};

/* What its kind does not have is 0. Pointers are gone when the event has been told. */
struct event {
    enum event_kind kind;
    const struct client_info *client;
    pid_t pid;
    const char *reason;
    const char *phase;
    const struct device_event *device;
};

#endif
