/* SPDX-License-Identifier: BSD-3-Clause */
/* The log of written pages: what is marked, what is reported, what is clean then. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "device/dirty_log.h"
#include "unit/fakes.h"

#define PAGE 4096ull

typedef struct vfio_device_feature_dma_logging_range range;

static struct dirty_log *make(uint64_t page_size, const range *ranges, uint32_t n)
{
    struct dirty_log *log;

    ck_assert_int_eq(dirty_log_new(page_size, ranges, n, &log), 0);
    return log;
}

/* The first word of a report. */
static uint64_t report(struct dirty_log *log, uint64_t iova, uint64_t length, uint64_t page_size)
{
    uint64_t words[64];

    ck_assert_uint_le(dirty_log_words(length, page_size), ARRAY_SIZE(words));
    memset(words, 0xff, sizeof(words));
    ck_assert_int_eq(dirty_log_report(log, iova, length, page_size, words), 0);
    return words[0];
}

START_TEST(page_sizes_and_ranges_that_cannot_be)
{
    const range empty = { .iova = 0, .length = 0 };
    const range wraps = { .iova = UINT64_MAX, .length = 2 };
    const range over[] = { { .iova = 8 * PAGE, .length = PAGE },
                           { .iova = 7 * PAGE, .length = PAGE + 1 } };
    static range many[DIRTY_LOG_MAX_RANGES + 1];
    struct dirty_log *log;

    ck_assert_int_eq(dirty_log_new(0, NULL, 0, &log), -EINVAL);
    ck_assert_int_eq(dirty_log_new(4097, NULL, 0, &log), -EINVAL);
    ck_assert_int_eq(dirty_log_new(PAGE, &empty, 1, &log), -EINVAL);
    ck_assert_int_eq(dirty_log_new(PAGE, &wraps, 1, &log), -EINVAL);
    ck_assert_int_eq(dirty_log_new(PAGE, over, 2, &log), -EINVAL);
    ck_assert_int_eq(dirty_log_new(PAGE, many, DIRTY_LOG_MAX_RANGES + 1, &log), -E2BIG);
    for (unsigned i = 0; i <= DIRTY_LOG_MAX_RANGES; i++)
        many[i] = (range) { .iova = (DIRTY_LOG_MAX_RANGES - i) * 2 * PAGE, .length = PAGE };
    ck_assert_int_eq(dirty_log_new(PAGE, many, DIRTY_LOG_MAX_RANGES, &log), 0);
    dirty_log_free(log);
}
END_TEST

START_TEST(the_nearest_page_size_is_taken)
{
    static const struct {
        uint64_t asked;
        uint64_t got;
    } rows[] = { { 1, PAGE },
                 { 2048, PAGE },
                 { PAGE, PAGE },
                 { 1 << 20, 1 << 20 },
                 { 1u << 30, 1u << 30 },
                 { 1ull << 40, 1u << 30 },
                 { 1ull << 63, 1u << 30 } };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct dirty_log *log = make(rows[i].asked, NULL, 0);

        ck_assert_uint_eq(dirty_log_page_size(log), rows[i].got);
        dirty_log_free(log);
    }
}
END_TEST

START_TEST(a_report_tells_and_clears)
{
    struct dirty_log *log = make(PAGE, NULL, 0);

    ck_assert_uint_eq(report(log, 0, 64 * PAGE, PAGE), 0);
    dirty_log_mark(log, 0, 1);
    dirty_log_mark(log, 3 * PAGE - 1, 2); /* pages 2 and 3 */
    dirty_log_mark(log, 63 * PAGE, PAGE);
    dirty_log_mark(log, 64 * PAGE, PAGE); /* behind it */
    dirty_log_mark(log, 7 * PAGE, 0);     /* nothing */
    ck_assert_uint_eq(report(log, 0, 64 * PAGE, PAGE), 1ull << 63 | 0xd);
    ck_assert_uint_eq(report(log, 0, 64 * PAGE, PAGE), 0);
    ck_assert_uint_eq(report(log, 64 * PAGE, PAGE, PAGE), 1);
    dirty_log_free(log);
}
END_TEST

START_TEST(bits_behind_the_range_are_zero)
{
    struct dirty_log *log = make(PAGE, NULL, 0);

    dirty_log_mark(log, 0, 64 * PAGE);
    ck_assert_uint_eq(report(log, PAGE, 5 * PAGE, PAGE), 0x1f);
    ck_assert_uint_eq(report(log, 0, 64 * PAGE, PAGE), ~(uint64_t)0x3e); /* the others are left */
    dirty_log_free(log);
}
END_TEST

/* A report in other pages than the log's. */
START_TEST(page_sizes_of_reports)
{
    static const struct {
        uint64_t page_size;
        uint64_t bits; /* of 1 MiB, of which page 5 is written */
    } rows[] = {
        { 2048, 0xc00 }, { PAGE, 0x20 }, { 8192, 4 }, { 65536, 1 }, { 1 << 20, 1 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct dirty_log *log = make(PAGE, NULL, 0);

        dirty_log_mark(log, 5 * PAGE + 7, 1);
        ck_assert_uint_eq(report(log, 0, 1 << 20, rows[i].page_size), rows[i].bits);
        ck_assert_uint_eq(report(log, 0, 1 << 20, PAGE), 0);
        dirty_log_free(log);
    }
}
END_TEST

/* Part of a page of the log: it may be the other part that was written. */
START_TEST(a_page_that_is_not_wholly_reported_stays)
{
    struct dirty_log *log = make(1 << 20, NULL, 0);

    dirty_log_mark(log, 0, 1);
    ck_assert_uint_eq(report(log, 4 * PAGE, 4 * PAGE, PAGE), 0xf);
    ck_assert_uint_eq(report(log, 0, 1 << 20, 1 << 20), 1);
    ck_assert_uint_eq(report(log, 0, 1 << 20, 1 << 20), 0);
    dirty_log_free(log);
}
END_TEST

START_TEST(only_the_ranges_are_watched)
{
    const range ranges[] = { { .iova = 16 * PAGE, .length = 2 * PAGE },
                             { .iova = 32 * PAGE, .length = PAGE } };
    struct dirty_log *log = make(PAGE, ranges, ARRAY_SIZE(ranges));

    dirty_log_mark(log, 0, 64 * PAGE);
    ck_assert_uint_eq(report(log, 0, 64 * PAGE, PAGE), 0x3ull << 16 | 1ull << 32);
    dirty_log_free(log);
}
END_TEST

/* Far apart, and up to the last byte of all: memory goes with the pages. */
START_TEST(the_whole_address_space)
{
    struct dirty_log *log = make(PAGE, NULL, 0);
    uint64_t top = UINT64_MAX - 64 * PAGE + 1;

    for (unsigned i = 0; i < 50; i++)
        dirty_log_mark(log, (uint64_t)i << 58, 1);
    dirty_log_mark(log, UINT64_MAX, 1);
    dirty_log_mark(log, 4095 * PAGE, 3 * PAGE); /* across what is noted together */
    ck_assert_uint_eq(report(log, top, 64 * PAGE, PAGE), 1ull << 63);
    ck_assert_uint_eq(report(log, top, 64 * PAGE, PAGE), 0);
    ck_assert_uint_eq(report(log, 4090 * PAGE, 16 * PAGE, PAGE), 0xe0);
    for (unsigned i = 0; i < 50; i++)
        ck_assert_uint_eq(report(log, (uint64_t)i << 58, 2 * PAGE, PAGE), 1);
    dirty_log_free(log);
}
END_TEST

/* What is written everywhere is written: memory has an end, and no page may be missed. */
START_TEST(too_far_apart)
{
    struct dirty_log *log = make(PAGE, NULL, 0);

    for (uint64_t i = 0; i < 70000; i++)
        dirty_log_mark(log, i << 30, 1);
    ck_assert_uint_eq(report(log, 0, 64 * PAGE, PAGE), UINT64_MAX);
    ck_assert_uint_eq(report(log, 12345ull << 40, 64 * PAGE, PAGE), UINT64_MAX);
    dirty_log_free(log);
}
END_TEST

START_TEST(reports_that_cannot_be)
{
    struct dirty_log *log = make(PAGE, NULL, 0);
    uint64_t word;

    ck_assert_int_eq(dirty_log_report(log, 0, 0, PAGE, &word), -EINVAL);
    ck_assert_int_eq(dirty_log_report(log, 0, PAGE, 0, &word), -EINVAL);
    ck_assert_int_eq(dirty_log_report(log, 0, PAGE, 3, &word), -EINVAL);
    ck_assert_int_eq(dirty_log_report(log, UINT64_MAX, 2, PAGE, &word), -EINVAL);
    ck_assert_uint_eq(dirty_log_words(1, PAGE), 1);
    ck_assert_uint_eq(dirty_log_words(64 * PAGE, PAGE), 1);
    ck_assert_uint_eq(dirty_log_words(64 * PAGE + 1, PAGE), 2);
    ck_assert_uint_eq(dirty_log_words(UINT64_MAX, 1ull << 63), 1);
    dirty_log_free(log);
}
END_TEST

START_TEST(it_goes_to_another_process)
{
    const range ranges[] = { { .iova = 16 * PAGE, .length = 64 * PAGE } };
    struct dirty_log *log = make(PAGE, ranges, 1);
    struct dirty_log *copy;
    uint8_t *bytes;
    size_t len;

    dirty_log_mark(log, 17 * PAGE, PAGE);
    ck_assert_int_eq(dirty_log_export(log, &bytes, &len), 0);
    for (size_t cut = 0; cut < len; cut++)
        ck_assert_int_eq(dirty_log_import(bytes, cut, &copy), -EINVAL);
    ck_assert_int_eq(dirty_log_import(bytes, len, &copy), 0);
    free(bytes);
    dirty_log_mark(copy, 0, 20 * PAGE); /* it watches the same range */
    ck_assert_uint_eq(report(copy, 0, 64 * PAGE, PAGE), 0xf0000);
    ck_assert_uint_eq(report(log, 0, 64 * PAGE, PAGE), 0x20000);
    dirty_log_free(log);
    dirty_log_free(copy);
}
END_TEST

/* Everything is written, once: parts of pages wait for the rest, and writes count again. */
START_TEST(everything_is_written)
{
    struct dirty_log *log = make(PAGE, NULL, 0);
    uint64_t top = UINT64_MAX - 64 * PAGE + 1;

    dirty_log_mark_all(log);
    ck_assert_uint_eq(report(log, 8 * PAGE, 4 * PAGE, PAGE), 0xf);
    ck_assert_uint_eq(report(log, 8 * PAGE, 4 * PAGE, PAGE), 0);
    ck_assert_uint_eq(report(log, 6 * PAGE, 8 * PAGE, PAGE), 0xc3); /* on both sides */
    ck_assert_uint_eq(report(log, 6 * PAGE, 8 * PAGE, PAGE), 0);
    ck_assert_uint_eq(report(log, 2 * PAGE + 1, PAGE, PAGE), 1); /* of two pages, not all */
    ck_assert_uint_eq(report(log, 2 * PAGE, 2 * PAGE, PAGE), 3);
    ck_assert_uint_eq(report(log, 2 * PAGE, 2 * PAGE, PAGE), 0);
    ck_assert_uint_eq(report(log, 0, 1, 1), 1);
    ck_assert_uint_eq(report(log, 0, PAGE, PAGE), 1);
    ck_assert_uint_eq(report(log, 0, PAGE, PAGE), 0);
    ck_assert_uint_eq(report(log, top, 64 * PAGE, PAGE), UINT64_MAX);
    ck_assert_uint_eq(report(log, top, 64 * PAGE, PAGE), 0);
    dirty_log_mark(log, 9 * PAGE, 1);
    ck_assert_uint_eq(report(log, 6 * PAGE, 8 * PAGE, PAGE), 8);
    ck_assert_uint_eq(report(log, 1 << 30, 1 << 30, 1 << 30), 1); /* in coarser pages */
    ck_assert_uint_eq(report(log, 1 << 30, 64 * PAGE, PAGE), 0);
    dirty_log_free(log);
}
END_TEST

/* Reported in so many pieces that not all gaps can be remembered: none is missed. */
START_TEST(everything_in_many_pieces)
{
    struct dirty_log *log = make(PAGE, NULL, 0);
    unsigned again = 0;

    dirty_log_mark_all(log);
    for (uint64_t i = 0; i < 2000; i++)
        ck_assert_uint_eq(report(log, 2 * i * PAGE, PAGE, PAGE), 1);
    for (uint64_t i = 0; i < 2000; i++) {
        ck_assert_uint_eq(report(log, (2 * i + 1) * PAGE, PAGE, PAGE), 1);
        again += report(log, 2 * i * PAGE, PAGE, PAGE) != 0;
    }
    ck_assert_uint_lt(again, 2000);
    dirty_log_free(log);
}
END_TEST

/* Against a bit for each page. */
START_TEST(everything_at_random)
{
    enum { PAGES = 40 };
    bool dirty[PAGES];
    struct dirty_log *log = make(PAGE, NULL, 0);

    srand(5);
    memset(dirty, true, sizeof(dirty));
    dirty_log_mark_all(log);
    for (unsigned round = 0; round < 20000; round++) {
        uint64_t first = (uint64_t)rand() % (PAGES * PAGE);
        uint64_t length = 1 + (uint64_t)rand() % (PAGES * PAGE - first);
        uint64_t expected = 0;

        if (round % 500 == 0) {
            memset(dirty, true, sizeof(dirty));
            dirty_log_mark_all(log);
        }
        if (rand() % 2 == 0) { /* most reports are of whole pages */
            first -= first % PAGE;
            length += PAGE - 1 - (length - 1) % PAGE;
        }
        if (rand() % 4 == 0) {
            dirty_log_mark(log, first, 1);
            dirty[first / PAGE] = true;
            continue;
        }
        for (uint64_t at = first; at < first + length; at++) {
            if (dirty[at / PAGE])
                expected |= 1ull << (at - first) / PAGE;
        }
        ck_assert_uint_eq(report(log, first, length, PAGE), expected);
        for (uint64_t i = (first + PAGE - 1) / PAGE; (i + 1) * PAGE <= first + length; i++)
            dirty[i] = false;
    }
    dirty_log_free(log);
}
END_TEST

START_TEST(everything_goes_to_another_process)
{
    struct dirty_log *log = make(PAGE, NULL, 0);
    struct dirty_log *copy;
    uint8_t *bytes;
    size_t len;

    dirty_log_mark_all(log);
    (void)report(log, 4 * PAGE, 4 * PAGE, PAGE);
    ck_assert_int_eq(dirty_log_export(log, &bytes, &len), 0);
    for (size_t cut = 0; cut < len; cut++)
        ck_assert_int_eq(dirty_log_import(bytes, cut, &copy), -EINVAL);
    ck_assert_int_eq(dirty_log_import(bytes, len, &copy), 0);
    ck_assert_uint_eq(report(copy, 0, 12 * PAGE, PAGE), 0xf0f);
    memset(bytes + len - 16, 0xff, 8); /* it would begin behind its end */
    dirty_log_free(copy);
    ck_assert_int_eq(dirty_log_import(bytes, len, &copy), -EINVAL);
    free(bytes);
    dirty_log_free(log);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        page_sizes_and_ranges_that_cannot_be,
        the_nearest_page_size_is_taken,
        a_report_tells_and_clears,
        bits_behind_the_range_are_zero,
        page_sizes_of_reports,
        a_page_that_is_not_wholly_reported_stays,
        only_the_ranges_are_watched,
        the_whole_address_space,
        too_far_apart,
        reports_that_cannot_be,
        it_goes_to_another_process,
        everything_is_written,
        everything_in_many_pieces,
        everything_at_random,
        everything_goes_to_another_process,
    };

    return fake_run("dirty_log", tests, ARRAY_SIZE(tests), NULL, 0);
}
