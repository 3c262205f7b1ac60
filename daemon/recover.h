/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon and what outlives it: makes the keeper, where a service manager holds file descriptors
 * for us; and goes on with what a process before this one has left. See keep/.
 */
#ifndef VFIO_USERD_RECOVER_H
#define VFIO_USERD_RECOVER_H

struct control_recovery;
struct daemon;

/*
 * Makes d->keeper, or none, before there is a device. Returns 0 or -errno, which is logged: what
 * was left stays where it is.
 */
int recover_make_keeper(struct daemon *d);

/*
 * With device and listener made: becomes what was left, if anything was, and has all that is from
 * now on kept. What cannot be used is kept as it is, and said; then d->held says why, no client is
 * taken, and nothing of this daemon is kept. Returns 0 or -errno.
 */
int recover_run(struct daemon *d);

/* The loop is about to run: a recovered client is served. */
void recover_resume(struct daemon *d);

/* For the control socket; opaque is the daemon. */
void recover_get(void *opaque, struct control_recovery *out);

#endif
