/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The map of IOVA ranges and of the files that back them: what dma.c finds its way by. Each
 * distinct file is kept open once, however many ranges it backs. Knows no transfers.
 */
#ifndef VFIO_USERD_IOVA_H
#define VFIO_USERD_IOVA_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "dma.h"
#include "dma_table.h"

/* A file that backs ranges, open once. */
struct iova_file {
    RB_ENTRY(iova_file) entry;
    dev_t dev;
    ino_t ino;
    int access; /* O_RDONLY, O_WRONLY, O_RDWR */
    int fd;
    bool mapped; /* cannot be written by pwrite */
    unsigned users;
    int32_t index;   /* iova_export's */
    uint32_t serial; /* the table's */
};

struct iova_range {
    RB_ENTRY(iova_range) entry;
    uint64_t iova;
    uint64_t size;
    uint64_t offset;
    uint32_t flags;
    struct iova_file *file; /* NULL: by message */
    uint32_t record;        /* in the table */
};

RB_HEAD(iova_file_tree, iova_file);
RB_HEAD(iova_range_tree, iova_range);

/* Embedded in its owner, who reads what it likes. */
struct iova {
    struct iova_range_tree ranges;
    struct iova_file_tree files;
    uint32_t max_maps;
    uint32_t max_files;
    uint32_t n_maps;
    uint32_t n_shared; /* maps with a file */
    uint32_t n_files;
    struct dma_table table; /* where the map is written to for a later process */
};

/* An empty map. */
void iova_init(struct iova *m, uint32_t max_maps);

/* The range that holds iova, or else the next one behind it; NULL: neither. */
struct iova_range *iova_find(struct iova *m, uint64_t iova);

/* See dma_map, dma_unmap, dma_unmap_within, dma_unmap_all, dma_nth_range, dma_export and
 * dma_import. */
int iova_map(struct iova *m, uint64_t iova, uint64_t size, uint32_t flags, int *fd,
             uint64_t offset);
int iova_unmap(struct iova *m, uint64_t iova, uint64_t size);
int iova_unmap_within(struct iova *m, uint64_t iova, uint64_t size);
void iova_unmap_all(struct iova *m);
int iova_nth(struct iova *m, unsigned n, uint64_t *iova, uint64_t *size, bool *shared);
int iova_export(struct iova *m, struct dma_range **ranges, unsigned *n_ranges, int **files,
                unsigned *n_files);
int iova_import(struct iova *m, const struct dma_range *ranges, unsigned n, int *files,
                unsigned n_files);

#endif
