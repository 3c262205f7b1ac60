/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A handover's first step, which is in JSON: the source calls Receive of the other daemon, and
 * reads what it thinks of that. Knows nothing of what follows.
 */
#ifndef VFIO_USERD_OFFER_H
#define VFIO_USERD_OFFER_H

#include <json-c/json.h>
#include <stdbool.h>

#include "content.h"
#include "device/device.h"
#include "varlink.h"

/* Why not. */
struct offer_reply {
    const char *error; /* "Incompatible", "Busy" or "MigrationFailed" */
    char reason[192];
    struct content_difference difference; /* of Incompatible; ours is ours */
};

/* Offers dev, of the instance called name; the other one is to wait so long. 0 or -errno. */
int offer_send(struct varlink *v, const struct device *dev, const char *name, int timeout_ms);

/* Whether it was accepted; *out is filled in when not. */
bool offer_take_reply(struct json_object *reply, struct offer_reply *out);

#endif
