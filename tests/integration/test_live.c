/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The running device as its clients use it: interrupts with clients of each habit, MSI, DMA by
 * message in every shape of reply, what survives a disconnect, pipelining, and the ways to start
 * and to end the daemon.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config-build.h"
#include "integration/harness.h"
#include "message.h"
#include "suite.h"

#define MS              1000000ll
#define REG_TIMER_SEC   0x00
#define REG_TIMER_NSEC  0x08
#define REG_IRQ_STATUS  0x10
#define REG_IRQ_COUNT   0x18
#define REG_DMA_IOVA    0x20
#define REG_DMA_OFFSET  0x28
#define REG_DMA_LENGTH  0x30
#define REG_DMA_CONTROL 0x34
#define REG_FIRED_NSEC  0x48
#define CONFIG          VFIO_PCI_CONFIG_REGION_INDEX
#define TRIGGER_EVENTFD (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)
#define UNMASK          (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK)

static const char msi_device[] = "{ \"pci\": { \"capabilities\": [ {\"kind\": \"pm\"}, {\"kind\": "
                                 "\"msi\", \"vectors\": 4} ] } }";

static const char self_test_device[] =
    "{ \"bar1\": { \"size\": \"12K\", \"mmap\": [[\"0\", \"4K\"]] }, \"dma_on_irq\": true }";

static void write_reg(struct client *c, uint64_t offset, uint64_t value, uint32_t size)
{
    ck_assert_int_eq(client_region_write(c, 0, offset, &value, size), 0);
}

static uint64_t read_reg(struct client *c, uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    ck_assert_int_eq(client_region_read(c, 0, offset, &value, size), 0);
    return value;
}

static int set_eventfds(struct client *c, uint32_t index, uint32_t start, unsigned n, int *fds)
{
    for (unsigned i = 0; i < n; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    return client_set_irqs(c, TRIGGER_EVENTFD, index, start, n, NULL, fds, n);
}

static void set_bus_master(struct client *c)
{
    const uint16_t command = 6;

    ck_assert_int_eq(client_region_write(c, CONFIG, 4, &command, sizeof(command)), 0);
}

/*
 * Interrupts
 */

/* libvfio-user's client: seconds, one interrupt a deadline, no acknowledge, no unmask. */
START_TEST(test_client_that_never_unmasks)
{
    struct server s;
    struct client *c;
    int fd;

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    for (int i = 0; i < 3; i++) {
        int64_t seconds = now_ns() / 1000000000 + 1;

        write_reg(c, REG_TIMER_SEC, (uint64_t)seconds, 8);
        ck_assert_int_le((int64_t)read_reg(c, REG_TIMER_SEC, 8), 0);
        ck_assert_uint_eq(eventfd_wait(fd, 2500), 1);
        ck_assert_int_ge(now_ns(), seconds * 1000000000);
        ck_assert_int_ge((int64_t)read_reg(c, REG_FIRED_NSEC, 8), seconds * 1000000000);
    }
    ck_assert_uint_eq(eventfd_wait(fd, 50), 0);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 3);
    close(fd);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* QEMU: acknowledges in the device, then unmasks at end of interrupt. */
START_TEST(test_client_that_unmasks)
{
    struct server s;
    struct client *c;
    int fd;

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    for (int i = 0; i < 20; i++) {
        write_reg(c, REG_TIMER_NSEC, (uint64_t)(now_ns() + 5 * MS), 8);
        ck_assert_uint_eq(eventfd_wait(fd, 1000), 1);
        /* Unmasked while the level is high: once more. */
        ck_assert_int_eq(client_set_irqs(c, UNMASK, 0, 0, 1, NULL, NULL, 0), 0);
        ck_assert_uint_eq(eventfd_wait(fd, 1000), 1);
        write_reg(c, REG_IRQ_STATUS, 1, 4);
        ck_assert_int_eq(client_set_irqs(c, UNMASK, 0, 0, 1, NULL, NULL, 0), 0);
        ck_assert_uint_eq(eventfd_wait(fd, 5), 0);
    }
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 20);
    close(fd);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* KVM: an eventfd that the guest's end of interrupt signals. */
START_TEST(test_unmask_eventfd)
{
    struct server s;
    struct client *c;
    unsigned fds;
    int fd;
    int unmask = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    server_start(&s, NULL);
    c = server_connect(&s);
    fds = server_fds(&s);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    ck_assert_int_eq(client_set_irqs(c, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, 0,
                                     0, 1, NULL, &unmask, 1),
                     0);
    write_reg(c, REG_TIMER_NSEC, 1, 8);
    ck_assert_uint_eq(eventfd_wait(fd, 1000), 1);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(eventfd_write(unmask, 1), 0);
        ck_assert_uint_eq(eventfd_wait(fd, 1000), 1); /* not acknowledged: high again */
    }
    write_reg(c, REG_IRQ_STATUS, 1, 4);
    ck_assert_int_eq(eventfd_write(unmask, 1), 0);
    ck_assert_uint_eq(eventfd_wait(fd, 20), 0);
    /* Everything of the index away: nothing is watched any more. */
    ck_assert_int_eq(client_set_irqs(c, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0,
                                     0, NULL, NULL, 0),
                     0);
    server_wait_fds(&s, fds);
    close(fd);
    close(unmask);
    client_free(c);
    server_stop(&s);
}
END_TEST

START_TEST(test_msi)
{
    struct vfio_irq_info info;
    struct server s;
    struct client *c;
    int fds[4];
    int intx;

    server_start(&s, msi_device);
    c = server_connect(&s);
    ck_assert_int_eq(client_get_irq_info(c, VFIO_PCI_MSI_IRQ_INDEX, &info), 0);
    ck_assert_uint_eq(info.count, 4);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &intx), 0);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_MSI_IRQ_INDEX, 0, 4, fds), 0);
    for (int i = 0; i < 10; i++) {
        write_reg(c, REG_TIMER_NSEC, (uint64_t)(now_ns() + 5 * MS), 8);
        ck_assert_uint_eq(eventfd_wait(fds[0], 1000), 1);
    }
    set_bus_master(c);
    write_reg(c, REG_DMA_LENGTH, 0, 4);
    write_reg(c, REG_DMA_CONTROL, 1, 4);
    ck_assert_uint_eq(eventfd_wait(fds[2], 1000), 1);
    ck_assert_uint_eq(eventfd_wait(fds[1], 20), 0);
    ck_assert_uint_eq(eventfd_wait(intx, 0), 0);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 11);
    /* A vector without eventfd waits for one. */
    ck_assert_int_eq(
        client_set_irqs(c, TRIGGER_EVENTFD, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, NULL, NULL, 0), 0);
    write_reg(c, REG_TIMER_NSEC, 1, 8);
    close(fds[0]);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, fds), 0);
    ck_assert_uint_eq(eventfd_wait(fds[0], 1000), 1);
    /* Without MSI the line, which is high, has its turn. */
    ck_assert_int_eq(client_set_irqs(c, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
                                     VFIO_PCI_MSI_IRQ_INDEX, 0, 0, NULL, NULL, 0),
                     0);
    ck_assert_uint_eq(eventfd_wait(intx, 1000), 1);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(intx);
    client_free(c);
    server_stop(&s);
}
END_TEST

/*
 * DMA by message
 */

/* How a client answers DMA_READ and DMA_WRITE. */
enum answer { ANSWER_SPEC, ANSWER_SPEC_TABLE, ANSWER_32_BIT, ANSWER_ENODEV, ANSWER_WRONG };

static uint8_t guest[65536];

/* Receives one message; returns its size. */
static size_t receive(int sock, uint8_t *wire)
{
    struct pollfd p = { .fd = sock, .events = POLLIN };
    struct vfio_user_header hdr;

    ck_assert_int_eq(poll(&p, 1, 2000), 1);
    ck_assert_int_eq(recv(sock, wire, 16, MSG_WAITALL), 16);
    memcpy(&hdr, wire, sizeof(hdr));
    if (hdr.size > 16)
        ck_assert_int_eq(recv(sock, wire + 16, hdr.size - 16, MSG_WAITALL), (int)hdr.size - 16);
    return hdr.size;
}

/* Answers the DMA command in wire. */
static void answer_dma(int sock, uint8_t *wire, enum answer answer)
{
    static uint8_t reply[70000];
    struct vfio_user_header hdr;
    struct vfio_user_dma_access access;
    size_t head = answer == ANSWER_32_BIT ? 12 : 16;
    size_t len = 16 + head;

    memcpy(&hdr, wire, sizeof(hdr));
    memcpy(&access, wire + 16, sizeof(access));
    ck_assert_uint_le(access.address + access.count, sizeof(guest));
    memcpy(reply + 16, &access, head);
    if (hdr.command == VFIO_USER_DMA_WRITE) {
        memcpy(guest + access.address, wire + 32, access.count);
        len = answer == ANSWER_SPEC_TABLE ? 28 : answer == ANSWER_32_BIT ? 16 : 32;
    } else {
        memcpy(reply + 16 + head, guest + access.address, access.count);
        len += access.count;
    }
    if (answer == ANSWER_ENODEV)
        len = 16;
    if (answer == ANSWER_WRONG)
        len--;
    message_encode_header(reply, hdr.id, hdr.command, (uint32_t)len,
                          answer == ANSWER_ENODEV ? 0x21 : 1, answer == ANSWER_ENODEV ? ENODEV : 0);
    ck_assert_int_eq(send(sock, reply, len, MSG_NOSIGNAL), (int)len);
}

static void start_dma(struct client *c, uint32_t command, uint64_t iova, uint64_t offset,
                      uint32_t length)
{
    write_reg(c, REG_DMA_IOVA, iova, 8);
    write_reg(c, REG_DMA_OFFSET, offset, 8);
    write_reg(c, REG_DMA_LENGTH, length, 4);
    ck_assert_int_eq(client_region_post(c, 0, REG_DMA_CONTROL, &command, sizeof(command)), 0);
}

START_TEST(test_dma_by_message)
{
    static const uint32_t outcomes[] = { [ANSWER_SPEC] = 0,
                                         [ANSWER_SPEC_TABLE] = 0,
                                         [ANSWER_32_BIT] = 0,
                                         [ANSWER_ENODEV] = 0x80000000u + ENODEV,
                                         [ANSWER_WRONG] = 0x80000000u + EINVAL };
    enum answer answer = (enum answer)_i;
    uint8_t pattern[8192];
    uint8_t back[8192];
    uint8_t wire[16384];
    struct server s;
    struct client *c;

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, sizeof(guest), 3, -1, 0), 0);
    ck_assert(server_log_has(&s, "guest memory is not shared"));
    set_bus_master(c);
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 13 + i / 256);
    memcpy(guest + 4096, pattern, sizeof(pattern));
    start_dma(c, 1, 4096, 1000, sizeof(pattern)); /* guest -> BAR1 */
    ck_assert_uint_eq(receive(stream_fd(client_stream(c)), wire), 32);
    answer_dma(stream_fd(client_stream(c)), wire, answer);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), outcomes[answer]);
    ck_assert_int_eq(client_region_read(c, 1, 1000, back, sizeof(back)), 0);
    if (outcomes[answer] == 0)
        ck_assert_mem_eq(back, pattern, sizeof(back));
    memset(guest, 0, sizeof(guest));
    start_dma(c, 2, 20000, 1000, sizeof(pattern)); /* BAR1 -> guest */
    ck_assert_uint_eq(receive(stream_fd(client_stream(c)), wire), 32 + sizeof(pattern));
    answer_dma(stream_fd(client_stream(c)), wire, answer);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), outcomes[answer]);
    ck_assert_mem_eq(guest + 20000, back, sizeof(back));
    client_free(c);
    server_stop(&s);
}
END_TEST

/* QEMU's versions: how they answer a write of nothing, and whether their data comes 4 bytes early.
 */
static const struct qemu {
    const char *name;
    size_t answer; /* of the question: the size of the reply, or 0 for an error */
    int err;
    bool narrow;
} qemus[] = {
    { "QEMU 11", 32, 0, false },
    { "QEMU 10", 16, 0, true },
    { "one that refuses to write nothing", 16, EINVAL, false },
};

/* Answers a DMA command of QEMU's, in its own shape and with its own idea of the length. */
static void answer_as_qemu(int sock, uint8_t *wire, const struct qemu *qemu)
{
    static uint8_t reply[70000];
    struct vfio_user_dma_access access;
    struct vfio_user_header hdr;
    size_t at = qemu->narrow ? 28 : 32;
    size_t len = 32;
    int err = 0;

    memcpy(&hdr, wire, sizeof(hdr));
    memcpy(&access, wire + 16, sizeof(access));
    access.count = qemu->narrow ? (uint32_t)access.count : access.count;
    memset(reply, 0, sizeof(reply));
    memcpy(reply + 16, wire + 16, 16);
    if (hdr.command == VFIO_USER_DMA_READ) {
        memcpy(reply + at, guest + access.address, access.count);
        len += access.count;
    } else {
        ck_assert_uint_ge(hdr.size, 32 + access.count);
        memcpy(guest + access.address, wire + at, access.count);
        err = access.count == 0 ? qemu->err : 0;
        len = access.count == 0 || qemu->narrow ? qemu->answer : 32;
    }
    message_encode_header(reply, hdr.id, hdr.command, (uint32_t)len, err != 0 ? 0x21 : 1,
                          (uint32_t)err);
    ck_assert_int_eq(send(sock, reply, len, MSG_NOSIGNAL), (int)len);
}

START_TEST(test_dma_as_qemu)
{
    const struct qemu *qemu = &qemus[_i];
    struct vfio_user_header hdr;
    uint8_t pattern[1000];
    uint8_t back[1000];
    uint8_t wire[16384];
    struct server s;
    struct client *c;
    int sock;

    server_start(&s, "{ \"profile\": \"qemu\" }");
    c = server_connect(&s);
    sock = stream_fd(client_stream(c));
    ck_assert_int_eq(client_dma_map(c, 0, sizeof(guest), 3, -1, 0), 0);
    set_bus_master(c);
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 7 + 1);
    memset(guest, 0x77, sizeof(guest));
    memcpy(guest + 4096, pattern, sizeof(pattern));
    start_dma(c, 1, 4096, 0, sizeof(pattern));  /* guest -> BAR1 */
    ck_assert_uint_eq(receive(sock, wire), 32); /* the question */
    memcpy(&hdr, wire, sizeof(hdr));
    ck_assert_uint_eq(hdr.command, VFIO_USER_DMA_WRITE);
    answer_as_qemu(sock, wire, qemu);
    ck_assert_uint_eq(receive(sock, wire), 32);
    answer_as_qemu(sock, wire, qemu);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
    ck_assert_int_eq(client_region_read(c, 1, 0, back, sizeof(back)), 0);
    ck_assert_mem_eq(back, pattern, sizeof(back));
    start_dma(c, 2, 8192, 0, sizeof(pattern)); /* BAR1 -> guest: asked once only */
    ck_assert_uint_eq(receive(sock, wire), 32 + sizeof(pattern));
    answer_as_qemu(sock, wire, qemu);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
    ck_assert_mem_eq(guest + 8192, pattern, sizeof(pattern));
    ck_assert_uint_eq(guest[8191], 0x77);
    ck_assert_uint_eq(guest[8192 + sizeof(pattern)], 0x77);
    ck_assert_msg(server_log_has(&s, "shape of QEMU 10") == qemu->narrow, "%s", qemu->name);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* While the device waits for the client's answer, the client's own requests go on. */
START_TEST(test_requests_while_dma_waits)
{
    uint8_t wire[16384];
    struct server s;
    struct client *c;
    uint32_t busy;
    uint32_t command = 1;
    int sock;

    server_start(&s, NULL);
    c = server_connect(&s);
    sock = stream_fd(client_stream(c));
    ck_assert_int_eq(client_dma_map(c, 0, sizeof(guest), 3, -1, 0), 0);
    set_bus_master(c);
    start_dma(c, 1, 0, 0, 4096);
    ck_assert_uint_eq(receive(sock, wire), 32);
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 1);
    ck_assert_int_eq(client_region_write(c, 0, REG_DMA_CONTROL, &command, 4), -EBUSY);
    ck_assert_int_lt(server_status_call(&s), 1000);
    answer_dma(sock, wire, ANSWER_SPEC);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
    answer_dma(sock, wire, ANSWER_SPEC); /* an answer to nothing */
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
    ck_assert(server_log_has(&s, "was not asked for"));
    /* The client goes while the device waits: the transfer fails, the register says so. */
    start_dma(c, 1, 0, 0, 4096);
    ck_assert_uint_eq(receive(sock, wire), 32);
    client_free(c);
    c = server_connect(&s);
    ck_assert_int_eq(client_region_read(c, 0, REG_DMA_CONTROL, &busy, sizeof(busy)), 0);
    ck_assert_uint_eq(busy, 0x80000000u + ECANCELED);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* Bus Master goes off while a transfer waits: it goes no further. */
START_TEST(test_bus_master_off_in_the_middle)
{
    const uint16_t off = 2;
    uint8_t wire[16384];
    struct server s;
    struct client *c;

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, sizeof(guest), 3, -1, 0), 0);
    set_bus_master(c);
    start_dma(c, 1, 0, 0, 4096);
    ck_assert_uint_eq(receive(stream_fd(client_stream(c)), wire), 32);
    ck_assert_int_eq(client_region_write(c, CONFIG, 4, &off, sizeof(off)), 0);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0x80000000u + ENODEV);
    answer_dma(stream_fd(client_stream(c)), wire, ANSWER_SPEC); /* too late: ignored */
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0x80000000u + ENODEV);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* So does leaving D0; the interrupt that tells of it waits for D0, and comes once. */
START_TEST(test_d3_in_the_middle)
{
    const uint16_t d3 = 3;
    const uint16_t d0 = 0;
    uint8_t wire[16384];
    struct server s;
    struct client *c;
    int fd;

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, sizeof(guest), 3, -1, 0), 0);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    set_bus_master(c);
    start_dma(c, 1, 0, 0, 4096);
    ck_assert_uint_eq(receive(stream_fd(client_stream(c)), wire), 32);
    ck_assert_int_eq(client_region_write(c, CONFIG, 0x44, &d3, sizeof(d3)), 0);
    ck_assert_uint_eq(eventfd_wait(fd, 30), 0);
    ck_assert_int_eq(client_region_write(c, CONFIG, 0x44, &d0, sizeof(d0)), 0);
    ck_assert_uint_eq(eventfd_wait(fd, 1000), 1);
    ck_assert_uint_eq(eventfd_wait(fd, 30), 0);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0x80000000u + ENODEV);
    close(fd);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* A reset drops what is queued behind the self-test as well: nothing of it reaches the guest. */
START_TEST(test_reset_with_queued_dma)
{
    const uint64_t past = 1;
    uint8_t bar1[4096];
    uint8_t byte = 0;
    uint8_t wire[16384];
    struct server s;
    struct client *c;
    int memory = make_memory(65536);

    server_start(&s, self_test_device);
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, 4096, 3, -1, 0), 0);
    ck_assert_int_eq(client_dma_map(c, 65536, 65536, 3, memory, 0), 0);
    memset(bar1, 'E', sizeof(bar1));
    ck_assert_int_eq(client_region_write(c, 1, 0, bar1, sizeof(bar1)), 0);
    set_bus_master(c);
    ck_assert_int_eq(client_region_post(c, 0, REG_TIMER_SEC, &past, sizeof(past)), 0);
    ck_assert_uint_eq(receive(stream_fd(client_stream(c)), wire), 32 + 4096); /* the self-test's */
    start_dma(c, 2, 65536 + 8192, 0, 4096);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 1);
    ck_assert_int_eq(client_reset(c), 0);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_STATUS, 4), 0);
    ck_assert_int_eq(pread(memory, &byte, 1, 8192), 1);
    ck_assert_uint_eq(byte, 0);
    close(memory);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* libvfio-user's sample: four DMA writes and four DMA reads of 1 KiB after each interrupt. */
START_TEST(test_self_test)
{
    struct version_caps ours;
    struct version_caps theirs;
    uint8_t wire[4096];
    struct server s;
    struct client *c;
    int memory = make_memory(2 * 4096);
    int fd;

    server_start(&s, self_test_device);
    ck_assert(server_log_has(&s, "not a power of two"));
    version_defaults(&ours);
    ours.present = VERSION_MAX_DATA_XFER_SIZE;
    ours.max_data_xfer_size = 1024;
    ck_assert_int_eq(client_connect(s.socket, &c), 0);
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), 0);
    for (uint64_t i = 0; i < 2; i++)
        ck_assert_int_eq(client_dma_map(c, i * 4096, 4096, 3, memory, i * 4096), 0);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    write_reg(c, REG_TIMER_NSEC, (uint64_t)(now_ns() + 20 * MS), 8);
    ck_assert_uint_eq(eventfd_wait(fd, 1000), 1);
    for (int i = 0; i < 8; i++) {
        struct vfio_user_dma_access access;
        struct vfio_user_header hdr;
        size_t size = receive(stream_fd(client_stream(c)), wire);

        memcpy(&hdr, wire, sizeof(hdr));
        memcpy(&access, wire + 16, sizeof(access));
        ck_assert_uint_eq(hdr.command, i < 4 ? VFIO_USER_DMA_WRITE : VFIO_USER_DMA_READ);
        ck_assert_uint_eq(size, i < 4 ? 32 + 1024 : 32);
        ck_assert_uint_eq(access.address, (uint64_t)(i % 4) * 1024);
        ck_assert_uint_eq(access.count, 1024);
        answer_dma(stream_fd(client_stream(c)), wire, ANSWER_SPEC);
    }
    read_reg(c, REG_IRQ_COUNT, 8); /* behind the last answer */
    ck_assert(server_log_has(&s, "self-test: direct: 4096 bytes written and read back alike"));
    ck_assert(server_log_has(&s, "self-test: by message: 4096 bytes written and read back alike"));
    close(fd);
    close(memory);
    client_free(c);
    server_stop(&s);
}
END_TEST

/*
 * Connections
 */

static int64_t client_number(struct json_object *status, const char *key)
{
    struct json_object *client = NULL;
    struct json_object *value = NULL;

    ck_assert(json_object_object_get_ex(status, "client", &client) && client != NULL);
    ck_assert(json_object_object_get_ex(client, key, &value));
    return json_object_get_int64(value);
}

START_TEST(test_client_in_status)
{
    struct json_object *status;
    struct json_object *client = NULL;
    struct server s;
    struct client *c;
    int64_t before = now_ns();

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(client_reset(c), 0);
    ck_assert_int_eq(client_dma_unmap(c, 0, 4096, 0), -ENOENT);
    status = server_status(&s);
    ck_assert_int_eq(client_number(status, "pid"), getpid());
    ck_assert_int_eq(client_number(status, "uid"), getuid());
    ck_assert_int_ge(client_number(status, "since"), before);
    ck_assert_int_le(client_number(status, "since"), now_ns());
    ck_assert_int_eq(client_number(status, "requests"), 2);
    ck_assert_int_eq(client_number(status, "errors"), 1);
    json_object_put(status);
    client_free(c);
    poll(NULL, 0, 20);
    status = server_status(&s);
    ck_assert(json_object_object_get_ex(status, "client", &client) && client == NULL);
    json_object_put(status);
    server_stop(&s);
}
END_TEST

START_TEST(test_state_survives_disconnect)
{
    const uint64_t pattern = 0x0123456789abcdef;
    struct server s;
    struct client *c;
    uint64_t back;
    unsigned idle_fds;
    int memory = make_memory(4096);
    int fd;

    server_start(&s, NULL);
    idle_fds = server_fds(&s);
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, 4096, 3, memory, 0), 0);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    ck_assert_int_eq(client_region_write(c, 1, 5000, &pattern, 8), 0);
    write_reg(c, REG_DMA_IOVA, pattern, 8);
    write_reg(c, REG_TIMER_NSEC, (uint64_t)(now_ns() + 100 * MS), 8);
    client_free(c);
    server_wait_fds(&s, idle_fds);
    ck_assert_uint_eq(eventfd_wait(fd, 200), 0); /* fired, but this eventfd is forgotten */
    close(fd);
    c = server_connect(&s);
    ck_assert_int_eq(client_region_read(c, 1, 5000, &back, 8), 0);
    ck_assert_uint_eq(back, pattern);
    ck_assert_uint_eq(read_reg(c, REG_DMA_IOVA, 8), pattern);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_STATUS, 4), 1);
    ck_assert_int_eq(client_dma_map(c, 0, 4096, 3, memory, 0), 0); /* no EEXIST */
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    ck_assert_uint_eq(eventfd_wait(fd, 1000), 1); /* what was pending */
    close(fd);
    close(memory);
    client_free(c);
    server_stop(&s);
}
END_TEST

#define PIPELINED 500

/* The client's socket does not block, and one-byte packets fill its buffer fast. */
static void send_byte(int sock, const uint8_t *byte)
{
    struct pollfd p = { .fd = sock, .events = POLLOUT };

    while (send(sock, byte, 1, MSG_NOSIGNAL) != 1) {
        ck_assert_int_eq(errno, EAGAIN);
        ck_assert_int_eq(poll(&p, 1, 2000), 1);
    }
}

START_TEST(test_pipelining)
{
    struct server s;
    struct client *c;
    uint8_t *wire = calloc(PIPELINED, 40);
    uint8_t reply[64];
    int sock;

    server_start(&s, NULL);
    c = server_connect(&s);
    sock = stream_fd(client_stream(c));
    for (uint32_t i = 0; i < PIPELINED; i++) {
        const struct vfio_user_region_access access = { .offset = i * 8, .region = 1, .count = 8 };
        uint64_t value = i * 3;

        /* Every other one without a reply. */
        message_encode_header(wire + i * 40, (uint16_t)i, VFIO_USER_REGION_WRITE, 40,
                              i % 2 == 0 ? VFIO_USER_NO_REPLY : 0, 0);
        memcpy(wire + i * 40 + 16, &access, sizeof(access));
        memcpy(wire + i * 40 + 32, &value, sizeof(value));
    }
    ck_assert_int_eq(send(sock, wire, PIPELINED * 40, MSG_NOSIGNAL), PIPELINED * 40);
    for (uint32_t i = 1; i < PIPELINED; i += 2) {
        struct vfio_user_header hdr;

        ck_assert_uint_eq(receive(sock, reply), 32);
        memcpy(&hdr, reply, sizeof(hdr));
        ck_assert_uint_eq(hdr.id, i);
        ck_assert_uint_eq(hdr.flags, VFIO_USER_TYPE_REPLY);
    }
    for (uint32_t i = 0; i < PIPELINED; i++) {
        uint64_t value;

        ck_assert_int_eq(client_region_read(c, 1, i * 8, &value, 8), 0);
        ck_assert_uint_eq(value, i * 3);
    }
    /* The same bytes one at a time: a stream is no row of packets. */
    for (size_t i = 0; i < 10 * 40; i++)
        send_byte(sock, wire + i);
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(receive(sock, reply), 32);
    free(wire);
    client_free(c);
    server_stop(&s);
}
END_TEST

START_TEST(test_posted_and_bundled_writes)
{
    struct vfio_user_write_single writes[200];
    const uint64_t count = 200;
    struct client_call call = { .command = VFIO_USER_REGION_WRITE_MULTI,
                                .flags = VFIO_USER_NO_REPLY,
                                .fixed_len = sizeof(count),
                                .data_len = sizeof(writes) };
    struct server s;
    struct client *c;
    uint64_t done = 0;
    uint64_t value;

    server_start(&s, NULL);
    c = server_connect(&s);
    for (uint64_t i = 0; i < 1000; i++)
        ck_assert_int_eq(client_region_post(c, 1, i * 8, &i, 8), 0);
    ck_assert_int_eq(client_region_post(c, 9, 0, &done, 8), 0); /* fails, and nobody is told */
    ck_assert_int_eq(client_region_read(c, 1, 999 * 8, &value, 8), 0);
    ck_assert_uint_eq(value, 999);
    for (uint32_t i = 0; i < 200; i++) {
        value = i + 77;
        writes[i] = (struct vfio_user_write_single) { .offset = i * 16, .region = 1, .count = 8 };
        memcpy(writes[i].data, &value, 8);
    }
    ck_assert_int_eq(client_write_multi(c, writes, 200, &done), 0);
    ck_assert_uint_eq(done, 200);
    ck_assert_int_eq(client_region_read(c, 1, 199 * 16, &value, 8), 0);
    ck_assert_uint_eq(value, 199 + 77);
    writes[150].region = 6; /* there is no ROM */
    ck_assert_int_eq(client_write_multi(c, writes, 200, &done), 0);
    ck_assert_uint_eq(done, 150);
    writes[0].region = 6;
    ck_assert_int_eq(client_write_multi(c, writes, 200, &done), -EINVAL);
    /* Posted, each stands for itself: the others are done. */
    value = 4711;
    memcpy(writes[199].data, &value, 8);
    call.fixed = &count;
    call.data = writes;
    ck_assert_int_eq(client_call(c, &call), 0);
    ck_assert_int_eq(client_region_read(c, 1, 199 * 16, &value, 8), 0);
    ck_assert_uint_eq(value, 4711);
    client_free(c);
    server_stop(&s);
}
END_TEST

#define BLOCK       1000
#define LAST_BLOCKS 4
#define SLOW_WRITES 100

static void fill_post(uint8_t *wire, uint64_t offset, uint32_t value)
{
    const struct vfio_user_region_access access = { .offset = offset, .region = 0, .count = 4 };

    message_encode_header(wire, 1, VFIO_USER_REGION_WRITE, 36, VFIO_USER_NO_REPLY, 0);
    memcpy(wire + 16, &access, sizeof(access));
    memcpy(wire + 32, &value, sizeof(value));
}

/*
 * All that a client sent before it closed is done, also when the next one is faster than that, and
 * it takes longer than one turn: the first of its writes copy a MiB each, the others ring.
 */
START_TEST(test_last_words)
{
    static const uint8_t version[] = { 0, 0, 1, 0, '{', '}', 0 };
    struct client_call call = { .command = VFIO_USER_VERSION,
                                .fixed = version,
                                .fixed_len = sizeof(version) };
    uint8_t *wire = calloc(BLOCK, 36);
    struct server s;
    struct client *c;
    struct client *next;
    int memory = make_memory(1 << 20);
    int id;

    server_start(&s, "{ \"bar1\": { \"size\": \"1M\", \"mmap\": [] } }");
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, 1 << 20, 3, memory, 0), 0);
    set_bus_master(c);
    write_reg(c, REG_DMA_LENGTH, 1 << 20, 4);
    ck_assert_int_eq(client_connect(s.socket, &next), 0);
    server_status_call(&s); /* it is accepted by now */
    ck_assert_int_eq(kill(s.pid, SIGSTOP), 0);
    id = client_send(next, &call);
    ck_assert_int_ge(id, 0);
    for (int block = 0; block < LAST_BLOCKS; block++) {
        for (size_t i = 0; i < BLOCK; i++) {
            bool slow = block == 0 && i < SLOW_WRITES;

            fill_post(wire + i * 36, slow ? REG_DMA_CONTROL : 0x808, 1);
        }
        ck_assert_int_eq(send(stream_fd(client_stream(c)), wire, BLOCK * 36, MSG_NOSIGNAL),
                         BLOCK * 36);
    }
    client_free(c);
    ck_assert_int_eq(kill(s.pid, SIGCONT), 0);
    ck_assert_int_eq(client_wait(next, (uint16_t)id, &call), 0);
    ck_assert_uint_eq(read_reg(next, 0x804, 4), LAST_BLOCKS * BLOCK - SLOW_WRITES);
    free(wire);
    close(memory);
    client_free(next);
    server_stop(&s);
}
END_TEST

/*
 * The process
 */

static pid_t start_with_fd(int fd, int log)
{
    char number[16];
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int copy = dup(fd); /* without close-on-exec */

        snprintf(number, sizeof(number), "%d", copy);
        dup2(log, STDERR_FILENO);
        execl(getenv("VFIO_USERD"), "vfio-userd", "--fd", number, NULL);
        _exit(127);
    }
    return pid;
}

/* Started with a connected socket, it serves that one, and ends with it. */
START_TEST(test_connected_fd)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *c;
    int log = memfd_create("log", MFD_CLOEXEC);
    int socks[2];
    int status;
    pid_t pid;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
    pid = start_with_fd(socks[1], log);
    close(socks[1]);
    ck_assert_int_eq(client_new(socks[0], &c), 0);
    version_defaults(&ours);
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), 0);
    ck_assert_int_eq(client_reset(c), 0);
    client_free(c);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(log);
}
END_TEST

/* SIGTERM beside a client: what it asked before is answered, its socket is closed. */
START_TEST(test_sigterm_with_a_client)
{
    uint8_t wire[16];
    uint8_t rest[16];
    struct server s;
    struct client *c;
    int sock;

    server_start(&s, NULL);
    c = server_connect(&s);
    sock = stream_fd(client_stream(c));
    message_encode_header(wire, 5, VFIO_USER_DEVICE_RESET, sizeof(wire), 0, 0);
    ck_assert_int_eq(send(sock, wire, sizeof(wire), MSG_NOSIGNAL), (int)sizeof(wire));
    ck_assert_uint_eq(receive(sock, wire), 16);
    server_stop(&s);
    ck_assert_int_eq(recv(sock, rest, sizeof(rest), 0), 0);
    client_free(c);
}
END_TEST

#ifdef HAVE_LIBSYSTEMD
/* Told when both sockets answer, and when the end begins. */
START_TEST(test_service_manager)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char text[64] = "";
    struct server s;

    snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/vfio-userd-notify.%d", (int)getpid());
    ck_assert_int_eq(bind(manager, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    setenv("NOTIFY_SOCKET", addr.sun_path, 1); /* of this test's own process */
    server_start(&s, NULL);
    ck_assert_int_gt(recv(manager, text, sizeof(text) - 1, 0), 0);
    ck_assert_str_eq(text, "READY=1");
    server_stop(&s);
    memset(text, 0, sizeof(text));
    ck_assert_int_gt(recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT), 0);
    ck_assert_str_eq(text, "STOPPING=1");
    unlink(addr.sun_path);
    close(manager);
}
END_TEST
#endif

/* Nothing to do, nothing done: no wake-up, with and without a client. */
START_TEST(test_idle)
{
    struct server s;
    struct client *c;
    long before;

    server_start(&s, NULL);
    c = server_connect(&s);
    poll(NULL, 0, 50);
    before = server_status_value(&s, "voluntary_ctxt_switches");
    poll(NULL, 0, 500);
    ck_assert_int_eq(server_status_value(&s, "voluntary_ctxt_switches"), before);
    client_free(c);
    server_stop(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("live");
    TCase *tcase = tcase_create("device");

    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, test_client_that_never_unmasks);
    tcase_add_test(tcase, test_client_that_unmasks);
    tcase_add_test(tcase, test_unmask_eventfd);
    tcase_add_test(tcase, test_msi);
    tcase_add_loop_test(tcase, test_dma_by_message, ANSWER_SPEC, ANSWER_WRONG + 1);
    tcase_add_loop_test(tcase, test_dma_as_qemu, 0, 3);
    tcase_add_test(tcase, test_requests_while_dma_waits);
    tcase_add_test(tcase, test_bus_master_off_in_the_middle);
    tcase_add_test(tcase, test_d3_in_the_middle);
    tcase_add_test(tcase, test_reset_with_queued_dma);
    tcase_add_test(tcase, test_self_test);
    tcase_add_test(tcase, test_client_in_status);
    tcase_add_test(tcase, test_state_survives_disconnect);
    tcase_add_test(tcase, test_pipelining);
    tcase_add_test(tcase, test_posted_and_bundled_writes);
    tcase_add_test(tcase, test_last_words);
    tcase_add_test(tcase, test_connected_fd);
    tcase_add_test(tcase, test_sigterm_with_a_client);
#ifdef HAVE_LIBSYSTEMD
    tcase_add_test(tcase, test_service_manager);
#endif
    tcase_add_test(tcase, test_idle);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
