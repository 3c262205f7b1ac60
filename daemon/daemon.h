/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The running process: the loop with the device, its clients' socket, the control socket, the
 * deadline and the signals on it. Made from options by main.c; everything hangs off it.
 */
#ifndef VFIO_USERD_DAEMON_H
#define VFIO_USERD_DAEMON_H

#include <stdbool.h>

#include "device/description.h"
#include "service/service.h"

struct daemon;

/* Pointers stay the caller's and outlive the daemon. */
struct daemon_options {
    const char *name;         /* of the instance */
    const char *socket_path;  /* NULL when fd is given */
    int fd;                   /* listening or connected; owned by the daemon; -1: socket_path */
    const char *control_path; /* NULL: control_fd, or no control socket */
    int control_fd;           /* listening; owned by the daemon; -1: none */
    struct device_description *description; /* a reload changes what it may */
    const char *config;                     /* its file; NULL: the default device */
    bool config_optional;                   /* without the file, the default device */
    bool described;                         /* the file was there */
    const char *hold;     /* why what was left cannot be used; NULL: perhaps it can */
    bool discard_state;   /* what a process before has left is dropped */
    bool log_level_given; /* on the command line: a reload leaves it alone */
    struct service *service;
    void (*on_phase)(const char *phase); /* of a handover, for tests; NULL */
};

/* Both sockets answer when this returns 0. Errors are logged, and returned as -errno. */
int daemon_new(const struct daemon_options *options, struct daemon **out);

/*
 * Runs until SIGTERM, SIGINT, or the end of the only connection there can be. Then what the client
 * has asked is answered, and its connection closed.
 */
void daemon_run(struct daemon *d);

/* Closes connections and removes the sockets that daemon_new made. */
void daemon_free(struct daemon *d);

#endif
