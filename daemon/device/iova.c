/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "iova.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static int compare_files(const struct iova_file *a, const struct iova_file *b)
{
    if (a->dev != b->dev)
        return a->dev < b->dev ? -1 : 1;
    if (a->ino != b->ino)
        return a->ino < b->ino ? -1 : 1;
    return a->access - b->access;
}

static int compare_ranges(const struct iova_range *a, const struct iova_range *b)
{
    return a->iova < b->iova ? -1 : a->iova > b->iova;
}

/* RB_GENERATE_STATIC, whose attribute is missing on Linux. */
#define UNUSED_STATIC __attribute__((unused)) static
RB_GENERATE_INTERNAL(iova_file_tree, iova_file, entry, compare_files, UNUSED_STATIC)
RB_GENERATE_INTERNAL(iova_range_tree, iova_range, entry, compare_ranges, UNUSED_STATIC)

void iova_init(struct iova *m, uint32_t max_maps)
{
    *m = (struct iova) { .max_maps = max_maps, .max_files = UINT32_MAX };
    RB_INIT(&m->ranges);
    RB_INIT(&m->files);
    dma_table_init(&m->table);
}

/*
 * Files
 */

/*
 * Whether fd is a file in memory. Asks for its seals, which only such files have, since even fstat
 * waits for the server of a FUSE file. Returns 0, DMA_MAP_BY_MESSAGE, or -EINVAL for what memory
 * cannot be in.
 */
static int judge_file(int fd)
{
    struct statx st;
    int flags = fcntl(fd, F_GETFL);

    /* To a file that is open for appending, pwrite appends; O_DIRECT takes whole blocks only. */
    if (flags < 0 || (flags & (O_APPEND | O_PATH)) != 0)
        return -EINVAL;
    if (fcntl(fd, F_GET_SEALS) >= 0 && (flags & O_DIRECT) == 0)
        return 0;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) != 0)
        return -EINVAL;
    return S_ISREG(st.stx_mode) || S_ISCHR(st.stx_mode) || S_ISBLK(st.stx_mode) ? DMA_MAP_BY_MESSAGE
                                                                                : -EINVAL;
}

static bool may_access(int access, uint32_t flags)
{
    return ((flags & VFIO_DMA_MAP_FLAG_READ) == 0 || access != O_WRONLY) &&
           ((flags & VFIO_DMA_MAP_FLAG_WRITE) == 0 || access != O_RDONLY);
}

/* Takes *fd, or finds the same file already open and closes it. */
static int add_file(struct iova *m, int *fd, struct iova_file **out)
{
    struct iova_file key = { .access = fcntl(*fd, F_GETFL) & O_ACCMODE };
    struct stat st;
    struct statfs fs;
    struct iova_file *file;

    if (fstat(*fd, &st) != 0 || fstatfs(*fd, &fs) != 0)
        return -EINVAL;
    key.dev = st.st_dev;
    key.ino = st.st_ino;
    file = RB_FIND(iova_file_tree, &m->files, &key);
    if (file != NULL) {
        close(*fd);
    } else {
        if (m->n_files >= m->max_files)
            return -EMFILE;
        file = malloc(sizeof(*file));
        if (file == NULL)
            return -ENOMEM;
        *file = key;
        file->fd = *fd;
        file->mapped = fs.f_type == HUGETLBFS_MAGIC;
        file->serial = dma_table_store(&m->table, file->fd);
        RB_INSERT(iova_file_tree, &m->files, file);
        m->n_files++;
    }
    *fd = -1;
    *out = file;
    return 0;
}

static void drop_unused_file(struct iova *m, struct iova_file *file)
{
    if (file->users > 0)
        return;
    RB_REMOVE(iova_file_tree, &m->files, file);
    m->n_files--;
    dma_table_forget(&m->table, file->serial);
    close(file->fd);
    free(file);
}

/*
 * Ranges
 */

struct iova_range *iova_find(struct iova *m, uint64_t iova)
{
    struct iova_range key = { .iova = iova };
    struct iova_range *next = RB_NFIND(iova_range_tree, &m->ranges, &key);
    struct iova_range *before = next != NULL ? RB_PREV(iova_range_tree, &m->ranges, next)
                                             : RB_MAX(iova_range_tree, &m->ranges);

    if (next != NULL && next->iova == iova)
        return next;
    return before != NULL && iova - before->iova < before->size ? before : next;
}

static int check_room(struct iova *m, uint64_t iova, uint64_t size)
{
    const struct iova_range *range = iova_find(m, iova);

    if (range != NULL && (range->iova <= iova || range->iova - iova < size))
        return -EEXIST;
    return m->n_maps < m->max_maps && !dma_table_full(&m->table) ? 0 : -ENOSPC;
}

/* There is room for it, and its file is open for what its flags say. */
static int add_range(struct iova *m, const struct dma_range *what, struct iova_file *file)
{
    struct iova_range *range = calloc(1, sizeof(*range));
    uint32_t serial = 0;
    int err;

    if (range == NULL)
        return -ENOMEM;
    if (file != NULL)
        serial = file->serial != 0 ? file->serial : DMA_FILE_NOT_STORED;
    err = dma_table_add(&m->table, what, serial, &range->record);
    if (err != 0) {
        free(range);
        return err;
    }
    range->iova = what->iova;
    range->size = what->size;
    range->flags = what->flags;
    range->offset = what->offset;
    range->file = file;
    RB_INSERT(iova_range_tree, &m->ranges, range);
    m->n_maps++;
    if (file != NULL) {
        file->users++;
        m->n_shared++;
    }
    return 0;
}

int iova_map(struct iova *m, uint64_t iova, uint64_t size, uint32_t flags, int *fd, uint64_t offset)
{
    const struct dma_range what = { .iova = iova, .size = size, .offset = offset, .flags = flags };
    struct iova_file *file = NULL;
    int judged = 0;
    int err = check_room(m, iova, size);

    if (err == 0 && *fd >= 0)
        judged = judge_file(*fd);
    if (err != 0 || judged < 0)
        return err != 0 ? err : judged;
    if (*fd >= 0 && judged == 0) {
        if (!may_access(fcntl(*fd, F_GETFL) & O_ACCMODE, flags))
            return -EACCES;
        err = add_file(m, fd, &file);
    }
    if (err == 0)
        err = add_range(m, &what, file);
    if (err != 0 && file != NULL)
        drop_unused_file(m, file);
    return err != 0 ? err : judged;
}

static void remove_range(struct iova *m, struct iova_range *range)
{
    RB_REMOVE(iova_range_tree, &m->ranges, range);
    dma_table_remove(&m->table, range->record);
    m->n_maps--;
    if (range->file != NULL) {
        m->n_shared--;
        range->file->users--;
        drop_unused_file(m, range->file);
    }
    free(range);
}

int iova_unmap(struct iova *m, uint64_t iova, uint64_t size)
{
    struct iova_range key = { .iova = iova };
    struct iova_range *range = RB_FIND(iova_range_tree, &m->ranges, &key);

    if (range == NULL || range->size != size)
        return -ENOENT;
    remove_range(m, range);
    return 0;
}

int iova_unmap_within(struct iova *m, uint64_t iova, uint64_t size)
{
    uint64_t last = iova + size - 1;
    struct iova_range *first = iova_find(m, iova);
    struct iova_range *range = first;
    struct iova_range *next;
    int removed = 0;

    for (; range != NULL && range->iova <= last;
         range = RB_NEXT(iova_range_tree, &m->ranges, range)) {
        if (range->iova < iova || range->iova + range->size - 1 > last)
            return -EINVAL;
    }
    for (range = first; range != NULL && range->iova <= last; range = next) {
        next = RB_NEXT(iova_range_tree, &m->ranges, range);
        remove_range(m, range);
        removed++;
    }
    return removed;
}

void iova_unmap_all(struct iova *m)
{
    struct iova_range *range;

    while ((range = RB_MIN(iova_range_tree, &m->ranges)) != NULL)
        remove_range(m, range);
}

int iova_nth(struct iova *m, unsigned n, uint64_t *iova, uint64_t *size, bool *shared)
{
    struct iova_range *range;

    RB_FOREACH (range, iova_range_tree, &m->ranges) {
        if (n-- == 0) {
            *iova = range->iova;
            *size = range->size;
            *shared = range->file != NULL;
            return 0;
        }
    }
    return -ENOENT;
}

/*
 * All of it at once
 */

int iova_export(struct iova *m, struct dma_range **ranges, unsigned *n_ranges, int **files,
                unsigned *n_files)
{
    struct dma_range *list = calloc(m->n_maps + 1, sizeof(*list));
    int *fds = calloc(m->n_files + 1, sizeof(*fds));
    struct iova_range *range;
    struct iova_file *file;
    unsigned n = 0;

    if (list == NULL || fds == NULL) {
        free(list);
        free(fds);
        return -ENOMEM;
    }
    RB_FOREACH (file, iova_file_tree, &m->files) {
        file->index = (int32_t)n;
        fds[n++] = file->fd;
    }
    n = 0;
    RB_FOREACH (range, iova_range_tree, &m->ranges)
        list[n++] = (struct dma_range) { .iova = range->iova,
                                         .size = range->size,
                                         .offset = range->offset,
                                         .flags = range->flags,
                                         .file = range->file != NULL ? range->file->index : -1 };
    *ranges = list;
    *n_ranges = m->n_maps;
    *files = fds;
    *n_files = m->n_files;
    return 0;
}

static int import_range(struct iova *m, const struct dma_range *what, struct iova_file **files,
                        unsigned n_files)
{
    struct iova_file *file = NULL;
    int err;

    if (what->size == 0 || what->size - 1 > UINT64_MAX - what->iova ||
        what->file >= (int64_t)n_files)
        return -EINVAL;
    err = check_room(m, what->iova, what->size);
    if (what->file >= 0)
        file = files[what->file];
    if (err == 0 && file != NULL && !may_access(file->access, what->flags))
        err = -EACCES;
    return err != 0 ? err : add_range(m, what, file);
}

int iova_import(struct iova *m, const struct dma_range *ranges, unsigned n, int *files,
                unsigned n_files)
{
    struct iova_file **opened = calloc(n_files + 1, sizeof(struct iova_file *));
    unsigned n_opened = 0;
    int err = opened != NULL ? 0 : -ENOMEM;

    while (err == 0 && n_opened < n_files) {
        if (judge_file(files[n_opened]) != 0)
            err = -EINVAL;
        else
            err = add_file(m, &files[n_opened], &opened[n_opened]);
        if (err == 0)
            opened[n_opened++]->users++; /* until all ranges are there */
    }
    for (unsigned i = 0; err == 0 && i < n; i++)
        err = import_range(m, &ranges[i], opened, n_files);
    if (err != 0)
        iova_unmap_all(m);
    for (unsigned i = 0; i < n_opened; i++) {
        opened[i]->users--;
        drop_unused_file(m, opened[i]);
    }
    free(opened);
    return err;
}
