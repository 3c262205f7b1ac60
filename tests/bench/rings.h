/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The doorbell through its eventfd and shadow memory, as KVM rings it for a guest, beside writes by
 * message, each until the device has counted every ring. Prints its rows. Returns 0 or -errno.
 */
#ifndef VFIO_USERD_BENCH_RINGS_H
#define VFIO_USERD_BENCH_RINGS_H

/* program: the daemon's. rounds: at most MEASURE_ROUNDS_MAX. */
int rings_bench(const char *program, unsigned rounds);

#endif
