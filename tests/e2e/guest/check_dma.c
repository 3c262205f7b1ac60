/* SPDX-License-Identifier: BSD-3-Clause */
#include "checks.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "pages.h"

#define PAGES         4u
#define BUSY_LIMIT_MS 2000u
#define ERRNO_LIMIT   4095u

struct transfer {
    uint64_t address; /* in guest memory */
    uint64_t offset;  /* in BAR1 */
    uint32_t length;
    uint32_t direction; /* DEVICE_DMA_FROM_GUEST or DEVICE_DMA_TO_GUEST */
};

static void start(struct device *device, const struct transfer *transfer)
{
    device_write64(device, DEVICE_DMA_IOVA, transfer->address);
    device_write64(device, DEVICE_DMA_OFFSET, transfer->offset);
    device_write32(device, DEVICE_DMA_LENGTH, transfer->length);
    device_write32(device, DEVICE_DMA_CONTROL, transfer->direction);
}

/* Starts a transfer and polls until it is over, without interrupts. Returns DMA_CONTROL. */
static uint32_t run(struct device *device, const struct transfer *transfer)
{
    uint32_t control;
    unsigned waited = 0;

    device_write32(device, DEVICE_IRQ_ENABLE, 0);
    start(device, transfer);
    while ((control = device_read32(device, DEVICE_DMA_CONTROL)) == DEVICE_DMA_BUSY &&
           waited < BUSY_LIMIT_MS) {
        sleep_ms(1);
        waited++;
    }
    device_write32(device, DEVICE_IRQ_STATUS, DEVICE_IRQ_ALL);
    device_write32(device, DEVICE_IRQ_ENABLE, DEVICE_IRQ_ALL);
    return control;
}

static bool run_well(struct device *device, const struct transfer *transfer, struct report *report)
{
    uint32_t control = run(device, transfer);

    return control == 0 || report_differs(report, "DMA_CONTROL", 0, control);
}

/* Runs a transfer that must be refused with an errno, which it returns through `error`. */
static bool run_badly(struct device *device, const struct transfer *transfer, uint32_t *error,
                      struct report *report)
{
    uint32_t control = run(device, transfer);

    *error = control & ~DEVICE_DMA_FAILED;
    if ((control & DEVICE_DMA_FAILED) == 0 || *error == 0 || *error > ERRNO_LIMIT) {
        return report_failure(report, "expected DMA_CONTROL 0x80000000 + errno got 0x%" PRIx32,
                              control);
    }
    return true;
}

static void fill_bytes(uint8_t *bytes, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++) {
        bytes[i] = pattern_byte(i, seed);
    }
}

static bool same_bytes(const uint8_t *bytes, size_t length, unsigned seed, struct report *report)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != pattern_byte(i, seed)) {
            return report_failure(report, "expected guest memory byte 0x%zx 0x%02x got 0x%02x", i,
                                  pattern_byte(i, seed), bytes[i]);
        }
    }
    return true;
}

static void fill_bar1(struct device *device, size_t offset, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i += 8) {
        device_memory_write(device, offset + i, 8, pattern_value(i, 8, seed));
    }
}

static bool same_bar1(const struct device *device, size_t offset, size_t length, unsigned seed,
                      struct report *report)
{
    for (size_t i = 0; i < length; i += 8) {
        uint64_t expected = pattern_value(i, 8, seed);
        uint64_t got = device_memory_read(device, offset + i, 8);

        if (got != expected) {
            return report_failure(report, "expected BAR1 0x%zx 0x%" PRIx64 " got 0x%" PRIx64,
                                  offset + i, expected, got);
        }
    }
    return true;
}

static bool master_off(struct device *device, struct page *page, struct report *report)
{
    struct transfer transfer = { page->address, 0, PAGE_BYTES, DEVICE_DMA_FROM_GUEST };
    uint32_t error;
    int rc;

    fill_bar1(device, 0, PAGE_BYTES, 1);
    rc = device_command(device, 0, PCI_COMMAND_MASTER);
    if (rc < 0) {
        return report_error(report, "switching Bus Master off", rc);
    }
    if (!run_badly(device, &transfer, &error, report)) {
        return false;
    }
    transfer.direction = DEVICE_DMA_TO_GUEST;
    memset(page->bytes, 0, PAGE_BYTES);
    if (!run_badly(device, &transfer, &error, report)) {
        return false;
    }
    if (page->bytes[0] != 0 || memcmp(page->bytes, page->bytes + 1, PAGE_BYTES - 1) != 0) {
        return report_failure(report, "expected guest memory untouched got it written");
    }
    if (!same_bar1(device, 0, PAGE_BYTES, 1, report)) {
        return false;
    }
    rc = device_command(device, PCI_COMMAND_MASTER, 0);
    if (rc < 0) {
        return report_error(report, "switching Bus Master on", rc);
    }
    if (!run_well(device, &transfer, report) || !same_bytes(page->bytes, PAGE_BYTES, 1, report)) {
        return false;
    }
    return report_ok(report, "refused both ways with errno %" PRIu32 ", works when on", error);
}

bool check_dma_master_off(struct guest *guest, struct report *report)
{
    struct page page;
    int rc = pages_init(&page, 1);
    bool passed;

    if (rc < 0) {
        return report_error(report, "taking a page", rc);
    }
    passed = master_off(&guest->device, &page, report);
    pages_fini(&page, 1);
    return passed;
}

bool check_dma_from_guest(struct guest *guest, struct report *report)
{
    struct transfer transfer = { .length = PAGE_BYTES, .direction = DEVICE_DMA_FROM_GUEST };
    struct page page;
    int rc = pages_init(&page, 1);
    bool passed = true;

    if (rc < 0) {
        return report_error(report, "taking a page", rc);
    }
    transfer.address = page.address;
    for (unsigned seed = 10; passed && seed < 12; seed++) {
        fill_bytes(page.bytes, PAGE_BYTES, seed);
        transfer.offset = (seed - 10) * PAGE_BYTES; /* a mapped page of BAR1, then a trapped one */
        passed = run_well(&guest->device, &transfer, report) &&
                 same_bar1(&guest->device, transfer.offset, PAGE_BYTES, seed, report) &&
                 same_bytes(page.bytes, PAGE_BYTES, seed, report);
    }
    pages_fini(&page, 1);
    return passed && report_ok(report, "from 0x%" PRIx64 " to two pages of BAR1", transfer.address);
}

bool check_dma_to_guest(struct guest *guest, struct report *report)
{
    struct transfer transfer = { .length = PAGE_BYTES, .direction = DEVICE_DMA_TO_GUEST };
    struct page page;
    int rc = pages_init(&page, 1);
    bool passed = true;

    if (rc < 0) {
        return report_error(report, "taking a page", rc);
    }
    transfer.address = page.address;
    for (unsigned seed = 20; passed && seed < 22; seed++) {
        transfer.offset = (seed - 20) * PAGE_BYTES;
        fill_bar1(&guest->device, transfer.offset, PAGE_BYTES, seed);
        passed = run_well(&guest->device, &transfer, report) &&
                 same_bytes(page.bytes, PAGE_BYTES, seed, report) &&
                 same_bar1(&guest->device, transfer.offset, PAGE_BYTES, seed, report);
    }
    pages_fini(&page, 1);
    return passed && report_ok(report, "from two pages of BAR1 to 0x%" PRIx64, transfer.address);
}

/* Guest pages all over memory into BAR1 and, in another order, out again into other pages. */
static bool scatter_gather(struct device *device, struct page *from, struct page *to,
                           struct report *report)
{
    for (unsigned i = 0; i < PAGES; i++) {
        struct transfer in = { from[i].address, i * PAGE_BYTES, PAGE_BYTES, DEVICE_DMA_FROM_GUEST };

        fill_bytes(from[i].bytes, PAGE_BYTES, 30 + i);
        if (!run_well(device, &in, report)) {
            return false;
        }
    }
    for (unsigned i = 0; i < PAGES; i++) {
        struct transfer out = { to[i].address, (PAGES - 1 - i) * PAGE_BYTES, PAGE_BYTES,
                                DEVICE_DMA_TO_GUEST };

        if (!same_bar1(device, i * PAGE_BYTES, PAGE_BYTES, 30 + i, report) ||
            !run_well(device, &out, report)) {
            return false;
        }
    }
    for (unsigned i = 0; i < PAGES; i++) {
        if (!same_bytes(to[i].bytes, PAGE_BYTES, 30 + PAGES - 1 - i, report) ||
            !same_bytes(from[i].bytes, PAGE_BYTES, 30 + i, report)) {
            return false;
        }
    }
    return report_ok(report, "%u pages into BAR1 and out into %u others", PAGES, PAGES);
}

bool check_dma_pages(struct guest *guest, struct report *report)
{
    struct page pages[2 * PAGES];
    int rc = pages_init(pages, 2 * PAGES);
    bool passed;

    if (rc < 0) {
        return report_error(report, "taking pages", rc);
    }
    passed = scatter_gather(&guest->device, pages, pages + PAGES, report);
    pages_fini(pages, 2 * PAGES);
    return passed;
}

/* A few bytes at odd places, with no byte beside them changed. */
static bool small_transfer(struct device *device, struct page *page, struct report *report)
{
    enum { FROM = 5, AT = 0xffb, TO = 0x7f3, LENGTH = 13 };
    struct transfer in = { page->address + FROM, AT, LENGTH, DEVICE_DMA_FROM_GUEST };
    struct transfer out = { page->address + TO, AT, LENGTH, DEVICE_DMA_TO_GUEST };

    fill_bytes(page->bytes, PAGE_BYTES, 50);
    fill_bar1(device, 0, 2 * PAGE_BYTES, 51);
    if (!run_well(device, &in, report)) {
        return false;
    }
    for (unsigned i = 0; i < 0x40; i++) {
        size_t offset = AT - 0x20 + i;
        bool inside = offset >= AT && offset < AT + LENGTH;
        uint8_t expected = inside ? pattern_byte(FROM + offset - AT, 50) : pattern_byte(offset, 51);
        uint64_t got = device_memory_read(device, offset, 1);

        if (got != expected) {
            return report_failure(report, "expected BAR1 0x%zx 0x%02x got 0x%" PRIx64, offset,
                                  expected, got);
        }
    }
    if (!run_well(device, &out, report)) {
        return false;
    }
    for (unsigned i = 0; i < PAGE_BYTES; i++) {
        uint8_t expected = pattern_byte(i >= TO && i < TO + LENGTH ? FROM + i - TO : i, 50);

        if (page->bytes[i] != expected) {
            return report_failure(report, "expected guest memory byte 0x%x 0x%02x got 0x%02x", i,
                                  expected, page->bytes[i]);
        }
    }
    return report_ok(report, "%d bytes at odd addresses, nothing beside them", LENGTH);
}

bool check_dma_small(struct guest *guest, struct report *report)
{
    struct page page;
    int rc = pages_init(&page, 1);
    bool passed;

    if (rc < 0) {
        return report_error(report, "taking a page", rc);
    }
    passed = small_transfer(&guest->device, &page, report);
    pages_fini(&page, 1);
    return passed;
}

static bool await_completion(struct device *device, const struct transfer *transfer,
                             struct report *report)
{
    uint32_t before = device->uio_count;
    uint32_t status;
    int rc;

    start(device, transfer);
    rc = device_wait_interrupt(device, 5000);
    if (rc < 0) {
        return report_error(report, "waiting for the DMA interrupt", rc);
    }
    status = device_read32(device, DEVICE_IRQ_STATUS);
    rc = device_finish_interrupt(device, DEVICE_IRQ_DMA);
    if (rc < 0) {
        return report_error(report, "switching INTx on", rc);
    }
    if (status != DEVICE_IRQ_DMA) {
        return report_differs(report, "IRQ_STATUS", DEVICE_IRQ_DMA, status);
    }
    if (device->uio_count != before + 1) {
        return report_differs(report, "interrupt count", before + 1, device->uio_count);
    }
    if (device_read32(device, DEVICE_DMA_CONTROL) != 0) {
        return report_differs(report, "DMA_CONTROL when complete", 0,
                              device_read32(device, DEVICE_DMA_CONTROL));
    }
    if (device_wait_interrupt(device, 50) == 0) {
        return report_differs(report, "interrupt count", before + 1, device->uio_count);
    }
    return true;
}

bool check_dma_interrupt(struct guest *guest, struct report *report)
{
    struct transfer transfer = { .length = PAGE_BYTES, .direction = DEVICE_DMA_TO_GUEST };
    struct page page;
    int rc = pages_init(&page, 1);
    bool passed;

    if (rc < 0) {
        return report_error(report, "taking a page", rc);
    }
    transfer.address = page.address;
    fill_bar1(&guest->device, 0, PAGE_BYTES, 60);
    passed = await_completion(&guest->device, &transfer, report) &&
             same_bytes(page.bytes, PAGE_BYTES, 60, report);
    pages_fini(&page, 1);
    return passed && report_ok(report, "one interrupt when the data is there");
}

/* 16 TiB is beyond all memory of this guest, and no device sits there. */
bool check_dma_unmapped(struct guest *guest, struct report *report)
{
    struct transfer transfer = { UINT64_C(1) << 44, 0, PAGE_BYTES, DEVICE_DMA_FROM_GUEST };
    uint32_t error;

    fill_bar1(&guest->device, 0, PAGE_BYTES, 70);
    if (!run_badly(&guest->device, &transfer, &error, report) ||
        !same_bar1(&guest->device, 0, PAGE_BYTES, 70, report)) {
        return false;
    }
    transfer.direction = DEVICE_DMA_TO_GUEST;
    if (!run_badly(&guest->device, &transfer, &error, report)) {
        return false;
    }
    return report_ok(report, "no memory there: errno %" PRIu32, error);
}

/* The length and the offset are the guest's, and their sum may overflow. */
static bool outside_bar1(struct device *device, uint64_t address, struct report *report)
{
    const struct transfer transfers[] = {
        { address, device->bar1_size - 16, 32, DEVICE_DMA_TO_GUEST },
        { address, device->bar1_size, 1, DEVICE_DMA_TO_GUEST },
        { address, UINT64_MAX - 15, 32, DEVICE_DMA_TO_GUEST },
        { address, 0, UINT32_MAX, DEVICE_DMA_TO_GUEST },
        { address, device->bar1_size - 16, 32, DEVICE_DMA_FROM_GUEST },
        { address, UINT64_MAX - 15, 32, DEVICE_DMA_FROM_GUEST },
    };
    uint32_t error = 0;

    for (size_t i = 0; i < sizeof(transfers) / sizeof(transfers[0]); i++) {
        if (!run_badly(device, &transfers[i], &error, report)) {
            return false;
        }
    }
    return report_ok(report, "refused with errno %" PRIu32, error);
}

bool check_dma_outside_bar1(struct guest *guest, struct report *report)
{
    struct page page;
    int rc = pages_init(&page, 1);
    bool passed;

    if (rc < 0) {
        return report_error(report, "taking a page", rc);
    }
    fill_bytes(page.bytes, PAGE_BYTES, 80);
    passed = outside_bar1(&guest->device, page.address, report) &&
             same_bytes(page.bytes, PAGE_BYTES, 80, report);
    pages_fini(&page, 1);
    return passed;
}
