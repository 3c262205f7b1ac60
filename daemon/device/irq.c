/* SPDX-License-Identifier: BSD-3-Clause */
/* What is triggered, and when. */
#include "irq.h"

#include <errno.h>
#include <stddef.h>

#include "irq_private.h"
#include "notifier.h"

void irq_watch(struct irq *irq, irq_watch_fn fn, void *opaque)
{
    irq->watch = fn;
    irq->watch_opaque = opaque;
}

void irq_set_messenger(struct irq *irq, const struct irq_messenger *messenger)
{
    irq->messenger = *messenger;
}

static bool is_delivered(enum irq_delivery how)
{
    return how <= IRQ_DELIVERED_BOTH;
}

/* What was pending before is news when it is delivered. */
static enum irq_delivery tell(const struct irq *irq, uint32_t index, uint32_t vector,
                              enum irq_delivery how, bool anew)
{
    if (irq->watch != NULL && (anew || is_delivered(how)))
        irq->watch(irq->watch_opaque, index, vector, how, anew);
    return how;
}

int irq_info(const struct irq *irq, uint32_t index, uint32_t *count, uint32_t *flags)
{
    const uint32_t edge = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;

    switch (index) {
    case VFIO_PCI_INTX_IRQ_INDEX:
        *count = 1;
        *flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
        return 0;
    case VFIO_PCI_MSI_IRQ_INDEX:
        *count = irq->vectors.msi;
        *flags = *count > 0 ? edge : 0;
        return 0;
    case VFIO_PCI_MSIX_IRQ_INDEX:
        *count = irq->vectors.msix;
        *flags = *count > 0 ? edge : 0;
        return 0;
    case VFIO_PCI_ERR_IRQ_INDEX:
    case VFIO_PCI_REQ_IRQ_INDEX:
        *count = 1;
        *flags = edge;
        return 0;
    default:
        return -EINVAL;
    }
}

bool irq_level(const struct irq *irq)
{
    return irq->gate.d0 && irq->state->active != 0;
}

uint64_t irq_count(const struct irq *irq)
{
    return irq->state->count;
}

/*
 * One trigger
 */

/* The eventfd, or the message, or both: by the means that there are. */
static enum irq_delivery send(struct irq *irq, uint32_t index, uint32_t vector, int fd)
{
    const struct irq_messenger *m = &irq->messenger;
    bool signalled = fd >= 0 && notifier_signal(irq->notifier, fd) == 0;
    int err = -ENOTSUP;

    if (m->send != NULL && (!signalled || m->both))
        err = m->send(m->opaque, index, vector);
    if (signalled)
        return err == 0 ? IRQ_DELIVERED_BOTH : IRQ_DELIVERED_EVENTFD;
    switch (err) {
    case 0:
        return IRQ_DELIVERED_MESSAGE;
    case -EBUSY:
        return IRQ_PENDING_UNANSWERED;
    case -ENOTCONN:
        return IRQ_PENDING_NO_WAY;
    default:
        return IRQ_PENDING_NO_EVENTFD;
    }
}

static enum irq_delivery signal_intx(struct irq *irq)
{
    struct irq_state *state = irq->state;
    enum irq_delivery how;

    if (irq->stopped)
        return IRQ_PENDING_STOPPED;
    if (!irq->gate.d0)
        return IRQ_PENDING_POWER;
    if (irq->gate.intx_disabled || irq_mode(irq) != VFIO_PCI_INTX_IRQ_INDEX)
        return IRQ_PENDING_DISABLED;
    if (state->intx_masked)
        return IRQ_PENDING_MASKED;
    how = send(irq, VFIO_PCI_INTX_IRQ_INDEX, 0, irq->fds.intx);
    if (!is_delivered(how))
        return how;
    state->intx_pending = 0;
    if (irq->fds.intx_mask >= 0)
        notifier_signal(irq->notifier, irq->fds.intx_mask);
    return how;
}

static enum irq_delivery trigger_intx(struct irq *irq, bool anew)
{
    return tell(irq, VFIO_PCI_INTX_IRQ_INDEX, 0, signal_intx(irq), anew);
}

/* Something that may have stood in the way is gone: a high level triggers anew. */
static void reevaluate_intx(struct irq *irq)
{
    if (irq_level(irq)) {
        irq->state->intx_pending = 1;
        trigger_intx(irq, false);
    }
}

/*
 * MSI and MSI-X: vectors
 */

/* One of the two. */
struct bank {
    uint32_t index;
    unsigned n;
    const int *fds;
    uint32_t *pending;
    unsigned enabled; /* vectors that the guest has enabled; 0: it has not */
    uint32_t masked;
};

static struct bank msi_bank(struct irq *irq)
{
    return (struct bank) { .index = VFIO_PCI_MSI_IRQ_INDEX,
                           .n = irq->vectors.msi,
                           .fds = irq->fds.msi,
                           .pending = &irq->state->msi_pending,
                           .enabled = irq->gate.msi_enabled ? irq->gate.msi_count : 0,
                           .masked = irq->gate.msi_masked };
}

static struct bank msix_bank(struct irq *irq)
{
    return (struct bank) { .index = VFIO_PCI_MSIX_IRQ_INDEX,
                           .n = irq->vectors.msix,
                           .fds = irq->fds.msix,
                           .pending = &irq->state->msix_pending,
                           .enabled = irq->gate.msix_enabled ? irq->vectors.msix : 0,
                           .masked = irq->gate.msix_masked };
}

/* Vectors that the client has set up: one more than the highest with an eventfd. */
static unsigned assigned(const int *fds, unsigned n)
{
    while (n > 0 && fds[n - 1] < 0)
        n--;
    return n;
}

uint32_t irq_mode(const struct irq *irq)
{
    if (irq->gate.msix_enabled || assigned(irq->fds.msix, irq->vectors.msix) > 0)
        return VFIO_PCI_MSIX_IRQ_INDEX;
    if (irq->gate.msi_enabled || assigned(irq->fds.msi, irq->vectors.msi) > 0)
        return VFIO_PCI_MSI_IRQ_INDEX;
    return VFIO_PCI_INTX_IRQ_INDEX;
}

static enum irq_delivery signal_vector(struct irq *irq, const struct bank *b, unsigned vector)
{
    uint32_t bit = 1u << vector;
    enum irq_delivery how;

    *b->pending |= bit;
    if (irq->stopped)
        return IRQ_PENDING_STOPPED;
    if (!irq->gate.d0)
        return IRQ_PENDING_POWER;
    if ((b->masked & bit) != 0)
        return IRQ_PENDING_DISABLED;
    /* A message speaks to the guest: it must have enabled this. */
    if (b->fds[vector] < 0 && vector >= b->enabled)
        return IRQ_PENDING_NOT_ENABLED;
    how = send(irq, b->index, vector, b->fds[vector]);
    if (is_delivered(how))
        *b->pending &= ~bit;
    return how;
}

static enum irq_delivery trigger_vector(struct irq *irq, const struct bank *b, unsigned vector,
                                        bool anew)
{
    return tell(irq, b->index, vector, signal_vector(irq, b, vector), anew);
}

static void retry_bank(struct irq *irq, const struct bank *b)
{
    for (unsigned i = 0; i < b->n; i++) {
        if ((*b->pending & (1u << i)) != 0)
            trigger_vector(irq, b, i, false);
    }
}

static void retry_vectors(struct irq *irq)
{
    struct bank msi = msi_bank(irq);
    struct bank msix = msix_bank(irq);

    retry_bank(irq, &msi);
    retry_bank(irq, &msix);
}

/*
 * A guest may be given fewer vectors of MSI than the device has: the client's eventfds tell how
 * many and, without any, Multiple Message Enable does. With MSI-X it has all, and a VMM gives an
 * eventfd when the guest begins to use one.
 */
static enum irq_delivery update_bank(struct irq *irq, const struct bank *b, uint32_t events)
{
    enum irq_delivery how = IRQ_ALREADY_ASSERTED;
    unsigned enabled = b->index == VFIO_PCI_MSI_IRQ_INDEX ? assigned(b->fds, b->n) : b->n;

    if (enabled == 0)
        enabled = b->enabled > 0 ? b->enabled : b->n;
    for (unsigned source = 0; events != 0 && source < 32; source++) {
        if ((events & (1u << source)) == 0)
            continue;
        irq->state->count++;
        how = trigger_vector(irq, b, source % enabled, true);
    }
    return how;
}

/*
 * ERR and REQ
 */

static enum irq_delivery trigger_single(struct irq *irq, uint32_t index, bool anew)
{
    bool is_err = index == VFIO_PCI_ERR_IRQ_INDEX;
    uint8_t *pending = is_err ? &irq->state->err_pending : &irq->state->req_pending;
    enum irq_delivery how = IRQ_PENDING_STOPPED;

    if (!irq->stopped)
        how = send(irq, index, 0, is_err ? irq->fds.err : irq->fds.req);
    *pending = !is_delivered(how);
    return tell(irq, index, 0, how, anew);
}

static void retry_single(struct irq *irq, uint32_t index)
{
    bool is_err = index == VFIO_PCI_ERR_IRQ_INDEX;

    if (is_err ? irq->state->err_pending : irq->state->req_pending)
        trigger_single(irq, index, false);
}

/*
 * The model
 */

enum irq_delivery irq_update(struct irq *irq, uint32_t active, uint32_t events)
{
    struct irq_state *state = irq->state;
    uint32_t mode = irq_mode(irq);
    struct bank bank = mode == VFIO_PCI_MSIX_IRQ_INDEX ? msix_bank(irq) : msi_bank(irq);
    uint32_t before = state->active;

    state->active = active;
    if (active == 0)
        state->intx_pending = 0;
    /* A source is an event when it happens, and when what hid it is taken away. */
    events = (events & active) | (active & ~before);
    if (mode != VFIO_PCI_INTX_IRQ_INDEX && bank.n > 0)
        return events != 0 ? update_bank(irq, &bank, events) : IRQ_PENDING_DISABLED;
    if (active == 0)
        return IRQ_PENDING_DISABLED;
    if (before != 0 && state->intx_pending == 0)
        return IRQ_ALREADY_ASSERTED;
    if (before == 0)
        state->count++;
    state->intx_pending = 1;
    return trigger_intx(irq, before == 0);
}

int irq_raise(struct irq *irq, uint32_t index, uint32_t vector, enum irq_delivery *how)
{
    struct bank bank = index == VFIO_PCI_MSI_IRQ_INDEX ? msi_bank(irq) : msix_bank(irq);
    uint32_t count;
    uint32_t flags;

    if (irq_info(irq, index, &count, &flags) != 0 || vector >= count)
        return -EINVAL;
    switch (index) {
    case VFIO_PCI_MSI_IRQ_INDEX:
    case VFIO_PCI_MSIX_IRQ_INDEX:
        irq->state->count++;
        *how = trigger_vector(irq, &bank, vector, true);
        return 0;
    case VFIO_PCI_ERR_IRQ_INDEX:
    case VFIO_PCI_REQ_IRQ_INDEX:
        *how = trigger_single(irq, index, true);
        return 0;
    default:
        return -EINVAL; /* INTx has no interrupts of its own: it follows the sources */
    }
}

static bool intx_is_open(const struct irq *irq)
{
    return irq->gate.d0 && !irq->gate.intx_disabled && irq_mode(irq) == VFIO_PCI_INTX_IRQ_INDEX;
}

void irq_set_gate(struct irq *irq, const struct irq_gate *gate)
{
    bool was_open = intx_is_open(irq);

    /* What waited goes out as INTx, if it is still so. */
    if (irq->gate.msi_enabled && !gate->msi_enabled)
        irq->state->msi_pending = 0;
    if (irq->gate.msix_enabled && !gate->msix_enabled)
        irq->state->msix_pending = 0;
    irq->gate = *gate;
    if (!was_open && intx_is_open(irq))
        reevaluate_intx(irq);
    retry_vectors(irq);
}

void irq_reset(struct irq *irq)
{
    uint8_t masked = irq->state->intx_masked;

    *irq->state = (struct irq_state) { .intx_masked = masked };
}

/*
 * Stopping and starting
 */

void irq_stop(struct irq *irq)
{
    irq->stopped = true;
}

void irq_retry(struct irq *irq)
{
    if (irq_level(irq) && irq->state->intx_pending)
        trigger_intx(irq, false);
    retry_vectors(irq);
    retry_single(irq, VFIO_PCI_ERR_IRQ_INDEX);
    retry_single(irq, VFIO_PCI_REQ_IRQ_INDEX);
}

void irq_unfreeze(struct irq *irq)
{
    irq->stopped = false;
}

void irq_start(struct irq *irq)
{
    irq->stopped = false;
    irq_retry(irq);
}

void irq_load(struct irq *irq, const struct irq_state *state)
{
    uint8_t masked = irq->state->intx_masked;

    *irq->state = *state;
    irq->state->intx_masked = masked;
}

/*
 * For irq_set.c
 */

void irq_unmask(struct irq *irq)
{
    irq->state->intx_masked = 0;
    reevaluate_intx(irq);
}

void irq_deliver_waiting(struct irq *irq, uint32_t index)
{
    if (index == VFIO_PCI_INTX_IRQ_INDEX)
        reevaluate_intx(irq);
    else if (index == VFIO_PCI_MSI_IRQ_INDEX || index == VFIO_PCI_MSIX_IRQ_INDEX)
        retry_vectors(irq);
    else
        retry_single(irq, index);
}
