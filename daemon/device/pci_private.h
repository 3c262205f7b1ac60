/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What pci_layout.c, which makes a configuration space of a description, and pci.c, which serves
 * it, share. For nobody else.
 */
#ifndef VFIO_USERD_PCI_PRIVATE_H
#define VFIO_USERD_PCI_PRIVATE_H

#include <endian.h>
#include <string.h>

#include "pci.h"

/* Where the list of extended capabilities begins. */
#define PCI_FIRST_EXT_CAP 0x100u

/* MSI: with a 64-bit address; and padding, Mask Bits and Pending Bits behind that. */
#define PCI_MSI_SIZE_64    14u
#define PCI_MSI_MASK_BYTES 10u

struct pci {
    struct pci_state *state;
    size_t size;
    unsigned msi_vectors;
    unsigned msix_vectors;
    unsigned msix_bar; /* 0 without */
    uint16_t pm;       /* offsets of capabilities, 0 without */
    uint16_t msi;
    uint16_t msix;
    uint16_t express;
    bool no_soft_reset;
    bool flr;
    uint16_t msi_mask; /* offset of MSI's Mask Bits, 0 without */
    uint16_t cap_at[DESCRIPTION_MAX_CAPS];
    uint16_t cap_len[DESCRIPTION_MAX_CAPS];
    uint8_t initial[PCI_SPACE_EXP_SIZE];
    uint8_t writable[PCI_SPACE_EXP_SIZE];        /* 1: takes the bit written */
    uint8_t write_one_clear[PCI_SPACE_EXP_SIZE]; /* 1: writing 1 clears the bit */
    uint8_t used[PCI_SPACE_EXP_SIZE];            /* while capabilities are placed */
};

/*
 * Access to little-endian fields
 */

static inline uint16_t pci_get16(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return le16toh(value);
}

static inline uint32_t pci_get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static inline void pci_put16(uint8_t *at, uint16_t value)
{
    value = htole16(value);
    memcpy(at, &value, sizeof(value));
}

static inline void pci_put32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof(value));
}

#endif
