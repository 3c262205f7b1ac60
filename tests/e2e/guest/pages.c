/* SPDX-License-Identifier: BSD-3-Clause */
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Documentation/admin-guide/mm/pagemap.rst: one word a page, bits 0-54 the frame, 63 present */
#define PAGEMAP_FRAME   ((UINT64_C(1) << 55) - 1)
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)

static int physical_address(int pagemap, const void *bytes, uint64_t *address)
{
    uint64_t entry;
    off_t offset = (off_t)((uintptr_t)bytes / PAGE_BYTES * sizeof(entry));
    ssize_t length = pread(pagemap, &entry, sizeof(entry), offset);

    if (length != sizeof(entry)) {
        return length < 0 ? -errno : -EIO;
    }
    if ((entry & PAGEMAP_PRESENT) == 0 || (entry & PAGEMAP_FRAME) == 0) {
        return -EFAULT; /* not there, or the reader may not see frame numbers */
    }
    *address = (entry & PAGEMAP_FRAME) * PAGE_BYTES;
    return 0;
}

/* Every page is a mapping of its own, with another page touched between it and the next one. */
static int take_page(int pagemap, struct page *page)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED;
    uint8_t *bytes = mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);

    if (bytes == MAP_FAILED) {
        return -errno;
    }
    memset(bytes, 0xee, 2 * PAGE_BYTES);
    page->bytes = bytes;
    return physical_address(pagemap, bytes, &page->address);
}

int pages_init(struct page *pages, size_t count)
{
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    int rc = 0;

    if (pagemap < 0) {
        return -errno;
    }
    memset(pages, 0, count * sizeof(*pages));
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = take_page(pagemap, &pages[i]);
    }
    if (rc < 0) {
        pages_fini(pages, count);
    }
    (void)close(pagemap);
    return rc;
}

void pages_fini(struct page *pages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pages[i].bytes != NULL) {
            (void)munmap(pages[i].bytes, 2 * PAGE_BYTES);
            pages[i].bytes = NULL;
        }
    }
}
