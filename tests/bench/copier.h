/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor of a state that moves: a forked process with as many bytes in its memory, which answers
 * each request with the next piece of them, or takes the next piece to where it belongs. No state,
 * no checksum, no event loop: plain blocking calls.
 */
#ifndef VFIO_USERD_BENCH_COPIER_H
#define VFIO_USERD_BENCH_COPIER_H

#include <stddef.h>
#include <sys/types.h>

struct copier {
    pid_t pid;
    int fd; /* blocking */
};

/*
 * Serves MIG_DATA_READ and MIG_DATA_WRITE, of at most size bytes each, over and over from the
 * beginning. Its memory is there before it answers. Returns 0 or -errno.
 */
int copier_start(size_t size, struct copier *out);

/* Ends it. */
void copier_stop(struct copier *c);

#endif
