/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "guest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define READ_WRITE (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define NOT_SHARED (-1)
#define FILES      2u

struct guest {
    struct guest_part parts[GUEST_PARTS];
    int files[FILES];
    uint8_t *memory; /* of all parts, one behind the other */
    uint64_t messages;
};

static const struct layout {
    const char *name;
    uint64_t iova;
    uint64_t offset;
    uint32_t flags;
    int file;
} layouts[GUEST_PARTS] = {
    [GUEST_LOW] = { "low", 0x100000, 0, READ_WRITE, 0 },
    [GUEST_SECOND] = { "second", 0x110000, GUEST_PART_SIZE, READ_WRITE, 0 },
    [GUEST_UNSHARED] = { "unshared", 0x120000, 0, READ_WRITE, NOT_SHARED },
    [GUEST_READONLY] = { "read-only", 0x200000, 0, VFIO_DMA_MAP_FLAG_READ, 1 },
    [GUEST_HIGH] = { "high", 0x100000000, GUEST_PART_SIZE, READ_WRITE, 1 },
};

/* All parts get memory of their own first; files are then mapped over it. */
static int make_memory(struct guest *g)
{
    void *at = mmap(NULL, GUEST_PARTS * GUEST_PART_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return -errno;
    g->memory = at;
    for (unsigned i = 0; i < FILES; i++) {
        g->files[i] = memfd_create("vfu-client-guest", MFD_CLOEXEC);
        if (g->files[i] < 0 || ftruncate(g->files[i], 2 * GUEST_PART_SIZE) != 0)
            return -errno;
    }
    return 0;
}

static int make_part(struct guest *g, unsigned i, bool shared)
{
    const struct layout *layout = &layouts[i];
    uint8_t *at = g->memory + i * GUEST_PART_SIZE;
    int fd = layout->file == NOT_SHARED || !shared ? -1 : g->files[layout->file];

    if (fd >= 0 && mmap(at, GUEST_PART_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                        (off_t)layout->offset) == MAP_FAILED)
        return -errno;
    g->parts[i] = (struct guest_part) { .name = layout->name,
                                        .iova = layout->iova,
                                        .offset = layout->offset,
                                        .flags = layout->flags,
                                        .fd = fd,
                                        .at = at };
    return 0;
}

int guest_new(bool shared, struct guest **out)
{
    struct guest *g = calloc(1, sizeof(*g));
    int err;

    if (g == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < FILES; i++)
        g->files[i] = -1;
    err = make_memory(g);
    for (unsigned i = 0; err == 0 && i < GUEST_PARTS; i++)
        err = make_part(g, i, shared);
    if (err != 0) {
        guest_free(g);
        return err;
    }
    *out = g;
    return 0;
}

void guest_free(struct guest *g)
{
    if (g == NULL)
        return;
    for (unsigned i = 0; i < FILES; i++) {
        if (g->files[i] >= 0)
            close(g->files[i]);
    }
    if (g->memory != NULL)
        munmap(g->memory, GUEST_PARTS * GUEST_PART_SIZE);
    free(g);
}

const struct guest_part *guest_part(const struct guest *g, enum guest_part_index i)
{
    return &g->parts[i];
}

uint64_t guest_messages(const struct guest *g)
{
    return g->messages;
}

static const struct guest_part *find_part(const struct guest *g, uint64_t iova)
{
    for (unsigned i = 0; i < GUEST_PARTS; i++) {
        if (iova >= g->parts[i].iova && iova - g->parts[i].iova < GUEST_PART_SIZE)
            return &g->parts[i];
    }
    return NULL;
}

uint8_t *guest_at(const struct guest *g, uint64_t iova, uint64_t count)
{
    const struct guest_part *first = find_part(g, iova);
    const struct guest_part *last = find_part(g, iova + (count > 0 ? count - 1 : 0));

    if (first == NULL || last == NULL || count > GUEST_PARTS * GUEST_PART_SIZE)
        return NULL;
    /* Side by side here as there, or there is a gap between them. */
    if ((uint64_t)(last->at - first->at) != last->iova - first->iova)
        return NULL;
    return first->at + (iova - first->iova);
}

static int dma_read(void *opaque, uint64_t address, void *data, uint64_t count)
{
    struct guest *g = opaque;
    const uint8_t *at = guest_at(g, address, count);

    g->messages++;
    if (at == NULL)
        return -EFAULT;
    memcpy(data, at, count);
    return 0;
}

static int dma_write(void *opaque, uint64_t address, const void *data, uint64_t count)
{
    struct guest *g = opaque;
    uint8_t *at = guest_at(g, address, count);

    g->messages++;
    if (at == NULL)
        return -EFAULT;
    if ((find_part(g, address)->flags & VFIO_DMA_MAP_FLAG_WRITE) == 0)
        return -EACCES;
    memcpy(at, data, count);
    return 0;
}

struct client_memory guest_memory(struct guest *g)
{
    return (struct client_memory) { .opaque = g, .read = dma_read, .write = dma_write };
}
