/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ways in which the running device's state leaves and enters at an operator's request, and
 * which of them exclude each other. Puts migrate/ and control/ together, and knows the daemon.
 */
#ifndef VFIO_USERD_MOVES_H
#define VFIO_USERD_MOVES_H

struct control_host;
struct daemon;

/* Behind the device and its listener. Returns 0 or -errno. */
int moves_init(struct daemon *d);

/* Ends what is under way; before the listener. */
void moves_fini(struct daemon *d);

/* What the control socket calls. */
void moves_fill(struct daemon *d, struct control_host *host);

#endif
