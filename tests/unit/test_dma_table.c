/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table that the map is kept in: what is read of it is the map as it was when the last step had
 * ended, whatever the step under way has done.
 */
#define _GNU_SOURCE
#include "device/dma_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "unit/dma_kit.h"

#define FILES 8

/* A dma, the memory that its map is kept in, and the store of its files. */
struct kept {
    struct memory m;
    struct dma_record *records;
    uint32_t high;
    uint64_t step; /* under way */
    int stored[FILES];
    unsigned uses[FILES];
    uint32_t n_stored;
    bool refuses;
};

static uint64_t step_of(void *opaque)
{
    return ((struct kept *)opaque)->step;
}

static uint32_t store(void *opaque, int fd)
{
    struct kept *k = opaque;

    if (k->refuses)
        return 0;
    ck_assert_uint_lt(k->n_stored, FILES);
    k->stored[k->n_stored] = fd;
    k->uses[k->n_stored]++;
    return 100 + k->n_stored++;
}

static void forget(void *opaque, uint32_t serial)
{
    struct kept *k = opaque;

    ck_assert_uint_ge(serial, 100);
    ck_assert_uint_lt(serial, 100 + k->n_stored);
    ck_assert_uint_eq(k->uses[serial - 100]--, 1);
}

static void kept_init(struct kept *k, uint32_t n_records)
{
    *k = (struct kept) { .step = 1, .records = calloc(n_records, sizeof(*k->records)) };
    ck_assert_ptr_nonnull(k->records);
    memory_init(&k->m, UINT32_MAX);
    ck_assert_int_eq(dma_set_keeper(k->m.dma, &(struct dma_keeper) { .opaque = k,
                                                                     .records = k->records,
                                                                     .n_records = n_records,
                                                                     .high = &k->high,
                                                                     .step = step_of,
                                                                     .store = store,
                                                                     .forget = forget }),
                     0);
}

static void kept_fini(struct kept *k)
{
    memory_fini(&k->m);
    free(k->records);
}

/* What a process that came now would find: "iova+size" of each range, in pages. */
static const char *read_back(struct kept *k, uint64_t committed)
{
    static char text[4096];
    struct dma_range *ranges;
    uint32_t *files;
    unsigned n_files;
    unsigned n;
    int len = 0;

    ck_assert_int_eq(
        dma_records_read(k->records, k->high, committed, &ranges, &n, &files, &n_files), 0);
    text[0] = '\0';
    for (unsigned i = 0; i < n; i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%llu+%llu", i > 0 ? " " : "",
                        (unsigned long long)ranges[i].iova / PAGE,
                        (unsigned long long)ranges[i].size / PAGE);
    free(ranges);
    free(files);
    return text;
}

static void add(struct kept *k, unsigned page, unsigned pages)
{
    ck_assert_int_eq(map(&k->m, page * PAGE, pages * PAGE), 0);
}

static void drop(struct kept *k, unsigned page, unsigned pages)
{
    ck_assert_int_eq(dma_unmap(k->m.dma, page * PAGE, pages * PAGE), 0);
}

START_TEST(a_step_counts_when_it_has_ended)
{
    struct kept k;

    kept_init(&k, 16);
    ck_assert_str_eq(read_back(&k, 0), "");
    add(&k, 4, 2);
    add(&k, 1, 1);
    ck_assert_str_eq(read_back(&k, 0), "");
    ck_assert_str_eq(read_back(&k, 1), "1+1 4+2");
    k.step = 2;
    drop(&k, 4, 2);
    ck_assert_str_eq(read_back(&k, 1), "1+1 4+2");
    ck_assert_str_eq(read_back(&k, 2), "1+1");
    k.step = 3;
    add(&k, 8, 8);
    drop(&k, 1, 1);
    ck_assert_str_eq(read_back(&k, 2), "1+1");
    ck_assert_str_eq(read_back(&k, 3), "8+8");
    k.step = 4;
    add(&k, 20, 1);
    ck_assert_int_eq(dma_unmap_within(k.m.dma, 0, 64 * PAGE), 2);
    ck_assert_str_eq(read_back(&k, 3), "8+8"); /* without that of the step itself */
    ck_assert_str_eq(read_back(&k, 4), "");
    k.step = 5;
    for (unsigned i = 0; i < 5; i++)
        add(&k, 10 * i, i + 1);
    k.step = 6;
    dma_unmap_all(k.m.dma);
    ck_assert_str_eq(read_back(&k, 5), "0+1 10+2 20+3 30+4 40+5");
    ck_assert_str_eq(read_back(&k, 6), "");
    add(&k, 3, 3);
    ck_assert_str_eq(read_back(&k, 5), "0+1 10+2 20+3 30+4 40+5");
    ck_assert_str_eq(read_back(&k, 6), "3+3");
    kept_fini(&k);
}
END_TEST

/* What may have to come back is not written over. */
START_TEST(a_full_table)
{
    struct kept k;

    kept_init(&k, 3);
    for (unsigned i = 0; i < 3; i++)
        add(&k, i, 1);
    ck_assert_int_eq(map(&k.m, 9 * PAGE, PAGE), -ENOSPC);
    k.step = 2;
    drop(&k, 1, 1);
    drop(&k, 0, 1);
    ck_assert_int_eq(map(&k.m, 9 * PAGE, PAGE), -ENOSPC); /* they were there when it began */
    ck_assert_str_eq(read_back(&k, 1), "0+1 1+1 2+1");
    k.step = 3;
    add(&k, 9, 1);
    drop(&k, 9, 1); /* one of this step is free at once */
    add(&k, 8, 1);
    add(&k, 7, 1);
    ck_assert_int_eq(map(&k.m, 9 * PAGE, PAGE), -ENOSPC);
    ck_assert_str_eq(read_back(&k, 2), "2+1");
    ck_assert_str_eq(read_back(&k, 3), "2+1 7+1 8+1");
    ck_assert_uint_eq(k.high, 3);
    kept_fini(&k);
}
END_TEST

START_TEST(an_fd_that_finds_no_record_is_left)
{
    struct kept k;
    int fd = fake_memfd(PAGE, 0);

    kept_init(&k, 1);
    add(&k, 0, 1);
    ck_assert_int_eq(dma_map(k.m.dma, PAGE, PAGE, RW, &fd, 0), -ENOSPC);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(k.n_stored, 0);
    close(fd);
    kept_fini(&k);
}
END_TEST

/* Ranges with their files go through the table into another map, which is the same. */
START_TEST(files_and_numbers)
{
    struct kept k;
    struct kept to;
    struct dma_range *ranges;
    uint32_t *files;
    unsigned n;
    unsigned n_files;
    int fds[2] = { fake_memfd(4 * PAGE, 3), fake_memfd(4 * PAGE, 4) };
    int copies[2];

    kept_init(&k, 16);
    kept_init(&to, 16);
    map_file(&k.m, 9 * PAGE, PAGE, RW, fds[1], PAGE);
    map_file(&k.m, 1 * PAGE, PAGE, R, fds[0], 2 * PAGE);
    map_file(&k.m, 3 * PAGE, PAGE, W, fds[1], 0);
    ck_assert_int_eq(map(&k.m, 5 * PAGE, PAGE), 0);
    k.refuses = true;
    map_file(&k.m, 7 * PAGE, PAGE, RW, fake_memfd(PAGE, 5), 0);
    ck_assert_uint_eq(k.n_stored, 2); /* each file once */
    ck_assert_int_eq(dma_records_read(k.records, k.high, 1, &ranges, &n, &files, &n_files), 0);
    ck_assert_uint_eq(n, 5);
    ck_assert_uint_eq(n_files, 3);
    ck_assert(files[0] == 100 && files[1] == 101 && files[2] == DMA_FILE_NOT_STORED);
    ck_assert(ranges[0].file == 1 && ranges[0].offset == 2 * PAGE && ranges[0].flags == R);
    ck_assert(ranges[1].file == 0 && ranges[1].offset == 0 && ranges[1].flags == W);
    ck_assert(ranges[2].file == -1 && ranges[3].file == 2 && ranges[4].file == 0);
    ranges[3].file = -1;
    copies[0] = dup(fds[1]);
    copies[1] = dup(fds[0]);
    ck_assert_int_eq(dma_import(to.m.dma, ranges, n, copies, 2), 0);
    ck_assert_str_eq(read_back(&to, 1), "1+1 3+1 5+1 7+1 9+1");
    ck_assert_int_eq(copy(&to.m, DMA_FROM_GUEST, PAGE, PAGE), 0);
    expect_pattern(to.m.buffer, PAGE, 2 * PAGE, 3);
    ck_assert_int_eq(copy(&to.m, DMA_TO_GUEST, PAGE, PAGE), -EACCES);
    dma_unmap_all(k.m.dma);
    ck_assert(k.uses[0] == 0 && k.uses[1] == 0); /* and forgotten with its last range */
    free(ranges);
    free(files);
    close(fds[0]);
    close(fds[1]);
    kept_fini(&k);
    ck_assert(to.uses[0] == 1 && to.uses[1] == 1);
    kept_fini(&to);
}
END_TEST

/* The end of the process is not the end of what it keeps. */
START_TEST(the_table_stays_behind)
{
    struct kept k;

    kept_init(&k, 4);
    map_file(&k.m, PAGE, PAGE, RW, fake_memfd(PAGE, 1), 0);
    add(&k, 5, 1);
    k.step = 2;
    memory_fini(&k.m);
    ck_assert_str_eq(read_back(&k, 2), "1+1 5+1");
    ck_assert_uint_eq(k.uses[0], 1);
    free(k.records);
}
END_TEST

/* Any steps, cut anywhere, against a list that is simply copied at the end of each step. */
START_TEST(at_random)
{
    enum { PAGES = 12, STEPS = 4000 };
    bool now[PAGES] = { false };
    bool before[PAGES];
    char expected[256];
    struct kept k;

    srand(3);
    kept_init(&k, PAGES + 4);
    for (k.step = 1; k.step < STEPS; k.step++) {
        memcpy(before, now, sizeof(before));
        for (int i = rand() % 6; i > 0; i--) {
            unsigned page = (unsigned)rand() % PAGES;
            int len = 0;

            if (now[page])
                drop(&k, page, 1);
            else if (map(&k.m, page * PAGE, PAGE) == -ENOSPC)
                continue;
            now[page] = !now[page];
            expected[0] = '\0';
            for (unsigned j = 0; j < PAGES; j++) {
                if (before[j])
                    len += sprintf(expected + len, "%s%u+1", len > 0 ? " " : "", j);
            }
            ck_assert_str_eq(read_back(&k, k.step - 1), expected);
        }
    }
    kept_fini(&k);
}
END_TEST

/* As many as there may be, in a time that grows with their number. */
START_TEST(many)
{
    const unsigned n = 65535;
    struct timespec begin;
    struct timespec end;
    struct kept k;

    kept_init(&k, n);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (unsigned round = 0; round < 3; round++) {
        struct dma_range *ranges;
        uint32_t *files;
        unsigned read;
        unsigned n_files;

        for (unsigned i = 0; i < n; i++)
            ck_assert_int_eq(map(&k.m, (uint64_t)(i ^ 0x5555) * PAGE, PAGE), 0);
        ck_assert_int_eq(
            dma_records_read(k.records, k.high, k.step, &ranges, &read, &files, &n_files), 0);
        ck_assert_uint_eq(read, n);
        free(ranges);
        free(files);
        k.step++;
        dma_unmap_all(k.m.dma);
        k.step++;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    ck_assert_int_lt(end.tv_sec - begin.tv_sec, 2);
    kept_fini(&k);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_step_counts_when_it_has_ended,
        a_full_table,
        an_fd_that_finds_no_record_is_left,
        files_and_numbers,
        the_table_stays_behind,
        at_random,
        many,
    };

    return fake_run("dma_table", tests, ARRAY_SIZE(tests), NULL, 0);
}
