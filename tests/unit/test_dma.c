/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "device/dma.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "unit/dma_kit.h"
#include "unit/fakes.h"

/*
 * The map
 */

START_TEST(ranges_do_not_overlap)
{
    static const struct {
        uint64_t iova, size;
        int err;
    } maps[] = {
        { 0x10000, 0x4000, 0 },
        { 0x10000, 0x4000, -EEXIST },
        { 0x10000, 0x1000, -EEXIST },
        { 0x11000, 0x1000, -EEXIST },
        { 0x13000, 0x1000, -EEXIST },
        { 0x13fff, 1, -EEXIST },
        { 0x13000, 0x8000, -EEXIST },
        { 0xf000, 0x1001, -EEXIST },
        { 0, UINT64_MAX, -EEXIST },
        { 0xf000, 0x1000, 0 },  /* adjacent, below */
        { 0x14000, 0x1000, 0 }, /* adjacent, above */
        { 0x16000, 0x1000, 0 },
        { 0x15000, 0x1000, 0 }, /* fills the gap */
        { 0, 0xf000, 0 },
        { UINT64_MAX - 0xfff, 0x1000, 0 }, /* the last page there is */
        { UINT64_MAX - 0xfff, 0x1000, -EEXIST },
        { UINT64_MAX, 1, -EEXIST },
        { UINT64_MAX - 0x1fff, 0x1001, -EEXIST },
        { UINT64_MAX - 0x1fff, 0x1000, 0 },
        { 1ull << 63, 0x1000, 0 },
        { (1ull << 63) - 0x1000, 0x2000, -EEXIST },
    };
    struct memory m;
    uint32_t n = 0;

    memory_init(&m, 100);
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
        int err = map(&m, maps[i].iova, maps[i].size);

        ck_assert_msg(err == maps[i].err, "row %zu: %d", i, err);
        n += err == 0;
        ck_assert_uint_eq(info(&m).maps, n);
    }
    memory_fini(&m);
}
END_TEST

START_TEST(unmap_is_exact)
{
    struct memory m;
    uint64_t iova;
    uint64_t size;
    bool shared;

    memory_init(&m, 100);
    ck_assert_int_eq(dma_unmap(m.dma, 0, 0x1000), -ENOENT);
    ck_assert_int_eq(map(&m, 0x2000, 0x2000), 0);
    ck_assert_int_eq(map(&m, UINT64_MAX - 0xfff, 0x1000), 0);
    ck_assert_int_eq(dma_unmap(m.dma, 0x2000, 0x1000), -ENOENT);
    ck_assert_int_eq(dma_unmap(m.dma, 0x2000, 0x3000), -ENOENT);
    ck_assert_int_eq(dma_unmap(m.dma, 0x3000, 0x1000), -ENOENT);
    ck_assert_int_eq(dma_unmap(m.dma, 0x1000, 0x3000), -ENOENT);
    ck_assert_int_eq(dma_unmap(m.dma, 0, UINT64_MAX), -ENOENT);
    ck_assert_uint_eq(info(&m).maps, 2);
    ck_assert_int_eq(dma_unmap(m.dma, 0x2000, 0x2000), 0);
    ck_assert_int_eq(dma_unmap(m.dma, 0x2000, 0x2000), -ENOENT);
    ck_assert_int_eq(dma_nth_range(m.dma, 0, &iova, &size, &shared), 0);
    ck_assert_uint_eq(iova, UINT64_MAX - 0xfff);
    ck_assert_int_eq(dma_unmap(m.dma, UINT64_MAX - 0xfff, 0x1000), 0);
    ck_assert_int_eq(map(&m, 0x2000, 0x2000), 0); /* free again */
    ck_assert_int_eq(map(&m, 0, 0x2000), 0);
    dma_unmap_all(m.dma);
    ck_assert_uint_eq(info(&m).maps, 0);
    ck_assert_int_eq(dma_nth_range(m.dma, 0, &iova, &size, &shared), -ENOENT);
    memory_fini(&m);
}
END_TEST

/* A VMM with a vIOMMU takes whole address spaces away. */
START_TEST(unmap_within_takes_all_that_is_there)
{
    struct counted c;
    struct memory m;

    memory_init(&m, 100);
    ck_assert_int_eq(dma_unmap_within(m.dma, 0, UINT64_MAX), 0);
    for (uint64_t i = 1; i <= 5; i++)
        ck_assert_int_eq(map(&m, i * 0x10000, 0x2000), 0);
    ck_assert_int_eq(map(&m, UINT64_MAX - 0xfff, 0x1000), 0);
    ck_assert_int_eq(dma_unmap_within(m.dma, 0x21000, 0x40000), -EINVAL); /* half of the second */
    ck_assert_int_eq(dma_unmap_within(m.dma, 0x18000, 0x19000), -EINVAL); /* half of the third */
    ck_assert_int_eq(dma_unmap_within(m.dma, 0x31000, 0x800), -EINVAL);   /* a part of it */
    ck_assert_uint_eq(info(&m).maps, 6);
    ck_assert_int_eq(dma_unmap_within(m.dma, 0x12000, 0xe000), 0); /* between two */
    start(&m, &c, DMA_FROM_GUEST, 0x30000, 0x1000);                /* by message: it waits */
    ck_assert_int_eq(dma_unmap_within(m.dma, 0x20000, 0x12000), 2);
    ck_assert_int_eq(c.ends, 1);
    ck_assert_int_eq(c.err, -ECANCELED);
    ck_assert_int_eq(dma_unmap(m.dma, 0x20000, 0x2000), -ENOENT);
    ck_assert_uint_eq(info(&m).maps, 4);
    ck_assert_int_eq(dma_unmap_within(m.dma, 1ull << 63, 1ull << 63), 1);
    ck_assert_int_eq(dma_unmap_within(m.dma, 0, 1ull << 63), 3);
    ck_assert_uint_eq(info(&m).maps, 0);
    memory_fini(&m);
}
END_TEST

START_TEST(ranges_are_counted_by_address)
{
    static const uint64_t expected[] = { 0x1000, 0x5000, UINT64_MAX - 0xfff };
    int fd = fake_memfd(PAGE, 0);
    struct memory m;
    uint64_t iova;
    uint64_t size;
    bool shared;

    memory_init(&m, 3);
    ck_assert_int_eq(map(&m, UINT64_MAX - 0xfff, 0x1000), 0);
    map_file(&m, 0x5000, 0x1000, RW, fd, 0);
    ck_assert_int_eq(map(&m, 0x1000, 0x2000), 0);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(dma_nth_range(m.dma, i, &iova, &size, &shared), 0);
        ck_assert_uint_eq(iova, expected[i]);
        ck_assert_uint_eq(size, i == 0 ? 0x2000 : 0x1000);
        ck_assert_int_eq(shared, i == 1);
    }
    ck_assert_int_eq(dma_nth_range(m.dma, 3, &iova, &size, &shared), -ENOENT);
    ck_assert_int_eq(map(&m, 0x9000, 0x1000), -ENOSPC);
    ck_assert_int_eq(dma_unmap(m.dma, 0x1000, 0x2000), 0);
    ck_assert_int_eq(map(&m, 0x9000, 0x1000), 0);
    memory_fini(&m);
    close(fd);
}
END_TEST

START_TEST(many_maps_of_one_file_keep_it_open_once)
{
    int fd = fake_memfd(PAGE, 0);
    unsigned before = fake_open_fds();
    struct timespec begin;
    struct timespec end;
    struct memory m;

    memory_init(&m, 65535);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (uint64_t i = 0; i < 65535; i++)
        map_file(&m, i * 2 * PAGE, PAGE, RW, fd, 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    ck_assert_int_lt(end.tv_sec - begin.tv_sec, 3); /* far from a search of all for each */
    ck_assert_int_eq(map(&m, PAGE, PAGE), -ENOSPC);
    ck_assert_uint_eq(info(&m).maps, 65535);
    ck_assert_uint_eq(info(&m).shared, 65535);
    ck_assert_uint_eq(info(&m).files, 1);
    ck_assert_uint_eq(fake_open_fds(), before + 1);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, 65534ull * 2 * PAGE, PAGE), 0);
    expect_pattern(m.buffer, PAGE, 0, 0);
    ck_assert_int_eq(dma_unmap(m.dma, 0, PAGE), 0);
    ck_assert_uint_eq(fake_open_fds(), before + 1);
    dma_unmap_all(m.dma);
    ck_assert_uint_eq(fake_open_fds(), before);
    ck_assert_uint_eq(info(&m).files, 0);
    ck_assert_uint_eq(info(&m).shared, 0);
    memory_fini(&m);
    close(fd);
}
END_TEST

static int reopen(int fd, int flags)
{
    char path[32];
    int again;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, flags | O_CLOEXEC);
    ck_assert_int_ge(again, 0);
    return again;
}

START_TEST(a_file_is_known_by_inode_and_access)
{
    int fd = fake_memfd(PAGE, 0);
    int again = reopen(fd, O_RDWR); /* another open file description */
    int reader = reopen(fd, O_RDONLY);
    int other = fake_memfd(PAGE, 1);
    struct memory m;

    memory_init(&m, 100);
    map_file(&m, 0, PAGE, RW, fd, 0);
    map_file(&m, PAGE, PAGE, RW, again, 0);
    ck_assert_uint_eq(info(&m).files, 1);
    map_file(&m, 2 * PAGE, PAGE, R, reader, 0);
    ck_assert_uint_eq(info(&m).files, 2);
    map_file(&m, 3 * PAGE, PAGE, RW, other, 0);
    ck_assert_uint_eq(info(&m).files, 3);
    /* Each goes with the last range that it backs. */
    ck_assert_int_eq(dma_unmap(m.dma, 0, PAGE), 0);
    ck_assert_uint_eq(info(&m).files, 3);
    ck_assert_int_eq(copy(&m, DMA_TO_GUEST, PAGE, PAGE), 0);
    ck_assert_int_eq(dma_unmap(m.dma, PAGE, PAGE), 0);
    ck_assert_uint_eq(info(&m).files, 2);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, 2 * PAGE, PAGE), 0);
    memory_fini(&m);
    close(fd);
    close(again);
    close(reader);
    close(other);
}
END_TEST

/* A file on a disk, of a file system in user space, or of the kernel's: reading it could wait. */
START_TEST(what_is_not_in_memory_goes_by_message)
{
    const char *const files[] = { "/proc/self/maps", "/proc/self/exe", "/dev/null" };
    struct memory m;

    memory_init(&m, 100);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        int fd = open(files[i], O_RDONLY | O_CLOEXEC);
        int before = fd;

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(dma_map(m.dma, i * PAGE, PAGE, R, &fd, 0), DMA_MAP_BY_MESSAGE);
        ck_assert_int_eq(fd, before); /* not taken */
        ck_assert_int_eq(close(fd), 0);
    }
    ck_assert_uint_eq(info(&m).maps, ARRAY_SIZE(files));
    ck_assert_uint_eq(info(&m).shared, 0);
    ck_assert_uint_eq(info(&m).files, 0);
    memory_fini(&m);
}
END_TEST

START_TEST(files_are_limited)
{
    struct memory m;
    int fds[3];

    memory_init(&m, 100);
    dma_set_max_files(m.dma, 2);
    for (int i = 0; i < 3; i++)
        fds[i] = fake_memfd(PAGE, (unsigned)i);
    map_file(&m, 0, PAGE, RW, fds[0], 0);
    map_file(&m, PAGE, PAGE, RW, fds[1], 0);
    ck_assert_int_eq(dma_map(m.dma, 2 * PAGE, PAGE, RW, &fds[2], 0), -EMFILE);
    ck_assert_int_ge(fds[2], 0);
    map_file(&m, 2 * PAGE, PAGE, RW, fds[0], 0); /* one that is open already */
    ck_assert_int_eq(dma_unmap(m.dma, PAGE, PAGE), 0);
    map_file(&m, PAGE, PAGE, RW, fds[2], 0);
    memory_fini(&m);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}
END_TEST

START_TEST(what_is_no_memory_is_refused_and_not_taken)
{
    struct memory m;
    int pipes[2];
    int sockets[2];
    int fds[4];

    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    fds[0] = pipes[0];
    fds[1] = sockets[0];
    fds[2] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fds[3] = fake_eventfd();
    memory_init(&m, 100);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        int fd = fds[i];

        ck_assert_int_eq(dma_map(m.dma, 0, PAGE, R, &fd, 0), -EINVAL);
        ck_assert_int_eq(fd, fds[i]);
        ck_assert_int_eq(close(fd), 0);
    }
    ck_assert_uint_eq(info(&m).maps, 0);
    ck_assert_uint_eq(info(&m).files, 0);
    memory_fini(&m);
    close(pipes[1]);
    close(sockets[1]);
}
END_TEST

START_TEST(a_file_that_was_not_taken_is_the_callers)
{
    int fd = fake_memfd(PAGE, 0);
    int mine = fd;
    struct memory m;

    memory_init(&m, 1);
    ck_assert_int_eq(map(&m, 0, PAGE), 0);
    ck_assert_int_eq(dma_map(m.dma, 0, PAGE, RW, &mine, 0), -EEXIST);
    ck_assert_int_eq(mine, fd);
    ck_assert_int_eq(dma_map(m.dma, PAGE, PAGE, RW, &mine, 0), -ENOSPC);
    ck_assert_int_eq(mine, fd);
    memory_fini(&m);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(access_modes_must_allow_the_flags)
{
    static const struct {
        int mode;
        uint32_t flags;
        int err;
    } modes[] = {
        { O_RDONLY, R, 0 },       { O_RDONLY, W, -EACCES }, { O_RDONLY, RW, -EACCES },
        { O_WRONLY, R, -EACCES }, { O_WRONLY, W, 0 },       { O_WRONLY, RW, -EACCES },
        { O_RDWR, R, 0 },         { O_RDWR, W, 0 },         { O_RDWR, RW, 0 },
    };
    int fd = fake_memfd(PAGE, 0);
    struct memory m;

    memory_init(&m, 100);
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        int again = reopen(fd, modes[i].mode);
        int err = dma_map(m.dma, i * PAGE, PAGE, modes[i].flags, &again, 0);

        ck_assert_msg(err == modes[i].err, "row %zu: %d", i, err);
        ck_assert_int_eq(again == -1, err == 0);
        if (err != 0) {
            close(again);
            continue;
        }
        ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, i * PAGE, 8),
                         (modes[i].flags & R) != 0 ? 0 : -EACCES);
        ck_assert_int_eq(copy(&m, DMA_TO_GUEST, i * PAGE, 8),
                         (modes[i].flags & W) != 0 ? 0 : -EACCES);
    }
    memory_fini(&m);
    close(fd);
}
END_TEST

/*
 * Direct transfers
 */

START_TEST(a_transfer_goes_over_adjacent_ranges)
{
    int one = fake_memfd(2 * PAGE, 1);
    int two = fake_memfd(4 * PAGE, 2);
    uint8_t bytes[PAGE];
    struct memory m;

    memory_init(&m, 100);
    map_file(&m, 0x10000, PAGE, RW, one, PAGE);
    map_file(&m, 0x10000 + PAGE, PAGE, RW, two, 2 * PAGE);
    map_file(&m, 0x10000 + 2 * PAGE, PAGE, RW, one, 0);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, 0x10000 + 100, 3 * PAGE - 200), 0);
    expect_pattern(m.buffer, PAGE - 100, PAGE + 100, 1);
    expect_pattern(m.buffer + PAGE - 100, PAGE, 2 * PAGE, 2);
    expect_pattern(m.buffer + 2 * PAGE - 100, PAGE - 100, 0, 1);
    ck_assert_uint_eq(m.buffer[3 * PAGE - 200], 0xcc);
    ck_assert_uint_eq(info(&m).bytes_direct, 3 * PAGE - 200);
    memset(m.buffer, 0x5a, sizeof(m.buffer));
    ck_assert_int_eq(copy(&m, DMA_TO_GUEST, 0x10000 + PAGE - 1, PAGE + 2), 0);
    ck_assert_int_eq(pread(two, bytes, PAGE, 2 * PAGE), PAGE);
    ck_assert_mem_eq(bytes, m.buffer, PAGE);
    ck_assert_int_eq(pread(one, bytes, PAGE, PAGE), PAGE);
    expect_pattern(bytes, PAGE - 1, PAGE, 1);
    ck_assert_uint_eq(bytes[PAGE - 1], 0x5a);
    ck_assert_int_eq(pread(one, bytes, 2, 0), 2);
    ck_assert_uint_eq(bytes[0], 0x5a);
    expect_pattern(bytes + 1, 1, 1, 1);
    ck_assert_uint_eq(info(&m).bytes_message, 0);
    ck_assert_uint_eq(m.host.n_sent, 0);
    memory_fini(&m);
    close(one);
    close(two);
}
END_TEST

START_TEST(what_is_not_mapped_is_efault)
{
    int fd = fake_memfd(2 * PAGE, 0);
    struct memory m;

    memory_init(&m, 100);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, 0, 1), -EFAULT);
    map_file(&m, PAGE, PAGE, RW, fd, 0);
    map_file(&m, UINT64_MAX - PAGE + 1, PAGE, RW, fd, 0);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, PAGE - 1, 1), -EFAULT);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, PAGE - 1, 2), -EFAULT);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, 2 * PAGE - 1, 2), -EFAULT);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, 2 * PAGE, 1), -EFAULT);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, 2 * PAGE - 1, 1), 0);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, UINT64_MAX - PAGE + 1, PAGE), 0);
    expect_pattern(m.buffer, PAGE, 0, 0);
    ck_assert_int_eq(copy(&m, DMA_TO_GUEST, 0, 0), 0); /* nothing to do, nothing needed */
    memory_fini(&m);
    close(fd);
}
END_TEST

static off_t file_size(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_size;
}

START_TEST(a_file_shorter_than_its_range_is_efault)
{
    static const uint64_t far_offsets[] = { 1ull << 40, INT64_MAX - PAGE, INT64_MAX, 1ull << 63,
                                            UINT64_MAX - PAGE + 1 };
    int fd = fake_memfd(2 * PAGE, 0);
    struct memory m;

    memory_init(&m, 100);
    map_file(&m, 0, 4 * PAGE, RW, fd, 0);
    for (size_t i = 0; i < ARRAY_SIZE(far_offsets); i++)
        map_file(&m, (i + 10) * PAGE, PAGE, RW, fd, far_offsets[i]);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, PAGE, PAGE), 0);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, PAGE, PAGE + 1), -EFAULT);
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, 3 * PAGE, 1), -EFAULT);
    ck_assert_int_eq(copy(&m, DMA_TO_GUEST, PAGE, PAGE + 1), -EFAULT);
    ck_assert_int_eq(copy(&m, DMA_TO_GUEST, 2 * PAGE, 1), -EFAULT);
    for (size_t i = 0; i < ARRAY_SIZE(far_offsets); i++) {
        ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, (i + 10) * PAGE, 64), -EFAULT);
        ck_assert_int_eq(copy(&m, DMA_TO_GUEST, (i + 10) * PAGE, 64), -EFAULT);
    }
    ck_assert_int_eq(ftruncate(fd, 0), 0); /* taken away under us */
    ck_assert_int_eq(copy(&m, DMA_FROM_GUEST, 0, PAGE), -EFAULT);
    ck_assert_int_eq(copy(&m, DMA_TO_GUEST, 0, PAGE), -EFAULT);
    ck_assert_int_eq(file_size(fd), 0);
    memory_fini(&m);
    close(fd);
}
END_TEST

START_TEST(an_appending_file_is_not_appended_to)
{
    int fd = fake_memfd(2 * PAGE, 0);
    int appending = reopen(fd, O_RDWR | O_APPEND);
    int copied = dup(appending);
    struct memory m;
    uint8_t byte = 0;

    memory_init(&m, 100);
    if (dma_map(m.dma, 0, PAGE, RW, &copied, 0) == 0) {
        ck_assert_int_eq(copy(&m, DMA_TO_GUEST, 16, 1), 0);
        ck_assert_int_eq(pread(fd, &byte, 1, 16), 1);
        ck_assert_uint_eq(byte, 0xcc);
    } else {
        close(copied);
    }
    ck_assert_int_eq(file_size(fd), 2 * PAGE);
    memory_fini(&m);
    close(fd);
    close(appending);
}
END_TEST

START_TEST(a_mapped_copy_knows_the_files_end)
{
    int fd = fake_memfd(2 * PAGE + 100, 3);
    uint8_t bytes[PAGE] = { 0 };
    static const struct {
        uint64_t offset, len;
    } beyond[] = {
        { 2 * PAGE, 101 },      { 2 * PAGE + 100, 1 },     { 3 * PAGE, 1 },
        { 2 * PAGE - 1, PAGE }, { 1ull << 40, PAGE },      { 1ull << 63, PAGE },
        { UINT64_MAX - 10, 8 }, { UINT64_MAX - 10, PAGE },
    };

    ck_assert_int_eq(dma_copy_mapped(fd, DMA_FROM_GUEST, PAGE + 10, bytes, PAGE), 0);
    expect_pattern(bytes, PAGE, PAGE + 10, 3);
    memset(bytes, 0xaa, sizeof(bytes));
    ck_assert_int_eq(dma_copy_mapped(fd, DMA_TO_GUEST, 10, bytes, PAGE), 0);
    memset(bytes, 0, sizeof(bytes));
    ck_assert_int_eq(pread(fd, bytes, 12, 9), 12);
    expect_pattern(bytes, 1, 9, 3);
    ck_assert_uint_eq(bytes[1], 0xaa);
    for (size_t i = 0; i < ARRAY_SIZE(beyond); i++) {
        for (int way = 0; way < 2; way++) {
            int err = dma_copy_mapped(fd, way == 0 ? DMA_FROM_GUEST : DMA_TO_GUEST,
                                      beyond[i].offset, bytes, beyond[i].len);

            ck_assert_msg(err == -EFAULT, "row %zu: %d", i, err);
        }
    }
    ck_assert_int_eq(file_size(fd), 2 * PAGE + 100);
    close(fd);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        ranges_do_not_overlap,
        unmap_is_exact,
        unmap_within_takes_all_that_is_there,
        ranges_are_counted_by_address,
        many_maps_of_one_file_keep_it_open_once,
        a_file_is_known_by_inode_and_access,
        what_is_no_memory_is_refused_and_not_taken,
        what_is_not_in_memory_goes_by_message,
        files_are_limited,
        a_file_that_was_not_taken_is_the_callers,
        access_modes_must_allow_the_flags,
        a_transfer_goes_over_adjacent_ranges,
        what_is_not_mapped_is_efault,
        a_file_shorter_than_its_range_is_efault,
        an_appending_file_is_not_appended_to,
        a_mapped_copy_knows_the_files_end,
    };

    return fake_run("dma", tests, ARRAY_SIZE(tests), NULL, 0);
}
