/* SPDX-License-Identifier: BSD-3-Clause */
#include "dirty_log.h"

#include <bsd/sys/tree.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Pages that are noted together, and words of their bits. */
#define CHUNK_SHIFT 12
#define CHUNK_PAGES (1u << CHUNK_SHIFT)
#define CHUNK_WORDS (CHUNK_PAGES / 64)

/* Of 528 bytes; of 4 KiB pages that lie together, these are 1 TiB. */
#define MAX_CHUNKS (1u << 16)

/* Spans of pages that count as written until they are reported. */
#define MAX_ALL 256

struct chunk {
    RB_ENTRY(chunk) entry;
    uint64_t index; /* number of its first page, divided by CHUNK_PAGES */
    uint64_t words[CHUNK_WORDS];
};

RB_HEAD(chunk_tree, chunk);

/* First and last byte, so that the last byte of all can be in it. */
struct span {
    uint64_t first;
    uint64_t last;
};

struct dirty_log {
    unsigned shift; /* log2 of the page size */
    bool lost;      /* not all could be noted: everything is dirty */
    struct span *spans;
    uint32_t n_spans; /* 0: all */
    struct chunk_tree chunks;
    uint64_t n_chunks;
    struct span all[MAX_ALL]; /* of pages: those that count as written without being noted */
    uint32_t n_all;
};

/* What an exported log begins with; spans and chunks follow. */
struct exported {
    uint64_t n_chunks;
    uint32_t n_spans;
    uint32_t shift;
    uint32_t lost;
    uint32_t n_all;
};

struct exported_chunk {
    uint64_t index;
    uint64_t words[CHUNK_WORDS];
};

static int compare_chunks(const struct chunk *a, const struct chunk *b)
{
    return a->index < b->index ? -1 : a->index > b->index;
}

/* RB_GENERATE_STATIC, whose attribute is missing on Linux. */
#define UNUSED_STATIC __attribute__((unused)) static
RB_GENERATE_INTERNAL(chunk_tree, chunk, entry, compare_chunks, UNUSED_STATIC)

static bool is_power_of_two(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

static unsigned log2_of(uint64_t n)
{
    return (unsigned)__builtin_ctzll(n);
}

static int make_span(uint64_t iova, uint64_t length, struct span *out)
{
    if (length == 0 || length - 1 > UINT64_MAX - iova)
        return -EINVAL;
    *out = (struct span) { .first = iova, .last = iova + (length - 1) };
    return 0;
}

static int compare_spans(const void *a, const void *b)
{
    const struct span *x = a;
    const struct span *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

/* Puts them in order; says whether any two have a byte in common. */
static bool overlap(struct span *spans, uint32_t n)
{
    qsort(spans, n, sizeof(*spans), compare_spans);
    for (uint32_t i = 1; i < n; i++) {
        if (spans[i].first <= spans[i - 1].last)
            return true;
    }
    return false;
}

int dirty_log_new(uint64_t page_size, const struct vfio_device_feature_dma_logging_range *ranges,
                  uint32_t n, struct dirty_log **out)
{
    struct dirty_log *log;

    if (!is_power_of_two(page_size))
        return -EINVAL;
    if (n > DIRTY_LOG_MAX_RANGES)
        return -E2BIG;
    log = calloc(1, sizeof(*log));
    if (log == NULL)
        return -ENOMEM;
    page_size = page_size > DIRTY_LOG_MIN_PAGE ? page_size : DIRTY_LOG_MIN_PAGE;
    log->shift = log2_of(page_size < DIRTY_LOG_MAX_PAGE ? page_size : DIRTY_LOG_MAX_PAGE);
    RB_INIT(&log->chunks);
    log->spans = calloc((size_t)n + 1, sizeof(*log->spans));
    if (log->spans == NULL) {
        free(log);
        return -ENOMEM;
    }
    for (; log->n_spans < n; log->n_spans++) {
        struct vfio_device_feature_dma_logging_range range;

        memcpy(&range, &ranges[log->n_spans], sizeof(range)); /* may be unaligned in a message */
        if (make_span(range.iova, range.length, &log->spans[log->n_spans]) != 0) {
            dirty_log_free(log);
            return -EINVAL;
        }
    }
    if (overlap(log->spans, n)) {
        dirty_log_free(log);
        return -EINVAL;
    }
    *out = log;
    return 0;
}

static void drop_chunk(struct dirty_log *log, struct chunk *chunk)
{
    RB_REMOVE(chunk_tree, &log->chunks, chunk);
    log->n_chunks--;
    free(chunk);
}

void dirty_log_free(struct dirty_log *log)
{
    struct chunk *chunk;

    if (log == NULL)
        return;
    while ((chunk = RB_MIN(chunk_tree, &log->chunks)) != NULL)
        drop_chunk(log, chunk);
    free(log->spans);
    free(log);
}

uint64_t dirty_log_page_size(const struct dirty_log *log)
{
    return 1ull << log->shift;
}

void dirty_log_ranges(const struct dirty_log *log,
                      struct vfio_device_feature_dma_logging_range *ranges, uint32_t *n)
{
    uint32_t room = *n;

    *n = log->n_spans <= room ? log->n_spans : 0;
    for (uint32_t i = 0; i < *n; i++) {
        ranges[i].iova = log->spans[i].first;
        ranges[i].length = log->spans[i].last - log->spans[i].first + 1;
    }
}

/*
 * Marking
 */

static struct chunk *use_chunk(struct dirty_log *log, uint64_t index)
{
    struct chunk key = { .index = index };
    struct chunk *chunk = RB_FIND(chunk_tree, &log->chunks, &key);

    if (chunk != NULL)
        return chunk;
    chunk = log->n_chunks < MAX_CHUNKS ? calloc(1, sizeof(*chunk)) : NULL;
    if (chunk == NULL) {
        log->lost = true;
        return NULL;
    }
    chunk->index = index;
    RB_INSERT(chunk_tree, &log->chunks, chunk);
    log->n_chunks++;
    return chunk;
}

static void mark_span(struct dirty_log *log, struct span span)
{
    uint64_t page = span.first >> log->shift;
    uint64_t last = span.last >> log->shift;

    do {
        struct chunk *chunk = use_chunk(log, page >> CHUNK_SHIFT);
        uint64_t end = page | (CHUNK_PAGES - 1); /* the chunk's last page */

        if (chunk == NULL)
            return;
        for (; page <= end && page <= last; page++)
            chunk->words[page % CHUNK_PAGES / 64] |= 1ull << page % 64;
    } while (page <= last);
}

void dirty_log_mark_all(struct dirty_log *log)
{
    log->all[0] = (struct span) { .first = 0, .last = UINT64_MAX >> log->shift };
    log->n_all = 1;
}

void dirty_log_mark(struct dirty_log *log, uint64_t iova, uint64_t length)
{
    struct span span;

    if (log->lost || make_span(iova, length, &span) != 0)
        return;
    if (log->n_spans == 0)
        mark_span(log, span);
    for (uint32_t i = 0; i < log->n_spans; i++) {
        const struct span *s = &log->spans[i];
        struct span both = { .first = span.first > s->first ? span.first : s->first,
                             .last = span.last < s->last ? span.last : s->last };

        if (both.first <= both.last)
            mark_span(log, both);
    }
}

/*
 * Reporting
 */

uint64_t dirty_log_words(uint64_t length, uint64_t page_size)
{
    uint64_t bits = length / page_size + (length % page_size != 0);

    return bits / 64 + (bits % 64 != 0);
}

static void set_bits(uint64_t *bitmap, uint64_t first, uint64_t last)
{
    for (uint64_t bit = first; bit <= last; bit++) {
        if (bit % 64 == 0 && last - bit >= 63) {
            bitmap[bit / 64] = UINT64_MAX;
            bit += 63;
        } else {
            bitmap[bit / 64] |= 1ull << bit % 64;
        }
    }
}

/* A written page of the log, which has something in the span: sets its bits. Returns whether all
 * of the page is in the span. */
static bool report_page(const struct dirty_log *log, uint64_t page, struct span span,
                        unsigned shift, uint64_t *bitmap)
{
    uint64_t first = page << log->shift;
    uint64_t last = first + (dirty_log_page_size(log) - 1);
    bool whole = first >= span.first && last <= span.last;

    first = first > span.first ? first : span.first;
    last = last < span.last ? last : span.last;
    set_bits(bitmap, (first - span.first) >> shift, (last - span.first) >> shift);
    return whole;
}

/* Reports the pages of a chunk from first to last, and clears them. */
static void report_chunk(const struct dirty_log *log, struct chunk *chunk, uint64_t first,
                         uint64_t last, struct span span, unsigned shift, uint64_t *bitmap)
{
    uint64_t begin = chunk->index << CHUNK_SHIFT;

    first = first > begin ? first - begin : 0;
    last = last - begin < CHUNK_PAGES - 1 ? last - begin : CHUNK_PAGES - 1;
    for (uint64_t i = first; i <= last; i++) {
        uint64_t *word = &chunk->words[i / 64];

        if (*word == 0)
            i |= 63; /* on to the next one */
        else if ((*word & 1ull << i % 64) != 0 && report_page(log, begin + i, span, shift, bitmap))
            *word &= ~(1ull << i % 64);
    }
}

static bool is_clean(const struct chunk *chunk)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < CHUNK_WORDS; i++)
        any |= chunk->words[i];
    return any == 0;
}

/*
 * Reports a span of written pages that has something in span. What is left of it, which its pages
 * at the ends may be in part, is in rest: the number of these is returned.
 */
static unsigned report_all(const struct dirty_log *log, struct span all, struct span span,
                           unsigned shift, uint64_t *bitmap, struct span rest[2])
{
    uint64_t first = all.first << log->shift;
    uint64_t last = (all.last << log->shift) + (dirty_log_page_size(log) - 1);
    uint64_t end =
        span.last == UINT64_MAX ? UINT64_MAX >> log->shift : ((span.last + 1) >> log->shift) - 1;
    uint64_t begin = (span.first >> log->shift) + (span.first % dirty_log_page_size(log) != 0);
    bool whole = span.last >= dirty_log_page_size(log) - 1 && begin <= end;
    unsigned n = 0;

    first = first > span.first ? first : span.first;
    last = last < span.last ? last : span.last;
    set_bits(bitmap, (first - span.first) >> shift, (last - span.first) >> shift);
    if (!whole || begin > all.last || end < all.first) {
        rest[n++] = all;
        return n;
    }
    if (all.first < begin)
        rest[n++] = (struct span) { .first = all.first, .last = begin - 1 };
    if (all.last > end)
        rest[n++] = (struct span) { .first = end + 1, .last = all.last };
    return n;
}

/* The same for each of them. One that would fall in two when there is no room stays as it is. */
static void report_alls(struct dirty_log *log, struct span span, unsigned shift, uint64_t *bitmap)
{
    uint64_t page_first = span.first >> log->shift;
    uint64_t page_last = span.last >> log->shift;

    for (uint32_t i = 0; i < log->n_all;) {
        struct span *all = &log->all[i];
        struct span rest[2];
        unsigned n = 1;

        if (all->first <= page_last && all->last >= page_first)
            n = report_all(log, *all, span, shift, bitmap, rest);
        else
            rest[0] = *all;
        if (n == 0) {
            *all = log->all[--log->n_all];
            continue;
        }
        if (n == 1)
            *all = rest[0];
        if (n == 2 && log->n_all < MAX_ALL) {
            *all = rest[0];
            log->all[log->n_all++] = rest[1];
        }
        i++;
    }
}

int dirty_log_report(struct dirty_log *log, uint64_t iova, uint64_t length, uint64_t page_size,
                     uint64_t *bitmap)
{
    struct chunk key;
    struct chunk *chunk;
    struct chunk *next;
    struct span span;
    uint64_t first;
    uint64_t last;

    if (!is_power_of_two(page_size) || make_span(iova, length, &span) != 0)
        return -EINVAL;
    memset(bitmap, 0, dirty_log_words(length, page_size) * sizeof(*bitmap));
    if (log->lost) {
        set_bits(bitmap, 0, (length - 1) / page_size);
        return 0;
    }
    report_alls(log, span, log2_of(page_size), bitmap);
    first = span.first >> log->shift;
    last = span.last >> log->shift;
    key.index = first >> CHUNK_SHIFT;
    for (chunk = RB_NFIND(chunk_tree, &log->chunks, &key);
         chunk != NULL && chunk->index <= last >> CHUNK_SHIFT; chunk = next) {
        next = RB_NEXT(chunk_tree, &log->chunks, chunk);
        report_chunk(log, chunk, first, last, span, log2_of(page_size), bitmap);
        if (is_clean(chunk))
            drop_chunk(log, chunk);
    }
    return 0;
}

/*
 * To another process
 */

int dirty_log_export(struct dirty_log *log, uint8_t **bytes, size_t *len)
{
    const struct exported head = { .n_chunks = log->n_chunks,
                                   .n_spans = log->n_spans,
                                   .shift = log->shift,
                                   .lost = log->lost,
                                   .n_all = log->n_all };
    size_t size = sizeof(head) + (log->n_spans + log->n_all) * sizeof(struct span) +
                  log->n_chunks * sizeof(struct exported_chunk);
    uint8_t *at = malloc(size);
    struct chunk *chunk;

    if (at == NULL)
        return -ENOMEM;
    *bytes = at;
    *len = size;
    memcpy(at, &head, sizeof(head));
    at += sizeof(head);
    memcpy(at, log->spans, log->n_spans * sizeof(struct span));
    at += log->n_spans * sizeof(struct span);
    memcpy(at, log->all, log->n_all * sizeof(struct span));
    at += log->n_all * sizeof(struct span);
    RB_FOREACH (chunk, chunk_tree, &log->chunks) {
        memcpy(at, &chunk->index, sizeof(chunk->index));
        memcpy(at + sizeof(chunk->index), chunk->words, sizeof(chunk->words));
        at += sizeof(struct exported_chunk);
    }
    return 0;
}

static int import_chunk(struct dirty_log *log, const uint8_t *at)
{
    uint64_t index;
    struct chunk *chunk;

    memcpy(&index, at, sizeof(index));
    if (index > UINT64_MAX >> (log->shift + CHUNK_SHIFT))
        return -EINVAL;
    chunk = use_chunk(log, index);
    if (chunk == NULL)
        return -ENOMEM;
    memcpy(chunk->words, at + sizeof(index), sizeof(chunk->words));
    return 0;
}

static int import_alls(struct dirty_log *log, const uint8_t *at, uint32_t n)
{
    memcpy(log->all, at, n * sizeof(struct span));
    log->n_all = n;
    for (uint32_t i = 0; i < n; i++) {
        if (log->all[i].first > log->all[i].last || log->all[i].last > UINT64_MAX >> log->shift)
            return -EINVAL;
    }
    return 0;
}

int dirty_log_import(const uint8_t *bytes, size_t len, struct dirty_log **out)
{
    struct exported head;
    struct dirty_log *log;
    size_t spans;
    size_t alls;
    int err;

    if (len < sizeof(head))
        return -EINVAL;
    memcpy(&head, bytes, sizeof(head));
    spans = head.n_spans * sizeof(struct span);
    alls = head.n_all * sizeof(struct span);
    if (head.n_spans > DIRTY_LOG_MAX_RANGES || head.shift < log2_of(DIRTY_LOG_MIN_PAGE) ||
        head.shift > log2_of(DIRTY_LOG_MAX_PAGE) || head.lost > 1 || head.n_all > MAX_ALL ||
        spans + alls > len - sizeof(head) ||
        head.n_chunks != (len - sizeof(head) - spans - alls) / sizeof(struct exported_chunk) ||
        (len - sizeof(head) - spans - alls) % sizeof(struct exported_chunk) != 0)
        return -EINVAL;
    err = dirty_log_new(1ull << head.shift, NULL, 0, &log);
    if (err != 0)
        return err;
    free(log->spans);
    log->spans = malloc(spans + 1);
    err = log->spans != NULL ? 0 : -ENOMEM;
    if (err == 0) {
        memcpy(log->spans, bytes + sizeof(head), spans);
        log->n_spans = head.n_spans;
        log->lost = head.lost != 0;
        err = import_alls(log, bytes + sizeof(head) + spans, head.n_all);
    }
    for (uint64_t i = 0; err == 0 && i < head.n_chunks; i++)
        err = import_chunk(log,
                           bytes + sizeof(head) + spans + alls + i * sizeof(struct exported_chunk));
    if (err != 0) {
        dirty_log_free(log);
        return err;
    }
    *out = log;
    return 0;
}
