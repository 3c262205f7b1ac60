/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "device_private.h"
#include "dirty_log.h"

/*
 * State that comes and goes
 */

uint8_t *device_bar1(struct device *dev)
{
    return dev->bar1.at;
}

int device_bar1_fd(const struct device *dev)
{
    return dev->bar1.fd;
}

static const char *bad_irq_field(const struct device *dev, const struct irq_state *irq)
{
    if ((uint64_t)irq->msi_pending >> pci_msi_vectors(dev->pci) != 0)
        return "irq.msi_pending";
    if ((uint64_t)irq->msix_pending >> pci_msix_vectors(dev->pci) != 0)
        return "irq.msix_pending";
    if (irq->intx_pending > (irq->active != 0))
        return "irq.intx_pending";
    if (irq->intx_masked > 1)
        return "irq.intx_masked";
    if (irq->err_pending > 1)
        return "irq.err_pending";
    return irq->req_pending > 1 ? "irq.req_pending" : NULL;
}

int device_check_state(const struct device *dev, const struct device_state *state,
                       char field[DEVICE_FIELD_BYTES])
{
    const char *timer = timer_bad_field(dev->bar1.size, &state->timer, state->irq.active);
    const char *irq = bad_irq_field(dev, &state->irq);

    if (timer != NULL)
        snprintf(field, DEVICE_FIELD_BYTES, "timer.%s", timer);
    else if (irq != NULL)
        snprintf(field, DEVICE_FIELD_BYTES, "%s", irq);
    else if (!pci_could_be(dev->pci, &state->pci))
        snprintf(field, DEVICE_FIELD_BYTES, "pci.config");
    else if (!msix_could_be(&state->msix, pci_msix_vectors(dev->pci)))
        snprintf(field, DEVICE_FIELD_BYTES, "msix.table");
    else
        return 0;
    return -EINVAL;
}

/* Nothing reads or writes zeros where there is a hole: that would fill it. */
static void copy_to_hole(uint8_t *to, const uint8_t *from, uint64_t size)
{
    static const uint8_t zeros[4096];

    for (uint64_t at = 0; at < size; at += sizeof(zeros)) {
        size_t len = size - at < sizeof(zeros) ? size - at : sizeof(zeros);

        if (memcmp(from + at, zeros, len) != 0)
            memcpy(to + at, from + at, len);
    }
}

static void load_bar1(const struct memory *to, const uint8_t *from)
{
    off_t size = (off_t)to->size;
    off_t at = 0;

    while (at < size) {
        off_t data = lseek(to->fd, at, SEEK_DATA);
        off_t end = data >= 0 ? lseek(to->fd, data, SEEK_HOLE) : size;

        if (data < 0) /* there is none; or, which should not be, it cannot be said where */
            data = errno == ENXIO ? size : at;
        if (end < data)
            end = size;
        copy_to_hole(to->at + at, from + at, (uint64_t)(data - at));
        memcpy(to->at + data, from + data, (size_t)(end - data));
        at = end;
    }
}

int device_load(struct device *dev, const struct device_state *state, const uint8_t *bar1,
                char field[DEVICE_FIELD_BYTES])
{
    int err = device_check_state(dev, state, field);

    if (err != 0)
        return err;
    if (!dev->stopped)
        return -EBUSY;
    timer_load(dev->timer, &state->timer);
    dev->state->pci = state->pci;
    dev->state->msix = state->msix;
    dev->held = (struct device_held) { 0 };
    device_update_gate(dev);
    irq_load(dev->irq, &state->irq); /* behind the gate, which has changed what is pending */
    if (bar1 != NULL)
        load_bar1(&dev->bar1, bar1);
    return 0;
}

/* Puts other memory in BAR1's place. */
static void move_bar1(struct device *dev, const struct memory *to)
{
    struct memory from = dev->bar1;

    dev->bar1 = *to;
    timer_move_bar1(dev->timer, to->at);
    memory_free(&from);
}

int device_adopt_bar1(struct device *dev, int *fd)
{
    struct memory memory;
    int err;

    if (!dev->stopped)
        return -EBUSY;
    err = memory_adopt(*fd, dev->bar1.size, &memory);
    if (err != 0)
        return err;
    *fd = -1;
    move_bar1(dev, &memory);
    return 0;
}

int device_renew(struct device *dev)
{
    struct memory bar1;
    int err;

    device_stop(dev);
    err = memory_new("vfio-userd-bar1", dev->bar1.size, &bar1);
    if (err != 0)
        return err;
    device_drop_client(dev);
    device_power_on(dev);
    move_bar1(dev, &bar1);
    dma_set_max_maps(dev->dma, dev->limits.max_dma_maps);
    device_start(dev);
    return 0;
}

/*
 * The dirty log
 */

static void set_log(struct device *dev, struct dirty_log *log)
{
    dma_set_log(dev->dma, log);
    dirty_log_free(dev->log);
    dev->log = log;
}

int device_log_start(struct device *dev, uint64_t *page_size,
                     const struct vfio_device_feature_dma_logging_range *ranges, uint32_t n)
{
    struct dirty_log *log;
    int err;

    if (dev->log != NULL)
        return -EBUSY;
    err = dirty_log_new(*page_size, ranges, n, &log);
    if (err != 0)
        return err;
    set_log(dev, log);
    *page_size = dirty_log_page_size(log);
    return 0;
}

int device_log_stop(struct device *dev)
{
    if (dev->log == NULL)
        return -EINVAL;
    set_log(dev, NULL);
    return 0;
}

int device_log_report(struct device *dev, uint64_t iova, uint64_t length, uint64_t page_size,
                      uint64_t *bitmap)
{
    return dev->log != NULL ? dirty_log_report(dev->log, iova, length, page_size, bitmap) : -EINVAL;
}

int device_log_export(const struct device *dev, uint8_t **bytes, size_t *len)
{
    *bytes = NULL;
    *len = 0;
    return dev->log != NULL ? dirty_log_export(dev->log, bytes, len) : 0;
}

int device_log_import(struct device *dev, const uint8_t *bytes, size_t len)
{
    struct dirty_log *log = NULL;
    int err = len > 0 ? dirty_log_import(bytes, len, &log) : 0;

    if (err == 0)
        set_log(dev, log);
    return err;
}

int device_log_ranges(const struct device *dev, uint64_t *page_size,
                      struct vfio_device_feature_dma_logging_range *ranges, uint32_t *n)
{
    if (dev->log == NULL)
        return -EINVAL;
    *page_size = dirty_log_page_size(dev->log);
    dirty_log_ranges(dev->log, ranges, n);
    return 0;
}

int device_log_restore(struct device *dev, uint64_t page_size,
                       const struct vfio_device_feature_dma_logging_range *ranges, uint32_t n)
{
    int err = device_log_start(dev, &page_size, ranges, n);

    if (err == 0)
        dirty_log_mark_all(dev->log);
    return err;
}

/*
 * The doorbell
 */

void device_get_doorbell(const struct device *dev, int *event, int *shadow)
{
    *event = dev->doorbell.event;
    *shadow = dev->doorbell.shadow;
}

int device_adopt_doorbell(struct device *dev, int *event, int *shadow)
{
    return doorbell_adopt(&dev->doorbell, event, shadow);
}

/*
 * All that a client gave
 */

/* The rings of a stopped device are not ours to take: another process may have the client. */
void device_drop_client(struct device *dev)
{
    if (!dev->stopped)
        device_take_rings(dev);
    dev->held = (struct device_held) { 0 };
    doorbell_drop(&dev->doorbell);
    device_log_stop(dev);
    dma_cancel_all(dev->dma);
    dma_unmap_all(dev->dma);
    irq_drop_client(dev->irq);
}
