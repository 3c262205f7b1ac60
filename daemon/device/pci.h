/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The function's configuration space: header, capability lists, write masks, power state. Values
 * are in the state block, what may be written is derived from the description. Knows nothing of
 * interrupts or regions: a write's consequences are returned for the device to act on.
 * Rules: PCI Local Bus 3.0 chapter 6, PCI Power Management 1.2, PCI Express Base (7.5, 7.8).
 */
#ifndef VFIO_USERD_PCI_H
#define VFIO_USERD_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "description.h"

#define PCI_SPACE_SIZE     256u
#define PCI_SPACE_EXP_SIZE 4096u

/* Guest-visible; part of the state block. The Interrupt Status bit is not kept here. */
struct pci_state {
    uint8_t config[PCI_SPACE_EXP_SIZE];
};

/* What a write to configuration space brought about; bits. */
enum pci_effect {
    PCI_EFFECT_NONE = 0,
    PCI_EFFECT_GATE = 1u << 0,       /* Command, power state or MSI control changed */
    PCI_EFFECT_SOFT_RESET = 1u << 1, /* D3hot -> D0 of a function without NoSoftRst */
    PCI_EFFECT_FLR = 1u << 2,        /* Function Level Reset */
};

/* Why a description cannot be laid out. */
struct pci_error {
    unsigned cap;       /* index in capabilities */
    const char *key;    /* of the capability: "offset", "length", "kind", ... */
    const char *reason; /* never freed */
};

struct pci;

/*
 * Lays out the capabilities and sets *state to its values after power-on. bar_size: bytes of each
 * of the six BARs, 0 for none; that of MSI-X is added. *state belongs to the caller and outlives
 * the pci. Returns 0; -EINVAL with *error written; -ENOMEM.
 */
int pci_new(const struct pci_description *d, const uint64_t bar_size[6], struct pci_state *state,
            struct pci **out, struct pci_error *error);
void pci_free(struct pci *pci);

/* 256, or 4096 with a PCI Express or an extended capability. */
size_t pci_config_size(const struct pci *pci);

/* What a guest sees of a capability, at most. */
#define PCI_CAP_IMAGE_MAX (3 * PCI_SPACE_EXP_SIZE)

/*
 * Writes to image what a guest sees of capability i of the description, but for its link to the
 * next one: the bytes after power-on, those that can be written, and those that a written 1 clears.
 * Returns the number of bytes; *offset is where the capability is.
 */
size_t pci_cap_image(const struct pci *pci, unsigned i, uint8_t image[PCI_CAP_IMAGE_MAX],
                     uint16_t *offset);

/*
 * Reads len bytes at offset; the range is inside the space. level is shown as Interrupt Status,
 * msi_pending, a bit a vector, as the Pending Bits of an MSI capability with masking.
 */
void pci_read(const struct pci *pci, size_t offset, void *data, size_t len, bool level,
              uint32_t msi_pending);

/* Writes what may be written of len bytes at offset; returns enum pci_effect bits. */
unsigned pci_write(struct pci *pci, size_t offset, const void *data, size_t len);

/* Back to the values after power-on. */
void pci_reset(struct pci *pci);

/*
 * Whether *state could have come about here: it is the state after power-on but for what may be
 * written, and in a power state that there is.
 */
bool pci_could_be(const struct pci *pci, const struct pci_state *state);

bool pci_bus_master(const struct pci *pci);
bool pci_intx_disabled(const struct pci *pci);
bool pci_in_d0(const struct pci *pci);
bool pci_msi_enabled(const struct pci *pci);

/* A bit for each masked MSI vector. */
uint32_t pci_msi_masked(const struct pci *pci);

/* Vectors of the MSI capability, 0 without one; and those that the guest was given. */
unsigned pci_msi_vectors(const struct pci *pci);
unsigned pci_msi_count(const struct pci *pci);

/* The same of MSI-X; and the BAR with its table, 0 without. */
bool pci_msix_enabled(const struct pci *pci);
bool pci_msix_function_masked(const struct pci *pci);
unsigned pci_msix_vectors(const struct pci *pci);
unsigned pci_msix_bar(const struct pci *pci);

#endif
