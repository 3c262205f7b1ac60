/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `vfuctl migrate` as its guest feels it: a device with 64 DMA maps goes 200 times from one daemon
 * to another and back, and each time the daemons say for how long it stood still. Prints its rows.
 * Returns 0 or -errno.
 */
#ifndef VFIO_USERD_BENCH_HANDOVER_H
#define VFIO_USERD_BENCH_HANDOVER_H

/* program: the daemon's. */
int handover_bench(const char *program);

#endif
