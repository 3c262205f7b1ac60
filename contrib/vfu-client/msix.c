/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The step with MSI-X: first as a VMM that keeps the table to itself, with eventfds alone, then
 * with the table and the pending bits in the device's BAR.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>

#include "registers.h"
#include "steps.h"

#define INTX    VFIO_PCI_INTX_IRQ_INDEX
#define MSIX    VFIO_PCI_MSIX_IRQ_INDEX
#define TRIGGER VFIO_IRQ_SET_ACTION_TRIGGER
#define ADDRESS 0xfee01000u
#define DATA    0x4041u

/* Where things are. */
struct msix {
    uint32_t n;
    uint32_t bar;
    uint32_t table; /* offsets in the BAR */
    uint32_t pba;
    int fds[WALK_MAX_VECTORS];
};

static uint32_t get_word(struct walk *w, const struct msix *m, uint32_t vector, uint32_t offset)
{
    return (uint32_t)walk_get(w, m->bar, m->table + vector * PCI_MSIX_ENTRY_SIZE + offset, 4);
}

static void put_word(struct walk *w, const struct msix *m, uint32_t vector, uint32_t offset,
                     uint32_t value)
{
    walk_put(w, m->bar, m->table + vector * PCI_MSIX_ENTRY_SIZE + offset, 4, value);
}

static void put_control(struct walk *w, const struct msix *m, uint32_t vector, uint32_t value)
{
    put_word(w, m, vector, PCI_MSIX_ENTRY_VECTOR_CTRL, value);
}

static void expect_pending(struct walk *w, const struct msix *m, const char *what, uint64_t bits)
{
    walk_expect(w, what, bits, walk_get(w, m->bar, m->pba, 8));
}

static void find(struct walk *w, struct msix *m)
{
    uint32_t table =
        (uint32_t)walk_get(w, VFIO_PCI_CONFIG_REGION_INDEX, w->msix + PCI_MSIX_TABLE, 4);
    uint32_t pba = (uint32_t)walk_get(w, VFIO_PCI_CONFIG_REGION_INDEX, w->msix + PCI_MSIX_PBA, 4);
    uint16_t flags = walk_config_get16(w, w->msix + PCI_MSIX_FLAGS);
    uint64_t size;

    m->n = w->irq_vectors[MSIX];
    m->bar = table & PCI_MSIX_TABLE_BIR;
    m->table = table & ~(uint32_t)PCI_MSIX_TABLE_BIR;
    m->pba = pba & ~(uint32_t)PCI_MSIX_PBA_BIR;
    walk_expect(w, "Table Size of MSI-X", m->n, (flags & PCI_MSIX_FLAGS_QSIZE) + 1u);
    walk_expect(w, "the BAR of the pending bits", m->bar, pba & PCI_MSIX_PBA_BIR);
    if (!walk_failed(w) && (m->bar < 2 || m->bar > 5))
        walk_fail(w, "the BAR of MSI-X's table", "2 to 5", "%u", m->bar);
    if (walk_failed(w))
        return;
    size = w->region_size[m->bar];
    if (m->table + (uint64_t)m->n * PCI_MSIX_ENTRY_SIZE > size || m->pba + 8ull > size)
        walk_fail(w, "MSI-X's table and pending bits", "them inside their BAR", "0x%x and 0x%x",
                  m->table, m->pba);
    walk_say(w, "%u vectors, table at BAR%u + 0x%x, pending bits at 0x%x", m->n, m->bar, m->table,
             m->pba);
}

/* The last vector alone, so that the timer's has no eventfd yet. */
static void with_some(struct walk *w, const struct msix *m)
{
    walk_assign(w, "MSI-X: assigning the last vector", MSIX, m->n - 1, 1, &m->fds[m->n - 1]);
    if (m->n > 1) {
        walk_fire_timer(w);
        walk_expect_quiet(w, "MSI-X: the last vector, when the timer fires", m->fds[m->n - 1]);
        expect_pending(w, m, "pending bits with vector 0 waiting for an eventfd", 1);
        walk_assign(w, "MSI-X: assigning all vectors", MSIX, 0, m->n, m->fds);
        walk_expect_irq(w, "MSI-X: vector 0, which waited for its eventfd", m->fds[0]);
    }
    expect_pending(w, m, "pending bits with nothing waiting", 0);
    walk_fire_timer(w);
    walk_expect_irq(w, "MSI-X: vector 0 by eventfd, the table never written", m->fds[0]);
    walk_say(w, "eventfds without the table: vector 0 waits for its own, a pending bit shows it");
}

static void try_table(struct walk *w, const struct msix *m)
{
    uint16_t half = 0;

    for (uint32_t i = 0; i < m->n && !walk_failed(w); i++) {
        walk_expect(w, "Vector Control after reset, which masks", PCI_MSIX_ENTRY_CTRL_MASKBIT,
                    get_word(w, m, i, PCI_MSIX_ENTRY_VECTOR_CTRL));
        put_word(w, m, i, PCI_MSIX_ENTRY_LOWER_ADDR, ADDRESS | 3);
        put_word(w, m, i, PCI_MSIX_ENTRY_UPPER_ADDR, i);
        put_word(w, m, i, PCI_MSIX_ENTRY_DATA, DATA + i);
        put_control(w, m, i, UINT32_MAX - 1);
    }
    for (uint32_t i = 0; i < m->n && !walk_failed(w); i++) {
        walk_expect(w, "Message Address", ADDRESS, get_word(w, m, i, PCI_MSIX_ENTRY_LOWER_ADDR));
        walk_expect(w, "Message Upper Address", i, get_word(w, m, i, PCI_MSIX_ENTRY_UPPER_ADDR));
        walk_expect(w, "Message Data", DATA + i, get_word(w, m, i, PCI_MSIX_ENTRY_DATA));
        walk_expect(w, "Vector Control, unmasked", 0,
                    get_word(w, m, i, PCI_MSIX_ENTRY_VECTOR_CTRL));
    }
    if (!walk_failed(w))
        walk_expect_err(w, "a write of 2 bytes of the table", -EINVAL,
                        client_region_write(w->client, m->bar, m->table, &half, sizeof(half)));
    walk_put(w, m->bar, m->pba, 8, UINT64_MAX);
    expect_pending(w, m, "pending bits, which are read-only", 0);
    walk_say(w, "all entries masked after reset; they hold what is written");
}

static void try_masks(struct walk *w, const struct msix *m)
{
    uint16_t control = walk_config_get16(w, w->msix + PCI_MSIX_FLAGS);

    walk_fire_timer(w);
    walk_expect_irq(w, "MSI-X: vector 0, enabled and not masked", m->fds[0]);
    put_control(w, m, 0, PCI_MSIX_ENTRY_CTRL_MASKBIT);
    walk_fire_timer(w);
    walk_expect_quiet(w, "MSI-X: vector 0, masked", m->fds[0]);
    expect_pending(w, m, "pending bits with vector 0 masked", 1);
    put_control(w, m, 0, 0);
    walk_expect_irq(w, "MSI-X: vector 0, unmasked", m->fds[0]);
    walk_config_put16(w, w->msix + PCI_MSIX_FLAGS, control | PCI_MSIX_FLAGS_MASKALL);
    walk_fire_timer(w);
    walk_expect_quiet(w, "MSI-X: vector 0 with the Function Mask", m->fds[0]);
    expect_pending(w, m, "pending bits with the Function Mask", 1);
    walk_config_put16(w, w->msix + PCI_MSIX_FLAGS, control);
    walk_expect_irq(w, "MSI-X: vector 0 without the Function Mask", m->fds[0]);
    expect_pending(w, m, "pending bits with nothing waiting", 0);
    if (!w->no_fds) {
        walk_set_irq(w, "MSI-X: loop-back", TRIGGER, MSIX, NULL);
        walk_expect_irq(w, "MSI-X: loop-back", m->fds[0]);
    }
    for (uint32_t i = 1; i < m->n; i++)
        walk_expect_quiet(w, "MSI-X: the other vectors", m->fds[i]);
    walk_expect_quiet(w, "INTx while MSI-X is on", w->intx);
    walk_say(w, "masked, or all of them: vector 0 waits, a pending bit shows it; then it comes");
}

void step_msix(struct walk *w)
{
    struct msix m = { 0 };
    uint16_t control;

    if (w->irq_vectors[MSIX] == 0) {
        walk_say(w, "left out: the device has no MSI-X vectors");
        return;
    }
    find(w, &m);
    for (uint32_t i = 0; i < m.n; i++)
        m.fds[i] = walk_eventfd(w);
    walk_ready_intx(w);
    control = walk_config_get16(w, w->msix + PCI_MSIX_FLAGS);
    if (w->no_fds)
        walk_route(w, MSIX, 0, m.n, m.fds);
    else
        with_some(w, &m);
    try_table(w, &m);
    walk_config_put16(w, w->msix + PCI_MSIX_FLAGS, control | PCI_MSIX_FLAGS_ENABLE);
    try_masks(w, &m);
    walk_config_put16(w, w->msix + PCI_MSIX_FLAGS, control);
    if (!w->no_fds)
        walk_disable(w, "MSI-X: taking all eventfds away", MSIX);
    walk_expect_irq(w, "INTx, when MSI-X is off and the level is high", w->intx);
    walk_acknowledge(w);
    walk_say(w, "disabled: the line takes over");
    for (uint32_t i = 0; i < m.n; i++)
        walk_close_eventfd(w, m.fds[i]);
}
