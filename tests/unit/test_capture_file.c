/* SPDX-License-Identifier: BSD-3-Clause */
/* ctl/capture_file.c: whole blocks, up to the limit, in a new file. */
#define _GNU_SOURCE
#include "capture_file.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pcapng.h"
#include "suite.h"

#define PACKETS     200u
#define PACKET_DATA 100u

static const volatile int never;

struct place {
    char dir[64];
    char path[96];
    uint8_t stream[65536];
    size_t len;
    size_t ends; /* where the last block, the numbers, begins */
};

/* A stream of PACKETS packets, as a daemon sends it. */
static void place_init(struct place *p)
{
    const struct pcapng_interface interface = { .linktype = PCAPNG_LINKTYPE_USER0 };
    const struct pcapng_statistics numbers = {
        .ended = 1, .received = PACKETS + 5, .dropped = 5, .delivered = PACKETS
    };
    uint8_t data[PACKET_DATA] = { 0 };

    strcpy(p->dir, "/tmp/vfio-userd-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(p->dir));
    snprintf(p->path, sizeof(p->path), "%s/file", p->dir);
    p->len = pcapng_write_section(p->stream, sizeof(p->stream), "test");
    p->len += pcapng_write_interface(p->stream + p->len, sizeof(p->stream) - p->len, &interface);
    for (unsigned i = 0; i < PACKETS; i++) {
        const struct pcapng_packet packet = {
            .time = i, .data = data, .len = PACKET_DATA, .kept = PACKET_DATA
        };

        p->len += pcapng_write_packet(p->stream + p->len, sizeof(p->stream) - p->len, &packet);
    }
    p->ends = p->len;
    p->len += pcapng_write_statistics(p->stream + p->len, sizeof(p->stream) - p->len, &numbers);
}

static void place_fini(struct place *p)
{
    unlink(p->path);
    ck_assert_int_eq(rmdir(p->dir), 0);
}

/* Gives it the stream's first len bytes in pieces. */
static void feed(struct capture_file *f, const struct place *p, size_t len, size_t piece)
{
    for (size_t at = 0; at < len;) {
        size_t size;
        uint8_t *room = capture_file_room(f, &size);
        size_t n = len - at < piece ? len - at : piece;

        ck_assert_uint_ge(size, n);
        memcpy(room, p->stream + at, n);
        ck_assert_int_eq(capture_file_take(f, n, &never), 0);
        at += n;
    }
}

/* Whether the file is the stream's first len bytes, and tail behind them. */
static void check_file(const struct place *p, size_t len, size_t tail_at)
{
    uint8_t *got = malloc(sizeof(p->stream));
    FILE *file = fopen(p->path, "r");
    size_t tail = p->len - tail_at;

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(got, 1, sizeof(p->stream), file), len + tail);
    ck_assert_mem_eq(got, p->stream, len);
    ck_assert_mem_eq(got + len, p->stream + tail_at, tail);
    fclose(file);
    free(got);
}

START_TEST(test_pieces)
{
    static const size_t pieces[] = { 1, 3, 7, 64, 1000, 65536 };
    struct place p;

    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct capture_totals totals;
        struct capture_file *f;
        struct stat st;

        place_init(&p);
        ck_assert_int_eq(capture_file_open(p.path, 0, &f), 0);
        feed(f, &p, p.len, pieces[i]);
        capture_file_totals(f, &totals);
        ck_assert_uint_eq(totals.packets, PACKETS);
        ck_assert_uint_eq(totals.bytes, p.len);
        ck_assert_uint_eq(totals.dropped, 5);
        ck_assert(totals.complete);
        ck_assert(!totals.full);
        ck_assert_int_eq(capture_file_close(f, false), 0);
        check_file(&p, p.len, p.len);
        ck_assert_int_eq(stat(p.path, &st), 0);
        ck_assert_uint_eq(st.st_mode & 0777, 0600);
        place_fini(&p);
    }
}
END_TEST

/* The stream breaks off in a block: the file ends before it. */
START_TEST(test_broken_off)
{
    struct capture_totals totals;
    struct capture_file *f;
    struct place p;

    place_init(&p);
    ck_assert_int_eq(capture_file_open(p.path, 0, &f), 0);
    feed(f, &p, p.ends - 1, 500);
    capture_file_totals(f, &totals);
    ck_assert_uint_eq(totals.packets, PACKETS - 1);
    ck_assert(!totals.complete);
    ck_assert_int_eq(capture_file_close(f, false), 0);
    check_file(&p, totals.bytes, p.len);
    place_fini(&p);
}
END_TEST

/* For all limits around a block's end: never more bytes, whole blocks, the last numbers. */
START_TEST(test_limit)
{
    for (uint64_t limit = CAPTURE_FILE_LIMIT_MIN; limit < CAPTURE_FILE_LIMIT_MIN + 300; limit++) {
        struct capture_totals totals;
        struct capture_file *f;
        struct place p;

        place_init(&p);
        ck_assert_int_eq(capture_file_open(p.path, limit, &f), 0);
        feed(f, &p, p.len, 777);
        capture_file_totals(f, &totals);
        ck_assert(totals.full);
        ck_assert(totals.complete);
        ck_assert_uint_le(totals.bytes, limit);
        ck_assert_uint_gt(totals.bytes, limit - 300);
        ck_assert_int_eq(capture_file_close(f, false), 0);
        check_file(&p, totals.bytes - (p.len - p.ends), p.ends);
        place_fini(&p);
    }
}
END_TEST

START_TEST(test_no_pcapng)
{
    struct capture_file *f;
    struct place p;
    size_t size;

    place_init(&p);
    ck_assert_int_eq(capture_file_open(p.path, 0, &f), 0);
    memset(capture_file_room(f, &size), 1, 100);
    ck_assert_int_eq(capture_file_take(f, 100, &never), -EBADMSG);
    ck_assert_int_eq(capture_file_close(f, true), 0);
    ck_assert_int_ne(access(p.path, F_OK), 0);
    place_fini(&p);
}
END_TEST

/* A file that is there stays as it is; what is no regular file is written to, and never removed. */
START_TEST(test_existing)
{
    struct capture_file *f;
    struct place p;

    place_init(&p);
    ck_assert_int_eq(close(open(p.path, O_WRONLY | O_CREAT, 0600)), 0);
    ck_assert_int_eq(capture_file_open(p.path, 0, &f), -EEXIST);
    ck_assert_int_eq(unlink(p.path), 0);
    ck_assert_int_eq(symlink("/nowhere/at/all", p.path), 0);
    ck_assert_int_lt(capture_file_open(p.path, 0, &f), 0);
    ck_assert_int_eq(capture_file_open("/dev/null", 0, &f), 0);
    feed(f, &p, p.len, 4096);
    ck_assert_int_eq(capture_file_close(f, true), 0);
    ck_assert_int_eq(access("/dev/null", F_OK), 0);
    place_fini(&p);
}
END_TEST

/* A disk that is full says so. */
START_TEST(test_full_disk)
{
    struct capture_file *f;
    struct place p;
    size_t size;

    place_init(&p);
    ck_assert_int_eq(capture_file_open("/dev/full", 0, &f), 0);
    memcpy(capture_file_room(f, &size), p.stream, 1000);
    ck_assert_int_eq(capture_file_take(f, 1000, &never), -ENOSPC);
    ck_assert_int_eq(capture_file_close(f, false), 0);
    place_fini(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("capture file");
    TCase *tcase = tcase_create("file");

    tcase_add_test(tcase, test_pieces);
    tcase_add_test(tcase, test_broken_off);
    tcase_add_test(tcase, test_limit);
    tcase_add_test(tcase, test_no_pcapng);
    tcase_add_test(tcase, test_existing);
    tcase_add_test(tcase, test_full_disk);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
