/* SPDX-License-Identifier: BSD-3-Clause */
/* Samples and what to say of them. Knows nothing of where they come from. */
#ifndef VFIO_USERD_BENCH_STATS_H
#define VFIO_USERD_BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

#define SAMPLES_MAX 65536u

/* A set of durations in ns; those over SAMPLES_MAX are dropped. */
struct samples {
    uint32_t ns[SAMPLES_MAX];
    size_t n;
};

void samples_add(struct samples *s, int64_t ns);

/* The value that the given share of the samples does not exceed; sorts them. 0 without samples. */
double samples_percentile(struct samples *s, double share);

/* The median of n values; sorts them. 0 without values. */
double stats_median(double *values, size_t n);

/* CLOCK_MONOTONIC in ns. */
int64_t stats_now(void);

#endif
