/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "staging.h"

#include <string.h>
#include <sys/mman.h>

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

void staging_unmap(uint8_t *at, uint64_t size)
{
    if (at != NULL)
        munmap(at, size);
}
