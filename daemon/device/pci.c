/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci.h"

#include <linux/pci_regs.h>
#include <string.h>

#include "pci_private.h"

size_t pci_config_size(const struct pci *pci)
{
    return pci->size;
}

size_t pci_cap_image(const struct pci *pci, unsigned i, uint8_t image[PCI_CAP_IMAGE_MAX],
                     uint16_t *offset)
{
    size_t len = pci->cap_len[i];
    uint16_t at = pci->cap_at[i];

    memcpy(image, pci->initial + at, len);
    memcpy(image + len, pci->writable + at, len);
    memcpy(image + 2 * len, pci->write_one_clear + at, len);
    if (at < PCI_FIRST_EXT_CAP)
        image[PCI_CAP_LIST_NEXT] = 0;
    else
        pci_put32(image, pci_get32(image) & 0x000fffff);
    *offset = at;
    return 3 * len;
}

void pci_reset(struct pci *pci)
{
    memcpy(pci->state->config, pci->initial, sizeof(pci->initial));
}

/* Lays the bytes of value, which stand at config offset at, over those that were read. */
static void overlay(size_t offset, uint8_t *data, size_t len, size_t at, uint32_t value)
{
    for (size_t i = 0; i < sizeof(value); i++) {
        if (at + i >= offset && at + i < offset + len)
            data[at + i - offset] |= (uint8_t)(value >> (8 * i));
    }
}

void pci_read(const struct pci *pci, size_t offset, void *data, size_t len, bool level,
              uint32_t msi_pending)
{
    memcpy(data, pci->state->config + offset, len);
    if (level)
        overlay(offset, data, len, PCI_STATUS, PCI_STATUS_INTERRUPT);
    if (pci->msi_mask != 0 && msi_pending != 0)
        overlay(offset, data, len, pci->msi_mask + sizeof(uint32_t), msi_pending);
}

static uint16_t power_state_in(const struct pci *pci, const struct pci_state *state)
{
    if (pci->pm == 0)
        return 0;
    return pci_get16(state->config + pci->pm + PCI_PM_CTRL) & PCI_PM_CTRL_STATE_MASK;
}

static uint16_t power_state(const struct pci *pci)
{
    return power_state_in(pci, pci->state);
}

bool pci_could_be(const struct pci *pci, const struct pci_state *state)
{
    uint16_t power = power_state_in(pci, state);

    for (size_t i = 0; i < sizeof(state->config); i++) {
        if (((state->config[i] ^ pci->initial[i]) & ~pci->writable[i]) != 0)
            return false;
    }
    return power == 0 || power == PCI_PM_CTRL_STATE_MASK;
}

/* States other than D0 and D3hot do not exist here: a write of one leaves the state as it was. */
static void settle_power(struct pci *pci, uint16_t before, unsigned *effects)
{
    uint8_t *control = pci->state->config + pci->pm + PCI_PM_CTRL;
    uint16_t after = power_state(pci);

    if (after != 0 && after != PCI_PM_CTRL_STATE_MASK) {
        control[0] = (uint8_t)((control[0] & ~PCI_PM_CTRL_STATE_MASK) | before);
        return;
    }
    if (after == 0 && before != 0 && !pci->no_soft_reset)
        *effects |= PCI_EFFECT_SOFT_RESET;
}

static bool touches(size_t offset, size_t len, size_t at, size_t size)
{
    return offset < at + size && at < offset + len;
}

static bool writes_flr(const struct pci *pci, size_t offset, const uint8_t *data, size_t len)
{
    size_t at = pci->express + PCI_EXP_DEVCTL + 1; /* bit 15 is in the upper byte */

    return pci->flr && touches(offset, len, at, 1) &&
           (data[at - offset] & (PCI_EXP_DEVCTL_BCR_FLR >> 8)) != 0;
}

unsigned pci_write(struct pci *pci, size_t offset, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    uint8_t *config = pci->state->config;
    uint16_t power = power_state(pci);
    unsigned effects = PCI_EFFECT_NONE;

    for (size_t i = 0; i < len; i++) {
        uint8_t writable = pci->writable[offset + i];
        uint8_t clear = pci->write_one_clear[offset + i] & bytes[i];
        uint8_t *byte = &config[offset + i];

        *byte = (uint8_t)(((*byte & ~writable) | (bytes[i] & writable)) & ~clear);
    }
    if (touches(offset, len, PCI_COMMAND, 2))
        effects |= PCI_EFFECT_GATE;
    if (pci->pm != 0 && touches(offset, len, pci->pm + PCI_PM_CTRL, 1)) {
        settle_power(pci, power, &effects);
        effects |= PCI_EFFECT_GATE;
    }
    if (pci->msi != 0 && touches(offset, len, pci->msi, PCI_MSI_SIZE_64 + PCI_MSI_MASK_BYTES))
        effects |= PCI_EFFECT_GATE;
    if (pci->msix != 0 && touches(offset, len, pci->msix + PCI_MSIX_FLAGS, 2))
        effects |= PCI_EFFECT_GATE;
    if (writes_flr(pci, offset, bytes, len))
        effects |= PCI_EFFECT_FLR;
    return effects;
}

static bool command_bit(const struct pci *pci, uint16_t bit)
{
    return (pci_get16(pci->state->config + PCI_COMMAND) & bit) != 0;
}

bool pci_bus_master(const struct pci *pci)
{
    return command_bit(pci, PCI_COMMAND_MASTER);
}

bool pci_intx_disabled(const struct pci *pci)
{
    return command_bit(pci, PCI_COMMAND_INTX_DISABLE);
}

bool pci_in_d0(const struct pci *pci)
{
    return power_state(pci) == 0;
}

bool pci_msi_enabled(const struct pci *pci)
{
    return pci->msi != 0 &&
           (pci_get16(pci->state->config + pci->msi + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_ENABLE) != 0;
}

uint32_t pci_msi_masked(const struct pci *pci)
{
    return pci->msi_mask != 0 ? pci_get32(pci->state->config + pci->msi_mask) : 0;
}

unsigned pci_msi_vectors(const struct pci *pci)
{
    return pci->msi_vectors;
}

unsigned pci_msi_count(const struct pci *pci)
{
    unsigned count;

    if (pci->msi == 0)
        return 0;
    count =
        1u << ((pci_get16(pci->state->config + pci->msi + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_QSIZE) >>
               4);
    return count < pci->msi_vectors ? count : pci->msi_vectors;
}

static bool msix_flag(const struct pci *pci, uint16_t flag)
{
    return pci->msix != 0 &&
           (pci_get16(pci->state->config + pci->msix + PCI_MSIX_FLAGS) & flag) != 0;
}

bool pci_msix_enabled(const struct pci *pci)
{
    return msix_flag(pci, PCI_MSIX_FLAGS_ENABLE);
}

bool pci_msix_function_masked(const struct pci *pci)
{
    return msix_flag(pci, PCI_MSIX_FLAGS_MASKALL);
}

unsigned pci_msix_vectors(const struct pci *pci)
{
    return pci->msix_vectors;
}

unsigned pci_msix_bar(const struct pci *pci)
{
    return pci->msix_bar;
}
