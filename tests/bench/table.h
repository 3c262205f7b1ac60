/* SPDX-License-Identifier: BSD-3-Clause */
/* The table that the benchmarks print: a line a result, with its aim and whether it is met. */
#ifndef VFIO_USERD_BENCH_TABLE_H
#define VFIO_USERD_BENCH_TABLE_H

/* What a value counts: ns, things a second, things, KiB, bytes a second. */
enum table_unit { UNIT_US, UNIT_RATE, UNIT_COUNT, UNIT_KIB, UNIT_MIB_RATE };

enum table_aim { AIM_NONE, AIM_AT_MOST, AIM_AT_LEAST };

/* A line. */
struct result {
    const char *name;
    enum table_unit unit;
    double ours;
    double floor; /* NAN: there is none */
    double ratio; /* NAN: none */
    enum table_aim aim;
    double
        bound; /* of the ratio, or of ours (in the unit that is printed) when there is no ratio */
};

void table_heading(int cpu, unsigned rounds);

void table_print(const struct result *r);

#endif
