/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device as a driver on top of the guest kernel's VFIO sees it: BARs and configuration space
 * through the device's file, DMA through an IOMMU (the virtual machine's), interrupts as eventfds:
 * uio_pci_generic knows INTx only, this one MSI-X too. Fills in the struct device that the other
 * checks use, so that the registers' functions serve both.
 */
#ifndef GUEST_VFIO_H
#define GUEST_VFIO_H

#include <stddef.h>
#include <stdint.h>

#include "device.h"

#define VFIO_VECTORS 3u

/* Interrupts of the device, each with an eventfd of its own. */
enum vfio_event {
    VFIO_EVENT_TIMER,    /* vector 0 */
    VFIO_EVENT_SOFTWARE, /* vector 1 */
    VFIO_EVENT_DMA,      /* vector 2 */
    VFIO_EVENT_INTX,
    VFIO_EVENTS
};

struct vfio {
    struct device *device;
    int container;
    int group;
    int fd; /* the device's */
    int events[VFIO_EVENTS];
    volatile uint8_t *bar2; /* with the MSI-X table and the pending bits */
    size_t bar2_size;
    uint64_t bar2_offset; /* in fd */
};

/*
 * Binds vfio-pci to the function at `address` ("0000:00:04.0"), opens its group, puts it into a
 * container with an IOMMU, maps BAR0, BAR1 and BAR2 and prepares the eventfds; no interrupt is on.
 * `device` is filled in and belongs to `vfio`. Returns 0 or -errno; `step` then names what failed.
 */
int vfio_open(struct vfio *vfio, struct device *device, const char *address, const char **step);

/* Undoes vfio_open(); the driver stays bound. */
void vfio_close(struct vfio *vfio);

/* Lets the device reach `size` bytes of whole pages at the address `iova`. 0 or -errno. */
int vfio_map(struct vfio *vfio, void *bytes, size_t size, uint64_t iova);
int vfio_unmap(struct vfio *vfio, size_t size, uint64_t iova);

/*
 * Switches MSI-X on for all vectors; those whose bit is set in `vectors` get their eventfd, the
 * others none. 0 or -errno.
 */
int vfio_msix_on(struct vfio *vfio, unsigned vectors);

/* Gives a vector its eventfd while MSI-X is on. 0 or -errno. */
int vfio_msix_add(struct vfio *vfio, unsigned vector);

/* Switches MSI-X off. 0 or -errno. */
int vfio_msix_off(struct vfio *vfio);

/* Switches INTx on or off, and unmasks it after an interrupt. 0 or -errno. */
int vfio_intx_on(struct vfio *vfio);
int vfio_intx_off(struct vfio *vfio);
int vfio_intx_unmask(struct vfio *vfio);

/*
 * Waits for an event. Returns 0 with the number of interrupts since the last time, or -errno;
 * -ETIMEDOUT when there was none.
 */
int vfio_wait(struct vfio *vfio, enum vfio_event event, unsigned timeout_ms, uint64_t *count);

/* The pending bits of MSI-X, read as drivers do, by read() and not through the mapping. */
int vfio_pending(struct vfio *vfio, uint32_t offset, uint32_t *bits);

#endif
