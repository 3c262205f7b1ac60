/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Migration as the client drives it: how fast a state of 256 MiB goes out and in, beside a process
 * that copies as many bytes in messages of the same size, and how much is left to send after
 * PRE_COPY. Prints its rows. Returns 0 or -errno.
 */
#ifndef VFIO_USERD_BENCH_MIGRATION_H
#define VFIO_USERD_BENCH_MIGRATION_H

/* program: the daemon's. rounds: of the first comparison, an odd number is best. */
int migration_bench(const char *program, unsigned rounds);

#endif
