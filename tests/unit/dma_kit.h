/* SPDX-License-Identifier: BSD-3-Clause */
/* A dma with a host that records its messages: what the tests of dma.c begin with. */
#ifndef VFIO_USERD_TEST_DMA_KIT_H
#define VFIO_USERD_TEST_DMA_KIT_H

#include <check.h>
#include <linux/vfio.h>
#include <string.h>
#include <unistd.h>

#include "device/dma.h"
#include "unit/fakes.h"

#define R    VFIO_DMA_MAP_FLAG_READ
#define W    VFIO_DMA_MAP_FLAG_WRITE
#define RW   (R | W)
#define PAGE 4096u

struct memory {
    struct fake_host host;
    struct dma *dma;
    uint8_t buffer[8 * PAGE];
};

static inline void memory_init(struct memory *m, uint32_t max_maps)
{
    const struct dma_messenger messenger = fake_messenger(&m->host);

    fake_host_init(&m->host);
    memset(m->buffer, 0xcc, sizeof(m->buffer));
    ck_assert_int_eq(dma_new(max_maps, &messenger, &m->dma), 0);
}

static inline void memory_fini(struct memory *m)
{
    dma_free(m->dma);
    fake_host_fini(&m->host);
}

static inline struct dma_info info(const struct memory *m)
{
    struct dma_info i;

    dma_get_info(m->dma, &i);
    return i;
}

static inline int map(struct memory *m, uint64_t iova, uint64_t size)
{
    int none = -1;

    return dma_map(m->dma, iova, size, RW, &none, 0);
}

/* Maps a duplicate of fd, which must be taken. */
static inline void map_file(struct memory *m, uint64_t iova, uint64_t size, uint32_t flags, int fd,
                            uint64_t offset)
{
    int copy = dup(fd);

    ck_assert_int_eq(dma_map(m->dma, iova, size, flags, &copy, offset), 0);
    ck_assert_int_eq(copy, -1);
}

/* A transfer that counts its ends; after one, it may start another. */
struct counted {
    struct dma_transfer t; /* first */
    int ends;
    int err;
    unsigned order; /* when it ended, of all: from 1 */
    struct dma *dma;
    struct counted *then;
};

static unsigned ended;

static inline void counted_done(struct dma_transfer *t, int err)
{
    struct counted *c = (struct counted *)t;

    c->ends++;
    c->err = err;
    c->order = ++ended;
    if (c->then != NULL)
        dma_start(c->dma, &c->then->t);
}

static inline void prepare(struct memory *m, struct counted *c, enum dma_direction direction,
                           enum dma_way way, uint64_t iova, uint64_t length)
{
    *c = (struct counted) { .t = { .direction = direction,
                                   .way = way,
                                   .iova = iova,
                                   .buffer = m->buffer,
                                   .length = length,
                                   .done = counted_done },
                            .dma = m->dma };
}

static inline void start(struct memory *m, struct counted *c, enum dma_direction direction,
                         uint64_t iova, uint64_t length)
{
    prepare(m, c, direction, DMA_ANY, iova, length);
    dma_start(m->dma, &c->t);
}

/* A transfer that ends at once; returns how. */
static inline int copy(struct memory *m, enum dma_direction direction, uint64_t iova,
                       uint64_t length)
{
    struct counted c;

    start(m, &c, direction, iova, length);
    ck_assert_int_eq(c.ends, 1);
    return c.err;
}

static inline void expect_pattern(const uint8_t *at, size_t len, size_t first, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        ck_assert_uint_eq(at[i], (uint8_t)((first + i) * 7 + seed));
}

#endif
