/* SPDX-License-Identifier: BSD-3-Clause */
/* An irq with one eventfd for its line: what the tests of irq.c begin with. */
#ifndef VFIO_USERD_TEST_IRQ_KIT_H
#define VFIO_USERD_TEST_IRQ_KIT_H

#include <check.h>
#include <unistd.h>

#include "device/irq.h"
#include "unit/fakes.h"

#define INTX VFIO_PCI_INTX_IRQ_INDEX
#define MSI  VFIO_PCI_MSI_IRQ_INDEX
#define MSIX VFIO_PCI_MSIX_IRQ_INDEX
#define ERR  VFIO_PCI_ERR_IRQ_INDEX
#define REQ  VFIO_PCI_REQ_IRQ_INDEX

#define NONE    VFIO_IRQ_SET_DATA_NONE
#define BOOL    VFIO_IRQ_SET_DATA_BOOL
#define EVENTFD VFIO_IRQ_SET_DATA_EVENTFD
#define TRIGGER VFIO_IRQ_SET_ACTION_TRIGGER
#define MASK    VFIO_IRQ_SET_ACTION_MASK
#define UNMASK  VFIO_IRQ_SET_ACTION_UNMASK

struct line {
    struct irq_state state;
    struct irq *irq;
    int fd; /* the INTx eventfd */
};

static inline void line_init_vectors(struct line *l, const struct irq_vectors *vectors)
{
    *l = (struct line) { .fd = fake_eventfd() };
    ck_assert_int_eq(irq_new(&l->state, vectors, &l->irq), 0);
}

static inline void line_init(struct line *l, unsigned msi_vectors)
{
    const struct irq_vectors vectors = { .msi = msi_vectors };

    line_init_vectors(l, &vectors);
}

static inline void line_fini(struct line *l)
{
    irq_free(l->irq);
    close(l->fd);
}

static inline int set_none(struct line *l, uint32_t action, uint32_t index, uint32_t start,
                           uint32_t count)
{
    return irq_set(l->irq, NONE | action, index, start, count, NULL, NULL, 0);
}

static inline void give_msi(struct line *l, int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        fds[i] = fake_eventfd();
        fake_give_eventfd(l->irq, TRIGGER, MSI, i, fds[i]);
    }
}

static inline void expect_msi(const int *fds, unsigned n, const uint64_t *counts)
{
    for (unsigned i = 0; i < n; i++)
        ck_assert_uint_eq(fake_signals(fds[i]), counts[i]);
}

static inline void close_all(const int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
}

#endif
