/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A message that kills: once, and it is executed once and answered; twice, and it is answered with
 * EIO, and the daemon goes on. $VFIO_USERD_FAULT dies when BAR1 says so: see e2e/load/fault.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "e2e/load/fault.h"
#include "integration/keep_kit.h"
#include "integration/live_kit.h"
#include "suite.h"

#define BAR1             VFIO_PCI_BAR1_REGION_INDEX
#define INTX             VFIO_PCI_INTX_IRQ_INDEX
#define RW               (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define REG_TRAPPED      0x808
#define REG_DOORBELL_CNT 0x804
#define BAR1_SIZE        16384u
#define PAGE             4096u
#define PMCSR            0x44
#define WITH_PM \
    "{\"pci\":{\"capabilities\":[{\"kind\":\"pm\",\"offset\":\"0x40\",\"no_soft_reset\":false}]}}"

struct doomed {
    struct keep *k;
    struct client *c;
    int intx;
    uint32_t rings;
    uint64_t interrupts;
};

static void begin(struct doomed *d)
{
    *d = (struct doomed) { .k = keep_start("VFIO_USERD_FAULT", NULL, KEEP_STORE_MAX) };
    d->c = keep_connect(d->k);
    set_bus_master(d->c);
    ck_assert_int_eq(set_eventfds(d->c, INTX, 0, 1, &d->intx), 0);
}

static void end(struct doomed *d)
{
    client_free(d->c);
    close(d->intx);
    keep_stop(d->k);
}

/* The next command kills so often; after: when it has been executed. */
static void doom(struct doomed *d, uint32_t deaths, bool after)
{
    struct fault f = { .magic = FAULT_MAGIC, .deaths = deaths, .after = after };

    keep_follow(d->k, deaths);
    ck_assert_int_eq(client_region_write(d->c, BAR1, BAR1_SIZE - FAULT_FROM_END, &f, sizeof(f)), 0);
}

static void check_device(struct doomed *d)
{
    uint64_t count = 0;

    keep_restarted(d->k);
    ck_assert_uint_eq(read_reg(d->c, REG_DOORBELL_CNT, 4), d->rings);
    write_reg(d->c, REG_IRQ_STATUS, 7, 4);
    write_reg(d->c, REG_TIMER_NSEC, 1, 8);
    d->interrupts++;
    ck_assert_int_eq(read(d->intx, &count, sizeof(count)), sizeof(count));
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(read_reg(d->c, REG_IRQ_COUNT, 8), d->interrupts);
}

/*
 * Once
 */

static void ring(struct doomed *d)
{
    write_reg(d->c, REG_TRAPPED, 1, 4);
    d->rings++;
}

static void post(struct doomed *d)
{
    const uint32_t value = 2;

    ck_assert_int_eq(client_region_post(d->c, 0, REG_TRAPPED, &value, 4), 0);
    d->rings++;
}

static void ring_many(struct doomed *d)
{
    struct vfio_user_write_single w[3];
    uint64_t done = 0;

    for (unsigned i = 0; i < 3; i++)
        w[i] = (struct vfio_user_write_single) { .offset = REG_TRAPPED, .count = 4 };
    ck_assert_int_eq(client_write_multi(d->c, w, 3, &done), 0);
    ck_assert_uint_eq(done, 3);
    d->rings += 3;
}

/* The signal is out when the process dies behind the command. */
static void interrupt(struct doomed *d)
{
    uint64_t count = 0;

    write_reg(d->c, REG_TIMER_NSEC, 1, 8);
    d->interrupts++;
    ck_assert_int_eq(read(d->intx, &count, sizeof(count)), sizeof(count));
    ck_assert_uint_eq(count, 1);
}

static void change_eventfd(struct doomed *d)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    ck_assert_int_eq(client_set_irqs(d->c, TRIGGER_EVENTFD, INTX, 0, 1, NULL, &fd, 1), 0);
    close(d->intx);
    d->intx = fd;
}

static void map_and_write(struct doomed *d)
{
    static const char text[] = "what the device writes";
    int fd = memfd_create("guest", MFD_CLOEXEC);
    char got[sizeof(text)] = "";
    uint64_t count = 0;

    ck_assert_int_eq(ftruncate(fd, PAGE), 0);
    ck_assert_int_eq(client_dma_map(d->c, 0, PAGE, RW, fd, 0), 0);
    ck_assert_int_eq(client_region_write(d->c, BAR1, 0, text, sizeof(text)), 0);
    write_reg(d->c, REG_IRQ_STATUS, 7, 4);
    write_reg(d->c, REG_DMA_LENGTH, sizeof(text), 4);
    write_reg(d->c, REG_DMA_CONTROL, 2, 4);
    d->interrupts++;
    ck_assert_int_eq(read(d->intx, &count, sizeof(count)), sizeof(count));
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(pread(fd, got, sizeof(got), 0), sizeof(got));
    ck_assert_str_eq(got, text);
    ck_assert_int_eq(client_dma_unmap(d->c, 0, PAGE, 0), 0);
    close(fd);
}

static void get_memory(struct doomed *d)
{
    struct vfio_region_info *info;
    uint32_t value = 0;
    int fd;

    ck_assert_int_eq(client_get_region_info(d->c, BAR1, &info, &fd), 0);
    ck_assert_int_ge(fd, 0);
    free(info);
    ck_assert_int_eq(pread(fd, &value, sizeof(value), BAR1_SIZE - FAULT_FROM_END), sizeof(value));
    ck_assert_uint_eq(value, FAULT_MAGIC);
    close(fd);
}

static void set_config(struct doomed *d)
{
    const uint8_t line = 9;
    uint8_t got = 0;

    ck_assert_int_eq(client_region_write(d->c, CONFIG, 0x3c, &line, 1), 0);
    ck_assert_int_eq(client_region_read(d->c, CONFIG, 0x3c, &got, 1), 0);
    ck_assert_uint_eq(got, line);
}

static void (*const acts[])(struct doomed *d) = {
    ring, post, ring_many, interrupt, change_eventfd, map_and_write, get_memory, set_config,
};

#define N_ACTS 8

START_TEST(once)
{
    struct doomed d;

    begin(&d);
    for (unsigned i = 0; i < N_ACTS; i++) {
        write_reg(d.c, REG_IRQ_STATUS, 7, 4);
        doom(&d, 1, _i == 1);
        acts[i](&d);
        check_device(&d);
    }
    ck_assert(!keep_log_has(d.k, "it is not executed"));
    end(&d);
}
END_TEST

/* The way back to D0 resets the device: once and wholly, or, when it has killed twice, not at all.
 */
START_TEST(in_configuration_space)
{
    const struct fault f = {
        .magic = FAULT_MAGIC, .countdown = 1, .deaths = 1 + (uint32_t)_i, .after = 1
    };
    char path[] = "/tmp/vfio-userd-fault-json.XXXXXX";
    const char *const options[] = { "--config", path, NULL };
    const uint16_t d3 = 3;
    const uint16_t d0 = 0;
    struct doomed d = { 0 };
    int fd = mkstemp(path);
    uint16_t got = 0;

    ck_assert_int_eq(write(fd, WITH_PM, sizeof(WITH_PM) - 1), sizeof(WITH_PM) - 1);
    close(fd);
    d.k = keep_start("VFIO_USERD_FAULT", options, KEEP_STORE_MAX);
    d.c = keep_connect(d.k);
    write_reg(d.c, REG_TRAPPED, 7, 4);
    keep_follow(d.k, f.deaths);
    ck_assert_int_eq(client_region_write(d.c, BAR1, BAR1_SIZE - FAULT_FROM_END, &f, sizeof(f)), 0);
    ck_assert_int_eq(client_region_write(d.c, CONFIG, PMCSR, &d3, 2), 0);
    ck_assert_int_eq(client_region_write(d.c, CONFIG, PMCSR, &d0, 2), _i == 0 ? 0 : -EIO);
    keep_restarted(d.k);
    ck_assert_int_eq(client_region_read(d.c, CONFIG, PMCSR, &got, 2), 0);
    ck_assert_uint_eq(got & 3u, _i == 0 ? 0u : 3u);
    ck_assert_int_eq(client_region_write(d.c, CONFIG, PMCSR, &d0, 2), 0);
    ck_assert_uint_eq(read_reg(d.c, REG_TRAPPED, 4), 0);
    client_free(d.c);
    keep_stop(d.k);
    unlink(path);
}
END_TEST

/*
 * Twice
 */

START_TEST(twice)
{
    const uint32_t value = 0xabcdef12;
    struct doomed d;

    begin(&d);
    ring(&d);
    doom(&d, 2, _i == 1);
    ck_assert_int_eq(client_region_write(d.c, 0, REG_TRAPPED, &value, 4), -EIO);
    check_device(&d);
    ck_assert_uint_eq(read_reg(d.c, REG_TRAPPED, 4), 1);
    ck_assert_msg(keep_log_has(d.k, "REGION_WRITE, id"), "%s", keep_log(d.k));
    ck_assert(keep_log_has(d.k, "has ended this daemon 2 times: it is not executed"));
    ck_assert_msg(keep_log_has(d.k, " 12 ef cd ab"), "%s", keep_log(d.k));
    ring(&d);
    doom(&d, 1, _i == 1); /* its count begins anew */
    ring(&d);
    check_device(&d);
    end(&d);
}
END_TEST

/* Nobody waits for an answer, and the next message has its own. */
START_TEST(twice_without_a_reply)
{
    const uint32_t value = 5;
    struct doomed d;

    begin(&d);
    doom(&d, 2, false);
    ck_assert_int_eq(client_region_post(d.c, 0, REG_TRAPPED, &value, 4), 0);
    ring(&d);
    check_device(&d);
    ck_assert_uint_eq(read_reg(d.c, REG_TRAPPED, 4), 1);
    ck_assert(keep_log_has(d.k, "has ended this daemon 2 times: it is not executed"));
    end(&d);
}
END_TEST

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

int main(void)
{
    Suite *suite;
    TCase *tc;

    if (SANITIZED) {
        puts("skipped: a sanitizer ends the process in its own way");
        return 77;
    }
    suite = suite_create("keep_fault");
    tc = tcase_create("keep_fault");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, once, 0, 2);
    tcase_add_loop_test(tc, in_configuration_space, 0, 2);
    tcase_add_loop_test(tc, twice, 0, 2);
    tcase_add_test(tc, twice_without_a_reply);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
