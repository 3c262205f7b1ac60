/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "device/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit/fakes.h"

#define BAR0   VFIO_PCI_BAR0_REGION_INDEX
#define BAR1   VFIO_PCI_BAR1_REGION_INDEX
#define CONFIG VFIO_PCI_CONFIG_REGION_INDEX
#define INTX   VFIO_PCI_INTX_IRQ_INDEX
#define REQ    VFIO_PCI_REQ_IRQ_INDEX

#define TRIGGER VFIO_IRQ_SET_ACTION_TRIGGER
#define PAGE    4096u
#define S       FAKE_NS_PER_S

/* BAR0's registers. */
enum {
    TIMER_NSEC = 0x008,
    IRQ_STATUS = 0x010,
    DMA_IOVA = 0x020,
    DMA_OFFSET = 0x028,
    DMA_LENGTH = 0x030,
    DMA_CONTROL = 0x034,
    DOORBELL = 0x800,
};

/* Configuration space, with full_description's capabilities. */
enum { COMMAND = 0x04, STATUS = 0x06, PMCSR = 0x44, DEVICE_CONTROL = 0x68 };

#define DMA_ERROR(e) (0x80000000u + (unsigned)(e))

struct machine {
    struct fake_host host;
    struct device_description d;
    struct device *dev;
    int line;
};

static void full_description(struct device_description *d)
{
    description_default(d);
    d->pci.caps[1] = (struct pci_cap_description) {
        .kind = PCI_CAP_KIND_MSI, .vectors = 4, .address64 = true, .maskable = true
    };
    d->pci.caps[2] = (struct pci_cap_description) { .kind = PCI_CAP_KIND_EXPRESS, .flr = true };
    d->pci.n_caps = 3;
}

static void machine_start(struct machine *m)
{
    fake_host_init(&m->host);
    m->dev = fake_device(&m->host, &m->d);
    m->line = fake_eventfd();
}

static void machine_init(struct machine *m)
{
    full_description(&m->d);
    machine_start(m);
    fake_give_eventfd(device_irq(m->dev), TRIGGER, INTX, 0, m->line);
}

static void machine_fini(struct machine *m)
{
    device_free(m->dev);
    fake_host_fini(&m->host);
    description_fini(&m->d);
    close(m->line);
}

static uint64_t reg(struct machine *m, uint64_t offset)
{
    return fake_get(m->dev, BAR0, offset, 4);
}

static void map_file(struct machine *m, uint64_t iova, uint64_t size, int fd)
{
    int copy = fd >= 0 ? dup(fd) : -1;

    ck_assert_int_eq(dma_map(device_dma(m->dev), iova, size,
                             VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, &copy, 0),
                     0);
}

START_TEST(regions_are_described)
{
    struct device_region r;
    struct machine m;

    machine_init(&m);
    for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
        uint64_t size = i == BAR0 ? 4096 : i == BAR1 ? 16384 : i == CONFIG ? 4096 : 0;

        ck_assert_int_eq(device_region(m.dev, i, &r), 0);
        ck_assert_uint_eq(r.size, size);
        ck_assert_uint_eq(r.flags, i == BAR1 ? 7 : size > 0 ? 3 : 0);
        ck_assert_int_eq(r.fd >= 0, i == BAR1);
        ck_assert_uint_eq(r.n_areas, i == BAR1 ? 2 : 0);
    }
    ck_assert_int_eq(device_region(m.dev, VFIO_PCI_NUM_REGIONS, &r), -EINVAL);
    ck_assert_int_eq(device_region(m.dev, UINT32_MAX, &r), -EINVAL);
    machine_fini(&m);
}
END_TEST

START_TEST(ranges_must_be_inside)
{
    static const struct {
        uint32_t region;
        uint64_t offset;
        uint32_t count;
        int err;
    } accesses[] = {
        { BAR0, 4096, 4, -EINVAL },
        { BAR0, UINT64_MAX - 3, 4, -EINVAL },
        { BAR0, UINT64_MAX - 7, 8, -EINVAL },
        { BAR0, UINT64_MAX, 1, -EINVAL },
        { BAR0, 0x100, 4, -EINVAL },
        { BAR0, 1ull << 32, 4, -EINVAL },
        { BAR0, 0, 8, 0 },
        { BAR1, 16383, 1, 0 },
        { BAR1, 16383, 2, -EINVAL },
        { BAR1, 16384, 1, -EINVAL },
        { BAR1, 0, 16384, 0 },
        { BAR1, 0, 16385, -EINVAL },
        { BAR1, 1, 16384, -EINVAL },
        { BAR1, UINT64_MAX, 2, -EINVAL },
        { BAR1, 5, UINT32_MAX, -EINVAL },
        { CONFIG, 4095, 1, 0 },
        { CONFIG, 4095, 2, -EINVAL },
        { CONFIG, UINT64_MAX - 1, 4, -EINVAL },
        { CONFIG, 0, 4096, 0 },
        { VFIO_PCI_BAR2_REGION_INDEX, 0, 1, -EINVAL },
        { VFIO_PCI_BAR5_REGION_INDEX, 0, 0, -EINVAL },
        { VFIO_PCI_ROM_REGION_INDEX, 0, 1, -EINVAL },
        { VFIO_PCI_VGA_REGION_INDEX, 0, 1, -EINVAL },
        { VFIO_PCI_NUM_REGIONS, 0, 1, -EINVAL },
        { 0xdeadbeef, 0, 1, -EINVAL },
    };
    static uint8_t bytes[32768];
    struct device_state *before = malloc(sizeof(*before));
    struct machine m;

    machine_init(&m);
    memcpy(before, device_state(m.dev), sizeof(*before));
    for (size_t i = 0; i < ARRAY_SIZE(accesses); i++) {
        int err =
            device_read(m.dev, accesses[i].region, accesses[i].offset, bytes, accesses[i].count);

        ck_assert_msg(err == accesses[i].err, "row %zu: read: %d", i, err);
        if (err == 0) {
            memcpy(before, device_state(m.dev), sizeof(*before));
            continue;
        }
        err = device_write(m.dev, accesses[i].region, accesses[i].offset, bytes, accesses[i].count);
        ck_assert_msg(err == accesses[i].err, "row %zu: write: %d", i, err);
        ck_assert_mem_eq(device_state(m.dev), before, sizeof(*before));
    }
    machine_fini(&m);
    free(before);
}
END_TEST

START_TEST(bar1_is_the_memory_that_is_shared)
{
    struct device_region r;
    struct machine m;
    uint8_t *shared;

    machine_init(&m);
    ck_assert_int_eq(device_region(m.dev, BAR1, &r), 0);
    shared = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    fake_put(m.dev, BAR1, 4093, 8, 0x1122334455667788); /* any alignment */
    ck_assert_uint_eq(shared[4093], 0x88);
    ck_assert_uint_eq(shared[4100], 0x11);
    shared[16383] = 0x42;
    ck_assert_uint_eq(fake_get(m.dev, BAR1, 16382, 2), 0x4200);
    ck_assert_int_ne(ftruncate(r.fd, 0), 0); /* sealed */
    ck_assert_int_ne(ftruncate(r.fd, 1 << 20), 0);
    munmap(shared, r.size);
    machine_fini(&m);
}
END_TEST

START_TEST(without_areas_bar1_is_not_shared)
{
    struct device_region r;
    struct machine m;

    full_description(&m.d);
    m.d.bar1.n_areas = 0;
    machine_start(&m);
    ck_assert_int_eq(device_region(m.dev, BAR1, &r), 0);
    ck_assert_uint_eq(r.flags, 3);
    ck_assert_int_eq(r.fd, -1);
    machine_fini(&m);
}
END_TEST

START_TEST(d3hot_hides_the_bars)
{
    struct machine m;

    machine_init(&m);
    fake_put(m.dev, BAR1, 0, 4, 0x12345678);
    fake_put(m.dev, BAR0, DOORBELL, 4, 0x55);
    fake_put(m.dev, CONFIG, PMCSR, 2, 3);
    ck_assert(!device_in_d0(m.dev));
    ck_assert_uint_eq(fake_get(m.dev, BAR0, DOORBELL, 4), 0xffffffff);
    ck_assert_uint_eq(fake_get(m.dev, BAR1, 0, 8), UINT64_MAX);
    fake_put(m.dev, BAR0, DOORBELL, 4, 0x66);
    fake_put(m.dev, BAR1, 0, 4, 0x66);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, 0, 4), 0xbeefdead);
    fake_put(m.dev, CONFIG, 0x3c, 1, 11);
    fake_put(m.dev, CONFIG, PMCSR, 2, 0);
    ck_assert_uint_eq(fake_get(m.dev, BAR0, DOORBELL, 4), 0x55);
    ck_assert_uint_eq(fake_get(m.dev, BAR1, 0, 4), 0x12345678);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, 0x3c, 1), 11);
    machine_fini(&m);
}
END_TEST

START_TEST(interrupts_wait_for_d0)
{
    struct machine m;
    enum irq_delivery how;

    machine_init(&m);
    fake_put(m.dev, CONFIG, PMCSR, 2, 3);
    ck_assert_int_eq(device_trigger_irq(m.dev, INTX, 0, &how), 0);
    ck_assert_int_eq(how, IRQ_PENDING_POWER);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, STATUS, 2) & 8, 0); /* level: in D0 only */
    ck_assert_uint_eq(fake_signals(m.line), 0);
    fake_put(m.dev, CONFIG, PMCSR, 2, 0);
    ck_assert_uint_eq(fake_signals(m.line), 1);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, STATUS, 2) & 8, 8);
    /* INTx Disable: the way of uio_pci_generic. */
    fake_put(m.dev, CONFIG, COMMAND, 2, 0x400);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, STATUS, 2) & 8, 8);
    fake_put(m.dev, CONFIG, COMMAND, 2, 0);
    ck_assert_uint_eq(fake_signals(m.line), 1);
    fake_put(m.dev, BAR0, IRQ_STATUS, 4, 2);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, STATUS, 2) & 8, 0);
    ck_assert_int_eq(device_trigger_irq(m.dev, INTX, 1, &how), -EINVAL);
    ck_assert_int_eq(device_trigger_irq(m.dev, 7, 0, &how), -EINVAL);
    machine_fini(&m);
}
END_TEST

START_TEST(without_no_soft_reset_d0_is_uninitialised)
{
    struct machine m;

    full_description(&m.d);
    m.d.pci.caps[0].no_soft_reset = false;
    machine_start(&m);
    fake_put(m.dev, BAR0, DOORBELL, 4, 0x55);
    fake_put(m.dev, CONFIG, COMMAND, 2, 6);
    fake_put(m.dev, CONFIG, 0x10, 4, 0xfe000000);
    fake_put(m.dev, CONFIG, PMCSR, 2, 3);
    fake_put(m.dev, CONFIG, PMCSR, 2, 0);
    ck_assert(device_in_d0(m.dev));
    ck_assert_uint_eq(fake_get(m.dev, BAR0, DOORBELL, 4), 0);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, COMMAND, 2), 0);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, 0x10, 4), 0);
    machine_fini(&m);
}
END_TEST

/* Which reset, and whether BAR1 is cleared by it. */
START_TEST(reset_is_power_on_but_for_bar1)
{
    bool by_flr = (_i & 1) != 0;
    bool clear = (_i & 2) != 0;
    struct device_state *initial = malloc(sizeof(*initial));
    struct machine m;

    full_description(&m.d);
    m.d.bar1.clear_on_reset = clear;
    machine_start(&m);
    memcpy(initial, device_state(m.dev), sizeof(*initial));
    fake_give_eventfd(device_irq(m.dev), TRIGGER, INTX, 0, m.line);
    map_file(&m, 0, PAGE, -1);
    fake_put(m.dev, BAR1, 8192, 4, 0x12345678);
    fake_put(m.dev, CONFIG, COMMAND, 2, 0x6);
    fake_put(m.dev, BAR0, DMA_LENGTH, 4, 8);
    fake_put(m.dev, BAR0, DMA_CONTROL, 4, 2); /* by message, under way */
    ck_assert_uint_eq(m.host.n_sent, 1);
    fake_put(m.dev, BAR0, TIMER_NSEC, 8, FAKE_START_TIME + S);
    fake_set_time(&m.host, m.dev, FAKE_START_TIME + 2 * S);
    fake_put(m.dev, BAR0, TIMER_NSEC, 8, FAKE_START_TIME + 9 * S);
    ck_assert_uint_eq(fake_signals(m.line), 1);
    if (by_flr)
        fake_put(m.dev, CONFIG, DEVICE_CONTROL, 2, 0x8000);
    else
        device_reset(m.dev, DEVICE_RESET_BY_CLIENT);
    ck_assert_mem_eq(device_state(m.dev), initial, sizeof(*initial));
    ck_assert_uint_eq(fake_get(m.dev, BAR1, 8192, 4), clear ? 0 : 0x12345678);
    ck_assert_int_eq(m.host.deadline, 0);
    dma_message_done(device_dma(m.dev), m.host.sent[0].tag, 0, NULL, 0);
    ck_assert_uint_eq(reg(&m, IRQ_STATUS), 0);
    fake_put(m.dev, BAR0, TIMER_NSEC, 8, 1); /* the eventfd is still there */
    ck_assert_uint_eq(fake_signals(m.line), 1);
    machine_fini(&m);
    free(initial);
}
END_TEST

/*
 * The DMA engine
 */

static uint32_t run_engine(struct machine *m, uint32_t command, uint64_t iova, uint64_t offset,
                           uint32_t length)
{
    fake_put(m->dev, BAR0, IRQ_STATUS, 4, 7);
    fake_put(m->dev, BAR0, DMA_IOVA, 8, iova);
    fake_put(m->dev, BAR0, DMA_OFFSET, 8, offset);
    fake_put(m->dev, BAR0, DMA_LENGTH, 4, length);
    fake_put(m->dev, BAR0, DMA_CONTROL, 4, command);
    return (uint32_t)reg(m, DMA_CONTROL);
}

START_TEST(the_engine_copies)
{
    int fd = fake_memfd(2 * PAGE, 5);
    uint8_t bytes[4];
    struct machine m;

    machine_init(&m);
    fake_put(m.dev, CONFIG, COMMAND, 2, 4);
    map_file(&m, 0x100000, 2 * PAGE, fd);
    ck_assert_uint_eq(run_engine(&m, 1, 0x100000 + 3, 16380, 4), 0);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(fake_get(m.dev, BAR1, 16380 + i, 1), (uint8_t)((3 + i) * 7 + 5));
    ck_assert_uint_eq(reg(&m, IRQ_STATUS), TIMER_IRQ_DMA);
    ck_assert_uint_eq(fake_signals(m.line), 1);
    fake_put(m.dev, BAR1, 0, 4, 0xa1b2c3d4);
    ck_assert_uint_eq(run_engine(&m, 2, 0x100000 + PAGE, 0, 4), 0);
    ck_assert_int_eq(pread(fd, bytes, 4, PAGE), 4);
    ck_assert_mem_eq(bytes, "\xd4\xc3\xb2\xa1", 4);
    ck_assert_uint_eq(run_engine(&m, 1, 0, 16384, 0), 0); /* nothing */
    machine_fini(&m);
    close(fd);
}
END_TEST

START_TEST(the_engine_tells_why_not)
{
    static const struct {
        uint32_t command;
        uint64_t iova, offset;
        uint32_t length;
        int err;
    } rows[] = {
        { 0, 0, 0, 4, EINVAL },          { 3, 0, 0, 4, EINVAL },
        { 0x80000000, 0, 0, 4, EINVAL }, { 1, 0, 16384, 1, ERANGE },
        { 1, 0, 16380, 5, ERANGE },      { 2, 0, UINT64_MAX, 1, ERANGE },
        { 1, 0, 0, UINT32_MAX, ERANGE }, { 1, PAGE, 0, 4, EFAULT },
        { 1, PAGE - 1, 0, 2, EFAULT },   { 1, UINT64_MAX, 0, 2, EFAULT },
        { 2, UINT64_MAX, 0, 1, EFAULT },
    };
    int fd = fake_memfd(PAGE, 0);
    struct machine m;

    machine_init(&m);
    map_file(&m, 0, PAGE, fd);
    ck_assert_uint_eq(run_engine(&m, 1, 0, 0, 4), DMA_ERROR(ENODEV)); /* no Bus Master */
    ck_assert_uint_eq(reg(&m, IRQ_STATUS), TIMER_IRQ_DMA);
    fake_put(m.dev, CONFIG, COMMAND, 2, 4);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint32_t control =
            run_engine(&m, rows[i].command, rows[i].iova, rows[i].offset, rows[i].length);

        ck_assert_msg(control == DMA_ERROR(rows[i].err), "row %zu: %x", i, control);
        ck_assert_uint_eq(reg(&m, IRQ_STATUS), TIMER_IRQ_DMA);
    }
    ck_assert_uint_eq(run_engine(&m, 1, 0, 0, 4), 0); /* it works after an error */
    machine_fini(&m);
    close(fd);
}
END_TEST

START_TEST(a_busy_engine_takes_no_command)
{
    const uint32_t command = 1;
    struct machine m;

    machine_init(&m);
    fake_put(m.dev, CONFIG, COMMAND, 2, 4);
    map_file(&m, 0, PAGE, -1);
    ck_assert_uint_eq(run_engine(&m, 1, 0, 0, 8), 1);
    ck_assert_uint_eq(reg(&m, IRQ_STATUS), 0);
    ck_assert_int_eq(device_write(m.dev, BAR0, DMA_CONTROL, &command, 4), -EBUSY);
    ck_assert_uint_eq(m.host.n_sent, 1);
    dma_message_done(device_dma(m.dev), m.host.sent[0].tag, 0, (const uint8_t *)"12345678", 8);
    ck_assert_uint_eq(reg(&m, DMA_CONTROL), 0);
    ck_assert_uint_eq(reg(&m, IRQ_STATUS), TIMER_IRQ_DMA);
    ck_assert_uint_eq(fake_get(m.dev, BAR1, 0, 8), 0x3837363534333231);
    ck_assert_uint_eq(run_engine(&m, 1, 0, 0, 8), 1);
    device_drop_client(m.dev); /* it ends when the client goes */
    ck_assert_uint_eq(reg(&m, DMA_CONTROL), DMA_ERROR(ECANCELED));
    machine_fini(&m);
}
END_TEST

/* The first region is reached by message although it has a file, the second one directly. */
START_TEST(the_self_test_writes_and_reads_both_ways)
{
    int one = fake_memfd(PAGE, 0);
    int two = fake_memfd(PAGE, 1);
    uint8_t direct[PAGE];
    struct machine m;

    full_description(&m.d);
    m.d.dma_on_irq = true;
    machine_start(&m); /* and without Bus Master */
    map_file(&m, 0x200000, PAGE, two);
    map_file(&m, 0x100000, PAGE, one);
    fake_put(m.dev, BAR0, TIMER_NSEC, 8, 1);
    ck_assert_uint_eq(m.host.n_sent, 1);
    ck_assert_uint_eq(m.host.sent[0].iova, 0x100000);
    ck_assert_uint_eq(m.host.sent[0].len, PAGE);
    ck_assert_int_eq(pread(two, direct, PAGE, 0), PAGE);
    ck_assert_mem_eq(direct, m.host.sent[0].data, PAGE); /* the same bytes both ways */
    dma_message_done(device_dma(m.dev), m.host.sent[0].tag, 0, NULL, 0);
    ck_assert_uint_eq(m.host.n_sent, 2);
    ck_assert_ptr_null(m.host.sent[1].data); /* the read */
    ck_assert_uint_eq(m.host.sent[1].iova, 0x100000);
    fake_put(m.dev, BAR0, TIMER_NSEC, 8, 1); /* not twice at a time */
    ck_assert_uint_eq(m.host.n_sent, 2);
    dma_message_done(device_dma(m.dev), m.host.sent[1].tag, 0, direct, PAGE);
    ck_assert_uint_eq(m.host.n_sent, 2);
    fake_put(m.dev, BAR0, TIMER_NSEC, 8, 1); /* but after each interrupt */
    ck_assert_uint_eq(m.host.n_sent, 3);
    machine_fini(&m);
    close(one);
    close(two);
}
END_TEST

START_TEST(the_state_outlives_the_client)
{
    struct device_state *before = malloc(sizeof(*before));
    struct dma_info info;
    enum irq_delivery how;
    struct machine m;
    unsigned open_before;

    full_description(&m.d);
    machine_start(&m);
    open_before = fake_open_fds();
    fake_give_eventfd(device_irq(m.dev), TRIGGER, INTX, 0, m.line);
    map_file(&m, 0, PAGE, -1);
    fake_put(m.dev, CONFIG, COMMAND, 2, 6);
    fake_put(m.dev, BAR0, TIMER_NSEC, 8, FAKE_START_TIME + S);
    fake_put(m.dev, BAR0, DOORBELL, 4, 5);
    fake_put(m.dev, BAR1, 100, 4, 0x12345678);
    ck_assert_int_eq(device_trigger_irq(m.dev, REQ, 0, &how), 0);
    memcpy(before, device_state(m.dev), sizeof(*before));
    device_drop_client(m.dev);
    ck_assert_mem_eq(device_state(m.dev), before, sizeof(*before));
    ck_assert_uint_eq(fake_open_fds(), open_before);
    dma_get_info(device_dma(m.dev), &info);
    ck_assert_uint_eq(info.maps, 0);
    fake_set_time(&m.host, m.dev, FAKE_START_TIME + 2 * S); /* it goes on */
    ck_assert_uint_eq(reg(&m, IRQ_STATUS), TIMER_IRQ_TIMER);
    fake_give_eventfd(device_irq(m.dev), TRIGGER, INTX, 0, m.line);
    ck_assert_uint_eq(fake_signals(m.line), 1);
    ck_assert_uint_eq(fake_get(m.dev, BAR1, 100, 4), 0x12345678);
    machine_fini(&m);
    free(before);
}
END_TEST

START_TEST(what_does_not_fit_makes_no_device)
{
    unsigned before = fake_open_fds();
    struct device *dev = NULL;
    struct device_description d;
    struct fake_host host;
    struct device_host outside = fake_device_host(&host);
    struct pci_error error;

    fake_host_init(&host);
    full_description(&d);
    d.pci.caps[1].offset = 0x41;
    ck_assert_int_eq(device_new(&d, &outside, &dev, &error), -EINVAL);
    ck_assert_ptr_null(dev);
    ck_assert_uint_eq(error.cap, 1);
    ck_assert_str_eq(error.key, "offset");
    ck_assert_uint_eq(fake_open_fds(), before);
    description_fini(&d);
}
END_TEST

/* Vectors that wait behind their mask bits show as Pending Bits, and not once MSI is off. */
START_TEST(masked_msi_shows_as_pending)
{
    const uint32_t all = 0xf;
    const uint16_t enable = 1;
    const uint16_t disable = 0;
    struct device_description d;
    struct fake_host host;
    struct device *dev;
    struct pci_error error;
    enum irq_delivery how;
    uint32_t pending = 0;

    description_default(&d);
    d.pci.caps[1] = (struct pci_cap_description) {
        .kind = PCI_CAP_KIND_MSI, .offset = 0x50, .vectors = 4, .maskable = true, .address64 = true
    };
    d.pci.n_caps = 2;
    fake_host_init(&host);
    const struct device_host outside = fake_device_host(&host);

    ck_assert_int_eq(device_new(&d, &outside, &dev, &error), 0);
    ck_assert_int_eq(device_write(dev, 7, 0x52, &enable, 2), 0);
    ck_assert_int_eq(device_write(dev, 7, 0x60, &all, 4), 0);
    ck_assert_int_eq(device_trigger_irq(dev, VFIO_PCI_MSI_IRQ_INDEX, 2, &how), 0);
    ck_assert_int_eq(how, IRQ_PENDING_DISABLED);
    ck_assert_int_eq(device_read(dev, 7, 0x64, &pending, 4), 0);
    ck_assert_uint_eq(pending, 4);
    ck_assert_int_eq(device_write(dev, 7, 0x52, &disable, 2), 0);
    ck_assert_int_eq(device_read(dev, 7, 0x64, &pending, 4), 0);
    ck_assert_uint_eq(pending, 0);
    device_free(dev);
    fake_host_fini(&host);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        regions_are_described,
        ranges_must_be_inside,
        bar1_is_the_memory_that_is_shared,
        without_areas_bar1_is_not_shared,
        d3hot_hides_the_bars,
        interrupts_wait_for_d0,
        without_no_soft_reset_d0_is_uninitialised,
        the_engine_copies,
        the_engine_tells_why_not,
        a_busy_engine_takes_no_command,
        the_self_test_writes_and_reads_both_ways,
        the_state_outlives_the_client,
        what_does_not_fit_makes_no_device,
        masked_msi_shows_as_pending,
    };
    const struct fake_loop_test loops[] = { { reset_is_power_on_but_for_bar1, 4 } };

    return fake_run("device", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
