/* SPDX-License-Identifier: BSD-3-Clause */
#include "description.h"

#include <stdlib.h>

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
        .limits = { .max_dma_maps = 65535, .max_msg_fds = 8, .max_data_xfer_size = 1024 * KIB },
        .profile = PROFILE_AUTO,
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
