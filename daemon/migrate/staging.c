/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "staging.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* From here on a fault for each 4 KiB is what takes the time. */
#define LARGE (16u << 20)

uint8_t *staging_map(uint64_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    if (size >= LARGE)
        madvise(at, size, MADV_HUGEPAGE); /* where there are none, it goes without */
    return at;
}

void staging_clear(uint8_t *at, uint64_t size)
{
    if (madvise(at, size, MADV_DONTNEED) != 0)
        memset(at, 0, size);
}

void staging_clear_shared(uint8_t *at, uint64_t size)
{
    if (madvise(at, size, MADV_REMOVE) != 0)
        memset(at, 0, size);
}

/* Puts the file's bytes in the place of zeros. */
static bool show(uint8_t *view, int fd, off_t at, off_t end)
{
    ssize_t n = 1;

    if (mmap(view + at, (size_t)(end - at), PROT_READ, MAP_SHARED | MAP_FIXED, fd, at) !=
        MAP_FAILED)
        return true;
    for (; at < end && n > 0; at += n) /* there are too many pieces to map them all */
        n = pread(fd, view + at, (size_t)(end - at), at);
    return n > 0;
}

uint8_t *staging_view(int fd, uint64_t size)
{
    uint8_t *view = staging_map(size);
    off_t end = 0;
    off_t at;

    while (view != NULL && (at = lseek(fd, end, SEEK_DATA)) >= 0 && at < (off_t)size) {
        end = lseek(fd, at, SEEK_HOLE);
        if (end <= at || end > (off_t)size)
            end = (off_t)size;
        if (!show(view, fd, at, end)) {
            staging_unmap(view, size);
            view = NULL;
        }
    }
    return view;
}

void staging_unmap(uint8_t *at, uint64_t size)
{
    if (at != NULL)
        munmap(at, size);
}
