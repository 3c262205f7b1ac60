/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "dma.h"

#include <bsd/sys/tree.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

/* A file that backs ranges, open once. */
struct file {
    RB_ENTRY(file) entry;
    dev_t dev;
    ino_t ino;
    int access; /* O_RDONLY, O_WRONLY, O_RDWR */
    int fd;
    bool mapped; /* cannot be written by pwrite */
    unsigned users;
};

struct range {
    RB_ENTRY(range) entry;
    uint64_t iova;
    uint64_t size;
    uint64_t offset;
    uint32_t flags;
    struct file *file; /* NULL: by message */
};

RB_HEAD(file_tree, file);
RB_HEAD(range_tree, range);

struct dma {
    struct dma_messenger messenger;
    struct range_tree ranges;
    struct file_tree files;
    uint32_t max_maps;
    uint32_t max_files;
    struct dma_transfer *first; /* the one under way */
    struct dma_transfer *last;
    bool running; /* run() is on the stack */
    uint32_t next_tag;
    struct dma_info info;
};

static int compare_files(const struct file *a, const struct file *b)
{
    if (a->dev != b->dev)
        return a->dev < b->dev ? -1 : 1;
    if (a->ino != b->ino)
        return a->ino < b->ino ? -1 : 1;
    return a->access - b->access;
}

static int compare_ranges(const struct range *a, const struct range *b)
{
    return a->iova < b->iova ? -1 : a->iova > b->iova;
}

/* RB_GENERATE_STATIC, whose attribute is missing on Linux. */
#define UNUSED_STATIC __attribute__((unused)) static
RB_GENERATE_INTERNAL(file_tree, file, entry, compare_files, UNUSED_STATIC)
RB_GENERATE_INTERNAL(range_tree, range, entry, compare_ranges, UNUSED_STATIC)

int dma_new(uint32_t max_maps, const struct dma_messenger *messenger, struct dma **out)
{
    struct dma *dma = calloc(1, sizeof(*dma));

    if (dma == NULL)
        return -ENOMEM;
    dma->messenger = *messenger;
    dma->max_maps = max_maps;
    dma->max_files = UINT32_MAX;
    RB_INIT(&dma->ranges);
    RB_INIT(&dma->files);
    *out = dma;
    return 0;
}

void dma_set_max_maps(struct dma *dma, uint32_t max_maps)
{
    dma->max_maps = max_maps;
}

void dma_set_max_files(struct dma *dma, uint32_t max_files)
{
    dma->max_files = max_files;
}

void dma_free(struct dma *dma)
{
    if (dma == NULL)
        return;
    dma_unmap_all(dma);
    dma_cancel_all(dma);
    free(dma);
}

/*
 * The map
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
static int use_file(struct dma *dma, int *fd, uint32_t flags, struct file **out)
{
    struct file key = { .access = fcntl(*fd, F_GETFL) & O_ACCMODE };
    struct stat st;
    struct statfs fs;
    struct file *file;

    if (!may_access(key.access, flags))
        return -EACCES;
    if (fstat(*fd, &st) != 0 || fstatfs(*fd, &fs) != 0)
        return -EINVAL;
    key.dev = st.st_dev;
    key.ino = st.st_ino;
    file = RB_FIND(file_tree, &dma->files, &key);
    if (file != NULL) {
        close(*fd);
    } else {
        if (dma->info.files >= dma->max_files)
            return -EMFILE;
        file = malloc(sizeof(*file));
        if (file == NULL)
            return -ENOMEM;
        *file = key;
        file->fd = *fd;
        file->mapped = fs.f_type == HUGETLBFS_MAGIC;
        RB_INSERT(file_tree, &dma->files, file);
        dma->info.files++;
    }
    file->users++;
    *fd = -1;
    *out = file;
    return 0;
}

static void leave_file(struct dma *dma, struct file *file)
{
    if (--file->users > 0)
        return;
    RB_REMOVE(file_tree, &dma->files, file);
    dma->info.files--;
    close(file->fd);
    free(file);
}

/* The range that holds iova, or else the next one behind it. */
static struct range *find_range(struct dma *dma, uint64_t iova)
{
    struct range key = { .iova = iova };
    struct range *next = RB_NFIND(range_tree, &dma->ranges, &key);
    struct range *before =
        next != NULL ? RB_PREV(range_tree, &dma->ranges, next) : RB_MAX(range_tree, &dma->ranges);

    if (next != NULL && next->iova == iova)
        return next;
    return before != NULL && iova - before->iova < before->size ? before : next;
}

int dma_map(struct dma *dma, uint64_t iova, uint64_t size, uint32_t flags, int *fd, uint64_t offset)
{
    struct range *range = find_range(dma, iova);
    struct file *file = NULL;
    int judged = 0;
    int err;

    if (range != NULL && (range->iova <= iova || range->iova - iova < size))
        return -EEXIST;
    if (dma->info.maps >= dma->max_maps)
        return -ENOSPC;
    if (*fd >= 0)
        judged = judge_file(*fd);
    if (judged < 0)
        return judged;
    range = calloc(1, sizeof(*range));
    if (range == NULL)
        return -ENOMEM;
    if (*fd >= 0 && judged == 0) {
        err = use_file(dma, fd, flags, &file);
        if (err != 0) {
            free(range);
            return err;
        }
    }
    range->iova = iova;
    range->size = size;
    range->flags = flags;
    range->offset = offset;
    range->file = file;
    RB_INSERT(range_tree, &dma->ranges, range);
    dma->info.maps++;
    dma->info.shared += file != NULL;
    return judged;
}

static void remove_range(struct dma *dma, struct range *range)
{
    RB_REMOVE(range_tree, &dma->ranges, range);
    dma->info.maps--;
    if (range->file != NULL) {
        dma->info.shared--;
        leave_file(dma, range->file);
    }
    free(range);
}

static bool overlaps(const struct dma_transfer *t, uint64_t iova, uint64_t size)
{
    return t->iova < iova ? iova - t->iova < t->length : t->iova - iova < size;
}

static void run(struct dma *dma);

/*
 * Cancels the transfers that touch a range, or all. They are taken off the queue first and their
 * owners told then, so that nothing runs in between.
 */
static void cancel_where(struct dma *dma, bool all, uint64_t iova, uint64_t size)
{
    struct dma_transfer *cancelled = NULL;
    struct dma_transfer **tail = &cancelled;
    struct dma_transfer **link = &dma->first;
    struct dma_transfer *t;
    bool was_running = dma->running;

    dma->last = NULL;
    while ((t = *link) != NULL) {
        if (all || overlaps(t, iova, size)) {
            *link = t->next;
            t->next = NULL;
            *tail = t;
            tail = &t->next;
        } else {
            dma->last = t;
            link = &t->next;
        }
    }
    dma->running = true;
    while ((t = cancelled) != NULL) {
        cancelled = t->next;
        t->next = NULL;
        t->in_flight = 0;
        t->done(t, -ECANCELED);
    }
    dma->running = was_running;
    run(dma);
}

int dma_unmap(struct dma *dma, uint64_t iova, uint64_t size)
{
    struct range key = { .iova = iova };
    struct range *range = RB_FIND(range_tree, &dma->ranges, &key);

    if (range == NULL || range->size != size)
        return -ENOENT;
    remove_range(dma, range);
    cancel_where(dma, false, iova, size);
    return 0;
}

void dma_unmap_all(struct dma *dma)
{
    struct range *range;

    while ((range = RB_MIN(range_tree, &dma->ranges)) != NULL)
        remove_range(dma, range);
    cancel_where(dma, true, 0, 0);
}

int dma_nth_range(struct dma *dma, unsigned n, uint64_t *iova, uint64_t *size, bool *shared)
{
    struct range *range;

    RB_FOREACH (range, range_tree, &dma->ranges) {
        if (n-- == 0) {
            *iova = range->iova;
            *size = range->size;
            *shared = range->file != NULL;
            return 0;
        }
    }
    return -ENOENT;
}

void dma_get_info(const struct dma *dma, struct dma_info *out)
{
    *out = dma->info;
}

/*
 * Transfers
 */

int dma_copy_mapped(int fd, enum dma_direction direction, uint64_t offset, uint8_t *buffer,
                    uint64_t len)
{
    struct statfs fs;
    struct stat st;
    int prot = direction == DMA_TO_GUEST ? PROT_READ | PROT_WRITE : PROT_READ;
    uint64_t page;
    uint64_t begin;
    struct iovec local = { .iov_base = buffer, .iov_len = len };
    struct iovec remote;
    uint8_t *map;
    ssize_t n;

    if (fstatfs(fd, &fs) != 0 || fstat(fd, &st) != 0)
        return -errno;
    if (offset > (uint64_t)st.st_size || len > (uint64_t)st.st_size - offset)
        return -EFAULT;
    page = (uint64_t)fs.f_bsize; /* of hugetlbfs: the huge page */
    begin = offset - offset % page;
    map = mmap(NULL, offset - begin + len, prot, MAP_SHARED, fd, (off_t)begin);
    if (map == MAP_FAILED)
        return -errno;
    remote = (struct iovec) { .iov_base = map + (offset - begin), .iov_len = len };
    /* The kernel copies: bytes that the file does not have are an error, not a signal. */
    n = direction == DMA_TO_GUEST ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0)
                                  : process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    munmap(map, offset - begin + len);
    return n == (ssize_t)len ? 0 : -EFAULT;
}

static int copy_file(const struct file *file, enum dma_direction direction, uint64_t offset,
                     uint8_t *buffer, uint64_t len)
{
    if (file->mapped)
        return dma_copy_mapped(file->fd, direction, offset, buffer, len);
    while (len > 0) {
        struct stat st;
        ssize_t n;

        if (direction == DMA_FROM_GUEST) {
            n = pread(file->fd, buffer, len, (off_t)offset);
        } else {
            /* A write past the end would make the client's file longer. */
            if (fstat(file->fd, &st) != 0 || offset + len > (uint64_t)st.st_size)
                return -EFAULT;
            n = pwrite(file->fd, buffer, len, (off_t)offset);
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -EFAULT;
        buffer += n;
        offset += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return 0;
}

static int send_message(struct dma *dma, struct dma_transfer *t, uint64_t iova, uint64_t len)
{
    uint32_t max = dma->messenger.max_len(dma->messenger.opaque);
    const void *data = t->direction == DMA_TO_GUEST ? t->buffer + t->progress : NULL;
    int err;

    if (max == 0)
        return -ENOTCONN;
    t->in_flight = len < max ? (uint32_t)len : max;
    t->tag = dma->next_tag++;
    err = dma->messenger.send(dma->messenger.opaque, t->tag, iova, data, t->in_flight);
    if (err != 0)
        t->in_flight = 0;
    return err;
}

/*
 * Does the next piece of a transfer, at most to the end of a range. Returns 0: done, or a message
 * is under way; or -errno.
 */
static int do_piece(struct dma *dma, struct dma_transfer *t)
{
    uint32_t needed =
        t->direction == DMA_TO_GUEST ? VFIO_DMA_MAP_FLAG_WRITE : VFIO_DMA_MAP_FLAG_READ;
    uint64_t iova = t->iova + t->progress;
    uint64_t len = t->length - t->progress;
    struct range *range = find_range(dma, iova);
    uint64_t left;
    int err;

    if (range == NULL || range->iova > iova)
        return -EFAULT;
    if ((range->flags & needed) == 0)
        return -EACCES;
    left = range->size - (iova - range->iova);
    len = len < left ? len : left;
    if (range->file == NULL || t->way == DMA_MESSAGE)
        return t->way == DMA_DIRECT ? -ENXIO : send_message(dma, t, iova, len);
    err = copy_file(range->file, t->direction, range->offset + (iova - range->iova),
                    t->buffer + t->progress, len);
    if (err == 0) {
        t->progress += len;
        dma->info.bytes_direct += len;
    }
    return err;
}

static void remove_transfer(struct dma *dma, struct dma_transfer *t)
{
    struct dma_transfer **link = &dma->first;
    struct dma_transfer *previous = NULL;

    while (*link != t) {
        previous = *link;
        link = &previous->next;
    }
    *link = t->next;
    if (dma->last == t)
        dma->last = previous;
    t->next = NULL;
}

static bool is_queued(const struct dma *dma, const struct dma_transfer *t)
{
    const struct dma_transfer *queued = dma->first;

    while (queued != NULL && queued != t)
        queued = queued->next;
    return queued != NULL;
}

/* Runs the queue until a message is under way or nothing is left. */
static void run(struct dma *dma)
{
    if (dma->running)
        return; /* called from a done function: the loop below goes on */
    dma->running = true;
    while (dma->first != NULL && dma->first->in_flight == 0) {
        struct dma_transfer *t = dma->first;
        int err = t->progress < t->length ? do_piece(dma, t) : 0;

        if (err == 0 && t->progress < t->length)
            continue;
        remove_transfer(dma, t);
        t->done(t, err);
    }
    dma->running = false;
}

void dma_start(struct dma *dma, struct dma_transfer *t)
{
    t->next = NULL;
    t->progress = 0;
    t->in_flight = 0;
    if (dma->first == NULL)
        dma->first = t;
    else
        dma->last->next = t;
    dma->last = t;
    run(dma);
}

void dma_cancel(struct dma *dma, struct dma_transfer *t)
{
    if (!is_queued(dma, t))
        return;
    remove_transfer(dma, t);
    t->done(t, -ECANCELED);
    run(dma);
}

void dma_cancel_all(struct dma *dma)
{
    cancel_where(dma, true, 0, 0);
}

bool dma_awaits(const struct dma *dma, uint32_t tag)
{
    return dma->first != NULL && dma->first->in_flight > 0 && dma->first->tag == tag;
}

void dma_message_done(struct dma *dma, uint32_t tag, int err, const uint8_t *data, uint32_t len)
{
    struct dma_transfer *t = dma->first;

    if (!dma_awaits(dma, tag))
        return;
    if (err == 0 && t->direction == DMA_FROM_GUEST) {
        if (data != NULL && len == t->in_flight)
            memcpy(t->buffer + t->progress, data, len);
        else
            err = -EPROTO;
    }
    if (err == 0) {
        t->progress += t->in_flight;
        dma->info.bytes_message += t->in_flight;
    }
    t->in_flight = 0;
    if (err != 0) {
        remove_transfer(dma, t);
        t->done(t, err);
    }
    run(dma);
}
