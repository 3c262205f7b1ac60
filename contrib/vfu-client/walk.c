/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "walk.h"

#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "feature.h"
#include "registers.h"

#define NS_PER_S 1000000000ll

void walk_init(struct walk *w)
{
    *w = (struct walk) { .bar1_fd = -1, .intx = -1 };
    for (unsigned i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
        for (unsigned k = 0; k < WALK_MAX_VECTORS; k++)
            w->routes[i][k] = -1;
    }
}

void walk_fini(struct walk *w)
{
    for (unsigned i = 0; i < w->n_areas; i++) {
        if (w->areas[i].at != NULL)
            munmap(w->areas[i].at, w->areas[i].size);
    }
    if (w->bar1_fd >= 0)
        close(w->bar1_fd);
    if (w->intx >= 0)
        close(w->intx);
    client_free(w->client);
    guest_free(w->guest);
}

/* A message for a vector that is routed nowhere is counted. */
static void on_interrupt(void *opaque, uint32_t index, uint32_t vector)
{
    const uint64_t one = 1;
    struct walk *w = opaque;

    w->irq_messages++;
    if (index >= VFIO_PCI_NUM_IRQS || vector >= WALK_MAX_VECTORS)
        walk_fail(w, "VM_INTERRUPT", "one of a vector that exists", "index %u, vector %u", index,
                  vector);
    else if (w->routes[index][vector] >= 0 &&
             write(w->routes[index][vector], &one, sizeof(one)) != sizeof(one))
        walk_expect_err(w, "signalling an eventfd", 0, -errno);
}

void walk_attach(struct walk *w)
{
    struct client_memory memory = guest_memory(w->guest);

    client_set_memory(w->client, &memory);
    client_set_interrupt(w->client, on_interrupt, w);
}

/*
 * What is said
 */

bool walk_failed(const struct walk *w)
{
    return w->failure[0] != '\0';
}

void walk_begin(struct walk *w, unsigned step, const char *name)
{
    w->step = step;
    w->name = name;
    w->lines = 0;
}

bool walk_offers_migration(const struct walk *w)
{
    return (w->server.present & VERSION_MIGRATION) != 0;
}

void walk_expect_no_fds(struct walk *w)
{
    uint64_t sent;
    uint64_t received;

    if (!w->no_fds || w->client == NULL)
        return;
    client_count_fds(w->client, &sent, &received);
    walk_expect(w, "fds sent by a client that passes none", 0, sent);
    walk_expect(w, "fds that came to a client that takes none", 0, received);
}

void walk_say(struct walk *w, const char *format, ...)
{
    va_list args;

    if (w->quiet || walk_failed(w))
        return;
    if (w->lines++ == 0)
        printf("%2u  %-18s  ", w->step, w->name);
    else
        printf("%24s", "");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void walk_fail(struct walk *w, const char *what, const char *expected, const char *format, ...)
{
    va_list args;
    int n;

    if (walk_failed(w))
        return;
    n = snprintf(w->failure, sizeof(w->failure), "%s: expected %s, got ", what, expected);
    if (n < 0 || (size_t)n >= sizeof(w->failure))
        return;
    va_start(args, format);
    vsnprintf(w->failure + n, sizeof(w->failure) - (size_t)n, format, args);
    va_end(args);
}

/* EOPNOTSUPP has the same number as ENOTSUP, which is what the protocol speaks of. */
static const char *outcome(int err)
{
    const char *name = err == -ENOTSUP ? "ENOTSUP" : strerrorname_np(-err);

    return err == 0 ? "success" : name != NULL ? name : "an unknown errno";
}

void walk_expect(struct walk *w, const char *what, uint64_t expected, uint64_t got)
{
    char text[32];

    if (expected == got)
        return;
    snprintf(text, sizeof(text), "0x%llx", (unsigned long long)expected);
    walk_fail(w, what, text, "0x%llx", (unsigned long long)got);
}

void walk_expect_err(struct walk *w, const char *what, int expected, int got)
{
    if (expected == got)
        return;
    if (got == 0)
        walk_fail(w, what, outcome(expected), "success");
    else
        walk_fail(w, what, outcome(expected), "%s (%s)", outcome(got), strerror(-got));
}

void walk_expect_bytes(struct walk *w, const char *what, const void *expected, const void *got,
                       uint64_t count)
{
    const uint8_t *a = expected;
    const uint8_t *b = got;
    uint64_t i = 0;
    char text[64];

    if (walk_failed(w))
        return;
    while (i < count && a[i] == b[i])
        i++;
    if (i == count)
        return;
    snprintf(text, sizeof(text), "byte 0x%llx to be 0x%02x", (unsigned long long)i, a[i]);
    walk_fail(w, what, text, "0x%02x", b[i]);
}

/*
 * Time and patterns
 */

int64_t walk_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

void walk_pattern(uint8_t *at, uint64_t count, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;

    for (uint64_t i = 0; i < count; i++) {
        x = x * 1664525u + 1013904223u;
        at[i] = (uint8_t)(x >> 24);
    }
}

/*
 * Regions
 */

static void region_failed(struct walk *w, const char *verb, uint32_t region, uint64_t offset,
                          uint32_t count, int err)
{
    char what[96];

    if (err == 0)
        return;
    snprintf(what, sizeof(what), "%s of %u bytes at 0x%llx of region %u", verb, count,
             (unsigned long long)offset, region);
    walk_expect_err(w, what, 0, err);
}

static void region_read(struct walk *w, uint32_t region, uint64_t offset, void *data,
                        uint32_t count)
{
    memset(data, 0, count);
    if (!walk_failed(w))
        region_failed(w, "a read", region, offset, count,
                      client_region_read(w->client, region, offset, data, count));
}

static void region_write(struct walk *w, uint32_t region, uint64_t offset, const void *data,
                         uint32_t count)
{
    if (!walk_failed(w))
        region_failed(w, "a write", region, offset, count,
                      client_region_write(w->client, region, offset, data, count));
}

uint64_t walk_get(struct walk *w, uint32_t region, uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    region_read(w, region, offset, &value, size);
    return le64toh(value);
}

void walk_put(struct walk *w, uint32_t region, uint64_t offset, uint32_t size, uint64_t value)
{
    value = htole64(value);
    region_write(w, region, offset, &value, size);
}

uint32_t walk_get32(struct walk *w, uint64_t offset)
{
    return (uint32_t)walk_get(w, VFIO_PCI_BAR0_REGION_INDEX, offset, 4);
}

uint64_t walk_get64(struct walk *w, uint64_t offset)
{
    return walk_get(w, VFIO_PCI_BAR0_REGION_INDEX, offset, 8);
}

void walk_put32(struct walk *w, uint64_t offset, uint32_t value)
{
    walk_put(w, VFIO_PCI_BAR0_REGION_INDEX, offset, 4, value);
}

void walk_put64(struct walk *w, uint64_t offset, uint64_t value)
{
    walk_put(w, VFIO_PCI_BAR0_REGION_INDEX, offset, 8, value);
}

uint16_t walk_config_get16(struct walk *w, uint64_t offset)
{
    return (uint16_t)walk_get(w, VFIO_PCI_CONFIG_REGION_INDEX, offset, 2);
}

void walk_config_put16(struct walk *w, uint64_t offset, uint16_t value)
{
    walk_put(w, VFIO_PCI_CONFIG_REGION_INDEX, offset, 2, value);
}

void walk_bar1_read(struct walk *w, uint64_t offset, void *data, uint32_t count)
{
    region_read(w, VFIO_PCI_BAR1_REGION_INDEX, offset, data, count);
}

void walk_bar1_write(struct walk *w, uint64_t offset, const void *data, uint32_t count)
{
    region_write(w, VFIO_PCI_BAR1_REGION_INDEX, offset, data, count);
}

uint32_t walk_bar1_checksum(struct walk *w)
{
    uint64_t size = w->region_size[VFIO_PCI_BAR1_REGION_INDEX];
    uint64_t most = w->server.max_data_xfer_size;
    uint8_t *data = malloc(most);
    uLong sum = crc32(0, NULL, 0);

    if (data == NULL)
        walk_expect_err(w, "memory", 0, -ENOMEM);
    for (uint64_t at = 0; at < size && !walk_failed(w); at += most) {
        uint32_t n = (uint32_t)(size - at < most ? size - at : most);

        walk_bar1_read(w, at, data, n);
        sum = crc32(sum, data, n);
    }
    free(data);
    return (uint32_t)sum;
}

void walk_command(struct walk *w, uint16_t set, uint16_t clear)
{
    uint16_t command = walk_config_get16(w, PCI_COMMAND);

    walk_config_put16(w, PCI_COMMAND, (uint16_t)((command & ~clear) | set));
}

/*
 * Interrupts
 */

int walk_eventfd(struct walk *w)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        walk_expect_err(w, "eventfd", 0, -errno);
    return fd;
}

void walk_close_eventfd(struct walk *w, int fd)
{
    if (fd < 0)
        return;
    for (unsigned i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
        for (unsigned k = 0; k < WALK_MAX_VECTORS; k++) {
            if (w->routes[i][k] == fd)
                w->routes[i][k] = -1;
        }
    }
    close(fd);
}

void walk_set_irq(struct walk *w, const char *what, uint32_t action, uint32_t index,
                  const uint8_t *value)
{
    uint32_t data = value != NULL ? VFIO_IRQ_SET_DATA_BOOL : VFIO_IRQ_SET_DATA_NONE;

    if (!walk_failed(w))
        walk_expect_err(w, what, 0,
                        client_set_irqs(w->client, action | data, index, 0, 1, value, NULL, 0));
}

void walk_route(struct walk *w, uint32_t index, uint32_t start, uint32_t count, const int *fds)
{
    for (uint32_t i = 0; i < count && start + i < WALK_MAX_VECTORS; i++)
        w->routes[index][start + i] = fds[i];
}

void walk_assign(struct walk *w, const char *what, uint32_t index, uint32_t start, uint32_t count,
                 const int *fds)
{
    uint32_t most = w->server.max_msg_fds < 16 ? (uint32_t)w->server.max_msg_fds : 16;

    if (w->no_fds) {
        walk_route(w, index, start, count, fds);
        return;
    }
    for (uint32_t done = 0; done < count && !walk_failed(w);) {
        uint32_t n = count - done < most ? count - done : most;

        walk_expect_err(w, what, 0,
                        client_set_irqs(w->client,
                                        VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                                        index, start + done, n, NULL, fds + done, n));
        done += n;
    }
}

void walk_disable(struct walk *w, const char *what, uint32_t index)
{
    if (!walk_failed(w))
        walk_expect_err(w, what, 0,
                        client_set_irqs(w->client,
                                        VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, index,
                                        0, 0, NULL, NULL, 0));
}

void walk_ready_intx(struct walk *w)
{
    if (w->intx < 0)
        w->intx = walk_eventfd(w);
    walk_acknowledge(w);
    walk_assign(w, "INTx: assigning an eventfd", VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &w->intx);
    walk_expect_quiet(w, "INTx: with nothing pending", w->intx);
}

void walk_expect_irq(struct walk *w, const char *what, int fd)
{
    walk_expect_irq_within(w, what, fd, WALK_IRQ_TIMEOUT_MS);
}

/* What the server has sent so far is served; no message overtakes the reply to one sent later. */
static void catch_up(struct walk *w)
{
    if (w->client == NULL || !w->messages)
        return;
    walk_config_get16(w, PCI_VENDOR_ID);
    walk_pause(w, 0);
}

void walk_expect_irq_within(struct walk *w, const char *what, int fd, int ms)
{
    uint64_t count = 0;
    int err;

    if (walk_failed(w))
        return;
    err = client_serve(w->client, fd, ms);
    if (err == -ETIMEDOUT)
        walk_fail(w, what, "an interrupt", "none within %d ms", ms);
    walk_expect_err(w, what, 0, err);
    catch_up(w);
    if (walk_failed(w))
        return;
    if (read(fd, &count, sizeof(count)) != sizeof(count))
        walk_expect_err(w, what, 0, -errno);
    else if (count != 1)
        walk_fail(w, what, "one interrupt", "%llu", (unsigned long long)count);
}

void walk_expect_quiet(struct walk *w, const char *what, int fd)
{
    uint64_t count = 0;

    catch_up(w);
    if (!walk_failed(w) && read(fd, &count, sizeof(count)) == sizeof(count))
        walk_fail(w, what, "no interrupt", "%llu", (unsigned long long)count);
}

void walk_ignore_irq(struct walk *w, int fd)
{
    uint64_t count;

    catch_up(w);
    if (!walk_failed(w) && read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        walk_expect_err(w, "reading an eventfd", 0, -errno);
}

void walk_fire_timer(struct walk *w)
{
    walk_put64(w, REG_TIMER_SEC, (uint64_t)(walk_now() / NS_PER_S - 1));
}

void walk_acknowledge(struct walk *w)
{
    walk_put32(w, REG_IRQ_STATUS, UINT32_MAX);
    walk_expect(w, "IRQ_STATUS after an acknowledge", 0, walk_get32(w, REG_IRQ_STATUS));
}

void walk_pause(struct walk *w, int ms)
{
    int err;

    if (walk_failed(w))
        return;
    err = client_serve(w->client, -1, ms);
    if (err != -ETIMEDOUT)
        walk_expect_err(w, "waiting", -ETIMEDOUT, err);
}

void walk_set_state(struct walk *w, uint32_t state)
{
    char what[64];

    if (walk_failed(w))
        return;
    snprintf(what, sizeof(what), "SET of MIG_DEVICE_STATE to %s", feature_state_name(state));
    walk_expect_err(w, what, 0, client_mig_set_state(w->client, state));
}
