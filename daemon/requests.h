/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What operators ask of the running daemon, by the control socket or by a signal: reload, quit,
 * capture, moving the device. Puts control/ together with what does it, and knows the daemon.
 */
#ifndef VFIO_USERD_REQUESTS_H
#define VFIO_USERD_REQUESTS_H

#include <stdbool.h>

struct client_info;
struct daemon;
struct daemon_options;
struct reload_outcome;

/* What moves the device; behind the device and its listener. Returns 0 or -errno. */
int requests_make_moving(struct daemon *d);

/* The control socket, if there is to be one. Errors are logged, and returned as -errno. */
int requests_make_control(struct daemon *d);

/*
 * Lets log_level of the description hold, unless the command line has set the level. For the start,
 * before anything is logged; a reload does it too.
 */
void requests_set_log_level(const struct daemon_options *options);

/* As struct control_host's reload, with the daemon as opaque. */
int requests_reload(void *daemon, struct reload_outcome *out);

/* The attached client; false: there is none. */
bool requests_client(void *daemon, struct client_info *out);

#endif
