/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What it costs that the device outlives its daemon: for each message, against a daemon that keeps
 * nothing; and how long a client waits when the daemon is killed. Prints its rows. Returns 0 or
 * -errno.
 */
#ifndef VFIO_USERD_BENCH_KEEP_H
#define VFIO_USERD_BENCH_KEEP_H

/* program: the daemon's. */
int keep_bench(const char *program, unsigned rounds);

#endif
