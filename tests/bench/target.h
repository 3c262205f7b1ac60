/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon as a process of ours: started with its socket in a temporary directory, looked at
 * through /proc, stopped. Functions return 0 or -errno.
 */
#ifndef VFIO_USERD_BENCH_TARGET_H
#define VFIO_USERD_BENCH_TARGET_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "client.h"

struct target {
    pid_t pid;
    char dir[32];
    char socket[64];
    char control[64];
    char config[64];
};

/* What /proc/PID/smaps_rollup says, in KiB. */
struct target_memory {
    uint64_t pss;
    uint64_t private_dirty;
    uint64_t private_clean;
};

/* Keeps this process, and those it starts from now on, on one CPU: the last it may use. */
int target_pin(int *cpu);

/*
 * Starts the program with a description, NULL for the default device, and waits until its socket is
 * there; -ETIMEDOUT after 5 s.
 */
int target_start(const char *program, const char *description, struct target *out);

/* Whether the daemon may run on that CPU only. */
bool target_on_cpu(const struct target *t, int cpu);

/* SIGTERM, and SIGKILL after 5 s. -EIO when it did not end with status 0. */
int target_stop(struct target *t);

/* Connects and negotiates, offering what a VMM offers. */
int target_connect(const struct target *t, struct client **out);

int target_memory(const struct target *t, struct target_memory *out);

/* Voluntary context switches of all its threads: how often it went to sleep. */
int target_switches(const struct target *t, uint64_t *out);

#endif
