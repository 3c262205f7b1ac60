/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon under a service manager, which is this process: it passes the sockets and what was
 * stored, takes what is to be stored in a thread of its own, and starts the daemon again at once
 * when it has been killed. Functions return 0 or -errno.
 */
#ifndef VFIO_USERD_BENCH_MANAGER_H
#define VFIO_USERD_BENCH_MANAGER_H

#include "target.h"

struct manager;

/* store: how many file descriptors are kept at most; 0: the daemon is told of no store. */
int manager_start(const char *program, unsigned store, struct manager **out);

/* What target_connect takes: the pid is that of the daemon that runs now. */
const struct target *manager_target(const struct manager *m);

/* When, of stats_now: the signal was sent; and the process was gone, and the next one begun. */
struct manager_restart {
    int64_t killed;
    int64_t gone;
};

/* SIGKILL, and the next one. */
int manager_kill(struct manager *m, struct manager_restart *out);

/* Ends the daemon for good. */
int manager_stop(struct manager *m);

#endif
