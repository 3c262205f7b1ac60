/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "stats.h"

#include <stdlib.h>
#include <time.h>

void samples_add(struct samples *s, int64_t ns)
{
    if (s->n < SAMPLES_MAX)
        s->ns[s->n++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static int compare_ns(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

double samples_percentile(struct samples *s, double share)
{
    size_t at;

    if (s->n == 0)
        return 0;
    qsort(s->ns, s->n, sizeof(s->ns[0]), compare_ns);
    at = (size_t)(share * (double)s->n);
    return s->ns[at < s->n ? at : s->n - 1];
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

double stats_median(double *values, size_t n)
{
    if (n == 0)
        return 0;
    qsort(values, n, sizeof(values[0]), compare_double);
    return n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

int64_t stats_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}
