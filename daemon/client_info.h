/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is known of the attached client: filled in by session/, shown by control/, which do not know
 * each other.
 */
#ifndef VFIO_USERD_CLIENT_INFO_H
#define VFIO_USERD_CLIENT_INFO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "device/description.h"
#include "version.h"

enum twin_state {
    TWIN_NONE, /* the client has none: our commands share the one socket */
    TWIN_OPEN,
    TWIN_LOST, /* it had one: our commands have no way to it */
};

struct client_info {
    pid_t pid; /* when it connected; 0 where unknown */
    uid_t uid;
    bool uid_known;              /* false: our user namespace has no uid for it */
    int64_t since;               /* ns since the Epoch */
    enum client_profile profile; /* never PROFILE_AUTO */
    struct version_caps caps;    /* as negotiated; no twin_socket any more when that is lost */
    enum twin_state twin;
    uint64_t requests; /* handled */
    uint64_t errors;   /* of these, answered with an error */
};

#endif
