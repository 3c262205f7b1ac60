/* SPDX-License-Identifier: BSD-3-Clause */
#include "description.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024u

const char *client_profile_name(enum client_profile profile)
{
    static const char *const names[PROFILE_COUNT] = {
        [PROFILE_AUTO] = "auto",
        [PROFILE_STRICT] = "strict",
        [PROFILE_QEMU] = "qemu",
        [PROFILE_CLOUD_HYPERVISOR] = "cloud-hypervisor",
    };

    return names[profile];
}

const char *doorbell_kind_name(enum doorbell_kind kind)
{
    static const char *const names[DOORBELL_KINDS] = {
        [DOORBELL_SHADOW] = "shadow",
        [DOORBELL_IOEVENTFD] = "ioeventfd",
        [DOORBELL_NONE] = "none",
    };

    return names[kind];
}

const char *irq_message_name(enum irq_message when)
{
    static const char *const names[IRQ_MESSAGE_WAYS] = {
        [IRQ_MESSAGE_FALLBACK] = "fallback",
        [IRQ_MESSAGE_BOTH] = "both",
    };

    return names[when];
}

void description_default(struct device_description *out)
{
    *out = (struct device_description) {
        .pci = { .vendor = 0xdead,
                 .device = 0xbeef,
                 .subsystem_vendor = 0xcafe,
                 .subsystem_device = 0xbabe,
                 .class_code = 0x088000,
                 .revision = 1,
                 .caps = { { .kind = PCI_CAP_KIND_PM, .no_soft_reset = true } },
                 .n_caps = 1 },
        .bar1 = { .size = 16 * KIB,
                  .areas = { { 0, 4 * KIB }, { 8 * KIB, 4 * KIB } },
                  .n_areas = 2 },
        .limits = { .max_dma_maps = 65535,
                    .max_msg_fds = 8,
                    .max_data_xfer_size = 1024 * KIB,
                    .client_timeout_ms = 5000 },
        .profile = PROFILE_AUTO,
        .control = { .group_may_write = true },
    };
}

void description_fini(struct device_description *d)
{
    for (unsigned i = 0; i < d->pci.n_caps; i++) {
        free(d->pci.caps[i].data);
        free(d->pci.caps[i].mask);
        d->pci.caps[i].data = NULL;
        d->pci.caps[i].mask = NULL;
    }
    d->pci.n_caps = 0;
}

/*
 * Comparing. A member that a table names has no padding in it.
 */

#define FIELD(structure, member) offsetof(structure, member), sizeof(((structure *)0)->member)
#define DEVICE(member)           FIELD(struct device_description, member)
#define CAP(member)              FIELD(struct pci_cap_description, member)
#define KIND(name)               (1u << PCI_CAP_KIND_##name)
#define EVERY_KIND               (~0u)

static bool same_areas(const struct device_description *a, const struct device_description *b)
{
    return a->bar1.n_areas == b->bar1.n_areas &&
           memcmp(a->bar1.areas, b->bar1.areas, a->bar1.n_areas * sizeof(a->bar1.areas[0])) == 0;
}

static bool same_number_of_caps(const struct device_description *a,
                                const struct device_description *b)
{
    return a->pci.n_caps == b->pci.n_caps;
}

/* All keys, those inside capabilities aside: a member, or what compares it. */
static const struct device_field {
    const char *key;
    size_t offset;
    size_t size; /* bytes; 0 with same */
    bool live;
    bool (*same)(const struct device_description *a, const struct device_description *b);
} device_fields[] = {
    { "pci.vendor", DEVICE(pci.vendor), false, NULL },
    { "pci.device", DEVICE(pci.device), false, NULL },
    { "pci.subsystem_vendor", DEVICE(pci.subsystem_vendor), false, NULL },
    { "pci.subsystem_device", DEVICE(pci.subsystem_device), false, NULL },
    { "pci.class", DEVICE(pci.class_code), false, NULL },
    { "pci.revision", DEVICE(pci.revision), false, NULL },
    { "pci.capabilities", 0, 0, false, same_number_of_caps },
    { "bar1.size", DEVICE(bar1.size), false, NULL },
    { "bar1.mmap", 0, 0, false, same_areas },
    { "bar1.clear_on_reset", DEVICE(bar1.clear_on_reset), false, NULL },
    { "limits.max_dma_maps", DEVICE(limits.max_dma_maps), true, NULL },
    { "limits.max_msg_fds", DEVICE(limits.max_msg_fds), true, NULL },
    { "limits.max_data_xfer_size", DEVICE(limits.max_data_xfer_size), true, NULL },
    { "limits.client_timeout", DEVICE(limits.client_timeout_ms), true, NULL },
    { "doorbell", DEVICE(doorbell), false, NULL },
    { "irq_message", DEVICE(irq_message), false, NULL },
    { "dma_on_irq", DEVICE(dma_on_irq), false, NULL },
    { "profile", DEVICE(profile), false, NULL },
    { "log_level", DEVICE(log_level), true, NULL },
    { "control.group_may_write", DEVICE(control.group_may_write), true, NULL },
};

#define N_DEVICE_FIELDS (sizeof(device_fields) / sizeof(device_fields[0]))

_Static_assert(N_DEVICE_FIELDS + DESCRIPTION_MAX_CAPS <= DESCRIPTION_MAX_DIFFERENCES,
               "more keys than differences");

/* What a kind does not have is not looked at: whoever made the description may have left it out. */
static const struct cap_field {
    const char *key;
    size_t offset;
    size_t size;
    unsigned kinds;
} cap_fields[] = {
    { "kind", CAP(kind), EVERY_KIND },
    { "offset", CAP(offset), EVERY_KIND },
    { "no_soft_reset", CAP(no_soft_reset), KIND(PM) },
    { "flr", CAP(flr), KIND(EXPRESS) },
    { "vectors", CAP(vectors), KIND(MSI) | KIND(MSIX) },
    { "bar", CAP(bar), KIND(MSIX) },
    { "maskable", CAP(maskable), KIND(MSI) },
    { "address64", CAP(address64), KIND(MSI) },
    { "serial", CAP(serial), KIND(DSN) },
    { "id", CAP(id), KIND(VENDOR_EXT) | KIND(RAW) | KIND(RAW_EXT) },
    { "revision", CAP(revision), KIND(VENDOR_EXT) | KIND(RAW_EXT) },
    { "length", CAP(length), KIND(VENDOR_EXT) },
    { "data", CAP(data_len), EVERY_KIND },
};

static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    return len == 0 || a == b || (a != NULL && b != NULL && memcmp(a, b, len) == 0);
}

/* The first key of a capability that is not the same, or NULL. */
static const char *compare_caps(const struct pci_cap_description *a,
                                const struct pci_cap_description *b)
{
    for (size_t i = 0; i < sizeof(cap_fields) / sizeof(cap_fields[0]); i++) {
        const struct cap_field *f = &cap_fields[i];

        if ((f->kinds & 1u << a->kind) != 0 &&
            memcmp((const char *)a + f->offset, (const char *)b + f->offset, f->size) != 0)
            return f->key;
    }
    if (!same_bytes(a->data, b->data, a->data_len))
        return "data";
    return same_bytes(a->mask, b->mask, a->data_len) ? NULL : "mask";
}

static bool same_field(const struct device_field *f, const struct device_description *a,
                       const struct device_description *b)
{
    if (f->same != NULL)
        return f->same(a, b);
    return memcmp((const char *)a + f->offset, (const char *)b + f->offset, f->size) == 0;
}

unsigned description_compare(const struct device_description *a, const struct device_description *b,
                             struct description_difference out[DESCRIPTION_MAX_DIFFERENCES])
{
    unsigned n = 0;

    for (size_t i = 0; i < N_DEVICE_FIELDS; i++) {
        const struct device_field *f = &device_fields[i];

        if (same_field(f, a, b))
            continue;
        snprintf(out[n].key, sizeof(out[n].key), "%s", f->key);
        out[n++].live = f->live;
    }
    for (unsigned i = 0; same_number_of_caps(a, b) && i < a->pci.n_caps; i++) {
        const char *key = compare_caps(&a->pci.caps[i], &b->pci.caps[i]);

        if (key == NULL)
            continue;
        snprintf(out[n].key, sizeof(out[n].key), "pci.capabilities[%u].%s", i, key);
        out[n++].live = false;
    }
    return n;
}

void description_adopt(struct device_description *d, const struct device_description *from)
{
    for (size_t i = 0; i < N_DEVICE_FIELDS; i++) {
        const struct device_field *f = &device_fields[i];

        if (f->live)
            memcpy((char *)d + f->offset, (const char *)from + f->offset, f->size);
    }
}
