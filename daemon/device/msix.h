/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MSI-X's table and pending bits, in a BAR of their own. PCI Local Bus 3.0, section 6.8.2.
 *
 * Who masks a vector. A VMM keeps the table that its guest sees itself (QEMU, Cloud Hypervisor) and
 * says what may go out by giving and taking eventfds: it never writes ours, whose vectors are all
 * masked after reset as they must be. So a vector's mask bit holds once the client has written it,
 * and until then nothing is masked.
 */
#ifndef VFIO_USERD_MSIX_H
#define VFIO_USERD_MSIX_H

#include <stdbool.h>
#include <stdint.h>

#include "irq.h"

#define MSIX_BAR_SIZE     4096u
#define MSIX_TABLE_OFFSET 0x000u
#define MSIX_PBA_OFFSET   0x800u
#define MSIX_ENTRY_SIZE   16u

/* Guest-visible; part of the state block. */
struct msix_state {
    uint8_t table[IRQ_MSI_MAX * MSIX_ENTRY_SIZE]; /* as it is read, little endian */
    uint32_t written;                             /* a bit for each vector whose mask was written */
    uint32_t reserved;
};

/* After power-on: all vectors are masked, and none was written. */
void msix_reset(struct msix_state *s);

/*
 * Access to the BAR of a device with n vectors; the range is inside the BAR. pending: a bit for
 * each vector. What is neither table nor pending bits reads as 0. Writes are of 4 or 8 bytes,
 * naturally aligned (section 6.8.2: others are undefined); -EINVAL for another, and nothing has
 * changed.
 */
void msix_read(const struct msix_state *s, unsigned n, uint32_t pending, uint64_t offset,
               void *data, uint32_t count);
int msix_write(struct msix_state *s, unsigned n, uint64_t offset, const void *data, uint32_t count);

/* A bit for each vector that is masked by what was written. */
uint32_t msix_masked(const struct msix_state *s, unsigned n);

/* Whether *s could have come about in a device with n vectors. */
bool msix_could_be(const struct msix_state *s, unsigned n);

#endif
