/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor: a forked process at the other end of a socketpair that does nothing but take the bytes
 * and answer with prepared ones, with plain blocking read and write. What the daemon does can
 * hardly cost less than this.
 */
#ifndef VFIO_USERD_BENCH_FLOOR_H
#define VFIO_USERD_BENCH_FLOOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct floor_process {
    pid_t pid;
    int fd; /* blocking */
};

/*
 * Starts a process that takes request_len bytes, however many reads that needs, then sends
 * the reply, again and again until the socket is closed. One read takes at most 64 KiB.
 * Returns 0 or -errno.
 */
int floor_start(size_t request_len, const uint8_t *reply, size_t reply_len,
                struct floor_process *out);

/* Ends it. */
void floor_stop(struct floor_process *f);

#endif
