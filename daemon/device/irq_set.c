/* SPDX-License-Identifier: BSD-3-Clause */
/* Life; and what the client gives, takes away and asks for. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "irq_private.h"
#include "notifier.h"

/*
 * Eventfds
 */

static void forget_fds(struct irq_fds *fds)
{
    fds->intx = fds->intx_mask = fds->intx_unmask = fds->err = fds->req = -1;
    for (unsigned i = 0; i < IRQ_MSI_MAX; i++)
        fds->msi[i] = fds->msix[i] = -1;
}

static void set_fd(int *slot, int fd)
{
    if (*slot >= 0)
        close(*slot);
    *slot = fd;
}

static void close_fds(struct irq *irq)
{
    set_fd(&irq->fds.intx, -1);
    set_fd(&irq->fds.intx_mask, -1);
    set_fd(&irq->fds.intx_unmask, -1);
    set_fd(&irq->fds.err, -1);
    set_fd(&irq->fds.req, -1);
    for (unsigned i = 0; i < IRQ_MSI_MAX; i++) {
        set_fd(&irq->fds.msi[i], -1);
        set_fd(&irq->fds.msix[i], -1);
    }
}

/*
 * Life
 */

int irq_new(struct irq_state *state, const struct irq_vectors *vectors, struct irq **out)
{
    struct irq *irq = calloc(1, sizeof(*irq));
    int err;

    if (irq == NULL)
        return -ENOMEM;
    err = notifier_new(&irq->notifier);
    if (err != 0) {
        free(irq);
        return err;
    }
    irq->state = state;
    irq->vectors = *vectors;
    irq->gate.d0 = true;
    forget_fds(&irq->fds);
    *out = irq;
    return 0;
}

void irq_free(struct irq *irq)
{
    if (irq == NULL)
        return;
    close_fds(irq);
    notifier_free(irq->notifier);
    free(irq);
}

struct notifier *irq_notifier(struct irq *irq)
{
    return irq->notifier;
}

/*
 * What the client asks for
 */

void irq_get_fds(const struct irq *irq, struct irq_fds *out)
{
    *out = irq->fds;
}

static bool may_take(int fd)
{
    return fd < 0 || notifier_accepts(fd);
}

int irq_take_fds(struct irq *irq, struct irq_fds *fds)
{
    bool good = may_take(fds->intx) && may_take(fds->intx_mask) && may_take(fds->intx_unmask) &&
                may_take(fds->err) && may_take(fds->req);

    for (unsigned i = 0; i < IRQ_MSI_MAX; i++)
        good = good && may_take(fds->msi[i]) && (fds->msi[i] < 0 || i < irq->vectors.msi) &&
               may_take(fds->msix[i]) && (fds->msix[i] < 0 || i < irq->vectors.msix);
    if (!good)
        return -EINVAL;
    close_fds(irq);
    irq->fds = *fds;
    forget_fds(fds);
    return 0;
}

void irq_drop_client(struct irq *irq)
{
    close_fds(irq);
    irq->state->intx_masked = 0;
    if (irq_level(irq)) /* the next client has not seen this interrupt */
        irq->state->intx_pending = 1;
}

int irq_unmask_fd(const struct irq *irq)
{
    return irq->fds.intx_unmask;
}

void irq_resample(struct irq *irq)
{
    uint64_t count;

    if (irq->fds.intx_unmask >= 0 && notifier_take(irq->notifier, irq->fds.intx_unmask, &count))
        irq_unmask(irq);
}

/* The slot of a vector's trigger eventfd. The range has been checked. */
static int *trigger_slot(struct irq *irq, uint32_t index, uint32_t vector)
{
    switch (index) {
    case VFIO_PCI_INTX_IRQ_INDEX:
        return &irq->fds.intx;
    case VFIO_PCI_MSI_IRQ_INDEX:
        return &irq->fds.msi[vector];
    case VFIO_PCI_MSIX_IRQ_INDEX:
        return &irq->fds.msix[vector];
    case VFIO_PCI_ERR_IRQ_INDEX:
        return &irq->fds.err;
    default:
        return &irq->fds.req;
    }
}

static int set_eventfds(struct irq *irq, uint32_t action, uint32_t index, uint32_t start,
                        uint32_t count, int *fds, unsigned nfds)
{
    uint32_t mode_before = irq_mode(irq);

    if (nfds != 0 && nfds != count)
        return -EINVAL;
    for (unsigned i = 0; i < nfds; i++) {
        if (!notifier_accepts(fds[i]))
            return -EINVAL;
    }
    for (uint32_t i = 0; i < count; i++) {
        int fd = i < nfds ? fds[i] : -1;

        if (action == VFIO_IRQ_SET_ACTION_TRIGGER)
            set_fd(trigger_slot(irq, index, start + i), fd);
        else if (action == VFIO_IRQ_SET_ACTION_MASK)
            set_fd(&irq->fds.intx_mask, fd);
        else
            set_fd(&irq->fds.intx_unmask, fd);
        if (fd >= 0)
            fds[i] = -1;
    }
    if (action == VFIO_IRQ_SET_ACTION_TRIGGER) {
        irq_deliver_waiting(irq, index);
        /* Without its last vector, MSI or MSI-X gives the line back. */
        if (mode_before != VFIO_PCI_INTX_IRQ_INDEX && irq_mode(irq) == VFIO_PCI_INTX_IRQ_INDEX)
            irq_deliver_waiting(irq, VFIO_PCI_INTX_IRQ_INDEX);
    }
    return 0;
}

/* The client acts on one vector itself. */
static void act(struct irq *irq, uint32_t action, uint32_t index, uint32_t vector)
{
    int fd;

    switch (action) {
    case VFIO_IRQ_SET_ACTION_MASK:
        irq->state->intx_masked = 1;
        break;
    case VFIO_IRQ_SET_ACTION_UNMASK:
        irq_unmask(irq);
        break;
    default: /* a loop-back test of the eventfd: the device has no part in it */
        fd = *trigger_slot(irq, index, vector);
        if (fd >= 0)
            notifier_signal(irq->notifier, fd);
        break;
    }
}

static void disable_index(struct irq *irq, uint32_t index)
{
    uint32_t count = 0;
    uint32_t flags;

    irq_info(irq, index, &count, &flags);
    set_eventfds(irq, VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, count, NULL, 0);
    if (index == VFIO_PCI_MSI_IRQ_INDEX && !irq->gate.msi_enabled)
        irq->state->msi_pending = 0;
    if (index == VFIO_PCI_MSIX_IRQ_INDEX && !irq->gate.msix_enabled)
        irq->state->msix_pending = 0;
    if (index == VFIO_PCI_INTX_IRQ_INDEX) {
        set_fd(&irq->fds.intx_mask, -1);
        set_fd(&irq->fds.intx_unmask, -1);
        irq->state->intx_masked = 0;
    }
}

int irq_set(struct irq *irq, uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
            const uint8_t *bools, int *fds, unsigned nfds)
{
    uint32_t action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
    uint32_t vectors;
    uint32_t info;

    if (irq_info(irq, index, &vectors, &info) != 0)
        return -EINVAL;
    if (start > vectors || count > vectors - start)
        return -EINVAL;
    if (action != VFIO_IRQ_SET_ACTION_TRIGGER && (info & VFIO_IRQ_INFO_MASKABLE) == 0)
        return -EINVAL;
    if (count == 0) {
        disable_index(irq, index);
        return 0;
    }
    if ((flags & VFIO_IRQ_SET_DATA_EVENTFD) != 0)
        return set_eventfds(irq, action, index, start, count, fds, nfds);
    for (uint32_t i = 0; i < count; i++) {
        if (bools == NULL || bools[i] != 0)
            act(irq, action, index, start + i);
    }
    return 0;
}
