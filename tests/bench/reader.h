/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `vfuctl capture` as a process of ours, on another CPU than the one that is measured, where there
 * is one: what a capture costs the guest, not what its reader does. Functions return 0 or -errno.
 */
#ifndef VFIO_USERD_BENCH_READER_H
#define VFIO_USERD_BENCH_READER_H

#include <stdint.h>
#include <sys/types.h>

struct reader {
    pid_t pid;
    int out; /* what it prints */
};

/* What it says in the end. */
struct reader_counts {
    uint64_t packets;
    uint64_t dropped;
};

/* Starts the program on the daemon's control socket; the capture has begun when this returns. */
int reader_start(const char *vfuctl, const char *control, int busy_cpu, struct reader *out);

/* Ends it. -EIO when it did not end well. */
int reader_stop(struct reader *r, struct reader_counts *out);

#endif
