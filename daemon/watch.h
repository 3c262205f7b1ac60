/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file descriptor watched by the loop. Wraps uv_poll_t, whose memory must outlive uv_close: here
 * it does, whatever becomes of the owner, who may free the watch at any moment, also from within
 * its own function.
 */
#ifndef VFIO_USERD_WATCH_H
#define VFIO_USERD_WATCH_H

#include <uv.h>

struct watch;

/* events: UV_READABLE, UV_WRITABLE; UV_READABLE also when the fd is in error. */
typedef void (*watch_fn)(void *arg, int events);

/*
 * Watches fd, which stays the caller's, for UV_READABLE. libuv makes it non-blocking. fd must stay
 * open until watch_free. Returns 0 or -errno.
 */
int watch_new(uv_loop_t *loop, int fd, watch_fn fn, void *arg, struct watch **out);

/* Watches for other events from now on; 0: for none. */
void watch_set(struct watch *w, int events);

/* No call of fn after this; fd may be closed. NULL is allowed. */
void watch_free(struct watch *w);

#endif
