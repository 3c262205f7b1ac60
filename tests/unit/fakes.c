/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "fakes.h"
#include "suite.h"

#include <dirent.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

void fake_host_init(struct fake_host *host)
{
    *host = (struct fake_host) { .now = FAKE_START_TIME, .max_len = 1u << 20 };
}

void fake_forget_messages(struct fake_host *host)
{
    for (unsigned i = 0; i < host->n_sent; i++)
        free(host->sent[i].data);
    host->n_sent = 0;
}

void fake_host_fini(struct fake_host *host)
{
    fake_forget_messages(host);
}

static int64_t fake_now(void *opaque)
{
    return ((struct fake_host *)opaque)->now;
}

static void fake_wake_at(void *opaque, int64_t deadline)
{
    struct fake_host *host = opaque;

    host->deadline = deadline;
    host->wakes++;
}

static int fake_send(void *opaque, uint32_t tag, uint64_t iova, const void *data, uint32_t len)
{
    struct fake_host *host = opaque;
    struct fake_message *message;

    if (host->send_error != 0)
        return host->send_error;
    ck_assert_uint_lt(host->n_sent, FAKE_MESSAGES);
    ck_assert_uint_le(len, host->max_len);
    message = &host->sent[host->n_sent++];
    *message = (struct fake_message) { .tag = tag, .iova = iova, .len = len };
    if (data != NULL) {
        message->data = malloc(len);
        ck_assert_ptr_nonnull(message->data);
        memcpy(message->data, data, len);
    }
    return 0;
}

static uint32_t fake_max_len(void *opaque)
{
    return ((struct fake_host *)opaque)->max_len;
}

struct dma_messenger fake_messenger(struct fake_host *host)
{
    return (struct dma_messenger) { .opaque = host, .send = fake_send, .max_len = fake_max_len };
}

static void fake_event(void *opaque, const struct device_event *event)
{
    struct fake_host *host = opaque;

    if (host->n_events < FAKE_EVENTS)
        host->events[host->n_events] = *event;
    host->n_events++;
}

struct device_host fake_device_host(struct fake_host *host)
{
    return (struct device_host) { .opaque = host,
                                  .now = fake_now,
                                  .wake_at = fake_wake_at,
                                  .event = fake_event,
                                  .messenger = fake_messenger(host) };
}

struct device *fake_device(struct fake_host *host, const struct device_description *d)
{
    const struct device_host outside = fake_device_host(host);
    struct pci_error error;
    struct device *dev = NULL;

    ck_assert_int_eq(device_new(d, &outside, &dev, &error), 0);
    return dev;
}

void fake_set_time(struct fake_host *host, struct device *dev, int64_t ns)
{
    host->now = ns;
    if (host->deadline != 0 && ns >= host->deadline)
        device_wake(dev);
}

uint64_t fake_get(struct device *dev, uint32_t region, uint64_t offset, uint32_t count)
{
    uint64_t value = 0;

    ck_assert_uint_le(count, sizeof(value));
    ck_assert_int_eq(device_read(dev, region, offset, &value, count), 0);
    return le64toh(value);
}

void fake_put(struct device *dev, uint32_t region, uint64_t offset, uint32_t count, uint64_t value)
{
    ck_assert_uint_le(count, sizeof(value));
    value = htole64(value);
    ck_assert_int_eq(device_write(dev, region, offset, &value, count), 0);
}

int fake_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    ck_assert_int_ge(fd, 0);
    return fd;
}

uint64_t fake_signals(int eventfd)
{
    uint64_t count;

    return read(eventfd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

void fake_give_eventfd(struct irq *irq, uint32_t action, uint32_t index, uint32_t vector,
                       int eventfd)
{
    int fd = dup(eventfd);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(
        irq_set(irq, VFIO_IRQ_SET_DATA_EVENTFD | action, index, vector, 1, NULL, &fd, 1), 0);
    ck_assert_int_eq(fd, -1);
}

int fake_memfd(size_t size, unsigned seed)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    uint8_t *bytes = malloc(size + 1);

    ck_assert_int_ge(fd, 0);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 + seed);
    ck_assert_int_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
    free(bytes);
    return fd;
}

unsigned fake_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

int fake_run(const char *name, const TTest *const *tests, size_t n,
             const struct fake_loop_test *loops, size_t n_loops)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);

    for (size_t i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    for (size_t i = 0; i < n_loops; i++)
        tcase_add_loop_test(tcase, loops[i].test, 0, (int)loops[i].rows);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
