/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest does while its device moves from one process to another, again and again, or dies
 * and comes back: deadlines of 10 ms, BAR1, doorbells and the DMA engine, all counted. Nothing may
 * be lost or come twice.
 */
#include "checks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pages.h"

#define PATIENCE_MS 5000u
#define DEADLINES   4u /* with an interrupt, for each that passes during work */
#define DELAY_NSEC  (10 * NSEC_PER_MSEC)
#define LIMIT_NSEC  (240 * NSEC_PER_SEC)
#define BLOCK       256u
#define BLOCKS_MAX  64u
#define WINDOW      (4 * BLOCK) /* of BAR1 that goes to the guest in one transfer */
#define REMAP_MS    1500u       /* QEMU maps BAR1 again a second after the last interrupt */

/* What the device must hold, and what has been asked of it. */
struct model {
    unsigned seeds[BLOCKS_MAX]; /* of the pattern in each block of BAR1 */
    unsigned blocks;
    unsigned seed; /* the last one */
    uint32_t doorbells;
    uint32_t rung_before;
    uint64_t counted_before; /* IRQ_COUNT */
    uint32_t uio_before;
    uint32_t interrupts;
    uint32_t polled;
    uint32_t transfers;
    uint64_t late_worst;
    uint64_t late_sum;
};

static void write_block(struct device *device, struct model *model, unsigned block)
{
    model->seeds[block] = ++model->seed;
    for (size_t i = 0; i < BLOCK; i += 8) {
        device_memory_write(device, block * BLOCK + i, 8, pattern_value(i, 8, model->seed));
    }
}

static bool same_block(const struct device *device, const struct model *model, unsigned block,
                       struct report *report)
{
    for (size_t i = 0; i < BLOCK; i += 8) {
        uint64_t expected = pattern_value(i, 8, model->seeds[block]);
        uint64_t got = device_memory_read(device, block * BLOCK + i, 8);

        if (got != expected) {
            return report_failure(report, "expected BAR1 0x%zx 0x%" PRIx64 " got 0x%" PRIx64,
                                  block * BLOCK + i, expected, got);
        }
    }
    return true;
}

/* Masked, so that its end raises no interrupt. */
static bool transfer(struct device *device, struct model *model, uint64_t address, uint64_t offset,
                     uint32_t length, uint32_t direction, struct report *report)
{
    uint32_t control;

    device_write64(device, DEVICE_DMA_IOVA, address);
    device_write64(device, DEVICE_DMA_OFFSET, offset);
    device_write32(device, DEVICE_DMA_LENGTH, length);
    device_write32(device, DEVICE_DMA_CONTROL, direction);
    for (unsigned waited = 0; waited < PATIENCE_MS; waited++) {
        control = device_read32(device, DEVICE_DMA_CONTROL);
        if (control != DEVICE_DMA_BUSY) {
            break;
        }
        sleep_ms(1);
    }
    model->transfers++;
    return control == 0 || report_differs(report, "DMA_CONTROL", 0, control);
}

static bool same_window(const struct model *model, const struct page *page, unsigned first,
                        struct report *report)
{
    for (size_t i = 0; i < WINDOW; i++) {
        uint8_t expected = pattern_byte(i % BLOCK, model->seeds[first + i / BLOCK]);

        if (page->bytes[i] != expected) {
            return report_failure(report, "expected guest memory byte 0x%zx 0x%02x got 0x%02x", i,
                                  expected, page->bytes[i]);
        }
    }
    return true;
}

/* Four blocks out of BAR1, and one into it. */
static bool move_blocks(struct device *device, struct model *model, struct page *page,
                        struct report *report)
{
    unsigned first = model->seed * 7 % (model->blocks - 3);
    unsigned target = model->seed * 13 % model->blocks;

    memset(page->bytes, 0, WINDOW);
    if (!transfer(device, model, page->address, first * BLOCK, WINDOW, DEVICE_DMA_TO_GUEST,
                  report) ||
        !same_window(model, page, first, report)) {
        return false;
    }
    model->seeds[target] = ++model->seed;
    for (size_t i = 0; i < BLOCK; i++) {
        page->bytes[i] = pattern_byte(i, model->seed);
    }
    return transfer(device, model, page->address, target * BLOCK, BLOCK, DEVICE_DMA_FROM_GUEST,
                    report) &&
           same_block(device, model, target, report);
}

static bool work(struct device *device, struct model *model, struct page *page,
                 struct report *report)
{
    unsigned block = model->seed * 5 % model->blocks;

    write_block(device, model, block);
    device_write32(device, DEVICE_DOORBELL, ++model->doorbells);
    return same_block(device, model, block, report) &&
           same_block(device, model, (block + model->blocks / 2) % model->blocks, report) &&
           move_blocks(device, model, page, report);
}

static uint64_t arm(struct device *device)
{
    uint64_t deadline = device_read64(device, DEVICE_CLOCK_NSEC) + DELAY_NSEC;

    device_write64(device, DEVICE_TIMER_NSEC, deadline);
    return deadline;
}

static bool on_time(const struct device *device, struct model *model, uint64_t deadline,
                    struct report *report)
{
    uint64_t fired = device_read64(device, DEVICE_FIRED_NSEC);

    if (fired < deadline) {
        return report_failure(report, "expected FIRED_NSEC >= %" PRIu64 " got %" PRIu64, deadline,
                              fired);
    }
    model->late_sum += fired - deadline;
    if (fired - deadline > model->late_worst) {
        model->late_worst = fired - deadline;
    }
    return true;
}

/*
 * Nothing touches a BAR until it is there: QEMU takes every access to one for the end of an
 * interrupt, which would make two of one.
 */
static bool by_interrupt(struct device *device, struct model *model, struct report *report)
{
    uint32_t before = device->uio_count;
    uint64_t deadline;
    int rc;

    device_write32(device, DEVICE_IRQ_ENABLE, DEVICE_IRQ_TIMER);
    deadline = arm(device);
    rc = device_wait_interrupt(device, PATIENCE_MS);
    if (rc < 0) {
        return report_error(report, "waiting for an interrupt", rc);
    }
    model->interrupts++;
    if (device->uio_count != before + 1) {
        return report_differs(report, "interrupt count", before + 1, device->uio_count);
    }
    if ((device_read32(device, DEVICE_IRQ_STATUS) & DEVICE_IRQ_TIMER) == 0) {
        return report_failure(report, "expected TIMER in IRQ_STATUS got 0x%" PRIx32,
                              device_read32(device, DEVICE_IRQ_STATUS));
    }
    rc = device_finish_interrupt(device, DEVICE_IRQ_TIMER);
    if (rc < 0) {
        return report_error(report, "switching INTx on", rc);
    }
    return on_time(device, model, deadline, report);
}

/* The deadline passes while there is work to do, and is looked for afterwards. */
static bool by_polling(struct device *device, struct model *model, struct page *page,
                       struct report *report)
{
    uint64_t deadline;
    uint32_t status = 0;

    device_write32(device, DEVICE_IRQ_ENABLE, 0);
    deadline = arm(device);
    if (!work(device, model, page, report)) {
        return false;
    }
    for (unsigned waited = 0; waited < PATIENCE_MS; waited++) {
        status = device_read32(device, DEVICE_IRQ_STATUS);
        if ((status & DEVICE_IRQ_TIMER) != 0) {
            break;
        }
        sleep_ms(1);
    }
    if ((status & DEVICE_IRQ_TIMER) == 0) {
        return report_failure(report, "expected TIMER in IRQ_STATUS got 0x%" PRIx32, status);
    }
    model->polled++;
    device_write32(device, DEVICE_IRQ_STATUS, DEVICE_IRQ_TIMER | DEVICE_IRQ_DMA);
    status = device_read32(device, DEVICE_IRQ_STATUS);
    if ((status & DEVICE_IRQ_TIMER) != 0) {
        return report_failure(report, "expected one deadline got a second at once");
    }
    return on_time(device, model, deadline, report);
}

static bool whole_memory(const struct device *device, const struct model *model,
                         struct report *report)
{
    for (unsigned i = 0; i < model->blocks; i++) {
        if (!same_block(device, model, i, report)) {
            return false;
        }
    }
    return true;
}

static bool right_counts(struct device *device, const struct model *model, struct report *report)
{
    uint64_t counted = device_read64(device, DEVICE_IRQ_COUNT) - model->counted_before;
    uint32_t rung = device_read32(device, DEVICE_DOORBELL_COUNT) - model->rung_before;

    if (counted != model->interrupts) {
        return report_differs(report, "IRQ_COUNT to grow by", model->interrupts, counted);
    }
    if (device->uio_count - model->uio_before != model->interrupts) {
        return report_differs(report, "interrupt count to grow by", model->interrupts,
                              device->uio_count - model->uio_before);
    }
    return rung == model->doorbells ||
           report_differs(report, "DOORBELL_COUNT to grow by", model->doorbells, rung);
}

/* Until the host's interrupt, which is let through by IRQ_ENABLE to the status alone. */
static bool run_loop(struct device *device, struct model *model, struct page *page,
                     struct report *report)
{
    uint64_t limit = device_read64(device, DEVICE_CLOCK_NSEC) + LIMIT_NSEC;

    for (unsigned i = 0; i < model->blocks; i++) {
        write_block(device, model, i);
    }
    model->counted_before = device_read64(device, DEVICE_IRQ_COUNT);
    model->rung_before = device_read32(device, DEVICE_DOORBELL_COUNT);
    model->uio_before = device->uio_count;
    printf("guest: the loop runs\n");
    while ((device_read32(device, DEVICE_IRQ_STATUS) & DEVICE_IRQ_SOFTWARE) == 0) {
        if (device_read64(device, DEVICE_CLOCK_NSEC) > limit) {
            return report_failure(report, "expected the host to end the loop got no word of it");
        }
        for (unsigned i = 0; i < DEADLINES; i++) {
            if (!by_interrupt(device, model, report)) {
                return false;
            }
        }
        if (!by_polling(device, model, page, report)) {
            return false;
        }
    }
    printf("guest: the loop is over\n");
    return whole_memory(device, model, report) && right_counts(device, model, report);
}

bool check_handover_loop(struct guest *guest, struct report *report)
{
    struct model model = { .blocks = (unsigned)(guest->device.bar1_size / BLOCK) };
    struct page page;
    int rc = pages_init(&page, 1);
    bool passed;

    if (rc < 0) {
        return report_error(report, "taking a page", rc);
    }
    if (model.blocks > BLOCKS_MAX) {
        model.blocks = BLOCKS_MAX;
    }
    passed = run_loop(&guest->device, &model, &page, report);
    pages_fini(&page, 1);
    return passed && report_ok(report,
                               "%" PRIu32 " interrupts and %" PRIu32 " deadlines polled, %" PRIu64
                               " us late on average and %" PRIu64 " us at most; %" PRIu32
                               " transfers, %" PRIu32 " doorbells",
                               model.interrupts, model.polled,
                               model.late_sum / (model.interrupts + model.polled) / 1000,
                               model.late_worst / 1000, model.transfers, model.doorbells);
}

/* With no interrupt for a while the guest's accesses go through QEMU's mapping again. */
bool check_handover_mapped(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    struct model model = { .blocks = WINDOW / BLOCK };
    struct page page;
    int rc = pages_init(&page, 1);
    bool passed;

    if (rc < 0) {
        return report_error(report, "taking a page", rc);
    }
    device_write32(device, DEVICE_IRQ_ENABLE, 0);
    sleep_ms(REMAP_MS);
    for (unsigned i = 0; i < model.blocks; i++) {
        write_block(device, &model, i);
    }
    passed = transfer(device, &model, page.address, 0, WINDOW, DEVICE_DMA_TO_GUEST, report) &&
             same_window(&model, &page, 0, report);
    pages_fini(&page, 1);
    return passed && report_ok(report, "the engine reads what was written through the mapping");
}
