/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The running process: the loop with the device, its clients' socket, the control socket, the
 * deadline and the signals on it. Made from options by main.c; everything hangs off it.
 */
#ifndef VFIO_USERD_DAEMON_H
#define VFIO_USERD_DAEMON_H

#include "device/description.h"

struct daemon;

struct daemon_options {
    const char *socket_path;  /* NULL when fd is given */
    int fd;                   /* -1 when socket_path is given */
    const char *control_path; /* NULL: no control socket */
    const struct device_description *description;
};

/* Both sockets answer when this returns 0. Errors are logged, and returned as -errno. */
int daemon_new(const struct daemon_options *options, struct daemon **out);

/* Runs until SIGTERM, SIGINT, or the end of the only connection there can be. */
void daemon_run(struct daemon *d);

/* Closes connections and removes the sockets that daemon_new made. */
void daemon_free(struct daemon *d);

#endif
