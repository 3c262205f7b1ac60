/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA of the running device by message: every shape of reply, what goes on meanwhile, and what ends
 * a transfer in the middle.
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
#include "integration/live_kit.h"
#include "message.h"
#include "suite.h"

static const char self_test_device[] =
    "{ \"bar1\": { \"size\": \"12K\", \"mmap\": [[\"0\", \"4K\"]] }, \"dma_on_irq\": true }";

/*
 * DMA by message
 */

/* How a client answers DMA_READ and DMA_WRITE. */
enum answer { ANSWER_SPEC, ANSWER_SPEC_TABLE, ANSWER_32_BIT, ANSWER_ENODEV, ANSWER_WRONG };

static uint8_t guest[65536];

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
 * QEMU switches a vIOMMU: it unmaps what it does not know to be mapped. Cloud Hypervisor is always
 * told of success, and so must not find memory mapped that it has unmapped. Others are to be exact.
 */
START_TEST(unmap_of_more_than_is_mapped)
{
    static const struct {
        const char *description;
        int half; /* what the unmapping of a half says, and that of what is not mapped */
        int none;
        int all; /* and that of more than two maps */
    } rows[] = {
        { NULL, -ENOENT, -ENOENT, -ENOENT },
        { "{\"profile\": \"qemu\"}", -ENOENT, 0, 0 },
        { "{\"profile\": \"cloud-hypervisor\"}", 0, 0, 0 },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct server s;
        struct client *c;

        server_start(&s, rows[i].description);
        c = server_connect(&s);
        ck_assert_int_eq(client_dma_map(c, 0x10000, 0x1000, 3, -1, 0), 0);
        ck_assert_int_eq(client_dma_map(c, 0x20000, 0x1000, 3, -1, 0), 0);
        ck_assert_int_eq(client_dma_unmap(c, 0x20800, 0x10000, 0), rows[i].half);
        ck_assert_int_eq(client_dma_map(c, 0x20000, 0x1000, 3, -1, 0), -EEXIST); /* it stays */
        ck_assert_int_eq(client_dma_unmap(c, 1ull << 63, 1ull << 63, 0), rows[i].none);
        ck_assert_int_eq(client_dma_unmap(c, 0, 1ull << 63, 0), rows[i].all);
        ck_assert_int_eq(client_dma_map(c, 0x10000, 0x1000, 3, -1, 0),
                         rows[i].all == 0 ? 0 : -EEXIST);
        ck_assert_int_eq(client_dma_map(c, 0x20000, 0x1000, 3, -1, 0),
                         rows[i].all == 0 ? 0 : -EEXIST);
        client_free(c);
        server_stop(&s);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dma");
    TCase *tcase = tcase_create("device");

    tcase_set_timeout(tcase, 20);
    tcase_add_loop_test(tcase, test_dma_by_message, ANSWER_SPEC, ANSWER_WRONG + 1);
    tcase_add_loop_test(tcase, test_dma_as_qemu, 0, 3);
    tcase_add_test(tcase, test_requests_while_dma_waits);
    tcase_add_test(tcase, test_bus_master_off_in_the_middle);
    tcase_add_test(tcase, test_d3_in_the_middle);
    tcase_add_test(tcase, test_reset_with_queued_dma);
    tcase_add_test(tcase, test_self_test);
    tcase_add_test(tcase, unmap_of_more_than_is_mapped);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
