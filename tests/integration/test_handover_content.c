/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What moves with a device: requests that nobody has read yet, DMA by message, interrupts that are
 * pending, masked or about to come, guest memory in many files, and the log of written pages.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "integration/handover_kit.h"
#include "integration/live_kit.h"
#include "message.h"
#include "suite.h"

#define REG_IRQ_ENABLE 0x14
#define PIPELINED      100
#define PAGE           4096u

struct pair {
    struct server a;
    struct server b;
    struct client *c;
};

static void pair_start(struct pair *p, const char *description)
{
    server_start(&p->a, description);
    server_start(&p->b, description);
    p->c = server_connect(&p->a);
}

/* The device is b's. */
static void pair_stop(struct pair *p)
{
    client_free(p->c);
    server_stop(&p->a);
    server_stop(&p->b);
}

static void move(struct pair *p)
{
    handover_succeeds(&p->a, &p->b, true);
}

/*
 * Requests
 */

static size_t write_request(uint8_t *at, uint16_t id, uint64_t value)
{
    const struct vfio_user_region_access access = { .offset = id * 8u, .region = 1, .count = 8 };
    size_t size = VFIO_USER_HEADER_SIZE + sizeof(access) + sizeof(value);

    message_encode_header(at, id, VFIO_USER_REGION_WRITE, (uint32_t)size, VFIO_USER_TYPE_COMMAND,
                          0);
    memcpy(at + VFIO_USER_HEADER_SIZE, &access, sizeof(access));
    memcpy(at + VFIO_USER_HEADER_SIZE + sizeof(access), &value, sizeof(value));
    return size;
}

/* A hundred requests, and half a one: before the handover, in its middle, or all over it. */
START_TEST(requests_in_flight_are_answered)
{
    const struct wish wish = { .keep = true };
    uint8_t wire[(PIPELINED + 1) * 64];
    uint8_t reply[256];
    struct varlink *v;
    struct outcome o;
    struct pair p;
    size_t len = 0;
    size_t half;
    int sock;

    pair_start(&p, NULL);
    sock = stream_fd(client_stream(p.c));
    for (uint16_t i = 0; i < PIPELINED; i++)
        len += write_request(wire + len, i, i * 3u);
    half = len + 5 + (size_t)_i * 7;
    len += write_request(wire + len, PIPELINED, PIPELINED * 3u);
    if (_i % 2 == 0)
        ck_assert_int_eq(send(sock, wire, half, 0), (int)half);
    v = handover_begin(&p.a, &p.b, &wish);
    if (_i % 2 == 1)
        ck_assert_int_eq(send(sock, wire, half, 0), (int)half);
    handover_wait(v, &o);
    ck_assert_msg(o.error[0] == '\0', "%s", o.text);
    ck_assert_int_eq(send(sock, wire + half, len - half, 0), (int)(len - half));
    for (uint16_t i = 0; i <= PIPELINED; i++) {
        struct vfio_user_header hdr;

        receive(sock, reply);
        memcpy(&hdr, reply, sizeof(hdr));
        ck_assert_uint_eq(hdr.id, i);
        ck_assert_uint_eq(hdr.flags, VFIO_USER_TYPE_REPLY);
    }
    for (uint64_t i = 0; i <= PIPELINED; i++) {
        uint64_t value;

        ck_assert_int_eq(client_region_read(p.c, 1, i * 8, &value, 8), 0);
        ck_assert_uint_eq(value, i * 3);
    }
    pair_stop(&p);
}
END_TEST

/* The first part of a DMA_MAP, with its fd, is read by the one, the rest by the other. */
START_TEST(an_fd_of_half_a_message_moves_too)
{
    const struct vfio_user_dma_map map = {
        .argsz = sizeof(map), .flags = 3, .address = 0x10000, .size = PAGE
    };
    uint8_t wire[VFIO_USER_HEADER_SIZE + sizeof(map)];
    int memory = make_memory(PAGE);
    union {
        struct cmsghdr align;
        uint8_t space[CMSG_SPACE(sizeof(int))];
    } control = { .space = { 0 } };
    struct iovec iov = { .iov_base = wire, .iov_len = 20 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.space,
                          .msg_controllen = sizeof(control.space) };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    uint64_t value = 0x1122334455667788;
    struct pair p;
    int sock;

    pair_start(&p, NULL);
    sock = stream_fd(client_stream(p.c));
    ck_assert_int_eq(pwrite(memory, &value, 8, 0), 8);
    message_encode_header(wire, 7, VFIO_USER_DMA_MAP, sizeof(wire), VFIO_USER_TYPE_COMMAND, 0);
    memcpy(wire + VFIO_USER_HEADER_SIZE, &map, sizeof(map));
    *cmsg = (struct cmsghdr) { .cmsg_len = CMSG_LEN(sizeof(int)),
                               .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(cmsg), &memory, sizeof(int));
    ck_assert_int_eq(sendmsg(sock, &msg, 0), 20);
    poll(NULL, 0, 20); /* it is read */
    move(&p);
    ck_assert_int_eq(send(sock, wire + 20, sizeof(wire) - 20, 0), (int)sizeof(wire) - 20);
    ck_assert_uint_eq(receive(sock, wire), 16);
    set_bus_master(p.c);
    write_reg(p.c, REG_DMA_IOVA, 0x10000, 8);
    write_reg(p.c, REG_DMA_LENGTH, 8, 4);
    write_reg(p.c, REG_DMA_CONTROL, 1, 4);
    ck_assert_uint_eq(read_reg(p.c, REG_DMA_CONTROL, 4), 0);
    value = 0;
    ck_assert_int_eq(client_region_read(p.c, 1, 0, &value, 8), 0);
    ck_assert_uint_eq(value, 0x1122334455667788);
    close(memory);
    pair_stop(&p);
}
END_TEST

/* While it does not read what is answered, it cannot be moved, and can be served. */
START_TEST(client_that_does_not_read)
{
    const struct wish wish = { .keep = true, .timeout_ms = 300 };
    const struct vfio_user_region_access access = { .region = 1, .count = 8192 };
    uint8_t wire[VFIO_USER_HEADER_SIZE + sizeof(access)];
    static uint8_t reply[8192 + 64];
    struct outcome o;
    struct pair p;
    int sock;

    pair_start(&p, NULL);
    sock = stream_fd(client_stream(p.c));
    memcpy(wire + VFIO_USER_HEADER_SIZE, &access, sizeof(access));
    for (uint16_t i = 0; i < 200; i++) {
        message_encode_header(wire, i, VFIO_USER_REGION_READ, sizeof(wire), VFIO_USER_TYPE_COMMAND,
                              0);
        ck_assert_int_eq(send(sock, wire, sizeof(wire), 0), (int)sizeof(wire));
    }
    handover_do(&p.a, &p.b, &wish, &o);
    ck_assert_str_eq(o.error, "MigrationFailed");
    ck_assert_str_eq(o.phase, "freeze");
    ck_assert_msg(strstr(o.text, "the client has not answered within 300 ms") != NULL, "%s",
                  o.text);
    for (int i = 0; i < 200; i++)
        ck_assert_uint_eq(receive(sock, reply), 8192 + 32);
    move(&p);
    read_reg(p.c, REG_IRQ_COUNT, 8);
    pair_stop(&p);
}
END_TEST

/*
 * DMA by message
 */

static int give(void *opaque, uint64_t address, void *data, uint64_t count)
{
    unsigned *asked = opaque;

    (*asked)++;
    memset(data, (int)(address >> 12), count);
    return 0;
}

static void ask_for_dma(struct client *c, uint64_t iova)
{
    const uint32_t go = 1;

    set_bus_master(c);
    ck_assert_int_eq(client_dma_map(c, iova, PAGE, 3, -1, 0), 0);
    write_reg(c, REG_DMA_IOVA, iova, 8);
    write_reg(c, REG_DMA_LENGTH, 64, 4);
    ck_assert_int_eq(client_region_post(c, 0, REG_DMA_CONTROL, &go, 4), 0);
}

static void expect_dma(struct client *c, uint8_t value)
{
    int64_t until = now_ms() + 5000;
    uint8_t bytes[64];

    while (read_reg(c, REG_DMA_CONTROL, 4) == 1 && now_ms() < until)
        client_serve(c, -1, 5);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
    ck_assert_int_eq(client_region_read(c, 1, 0, bytes, sizeof(bytes)), 0);
    for (size_t i = 0; i < sizeof(bytes); i++)
        ck_assert_uint_eq(bytes[i], value);
}

/* Its answer is waited for, and the rest goes on meanwhile. */
START_TEST(dma_message_is_waited_for)
{
    const struct wish wish = { .keep = true };
    unsigned asked = 0;
    const struct client_memory memory = { .opaque = &asked, .read = give };
    struct varlink *v;
    struct outcome o;
    struct pair p;

    pair_start(&p, NULL);
    client_set_memory(p.c, &memory);
    ask_for_dma(p.c, 0x5000);
    v = handover_begin(&p.a, &p.b, &wish);
    poll(NULL, 0, 100);
    ck_assert(server_has_client(&p.a));
    expect_dma(p.c, 5);
    handover_wait(v, &o);
    ck_assert_msg(o.error[0] == '\0', "%s", o.text);
    expect_dma(p.c, 5);
    ck_assert_uint_eq(asked, 1);
    ask_for_dma(p.c, 0x7000);
    expect_dma(p.c, 7);
    ck_assert_uint_eq(asked, 2);
    pair_stop(&p);
}
END_TEST

/* An answer that does not come in time leaves all as it was. */
START_TEST(dma_message_without_an_answer)
{
    const struct wish wish = { .keep = true, .timeout_ms = 200 };
    unsigned asked = 0;
    const struct client_memory memory = { .opaque = &asked, .read = give };
    struct outcome o;
    struct pair p;

    pair_start(&p, NULL);
    client_set_memory(p.c, &memory);
    ask_for_dma(p.c, 0x5000);
    handover_do(&p.a, &p.b, &wish, &o);
    ck_assert_str_eq(o.error, "MigrationFailed");
    ck_assert_str_eq(o.phase, "freeze");
    expect_dma(p.c, 5);
    ask_for_dma(p.c, 0x7000);
    expect_dma(p.c, 7);
    move(&p);
    pair_stop(&p);
}
END_TEST

/*
 * Interrupts
 */

static void fire(struct client *c)
{
    write_reg(c, REG_TIMER_NSEC, (uint64_t)now_ns(), 8);
}

START_TEST(pending_and_masked_interrupt_moves)
{
    struct pair p;
    int line;

    pair_start(&p, NULL);
    ck_assert_int_eq(set_eventfds(p.c, 0, 0, 1, &line), 0);
    ck_assert_int_eq(client_set_irqs(p.c, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 0,
                                     1, NULL, NULL, 0),
                     0);
    fire(p.c);
    move(&p);
    ck_assert_uint_eq(read_reg(p.c, REG_IRQ_COUNT, 8), 1);
    ck_assert_uint_eq(eventfd_wait(line, 50), 0);
    ck_assert_int_eq(client_set_irqs(p.c, UNMASK, 0, 0, 1, NULL, NULL, 0), 0);
    ck_assert_uint_eq(eventfd_wait(line, 1000), 1);
    ck_assert_uint_eq(eventfd_wait(line, 20), 0);
    close(line);
    pair_stop(&p);
}
END_TEST

/* One that has gone out does not again; KVM's end of interrupt is heard by the new owner. */
START_TEST(unmask_eventfd_moves)
{
    const uint64_t one = 1;
    struct pair p;
    int line;
    int unmask = eventfd(0, EFD_CLOEXEC);

    pair_start(&p, NULL);
    ck_assert_int_eq(set_eventfds(p.c, 0, 0, 1, &line), 0);
    ck_assert_int_eq(client_set_irqs(p.c, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, 0,
                                     0, 1, NULL, &unmask, 1),
                     0);
    fire(p.c);
    ck_assert_uint_eq(eventfd_wait(line, 1000), 1);
    move(&p);
    ck_assert_uint_eq(eventfd_wait(line, 50), 0);
    ck_assert_int_eq(write(unmask, &one, 8), 8);
    ck_assert_uint_eq(eventfd_wait(line, 1000), 1);
    write_reg(p.c, REG_IRQ_STATUS, 1, 4);
    ck_assert_int_eq(write(unmask, &one, 8), 8);
    ck_assert_uint_eq(eventfd_wait(line, 50), 0);
    close(unmask);
    close(line);
    pair_stop(&p);
}
END_TEST

START_TEST(msi_vectors_move)
{
    const char *description =
        "{\"pci\": {\"capabilities\": [{\"kind\": \"pm\"}, {\"kind\": \"msi\", \"vectors\": 32}]}}";
    struct pair p;
    int fds[32];

    pair_start(&p, description);
    ck_assert_int_eq(set_eventfds(p.c, VFIO_PCI_MSI_IRQ_INDEX, 0, 16, fds), 0);
    ck_assert_int_eq(set_eventfds(p.c, VFIO_PCI_MSI_IRQ_INDEX, 16, 16, fds + 16), 0);
    move(&p);
    fire(p.c); /* vector 0 */
    ck_assert_uint_eq(eventfd_wait(fds[0], 1000), 1);
    set_bus_master(p.c);
    write_reg(p.c, REG_DMA_CONTROL, 9, 4); /* no such command: fails, which is vector 2's */
    ck_assert_uint_eq(eventfd_wait(fds[2], 1000), 1);
    for (int i = 0; i < 32; i++) {
        ck_assert_uint_eq(eventfd_wait(fds[i], 0), 0);
        close(fds[i]);
    }
    pair_stop(&p);
}
END_TEST

/* The deadline passes while nobody may fire it. */
START_TEST(deadline_in_the_blackout_fires_once)
{
    const struct fault fault = { .phase = "await", .signal = SIGSTOP };
    const struct wish wish = { .keep = true };
    struct varlink *v;
    struct outcome o;
    struct pair p;
    int line;

    server_start(&p.a, NULL);
    server_start_faulty(&p.b, &fault);
    p.c = server_connect(&p.a);
    ck_assert_int_eq(set_eventfds(p.c, 0, 0, 1, &line), 0);
    write_reg(p.c, REG_TIMER_NSEC, (uint64_t)now_ns() + 100 * MS, 8);
    v = handover_begin(&p.a, &p.b, &wish);
    server_wait_fault(&p.b, &fault);
    poll(NULL, 0, 200);
    ck_assert_uint_eq(eventfd_wait(line, 0), 0);
    ck_assert_int_eq(kill(p.b.pid, SIGCONT), 0);
    handover_wait(v, &o);
    ck_assert_msg(o.error[0] == '\0', "%s", o.text);
    ck_assert_int_ge(o.blackout, 190 * MS);
    ck_assert_uint_eq(eventfd_wait(line, 1000), 1);
    ck_assert_uint_eq(eventfd_wait(line, 100), 0);
    ck_assert_uint_eq(read_reg(p.c, REG_IRQ_COUNT, 8), 1);
    close(line);
    pair_stop(&p);
}
END_TEST

/*
 * Guest memory
 */

#define FILES 40
#define MAPS  300

START_TEST(many_maps_in_many_files_move)
{
    int files[FILES];
    struct pair p;

    pair_start(&p, NULL);
    set_bus_master(p.c);
    for (int i = 0; i < FILES; i++)
        files[i] = make_memory(16 * PAGE);
    for (uint64_t i = 0; i < MAPS; i++) {
        uint64_t value = i * 7 + 1;
        int file = files[i % FILES];
        uint64_t offset = i / FILES * PAGE;

        ck_assert_int_eq(pwrite(file, &value, 8, (off_t)offset), 8);
        ck_assert_int_eq(client_dma_map(p.c, i * 2 * PAGE, PAGE, 3, file, offset), 0);
    }
    move(&p);
    write_reg(p.c, REG_DMA_LENGTH, 8, 4);
    for (uint64_t i = 0; i < MAPS; i++) {
        uint64_t value = 0;

        write_reg(p.c, REG_DMA_IOVA, i * 2 * PAGE, 8);
        write_reg(p.c, REG_DMA_CONTROL, 1, 4);
        ck_assert_uint_eq(read_reg(p.c, REG_DMA_CONTROL, 4), 0);
        ck_assert_int_eq(client_region_read(p.c, 1, 0, &value, 8), 0);
        ck_assert_uint_eq(value, i * 7 + 1);
    }
    for (uint64_t i = 0; i < MAPS; i++)
        ck_assert_int_eq(client_dma_unmap(p.c, i * 2 * PAGE, PAGE, 0), 0);
    for (int i = 0; i < FILES; i++)
        close(files[i]);
    pair_stop(&p);
}
END_TEST

static void write_page(struct client *c, uint64_t page)
{
    write_reg(c, REG_DMA_IOVA, page * PAGE, 8);
    write_reg(c, REG_DMA_LENGTH, 8, 4);
    write_reg(c, REG_DMA_CONTROL, 2, 4);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
}

/* Pages that the one has written and those that the other has are all reported. */
START_TEST(dirty_log_moves)
{
    struct {
        struct vfio_user_dma_logging_control control;
        struct vfio_device_feature_dma_logging_range range;
    } start = { .control = { .page_size = PAGE, .num_ranges = 1 },
                .range = { .iova = 0, .length = 64 * PAGE } };
    struct vfio_user_dma_logging_report ask = { .iova = 0, .length = 64 * PAGE, .page_size = PAGE };
    struct {
        struct vfio_user_dma_logging_report head;
        uint64_t bitmap;
    } report;
    int memory = make_memory(64 * PAGE);
    struct pair p;

    pair_start(&p, NULL);
    set_bus_master(p.c);
    ck_assert_int_eq(client_dma_map(p.c, 0, 64 * PAGE, 3, memory, 0), 0);
    ck_assert_int_eq(
        client_feature_set(p.c, VFIO_DEVICE_FEATURE_DMA_LOGGING_START, &start, sizeof(start)), 0);
    write_page(p.c, 3);
    move(&p);
    write_page(p.c, 5);
    ck_assert_int_eq(client_feature_get(p.c, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, &ask,
                                        sizeof(ask), &report, sizeof(report), NULL),
                     0);
    ck_assert_uint_eq(report.bitmap, 1u << 3 | 1u << 5);
    close(memory);
    pair_stop(&p);
}
END_TEST

/* What the client had agreed with the one holds with the other, whatever its description says. */
START_TEST(limits_move)
{
    struct pair p;
    uint8_t bytes[64];

    server_start(&p.a, NULL);
    server_start(&p.b, "{\"limits\": {\"max_data_xfer_size\": \"4K\", \"max_dma_maps\": 1}}");
    p.c = server_connect(&p.a);
    move(&p);
    ck_assert_int_eq(client_dma_map(p.c, 0, PAGE, 3, -1, 0), 0);
    ck_assert_int_eq(client_dma_map(p.c, PAGE, PAGE, 3, -1, 0), 0);
    ck_assert_int_eq(client_region_read(p.c, 1, 0, bytes, sizeof(bytes)), 0);
    pair_stop(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("handover_content");
    TCase *tcase = tcase_create("content");

    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, requests_in_flight_are_answered, 0, 6);
    tcase_add_test(tcase, an_fd_of_half_a_message_moves_too);
    tcase_add_test(tcase, client_that_does_not_read);
    tcase_add_test(tcase, dma_message_is_waited_for);
    tcase_add_test(tcase, dma_message_without_an_answer);
    tcase_add_test(tcase, pending_and_masked_interrupt_moves);
    tcase_add_test(tcase, unmask_eventfd_moves);
    tcase_add_test(tcase, msi_vectors_move);
    tcase_add_test(tcase, deadline_in_the_blackout_fires_once);
    tcase_add_test(tcase, many_maps_in_many_files_move);
    tcase_add_test(tcase, dirty_log_moves);
    tcase_add_test(tcase, limits_move);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
