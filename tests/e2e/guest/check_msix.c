/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MSI-X with a driver that uses it, on top of the guest kernel's VFIO, and DMA through an IOMMU.
 * QEMU keeps the table to itself and passes the vectors on as eventfds; the pending bits that the
 * guest reads are the device's.
 */
#include "checks.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define DEADLINES   10u
#define PATIENCE_MS 5000u
#define QUIET_MS    100u
#define ALL_VECTORS ((1u << VFIO_VECTORS) - 1)

#define PENDING_OFFSET 0x800u /* of the pending bits in BAR2; the table is at 0 */

/* Not the memory's physical address, and in no reserved range. */
#define DMA_IOVA  UINT64_C(0x40000000)
#define DMA_BYTES 8192u
#define DMA_PART  4096u

/* Exactly one interrupt, of this event; IRQ_STATUS then has `bit`, which is acknowledged. */
static bool one_event(struct vfio *vfio, enum vfio_event event, uint32_t bit, struct report *report)
{
    struct device *device = vfio->device;
    uint64_t count = 0;
    uint32_t status;
    int rc = vfio_wait(vfio, event, PATIENCE_MS, &count);

    if (rc < 0) {
        return report_error(report, "waiting for an interrupt", rc);
    }
    if (count != 1) {
        return report_differs(report, "interrupts at once", 1, count);
    }
    status = device_read32(device, DEVICE_IRQ_STATUS);
    if ((status & bit) == 0) {
        return report_differs(report, "IRQ_STATUS", bit, status);
    }
    device_write32(device, DEVICE_IRQ_STATUS, bit);
    return true;
}

static bool no_event(struct vfio *vfio, struct report *report)
{
    static const char *const names[] = { "vector 0", "vector 1", "vector 2", "INTx" };

    for (unsigned i = 0; i < VFIO_EVENTS; i++) {
        uint64_t count;

        if (vfio_wait(vfio, i, 0, &count) == 0) {
            return report_failure(report, "expected no interrupt of %s got %" PRIu64, names[i],
                                  count);
        }
    }
    return true;
}

static bool stays_quiet(struct vfio *vfio, struct report *report)
{
    sleep_ms(QUIET_MS);
    return no_event(vfio, report);
}

static bool expect_pending(struct vfio *vfio, uint32_t expected, struct report *report)
{
    uint32_t mapped = *(const volatile uint32_t *)(vfio->bar2 + PENDING_OFFSET);
    uint32_t bits = 0;
    int rc = vfio_pending(vfio, PENDING_OFFSET, &bits);

    if (rc < 0) {
        return report_error(report, "reading the pending bits", rc);
    }
    return (bits == expected || report_differs(report, "pending bits", expected, bits)) &&
           (mapped == expected || report_differs(report, "pending bits, mapped", expected, mapped));
}

static void fire_timer(struct device *device, uint64_t delay)
{
    device_write64(device, DEVICE_TIMER_NSEC, device_read64(device, DEVICE_CLOCK_NSEC) + delay);
}

/* With these vectors on and nothing of before. False when that does not work. */
static bool switch_on(struct vfio *vfio, unsigned vectors, struct report *report)
{
    int rc = device_command(vfio->device, PCI_COMMAND_MASTER, 0);

    if (rc < 0) {
        return report_error(report, "switching Bus Master on", rc);
    }
    device_write32(vfio->device, DEVICE_IRQ_STATUS, DEVICE_IRQ_ALL);
    rc = vfio_msix_on(vfio, vectors);
    if (rc < 0) {
        return report_error(report, "switching MSI-X on", rc);
    }
    return stays_quiet(vfio, report);
}

static bool switch_off(struct vfio *vfio, struct report *report)
{
    int rc = vfio_msix_off(vfio);

    return rc == 0 || report_error(report, "switching MSI-X off", rc);
}

static bool ten_deadlines(struct vfio *vfio, struct report *report)
{
    uint64_t counted = device_read64(vfio->device, DEVICE_IRQ_COUNT);

    for (unsigned i = 0; i < DEADLINES; i++) {
        fire_timer(vfio->device, 10 * NSEC_PER_MSEC);
        if (!one_event(vfio, VFIO_EVENT_TIMER, DEVICE_IRQ_TIMER, report) ||
            !no_event(vfio, report)) {
            return false;
        }
    }
    counted = device_read64(vfio->device, DEVICE_IRQ_COUNT) - counted;
    return counted == DEADLINES ||
           report_differs(report, "IRQ_COUNT to grow by", DEADLINES, counted);
}

bool check_msix_timer_ten(struct guest *guest, struct report *report)
{
    struct vfio *vfio = &guest->vfio;

    return switch_on(vfio, ALL_VECTORS, report) && ten_deadlines(vfio, report) &&
           stays_quiet(vfio, report) && expect_pending(vfio, 0, report) &&
           switch_off(vfio, report) &&
           report_ok(report, "%u deadlines, %u interrupts of vector 0", DEADLINES, DEADLINES);
}

/* The line printed here is what the host's script waits for before it calls vfuctl. */
bool check_msix_host_interrupt(struct guest *guest, struct report *report)
{
    struct vfio *vfio = &guest->vfio;

    if (!switch_on(vfio, ALL_VECTORS, report)) {
        return false;
    }
    printf("guest: waiting for the host's interrupt\n");
    return one_event(vfio, VFIO_EVENT_SOFTWARE, DEVICE_IRQ_SOFTWARE, report) &&
           stays_quiet(vfio, report) && switch_off(vfio, report) &&
           report_ok(report, "one interrupt of vector 1");
}

/* Both ways between guest memory and BAR1, the end of each told by vector 2. */
static bool transfer(struct vfio *vfio, uint64_t iova, uint32_t direction, struct report *report)
{
    struct device *device = vfio->device;
    uint32_t control;

    device_write64(device, DEVICE_DMA_IOVA, iova);
    device_write64(device, DEVICE_DMA_OFFSET, 0);
    device_write32(device, DEVICE_DMA_LENGTH, DMA_PART);
    device_write32(device, DEVICE_DMA_CONTROL, direction);
    if (!one_event(vfio, VFIO_EVENT_DMA, DEVICE_IRQ_DMA, report)) {
        return false;
    }
    control = device_read32(device, DEVICE_DMA_CONTROL);
    return (control == 0 || report_differs(report, "DMA_CONTROL", 0, control)) &&
           stays_quiet(vfio, report);
}

static bool dma_there_and_back(struct vfio *vfio, uint8_t *bytes, struct report *report)
{
    for (size_t i = 0; i < DMA_PART; i++) {
        bytes[i] = pattern_byte(i, 80);
        bytes[DMA_PART + i] = 0;
    }
    if (!transfer(vfio, DMA_IOVA, DEVICE_DMA_FROM_GUEST, report)) {
        return false;
    }
    for (size_t i = 0; i < DMA_PART; i += 8) {
        uint64_t got = device_memory_read(vfio->device, i, 8);

        if (got != pattern_value(i, 8, 80)) {
            return report_differs(report, "BAR1 from the guest", pattern_value(i, 8, 80), got);
        }
    }
    return transfer(vfio, DMA_IOVA + DMA_PART, DEVICE_DMA_TO_GUEST, report) &&
           (memcmp(bytes, bytes + DMA_PART, DMA_PART) == 0 ||
            report_failure(report, "expected the bytes back got others"));
}

static bool dma_refused(struct vfio *vfio, struct report *report)
{
    struct device *device = vfio->device;
    uint32_t control;

    device_write32(device, DEVICE_DMA_CONTROL, DEVICE_DMA_TO_GUEST);
    if (!one_event(vfio, VFIO_EVENT_DMA, DEVICE_IRQ_DMA, report)) {
        return false;
    }
    control = device_read32(device, DEVICE_DMA_CONTROL);
    return (control & DEVICE_DMA_FAILED) != 0 ||
           report_differs(report, "DMA_CONTROL of an address unmapped", DEVICE_DMA_FAILED, control);
}

static bool dma_mapped(struct vfio *vfio, uint8_t *bytes, struct report *report)
{
    int rc = vfio_map(vfio, bytes, DMA_BYTES, DMA_IOVA);

    if (rc < 0) {
        return report_error(report, "mapping memory for DMA", rc);
    }
    if (!dma_there_and_back(vfio, bytes, report)) {
        return false;
    }
    rc = vfio_unmap(vfio, DMA_BYTES, DMA_IOVA);
    return (rc == 0 || report_error(report, "unmapping", rc)) && dma_refused(vfio, report);
}

bool check_msix_dma(struct guest *guest, struct report *report)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    struct vfio *vfio = &guest->vfio;
    uint8_t *bytes = mmap(NULL, DMA_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
    bool passed;

    if (bytes == MAP_FAILED) {
        return report_error(report, "taking memory", -errno);
    }
    passed = switch_on(vfio, ALL_VECTORS, report) && dma_mapped(vfio, bytes, report) &&
             switch_off(vfio, report);
    (void)munmap(bytes, DMA_BYTES);
    return passed && report_ok(report, "both ways through the IOMMU, each end of vector 2; "
                                       "refused when unmapped");
}

static bool add_vector(struct vfio *vfio, unsigned vector, struct report *report)
{
    int rc = vfio_msix_add(vfio, vector);

    return rc == 0 || report_error(report, "adding a vector", rc);
}

/*
 * A vector without an eventfd is pending, and delivered when it gets one; the others do not care.
 * For a vector beyond those that it has had so far, QEMU takes all eventfds away and sets them
 * anew: that must not lose what is pending.
 */
bool check_msix_pending(struct guest *guest, struct report *report)
{
    const uint32_t timer = 1u << VFIO_EVENT_TIMER;
    struct vfio *vfio = &guest->vfio;

    if (!switch_on(vfio, 1u << VFIO_EVENT_SOFTWARE, report) || !expect_pending(vfio, 0, report)) {
        return false;
    }
    fire_timer(vfio->device, 0);
    if (!stays_quiet(vfio, report) || !expect_pending(vfio, timer, report)) {
        return false;
    }
    return add_vector(vfio, VFIO_EVENT_DMA, report) && expect_pending(vfio, timer, report) &&
           dma_refused(vfio, report) && expect_pending(vfio, timer, report) &&
           add_vector(vfio, VFIO_EVENT_TIMER, report) &&
           one_event(vfio, VFIO_EVENT_TIMER, DEVICE_IRQ_TIMER, report) &&
           expect_pending(vfio, 0, report) && stays_quiet(vfio, report) &&
           switch_off(vfio, report) && report_ok(report, "held, shown, and delivered once");
}

/* Masked in the table, which is QEMU's: it holds the interrupt until the bit is clear. */
bool check_msix_masked(struct guest *guest, struct report *report)
{
    struct vfio *vfio = &guest->vfio;
    volatile uint32_t *control =
        (volatile uint32_t *)(vfio->bar2 + VFIO_EVENT_TIMER * PCI_MSIX_ENTRY_SIZE +
                              PCI_MSIX_ENTRY_VECTOR_CTRL);

    if (!switch_on(vfio, ALL_VECTORS, report)) {
        return false;
    }
    if (*control != 0) {
        return report_differs(report, "Vector Control", 0, *control);
    }
    *control = PCI_MSIX_ENTRY_CTRL_MASKBIT;
    fire_timer(vfio->device, 0);
    if (!stays_quiet(vfio, report)) {
        return false;
    }
    *control = 0;
    return one_event(vfio, VFIO_EVENT_TIMER, DEVICE_IRQ_TIMER, report) &&
           stays_quiet(vfio, report) && switch_off(vfio, report) &&
           report_ok(report, "held by the vector's mask, delivered once");
}

static bool intx_deadline(struct vfio *vfio, struct report *report)
{
    int rc;

    fire_timer(vfio->device, 10 * NSEC_PER_MSEC);
    if (!one_event(vfio, VFIO_EVENT_INTX, DEVICE_IRQ_TIMER, report)) {
        return false;
    }
    /* As in device_finish_interrupt(), lest QEMU raises the line for what was acknowledged. */
    sleep_ms(2);
    (void)device_read32(vfio->device, DEVICE_IRQ_STATUS);
    rc = vfio_intx_unmask(vfio);
    return (rc == 0 || report_error(report, "unmasking INTx", rc)) && stays_quiet(vfio, report);
}

bool check_msix_intx(struct guest *guest, struct report *report)
{
    struct vfio *vfio = &guest->vfio;
    int rc = vfio_intx_on(vfio);

    if (rc < 0) {
        return report_error(report, "switching INTx on", rc);
    }
    for (unsigned i = 0; i < 3; i++) {
        if (!intx_deadline(vfio, report)) {
            return false;
        }
    }
    rc = vfio_intx_off(vfio);
    return (rc == 0 || report_error(report, "switching INTx off", rc)) &&
           report_ok(report, "three deadlines, three interrupts");
}
