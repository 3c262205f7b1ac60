/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that others may have as a file: memfds that are mapped here and sealed against resizing,
 * so that nobody whom the fd is given to can take pages away from under us.
 */
#ifndef VFIO_USERD_MEMORY_H
#define VFIO_USERD_MEMORY_H

#include <stdint.h>

struct memory {
    int fd;
    uint8_t *at; /* NULL: there is none */
    uint64_t size;
};

/* A new one of size bytes, zeros. Returns 0 or -errno. */
int memory_new(const char *name, uint64_t size, struct memory *out);

/*
 * Makes *out of fd, which is its from then on. -EINVAL: it is not of that size, or not sealed;
 * -errno. fd stays the caller's on failure.
 */
int memory_adopt(int fd, uint64_t size, struct memory *out);

/* Does nothing where there is none. */
void memory_free(struct memory *m);

#endif
