/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The world outside of a device, for unit tests: a clock that stands still until it is set, the
 * wake-up that was asked for, the DMA messages that were sent and wait for an answer; and eventfds,
 * files and devices made in a line. Everything that fails here fails the test.
 */
#ifndef VFIO_USERD_TESTS_FAKES_H
#define VFIO_USERD_TESTS_FAKES_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/device.h"

#define FAKE_MESSAGES   256
#define FAKE_EVENTS     64
#define FAKE_NS_PER_S   1000000000ll
#define FAKE_START_TIME (1700000000ll * FAKE_NS_PER_S)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* A DMA message that was sent. */
struct fake_message {
    uint32_t tag;
    uint64_t iova;
    uint32_t len;
    uint8_t *data; /* DMA_WRITE: a copy of the bytes; DMA_READ: NULL */
};

struct fake_host {
    int64_t now;      /* what the clock shows, ns */
    int64_t deadline; /* the last one asked for with wake_at */
    unsigned wakes;   /* calls of wake_at */
    struct fake_message sent[FAKE_MESSAGES];
    unsigned n_sent;
    uint32_t max_len; /* of one message, bytes */
    int send_error;   /* what send returns; 0: the message is kept in sent */
    struct device_event events[FAKE_EVENTS];
    unsigned n_events; /* since it was set to 0 */
};

void fake_host_init(struct fake_host *host);
void fake_host_fini(struct fake_host *host);

/* The interfaces, with host as opaque. */
struct dma_messenger fake_messenger(struct fake_host *host);
struct device_host fake_device_host(struct fake_host *host);

/* Forgets the messages sent so far. */
void fake_forget_messages(struct fake_host *host);

/* A device of description d on host; must succeed. */
struct device *fake_device(struct fake_host *host, const struct device_description *d);

/* Sets the clock, and wakes the device if it asked to be by then. */
void fake_set_time(struct fake_host *host, struct device *dev, int64_t ns);

/* Little-endian access to a region of 1, 2, 4 or 8 bytes; must succeed. */
uint64_t fake_get(struct device *dev, uint32_t region, uint64_t offset, uint32_t count);
void fake_put(struct device *dev, uint32_t region, uint64_t offset, uint32_t count, uint64_t value);

/* A non-blocking eventfd with counter 0, and the counter of one, which is set to 0. */
int fake_eventfd(void);
uint64_t fake_signals(int eventfd);

/* Gives a duplicate of eventfd to a vector with action; must succeed and take the duplicate. */
void fake_give_eventfd(struct irq *irq, uint32_t action, uint32_t index, uint32_t vector,
                       int eventfd);

/* A memfd of size bytes with byte i = i * 7 + seed. */
int fake_memfd(size_t size, unsigned seed);

/* Descriptors that this process has open. */
unsigned fake_open_fds(void);

/* A test that is run for _i from 0 to rows - 1. */
struct fake_loop_test {
    const TTest *test;
    size_t rows;
};

/* Runs one test case with these tests; what main returns. loops may be NULL. */
int fake_run(const char *name, const TTest *const *tests, size_t n,
             const struct fake_loop_test *loops, size_t n_loops);

#endif
