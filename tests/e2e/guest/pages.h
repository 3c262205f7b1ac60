/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages of guest memory with known physical addresses, for DMA. Knows nothing of the device. */
#ifndef GUEST_PAGES_H
#define GUEST_PAGES_H

#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096u

struct page {
    uint8_t *bytes;
    uint64_t address; /* physical; the guest has no IOMMU, so it is the IOVA too */
};

/*
 * Takes `count` locked pages of which no two are neighbours in memory, and looks their physical
 * addresses up. Returns 0 or -errno; on success the caller gives them back with pages_fini().
 */
int pages_init(struct page *pages, size_t count);
void pages_fini(struct page *pages, size_t count);

#endif
