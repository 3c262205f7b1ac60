/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "integration/keep_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "integration/live_kit.h"
#include "message.h"

#define BAR1             VFIO_PCI_BAR1_REGION_INDEX
#define MSI              VFIO_PCI_MSI_IRQ_INDEX
#define INTX             VFIO_PCI_INTX_IRQ_INDEX
#define REG_DOORBELL     0x800
#define REG_DOORBELL_CNT 0x804
#define REG_TRAPPED      0x808
#define RW               (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define DISABLE          (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)
#define LATER_NS         3000000u
#define TIMEOUT_MS       20000

/* Where guest memory is. */
#define IOVA_SHARED  0x100000u
#define IOVA_AGAIN   0x200000u /* the same file */
#define IOVA_MESSAGE 0x300000u /* not shared */
#define IOVA_NEW     0x400000u /* comes and goes */

/* Places in BAR1. */
#define AT_MEMORY 0x2000u
#define AT_DMA    0x4000u
#define AT_MULTI  0xff000u
#define AT_LARGE  0x100000u

/*
 * Small things
 */

static uint32_t next(struct load *l)
{
    l->seed = l->seed * 1664525 + 1013904223;
    return l->seed >> 8;
}

static void fill(struct load *l, uint8_t *bytes, size_t len)
{
    uint32_t value = next(l);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(value + i * 13 + (i >> 8));
}

static int eventfd_new(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Waits for exactly one signal, serving the daemon's commands meanwhile. */
static void expect_signal(struct load *l, int fd, const char *of)
{
    uint64_t count = 0;
    int err = client_serve(l->c, fd, TIMEOUT_MS);

    ck_assert_msg(err == 0, "turn %llu: no signal of %s: %d", (unsigned long long)l->turns, of,
                  err);
    ck_assert_int_eq(read(fd, &count, sizeof(count)), sizeof(count));
    ck_assert_msg(count == 1, "turn %llu: %llu signals of %s", (unsigned long long)l->turns,
                  (unsigned long long)count, of);
}

static void expect_silence(int fd)
{
    uint64_t count = 0;

    ck_assert_msg(read(fd, &count, sizeof(count)) < 0, "%llu signals too many",
                  (unsigned long long)count);
}

/* At once, with the message; or a little later, by the timer. */
static void fire(struct load *l)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    write_reg(l->c, REG_TIMER_NSEC,
              l->turns / 2 % 2 == 0
                  ? 1 + l->turns
                  : (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec + LATER_NS,
              8);
    l->interrupts++;
}

static void acknowledge(struct load *l)
{
    write_reg(l->c, REG_IRQ_STATUS, 7, 4);
    ck_assert_uint_eq(read_reg(l->c, REG_IRQ_COUNT, 8), l->interrupts);
}

/*
 * Memory
 */

static int read_guest(void *opaque, uint64_t address, void *data, uint64_t count)
{
    struct load *l = opaque;

    if (address < IOVA_MESSAGE || address - IOVA_MESSAGE > LOAD_FILE_BYTES - count)
        return -EFAULT;
    memcpy(data, l->guest + (address - IOVA_MESSAGE), count);
    l->dma_messages++;
    l->dma_bytes += count;
    return 0;
}

static int write_guest(void *opaque, uint64_t address, const void *data, uint64_t count)
{
    struct load *l = opaque;

    if (address < IOVA_MESSAGE || address - IOVA_MESSAGE > LOAD_FILE_BYTES - count)
        return -EFAULT;
    memcpy(l->guest + (address - IOVA_MESSAGE), data, count);
    l->dma_messages++;
    l->dma_bytes += count;
    return 0;
}

static void check_memory(struct load *l)
{
    uint64_t offset = AT_MEMORY + l->turns % 64 * 8;
    uint64_t value = l->turns * 0x9e3779b97f4a7c15ull;
    uint64_t got = 0;

    ck_assert_int_eq(client_region_write(l->c, BAR1, offset, &value, 8), 0);
    ck_assert_int_eq(client_region_read(l->c, BAR1, offset, &got, 8), 0);
    ck_assert_uint_eq(got, value);
    value = ~value;
    ck_assert_int_eq(client_region_post(l->c, BAR1, offset, &value, 8), 0);
    ck_assert_int_eq(client_region_read(l->c, BAR1, offset, &got, 8), 0);
    ck_assert_uint_eq(got, value);
    value = l->turns;
    ck_assert_int_eq(client_region_write(l->c, BAR1, 8, &value, 8), 0);
    memcpy(&got, l->bar1 + 8, 8);
    ck_assert_uint_eq(got, value);
    memcpy(l->bar1 + 16, &value, 8);
    ck_assert_int_eq(client_region_read(l->c, BAR1, 16, &got, 8), 0);
    ck_assert_uint_eq(got, value);
}

static void check_large(struct load *l)
{
    uint8_t *bytes = malloc(2 * LOAD_LARGE);

    fill(l, bytes, LOAD_LARGE);
    ck_assert_int_eq(client_region_write(l->c, BAR1, AT_LARGE, bytes, LOAD_LARGE), 0);
    ck_assert_int_eq(client_region_read(l->c, BAR1, AT_LARGE, bytes + LOAD_LARGE, LOAD_LARGE), 0);
    ck_assert(memcmp(bytes, bytes + LOAD_LARGE, LOAD_LARGE) == 0);
    free(bytes);
}

static void check_config(struct load *l)
{
    uint8_t line = (uint8_t)l->turns;
    uint8_t got = 0;

    ck_assert_int_eq(client_region_write(l->c, CONFIG, 0x3c, &line, 1), 0);
    ck_assert_int_eq(client_region_read(l->c, CONFIG, 0x3c, &got, 1), 0);
    ck_assert_uint_eq(got, line);
}

static void check_multi(struct load *l)
{
    struct vfio_user_write_single w[5] = { 0 };
    uint64_t done = 0;
    uint64_t got = 0;

    for (unsigned i = 0; i < 4; i++)
        w[i] = (struct vfio_user_write_single) {
            .offset = REG_TRAPPED, .region = 0, .count = 4, .data = { (uint8_t)i }
        };
    w[4] = (struct vfio_user_write_single) { .offset = AT_MULTI, .region = BAR1, .count = 8 };
    memcpy(w[4].data, &l->turns, 8);
    ck_assert_int_eq(client_write_multi(l->c, w, 5, &done), 0);
    ck_assert_uint_eq(done, 5);
    l->rings += 4;
    ck_assert_int_eq(client_region_read(l->c, BAR1, AT_MULTI, &got, 8), 0);
    ck_assert_uint_eq(got, l->turns);
    ck_assert_uint_eq(read_reg(l->c, REG_DOORBELL_CNT, 4), l->rings);
}

/*
 * Interrupts
 */

/* Without MSI's eventfds it is INTx: a level, which UNMASK lets through again while it is high. */
static void check_intx(struct load *l)
{
    const uint64_t one = 1;

    fire(l);
    expect_signal(l, l->intx, "INTx");
    ck_assert_int_eq(write(l->unmask, &one, sizeof(one)), sizeof(one));
    expect_signal(l, l->intx, "UNMASK by eventfd");
    ck_assert_int_eq(client_set_irqs(l->c, UNMASK, INTX, 0, 1, NULL, NULL, 0), 0);
    expect_signal(l, l->intx, "UNMASK by message");
    acknowledge(l);
    expect_silence(l->intx);
}

/* Vectors that share an eventfd, one that changes, and none. */
static void check_msi(struct load *l)
{
    int a = eventfd_new();
    int b = eventfd_new();
    int c = eventfd_new();
    const int fds[4] = { a, b, a, c };

    ck_assert_int_eq(client_set_irqs(l->c, TRIGGER_EVENTFD, MSI, 0, 4, NULL, fds, 4), 0);
    fire(l);
    expect_signal(l, a, "vector 0");
    acknowledge(l);
    ck_assert_int_eq(client_set_irqs(l->c, TRIGGER_EVENTFD, MSI, 0, 1, NULL, &b, 1), 0);
    fire(l);
    expect_signal(l, b, "vector 0, changed");
    acknowledge(l);
    ck_assert_int_eq(client_set_irqs(l->c, TRIGGER_EVENTFD, MSI, 0, 1, NULL, &c, 1), 0);
    ck_assert_int_eq(client_set_irqs(l->c, TRIGGER_EVENTFD, MSI, 1, 3, NULL, fds, 3), 0);
    fire(l);
    expect_signal(l, c, "vector 0, changed again");
    acknowledge(l);
    expect_silence(a);
    expect_silence(b);
    ck_assert_int_eq(client_set_irqs(l->c, DISABLE, MSI, 0, 0, NULL, NULL, 0), 0);
    expect_silence(c);
    expect_silence(l->intx);
    close(a);
    close(b);
    close(c);
}

static void on_interrupt(void *opaque, uint32_t index, uint32_t subindex)
{
    struct load *l = opaque;

    ck_assert_uint_eq(index, INTX);
    ck_assert_uint_eq(subindex, 0);
    l->told++;
}

/* Without its eventfd INTx is a message. */
static void check_told(struct load *l)
{
    const unsigned before = l->told;

    ck_assert_int_eq(client_set_irqs(l->c, TRIGGER_EVENTFD, INTX, 0, 1, NULL, NULL, 0), 0);
    fire(l);
    for (int i = 0; i < TIMEOUT_MS && l->told == before; i++)
        client_serve(l->c, -1, 1);
    acknowledge(l);
    ck_assert_uint_eq(l->told, before + 1);
    ck_assert_int_eq(client_set_irqs(l->c, TRIGGER_EVENTFD, INTX, 0, 1, NULL, &l->intx, 1), 0);
    expect_silence(l->intx);
}

/*
 * DMA
 */

/* Has the engine transfer; returns DMA_CONTROL then. */
static uint32_t transfer(struct load *l, uint32_t command, uint64_t iova, uint32_t length)
{
    write_reg(l->c, REG_DMA_IOVA, iova, 8);
    write_reg(l->c, REG_DMA_OFFSET, AT_DMA, 8);
    write_reg(l->c, REG_DMA_LENGTH, length, 4);
    write_reg(l->c, REG_DMA_CONTROL, command, 4);
    l->interrupts++;
    expect_signal(l, l->intx, "DMA");
    acknowledge(l);
    return (uint32_t)read_reg(l->c, REG_DMA_CONTROL, 4);
}

/* To the guest and back, checked at both ends. memory: what is at iova. */
static void check_transfer(struct load *l, uint64_t iova, uint8_t *memory, uint32_t length)
{
    uint8_t bytes[LOAD_PAGE];

    fill(l, bytes, length);
    ck_assert_int_eq(client_region_write(l->c, BAR1, AT_DMA, bytes, length), 0);
    ck_assert_uint_eq(transfer(l, 2, iova, length), 0);
    ck_assert(memcmp(memory, bytes, length) == 0);
    fill(l, memory, length);
    ck_assert_uint_eq(transfer(l, 1, iova, length), 0);
    ck_assert_int_eq(client_region_read(l->c, BAR1, AT_DMA, bytes, length), 0);
    ck_assert(memcmp(memory, bytes, length) == 0);
}

static void check_dma(struct load *l)
{
    uint32_t page = l->turns % 4 * LOAD_PAGE;

    check_transfer(l, IOVA_SHARED + page, l->memory + page, LOAD_PAGE);
    check_transfer(l, IOVA_AGAIN + page, l->memory + 0x8000 + page, 512);
    check_transfer(l, IOVA_MESSAGE + page, l->guest + page, LOAD_PAGE);
}

static int file_new(uint8_t **memory, size_t size)
{
    int fd = memfd_create("guest", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(*memory, MAP_FAILED);
    return fd;
}

/* Maps come and go, with files of their own. */
static void check_maps(struct load *l)
{
    uint8_t *memory[4];

    for (unsigned i = 0; i < 4; i++) {
        int fd = file_new(&memory[i], LOAD_PAGE);

        ck_assert_int_eq(client_dma_map(l->c, IOVA_NEW + i * LOAD_PAGE, LOAD_PAGE, RW, fd, 0), 0);
        close(fd);
    }
    ck_assert_int_eq(client_dma_map(l->c, IOVA_NEW, LOAD_PAGE, RW, -1, 0), -EEXIST);
    check_transfer(l, IOVA_NEW + l->turns % 4 * LOAD_PAGE, memory[l->turns % 4], 256);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(client_dma_unmap(l->c, IOVA_NEW + i * LOAD_PAGE, LOAD_PAGE, 0), 0);
        munmap(memory[i], LOAD_PAGE);
    }
    ck_assert_int_eq(client_dma_unmap(l->c, IOVA_NEW, LOAD_PAGE, 0), -ENOENT);
    ck_assert_uint_eq(transfer(l, 2, IOVA_NEW, 16), 0x80000000u + EFAULT);
}

/*
 * Fds of the daemon
 */

static void get_doorbell(struct client *c, int *event, uint32_t **shadow)
{
    struct vfio_user_io_fd entry;
    int fds[4];
    unsigned nfds = 4;
    unsigned n;

    ck_assert_int_eq(client_get_region_io_fds(c, 0, &entry, 1, &n, fds, &nfds), 0);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(nfds, 2);
    *event = fds[entry.fd_index];
    *shadow = mmap(NULL, LOAD_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[entry.shadow_fd_index],
                   (off_t)entry.shadow_offset);
    ck_assert_ptr_ne(*shadow, MAP_FAILED);
    close(fds[entry.shadow_fd_index]);
}

static uint8_t *get_bar1(struct client *c)
{
    struct vfio_region_info *info;
    uint8_t *at;
    int fd;

    ck_assert_int_eq(client_get_region_info(c, BAR1, &info, &fd), 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(info->size, LOAD_BAR1_SIZE);
    at = mmap(NULL, LOAD_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(at, MAP_FAILED);
    close(fd);
    free(info);
    return at;
}

/* They are asked for again and again, and the same each time. */
static void check_fds(struct load *l)
{
    uint8_t *bar1 = get_bar1(l->c);
    uint32_t *shadow;
    int event;

    bar1[32] = (uint8_t)(l->turns + 1);
    ck_assert_uint_eq(l->bar1[32], (uint8_t)(l->turns + 1));
    munmap(bar1, LOAD_PAGE);
    get_doorbell(l->c, &event, &shadow);
    munmap(l->shadow, LOAD_PAGE);
    close(l->ring);
    l->ring = event;
    l->shadow = shadow;
}

/* Rings by eventfd, by posted message and by one that is answered. */
static void check_rings(struct load *l)
{
    const uint32_t value = next(l);
    const uint64_t three = 3;
    uint32_t posted = ~value;

    __atomic_store_n(l->shadow, value, __ATOMIC_RELEASE);
    ck_assert_int_eq(write(l->ring, &three, sizeof(three)), sizeof(three));
    ck_assert_uint_eq(read_reg(l->c, REG_DOORBELL, 4), value);
    ck_assert_int_eq(client_region_post(l->c, 0, REG_DOORBELL, &posted, 4), 0);
    ck_assert_uint_eq(read_reg(l->c, REG_DOORBELL, 4), posted);
    write_reg(l->c, REG_TRAPPED, value, 4);
    l->rings += 5;
    ck_assert_uint_eq(read_reg(l->c, REG_DOORBELL_CNT, 4), l->rings);
}

/*
 * Streams
 */

#define PIPELINED 200

/* Requests ahead of replies, more than sockets hold: nothing is read before all are sent. */
static void check_pipeline(struct load *l)
{
    struct vfio_user_region_access access[PIPELINED];
    uint8_t *reply = malloc(sizeof(access[0]) + (64u << 10));
    uint64_t value[PIPELINED];
    int ids[PIPELINED];

    for (unsigned i = 0; i < PIPELINED; i++) {
        bool writes = i % 2 == 0;
        struct client_call call = { .fixed = &access[i], .fixed_len = sizeof(access[i]) };

        value[i] = l->turns * PIPELINED + i;
        access[i] = (struct vfio_user_region_access) { .offset = AT_LARGE + i / 2 * 8,
                                                       .region = BAR1,
                                                       .count = writes ? 8 : 64u << 10 };
        call.command = writes ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ;
        call.data = writes ? &value[i] : NULL;
        call.data_len = writes ? 8 : 0;
        ids[i] = client_send(l->c, &call);
        ck_assert_int_ge(ids[i], 0);
    }
    for (unsigned i = 0; i < PIPELINED; i++) {
        bool writes = i % 2 == 0;
        struct client_call call = { .command =
                                        writes ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ,
                                    .reply = reply,
                                    .reply_max = sizeof(access[0]) + (64u << 10) };

        ck_assert_int_eq(client_wait(l->c, (uint16_t)ids[i], &call), 0);
        ck_assert(memcmp(reply, &access[i], sizeof(access[i])) == 0);
        if (!writes)
            ck_assert(memcmp(reply + sizeof(access[i]), &value[i - 1], 8) == 0);
    }
    free(reply);
}

/* A ring whose message comes byte by byte. */
static void check_bytes(struct load *l)
{
    const struct vfio_user_region_access access = { .offset = REG_TRAPPED, .count = 4 };
    uint8_t wire[36] = { 0 };
    uint8_t reply[16];
    struct client_call call = { .command = VFIO_USER_REGION_WRITE,
                                .reply = reply,
                                .reply_max = sizeof(reply) };
    int fd = stream_fd(client_stream(l->c));

    message_encode_header(wire, 0x7777, VFIO_USER_REGION_WRITE, sizeof(wire),
                          VFIO_USER_TYPE_COMMAND, 0);
    memcpy(wire + 16, &access, sizeof(access));
    for (unsigned i = 0; i < sizeof(wire); i++) {
        ck_assert_int_eq(send(fd, wire + i, 1, MSG_NOSIGNAL), 1);
        if (i % 8 == 0)
            usleep(100);
    }
    ck_assert_int_eq(client_wait(l->c, 0x7777, &call), 0);
    l->rings++;
    ck_assert_uint_eq(read_reg(l->c, REG_DOORBELL_CNT, 4), l->rings);
}

/* What is back to its begin then, and what is not. */
static void check_reset(struct load *l)
{
    uint64_t value = l->turns;
    uint64_t got = 0;

    ck_assert_int_eq(client_region_write(l->c, BAR1, AT_MULTI, &value, 8), 0);
    ck_assert_int_eq(client_reset(l->c), 0);
    l->rings = 0;
    l->interrupts = 0;
    ck_assert_uint_eq(read_reg(l->c, REG_DOORBELL_CNT, 4), 0);
    ck_assert_uint_eq(read_reg(l->c, REG_IRQ_COUNT, 8), 0);
    ck_assert_int_eq(client_region_read(l->c, BAR1, AT_MULTI, &got, 8), 0);
    ck_assert_uint_eq(got, value);
    set_bus_master(l->c);
}

/*
 * All of it
 */

static struct client *connect_to(const char *socket, bool twin)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *c;

    ck_assert_int_eq(client_connect(socket, &c), 0);
    version_defaults(&ours);
    ours.max_msg_fds = 16;
    ours.twin_socket = twin;
    ours.vm_interrupt = true;
    ours.write_multiple = true;
    ours.present |=
        VERSION_MAX_MSG_FDS | VERSION_TWIN_SOCKET | VERSION_VM_INTERRUPT | VERSION_WRITE_MULTIPLE;
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), 0);
    ck_assert_int_eq(theirs.twin_socket, twin);
    client_set_timeout(c, TIMEOUT_MS);
    return c;
}

void load_begin(struct load *l, const char *socket, bool twin)
{
    const uint32_t unmask = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK;
    struct client_memory memory = { .opaque = l, .read = read_guest, .write = write_guest };

    *l = (struct load) { .c = connect_to(socket, twin), .seed = 1 };
    client_set_memory(l->c, &memory);
    client_set_interrupt(l->c, on_interrupt, l);
    l->intx = eventfd_new();
    l->unmask = eventfd_new();
    ck_assert_int_eq(client_set_irqs(l->c, TRIGGER_EVENTFD, INTX, 0, 1, NULL, &l->intx, 1), 0);
    ck_assert_int_eq(client_set_irqs(l->c, unmask, INTX, 0, 1, NULL, &l->unmask, 1), 0);
    l->shared = file_new(&l->memory, LOAD_FILE_BYTES);
    ck_assert_int_eq(client_dma_map(l->c, IOVA_SHARED, 0x8000, RW, l->shared, 0), 0);
    ck_assert_int_eq(client_dma_map(l->c, IOVA_AGAIN, 0x8000, RW, l->shared, 0x8000), 0);
    ck_assert_int_eq(client_dma_map(l->c, IOVA_MESSAGE, LOAD_FILE_BYTES, RW, -1, 0), 0);
    get_doorbell(l->c, &l->ring, &l->shadow);
    l->bar1 = get_bar1(l->c);
    set_bus_master(l->c);
}

void load_end(struct load *l)
{
    client_free(l->c);
    munmap(l->memory, LOAD_FILE_BYTES);
    munmap(l->shadow, LOAD_PAGE);
    munmap(l->bar1, LOAD_PAGE);
    close(l->intx);
    close(l->unmask);
    close(l->shared);
    close(l->ring);
}

static void (*const checks[])(struct load *l) = {
    check_memory, check_config, check_multi, check_intx,  check_msi,   check_told,     check_dma,
    check_maps,   check_fds,    check_rings, check_bytes, check_large, check_pipeline,
};

_Static_assert(sizeof(checks) / sizeof(checks[0]) == LOAD_CHECKS, "all of them");

/* The last ones take long. */
#define OFTEN (LOAD_CHECKS - 2)

void load_check(struct load *l, unsigned i)
{
    checks[i](l);
    l->turns++;
}

void load_turn(struct load *l)
{
    for (unsigned i = 0; i < OFTEN; i++)
        checks[i](l);
    if (l->turns % 8 == 3 && !l->small)
        check_large(l);
    if (l->turns % 8 == 5)
        check_pipeline(l);
    if (l->turns % 4 == 3)
        check_reset(l);
    l->turns++;
}
