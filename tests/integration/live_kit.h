/* SPDX-License-Identifier: BSD-3-Clause */
/* The registers, and what the tests of the live device begin with. */
#ifndef VFIO_USERD_TEST_LIVE_KIT_H
#define VFIO_USERD_TEST_LIVE_KIT_H

#include <check.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "integration/harness.h"

#define MS              1000000ll
#define REG_TIMER_SEC   0x00
#define REG_TIMER_NSEC  0x08
#define REG_IRQ_STATUS  0x10
#define REG_IRQ_ENABLE  0x14
#define REG_IRQ_COUNT   0x18
#define REG_DMA_IOVA    0x20
#define REG_DMA_OFFSET  0x28
#define REG_DMA_LENGTH  0x30
#define REG_DMA_CONTROL 0x34
#define REG_FIRED_NSEC  0x48
#define CONFIG          VFIO_PCI_CONFIG_REGION_INDEX
#define TRIGGER_EVENTFD (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)
#define UNMASK          (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK)

static inline void write_reg(struct client *c, uint64_t offset, uint64_t value, uint32_t size)
{
    ck_assert_int_eq(client_region_write(c, 0, offset, &value, size), 0);
}

static inline uint64_t read_reg(struct client *c, uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    ck_assert_int_eq(client_region_read(c, 0, offset, &value, size), 0);
    return value;
}

static inline int set_eventfds(struct client *c, uint32_t index, uint32_t start, unsigned n,
                               int *fds)
{
    for (unsigned i = 0; i < n; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    return client_set_irqs(c, TRIGGER_EVENTFD, index, start, n, NULL, fds, n);
}

static inline void set_bus_master(struct client *c)
{
    const uint16_t command = 6;

    ck_assert_int_eq(client_region_write(c, CONFIG, 4, &command, sizeof(command)), 0);
}

/* Receives one message; returns its size. */
static inline size_t receive(int sock, uint8_t *wire)
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

#endif
