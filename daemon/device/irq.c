/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "irq.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "notifier.h"

struct irq {
    struct irq_state *state;
    struct notifier *notifier;
    unsigned msi_vectors;
    irq_watch_fn watch; /* NULL: nobody is told */
    void *watch_opaque;

    /* The gate. */
    bool d0;
    bool intx_disabled;
    bool msi_enabled;
    uint32_t msi_masked;

    struct irq_fds fds; /* the client's */
    bool stopped;
};

static void forget_fds(struct irq_fds *fds)
{
    fds->intx = fds->intx_mask = fds->intx_unmask = fds->err = fds->req = -1;
    for (unsigned i = 0; i < IRQ_MSI_MAX; i++)
        fds->msi[i] = -1;
}

int irq_new(struct irq_state *state, unsigned msi_vectors, struct irq **out)
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
    irq->msi_vectors = msi_vectors <= IRQ_MSI_MAX ? msi_vectors : IRQ_MSI_MAX;
    irq->d0 = true;
    forget_fds(&irq->fds);
    *out = irq;
    return 0;
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
    for (unsigned i = 0; i < IRQ_MSI_MAX; i++)
        set_fd(&irq->fds.msi[i], -1);
}

void irq_free(struct irq *irq)
{
    if (irq == NULL)
        return;
    close_fds(irq);
    notifier_free(irq->notifier);
    free(irq);
}

void irq_watch(struct irq *irq, irq_watch_fn fn, void *opaque)
{
    irq->watch = fn;
    irq->watch_opaque = opaque;
}

/* What was pending before is news when it is delivered. */
static enum irq_delivery tell(const struct irq *irq, uint32_t index, uint32_t vector,
                              enum irq_delivery how, bool anew)
{
    if (irq->watch != NULL && (anew || how == IRQ_DELIVERED_EVENTFD))
        irq->watch(irq->watch_opaque, index, vector, how, anew);
    return how;
}

int irq_info(const struct irq *irq, uint32_t index, uint32_t *count, uint32_t *flags)
{
    switch (index) {
    case VFIO_PCI_INTX_IRQ_INDEX:
        *count = 1;
        *flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
        return 0;
    case VFIO_PCI_MSI_IRQ_INDEX:
        *count = irq->msi_vectors;
        *flags = irq->msi_vectors > 0 ? VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE : 0;
        return 0;
    case VFIO_PCI_MSIX_IRQ_INDEX:
        *count = 0;
        *flags = 0;
        return 0;
    case VFIO_PCI_ERR_IRQ_INDEX:
    case VFIO_PCI_REQ_IRQ_INDEX:
        *count = 1;
        *flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
        return 0;
    default:
        return -EINVAL;
    }
}

bool irq_level(const struct irq *irq)
{
    return irq->d0 && irq->state->active != 0;
}

uint64_t irq_count(const struct irq *irq)
{
    return irq->state->count;
}

/* Vectors that the client has set up: one more than the highest with an eventfd. */
static unsigned msi_assigned(const struct irq *irq)
{
    unsigned n = irq->msi_vectors;

    while (n > 0 && irq->fds.msi[n - 1] < 0)
        n--;
    return n;
}

bool irq_msi_in_use(const struct irq *irq)
{
    return irq->msi_enabled || msi_assigned(irq) > 0;
}

static enum irq_delivery signal_intx(struct irq *irq)
{
    struct irq_state *state = irq->state;

    if (irq->stopped)
        return IRQ_PENDING_STOPPED;
    if (!irq->d0)
        return IRQ_PENDING_POWER;
    if (irq->intx_disabled || irq_msi_in_use(irq))
        return IRQ_PENDING_DISABLED;
    if (state->intx_masked)
        return IRQ_PENDING_MASKED;
    if (irq->fds.intx < 0 || notifier_signal(irq->notifier, irq->fds.intx) != 0)
        return IRQ_PENDING_NO_EVENTFD;
    state->intx_pending = 0;
    if (irq->fds.intx_mask >= 0)
        notifier_signal(irq->notifier, irq->fds.intx_mask);
    return IRQ_DELIVERED_EVENTFD;
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

static enum irq_delivery signal_msi(struct irq *irq, unsigned vector)
{
    struct irq_state *state = irq->state;
    uint32_t bit = 1u << vector;

    state->msi_pending |= bit;
    if (irq->stopped)
        return IRQ_PENDING_STOPPED;
    if (!irq->d0)
        return IRQ_PENDING_POWER;
    if ((irq->msi_masked & bit) != 0)
        return IRQ_PENDING_DISABLED;
    if (irq->fds.msi[vector] < 0 || notifier_signal(irq->notifier, irq->fds.msi[vector]) != 0)
        return IRQ_PENDING_NO_EVENTFD;
    state->msi_pending &= ~bit;
    return IRQ_DELIVERED_EVENTFD;
}

static enum irq_delivery trigger_msi(struct irq *irq, unsigned vector, bool anew)
{
    return tell(irq, VFIO_PCI_MSI_IRQ_INDEX, vector, signal_msi(irq, vector), anew);
}

static void retry_msi(struct irq *irq)
{
    for (unsigned i = 0; i < irq->msi_vectors; i++) {
        if ((irq->state->msi_pending & (1u << i)) != 0)
            trigger_msi(irq, i, false);
    }
}

static enum irq_delivery signal_single(struct irq *irq, int fd)
{
    if (irq->stopped)
        return IRQ_PENDING_STOPPED;
    if (fd < 0 || notifier_signal(irq->notifier, fd) != 0)
        return IRQ_PENDING_NO_EVENTFD;
    return IRQ_DELIVERED_EVENTFD;
}

/* ERR or REQ. */
static enum irq_delivery trigger_single(struct irq *irq, uint32_t index, bool anew)
{
    bool is_err = index == VFIO_PCI_ERR_IRQ_INDEX;
    uint8_t *pending = is_err ? &irq->state->err_pending : &irq->state->req_pending;
    enum irq_delivery how = signal_single(irq, is_err ? irq->fds.err : irq->fds.req);

    *pending = how != IRQ_DELIVERED_EVENTFD;
    return tell(irq, index, 0, how, anew);
}

static enum irq_delivery update_msi(struct irq *irq, uint32_t events)
{
    enum irq_delivery how = IRQ_ALREADY_ASSERTED;
    unsigned enabled = msi_assigned(irq);

    if (enabled == 0)
        enabled = irq->msi_vectors;
    for (unsigned source = 0; events != 0 && source < 32; source++) {
        if ((events & (1u << source)) == 0)
            continue;
        irq->state->count++;
        how = trigger_msi(irq, source % enabled, true);
    }
    return how;
}

enum irq_delivery irq_update(struct irq *irq, uint32_t active, uint32_t events)
{
    struct irq_state *state = irq->state;
    uint32_t before = state->active;

    state->active = active;
    if (active == 0)
        state->intx_pending = 0;
    /* A source is an event when it happens, and when what hid it is taken away. */
    events = (events & active) | (active & ~before);
    if (irq_msi_in_use(irq) && irq->msi_vectors > 0)
        return events != 0 ? update_msi(irq, events) : IRQ_PENDING_DISABLED;
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
    uint32_t count;
    uint32_t flags;

    if (irq_info(irq, index, &count, &flags) != 0 || vector >= count)
        return -EINVAL;
    switch (index) {
    case VFIO_PCI_MSI_IRQ_INDEX:
        irq->state->count++;
        *how = trigger_msi(irq, vector, true);
        return 0;
    case VFIO_PCI_ERR_IRQ_INDEX:
    case VFIO_PCI_REQ_IRQ_INDEX:
        *how = trigger_single(irq, index, true);
        return 0;
    default:
        return -EINVAL; /* INTx has no interrupts of its own: it follows the sources */
    }
}

void irq_set_gate(struct irq *irq, bool d0, bool intx_disabled, bool msi_enabled,
                  uint32_t msi_masked)
{
    bool was_open = irq->d0 && !irq->intx_disabled && !irq_msi_in_use(irq);

    if (irq->msi_enabled && !msi_enabled)
        irq->state->msi_pending = 0; /* what waited goes out as INTx, if it is still so */
    irq->d0 = d0;
    irq->intx_disabled = intx_disabled;
    irq->msi_enabled = msi_enabled;
    irq->msi_masked = msi_masked;
    if (!was_open && d0 && !intx_disabled && !irq_msi_in_use(irq))
        reevaluate_intx(irq);
    retry_msi(irq);
}

void irq_reset(struct irq *irq)
{
    uint8_t masked = irq->state->intx_masked;

    *irq->state = (struct irq_state) { .intx_masked = masked };
}

void irq_stop(struct irq *irq)
{
    irq->stopped = true;
}

void irq_start(struct irq *irq)
{
    struct irq_state *state = irq->state;

    irq->stopped = false;
    if (irq_level(irq) && state->intx_pending)
        trigger_intx(irq, false);
    retry_msi(irq);
    if (state->err_pending)
        trigger_single(irq, VFIO_PCI_ERR_IRQ_INDEX, false);
    if (state->req_pending)
        trigger_single(irq, VFIO_PCI_REQ_IRQ_INDEX, false);
}

void irq_load(struct irq *irq, const struct irq_state *state)
{
    uint8_t masked = irq->state->intx_masked;

    *irq->state = *state;
    irq->state->intx_masked = masked;
}

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
        good = good && may_take(fds->msi[i]) && (fds->msi[i] < 0 || i < irq->msi_vectors);
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

static void unmask(struct irq *irq)
{
    irq->state->intx_masked = 0;
    reevaluate_intx(irq);
}

void irq_resample(struct irq *irq)
{
    uint64_t count;
    struct iovec iov = { .iov_base = &count, .iov_len = sizeof(count) };

    /* Without waiting whatever mode the client left the file in, or another reader was faster. */
    if (irq->fds.intx_unmask >= 0 &&
        preadv2(irq->fds.intx_unmask, &iov, 1, -1, RWF_NOWAIT) == (ssize_t)sizeof(count))
        unmask(irq);
}

/* The slot of a vector's trigger eventfd. The range has been checked. */
static int *trigger_slot(struct irq *irq, uint32_t index, uint32_t vector)
{
    switch (index) {
    case VFIO_PCI_INTX_IRQ_INDEX:
        return &irq->fds.intx;
    case VFIO_PCI_MSI_IRQ_INDEX:
        return &irq->fds.msi[vector];
    case VFIO_PCI_ERR_IRQ_INDEX:
        return &irq->fds.err;
    default:
        return &irq->fds.req;
    }
}

/* A vector has a new eventfd: what waited for one goes out. */
static void deliver_waiting(struct irq *irq, uint32_t index)
{
    struct irq_state *state = irq->state;

    switch (index) {
    case VFIO_PCI_INTX_IRQ_INDEX:
        reevaluate_intx(irq);
        break;
    case VFIO_PCI_MSI_IRQ_INDEX:
        retry_msi(irq);
        break;
    case VFIO_PCI_ERR_IRQ_INDEX:
        if (state->err_pending)
            trigger_single(irq, index, false);
        break;
    default:
        if (state->req_pending)
            trigger_single(irq, index, false);
        break;
    }
}

static int set_eventfds(struct irq *irq, uint32_t action, uint32_t index, uint32_t start,
                        uint32_t count, int *fds, unsigned nfds)
{
    bool msi_before = irq_msi_in_use(irq);

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
        deliver_waiting(irq, index);
        /* Without its last vector, MSI gives the line back. */
        if (index == VFIO_PCI_MSI_IRQ_INDEX && msi_before && !irq_msi_in_use(irq))
            reevaluate_intx(irq);
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
        unmask(irq);
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
    if (index == VFIO_PCI_MSI_IRQ_INDEX && !irq->msi_enabled)
        irq->state->msi_pending = 0;
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
