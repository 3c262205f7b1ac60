/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A daemon that is killed in the middle of what takes several messages: a migration, a log of
 * writes, DMA by message, a stopped device.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "integration/keep_kit.h"
#include "integration/live_kit.h"
#include "suite.h"

#define BAR1             VFIO_PCI_BAR1_REGION_INDEX
#define INTX             VFIO_PCI_INTX_IRQ_INDEX
#define RW               (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define STOP             VFIO_DEVICE_STATE_STOP
#define RUNNING          VFIO_DEVICE_STATE_RUNNING
#define STOP_COPY        VFIO_DEVICE_STATE_STOP_COPY
#define RESUMING         VFIO_DEVICE_STATE_RESUMING
#define PRE_COPY         VFIO_USER_DEVICE_STATE_PRE_COPY
#define LOG_START        VFIO_DEVICE_FEATURE_DMA_LOGGING_START
#define LOG_STOP         VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP
#define LOG_REPORT       VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT
#define REG_DOORBELL_CNT 0x804
#define BAR1_SIZE        16384u
#define PAGE             4096u
#define PIECE            997u

static void restart(struct keep *k)
{
    ck_assert_msg(keep_restart(k, SIGKILL), "%s", keep_log(k));
    ck_assert_msg(!keep_log_has(k, "is not used, and kept"), "%s", keep_log(k));
}

static struct client *attach(struct keep *k, int *intx)
{
    struct client *c = keep_connect(k);

    set_bus_master(c);
    ck_assert_int_eq(set_eventfds(c, INTX, 0, 1, intx), 0);
    client_set_timeout(c, 20000);
    return c;
}

/*
 * Migration
 */

static void set_state(struct client *c, uint32_t state)
{
    uint32_t now = 77;

    ck_assert_int_eq(client_mig_set_state(c, state), 0);
    ck_assert_int_eq(client_mig_get_state(c, &now), 0);
    ck_assert_uint_eq(now, state);
}

/*
 * Carries what there is. The source is killed behind each of the first pieces, and sends what is
 * left of BAR1 anew each time; the destination behind each piece.
 */
static void carry(struct client *from, struct client *to, struct keep *a, struct keep *b)
{
    uint8_t piece[PIECE];
    unsigned pieces = 0;
    int n;

    while ((n = client_mig_read(from, piece, PIECE)) > 0) {
        ck_assert_uint_lt(pieces, 100);
        if (a != NULL && pieces++ < 8)
            restart(a);
        ck_assert_int_eq(client_mig_write(to, piece, (uint32_t)n), 0);
        if (b != NULL)
            restart(b);
    }
    ck_assert_int_eq(n, 0);
}

static void fill(struct client *c, uint8_t bytes[BAR1_SIZE], unsigned seed)
{
    for (unsigned i = 0; i < BAR1_SIZE; i++)
        bytes[i] = (uint8_t)(i * 11 + (i >> 7) + seed);
    ck_assert_int_eq(client_region_write(c, BAR1, 0, bytes, BAR1_SIZE), 0);
}

static void expect_bar1(struct client *c, const uint8_t bytes[BAR1_SIZE])
{
    uint8_t got[BAR1_SIZE];

    ck_assert_int_eq(client_region_read(c, BAR1, 0, got, BAR1_SIZE), 0);
    ck_assert_mem_eq(got, bytes, BAR1_SIZE);
}

static void migrate(struct client *from, struct client *to, struct keep *a, struct keep *b)
{
    uint8_t bytes[BAR1_SIZE];
    uint64_t late = 0x1122334455667788ull;

    fill(from, bytes, 3);
    write_reg(from, REG_DMA_IOVA, 0x12345678, 8);
    set_state(to, RESUMING);
    set_state(from, PRE_COPY);
    carry(from, to, a, b);
    ck_assert_int_eq(client_region_write(from, BAR1, 5000, &late, 8), 0);
    memcpy(bytes + 5000, &late, 8);
    set_state(from, STOP_COPY);
    carry(from, to, a, b);
    set_state(to, STOP);
    set_state(to, RUNNING);
    ck_assert_uint_eq(read_reg(to, REG_DMA_IOVA, 8), 0x12345678);
    expect_bar1(to, bytes);
    set_state(from, STOP);
    set_state(from, RUNNING);
    expect_bar1(from, bytes);
}

static void run_migration(bool often)
{
    struct keep *a = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct keep *b = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct client *from;
    struct client *to;
    int fds[2];

    from = attach(a, &fds[0]);
    to = attach(b, &fds[1]);
    if (often) {
        keep_restart_often(a, SIGKILL, 60, 4000, 1);
        keep_restart_often(b, SIGKILL, 60, 4000, 2);
    }
    do
        migrate(from, to, often ? NULL : a, often ? NULL : b);
    while (often && (keep_restarting(a) || keep_restarting(b)));
    if (often) {
        keep_restarted(a);
        keep_restarted(b);
    }
    client_free(from);
    client_free(to);
    close(fds[0]);
    close(fds[1]);
    keep_stop(a);
    keep_stop(b);
}

START_TEST(migration)
{
    run_migration(_i == 1);
}
END_TEST

/*
 * A stopped device
 */

START_TEST(stopped)
{
    struct keep *k = keep_start(NULL, NULL, KEEP_STORE_MAX);
    const uint64_t rings = 3;
    struct vfio_user_io_fd entry;
    uint64_t count = 0;
    unsigned nfds = 2;
    struct client *c;
    uint32_t state = 0;
    int fds[2];
    unsigned n;
    int intx;

    c = attach(k, &intx);
    ck_assert_int_eq(client_get_region_io_fds(c, 0, &entry, 1, &n, fds, &nfds), 0);
    write_reg(c, REG_TIMER_NSEC, 1, 8);
    ck_assert_int_eq(read(intx, &count, sizeof(count)), sizeof(count));
    write_reg(c, REG_IRQ_STATUS, 7, 4);
    set_state(c, STOP);
    ck_assert_int_eq(write(fds[0], &rings, sizeof(rings)), sizeof(rings));
    for (int i = 0; i < 2000 && poll(&(struct pollfd) { .fd = fds[0], .events = POLLIN }, 1, 0);
         i++)
        usleep(1000); /* until the rings are taken, and held */
    restart(k);
    ck_assert_int_eq(client_mig_get_state(c, &state), 0);
    ck_assert_uint_eq(state, STOP);
    ck_assert_uint_eq(read_reg(c, REG_DOORBELL_CNT, 4), 0);
    ck_assert_int_eq(client_region_write(c, 0, REG_IRQ_STATUS, &state, 4), -EBUSY);
    ck_assert_int_eq(write(fds[0], &rings, sizeof(rings)), sizeof(rings));
    restart(k);
    set_state(c, RUNNING);
    ck_assert_uint_eq(read_reg(c, REG_DOORBELL_CNT, 4), 6);
    close(fds[0]);
    close(fds[1]);
    close(intx);
    client_free(c);
    keep_stop(k);
}
END_TEST

/*
 * The log of writes
 */

static int log_start(struct client *c)
{
    struct {
        struct vfio_user_dma_logging_control control;
        struct vfio_device_feature_dma_logging_range range;
    } start = { { .page_size = PAGE, .num_ranges = 1 }, { 0, 64 * PAGE } };

    return client_feature_set(c, LOG_START, &start, sizeof(start));
}

static uint64_t log_report(struct client *c)
{
    struct vfio_user_dma_logging_report ask = { 0, 64 * PAGE, PAGE };
    struct {
        struct vfio_user_dma_logging_report report;
        uint64_t bits;
    } reply;
    size_t got;

    ck_assert_int_eq(
        client_feature_get(c, LOG_REPORT, &ask, sizeof(ask), &reply, sizeof(reply), &got), 0);
    ck_assert_uint_eq(got, sizeof(reply));
    return reply.bits;
}

static void write_page(struct client *c, int intx, unsigned page)
{
    uint64_t count = 0;

    write_reg(c, REG_IRQ_STATUS, 7, 4);
    write_reg(c, REG_DMA_IOVA, page * PAGE, 8);
    write_reg(c, REG_DMA_LENGTH, 100, 4);
    write_reg(c, REG_DMA_CONTROL, 2, 4);
    ck_assert_int_eq(read(intx, &count, sizeof(count)), sizeof(count));
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
}

START_TEST(written_pages)
{
    struct keep *k = keep_start(NULL, NULL, KEEP_STORE_MAX);
    int memory = memfd_create("guest", MFD_CLOEXEC);
    struct client *c;
    int intx;

    c = attach(k, &intx);
    ck_assert_int_eq(ftruncate(memory, 64 * PAGE), 0);
    ck_assert_int_eq(client_dma_map(c, 0, 64 * PAGE, RW, memory, 0), 0);
    ck_assert_int_eq(log_start(c), 0);
    write_page(c, intx, 3);
    restart(k);
    ck_assert_uint_ne(log_report(c) & 1u << 3, 0); /* and maybe others */
    ck_assert_uint_eq(log_report(c), 0);
    write_page(c, intx, 5);
    ck_assert_uint_eq(log_report(c), 1u << 5);
    ck_assert_int_eq(log_start(c), -EBUSY);
    restart(k);
    ck_assert_int_eq(log_start(c), -EBUSY);
    ck_assert_int_eq(client_feature_set(c, LOG_STOP, NULL, 0), 0);
    restart(k);
    ck_assert_int_eq(client_feature_set(c, LOG_STOP, NULL, 0), -EINVAL);
    close(memory);
    close(intx);
    client_free(c);
    keep_stop(k);
}
END_TEST

/*
 * DMA by message
 */

struct guest {
    uint8_t page[PAGE];
    unsigned writes;
};

static int write_guest(void *opaque, uint64_t address, const void *data, uint64_t count)
{
    struct guest *g = opaque;

    memcpy(g->page + address % PAGE, data, count);
    g->writes++;
    return 0;
}

/* What was not answered is asked again, and the first answer is nobody's. */
START_TEST(an_answer_to_the_dead)
{
    struct keep *k = keep_start(NULL, NULL, KEEP_STORE_MAX);
    static struct guest g;
    const struct client_memory memory = { .opaque = &g, .write = write_guest };
    const uint32_t command = 2;
    uint8_t bytes[BAR1_SIZE];
    uint64_t count = 0;
    struct client *c;
    int intx;

    c = attach(k, &intx);
    client_set_memory(c, &memory);
    fill(c, bytes, 9);
    ck_assert_int_eq(client_dma_map(c, 0, PAGE, RW, -1, 0), 0);
    write_reg(c, REG_DMA_LENGTH, PAGE, 4);
    ck_assert_int_eq(client_region_post(c, 0, REG_DMA_CONTROL, &command, 4), 0);
    ck_assert_int_eq(
        poll(&(struct pollfd) { .fd = stream_fd(client_stream(c)), .events = POLLIN }, 1, 2000), 1);
    restart(k);
    restart(k);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 1);
    ck_assert_int_eq(client_serve(c, intx, 2000), 0);
    ck_assert_int_eq(read(intx, &count, sizeof(count)), sizeof(count));
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
    ck_assert_mem_eq(g.page, bytes, PAGE);
    ck_assert_uint_eq(g.writes, 3);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 1);
    ck_assert_msg(keep_log_has(k, "late: dropped"), "%s", keep_log(k));
    ck_assert(!keep_log_has(k, "that was not asked for"));
    close(intx);
    client_free(c);
    keep_stop(k);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keep_stages");
    TCase *tc = tcase_create("keep_stages");

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, migration, 0, 2);
    tcase_add_test(tc, stopped);
    tcase_add_test(tc, written_pages);
    tcase_add_test(tc, an_answer_to_the_dead);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
