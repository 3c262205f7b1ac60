/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "dma.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dirty_log.h"
#include "iova.h"

struct dma {
    struct dma_messenger messenger;
    struct iova map;
    struct dirty_log *log;      /* NULL: writes are not logged */
    struct dma_transfer *first; /* the one under way */
    struct dma_transfer *last;
    bool running; /* run() is on the stack */
    bool paused;  /* nothing new is begun */
    bool (*passed)(void *opaque);
    void *passed_opaque;
    uint32_t next_tag;
    uint64_t bytes_direct;
    uint64_t bytes_message;
};

int dma_new(uint32_t max_maps, const struct dma_messenger *messenger, struct dma **out)
{
    struct dma *dma = calloc(1, sizeof(*dma));

    if (dma == NULL)
        return -ENOMEM;
    dma->messenger = *messenger;
    iova_init(&dma->map, max_maps);
    *out = dma;
    return 0;
}

void dma_set_max_maps(struct dma *dma, uint32_t max_maps)
{
    dma->map.max_maps = max_maps;
}

void dma_set_max_files(struct dma *dma, uint32_t max_files)
{
    dma->map.max_files = max_files;
}

int dma_set_keeper(struct dma *dma, const struct dma_keeper *keeper)
{
    return dma_table_open(&dma->map.table, keeper);
}

void dma_set_passed(struct dma *dma, bool (*passed)(void *opaque), void *opaque)
{
    dma->passed = passed;
    dma->passed_opaque = opaque;
}

void dma_free(struct dma *dma)
{
    if (dma == NULL)
        return;
    dma_table_close(&dma->map.table);
    dma_unmap_all(dma);
    dma_cancel_all(dma);
    free(dma);
}

/*
 * The map
 */

int dma_map(struct dma *dma, uint64_t iova, uint64_t size, uint32_t flags, int *fd, uint64_t offset)
{
    return iova_map(&dma->map, iova, size, flags, fd, offset);
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
    int err = iova_unmap(&dma->map, iova, size);

    if (err == 0)
        cancel_where(dma, false, iova, size);
    return err;
}

int dma_unmap_within(struct dma *dma, uint64_t iova, uint64_t size)
{
    int removed = iova_unmap_within(&dma->map, iova, size);

    if (removed > 0)
        cancel_where(dma, false, iova, size);
    return removed;
}

void dma_unmap_all(struct dma *dma)
{
    iova_unmap_all(&dma->map);
    cancel_where(dma, true, 0, 0);
}

int dma_nth_range(struct dma *dma, unsigned n, uint64_t *iova, uint64_t *size, bool *shared)
{
    return iova_nth(&dma->map, n, iova, size, shared);
}

int dma_export(struct dma *dma, struct dma_range **ranges, unsigned *n_ranges, int **files,
               unsigned *n_files)
{
    return iova_export(&dma->map, ranges, n_ranges, files, n_files);
}

int dma_import(struct dma *dma, const struct dma_range *ranges, unsigned n, int *files,
               unsigned n_files)
{
    return dma->map.n_maps > 0 ? -EEXIST : iova_import(&dma->map, ranges, n, files, n_files);
}

void dma_get_info(const struct dma *dma, struct dma_info *out)
{
    *out = (struct dma_info) { .maps = dma->map.n_maps,
                               .shared = dma->map.n_shared,
                               .files = dma->map.n_files,
                               .bytes_direct = dma->bytes_direct,
                               .bytes_message = dma->bytes_message };
}

void dma_set_log(struct dma *dma, struct dirty_log *log)
{
    dma->log = log;
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

static int copy_file(const struct iova_file *file, enum dma_direction direction, uint64_t offset,
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

/* Memory that a transfer has written, or is about to. */
static void mark(struct dma *dma, const struct dma_transfer *t, uint64_t iova, uint64_t len)
{
    if (dma->log != NULL && t->direction == DMA_TO_GUEST)
        dirty_log_mark(dma->log, iova, len);
}

/*
 * Whether a process that has died made the present transfer in the step that is executed again. It
 * has told the guest of what came behind it: memory that the guest may use now is left alone.
 */
static bool was_made(const struct dma *dma)
{
    return dma->passed != NULL && dma->passed(dma->passed_opaque);
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
    mark(dma, t, iova, t->in_flight);
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
    struct iova_range *range = iova_find(&dma->map, iova);
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
    err = was_made(dma) ? 0
                        : copy_file(range->file, t->direction, range->offset + (iova - range->iova),
                                    t->buffer + t->progress, len);
    mark(dma, t, iova, len); /* it may have been written in part */
    if (err == 0) {
        t->progress += len;
        dma->bytes_direct += len;
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
        int err = 0;

        if (t->progress < t->length) {
            if (dma->paused)
                break;
            err = do_piece(dma, t);
        }
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

void dma_pause(struct dma *dma)
{
    dma->paused = true;
}

void dma_abandon(struct dma *dma)
{
    if (dma->first != NULL)
        dma->first->in_flight = 0;
}

void dma_resume(struct dma *dma)
{
    dma->paused = false;
    run(dma);
}

bool dma_in_flight(const struct dma *dma)
{
    return dma->first != NULL && dma->first->in_flight > 0;
}

bool dma_awaits(const struct dma *dma, uint32_t tag)
{
    return dma_in_flight(dma) && dma->first->tag == tag;
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
    /* Again: the log may have been read between the message and its execution. */
    mark(dma, t, t->iova + t->progress, t->in_flight);
    if (err == 0) {
        t->progress += t->in_flight;
        dma->bytes_message += t->in_flight;
    }
    t->in_flight = 0;
    if (err != 0) {
        remove_transfer(dma, t);
        t->done(t, err);
    }
    run(dma);
}
