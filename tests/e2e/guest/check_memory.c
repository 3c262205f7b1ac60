/* SPDX-License-Identifier: BSD-3-Clause */
#include "checks.h"

#include <inttypes.h>
#include <linux/pci_regs.h>

uint8_t pattern_byte(size_t offset, unsigned seed)
{
    uint32_t mixed = ((uint32_t)offset + 1) * UINT32_C(0x9e3779b1) + seed * UINT32_C(0x85ebca6b);

    return (uint8_t)(mixed >> 19);
}

uint64_t pattern_value(size_t offset, unsigned width, unsigned seed)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < width; i++) {
        value |= (uint64_t)pattern_byte(offset + i, seed) << (8 * i);
    }
    return value;
}

static size_t nth_offset(const struct device *device, size_t index, unsigned width, bool downwards)
{
    return downwards ? device->bar1_size - width * (index + 1) : width * index;
}

static void fill(struct device *device, unsigned width, unsigned seed, bool downwards)
{
    for (size_t i = 0; i < device->bar1_size / width; i++) {
        size_t offset = nth_offset(device, i, width, downwards);

        device_memory_write(device, offset, width, pattern_value(offset, width, seed));
    }
}

static bool verify(const struct device *device, unsigned width, unsigned seed, bool downwards,
                   struct report *report)
{
    for (size_t i = 0; i < device->bar1_size / width; i++) {
        size_t offset = nth_offset(device, i, width, downwards);
        uint64_t expected = pattern_value(offset, width, seed);
        uint64_t got = device_memory_read(device, offset, width);

        if (got != expected) {
            return report_failure(report,
                                  "expected BAR1 0x%zx, %u bytes, 0x%" PRIx64 " got 0x%" PRIx64,
                                  offset, width, expected, got);
        }
    }
    return true;
}

/* Mapped and trapped pages alternate, so going both ways changes from each to the other too. */
static bool check_width(struct guest *guest, struct report *report, unsigned width)
{
    struct device *device = &guest->device;

    for (unsigned pass = 0; pass < 2; pass++) {
        bool downwards = pass == 1;
        unsigned seed = width * 2 + pass;

        fill(device, width, seed, downwards);
        if (!verify(device, width, seed, !downwards, report)) {
            return false;
        }
    }
    return report_ok(report, "%zu bytes by %u, upwards and downwards", device->bar1_size, width);
}

bool check_bar1_width8(struct guest *guest, struct report *report)
{
    return check_width(guest, report, 8);
}

bool check_bar1_width4(struct guest *guest, struct report *report)
{
    return check_width(guest, report, 4);
}

bool check_bar1_width2(struct guest *guest, struct report *report)
{
    return check_width(guest, report, 2);
}

bool check_bar1_width1(struct guest *guest, struct report *report)
{
    return check_width(guest, report, 1);
}

/* Every width reads what every other wrote: a byte swapped or widened on the way would show. */
bool check_bar1_mixed(struct guest *guest, struct report *report)
{
    static const unsigned widths[] = { 1, 2, 4, 8 };
    struct device *device = &guest->device;

    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        for (size_t offset = 0; offset < device->bar1_size; offset += 1024) {
            for (unsigned at = 0; at < 8; at += widths[i]) {
                device_memory_write(device, offset + at, widths[i],
                                    pattern_value(offset + at, widths[i], 40 + (unsigned)i));
            }
            for (size_t j = 0; j < sizeof(widths) / sizeof(widths[0]); j++) {
                uint64_t expected = pattern_value(offset, widths[j], 40 + (unsigned)i);
                uint64_t got = device_memory_read(device, offset, widths[j]);

                if (got != expected) {
                    return report_failure(report,
                                          "expected BAR1 0x%zx, written by %u and read by %u,"
                                          " 0x%" PRIx64 " got 0x%" PRIx64,
                                          offset, widths[i], widths[j], expected, got);
                }
            }
        }
    }
    return report_ok(report, "every width reads what every other wrote");
}

/*
 * With an interrupt QEMU takes the mapping away for a second and sends all accesses as messages:
 * both ways must lead to the same bytes.
 */
bool check_bar1_interrupt(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    int rc;

    sleep_ms(1300); /* an earlier interrupt's mapping is back after 1.1 s */
    fill(device, 8, 60, false);
    device_write64(device, DEVICE_TIMER_NSEC, device_read64(device, DEVICE_CLOCK_NSEC));
    rc = device_wait_interrupt(device, 5000);
    if (rc < 0) {
        return report_error(report, "waiting for an interrupt", rc);
    }
    if (!verify(device, 8, 60, false, report)) {
        return false;
    }
    fill(device, 8, 61, true);
    rc = device_finish_interrupt(device, DEVICE_IRQ_TIMER);
    if (rc < 0) {
        return report_error(report, "switching INTx on", rc);
    }
    sleep_ms(1300);
    if (!verify(device, 8, 61, false, report)) {
        return false;
    }
    return report_ok(report, "same content with and without the mapping");
}
