/* SPDX-License-Identifier: BSD-3-Clause */
#include "dma_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of a record's mark; above it is the number of the step that set it. */
#define USED 1u

static uint64_t mark_of(uint64_t step, unsigned used)
{
    return step << 1 | used;
}

void dma_table_init(struct dma_table *t)
{
    *t = (struct dma_table) { .first = DMA_TABLE_NONE, .last = DMA_TABLE_NONE };
}

int dma_table_open(struct dma_table *t, const struct dma_keeper *keeper)
{
    dma_table_init(t);
    if (keeper->records == NULL)
        return 0;
    t->next = calloc(keeper->n_records + 1ul, sizeof(*t->next));
    if (t->next == NULL)
        return -ENOMEM;
    t->keeper = *keeper;
    return 0;
}

void dma_table_close(struct dma_table *t)
{
    free(t->next);
    dma_table_init(t);
}

uint32_t dma_table_store(const struct dma_table *t, int fd)
{
    return t->next != NULL ? t->keeper.store(t->keeper.opaque, fd) : 0;
}

void dma_table_forget(const struct dma_table *t, uint32_t serial)
{
    if (t->next != NULL && serial != 0)
        t->keeper.forget(t->keeper.opaque, serial);
}

/* The one that was freed first may be used again, unless it may come back with this step undone. */
static bool has_freed(const struct dma_table *t, uint64_t step)
{
    return t->first != DMA_TABLE_NONE && t->keeper.records[t->first].mark < mark_of(step, 0);
}

bool dma_table_full(const struct dma_table *t)
{
    return t->next != NULL && t->newest == t->keeper.n_records &&
           !has_freed(t, t->keeper.step(t->keeper.opaque));
}

static uint32_t find_free(struct dma_table *t, uint64_t step)
{
    uint32_t i = t->first;

    if (has_freed(t, step)) {
        t->first = t->next[i];
        if (t->first == DMA_TABLE_NONE)
            t->last = DMA_TABLE_NONE;
        return i;
    }
    return t->newest < t->keeper.n_records ? t->newest++ : DMA_TABLE_NONE;
}

int dma_table_add(struct dma_table *t, const struct dma_range *range, uint32_t file,
                  uint32_t *record)
{
    struct dma_record *r;
    uint64_t step;
    uint32_t i;

    *record = DMA_TABLE_NONE;
    if (t->next == NULL)
        return 0;
    step = t->keeper.step(t->keeper.opaque);
    i = find_free(t, step);
    if (i == DMA_TABLE_NONE)
        return -ENOSPC;
    r = &t->keeper.records[i];
    r->iova = range->iova;
    r->size = range->size;
    r->offset = range->offset;
    r->flags = range->flags;
    r->file = file;
    __atomic_store_n(&r->mark, mark_of(step, USED), __ATOMIC_RELEASE);
    if (i >= *t->keeper.high)
        __atomic_store_n(t->keeper.high, i + 1, __ATOMIC_RELEASE);
    *record = i;
    return 0;
}

static void put_first(struct dma_table *t, uint32_t record)
{
    t->next[record] = t->first;
    t->first = record;
    if (t->last == DMA_TABLE_NONE)
        t->last = record;
}

static void put_last(struct dma_table *t, uint32_t record)
{
    t->next[record] = DMA_TABLE_NONE;
    if (t->last == DMA_TABLE_NONE)
        t->first = record;
    else
        t->next[t->last] = record;
    t->last = record;
}

void dma_table_remove(struct dma_table *t, uint32_t record)
{
    uint64_t step;
    struct dma_record *r;

    if (t->next == NULL || record == DMA_TABLE_NONE)
        return;
    step = t->keeper.step(t->keeper.opaque);
    r = &t->keeper.records[record];
    if (r->mark == mark_of(step, USED)) { /* nobody will ever have seen it */
        __atomic_store_n(&r->mark, 0, __ATOMIC_RELEASE);
        put_first(t, record);
    } else {
        __atomic_store_n(&r->mark, mark_of(step, 0), __ATOMIC_RELEASE);
        put_last(t, record);
    }
}

/*
 * Reading
 */

static int compare_ranges(const void *a, const void *b)
{
    const struct dma_range *x = a;
    const struct dma_range *y = b;

    return x->iova < y->iova ? -1 : x->iova > y->iova;
}

static int compare_serials(const void *a, const void *b)
{
    const uint32_t *x = a;
    const uint32_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* Puts them in order, each once. Returns how many there are. */
static unsigned make_distinct(uint32_t *serials, unsigned n)
{
    unsigned kept = 0;

    qsort(serials, n, sizeof(*serials), compare_serials);
    for (unsigned i = 0; i < n; i++) {
        if (kept == 0 || serials[kept - 1] != serials[i])
            serials[kept++] = serials[i];
    }
    return kept;
}

/* Whether the record was in use when step committed ended. */
static bool was_used(const struct dma_record *r, uint64_t committed)
{
    bool used = (r->mark & USED) != 0;

    return r->mark >> 1 > committed ? !used : used;
}

int dma_records_read(const struct dma_record *records, uint32_t high, uint64_t committed,
                     struct dma_range **ranges, unsigned *n, uint32_t **files, unsigned *n_files)
{
    struct dma_range *list = calloc(high + 1ul, sizeof(*list));
    uint32_t *serials = calloc(high + 1ul, sizeof(*serials));
    unsigned n_list = 0;
    unsigned n_serials = 0;

    if (list == NULL || serials == NULL) {
        free(list);
        free(serials);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < high; i++) {
        const struct dma_record *r = &records[i];

        if (!was_used(r, committed))
            continue;
        list[n_list++] = (struct dma_range) { .iova = r->iova,
                                              .size = r->size,
                                              .offset = r->offset,
                                              .flags = r->flags,
                                              .file = (int32_t)r->file };
        if (r->file != 0)
            serials[n_serials++] = r->file;
    }
    n_serials = make_distinct(serials, n_serials);
    for (unsigned i = 0; i < n_list; i++) {
        uint32_t serial = (uint32_t)list[i].file;
        const uint32_t *at =
            bsearch(&serial, serials, n_serials, sizeof(*serials), compare_serials);

        list[i].file = at != NULL ? (int32_t)(at - serials) : -1;
    }
    qsort(list, n_list, sizeof(*list), compare_ranges);
    *ranges = list;
    *n = n_list;
    *files = serials;
    *n_files = n_serials;
    return 0;
}
