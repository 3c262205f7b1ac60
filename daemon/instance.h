/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An instance's name, and where its things are by convention: its description in
 * /etc/vfio-userd/NAME.json, its sockets in /run/vfio-userd/NAME/. VFIO_USERD_CONFIG_DIR and
 * VFIO_USERD_RUN_DIR in the environment name other folders. Knows paths, and opens nothing.
 */
#ifndef VFIO_USERD_INSTANCE_H
#define VFIO_USERD_INSTANCE_H

#include <limits.h>
#include <stdbool.h>

#define INSTANCE_NAME_BYTES 64

#define INSTANCE_DEVICE_SOCKET  "device.sock"
#define INSTANCE_CONTROL_SOCKET "control.sock"

struct instance {
    char name[INSTANCE_NAME_BYTES];
    char config[PATH_MAX];
    char folder[PATH_MAX]; /* of its sockets */
    char device_socket[PATH_MAX];
    char control_socket[PATH_MAX];
};

/*
 * Returns 0; -EINVAL: name is empty, begins with a dot, or has a character that is no letter,
 * digit, underscore, hyphen or dot; -ENAMETOOLONG.
 */
int instance_init(struct instance *i, const char *name);

/* What to call an instance that was started with the path of its socket, or NULL. */
void instance_name_from_path(const char *socket_path, char name[INSTANCE_NAME_BYTES]);

/* Makes the folder of its sockets. Returns 0, also when it is there, or -errno. */
int instance_make_folder(const struct instance *i);

#endif
