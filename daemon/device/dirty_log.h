/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pages of guest memory the device has written: the log behind the features
 * "VFIO_DEVICE_FEATURE_DMA_LOGGING_START", "_STOP" and "_REPORT". Its memory grows with the pages
 * that are written, not with the ranges that are watched. Should there be no memory to note a page,
 * or too many be written far from each other, everything counts as written from then on: a page too
 * many costs time, one too few costs data.
 *
 * Knows neither DMA nor messages.
 */
#ifndef VFIO_USERD_DIRTY_LOG_H
#define VFIO_USERD_DIRTY_LOG_H

#include <linux/vfio.h>
#include <stddef.h>
#include <stdint.h>

/* The smallest and the largest page that a log is kept in. */
#define DIRTY_LOG_MIN_PAGE 4096u
#define DIRTY_LOG_MAX_PAGE (1u << 30)

/* Most ranges that are watched. */
#define DIRTY_LOG_MAX_RANGES 4096u

struct dirty_log;

/*
 * page_size: bytes, a power of two; the nearest is taken that a log can be kept in. ranges: the n
 * ranges of IOVA whose writes are of interest, copied; n 0: all. Returns 0; -EINVAL for another
 * page size, or a range that is empty, wraps or overlaps another one; -E2BIG for more than
 * DIRTY_LOG_MAX_RANGES; -ENOMEM.
 */
int dirty_log_new(uint64_t page_size, const struct vfio_device_feature_dma_logging_range *ranges,
                  uint32_t n, struct dirty_log **out);
void dirty_log_free(struct dirty_log *log);

/* Bytes of a page of this log. */
uint64_t dirty_log_page_size(const struct dirty_log *log);

/*
 * The ranges that are watched, of which there is room for *n; *n is set to their number, and to 0,
 * all, when they are more than there is room for.
 */
void dirty_log_ranges(const struct dirty_log *log,
                      struct vfio_device_feature_dma_logging_range *ranges, uint32_t *n);

/* Everything counts as written until it is reported. */
void dirty_log_mark_all(struct dirty_log *log);

/* length bytes at iova have been written, or may have been. */
void dirty_log_mark(struct dirty_log *log, uint64_t iova, uint64_t length);

/* Number of 64-bit words of the bitmap for length bytes, one bit for each page of page_size. */
uint64_t dirty_log_words(uint64_t length, uint64_t page_size);

/*
 * Writes dirty_log_words words to bitmap: bit n % 64 of word n / 64 says whether anything of the
 * nth page of page_size bytes from iova on is written; bits behind the range are 0. The log's pages
 * that are wholly inside the range are clean then. Returns 0, or -EINVAL for a page_size that is no
 * power of two, or a range that is empty or wraps.
 */
int dirty_log_report(struct dirty_log *log, uint64_t iova, uint64_t length, uint64_t page_size,
                     uint64_t *bitmap);

/*
 * The whole log as bytes, for another process on this machine. *bytes is the caller's, to be freed.
 * Returns 0 or -ENOMEM.
 */
int dirty_log_export(struct dirty_log *log, uint8_t **bytes, size_t *len);

/* The reverse. Returns 0, -EINVAL for bytes that are no log, or -ENOMEM. */
int dirty_log_import(const uint8_t *bytes, size_t len, struct dirty_log **out);

#endif
