/* SPDX-License-Identifier: BSD-3-Clause */
#include "checks.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <stdio.h>

#define DEADLINES   10u
#define PATIENCE_MS 5000u

/* Waits for exactly one interrupt more than `before`, and finishes it. */
static bool one_interrupt(struct device *device, uint32_t before, uint32_t bits,
                          struct report *report)
{
    int rc = device_wait_interrupt(device, PATIENCE_MS);

    if (rc < 0) {
        return report_error(report, "waiting for an interrupt", rc);
    }
    if (device->uio_count != before + 1) {
        return report_differs(report, "interrupt count", before + 1, device->uio_count);
    }
    rc = device_finish_interrupt(device, bits);
    if (rc < 0) {
        return report_error(report, "switching INTx on", rc);
    }
    return true;
}

/* Waits and reports a failure if an interrupt comes, or the device counts one. */
static bool no_interrupt(struct device *device, unsigned wait_ms, struct report *report)
{
    uint64_t counted = device_read64(device, DEVICE_IRQ_COUNT);
    uint32_t before = device->uio_count;

    if (device_wait_interrupt(device, wait_ms) == 0) {
        return report_differs(report, "interrupt count", before, device->uio_count);
    }
    if (device_read64(device, DEVICE_IRQ_COUNT) != counted) {
        return report_differs(report, "IRQ_COUNT", counted,
                              device_read64(device, DEVICE_IRQ_COUNT));
    }
    return true;
}

static bool not_before(const struct device *device, uint64_t deadline, struct report *report)
{
    uint64_t fired = device_read64(device, DEVICE_FIRED_NSEC);

    if (fired < deadline) {
        return report_failure(report, "expected FIRED_NSEC >= %" PRIu64 " got %" PRIu64, deadline,
                              fired);
    }
    return true;
}

static bool one_deadline(struct device *device, uint64_t delay, uint64_t *late,
                         struct report *report)
{
    uint32_t before = device->uio_count;
    uint64_t deadline = device_read64(device, DEVICE_CLOCK_NSEC) + delay;

    device_write64(device, DEVICE_TIMER_NSEC, deadline);
    if (!one_interrupt(device, before, DEVICE_IRQ_TIMER, report) ||
        !not_before(device, deadline, report)) {
        return false;
    }
    *late = device_read64(device, DEVICE_FIRED_NSEC) - deadline;
    return true;
}

bool check_timer_ten(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint64_t counted = device_read64(device, DEVICE_IRQ_COUNT);
    uint64_t worst = 0;

    for (unsigned i = 0; i < DEADLINES; i++) {
        uint64_t late;

        if (!one_deadline(device, 20 * NSEC_PER_MSEC, &late, report)) {
            return false;
        }
        printf("# deadline %u: %" PRIu64 " us late\n", i + 1, late / 1000);
        worst = late > worst ? late : worst;
    }
    counted = device_read64(device, DEVICE_IRQ_COUNT) - counted;
    if (counted != DEADLINES) {
        return report_differs(report, "IRQ_COUNT to grow by", DEADLINES, counted);
    }
    return report_ok(report, "%u interrupts, at most %" PRIu64 " us late", DEADLINES, worst / 1000);
}

bool check_timer_quiet(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint64_t late;

    if (!one_deadline(device, 20 * NSEC_PER_MSEC, &late, report) ||
        !no_interrupt(device, 100, report)) {
        return false;
    }
    if (device_read32(device, DEVICE_IRQ_STATUS) != 0) {
        return report_differs(report, "IRQ_STATUS", 0, device_read32(device, DEVICE_IRQ_STATUS));
    }
    return report_ok(report, "nothing for 100 ms after the last one");
}

bool check_timer_past(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint32_t before = device->uio_count;
    uint64_t armed = device_read64(device, DEVICE_CLOCK_NSEC);
    uint64_t took;

    device_write64(device, DEVICE_TIMER_NSEC, armed - NSEC_PER_SEC);
    if (!one_interrupt(device, before, DEVICE_IRQ_TIMER, report) ||
        !not_before(device, armed, report) || !no_interrupt(device, 100, report)) {
        return false;
    }
    took = device_read64(device, DEVICE_FIRED_NSEC) - armed;
    if (took > PATIENCE_MS * NSEC_PER_MSEC) {
        return report_differs(report, "nanoseconds to fire, at most", PATIENCE_MS * NSEC_PER_MSEC,
                              took);
    }
    return report_ok(report, "a deadline in the past fired after %" PRIu64 " us", took / 1000);
}

bool check_timer_disarm(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint64_t fired = device_read64(device, DEVICE_FIRED_NSEC);

    device_write64(device, DEVICE_TIMER_NSEC,
                   device_read64(device, DEVICE_CLOCK_NSEC) + 500 * NSEC_PER_MSEC);
    device_write64(device, DEVICE_TIMER_NSEC, 0);
    if (!no_interrupt(device, 700, report)) {
        return false;
    }
    if (device_read64(device, DEVICE_FIRED_NSEC) != fired) {
        return report_differs(report, "FIRED_NSEC", fired,
                              device_read64(device, DEVICE_FIRED_NSEC));
    }
    return report_ok(report, "nothing at the deadline of a timer disarmed by 0");
}

bool check_timer_seconds(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint32_t before = device->uio_count;
    uint64_t second = device_read64(device, DEVICE_CLOCK_NSEC) / NSEC_PER_SEC + 1;
    uint64_t elapsed;

    device_write64(device, DEVICE_TIMER_SEC, second);
    if (!one_interrupt(device, before, DEVICE_IRQ_TIMER, report) ||
        !not_before(device, second * NSEC_PER_SEC, report)) {
        return false;
    }
    elapsed = device_read64(device, DEVICE_TIMER_SEC);
    if (elapsed > 10) {
        return report_differs(report, "TIMER_SEC to read as seconds since, at most", 10, elapsed);
    }
    return report_ok(report, "TIMER_SEC fired at second %" PRIu64, second);
}

/* A driver for a 32-bit bus writes the low half first; nothing may happen before the high one. */
bool check_timer_halves(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint32_t before = device->uio_count;
    uint64_t past = device_read64(device, DEVICE_CLOCK_NSEC) - NSEC_PER_SEC;

    device_write32(device, DEVICE_TIMER_NSEC, (uint32_t)past);
    if (!no_interrupt(device, 100, report)) {
        return false;
    }
    device_write32(device, DEVICE_TIMER_NSEC + 4, (uint32_t)(past >> 32));
    if (!one_interrupt(device, before, DEVICE_IRQ_TIMER, report)) {
        return false;
    }
    return report_ok(report, "a deadline in two halves fired with the high half");
}

bool check_irq_enable(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint32_t before = device->uio_count;

    device_write32(device, DEVICE_IRQ_ENABLE, DEVICE_IRQ_ALL & ~DEVICE_IRQ_TIMER);
    device_write64(device, DEVICE_TIMER_NSEC, device_read64(device, DEVICE_CLOCK_NSEC));
    if (!no_interrupt(device, 100, report)) {
        return false;
    }
    if (device_read32(device, DEVICE_IRQ_STATUS) != DEVICE_IRQ_TIMER) {
        return report_differs(report, "IRQ_STATUS while masked", DEVICE_IRQ_TIMER,
                              device_read32(device, DEVICE_IRQ_STATUS));
    }
    device_write32(device, DEVICE_IRQ_ENABLE, DEVICE_IRQ_ALL);
    if (!one_interrupt(device, before, DEVICE_IRQ_TIMER, report)) {
        return false;
    }
    return report_ok(report, "masked by IRQ_ENABLE, delivered when enabled");
}

bool check_intx_disable(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint32_t before = device->uio_count;
    uint16_t status = 0;
    int rc = device_command(device, PCI_COMMAND_INTX_DISABLE, 0);

    if (rc < 0) {
        return report_error(report, "switching INTx off", rc);
    }
    device_write64(device, DEVICE_TIMER_NSEC, device_read64(device, DEVICE_CLOCK_NSEC));
    if (device_wait_interrupt(device, 100) == 0) {
        return report_failure(report, "expected no interrupt with INTx Disable got one");
    }
    (void)device_config_read(device, PCI_STATUS, &status);
    if ((status & PCI_STATUS_INTERRUPT) == 0) {
        return report_failure(report, "expected Interrupt Status set got Status 0x%04x", status);
    }
    rc = device_command(device, 0, PCI_COMMAND_INTX_DISABLE);
    if (rc < 0) {
        return report_error(report, "switching INTx on", rc);
    }
    if (!one_interrupt(device, before, DEVICE_IRQ_TIMER, report)) {
        return false;
    }
    (void)device_config_read(device, PCI_STATUS, &status);
    if ((status & PCI_STATUS_INTERRUPT) != 0) {
        return report_failure(report, "expected Interrupt Status clear got Status 0x%04x", status);
    }
    return report_ok(report, "held by INTx Disable, delivered when cleared");
}

/* The line printed here is what the host's script waits for before it calls vfuctl. */
bool check_host_interrupt(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint64_t counted = device_read64(device, DEVICE_IRQ_COUNT);
    uint32_t before = device->uio_count;
    uint32_t status;
    int rc;

    printf("guest: waiting for the host's interrupt\n");
    rc = device_wait_interrupt(device, 15000);
    if (rc < 0) {
        return report_error(report, "waiting for the host's interrupt", rc);
    }
    status = device_read32(device, DEVICE_IRQ_STATUS);
    if (status != DEVICE_IRQ_SOFTWARE) {
        return report_differs(report, "IRQ_STATUS", DEVICE_IRQ_SOFTWARE, status);
    }
    rc = device_finish_interrupt(device, DEVICE_IRQ_SOFTWARE);
    if (rc < 0) {
        return report_error(report, "switching INTx on", rc);
    }
    if (device->uio_count != before + 1) {
        return report_differs(report, "interrupt count", before + 1, device->uio_count);
    }
    if (device_read32(device, DEVICE_IRQ_STATUS) != 0) {
        return report_differs(report, "IRQ_STATUS acknowledged", 0,
                              device_read32(device, DEVICE_IRQ_STATUS));
    }
    if (!no_interrupt(device, 100, report)) {
        return false;
    }
    counted = device_read64(device, DEVICE_IRQ_COUNT) - counted;
    return report_ok(report, "one interrupt, IRQ_COUNT grew by %" PRIu64, counted);
}

bool check_doorbell(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint32_t rings = device_read32(device, DEVICE_DOORBELL_COUNT);

    device_write32(device, DEVICE_DOORBELL, 0x11);
    device_write32(device, DEVICE_DOORBELL_TRAPPED, 0x22);
    device_write32(device, DEVICE_DOORBELL, 0x33);
    rings = device_read32(device, DEVICE_DOORBELL_COUNT) - rings;
    if (rings != 3) {
        return report_differs(report, "DOORBELL_COUNT to grow by", 3, rings);
    }
    if (device_read32(device, DEVICE_DOORBELL) != 0x33) {
        return report_differs(report, "DOORBELL", 0x33, device_read32(device, DEVICE_DOORBELL));
    }
    return report_ok(report, "three rings counted");
}
