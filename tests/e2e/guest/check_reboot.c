/* SPDX-License-Identifier: BSD-3-Clause */
#include "checks.h"

#include <inttypes.h>
#include <linux/pci_regs.h>

#define MARK UINT64_C(0x5245424f4f542d31)

/* In a page that the client maps and in one that it does not; no check of a reboot writes there. */
static const size_t mark_offsets[] = { 0x2018, 0x3018 };

#define MARKS (sizeof(mark_offsets) / sizeof(mark_offsets[0]))

bool boot_is_marked(const struct device *device)
{
    for (size_t i = 0; i < MARKS; i++) {
        if (device_memory_read(device, mark_offsets[i], 8) == MARK + i) {
            return true;
        }
    }
    return false;
}

/* Leaves BAR1 marked and as much behind as a reset has to clear, a running timer above all. */
bool check_boot_first(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;

    for (size_t i = 0; i < MARKS; i++) {
        device_memory_write(device, mark_offsets[i], 8, MARK + i);
    }
    device_write64(device, DEVICE_DMA_IOVA, 0x4321);
    device_write64(device, DEVICE_DMA_OFFSET, 0x40);
    device_write32(device, DEVICE_DMA_LENGTH, 0x20);
    device_write32(device, DEVICE_IRQ_ENABLE, 0x2);
    device_write64(device, DEVICE_TIMER_NSEC,
                   device_read64(device, DEVICE_CLOCK_NSEC) + 1200 * NSEC_PER_MSEC);
    guest->reboot = true;
    return report_ok(report, "BAR1 marked, timer armed for after the reboot");
}

bool check_boot_kept(struct guest *guest, struct report *report)
{
    for (size_t i = 0; i < MARKS; i++) {
        uint64_t got = device_memory_read(&guest->device, mark_offsets[i], 8);

        if (got != MARK + i) {
            return report_differs(report, "the mark in BAR1", MARK + i, got);
        }
    }
    return report_ok(report, "BAR1 holds what was there before");
}

/* Run first, before anything else touched the device. */
bool check_boot_reset(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    const struct {
        const char *name;
        uint64_t expected;
        uint64_t got;
    } registers[] = {
        { "IRQ_STATUS", 0, device_read32(device, DEVICE_IRQ_STATUS) },
        { "IRQ_ENABLE", DEVICE_IRQ_ALL, device_read32(device, DEVICE_IRQ_ENABLE) },
        { "IRQ_COUNT", 0, device_read64(device, DEVICE_IRQ_COUNT) },
        { "DMA_IOVA", 0, device_read64(device, DEVICE_DMA_IOVA) },
        { "DMA_OFFSET", 0, device_read64(device, DEVICE_DMA_OFFSET) },
        { "DMA_LENGTH", 0, device_read32(device, DEVICE_DMA_LENGTH) },
        { "DMA_CONTROL", 0, device_read32(device, DEVICE_DMA_CONTROL) },
    };
    uint16_t command = 0;

    for (size_t i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
        if (registers[i].got != registers[i].expected) {
            return report_differs(report, registers[i].name, registers[i].expected,
                                  registers[i].got);
        }
    }
    (void)device_config_read(device, PCI_COMMAND, &command);
    if ((command & PCI_COMMAND_MASTER) != 0) {
        return report_failure(report, "expected Bus Master off got Command 0x%04x", command);
    }
    return report_ok(report, "registers as after a reset");
}

/* The timer that the first boot armed is disarmed: its deadline is past by now. */
bool check_boot_quiet(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;

    if (device_wait_interrupt(device, 1300) == 0) {
        return report_failure(report, "expected no interrupt after a reset got one");
    }
    if (device_read64(device, DEVICE_IRQ_COUNT) != 0) {
        return report_differs(report, "IRQ_COUNT", 0, device_read64(device, DEVICE_IRQ_COUNT));
    }
    return report_ok(report, "no interrupt left from before");
}
