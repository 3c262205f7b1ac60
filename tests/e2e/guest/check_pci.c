/* SPDX-License-Identifier: BSD-3-Clause */
#include "checks.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>

static int run_lspci(struct guest *guest)
{
    char command[96];
    size_t length;
    FILE *pipe;

    if (guest->lspci[0] != '\0') {
        return 0;
    }
    /* Its standard error has only that there are no kernel modules to look up for -vv. */
    (void)snprintf(command, sizeof(command), "lspci -nn -vv -s %s 2>/dev/null", guest->address);
    pipe = popen(command, "re");
    if (pipe == NULL) {
        return -errno;
    }
    length = fread(guest->lspci, 1, sizeof(guest->lspci) - 1, pipe);
    guest->lspci[length] = '\0';
    if (pclose(pipe) != 0 || length == 0) {
        return -EIO;
    }
    printf("%s", guest->lspci);
    return 0;
}

static bool line_has(const char *line, size_t length, const char *word)
{
    return word == NULL || memmem(line, length, word, strlen(word)) != NULL;
}

/* Whether one line of lspci's output holds all three words, of which two may be NULL. */
static bool has_line(const char *text, const char *first, const char *second, const char *third)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        if (line_has(text, length, first) && line_has(text, length, second) &&
            line_has(text, length, third)) {
            return true;
        }
        text += length;
        text += *text == '\n';
    }
    return false;
}

static bool check_line(struct guest *guest, struct report *report, const char *first,
                       const char *second, const char *third)
{
    int rc = run_lspci(guest);

    if (rc < 0) {
        return report_error(report, "lspci", rc);
    }
    if (!has_line(guest->lspci, first, second, third)) {
        return report_failure(report, "expected a line of lspci with '%s' '%s' '%s' got none",
                              first, second != NULL ? second : "", third != NULL ? third : "");
    }
    return report_ok(report, "%s %s %s", first, second != NULL ? second : "",
                     third != NULL ? third : "");
}

bool check_lspci_identity(struct guest *guest, struct report *report)
{
    char class[16];
    char identity[16];

    (void)snprintf(class, sizeof(class), "[%s]", guest->expected.class);
    (void)snprintf(identity, sizeof(identity), "[%s]", guest->expected.identity);
    /* lspci leaves out the domain when there is one only. */
    return check_line(guest, report, strchr(guest->address, ':') + 1, class, identity);
}

bool check_lspci_subsystem(struct guest *guest, struct report *report)
{
    char identity[16];

    (void)snprintf(identity, sizeof(identity), "[%s]", guest->expected.subsystem);
    return check_line(guest, report, "Subsystem:", identity, NULL);
}

bool check_lspci_bars(struct guest *guest, struct report *report)
{
    char size[32];

    if (!check_line(guest, report, "Region 0: Memory at", "(32-bit, non-prefetchable)",
                    "[size=4K]")) {
        return false;
    }
    (void)snprintf(size, sizeof(size), "[size=%s]", guest->expected.bar1);
    if (!check_line(guest, report, "Region 1: Memory at", size, NULL)) {
        return false;
    }
    if (has_line(guest->lspci, "[disabled]", NULL, NULL)) {
        return report_failure(report, "expected both BARs enabled got [disabled]");
    }
    return report_ok(report, "4K and %s", guest->expected.bar1);
}

bool check_lspci_power(struct guest *guest, struct report *report)
{
    char capability[16];

    (void)snprintf(capability, sizeof(capability), "[%02x]", guest->device.pm_offset);
    if (!check_line(guest, report, "Capabilities:", capability, "Power Management version")) {
        return false;
    }
    return check_line(guest, report, "Status: D0", "NoSoftRst+", NULL);
}

/* The table and the pending bits are in BAR2, which has nothing else. */
bool check_lspci_msix(struct guest *guest, struct report *report)
{
    return check_line(guest, report, "MSI-X:", "Enable- Count=3", "Masked-") &&
           check_line(guest, report, "Vector table: BAR=2", "offset=00000000", NULL) &&
           check_line(guest, report, "PBA: BAR=2", "offset=00000800", NULL) &&
           check_line(guest, report, "Region 2: Memory at", "[size=4K]", NULL);
}

/*
 * The device answers reads in D3hot with all ones. QEMU 10 and later does not even ask: it takes
 * the BARs out of the guest's memory, and what is nowhere reads as 0 there. Neither is a register's
 * content, which is what a device that is still awake would show.
 */
static bool reads_asleep(const struct device *device, uint64_t *got)
{
    *got = device_read64(device, DEVICE_DMA_OFFSET);
    return *got == UINT64_MAX || *got == 0;
}

bool check_power_reads(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint16_t control = 0;
    uint64_t got;
    bool asleep;
    int rc;

    device_write64(device, DEVICE_DMA_OFFSET, 0x120);
    rc = device_power(device, 3);
    if (rc < 0) {
        return report_error(report, "setting D3hot", rc);
    }
    asleep = reads_asleep(device, &got);
    (void)device_config_read(device, device->pm_offset + PCI_PM_CTRL, &control);
    rc = device_power(device, 0);
    if (rc < 0) {
        return report_error(report, "setting D0", rc);
    }
    if ((control & PCI_PM_CTRL_STATE_MASK) != 3) {
        return report_differs(report, "PMCSR power state", 3, control & PCI_PM_CTRL_STATE_MASK);
    }
    if (!asleep) {
        return report_differs(report, "DMA_OFFSET in D3hot", UINT64_MAX, got);
    }
    if (device_read64(device, DEVICE_DMA_OFFSET) != 0x120) {
        return report_differs(report, "DMA_OFFSET in D0 again", 0x120,
                              device_read64(device, DEVICE_DMA_OFFSET));
    }
    return report_ok(report, "0x%" PRIx64 " in D3hot, the register's value in D0", got);
}

bool check_power_writes(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint64_t offset;
    uint64_t memory;
    int rc;

    device_write64(device, DEVICE_DMA_OFFSET, 0x120);
    device_memory_write(device, 0, 8, 0x1111);
    rc = device_power(device, 3);
    if (rc < 0) {
        return report_error(report, "setting D3hot", rc);
    }
    device_write64(device, DEVICE_DMA_OFFSET, 0x240);
    device_memory_write(device, 0, 8, 0x2222);
    rc = device_power(device, 0);
    if (rc < 0) {
        return report_error(report, "setting D0", rc);
    }
    offset = device_read64(device, DEVICE_DMA_OFFSET);
    if (offset != 0x120) {
        return report_differs(report, "DMA_OFFSET after a write in D3hot", 0x120, offset);
    }
    memory = device_memory_read(device, 0, 8);
    if (memory != 0x1111) {
        return report_differs(report, "BAR1 after a write in D3hot", 0x1111, memory);
    }
    return report_ok(report, "writes to BAR0 and BAR1 dropped in D3hot");
}

/* NoSoftRst+: what configuration space and the BARs held before is there after. */
bool check_power_registers(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint16_t before = 0;
    uint16_t after = 0;
    uint64_t count = device_read64(device, DEVICE_IRQ_COUNT);
    int rc;

    device_write32(device, DEVICE_IRQ_ENABLE, 0x5);
    device_write64(device, DEVICE_DMA_IOVA, 0x1234567890);
    device_write32(device, DEVICE_DMA_LENGTH, 0x77);
    (void)device_config_read(device, PCI_COMMAND, &before);
    rc = device_power(device, 3);
    if (rc == 0) {
        rc = device_power(device, 0);
    }
    if (rc < 0) {
        return report_error(report, "setting D3hot and D0", rc);
    }
    (void)device_config_read(device, PCI_COMMAND, &after);
    if (after != before) {
        return report_differs(report, "Command", before, after);
    }
    if (device_read32(device, DEVICE_IRQ_ENABLE) != 0x5) {
        return report_differs(report, "IRQ_ENABLE", 0x5, device_read32(device, DEVICE_IRQ_ENABLE));
    }
    if (device_read64(device, DEVICE_DMA_IOVA) != 0x1234567890) {
        return report_differs(report, "DMA_IOVA", 0x1234567890,
                              device_read64(device, DEVICE_DMA_IOVA));
    }
    if (device_read32(device, DEVICE_DMA_LENGTH) != 0x77) {
        return report_differs(report, "DMA_LENGTH", 0x77, device_read32(device, DEVICE_DMA_LENGTH));
    }
    if (device_read64(device, DEVICE_IRQ_COUNT) != count) {
        return report_differs(report, "IRQ_COUNT", count, device_read64(device, DEVICE_IRQ_COUNT));
    }
    return report_ok(report, "Command 0x%04x and BAR0 registers kept", after);
}

/*
 * A deadline that passes in D3hot: no interrupt there, exactly one on return to D0. It is far
 * enough off for the guest to be asleep by then on a busy machine too.
 */
bool check_power_interrupt(struct guest *guest, struct report *report)
{
    struct device *device = &guest->device;
    uint32_t before = device->uio_count;
    uint64_t deadline = device_read64(device, DEVICE_CLOCK_NSEC) + 300 * NSEC_PER_MSEC;
    int early;
    int rc;

    device_write64(device, DEVICE_TIMER_NSEC, deadline);
    rc = device_power(device, 3);
    if (rc < 0) {
        return report_error(report, "setting D3hot", rc);
    }
    early = device_wait_interrupt(device, 600);
    rc = device_power(device, 0);
    if (rc < 0) {
        return report_error(report, "setting D0", rc);
    }
    if (early == 0) {
        return report_failure(report, "expected no interrupt in D3hot got one");
    }
    rc = device_wait_interrupt(device, 5000);
    if (rc < 0) {
        return report_error(report, "waiting for the interrupt after D0", rc);
    }
    if (device->uio_count != before + 1) {
        return report_differs(report, "interrupt count", before + 1, device->uio_count);
    }
    if (device_read32(device, DEVICE_IRQ_STATUS) != DEVICE_IRQ_TIMER) {
        return report_differs(report, "IRQ_STATUS", DEVICE_IRQ_TIMER,
                              device_read32(device, DEVICE_IRQ_STATUS));
    }
    rc = device_finish_interrupt(device, DEVICE_IRQ_TIMER);
    if (rc == 0 && device_wait_interrupt(device, 100) == 0) {
        return report_differs(report, "interrupt count", before + 1, device->uio_count);
    }
    return report_ok(report, "waited in D3hot, came once in D0");
}
