/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon against its floor: both get the same traffic from the same code, alternating in each
 * of several rounds, after some that does not count. A round's figure is a median, and the result
 * is the median of the rounds; the ratio is that of the rounds' ratios, so that a machine that
 * slows down for a while slows both.
 */
#ifndef VFIO_USERD_BENCH_MEASURE_H
#define VFIO_USERD_BENCH_MEASURE_H

#include "traffic.h"

#define MEASURE_ROUNDS_MAX 99

struct comparison {
    double ours;
    double floor;
    double ratio; /* ours / floor */
    double ours_p99;
    double floor_p99;
};

/* Durations in ns of one exchange; fd is the daemon's socket. Returns 0 or -errno. */
int measure_round_trips(int fd, const struct exchange *x, unsigned rounds, struct comparison *out);

/* The same of two daemons: fd's against that of other_fd in place of the floor. */
int measure_round_trips_of_two(int fd, int other_fd, const struct exchange *x, unsigned rounds,
                               struct comparison *out);
int measure_writes_of_two(int fd, int other_fd, const struct stream_of_writes *w, unsigned count,
                          unsigned rounds, struct comparison *out);

/* Rates: writes per second, of which w has count. */
int measure_writes(int fd, const struct stream_of_writes *w, unsigned count, unsigned rounds,
                   struct comparison *out);

#endif
