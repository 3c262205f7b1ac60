/* SPDX-License-Identifier: BSD-3-Clause */
/* A daemon that is killed at rest: all that a client can see of the device is as it was. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "integration/keep_kit.h"
#include "integration/live_kit.h"
#include "suite.h"

#define BAR1        VFIO_PCI_BAR1_REGION_INDEX
#define BAR2        VFIO_PCI_BAR2_REGION_INDEX
#define INTX        VFIO_PCI_INTX_IRQ_INDEX
#define MSI         VFIO_PCI_MSI_IRQ_INDEX
#define MSIX        VFIO_PCI_MSIX_IRQ_INDEX
#define RW          (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define MASK        (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK)
#define REG_BELL    0x800
#define REG_COUNT   0x804
#define REG_TRAPPED 0x808
#define PMCSR       0x44
#define BAR1_SIZE   16384u
#define PAGE        4096u

#define DESCRIPTION                                                                             \
    "{\"pci\":{\"capabilities\":[{\"kind\":\"pm\",\"offset\":\"0x40\",\"no_soft_reset\":true}," \
    "{\"kind\":\"msi\",\"vectors\":4},{\"kind\":\"msix\",\"vectors\":4,\"bar\":2}]}}"

static struct keep *begin(struct client **c)
{
    struct keep *k = keep_start_described(DESCRIPTION, KEEP_STORE_MAX);

    *c = keep_connect(k);
    set_bus_master(*c);
    return k;
}

static void end(struct keep *k, struct client *c)
{
    client_free(c);
    keep_stop(k);
}

static void restart(struct keep *k)
{
    ck_assert_msg(keep_restart(k, SIGKILL), "%s", keep_log(k));
    ck_assert_msg(!keep_log_has(k, "is not used, and kept"), "%s", keep_log(k));
}

static int64_t real_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* How often it was signalled, within ms. */
static uint64_t signals(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t count = 0;

    if (poll(&p, 1, ms) == 1)
        ck_assert_int_eq(read(fd, &count, sizeof(count)), sizeof(count));
    return count;
}

/* Once, and not again when the daemon has dealt with all that came before. */
static void expect_one(struct client *c, int fd)
{
    ck_assert_uint_eq(signals(fd, 2000), 1);
    read_reg(c, REG_IRQ_COUNT, 8);
    ck_assert_uint_eq(signals(fd, 0), 0);
}

/*
 * What can be read
 */

struct image {
    uint8_t config[4096];
    uint8_t bar1[BAR1_SIZE];
    uint8_t msix[PAGE];
    uint64_t wide[4];
    uint32_t narrow[6];
    uint32_t config_size;
};

static void look(struct client *c, struct image *out)
{
    static const uint64_t wide[] = { REG_IRQ_COUNT, REG_DMA_IOVA, REG_DMA_OFFSET, REG_FIRED_NSEC };
    static const uint64_t narrow[] = { REG_IRQ_STATUS, REG_IRQ_ENABLE, REG_DMA_LENGTH,
                                       REG_BELL,       REG_COUNT,      REG_TRAPPED };
    struct vfio_region_info *info;
    int fd;

    memset(out, 0, sizeof(*out));
    ck_assert_int_eq(client_get_region_info(c, CONFIG, &info, &fd), 0);
    out->config_size = (uint32_t)info->size;
    free(info);
    ck_assert_int_eq(client_region_read(c, CONFIG, 0, out->config, out->config_size), 0);
    ck_assert_int_eq(client_region_read(c, BAR1, 0, out->bar1, BAR1_SIZE), 0);
    ck_assert_int_eq(client_region_read(c, BAR2, 0, out->msix, PAGE), 0);
    for (unsigned i = 0; i < 4; i++)
        out->wide[i] = read_reg(c, wide[i], 8);
    for (unsigned i = 0; i < 6; i++)
        out->narrow[i] = (uint32_t)read_reg(c, narrow[i], 4);
}

static void write_all(struct client *c)
{
    uint8_t bytes[BAR1_SIZE];
    uint32_t bar = 0xfebf0000;
    uint32_t entry[4] = { 0xfee00000, 0, 0x4041, 1 };
    uint8_t line = 11;

    for (unsigned i = 0; i < BAR1_SIZE; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    ck_assert_int_eq(client_region_write(c, BAR1, 0, bytes, BAR1_SIZE), 0);
    ck_assert_int_eq(client_region_write(c, CONFIG, 0x10, &bar, 4), 0);
    ck_assert_int_eq(client_region_write(c, CONFIG, 0x3c, &line, 1), 0);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(client_region_write(c, BAR2, 16 + 4 * i, &entry[i], 4), 0);
    write_reg(c, REG_TIMER_NSEC, 5, 8);
    write_reg(c, REG_DMA_IOVA, 0x123456789abcull, 8);
    write_reg(c, REG_DMA_OFFSET, 0x1111, 8);
    write_reg(c, REG_DMA_LENGTH, 0x222, 4);
    write_reg(c, REG_IRQ_ENABLE, 5, 4);
    write_reg(c, REG_BELL, 0x77, 4);
    write_reg(c, REG_TRAPPED, 0x88, 4);
}

START_TEST(all_that_can_be_read)
{
    struct client *c;
    struct keep *k = begin(&c);
    static struct image before;
    static struct image after;
    const uint32_t low = 0x55667788;
    const uint32_t high = 0x11223344;

    write_all(c);
    ck_assert_int_eq(client_region_write(c, 0, REG_DMA_IOVA, &low, 4), 0); /* its half */
    look(c, &before);
    for (unsigned i = 0; i < 3; i++) {
        restart(k);
        look(c, &after);
        ck_assert_mem_eq(&before, &after, sizeof(before));
    }
    ck_assert_int_eq(client_region_write(c, 0, REG_DMA_IOVA + 4, &high, 4), 0);
    ck_assert_uint_eq(read_reg(c, REG_DMA_IOVA, 8), 0x1122334455667788ull);
    end(k, c);
}
END_TEST

/* One value, whichever process reads its parts. */
START_TEST(a_register_read_in_halves)
{
    struct client *c;
    struct keep *k = begin(&c);
    uint64_t before = (uint64_t)real_now();
    uint64_t low;
    uint64_t value;

    low = read_reg(c, 0x40, 4);
    restart(k);
    usleep(2000);
    value = low | read_reg(c, 0x44, 4) << 32;
    ck_assert_uint_ge(value, before);
    ck_assert_uint_le(value, (uint64_t)real_now());
    end(k, c);
}
END_TEST

/*
 * Interrupts
 */

START_TEST(pending_while_masked)
{
    struct client *c;
    struct keep *k = begin(&c);
    int fd;

    ck_assert_int_eq(set_eventfds(c, INTX, 0, 1, &fd), 0);
    ck_assert_int_eq(client_set_irqs(c, MASK, INTX, 0, 1, NULL, NULL, 0), 0);
    write_reg(c, REG_TIMER_NSEC, 1, 8);
    restart(k);
    ck_assert_uint_eq(signals(fd, 20), 0);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 1);
    restart(k);
    ck_assert_int_eq(client_set_irqs(c, UNMASK, INTX, 0, 1, NULL, NULL, 0), 0);
    expect_one(c, fd);
    restart(k);
    ck_assert_uint_eq(signals(fd, 20), 0);
    close(fd);
    end(k, c);
}
END_TEST

START_TEST(pending_without_an_eventfd)
{
    struct client *c;
    struct keep *k = begin(&c);
    int fds[2];

    write_reg(c, REG_TIMER_NSEC, 1, 8);
    restart(k);
    ck_assert_int_eq(set_eventfds(c, INTX, 0, 1, fds), 0);
    expect_one(c, fds[0]);
    write_reg(c, REG_IRQ_STATUS, 1, 4);
    restart(k);
    ck_assert_int_eq(set_eventfds(c, MSI, 1, 1, fds + 1), 0); /* vector 0 has none */
    write_reg(c, REG_TIMER_NSEC, 1, 8);
    restart(k);
    close(fds[0]);
    ck_assert_int_eq(set_eventfds(c, MSI, 0, 1, fds), 0);
    expect_one(c, fds[0]);
    ck_assert_uint_eq(signals(fds[1], 0), 0);
    close(fds[0]);
    close(fds[1]);
    end(k, c);
}
END_TEST

/* MSI-X with a masked vector, which is seen in the pending bits. */
START_TEST(pending_in_msix)
{
    struct client *c;
    struct keep *k = begin(&c);
    const uint32_t masked = 1;
    const uint32_t unmasked = 0;
    uint64_t bits = 0;
    uint32_t at = 0;
    uint8_t id = 0;
    uint16_t control = 0x8000;
    int fds[4];

    ck_assert_int_eq(client_region_read(c, CONFIG, 0x34, &at, 1), 0);
    while (at != 0 && id != 0x11) {
        ck_assert_int_eq(client_region_read(c, CONFIG, at, &id, 1), 0);
        if (id != 0x11)
            ck_assert_int_eq(client_region_read(c, CONFIG, at + 1, &at, 1), 0);
    }
    ck_assert_uint_ne(at, 0);
    ck_assert_int_eq(set_eventfds(c, MSIX, 0, 4, fds), 0);
    ck_assert_int_eq(client_region_write(c, CONFIG, at + 2, &control, 2), 0);
    ck_assert_int_eq(client_region_write(c, BAR2, 12, &masked, 4), 0);
    write_reg(c, REG_TIMER_NSEC, 1, 8);
    restart(k);
    ck_assert_uint_eq(signals(fds[0], 20), 0);
    ck_assert_int_eq(client_region_read(c, BAR2, 0x800, &bits, 8), 0);
    ck_assert_uint_eq(bits, 1);
    ck_assert_int_eq(client_region_write(c, BAR2, 12, &unmasked, 4), 0);
    expect_one(c, fds[0]);
    restart(k);
    ck_assert_int_eq(client_region_read(c, BAR2, 0x800, &bits, 8), 0);
    ck_assert_uint_eq(bits, 0);
    for (unsigned i = 0; i < 4; i++)
        close(fds[i]);
    end(k, c);
}
END_TEST

START_TEST(in_d3hot)
{
    struct client *c;
    struct keep *k = begin(&c);
    const uint16_t d3 = 3;
    const uint16_t d0 = 0;
    uint16_t got = 0;
    int fd;

    ck_assert_int_eq(set_eventfds(c, INTX, 0, 1, &fd), 0);
    write_reg(c, REG_TIMER_NSEC, (uint64_t)real_now() + 20 * MS, 8);
    ck_assert_int_eq(client_region_write(c, CONFIG, PMCSR, &d3, 2), 0);
    restart(k);
    ck_assert_int_eq(client_region_read(c, CONFIG, PMCSR, &got, 2), 0);
    ck_assert_uint_eq(got & 3, 3);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), UINT64_MAX);
    ck_assert_uint_eq(signals(fd, 40), 0);
    restart(k);
    ck_assert_int_eq(client_region_write(c, CONFIG, PMCSR, &d0, 2), 0);
    expect_one(c, fd);
    close(fd);
    end(k, c);
}
END_TEST

/*
 * Deadlines
 */

START_TEST(a_deadline_in_the_gap)
{
    struct client *c;
    struct keep *k = begin(&c);
    int64_t deadline = real_now() + 20 * MS;
    int64_t began;
    int fd;

    ck_assert_int_eq(set_eventfds(c, INTX, 0, 1, &fd), 0);
    write_reg(c, REG_TIMER_NSEC, (uint64_t)deadline, 8);
    keep_kill(k, SIGKILL);
    usleep(40000);
    ck_assert_uint_eq(signals(fd, 0), 0);
    began = real_now();
    ck_assert(keep_go_on(k));
    ck_assert_uint_eq(signals(fd, 0), 1); /* it is out when the daemon is ready */
    ck_assert_int_ge((int64_t)read_reg(c, REG_FIRED_NSEC, 8), began);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 1);
    restart(k);
    ck_assert_uint_eq(signals(fd, 20), 0);
    close(fd);
    end(k, c);
}
END_TEST

START_TEST(a_deadline_behind_the_gap)
{
    struct client *c;
    struct keep *k = begin(&c);
    int64_t deadline = real_now() + 150 * MS;
    int fd;

    ck_assert_int_eq(set_eventfds(c, INTX, 0, 1, &fd), 0);
    write_reg(c, REG_TIMER_NSEC, (uint64_t)deadline, 8);
    restart(k);
    restart(k);
    ck_assert_int_lt(real_now(), deadline);
    ck_assert_uint_eq(signals(fd, 0), 0);
    expect_one(c, fd);
    ck_assert_int_ge((int64_t)read_reg(c, REG_FIRED_NSEC, 8), deadline);
    close(fd);
    end(k, c);
}
END_TEST

/* Deaths around it: also of the process that has just fired it, and not said that it is ready. */
START_TEST(deadlines_while_it_dies_early)
{
    unsigned times = getenv("TIMES") != NULL ? (unsigned)atoi(getenv("TIMES")) : 8;
    struct client *c;
    struct keep *k = begin(&c);
    int fd;

    ck_assert_int_eq(set_eventfds(c, INTX, 0, 1, &fd), 0);
    client_set_timeout(c, 20000);
    for (unsigned i = 0; i < times; i++) {
        write_reg(c, REG_IRQ_STATUS, 7, 4);
        write_reg(c, REG_TIMER_NSEC, (uint64_t)real_now() + 4 * MS, 8);
        keep_kill_early(k, 8, 12000, i);
        keep_restarted(k);
        ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), i + 1);
        ck_assert_uint_eq(signals(fd, 1000), 1);
    }
    close(fd);
    end(k, c);
}
END_TEST

/*
 * Clients
 */

START_TEST(no_client)
{
    struct client *c;
    struct keep *k = begin(&c);
    uint64_t value = 0x1234567890ull;
    uint64_t got = 0;

    ck_assert_int_eq(client_region_write(c, BAR1, 64, &value, 8), 0);
    write_reg(c, REG_TIMER_NSEC, (uint64_t)real_now() + 60 * MS, 8);
    client_free(c);
    for (int i = 0; i < 2000 && !keep_log_has(k, "detached"); i++)
        usleep(1000);
    restart(k);
    ck_assert(keep_log_has(k, "no client was attached"));
    usleep(80000);
    restart(k);
    c = keep_connect(k);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 1);
    ck_assert_int_eq(client_region_read(c, BAR1, 64, &got, 8), 0);
    ck_assert_uint_eq(got, value);
    end(k, c);
}
END_TEST

START_TEST(a_client_that_goes_meanwhile)
{
    struct client *c;
    struct keep *k = begin(&c);
    uint64_t value = 99;
    int fd;

    ck_assert_int_eq(set_eventfds(c, INTX, 0, 1, &fd), 0);
    ck_assert_int_eq(client_dma_map(c, 0, PAGE, RW, fd = memfd_create("m", MFD_CLOEXEC), 0), 0);
    ck_assert_int_eq(client_region_write(c, BAR1, 0, &value, 8), 0);
    keep_kill(k, SIGKILL);
    client_free(c);
    ck_assert(keep_go_on(k));
    c = keep_connect(k);
    ck_assert_int_eq(client_region_read(c, BAR1, 0, &value, 8), 0);
    ck_assert_uint_eq(value, 99);
    ck_assert_int_eq(client_dma_map(c, 0, PAGE, RW, fd, 0), 0);
    ck_assert_uint_eq(keep_held_role(k, "irq"), 0);
    ck_assert_uint_eq(keep_held_role(k, "dma"), 1);
    ck_assert_uint_eq(keep_held_role(k, "client"), 1);
    close(fd);
    end(k, c);
}
END_TEST

/* It waits at the socket, is told that there is a client, and the client is served. */
START_TEST(another_client_meanwhile)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *other;
    struct client *c;
    struct keep *k = begin(&c);

    write_reg(c, REG_TRAPPED, 5, 4);
    keep_kill(k, SIGKILL);
    ck_assert_int_eq(client_connect(keep_socket(k), &other), 0);
    ck_assert(keep_go_on(k));
    version_defaults(&ours);
    ck_assert_int_eq(client_negotiate(other, &ours, &theirs), -EBUSY);
    ck_assert_uint_eq(read_reg(c, REG_TRAPPED, 4), 5);
    client_free(other);
    end(k, c);
}
END_TEST

/*
 * What is held
 */

static unsigned open_fds(const struct keep *k)
{
    char path[32];
    unsigned n = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)keep_pid(k));
    dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static void use_fds(struct client *c, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        int memory = memfd_create("m", MFD_CLOEXEC);
        int fds[3];

        ck_assert_int_eq(ftruncate(memory, PAGE), 0);
        ck_assert_int_eq(client_dma_map(c, 0x10000, PAGE, RW, memory, 0), 0);
        ck_assert_int_eq(set_eventfds(c, MSI, 0, 3, fds), 0);
        ck_assert_int_eq(client_dma_unmap(c, 0x10000, PAGE, 0), 0);
        close(memory);
        for (unsigned j = 0; j < 3; j++)
            close(fds[j]);
    }
}

START_TEST(nothing_leaks)
{
    static const char *const roles[] = { "state", "bar", "client", "irq" };
    static const unsigned counts[] = { 1, 1, 1, 3 };
    unsigned times = getenv("TIMES") != NULL ? (unsigned)atoi(getenv("TIMES")) : 200;
    struct client *c;
    struct keep *k = begin(&c);
    unsigned fds;

    use_fds(c, 1);
    for (unsigned round = 0; round < 3; round++) {
        fds = open_fds(k);
        ck_assert_uint_eq(keep_held(k), 6);
        use_fds(c, times);
        for (unsigned i = 0; i < 4; i++)
            ck_assert_uint_eq(keep_held_role(k, roles[i]), counts[i]);
        ck_assert_uint_eq(keep_held(k), 6);
        ck_assert_uint_eq(open_fds(k), fds);
        restart(k);
        for (unsigned i = 0; i < 4; i++)
            ck_assert_uint_eq(keep_held_role(k, roles[i]), counts[i]);
    }
    end(k, c);
}
END_TEST

/* Before it has a state that is whole, nothing is lost, and nothing is in the way of the next. */
START_TEST(killed_before_the_first_is_ready)
{
    struct client *c;
    struct keep *k = begin(&c);

    client_free(c);
    for (unsigned i = 0; i < 40; i++) {
        keep_kill(k, SIGKILL);
        keep_forget(k);
        keep_launch(k);
        usleep(i * 250);
        keep_kill(k, SIGKILL);
        ck_assert(keep_go_on(k));
        ck_assert_msg(!keep_log_has(k, "is not used, and kept"), "%s", keep_log(k));
    }
    c = keep_connect(k);
    end(k, c);
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *const *tests, unsigned n)
{
    TCase *tc = tcase_create(name);

    tcase_set_timeout(tc, 120);
    for (unsigned i = 0; i < n; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
}

#define ADD(suite, ...)                                                    \
    do {                                                                   \
        const TTest *const tests[] = { __VA_ARGS__ };                      \
        add(suite, #__VA_ARGS__, tests, sizeof(tests) / sizeof(tests[0])); \
    } while (0)

int main(void)
{
    Suite *suite = suite_create("keep_state");

    ADD(suite, all_that_can_be_read, a_register_read_in_halves);
    ADD(suite, pending_while_masked, pending_without_an_eventfd, pending_in_msix, in_d3hot);
    ADD(suite, a_deadline_in_the_gap, a_deadline_behind_the_gap, deadlines_while_it_dies_early);
    ADD(suite, no_client, a_client_that_goes_meanwhile, another_client_meanwhile);
    ADD(suite, nothing_leaks);
    ADD(suite, killed_before_the_first_is_ready);
    return run_suite(suite);
}
