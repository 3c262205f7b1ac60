/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's memory: the map of IOVA ranges, and transfers to and from it, directly through the
 * files that the client shared, or by message for ranges without one. Sections
 * "VFIO_USER_DMA_MAP", "VFIO_USER_DMA_UNMAP", "VFIO_USER_DMA_READ" and "VFIO_USER_DMA_WRITE".
 *
 * Shared memory is reached by pread and pwrite on its file, not through a mapping: 65,535 mappings
 * would be over the kernel's default limit, and a file that the client makes shorter than its
 * region gives a short read here where a mapping would give SIGBUS. Where a file system does not
 * write (hugetlbfs), a mapping is made for the transfer and the kernel asked to copy. Each distinct
 * file is kept open once, however many ranges it backs.
 *
 * Knows no socket: messages go out through struct dma_messenger and their answers come back
 * through dma_message_done.
 */
#ifndef VFIO_USERD_DMA_H
#define VFIO_USERD_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dirty_log;
struct dma;

/* dma_map: the range is mapped, and reached by message although an fd came with it. */
#define DMA_MAP_BY_MESSAGE 1

/* How to reach memory that is not shared. */
struct dma_messenger {
    void *opaque;
    /*
     * Sends one DMA_WRITE (data: len bytes) or DMA_READ (data NULL); dma_message_done with the same
     * tag follows, later, unless dma_cancel_all comes first. Returns 0, or -errno: none follows.
     */
    int (*send)(void *opaque, uint32_t tag, uint64_t iova, const void *data, uint32_t len);
    /* Most bytes of one message: the client's max_data_xfer_size. */
    uint32_t (*max_len)(void *opaque);
};

enum dma_direction { DMA_FROM_GUEST, DMA_TO_GUEST };

/* Which way a transfer may take. */
enum dma_way {
    DMA_ANY,     /* directly where memory is shared, by message where not */
    DMA_DIRECT,  /* -ENXIO where memory is not shared */
    DMA_MESSAGE, /* by message also where it is */
};

/*
 * A transfer; embedded in its owner, who fills the first part and leaves it alone until done has
 * been called with 0 or -errno. buffer must stay valid until then. done may be called from within
 * dma_start; it may start the next transfer.
 */
struct dma_transfer {
    enum dma_direction direction;
    enum dma_way way;
    uint64_t iova;
    uint8_t *buffer;
    uint64_t length; /* bytes */
    void (*done)(struct dma_transfer *t, int err);

    /* The module's own. */
    struct dma_transfer *next;
    uint64_t progress;
    uint32_t in_flight; /* bytes of the message under way, 0 without one */
    uint32_t tag;       /* of that message */
};

/* A range as another process gets it. */
struct dma_range {
    uint64_t iova;
    uint64_t size;
    uint64_t offset; /* in the file */
    uint32_t flags;  /* VFIO_DMA_MAP_FLAG_* */
    int32_t file;    /* index in the list of files; -1: reached by message */
};

/*
 * A range in memory that outlives the process; zeros: never used. What is not used any more keeps
 * its numbers until the step that freed it has ended.
 */
struct dma_record {
    uint64_t iova;
    uint64_t size;
    uint64_t offset; /* in the file */
    uint64_t mark;   /* twice the number of the step that mapped or unmapped it; + 1: mapped */
    uint32_t flags;  /* VFIO_DMA_MAP_FLAG_* */
    uint32_t file;   /* the serial of what is behind it; 0: reached by message */
};

/* In place of a serial: a file that could not be stored. */
#define DMA_FILE_NOT_STORED UINT32_MAX

/* Where the map is kept for a later process, and its files. */
struct dma_keeper {
    void *opaque;
    struct dma_record *records; /* zeros; NULL: nothing is kept */
    uint32_t n_records;
    uint32_t *high;                                /* those from here on were never used */
    uint64_t (*step)(void *opaque);                /* the number of the step under way, 1 or more */
    uint32_t (*store)(void *opaque, int fd);       /* its serial; 0: it does not fit */
    void (*forget)(void *opaque, uint32_t serial); /* for each time that store gave it */
};

/* Numbers for status and tests. */
struct dma_info {
    uint32_t maps;
    uint32_t shared; /* maps with a file */
    uint32_t files;  /* distinct files open */
    uint64_t bytes_direct;
    uint64_t bytes_message;
};

int dma_new(uint32_t max_maps, const struct dma_messenger *messenger, struct dma **out);

/* Most ranges from now on; those that are there stay. */
void dma_set_max_maps(struct dma *dma, uint32_t max_maps);

/* Most distinct files that are kept open; without this call, as many as there are maps. */
void dma_set_max_files(struct dma *dma, uint32_t max_files);

/*
 * Keeps the map from now on; it is empty. *keeper is copied, its memory outlives the dma. Ranges
 * that no record is left for are refused with -ENOSPC; those whose file cannot be stored are kept
 * as ones that are reached by message. Returns 0 or -ENOMEM.
 */
int dma_set_keeper(struct dma *dma, const struct dma_keeper *keeper);

/*
 * The map as it was when step committed had ended, as dma_import takes it: the ranges in order of
 * address, whose file is an index in *files, the serials of the distinct files. Both arrays are the
 * caller's, to be freed. Returns 0 or -ENOMEM.
 */
int dma_records_read(const struct dma_record *records, uint32_t high, uint64_t committed,
                     struct dma_range **ranges, unsigned *n, uint32_t **files, unsigned *n_files);

/*
 * Transfers that are made directly ask passed, if it is not NULL, whether they were made already,
 * by another process in the same step.
 */
void dma_set_passed(struct dma *dma, bool (*passed)(void *opaque), void *opaque);

/* Fails what is under way with -ECANCELED. What is kept is left as it is. */
void dma_free(struct dma *dma);

/*
 * Adds a range. *fd is the file that backs it from offset on, or -1; it is taken, and set to -1,
 * on success only. flags: VFIO_DMA_MAP_FLAG_*. The range has been checked not to wrap.
 * A file that is not in memory (tmpfs, memfd, hugetlbfs) is left: reading it could wait for a disk,
 * or for whoever serves a FUSE file, as long as they like; the range is reached by message then.
 * (Closing a FUSE file waits for its server too, once; that is not prevented.)
 * Returns 0; DMA_MAP_BY_MESSAGE for such a file; -EEXIST when it overlaps a range; -ENOSPC when
 * there are max_maps of them; -EMFILE when there are max_files open; -EINVAL when fd is nothing
 * that memory can be in; -EACCES when a file in memory is not open for what flags say.
 */
int dma_map(struct dma *dma, uint64_t iova, uint64_t size, uint32_t flags, int *fd,
            uint64_t offset);

/*
 * Removes the range that was mapped with exactly these numbers; transfers that touch it fail with
 * -ECANCELED before this returns. -ENOENT when there is none.
 */
int dma_unmap(struct dma *dma, uint64_t iova, uint64_t size);

/*
 * Removes all ranges that lie in these size bytes from iova on, which may be more than they have.
 * Returns their number; -EINVAL when one lies there in part: none is removed.
 */
int dma_unmap_within(struct dma *dma, uint64_t iova, uint64_t size);

void dma_unmap_all(struct dma *dma);

/*
 * Fails all transfers with -ECANCELED, together: cancelled one by one, each would let the next run.
 * For a reset, and when the client is gone: no answer to a message will come then.
 */
void dma_cancel_all(struct dma *dma);

/*
 * Starts a transfer; they are done in the order started. It fails with -EFAULT where nothing is
 * mapped or the file is too short, with -EACCES against a range's flags, or with the client's
 * errno.
 */
void dma_start(struct dma *dma, struct dma_transfer *t);

/* Fails one transfer with -ECANCELED. One that is not under way is left alone. */
void dma_cancel(struct dma *dma, struct dma_transfer *t);

/*
 * The answer to the message with this tag: 0 with len bytes of data (NULL for a DMA_WRITE), or
 * -errno. One that nobody waits for any more is ignored.
 */
void dma_message_done(struct dma *dma, uint32_t tag, int err, const uint8_t *data, uint32_t len);

/* Whether a transfer waits for the answer to the message with this tag. */
bool dma_awaits(const struct dma *dma, uint32_t tag);

/* The start of the nth range, counted from 0 in order of address. -ENOENT without one. */
int dma_nth_range(struct dma *dma, unsigned n, uint64_t *iova, uint64_t *size, bool *shared);

/*
 * Writes the whole map to two arrays, which the caller frees: its ranges in order of address, and
 * the files behind them, which stay the dma's. Returns 0 or -ENOMEM.
 */
int dma_export(struct dma *dma, struct dma_range **ranges, unsigned *n_ranges, int **files,
               unsigned *n_files);

/*
 * Makes the map, which is empty, of what dma_export wrote. Files that are taken are set to -1, also
 * on failure; the others stay the caller's. Returns 0; -EEXIST when the map is not empty, or ranges
 * overlap; -EINVAL for a range that wraps or names no file, or a file that is not in memory; and
 * the errors of dma_map. The map is empty on failure.
 */
int dma_import(struct dma *dma, const struct dma_range *ranges, unsigned n, int *files,
               unsigned n_files);

/*
 * Pages that transfers write are marked in the log from now on; NULL: nowhere. The log stays the
 * caller's. A write by message is marked when it is sent and when it is answered: the client may
 * execute it at any moment between.
 */
void dma_set_log(struct dma *dma, struct dirty_log *log);

/*
 * No piece of a transfer is begun until dma_resume; the message that is under way may still be
 * answered. dma_abandon forgets that message: its answer is ignored, and dma_resume sends it anew.
 */
void dma_pause(struct dma *dma);
void dma_abandon(struct dma *dma);
void dma_resume(struct dma *dma);

/* Whether a message is under way. */
bool dma_in_flight(const struct dma *dma);

void dma_get_info(const struct dma *dma, struct dma_info *out);

/*
 * Copies len bytes between buffer and a file through a mapping made for this, as dma_start does for
 * files that only can be mapped. -EFAULT where the file has no such bytes.
 */
int dma_copy_mapped(int fd, enum dma_direction direction, uint64_t offset, uint8_t *buffer,
                    uint64_t len);

#endif
