/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What irq.c, which triggers, and irq_set.c, which does what the client asks for, share. For nobody
 * else.
 */
#ifndef VFIO_USERD_IRQ_PRIVATE_H
#define VFIO_USERD_IRQ_PRIVATE_H

#include "irq.h"

struct notifier;

struct irq {
    struct irq_state *state;
    struct notifier *notifier;
    struct irq_vectors vectors;
    struct irq_messenger messenger;
    irq_watch_fn watch; /* NULL: nobody is told */
    void *watch_opaque;
    struct irq_gate gate;
    struct irq_fds fds; /* the client's */
    bool stopped;
};

/* The client's UNMASK of INTx. */
void irq_unmask(struct irq *irq);

/* A vector of index has a new eventfd, or INTx may go out (again): what waited goes out. */
void irq_deliver_waiting(struct irq *irq, uint32_t index);

#endif
