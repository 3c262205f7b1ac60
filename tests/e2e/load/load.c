/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "load/load.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "registers.h"

#define BAR0   VFIO_PCI_BAR0_REGION_INDEX
#define BAR1   VFIO_PCI_BAR1_REGION_INDEX
#define CONFIG VFIO_PCI_CONFIG_REGION_INDEX

#define SHARED_IOVA   0x100000u
#define UNSHARED_IOVA 0x900000u
#define FLEETING_IOVA 0x5000000u
#define PIECE         2048u /* of memory, the most that one operation touches */
#define POSTS         8u
#define IRQ_PATIENCE  5000 /* ms */
#define DELAY_NS      8000000u
#define PAST          1u
#define MAX_FDS       8u /* in a message: the doorbell has two */
#define NS_PER_MS     1000000ll

#define READ_WRITE (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define NO_DATA    VFIO_IRQ_SET_DATA_NONE

int64_t load_now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

uint64_t load_random(struct load *l, uint64_t below)
{
    l->seed ^= l->seed << 13;
    l->seed ^= l->seed >> 7;
    l->seed ^= l->seed << 17;
    return l->seed % below;
}

void load_complain(struct load *l, const char *format, ...)
{
    va_list args;

    if (l->complaints++ >= LOAD_COMPLAINS)
        return;
    va_start(args, format);
    fprintf(stderr, "keep-load: operation %llu: ", (unsigned long long)l->totals.operations);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/*
 * Calls, with the time that they take
 */

static int64_t begin(struct load *l)
{
    l->totals.operations++;
    return load_now(CLOCK_MONOTONIC);
}

static void time_gap(struct load *l, int64_t began)
{
    int64_t took = load_now(CLOCK_MONOTONIC) - began;

    if (took >= LOAD_GAP_NS && l->n_gaps < LOAD_GAPS_MAX)
        l->gaps[l->n_gaps++] = took;
}

static int end(struct load *l, int64_t began, const char *what, int err)
{
    time_gap(l, began);
    if (err == 0)
        return 0;
    l->totals.errors++;
    l->over = l->over || err == -ENOTCONN || err == -ETIMEDOUT || err == -EPROTO || err == -EPIPE;
    load_complain(l, "%s: %s", what, strerror(-err));
    return err;
}

static int put(struct load *l, uint32_t region, uint64_t offset, const void *data, uint32_t len)
{
    int64_t began = begin(l);

    return end(l, began, "a write", client_region_write(l->client, region, offset, data, len));
}

static int post(struct load *l, uint32_t region, uint64_t offset, const void *data, uint32_t len)
{
    int64_t began = begin(l);

    return end(l, began, "a posted write",
               client_region_post(l->client, region, offset, data, len));
}

/* Zeros when it fails. */
static int get(struct load *l, uint32_t region, uint64_t offset, void *data, uint32_t len)
{
    int64_t began = begin(l);

    memset(data, 0, len);
    return end(l, began, "a read", client_region_read(l->client, region, offset, data, len));
}

static int put32(struct load *l, uint64_t reg, uint32_t value)
{
    return put(l, BAR0, reg, &value, sizeof(value));
}

static int put64(struct load *l, uint64_t reg, uint64_t value)
{
    return put(l, BAR0, reg, &value, sizeof(value));
}

static int get32(struct load *l, uint64_t reg, uint32_t *value)
{
    return get(l, BAR0, reg, value, sizeof(*value));
}

static int get64(struct load *l, uint64_t reg, uint64_t *value)
{
    return get(l, BAR0, reg, value, sizeof(*value));
}

static int irqs(struct load *l, uint32_t flags, const int *fd)
{
    int64_t began = begin(l);

    return end(l, began, "SET_IRQS",
               client_set_irqs(l->client, flags, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, fd,
                               fd != NULL ? 1 : 0));
}

int load_poke(struct load *l, uint64_t offset, const void *data, uint32_t len)
{
    return put(l, BAR1, offset, data, len);
}

int load_peek(struct load *l, uint64_t offset, void *data, uint32_t len)
{
    return get(l, BAR1, offset, data, len);
}

static void count(struct load *l, const char *what, uint64_t expected, uint64_t got)
{
    if (got == expected)
        return;
    load_complain(l, "%s: expected %llu, got %llu", what, (unsigned long long)expected,
                  (unsigned long long)got);
    if (got < expected)
        l->totals.lost += expected - got;
    else
        l->totals.repeated += got - expected;
}

static void fill(struct load *l, uint8_t *bytes, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)load_random(l, 256);
}

/* A place for len bytes, and their number. */
static uint32_t choose(struct load *l, uint32_t size, uint32_t *len)
{
    *len = 1 + (uint32_t)load_random(l, PIECE);
    return (uint32_t)load_random(l, size - *len);
}

/* One piece that differs is one operation that was lost, and is not counted again. */
static void same(struct load *l, const char *what, const uint8_t *expected, const uint8_t *got,
                 uint32_t len)
{
    if (memcmp(expected, got, len) == 0)
        return;
    l->totals.lost++;
    load_complain(l, "%s: %u bytes are not what they must be", what, len);
}

static void same_memory(struct load *l, const char *what, uint32_t at, uint32_t len)
{
    uint8_t got[LOAD_MEMORY];

    if (get(l, BAR1, at, got, len) != 0)
        return;
    same(l, what, l->memory + at, got, len);
    memcpy(l->memory + at, got, len);
}

/*
 * Memory and configuration space
 */

static void write_and_read(struct load *l)
{
    uint32_t len;
    uint32_t at = choose(l, LOAD_MEMORY, &len);

    fill(l, l->memory + at, len);
    put(l, BAR1, at, l->memory + at, len);
    same_memory(l, "BAR1 after a write", at, len);
}

static void post_and_read(struct load *l)
{
    uint32_t first = (uint32_t)load_random(l, LOAD_MEMORY / 8 - POSTS) * 8;

    for (uint32_t at = first; at < first + POSTS * 8; at += 8) {
        fill(l, l->memory + at, 8);
        post(l, BAR1, at, l->memory + at, 8);
    }
    same_memory(l, "BAR1 after posted writes", first, POSTS * 8);
    same_memory(l, "all of BAR1", 0, LOAD_MEMORY);
}

static void write_config(struct load *l)
{
    uint8_t line = (uint8_t)load_random(l, 256);
    uint8_t got;

    put(l, CONFIG, PCI_INTERRUPT_LINE, &line, sizeof(line));
    if (get(l, CONFIG, PCI_INTERRUPT_LINE, &got, sizeof(got)) == 0)
        same(l, "configuration space", &line, &got, sizeof(got));
}

/*
 * The doorbell
 */

void load_count_rings(struct load *l)
{
    uint32_t rings;

    if (get32(l, REG_DOORBELL_COUNT, &rings) != 0)
        return;
    count(l, "DOORBELL_COUNT", l->rings, rings);
    l->rings = rings;
}

int load_ring(struct load *l)
{
    const uint32_t value = 7;
    int err;

    l->totals.operations++;
    err = client_region_write(l->client, BAR0, REG_DOORBELL, &value, sizeof(value));
    if (err == 0)
        l->rings++;
    return err;
}

static void ring_by_message(struct load *l)
{
    uint32_t value = (uint32_t)load_random(l, UINT32_MAX);
    uint32_t got;

    for (uint32_t i = 0; i < POSTS; i++)
        post(l, BAR0, REG_DOORBELL_TRAPPED, &i, sizeof(i));
    put32(l, REG_DOORBELL, value);
    l->rings += POSTS + 1;
    load_count_rings(l);
    if (get32(l, REG_DOORBELL, &got) == 0 && got != value)
        count(l, "the value in DOORBELL", 1, 0);
}

/* The device reads the eventfd when it gets to it. */
static void ring_by_eventfd(struct load *l)
{
    uint32_t rings = 1 + (uint32_t)load_random(l, POSTS);
    int64_t until = load_now(CLOCK_MONOTONIC) + LOAD_PATIENCE * NS_PER_MS;
    uint32_t seen = 0;

    if (l->doorbell.kind == DOORBELL_NONE)
        return;
    for (uint32_t i = 0; i < rings; i++) {
        l->totals.operations++;
        doorbell_ring(&l->doorbell, i);
    }
    l->rings += rings;
    while (!l->over && get32(l, REG_DOORBELL_COUNT, &seen) == 0 && seen < l->rings &&
           load_now(CLOCK_MONOTONIC) < until)
        ;
    load_count_rings(l);
}

/*
 * Interrupts
 */

/* Takes what has come. */
static void take_interrupts(struct load *l)
{
    uint64_t n;

    if (read(l->irq, &n, sizeof(n)) == sizeof(n))
        l->came += n;
}

/* One more, which is to come after so many nanoseconds. */
static void await_interrupt(struct load *l, uint64_t delay)
{
    int64_t due = load_now(CLOCK_MONOTONIC) + (int64_t)delay;
    int64_t until = due + IRQ_PATIENCE * NS_PER_MS;
    int err = 0;

    l->awaited++;
    take_interrupts(l);
    while (err == 0 && l->came < l->awaited && load_now(CLOCK_MONOTONIC) < until) {
        err = client_serve(l->client, l->irq, IRQ_PATIENCE);
        take_interrupts(l);
    }
    time_gap(l, due);
    if (err != 0 && err != -ETIMEDOUT)
        end(l, load_now(CLOCK_MONOTONIC), "waiting for an interrupt", err);
    count(l, "interrupts that came", l->awaited, l->came);
    l->awaited = l->came;
}

static void count_raised(struct load *l)
{
    uint64_t raised;

    if (get64(l, REG_IRQ_COUNT, &raised) != 0)
        return;
    count(l, "IRQ_COUNT", l->raised, raised);
    l->raised = raised;
}

static void passed_deadline(struct load *l)
{
    put64(l, REG_TIMER_NSEC, PAST);
    l->raised++;
    await_interrupt(l, 0);
    count_raised(l);
}

/* It may pass when no process is there. */
static void coming_deadline(struct load *l)
{
    uint64_t delay = load_random(l, DELAY_NS);
    uint64_t deadline = (uint64_t)load_now(CLOCK_REALTIME) + delay;
    uint64_t fired;

    put64(l, REG_TIMER_NSEC, deadline);
    l->raised++;
    await_interrupt(l, delay);
    count_raised(l);
    if (get64(l, REG_FIRED_NSEC, &fired) == 0 && fired < deadline)
        count(l, "a deadline that fired in its time", 1, 0);
}

static void masked_interrupt(struct load *l)
{
    uint32_t status;

    irqs(l, NO_DATA | VFIO_IRQ_SET_ACTION_MASK, NULL);
    put64(l, REG_TIMER_NSEC, PAST);
    l->raised++;
    if (get32(l, REG_IRQ_STATUS, &status) == 0 && (status & IRQ_TIMER) == 0)
        count(l, "TIMER in IRQ_STATUS", 1, 0);
    take_interrupts(l);
    count(l, "interrupts while masked", l->awaited, l->came);
    l->awaited = l->came;
    irqs(l, NO_DATA | VFIO_IRQ_SET_ACTION_UNMASK, NULL);
    await_interrupt(l, 0);
    count_raised(l);
}

/*
 * DMA
 */

/* Returns whether it was done. */
static bool transfer(struct load *l, uint64_t iova, uint32_t at, uint32_t len, uint32_t direction)
{
    int64_t until = load_now(CLOCK_MONOTONIC) + LOAD_PATIENCE * NS_PER_MS;
    const uint64_t offset = at;
    uint32_t control = 1;

    post(l, BAR0, REG_DMA_IOVA, &iova, sizeof(iova));
    post(l, BAR0, REG_DMA_OFFSET, &offset, sizeof(offset));
    post(l, BAR0, REG_DMA_LENGTH, &len, sizeof(len));
    put32(l, REG_DMA_CONTROL, direction);
    while (!l->over && control == 1 && load_now(CLOCK_MONOTONIC) < until) {
        if (get32(l, REG_DMA_CONTROL, &control) != 0)
            return false;
    }
    if (control != 0) {
        l->totals.lost++;
        load_complain(l, "a transfer at 0x%llx ends with 0x%x", (unsigned long long)iova, control);
    }
    return control == 0;
}

static void both_ways(struct load *l, uint8_t *guest, uint64_t iova, uint32_t size)
{
    uint32_t len;
    uint32_t at = choose(l, LOAD_MEMORY, &len);
    uint32_t there = (uint32_t)load_random(l, size - len);

    memset(guest + there, 0, len);
    if (!transfer(l, iova + there, at, len, DMA_BAR1_TO_GUEST))
        return;
    same(l, "guest memory after a transfer", l->memory + at, guest + there, len);
    fill(l, guest + there, len);
    if (!transfer(l, iova + there, at, len, DMA_GUEST_TO_BAR1))
        return;
    memcpy(l->memory + at, guest + there, len);
    same_memory(l, "BAR1 after a transfer", at, len);
}

static void direct_dma(struct load *l)
{
    both_ways(l, l->shared, SHARED_IOVA, LOAD_GUEST);
}

static void message_dma(struct load *l)
{
    both_ways(l, l->unshared, UNSHARED_IOVA, LOAD_GUEST);
}

/* The same memory under another address for a moment: neither may be done twice. */
static void fleeting_map(struct load *l)
{
    int64_t began = begin(l);

    end(l, began, "DMA_MAP",
        client_dma_map(l->client, FLEETING_IOVA, LOAD_GUEST, READ_WRITE, l->shared_fd, 0));
    both_ways(l, l->shared, FLEETING_IOVA, LOAD_GUEST);
    began = begin(l);
    end(l, began, "DMA_UNMAP", client_dma_unmap(l->client, FLEETING_IOVA, LOAD_GUEST, 0));
}

/*
 * All of it
 */

typedef void operation(struct load *l);

static operation *const operations[] = {
    write_and_read,  post_and_read,   write_config,    ring_by_message,
    ring_by_eventfd, passed_deadline, coming_deadline, masked_interrupt,
    direct_dma,      message_dma,     fleeting_map,
};

#define N_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

void load_round(struct load *l)
{
    operation *order[N_OPERATIONS];

    for (size_t i = 0; i < N_OPERATIONS; i++) {
        size_t j = load_random(l, i + 1);

        order[i] = order[j];
        order[j] = operations[i];
    }
    for (size_t i = 0; i < N_OPERATIONS && !l->over; i++)
        order[i](l);
}

void load_settle(struct load *l)
{
    if (l->over)
        return;
    client_serve(l->client, l->irq, 200);
    take_interrupts(l);
    count(l, "interrupts in the end", l->awaited, l->came);
    load_count_rings(l);
    count_raised(l);
    same_memory(l, "BAR1 in the end", 0, LOAD_MEMORY);
}

static int read_unshared(void *opaque, uint64_t address, void *data, uint64_t len)
{
    const struct load *l = opaque;
    uint64_t at = address - UNSHARED_IOVA;

    if (at > LOAD_GUEST || len > LOAD_GUEST - at)
        return -EFAULT;
    memcpy(data, l->unshared + at, len);
    return 0;
}

static int write_unshared(void *opaque, uint64_t address, const void *data, uint64_t len)
{
    struct load *l = opaque;
    uint64_t at = address - UNSHARED_IOVA;

    if (at > LOAD_GUEST || len > LOAD_GUEST - at)
        return -EFAULT;
    memcpy(l->unshared + at, data, len);
    return 0;
}

static int make_memory(struct load *l)
{
    l->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->shared_fd = memfd_create("keep-load", MFD_CLOEXEC);
    if (l->irq < 0 || l->shared_fd < 0 || ftruncate(l->shared_fd, LOAD_GUEST) != 0)
        return -errno;
    l->shared = mmap(NULL, LOAD_GUEST, PROT_READ | PROT_WRITE, MAP_SHARED, l->shared_fd, 0);
    return l->shared != MAP_FAILED ? 0 : -errno;
}

static int attach(struct load *l, const char *path, bool twin)
{
    const struct client_memory memory = { .opaque = l,
                                          .read = read_unshared,
                                          .write = write_unshared };
    struct version_caps ours;
    struct version_caps theirs;
    int err = client_connect(path, &l->client);

    if (err != 0)
        return err;
    client_set_timeout(l->client, LOAD_PATIENCE);
    client_set_memory(l->client, &memory);
    version_defaults(&ours);
    ours.present |= VERSION_MAX_MSG_FDS;
    ours.max_msg_fds = MAX_FDS;
    if (twin) {
        ours.present |= VERSION_TWIN_SOCKET;
        ours.twin_socket = true;
    }
    return client_negotiate(l->client, &ours, &theirs);
}

/* Errors of single calls are in the totals. */
static void prepare(struct load *l)
{
    const uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    struct vfio_region_info *info;
    int fd;

    end(l, begin(l), "GET_REGION_INFO", client_get_region_info(l->client, BAR1, &info, &fd));
    if (l->totals.errors != 0)
        return;
    l->bar1_size = info->size;
    free(info);
    if (fd >= 0)
        close(fd);
    end(l, begin(l), "GET_REGION_IO_FDS", doorbell_open(l->client, &l->doorbell));
    end(l, begin(l), "DMA_MAP",
        client_dma_map(l->client, SHARED_IOVA, LOAD_GUEST, READ_WRITE, l->shared_fd, 0));
    end(l, begin(l), "DMA_MAP without sharing",
        client_dma_map(l->client, UNSHARED_IOVA, LOAD_GUEST, READ_WRITE, -1, 0));
    put(l, CONFIG, PCI_COMMAND, &command, sizeof(command));
    put64(l, REG_TIMER_NSEC, 0);
    put32(l, REG_IRQ_ENABLE, IRQ_TIMER);
    put32(l, REG_IRQ_STATUS, UINT32_MAX);
    irqs(l, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, &l->irq);
    get32(l, REG_DOORBELL_COUNT, &l->rings);
    get64(l, REG_IRQ_COUNT, &l->raised);
    put(l, BAR1, 0, l->memory, LOAD_MEMORY);
}

int load_open(struct load *l, const char *path, bool twin, uint64_t seed)
{
    int err;

    memset(l, 0, sizeof(*l));
    l->seed = seed;
    l->irq = -1;
    l->shared_fd = -1;
    l->doorbell.fd = -1;
    err = make_memory(l);
    if (err == 0)
        err = attach(l, path, twin);
    if (err == 0)
        prepare(l);
    return err != 0 ? err : l->totals.errors != 0 ? -EPROTO : 0;
}

void load_close(struct load *l)
{
    doorbell_close(&l->doorbell);
    client_free(l->client);
    if (l->shared != NULL && l->shared != MAP_FAILED)
        munmap(l->shared, LOAD_GUEST);
    if (l->shared_fd >= 0)
        close(l->shared_fd);
    if (l->irq >= 0)
        close(l->irq);
}
