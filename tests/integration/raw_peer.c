/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "raw_peer.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "integration/live_kit.h"
#include "message.h"

#define WAIT_MS 5000

static void send_all(int sock, const void *data, size_t len)
{
    ssize_t n = send(sock, data, len, MSG_NOSIGNAL);

    ck_assert_msg(n == (ssize_t)len, "sent %zd of %zu bytes: %s", n, len, strerror(errno));
}

static void receive_all(int sock, void *data, size_t len)
{
    if (len > 0) /* of nothing it would wait for something */
        ck_assert_int_eq(recv(sock, data, len, MSG_WAITALL), (ssize_t)len);
}

/* Receives len bytes and the fd that comes with them, -1 for none. */
static int receive_fd(int sock, void *data, size_t len)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.space,
                          .msg_controllen = sizeof(control.space) };
    struct cmsghdr *c;
    int fd = -1;

    ck_assert_int_eq(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC), (ssize_t)len);
    c = CMSG_FIRSTHDR(&msg);
    if (c != NULL)
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd;
}

void raw_connect(struct raw_peer *p, const struct server *s, const char *capabilities)
{
    const struct timeval wait = { .tv_sec = WAIT_MS / 1000 };
    struct vfio_user_version version = { .minor = 1 };
    uint8_t payload[512];
    int len;

    memset(p, 0, sizeof(*p));
    p->main = server_connect_raw(s);
    /* Whoever waits for longer waits for ever. */
    setsockopt(p->main, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    setsockopt(p->main, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    memcpy(payload, &version, sizeof(version));
    len = snprintf((char *)payload + sizeof(version), sizeof(payload) - sizeof(version),
                   "{\"capabilities\":{%s}}", capabilities);
    raw_send(p, VFIO_USER_VERSION, payload, sizeof(version) + (size_t)len + 1);
    p->twin = receive_fd(p->main, &p->reply, sizeof(p->reply));
    ck_assert_uint_eq(p->reply.flags, VFIO_USER_TYPE_REPLY);
    ck_assert_uint_eq(p->reply.id, p->next_reply++);
    ck_assert_uint_lt(p->reply.size, sizeof(p->payload));
    receive_all(p->main, p->payload, p->reply.size - sizeof(p->reply));
    snprintf(p->version, sizeof(p->version), "%s", (char *)p->payload + sizeof(version));
    if (p->twin >= 0)
        setsockopt(p->twin, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
}

void raw_close(struct raw_peer *p)
{
    close(p->main);
    if (p->twin >= 0)
        close(p->twin);
}

int raw_commands_socket(const struct raw_peer *p)
{
    return p->twin >= 0 ? p->twin : p->main;
}

void raw_send(struct raw_peer *p, uint16_t command, const void *payload, size_t len)
{
    uint8_t wire[1024];

    ck_assert_uint_le(len, sizeof(wire) - VFIO_USER_HEADER_SIZE);
    message_encode_header(wire, p->next_id++, command, (uint32_t)(VFIO_USER_HEADER_SIZE + len), 0,
                          0);
    if (len > 0)
        memcpy(wire + VFIO_USER_HEADER_SIZE, payload, len);
    send_all(p->main, wire, VFIO_USER_HEADER_SIZE + len);
}

void raw_send_read(struct raw_peer *p, uint32_t region, uint64_t offset, uint32_t count)
{
    const struct vfio_user_region_access access = { .offset = offset,
                                                    .region = region,
                                                    .count = count };

    raw_send(p, VFIO_USER_REGION_READ, &access, sizeof(access));
}

void raw_send_write(struct raw_peer *p, uint32_t region, uint64_t offset, uint64_t value,
                    uint32_t count)
{
    struct {
        struct vfio_user_region_access access;
        uint64_t value;
    } write = { { .offset = offset, .region = region, .count = count }, value };

    raw_send(p, VFIO_USER_REGION_WRITE, &write, sizeof(write.access) + count);
}

static void keep_command(struct raw_peer *p, const struct vfio_user_header *hdr,
                         const uint8_t *payload)
{
    struct raw_command *c = &p->commands[p->n_commands++];
    size_t len = hdr->size - sizeof(*hdr);

    ck_assert_uint_le(p->n_commands, RAW_COMMANDS);
    *c = (struct raw_command) { .hdr = *hdr };
    if (hdr->command == VFIO_USER_VM_INTERRUPT) {
        ck_assert_uint_eq(len, 8);
        memcpy(&c->index, payload, 4);
        memcpy(&c->subindex, payload + 4, 4);
        return;
    }
    memcpy(&c->address, payload, 8);
    memcpy(&c->count, payload + 8, 8);
    ck_assert_uint_le(c->address + c->count, sizeof(p->guest));
    ck_assert_uint_eq(len, 16 + (hdr->command == VFIO_USER_DMA_WRITE ? c->count : 0));
    if (hdr->command == VFIO_USER_DMA_WRITE)
        memcpy(p->guest + c->address, payload + 16, c->count);
}

/* Takes one message. */
static void take(struct raw_peer *p, int sock)
{
    static uint8_t payload[70000];
    struct vfio_user_header hdr;

    receive_all(sock, &hdr, sizeof(hdr));
    ck_assert_uint_le(hdr.size, sizeof(payload));
    receive_all(sock, payload, hdr.size - sizeof(hdr));
    if ((hdr.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_COMMAND) {
        ck_assert_int_eq(sock, raw_commands_socket(p));
        keep_command(p, &hdr, payload);
        return;
    }
    ck_assert_int_eq(sock, p->main);
    ck_assert_uint_eq(hdr.id, p->next_reply);
    p->next_reply++;
    p->reply = hdr;
    memcpy(p->payload, payload,
           hdr.size - sizeof(hdr) < sizeof(p->payload) ? hdr.size - sizeof(hdr)
                                                       : sizeof(p->payload));
}

void raw_settle_until(struct raw_peer *p, uint16_t id)
{
    while (p->next_reply != id)
        take(p, p->main);
}

void raw_settle(struct raw_peer *p)
{
    raw_settle_until(p, p->next_id);
}

uint64_t raw_get(struct raw_peer *p, uint64_t offset, uint32_t count)
{
    uint64_t value = 0;

    raw_send_read(p, 0, offset, count);
    raw_settle(p);
    ck_assert_uint_eq(p->reply.flags, VFIO_USER_TYPE_REPLY);
    ck_assert_uint_eq(p->reply.size, VFIO_USER_HEADER_SIZE + 16 + count);
    memcpy(&value, p->payload + 16, count);
    return value;
}

void raw_put(struct raw_peer *p, uint64_t offset, uint64_t value, uint32_t count)
{
    raw_send_write(p, 0, offset, value, count);
    raw_settle(p);
    ck_assert_uint_eq(p->reply.flags, VFIO_USER_TYPE_REPLY);
}

struct raw_command raw_next(struct raw_peer *p)
{
    struct raw_command c;

    while (p->n_commands == 0)
        take(p, raw_commands_socket(p));
    c = p->commands[0];
    p->n_commands--;
    memmove(&p->commands[0], &p->commands[1], p->n_commands * sizeof(c));
    return c;
}

void raw_reply(int sock, const struct vfio_user_header *hdr, uint32_t error, const void *payload,
               size_t len)
{
    static uint8_t wire[70000];

    message_encode_header(wire, hdr->id, hdr->command, (uint32_t)(VFIO_USER_HEADER_SIZE + len),
                          VFIO_USER_TYPE_REPLY | (error != 0 ? VFIO_USER_ERROR : 0), error);
    if (len > 0)
        memcpy(wire + VFIO_USER_HEADER_SIZE, payload, len);
    send_all(sock, wire, VFIO_USER_HEADER_SIZE + len);
}

void raw_answer(struct raw_peer *p, int sock, const struct raw_command *c, uint32_t error)
{
    static uint8_t payload[70000];
    size_t len = 0;

    if (error == 0 && c->hdr.command != VFIO_USER_VM_INTERRUPT) {
        len = 16;
        memcpy(payload, &c->address, 8);
        memcpy(payload + 8, &c->count, 8);
    }
    if (error == 0 && c->hdr.command == VFIO_USER_DMA_READ) {
        memcpy(payload + len, p->guest + c->address, c->count);
        len += c->count;
    }
    raw_reply(sock, &c->hdr, error, payload, len);
}

void raw_map(struct raw_peer *p)
{
    const struct vfio_user_dma_map map = { .argsz = sizeof(map),
                                           .flags = 3,
                                           .size = sizeof(p->guest) };

    raw_send(p, VFIO_USER_DMA_MAP, &map, sizeof(map));
    raw_send_write(p, CONFIG, 4, 6, 2);
    raw_settle(p);
    ck_assert_uint_eq(p->reply.flags, VFIO_USER_TYPE_REPLY);
    for (size_t i = 0; i < sizeof(p->guest); i++)
        p->guest[i] = (uint8_t)(i * 7 + i / 256);
}

void raw_start_dma(struct raw_peer *p, uint32_t command, uint64_t iova, uint32_t length)
{
    raw_send_write(p, 0, REG_DMA_IOVA, iova, 8);
    raw_send_write(p, 0, REG_DMA_OFFSET, 0, 8);
    raw_send_write(p, 0, REG_DMA_LENGTH, length, 4);
    raw_send_write(p, 0, REG_DMA_CONTROL, command, 4);
}

uint32_t raw_dma_outcome(struct raw_peer *p)
{
    int64_t until = now_ms() + WAIT_MS;
    uint32_t control;

    while ((control = (uint32_t)raw_get(p, REG_DMA_CONTROL, 4)) == 1) {
        ck_assert_int_lt(now_ms(), until);
        poll(NULL, 0, 5);
    }
    return control;
}
