/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device is made of: for device.c, which is how clients use it, and device_move.c, which has
 * its state come and go.
 */
#ifndef VFIO_USERD_DEVICE_PRIVATE_H
#define VFIO_USERD_DEVICE_PRIVATE_H

#include "device.h"

/* A memfd, mapped for as long as the device lives. */
struct device_memory {
    int fd;
    uint8_t *at;
    uint64_t size;
};

struct device {
    const struct device_description *description;
    struct device_host host;
    struct device_limits limits; /* of the next client */
    struct device_memory block;
    struct device_memory bar1;
    struct device_state *state; /* in block */
    struct pci *pci;
    struct irq *irq;
    struct dma *dma;
    struct timer *timer;
    struct dirty_log *log; /* NULL: writes are not logged */
    bool stopped;
};

/* Sealed against resizing. Returns 0 or -errno. */
int device_memory_new(const char *name, uint64_t size, struct device_memory *out);
void device_memory_free(struct device_memory *m);

/* Configuration space has changed what interrupts may pass, and whether DMA may run. */
void device_update_gate(struct device *dev);

#endif
