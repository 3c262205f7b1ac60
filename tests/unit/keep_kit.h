/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device whose process dies, at the end of a step or within one, and another one that goes on
 * with what is left: the state, BAR1, the table of maps and what the kernel noted.
 */
#ifndef VFIO_USERD_TEST_KEEP_KIT_H
#define VFIO_USERD_TEST_KEEP_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/device.h"
#include "unit/fakes.h"

#define BAR0   VFIO_PCI_BAR0_REGION_INDEX
#define BAR1   VFIO_PCI_BAR1_REGION_INDEX
#define CONFIG VFIO_PCI_CONFIG_REGION_INDEX
#define INTX   VFIO_PCI_INTX_IRQ_INDEX
#define RW     (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define S      FAKE_NS_PER_S
#define PAGE   4096u

#define GUEST     0x100000u /* memory that is shared */
#define ELSEWHERE 0x900000u /* and that is reached by message */

enum {
    TIMER_NSEC = 0x008,
    IRQ_STATUS = 0x010,
    IRQ_COUNT = 0x018,
    DMA_IOVA = 0x020,
    DMA_LENGTH = 0x030,
    DMA_CONTROL = 0x034,
    DOORBELL = 0x800,
    DOORBELL_COUNT = 0x804,
};

enum { BUSY = 1, FAILED_ENODEV = 0x80000000u + ENODEV };
enum { FROM_GUEST = 1, TO_GUEST = 2 };

#define RECORDS 16

/* What outlives a process. */
struct block {
    struct device_state state;
    struct evidence evidence;
    struct dma_record records[RECORDS];
    uint32_t high;
    uint64_t step; /* under way */
};

/* A process with its device. What is the client's, all of them have. */
struct process {
    struct fake_host host;
    struct device_description d;
    struct device_memory memory;
    struct block *block;
    int fd; /* of the block */
    struct device *dev;
};

/* The client, and all there is of it. */
struct client {
    int line;  /* INTx */
    int guest; /* its memory, PAGE bytes of 5, 6 * 7, … */
    uint8_t *memory;
};

static inline uint64_t step_of(void *opaque)
{
    return ((struct process *)opaque)->block->step;
}

static inline uint32_t store(void *opaque, int fd)
{
    (void)opaque;
    (void)fd;
    return 1;
}

static inline void forget(void *opaque, uint32_t serial)
{
    (void)opaque;
    ck_assert_uint_eq(serial, 1);
}

static inline void client_init(struct client *c)
{
    c->line = fake_eventfd();
    c->guest = fake_memfd(2 * PAGE, 5);
    c->memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, c->guest, 0);
    ck_assert_ptr_ne(c->memory, MAP_FAILED);
}

static inline void client_fini(struct client *c)
{
    munmap(c->memory, 2 * PAGE);
    close(c->guest);
    close(c->line);
}

static inline void process_make(struct process *p, bool self_tests)
{
    struct device_host outside;
    struct pci_error error;

    description_default(&p->d);
    p->d.doorbell = DOORBELL_SHADOW;
    p->d.dma_on_irq = self_tests;
    fake_host_init(&p->host);
    p->fd = memfd_create("block", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(p->fd, sizeof(struct block)), 0);
    p->block = mmap(NULL, sizeof(struct block), PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
    ck_assert_ptr_ne(p->block, MAP_FAILED);
    p->block->step = 1;
    p->memory = (struct device_memory) {
        .state = &p->block->state,
        .evidence = { &p->block->evidence, p->fd, offsetof(struct block, evidence) },
        .dma = { .opaque = p,
                 .records = p->block->records,
                 .n_records = RECORDS,
                 .high = &p->block->high,
                 .step = step_of,
                 .store = store,
                 .forget = forget },
    };
    outside = fake_device_host(&p->host);
    outside.memory = &p->memory;
    ck_assert_int_eq(device_new(&p->d, &outside, &p->dev, &error), 0);
}

/* The next step begins. */
static inline void step(struct process *p)
{
    p->block->step++;
    evidence_reset(&p->block->evidence);
}

static inline void map(struct process *p, uint64_t iova, int fd)
{
    if (fd >= 0)
        fd = dup(fd);
    ck_assert_int_eq(device_dma_map(p->dev, iova, 2 * PAGE, RW, &fd, 0), 0);
}

static inline void give_line(struct process *p, const struct client *c)
{
    fake_give_eventfd(device_irq(p->dev), VFIO_IRQ_SET_ACTION_TRIGGER, INTX, 0, c->line);
}

/* A first process, whose guest has set it up. */
static inline void process_init(struct process *p, const struct client *c, bool self_tests)
{
    process_make(p, self_tests);
    give_line(p, c);
    map(p, GUEST, c->guest);
    map(p, ELSEWHERE, -1);
    fake_put(p->dev, CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
    step(p);
}

static inline void process_fini(struct process *p)
{
    device_free(p->dev);
    fake_host_fini(&p->host);
    munmap(p->block, sizeof(struct block));
    close(p->fd);
    description_fini(&p->d);
}

/* The state at the end of the step before. */
static inline struct device_state state_of(const struct process *p)
{
    return *device_state(p->dev);
}

static inline void take_maps(struct process *p, const struct process *dead, const struct client *c)
{
    const struct block *b = dead->block;
    struct dma_range *ranges;
    uint32_t *files;
    unsigned n_files;
    unsigned n;
    int fd = dup(c->guest);

    ck_assert_int_eq(
        dma_records_read(b->records, b->high, b->step - 1, &ranges, &n, &files, &n_files), 0);
    ck_assert_uint_le(n_files, 1);
    ck_assert_int_eq(dma_import(device_dma(p->dev), ranges, n, &fd, n_files), 0);
    if (fd >= 0)
        close(fd);
    free(ranges);
    free(files);
}

static inline void take_doorbell(struct process *p, const struct process *dead)
{
    int event;
    int shadow;

    device_get_doorbell(dead->dev, &event, &shadow);
    if (event < 0)
        return;
    event = dup(event);
    shadow = dup(shadow);
    ck_assert_int_eq(device_adopt_doorbell(p->dev, &event, &shadow), 0);
}

/*
 * A process that goes on where dead was killed, in a step before which the state was *before. It is
 * not started yet.
 */
static inline void revive(struct process *p, const struct process *dead, const struct client *c,
                          const struct device_state *before)
{
    struct device_held held;
    char field[DEVICE_FIELD_BYTES];
    int bar1 = fcntl(device_bar1_fd(dead->dev), F_DUPFD_CLOEXEC, 0);

    process_make(p, dead->d.dma_on_irq);
    p->host.now = dead->host.now;
    device_stop(p->dev);
    ck_assert_int_eq(device_adopt_bar1(p->dev, &bar1), 0);
    take_doorbell(p, dead);
    take_maps(p, dead, c);
    give_line(p, c);
    device_get_held(dead->dev, &held);
    ck_assert_msg(device_load(p->dev, before, NULL, field) == 0, "%s", field);
    device_put_held(p->dev, &held);
    fake_forget_messages(&p->host);
}

/* With the step that dead was killed in. */
static inline void replay(struct process *p, const struct process *dead,
                          void (*again)(struct process *))
{
    device_unfreeze(p->dev);
    device_replay(p->dev, &dead->block->evidence);
    again(p);
    device_replayed(p->dev);
    step(p);
    if (device_running(p->dev))
        device_start(p->dev);
}

static inline uint64_t get0(struct process *p, uint64_t offset, uint32_t count)
{
    return fake_get(p->dev, BAR0, offset, count);
}

static inline void put0(struct process *p, uint64_t offset, uint32_t count, uint64_t value)
{
    fake_put(p->dev, BAR0, offset, count, value);
}

static inline void start_engine(struct process *p, uint64_t iova, uint32_t length, uint32_t command)
{
    put0(p, DMA_IOVA, 8, iova);
    put0(p, DMA_LENGTH, 4, length);
    put0(p, DMA_CONTROL, 4, command);
}

static inline void acknowledge(struct process *p)
{
    put0(p, IRQ_STATUS, 4, 7);
}

#endif
