/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All checks of the guest's test program. Each is run with the device settled (device_settle()),
 * fills in its report and returns whether all was as expected.
 */
#ifndef GUEST_CHECKS_H
#define GUEST_CHECKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "report.h"
#include "vfio.h"

/* What the kernel command line says about the device in the machine. */
struct expected {
    const char *identity;  /* vendor:device as lspci -nn prints it, "dead:beef" */
    const char *subsystem; /* the same of the subsystem */
    const char *class;     /* four digits, "0880" */
    const char *bar1;      /* BAR1's size as lspci prints it, "16K" */
};

struct guest {
    struct device device;
    struct vfio vfio; /* in the scenario "msix" only */
    struct expected expected;
    const char *address; /* of the function, "0000:00:04.0" */
    char lspci[16384];   /* what lspci printed, "" before the first use */
    bool reboot;         /* a check asks for a reboot after the last one */
};

typedef bool check_run(struct guest *guest, struct report *report);

/* check_pci.c: what lspci shows, and the power states */
check_run check_lspci_identity;
check_run check_lspci_subsystem;
check_run check_lspci_bars;
check_run check_lspci_power;
check_run check_lspci_msix;
check_run check_power_reads;
check_run check_power_writes;
check_run check_power_registers;
check_run check_power_interrupt;

/* check_memory.c: BAR1; what other checks put there does not matter to these */
check_run check_bar1_width8;
check_run check_bar1_width4;
check_run check_bar1_width2;
check_run check_bar1_width1;
check_run check_bar1_mixed;
check_run check_bar1_interrupt;

/* check_timer.c: deadlines, interrupts, doorbell */
check_run check_timer_ten;
check_run check_timer_quiet;
check_run check_timer_past;
check_run check_timer_disarm;
check_run check_timer_seconds;
check_run check_timer_halves;
check_run check_irq_enable;
check_run check_intx_disable;
check_run check_host_interrupt;
check_run check_doorbell;

/* check_dma.c: the DMA engine */
check_run check_dma_master_off;
check_run check_dma_from_guest;
check_run check_dma_to_guest;
check_run check_dma_pages;
check_run check_dma_small;
check_run check_dma_interrupt;
check_run check_dma_unmapped;
check_run check_dma_outside_bar1;

/* check_handover.c: the device moves to another process meanwhile */
check_run check_handover_loop;
check_run check_handover_mapped;

/*
 * check_msix.c: MSI-X, with vfio-pci as the driver. Nothing is on when one begins, and when it ends
 * well.
 */
check_run check_msix_timer_ten;
check_run check_msix_host_interrupt;
check_run check_msix_dma;
check_run check_msix_pending;
check_run check_msix_masked;
check_run check_msix_intx;

/* check_reboot.c: what a reset keeps and what it must not */
check_run check_boot_first;
check_run check_boot_kept;
check_run check_boot_reset;
check_run check_boot_quiet;

/* True when the mark that check_boot_first() leaves in BAR1 is there, whole or in part. */
bool boot_is_marked(const struct device *device);

/* The byte that a pattern has at an offset; another seed, another pattern. */
uint8_t pattern_byte(size_t offset, unsigned seed);

/* The little-endian number that a pattern has at an offset, `width` bytes wide. */
uint64_t pattern_value(size_t offset, unsigned width, unsigned seed);

#endif
