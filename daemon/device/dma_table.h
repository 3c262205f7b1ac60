/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The map of IOVA ranges as a table of records in memory that outlives the process: what iova.c
 * writes and a later process reads. A record is changed by one store of its mark, which names the
 * step that did it, so that a step which did not end is taken back when the table is read.
 *
 * Knows neither trees nor transfers.
 */
#ifndef VFIO_USERD_DMA_TABLE_H
#define VFIO_USERD_DMA_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "dma.h"

/* No record. */
#define DMA_TABLE_NONE UINT32_MAX

/* Embedded in its owner. */
struct dma_table {
    struct dma_keeper keeper;
    uint32_t *next; /* of each freed record, the one that was freed after it; NULL: none is kept */
    uint32_t first; /* freed first */
    uint32_t last;
    uint32_t newest; /* of those never used */
};

/* A table that keeps nothing. */
void dma_table_init(struct dma_table *t);

/* Writes to *keeper, which is copied; its records are zeros. Returns 0 or -ENOMEM. */
int dma_table_open(struct dma_table *t, const struct dma_keeper *keeper);

/* Leaves the records as they are. Nothing is kept from now on. */
void dma_table_close(struct dma_table *t);

/*
 * Puts a range in a record, whose number is in *record; file: its serial, 0: by message. -ENOSPC
 * when all are in use, or were until the step under way. DMA_TABLE_NONE when nothing is kept.
 */
int dma_table_add(struct dma_table *t, const struct dma_range *range, uint32_t file,
                  uint32_t *record);

/* Whether there is no record left for a range. */
bool dma_table_full(const struct dma_table *t);

/* Frees a record, which is DMA_TABLE_NONE or in use. */
void dma_table_remove(struct dma_table *t, uint32_t record);

/* A file's serial, 0 where nothing is kept; and that it is no longer used. */
uint32_t dma_table_store(const struct dma_table *t, int fd);
void dma_table_forget(const struct dma_table *t, uint32_t serial);

#endif
