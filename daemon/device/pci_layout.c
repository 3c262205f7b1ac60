/* SPDX-License-Identifier: BSD-3-Clause */
/* Which bytes there are, and which of them can be written. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>

#include "msix.h"
#include "pci_private.h"

/* Bytes of each kind of capability. */
#define PM_SIZE         8u
#define EXPRESS_SIZE    0x3cu /* version 2: up to Slot Control 2 */
#define DSN_SIZE        12u
#define VENDOR_HEADER   3u
#define RAW_HEADER      2u
#define EXT_HEADER      4u
#define VSEC_HEADER     8u
#define MSI_SIZE_32     10u
#define FIRST_CAP       0x40u
#define MSIX_SIZE       12u
#define EXPRESS_VERSION 2u

/*
 * Layout
 */

static bool is_extended(enum pci_cap_kind kind)
{
    return kind == PCI_CAP_KIND_DSN || kind == PCI_CAP_KIND_VENDOR_EXT ||
           kind == PCI_CAP_KIND_RAW_EXT;
}

static size_t cap_size(const struct pci_cap_description *cap)
{
    switch (cap->kind) {
    case PCI_CAP_KIND_PM:
        return PM_SIZE;
    case PCI_CAP_KIND_MSI:
        return (cap->address64 ? PCI_MSI_SIZE_64 : MSI_SIZE_32) +
               (cap->maskable ? PCI_MSI_MASK_BYTES : 0);
    case PCI_CAP_KIND_MSIX:
        return MSIX_SIZE;
    case PCI_CAP_KIND_EXPRESS:
        return EXPRESS_SIZE;
    case PCI_CAP_KIND_VENDOR:
        return VENDOR_HEADER + cap->data_len;
    case PCI_CAP_KIND_RAW:
        return RAW_HEADER + cap->data_len;
    case PCI_CAP_KIND_DSN:
        return DSN_SIZE;
    case PCI_CAP_KIND_VENDOR_EXT:
        return cap->length;
    case PCI_CAP_KIND_RAW_EXT:
        return EXT_HEADER + cap->data_len;
    }
    return 0;
}

static int refuse(struct pci_error *error, unsigned cap, const char *key, const char *reason)
{
    *error = (struct pci_error) { .cap = cap, .key = key, .reason = reason };
    return -EINVAL;
}

static bool is_free(const struct pci *pci, size_t at, size_t size)
{
    for (size_t i = at; i < at + size; i++) {
        if (pci->used[i])
            return false;
    }
    return true;
}

/* Finds the place of capability i and marks it used. Returns 0 or -EINVAL. */
static int place(struct pci *pci, const struct pci_description *d, unsigned i, uint16_t *at,
                 struct pci_error *error)
{
    const struct pci_cap_description *cap = &d->caps[i];
    bool extended = is_extended(cap->kind);
    size_t first = extended ? PCI_FIRST_EXT_CAP : FIRST_CAP;
    size_t end = extended ? PCI_SPACE_EXP_SIZE : PCI_SPACE_SIZE;
    size_t size = cap_size(cap);
    size_t offset = cap->offset;

    if (offset != 0) {
        if (offset % 4 != 0 || offset < first)
            return refuse(error, i, "offset",
                          extended ? "must be a multiple of 4, from 0x100 on"
                                   : "must be a multiple of 4, from 0x40 on");
        if (offset + size > end)
            return refuse(error, i, "offset",
                          extended ? "the capability does not fit below 0x1000"
                                   : "the capability does not fit below 0x100");
        if (!is_free(pci, offset, size))
            return refuse(error, i, "offset", "overlaps another capability");
    } else {
        for (offset = first; offset + size <= end && !is_free(pci, offset, size); offset += 4)
            ;
        if (offset + size > end)
            return refuse(error, i, "kind", "no room is left for this capability");
    }
    memset(pci->used + offset, 1, size);
    *at = (uint16_t)offset;
    return 0;
}

/* A BAR decodes a power of two; the region may be smaller. */
static uint32_t bar_mask(uint64_t size)
{
    uint64_t decoded = 16;

    while (decoded < size)
        decoded *= 2;
    return (uint32_t) ~(decoded - 1);
}

static void fill_pm(struct pci *pci, const struct pci_cap_description *cap, uint16_t at)
{
    uint8_t *config = pci->initial + at;

    pci_put16(config + PCI_PM_PMC, 3); /* PCI Power Management 1.2, no PME, no D1 or D2 */
    pci_put16(config + PCI_PM_CTRL, cap->no_soft_reset ? PCI_PM_CTRL_NO_SOFT_RESET : 0);
    pci_put16(pci->writable + at + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    pci->pm = at;
    pci->no_soft_reset = cap->no_soft_reset;
}

static unsigned log2_of(unsigned n)
{
    unsigned log = 0;

    while (n > 1) {
        n /= 2;
        log++;
    }
    return log;
}

static void fill_msi(struct pci *pci, const struct pci_cap_description *cap, uint16_t at)
{
    uint16_t flags = (uint16_t)(log2_of(cap->vectors) << 1);
    uint8_t *writable = pci->writable + at;
    uint16_t data = cap->address64 ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32;

    flags |= cap->address64 ? PCI_MSI_FLAGS_64BIT : 0;
    flags |= cap->maskable ? PCI_MSI_FLAGS_MASKBIT : 0;
    pci_put16(pci->initial + at + PCI_MSI_FLAGS, flags);
    pci_put16(writable + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
    pci_put32(writable + PCI_MSI_ADDRESS_LO, 0xfffffffcu);
    if (cap->address64)
        pci_put32(writable + PCI_MSI_ADDRESS_HI, 0xffffffffu);
    pci_put16(writable + data, 0xffff);
    if (cap->maskable) {
        pci->msi_mask = at + (cap->address64 ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32);
        pci_put32(pci->writable + pci->msi_mask, (uint32_t)((1ull << cap->vectors) - 1));
    }
    pci->msi = at;
    pci->msi_vectors = cap->vectors;
}

static void fill_msix(struct pci *pci, const struct pci_cap_description *cap, uint16_t at)
{
    uint8_t *config = pci->initial + at;

    pci_put16(config + PCI_MSIX_FLAGS, (uint16_t)(cap->vectors - 1));
    pci_put16(pci->writable + at + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    pci_put32(config + PCI_MSIX_TABLE, MSIX_TABLE_OFFSET | cap->bar);
    pci_put32(config + PCI_MSIX_PBA, MSIX_PBA_OFFSET | cap->bar);
    pci_put32(pci->writable + PCI_BASE_ADDRESS_0 + 4 * cap->bar, bar_mask(MSIX_BAR_SIZE));
    pci->msix = at;
    pci->msix_vectors = cap->vectors;
    pci->msix_bar = cap->bar;
}

static void fill_express(struct pci *pci, const struct pci_cap_description *cap, uint16_t at)
{
    uint8_t *config = pci->initial + at;
    uint8_t *writable = pci->writable + at;

    pci_put16(config + PCI_EXP_FLAGS, EXPRESS_VERSION | (PCI_EXP_TYPE_ENDPOINT << 4));
    pci_put32(config + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER | (cap->flr ? PCI_EXP_DEVCAP_FLR : 0));
    pci_put16(writable + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE |
                                             PCI_EXP_DEVCTL_FERE | PCI_EXP_DEVCTL_URRE |
                                             PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN |
                                             PCI_EXP_DEVCTL_READRQ);
    pci_put16(config + PCI_EXP_DEVCTL,
              PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ_512B);
    pci_put16(pci->write_one_clear + at + PCI_EXP_DEVSTA,
              PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED | PCI_EXP_DEVSTA_FED | PCI_EXP_DEVSTA_URD);
    pci->express = at;
    pci->flr = cap->flr;
}

static void fill_data(struct pci *pci, const struct pci_cap_description *cap, size_t at)
{
    if (cap->data != NULL)
        memcpy(pci->initial + at, cap->data, cap->data_len);
    if (cap->mask != NULL)
        memcpy(pci->writable + at, cap->mask, cap->data_len);
}

static uint8_t cap_id(const struct pci_cap_description *cap)
{
    switch (cap->kind) {
    case PCI_CAP_KIND_PM:
        return PCI_CAP_ID_PM;
    case PCI_CAP_KIND_MSI:
        return PCI_CAP_ID_MSI;
    case PCI_CAP_KIND_MSIX:
        return PCI_CAP_ID_MSIX;
    case PCI_CAP_KIND_EXPRESS:
        return PCI_CAP_ID_EXP;
    case PCI_CAP_KIND_VENDOR:
        return PCI_CAP_ID_VNDR;
    default:
        return (uint8_t)cap->id;
    }
}

static void fill_cap(struct pci *pci, const struct pci_cap_description *cap, uint16_t at)
{
    pci->initial[at] = cap_id(cap);
    switch (cap->kind) {
    case PCI_CAP_KIND_PM:
        fill_pm(pci, cap, at);
        break;
    case PCI_CAP_KIND_MSI:
        fill_msi(pci, cap, at);
        break;
    case PCI_CAP_KIND_MSIX:
        fill_msix(pci, cap, at);
        break;
    case PCI_CAP_KIND_EXPRESS:
        fill_express(pci, cap, at);
        break;
    case PCI_CAP_KIND_VENDOR:
        pci->initial[at + 2] = (uint8_t)cap_size(cap);
        fill_data(pci, cap, at + VENDOR_HEADER);
        break;
    default:
        fill_data(pci, cap, at + RAW_HEADER);
        break;
    }
}

static void fill_ext_cap(struct pci *pci, const struct pci_cap_description *cap, uint16_t at)
{
    uint8_t *config = pci->initial + at;
    uint32_t id = cap->id;
    uint32_t version = 1;

    switch (cap->kind) {
    case PCI_CAP_KIND_DSN:
        id = PCI_EXT_CAP_ID_DSN;
        pci_put32(config + 4, (uint32_t)cap->serial);
        pci_put32(config + 8, (uint32_t)(cap->serial >> 32));
        break;
    case PCI_CAP_KIND_VENDOR_EXT:
        id = PCI_EXT_CAP_ID_VNDR;
        pci_put32(config + PCI_VNDR_HEADER,
                  cap->id | (uint32_t)(cap->revision & 15) << 16 | (uint32_t)cap->length << 20);
        fill_data(pci, cap, at + VSEC_HEADER);
        break;
    default:
        version = cap->revision;
        fill_data(pci, cap, at + EXT_HEADER);
        break;
    }
    pci_put32(config, id | version << 16);
}

/* Hangs a capability in its list; *tail is where the previous one keeps its link. */
static void link_cap(struct pci *pci, uint16_t at, size_t *tail)
{
    pci->initial[*tail] = (uint8_t)at;
    *tail = at + PCI_CAP_LIST_NEXT;
}

static void link_ext_cap(struct pci *pci, uint16_t at, uint16_t *previous)
{
    if (*previous != 0) {
        uint8_t *header = pci->initial + *previous;

        pci_put32(header, pci_get32(header) | (uint32_t)at << 20);
    }
    *previous = at;
}

static int check_cap(const struct pci *pci, const struct pci_description *d, unsigned i,
                     struct pci_error *error)
{
    const struct pci_cap_description *cap = &d->caps[i];

    if ((cap->kind == PCI_CAP_KIND_PM && pci->pm != 0) ||
        (cap->kind == PCI_CAP_KIND_MSI && pci->msi != 0) ||
        (cap->kind == PCI_CAP_KIND_MSIX && pci->msix != 0) ||
        (cap->kind == PCI_CAP_KIND_EXPRESS && pci->express != 0))
        return refuse(error, i, "kind", "only one capability of this kind is possible");
    if (cap->kind == PCI_CAP_KIND_VENDOR_EXT &&
        (cap->length < VSEC_HEADER || cap->data_len > cap->length - VSEC_HEADER))
        return refuse(error, i, "length", "must cover the 8 bytes of header and the data");
    if (cap->kind == PCI_CAP_KIND_VENDOR && cap_size(cap) > UINT8_MAX)
        return refuse(error, i, "data", "is longer than the capability's length field can say");
    return 0;
}

/* The first extended capability must sit at 0x100: the list begins there and nowhere else. */
static int check_ext_list(const struct pci *pci, const struct pci_description *d,
                          struct pci_error *error)
{
    for (unsigned i = 0; i < d->n_caps; i++) {
        if (is_extended(d->caps[i].kind) && pci_get32(pci->initial + PCI_FIRST_EXT_CAP) == 0)
            return refuse(error, i, "offset", "an extended capability must be at 0x100");
    }
    return 0;
}

static int layout_caps(struct pci *pci, const struct pci_description *d, struct pci_error *error)
{
    size_t tail = PCI_CAPABILITY_LIST;
    uint16_t previous = 0;
    uint16_t *at = pci->cap_at;

    /* Those with a place of their own first, so that the others go around them. */
    for (int fixed = 1; fixed >= 0; fixed--) {
        for (unsigned i = 0; i < d->n_caps; i++) {
            if ((d->caps[i].offset != 0) != (fixed == 1))
                continue;
            if (check_cap(pci, d, i, error) != 0 || place(pci, d, i, &at[i], error) != 0)
                return -EINVAL;
            pci->cap_len[i] = (uint16_t)cap_size(&d->caps[i]);
            if (is_extended(d->caps[i].kind))
                fill_ext_cap(pci, &d->caps[i], at[i]);
            else
                fill_cap(pci, &d->caps[i], at[i]);
        }
    }
    for (unsigned i = 0; i < d->n_caps; i++) {
        if (!is_extended(d->caps[i].kind))
            link_cap(pci, at[i], &tail);
        else if (at[i] == PCI_FIRST_EXT_CAP)
            link_ext_cap(pci, at[i], &previous);
    }
    for (unsigned i = 0; i < d->n_caps; i++) {
        if (is_extended(d->caps[i].kind) && at[i] != PCI_FIRST_EXT_CAP)
            link_ext_cap(pci, at[i], &previous);
    }
    return check_ext_list(pci, d, error);
}

static void fill_header(struct pci *pci, const struct pci_description *d,
                        const uint64_t bar_size[6])
{
    uint8_t *config = pci->initial;
    uint8_t *writable = pci->writable;

    pci_put16(config + PCI_VENDOR_ID, d->vendor);
    pci_put16(config + PCI_DEVICE_ID, d->device);
    pci_put16(config + PCI_SUBSYSTEM_VENDOR_ID, d->subsystem_vendor);
    pci_put16(config + PCI_SUBSYSTEM_ID, d->subsystem_device);
    pci_put32(config + PCI_CLASS_REVISION, d->class_code << 8 | d->revision);
    pci_put16(config + PCI_STATUS, d->n_caps > 0 ? PCI_STATUS_CAP_LIST : 0);
    config[PCI_INTERRUPT_PIN] = 1;
    pci_put16(writable + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                                          PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
    pci_put16(pci->write_one_clear + PCI_STATUS,
              PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT |
                  PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR |
                  PCI_STATUS_DETECTED_PARITY);
    writable[PCI_CACHE_LINE_SIZE] = 0xff;
    writable[PCI_INTERRUPT_LINE] = 0xff;
    for (unsigned i = 0; i < 6; i++) {
        if (bar_size[i] > 0)
            pci_put32(writable + PCI_BASE_ADDRESS_0 + 4 * i, bar_mask(bar_size[i]));
    }
}

int pci_new(const struct pci_description *d, const uint64_t bar_size[6], struct pci_state *state,
            struct pci **out, struct pci_error *error)
{
    struct pci *pci = calloc(1, sizeof(*pci));
    int err;

    if (pci == NULL)
        return -ENOMEM;
    fill_header(pci, d, bar_size);
    err = layout_caps(pci, d, error);
    if (err != 0) {
        free(pci);
        return err;
    }
    pci->size = PCI_SPACE_SIZE;
    for (unsigned i = 0; i < d->n_caps; i++) {
        if (is_extended(d->caps[i].kind) || d->caps[i].kind == PCI_CAP_KIND_EXPRESS)
            pci->size = PCI_SPACE_EXP_SIZE;
    }
    pci->state = state;
    pci_reset(pci);
    *out = pci;
    return 0;
}

void pci_free(struct pci *pci)
{
    free(pci);
}
