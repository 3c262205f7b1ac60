/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "device_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dirty_log.h"
#include "vfio_user.h"

static bool may_dma(void *opaque)
{
    const struct device *dev = opaque;

    return pci_bus_master(dev->pci);
}

static void tell(const struct device *dev, const struct device_event *event)
{
    if (dev->host.event != NULL)
        dev->host.event(dev->host.opaque, event);
}

static void on_interrupt(void *opaque, uint32_t index, uint32_t vector, enum irq_delivery how,
                         bool anew)
{
    const struct device_event event = {
        .kind = DEVICE_EVENT_INTERRUPT, .index = index, .vector = vector, .how = how, .anew = anew
    };

    tell(opaque, &event);
}

static int send_interrupt(void *opaque, uint32_t index, uint32_t subindex)
{
    const struct device *dev = opaque;

    return dev->host.interrupt(dev->host.opaque, index, subindex);
}

static int64_t timer_now(void *opaque)
{
    const struct device *dev = opaque;

    return dev->host.now(dev->host.opaque);
}

static void timer_wake_at(void *opaque, int64_t deadline)
{
    const struct device *dev = opaque;

    dev->host.wake_at(dev->host.opaque, deadline);
}

static int make_timer(struct device *dev)
{
    const struct timer_parts parts = {
        .state = &dev->state->timer,
        .irq = dev->irq,
        .dma = dev->dma,
        .bar1 = dev->bar1.at,
        .bar1_size = dev->bar1.size,
        .may_dma = may_dma,
        .host = { .opaque = dev, .now = timer_now, .wake_at = timer_wake_at },
        .dma_on_irq = dev->description->dma_on_irq,
    };

    return timer_new(&parts, &dev->timer);
}

static int make_irq(struct device *dev)
{
    const struct irq_vectors vectors = { .msi = pci_msi_vectors(dev->pci),
                                         .msix = pci_msix_vectors(dev->pci) };
    const struct irq_messenger messenger = {
        .opaque = dev,
        .send = dev->host.interrupt != NULL ? send_interrupt : NULL,
        .both = dev->description->irq_message == IRQ_MESSAGE_BOTH,
    };
    int err = irq_new(&dev->state->irq, &vectors, &dev->irq);

    if (err != 0)
        return err;
    irq_watch(dev->irq, on_interrupt, dev);
    irq_set_messenger(dev->irq, &messenger);
    return 0;
}

/* The state's memory: that of the host, or else our own. */
static int make_block(struct device *dev)
{
    const struct device_memory *memory = dev->host.memory;
    int err = 0;

    if (memory == NULL)
        err = memory_new("vfio-userd-state", sizeof(struct device_state), &dev->block);
    dev->state = memory != NULL ? memory->state : (struct device_state *)dev->block.at;
    return err;
}

static int make_parts(struct device *dev, struct pci_error *error)
{
    const struct device_description *d = dev->description;
    const uint64_t bar_size[6] = { TIMER_BAR0_SIZE, d->bar1.size };
    int err;

    err = make_block(dev);
    if (err != 0)
        return err;
    dev->state->magic = DEVICE_STATE_MAGIC;
    dev->state->version = DEVICE_STATE_VERSION;
    dev->state->size = sizeof(*dev->state);
    msix_reset(&dev->state->msix);
    err = memory_new("vfio-userd-bar1", d->bar1.size, &dev->bar1);
    if (err == 0)
        err = pci_new(&d->pci, bar_size, &dev->state->pci, &dev->pci, error);
    if (err == 0)
        err = make_irq(dev);
    if (err == 0)
        err = dma_new(dev->limits.max_dma_maps, &dev->host.messenger, &dev->dma);
    if (err == 0 && dev->host.max_files > 0)
        dma_set_max_files(dev->dma, dev->host.max_files);
    if (err == 0 && dev->host.memory != NULL)
        err = device_keep(dev, dev->host.memory);
    if (err == 0)
        err = make_timer(dev);
    return err;
}

int device_new(const struct device_description *d, const struct device_host *host,
               struct device **out, struct pci_error *error)
{
    struct device *dev = calloc(1, sizeof(*dev));
    int err;

    if (dev == NULL)
        return -ENOMEM;
    dev->description = d;
    dev->host = *host;
    dev->limits = d->limits;
    doorbell_init(&dev->doorbell, d->doorbell);
    err = make_parts(dev, error);
    if (err != 0) {
        device_free(dev);
        return err;
    }
    *out = dev;
    return 0;
}

void device_free(struct device *dev)
{
    if (dev == NULL)
        return;
    timer_free(dev->timer);
    dma_free(dev->dma);
    dirty_log_free(dev->log);
    irq_free(dev->irq);
    pci_free(dev->pci);
    doorbell_drop(&dev->doorbell);
    memory_free(&dev->bar1);
    memory_free(&dev->block);
    free(dev);
}

void device_update_gate(struct device *dev)
{
    const struct irq_gate gate = {
        .d0 = pci_in_d0(dev->pci),
        .intx_disabled = pci_intx_disabled(dev->pci),
        .msi_enabled = pci_msi_enabled(dev->pci),
        .msix_enabled = pci_msix_enabled(dev->pci),
        .msi_count = pci_msi_count(dev->pci),
        .msi_masked = pci_msi_masked(dev->pci),
        .msix_masked = pci_msix_function_masked(dev->pci)
                           ? UINT32_MAX
                           : msix_masked(&dev->state->msix, pci_msix_vectors(dev->pci)),
    };

    irq_set_gate(dev->irq, &gate);
    /* Behind the gate: its end is an interrupt, which must wait where interrupts wait now. */
    if (!pci_bus_master(dev->pci) || !pci_in_d0(dev->pci))
        timer_stop_dma(dev->timer);
}

static bool is_msix_bar(const struct device *dev, uint32_t region)
{
    return pci_msix_vectors(dev->pci) > 0 && region == pci_msix_bar(dev->pci);
}

int device_region(const struct device *dev, uint32_t index, struct device_region *out)
{
    const struct device_description *d = dev->description;

    if (index >= DEVICE_NUM_REGIONS)
        return -EINVAL;
    *out =
        (struct device_region) { .flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
                                 .fd = -1 };
    switch (index) {
    case VFIO_PCI_BAR0_REGION_INDEX:
        out->size = TIMER_BAR0_SIZE;
        break;
    case VFIO_PCI_BAR1_REGION_INDEX:
        out->size = dev->bar1.size;
        if (d->bar1.n_areas > 0) {
            out->flags |= VFIO_REGION_INFO_FLAG_MMAP;
            out->fd = dev->bar1.fd;
            out->areas = d->bar1.areas;
            out->n_areas = d->bar1.n_areas;
        }
        break;
    case VFIO_PCI_CONFIG_REGION_INDEX:
        out->size = pci_config_size(dev->pci);
        break;
    default:
        if (is_msix_bar(dev, index))
            out->size = MSIX_BAR_SIZE;
        else
            out->flags = 0;
        break;
    }
    return 0;
}

static int check_range(const struct device *dev, uint32_t region, uint64_t offset, uint32_t count)
{
    struct device_region r;

    if (device_region(dev, region, &r) != 0 || offset > r.size || count > r.size - offset ||
        r.size == 0)
        return -EINVAL;
    return 0;
}

static bool is_bar(uint32_t region)
{
    return region <= VFIO_PCI_BAR5_REGION_INDEX;
}

int device_read(struct device *dev, uint32_t region, uint64_t offset, void *data, uint32_t count)
{
    int err = check_range(dev, region, offset, count);

    if (err != 0)
        return err;
    if (is_bar(region) && !pci_in_d0(dev->pci)) {
        memset(data, 0xff, count);
        return 0;
    }
    if (is_msix_bar(dev, region)) {
        msix_read(&dev->state->msix, pci_msix_vectors(dev->pci), dev->state->irq.msix_pending,
                  offset, data, count);
        return 0;
    }
    switch (region) {
    case VFIO_PCI_BAR0_REGION_INDEX:
        if (offset >= TIMER_DOORBELL) /* it sees all that was rung before */
            device_take_rings(dev);
        return timer_read(dev->timer, offset, data, count);
    case VFIO_PCI_BAR1_REGION_INDEX:
        memcpy(data, dev->bar1.at + offset, count);
        return 0;
    default:
        pci_read(dev->pci, offset, data, count, irq_level(dev->irq), dev->state->irq.msi_pending);
        return 0;
    }
}

static void write_config(struct device *dev, uint64_t offset, const void *data, uint32_t count)
{
    unsigned effects;

    device_take_rings(dev); /* what was rung in D0 counts */
    effects = pci_write(dev->pci, offset, data, count);
    if ((effects & (PCI_EFFECT_FLR | PCI_EFFECT_SOFT_RESET)) != 0)
        device_reset(dev, DEVICE_RESET_BY_GUEST);
    else if ((effects & PCI_EFFECT_GATE) != 0)
        device_update_gate(dev);
}

static int write_msix(struct device *dev, uint64_t offset, const void *data, uint32_t count)
{
    int err = msix_write(&dev->state->msix, pci_msix_vectors(dev->pci), offset, data, count);

    if (err == 0)
        device_update_gate(dev);
    return err;
}

int device_write(struct device *dev, uint32_t region, uint64_t offset, const void *data,
                 uint32_t count)
{
    int err = check_range(dev, region, offset, count);

    if (err != 0)
        return err;
    if (is_bar(region) && dev->stopped)
        return -EBUSY;
    if (is_bar(region) && !pci_in_d0(dev->pci))
        return 0;
    if (is_msix_bar(dev, region))
        return write_msix(dev, offset, data, count);
    switch (region) {
    case VFIO_PCI_BAR0_REGION_INDEX:
        if (offset >= TIMER_DOORBELL) /* what was rung before was rung first */
            device_take_rings(dev);
        return timer_write(dev->timer, offset, data, count);
    case VFIO_PCI_BAR1_REGION_INDEX:
        memcpy(dev->bar1.at + offset, data, count);
        return 0;
    default:
        write_config(dev, offset, data, count);
        return 0;
    }
}

static void forget_held(struct device *dev)
{
    dev->held = (struct device_held) { 0 };
}

void device_power_on(struct device *dev)
{
    pci_reset(dev->pci);
    timer_reset(dev->timer);
    msix_reset(&dev->state->msix);
    irq_reset(dev->irq);
    device_update_gate(dev);
}

void device_reset(struct device *dev, enum device_reset_by by)
{
    const struct device_event event = { .kind = DEVICE_EVENT_RESET, .by = by };

    device_take_rings(dev); /* what was rung before is forgotten with the rest */
    forget_held(dev);
    device_power_on(dev);
    if (dev->description->bar1.clear_on_reset)
        memset(dev->bar1.at, 0, dev->bar1.size);
    tell(dev, &event);
}

int device_dma_map(struct device *dev, uint64_t iova, uint64_t size, uint32_t flags, int *fd,
                   uint64_t offset)
{
    bool with_fd = *fd >= 0;
    int err = dma_map(dev->dma, iova, size, flags, fd, offset);
    const struct device_event event = {
        .kind = DEVICE_EVENT_DMA_MAP, .iova = iova, .size = size, .shared = with_fd && err == 0
    };

    if (err >= 0)
        tell(dev, &event);
    return err;
}

int device_dma_unmap(struct device *dev, uint64_t iova, uint64_t size)
{
    int err = dma_unmap(dev->dma, iova, size);
    const struct device_event event = { .kind = DEVICE_EVENT_DMA_UNMAP,
                                        .iova = iova,
                                        .size = size };

    if (err == 0)
        tell(dev, &event);
    return err;
}

int device_dma_unmap_within(struct device *dev, uint64_t iova, uint64_t size)
{
    const struct device_event event = { .kind = DEVICE_EVENT_DMA_UNMAP,
                                        .iova = iova,
                                        .size = size };
    int removed = dma_unmap_within(dev->dma, iova, size);

    if (removed > 0)
        tell(dev, &event);
    return removed;
}

void device_dma_unmap_all(struct device *dev)
{
    const struct device_event event = { .kind = DEVICE_EVENT_DMA_UNMAP };

    dma_unmap_all(dev->dma);
    tell(dev, &event);
}

void device_wake(struct device *dev)
{
    timer_wake(dev->timer);
}

void device_set_limits(struct device *dev, const struct device_limits *limits)
{
    dev->limits = *limits;
}

const struct device_limits *device_limits(const struct device *dev)
{
    return &dev->limits;
}

void device_take_client(struct device *dev, const struct device_limits *limits)
{
    dma_set_max_maps(dev->dma, limits->max_dma_maps);
}

int device_trigger_irq(struct device *dev, uint32_t index, uint32_t vector, enum irq_delivery *how)
{
    if (dev->stopped)
        return -EBUSY;
    if (index != VFIO_PCI_INTX_IRQ_INDEX)
        return irq_raise(dev->irq, index, vector, how);
    if (vector != 0)
        return -EINVAL;
    *how = timer_raise_software(dev->timer);
    return 0;
}

void device_retry_interrupts(struct device *dev)
{
    if (!dev->stopped)
        irq_retry(dev->irq);
}

/*
 * The doorbell
 */

int device_io_fds(struct device *dev, uint32_t region, struct device_io_fd out[DEVICE_IO_FDS_MAX],
                  unsigned *n)
{
    struct doorbell *d = &dev->doorbell;
    int err;

    if (region >= DEVICE_NUM_REGIONS)
        return -EINVAL;
    *n = 0;
    if (region != VFIO_PCI_BAR0_REGION_INDEX || d->kind == DOORBELL_NONE)
        return 0;
    err = doorbell_make(d);
    if (err != 0)
        return err;
    out[(*n)++] = (struct device_io_fd) {
        .offset = TIMER_DOORBELL,
        .size = TIMER_DOORBELL_SIZE,
        .type = d->kind == DOORBELL_SHADOW ? VFIO_USER_IO_FD_IOEVENTFD_SHADOW
                                           : VFIO_USER_IO_FD_IOEVENTFD,
        .fd = d->event,
        .shadow_fd = d->shadow,
    };
    return 0;
}

int device_doorbell_fd(const struct device *dev)
{
    return dev->doorbell.event;
}

void device_ring(struct device *dev, uint64_t rings, const uint32_t *value)
{
    if (!pci_in_d0(dev->pci))
        return; /* dropped, as a write is */
    if (dev->stopped)
        dev->held = (struct device_held) { .rings = dev->held.rings + rings,
                                           .value = value != NULL ? *value : 0,
                                           .known = value != NULL };
    else
        timer_ring(dev->timer, rings, value);
}

void device_take_rings(struct device *dev)
{
    uint64_t rings;
    uint32_t value;
    bool known;

    if (doorbell_take(&dev->doorbell, irq_notifier(dev->irq), &rings, &value, &known))
        device_ring(dev, rings, known ? &value : NULL);
}

/*
 * Stopping and starting
 */

void device_stop(struct device *dev)
{
    if (dev->stopped)
        return;
    device_take_rings(dev);
    dev->stopped = true;
    dev->unfrozen = false;
    irq_stop(dev->irq);
    timer_stop(dev->timer);
}

void device_start(struct device *dev)
{
    if (!dev->stopped && !dev->unfrozen)
        return;
    dev->stopped = false;
    dev->unfrozen = false;
    if (dev->held.rings > 0)
        timer_ring(dev->timer, dev->held.rings, dev->held.known ? &dev->held.value : NULL);
    forget_held(dev);
    device_take_rings(dev);
    irq_start(dev->irq);
    timer_start(dev->timer);
}

bool device_running(const struct device *dev)
{
    return !dev->stopped;
}

void device_stop_dma(struct device *dev)
{
    dma_pause(dev->dma);
}

void device_resume_dma(struct device *dev)
{
    if (!dev->stopped)
        dma_resume(dev->dma);
}

bool device_dma_awaits(const struct device *dev)
{
    return dma_in_flight(dev->dma);
}

struct irq *device_irq(struct device *dev)
{
    return dev->irq;
}

struct dma *device_dma(struct device *dev)
{
    return dev->dma;
}

const struct device_state *device_state(const struct device *dev)
{
    return dev->state;
}

const struct device_description *device_description(const struct device *dev)
{
    return dev->description;
}

size_t device_config_size(const struct device *dev)
{
    return pci_config_size(dev->pci);
}

size_t device_msix_table_size(const struct device *dev)
{
    return (size_t)pci_msix_vectors(dev->pci) * MSIX_ENTRY_SIZE;
}

size_t device_cap_image(const struct device *dev, unsigned i, uint8_t image[PCI_CAP_IMAGE_MAX],
                        uint16_t *offset)
{
    return pci_cap_image(dev->pci, i, image, offset);
}

bool device_in_d0(const struct device *dev)
{
    return pci_in_d0(dev->pci);
}

bool device_bus_master(const struct device *dev)
{
    return pci_bus_master(dev->pci);
}
