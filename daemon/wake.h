/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One deadline on the wall clock: a timerfd on CLOCK_REALTIME with absolute times, which also wakes
 * when the clock is set. libuv's own timers are monotonic, relative and in milliseconds.
 */
#ifndef VFIO_USERD_WAKE_H
#define VFIO_USERD_WAKE_H

#include <stdint.h>
#include <uv.h>

struct wake;

/* fn is called when the deadline has passed, or may have: it looks at the time itself. */
int wake_new(uv_loop_t *loop, void (*fn)(void *arg), void *arg, struct wake **out);
void wake_free(struct wake *w);

/* deadline: ns since the Epoch; 0: none. One that has passed wakes at once. */
void wake_at(struct wake *w, int64_t deadline);

/* CLOCK_REALTIME in ns. */
int64_t wake_now(void);

#endif
