/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device is to be: a plain structure, made from JSON by config.c or by a test, and read by
 * the device's modules. Knows neither JSON nor how the device does it.
 */
#ifndef VFIO_USERD_DESCRIPTION_H
#define VFIO_USERD_DESCRIPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DESCRIPTION_MAX_CAPS  48
#define DESCRIPTION_MAX_AREAS 16

/* Which client's habits to serve; see session/session.h. */
enum client_profile {
    PROFILE_AUTO, /* chosen from the VERSION message */
    PROFILE_STRICT,
    PROFILE_QEMU,
    PROFILE_CLOUD_HYPERVISOR,
    PROFILE_COUNT /* not a profile */
};

/* "auto", "strict", "qemu" or "cloud-hypervisor". */
const char *client_profile_name(enum client_profile profile);

/* How the client may ring the doorbell besides a message; section "Region I/O via file
 * descriptors". */
enum doorbell_kind {
    DOORBELL_SHADOW,    /* an eventfd, and memory in which the value is found */
    DOORBELL_IOEVENTFD, /* an eventfd: the value is lost */
    DOORBELL_NONE,
    DOORBELL_KINDS /* not a kind */
};

/* "shadow", "ioeventfd" or "none". */
const char *doorbell_kind_name(enum doorbell_kind kind);

/* When an interrupt is sent as a message, to a client that takes them. */
enum irq_message {
    IRQ_MESSAGE_FALLBACK, /* when there is no eventfd */
    IRQ_MESSAGE_BOTH,     /* then, and after each eventfd */
    IRQ_MESSAGE_WAYS      /* not one */
};

/* "fallback" or "both". */
const char *irq_message_name(enum irq_message when);

enum pci_cap_kind {
    PCI_CAP_KIND_PM,
    PCI_CAP_KIND_MSI,
    PCI_CAP_KIND_EXPRESS,
    PCI_CAP_KIND_VENDOR,
    PCI_CAP_KIND_RAW,
    /* Extended capabilities, from 0x100 on. */
    PCI_CAP_KIND_DSN,
    PCI_CAP_KIND_VENDOR_EXT,
    PCI_CAP_KIND_RAW_EXT,
    /* Numbers go into saved states: a new kind goes to the end. */
    PCI_CAP_KIND_MSIX, /* not an extended one */
};

struct pci_cap_description {
    enum pci_cap_kind kind;
    uint16_t offset;    /* in configuration space; 0: the next free one */
    bool no_soft_reset; /* pm: registers outlive D3hot -> D0 */
    bool flr;           /* express: Function Level Reset */
    bool maskable;      /* msi: per-vector masking */
    bool address64;     /* msi: 64-bit address */
    uint8_t vectors;    /* msi: 1, 2, 4, 8, 16 or 32; msix: 1 to 32 */
    uint8_t bar;        /* msix: the BAR of its own, 2 to 5 */
    uint64_t serial;    /* dsn */
    uint16_t id;        /* vendor-ext: VSEC id; raw, raw-ext: capability id */
    uint8_t revision;   /* vendor-ext: VSEC revision; raw-ext: capability version */
    uint16_t length;    /* vendor-ext: of the whole capability, its 8 bytes of header included */
    uint8_t *data;      /* vendor, vendor-ext, raw: bytes behind the header, owned; may be NULL */
    uint8_t *mask;      /* raw: 1 bits are writable, data_len bytes, owned; NULL: read-only */
    size_t data_len;
};

struct pci_description {
    uint16_t vendor;
    uint16_t device;
    uint16_t subsystem_vendor;
    uint16_t subsystem_device;
    uint32_t class_code; /* 24 bits: base class, subclass, programming interface */
    uint8_t revision;
    struct pci_cap_description caps[DESCRIPTION_MAX_CAPS];
    unsigned n_caps;
};

/* A part of BAR1 that the client may map; bytes, multiples of the page size. */
struct mmap_area {
    uint64_t offset;
    uint64_t size;
};

/* What a client may ask for; it is told with VERSION, and keeps what it was told. */
struct device_limits {
    uint32_t max_dma_maps;
    uint32_t max_msg_fds;
    uint32_t max_data_xfer_size; /* bytes */
    uint32_t client_timeout_ms;  /* its time to answer a command of ours; it is not told */
};

struct device_description {
    struct pci_description pci;
    struct {
        uint64_t size; /* bytes, a multiple of the page size */
        struct mmap_area areas[DESCRIPTION_MAX_AREAS];
        unsigned n_areas;
        bool clear_on_reset;
    } bar1;
    struct device_limits limits; /* those at the start; see device_set_limits */
    struct {
        bool group_may_write; /* who is in the control socket's group may act, not only read */
    } control;
    enum doorbell_kind doorbell;
    enum irq_message irq_message;
    bool dma_on_irq; /* the self-test DMA */
    enum client_profile profile;
    int log_level; /* as in syslog; 0: not given */
};

/* The device that runs when there is no description: see device.md's table in the README. */
void description_default(struct device_description *out);

/* Frees what the capabilities own. */
void description_fini(struct device_description *d);

/* Each capability, and each other key. */
#define DESCRIPTION_MAX_DIFFERENCES (DESCRIPTION_MAX_CAPS + 20)

/* A key whose values in two descriptions are not the same. */
struct description_difference {
    char key[48]; /* its path: "bar1.size", "pci.capabilities[2].offset" */
    bool live;    /* it may change while the device runs */
};

/*
 * Compares what two descriptions say of the device: a key that is left out is the same as one with
 * its default value (but for log_level, which the command line may give). Writes the differences
 * to out, in the order of the keys, and returns how many there are. Of a capability only the first
 * key that differs is named, and of another number of them only "pci.capabilities".
 */
unsigned description_compare(const struct device_description *a, const struct device_description *b,
                             struct description_difference out[DESCRIPTION_MAX_DIFFERENCES]);

/* Copies the keys that may change while the device runs to d; the others stay. */
void description_adopt(struct device_description *d, const struct device_description *from);

#endif
