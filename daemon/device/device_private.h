/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device is made of: for device.c, which is how clients use it, and device_move.c, which has
 * its state come and go.
 */
#ifndef VFIO_USERD_DEVICE_PRIVATE_H
#define VFIO_USERD_DEVICE_PRIVATE_H

#include "device.h"
#include "doorbell.h"
#include "memory.h"
#include "msix.h"

struct device {
    const struct device_description *description;
    struct device_host host;
    struct device_limits limits; /* of the next client */
    struct memory block;
    struct memory bar1;
    struct device_state *state; /* in block */
    struct pci *pci;
    struct irq *irq;
    struct dma *dma;
    struct timer *timer;
    struct dirty_log *log; /* NULL: writes are not logged */
    struct doorbell doorbell;
    struct device_held held;
    bool stopped;
    bool unfrozen; /* not stopped, but what device_start lets go on waits for that */
};

/* What is done is kept in *memory from now on. Returns 0 or -ENOMEM. */
int device_keep(struct device *dev, const struct device_memory *memory);

/* The doorbell was rung rings times, the last time with *value; NULL: that is not known. */
void device_ring(struct device *dev, uint64_t rings, const uint32_t *value);

/* Configuration space has changed what interrupts may pass, and whether DMA may run. */
void device_update_gate(struct device *dev);

/* Registers and configuration space as after power-on. */
void device_power_on(struct device *dev);

#endif
