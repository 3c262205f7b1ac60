/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps with the timer and all kinds of interrupts. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "registers.h"
#include "steps.h"

#define NS_PER_S  1000000000ll
#define NS_PER_MS 1000000ll
#define NS_PER_US 1000ll
#define INTX      VFIO_PCI_INTX_IRQ_INDEX
#define MSI       VFIO_PCI_MSI_IRQ_INDEX
#define TRIGGER   VFIO_IRQ_SET_ACTION_TRIGGER
#define MASK      VFIO_IRQ_SET_ACTION_MASK
#define UNMASK    VFIO_IRQ_SET_ACTION_UNMASK

static const uint8_t no = 0;
static const uint8_t yes = 1;

/*
 * INTx
 */

/* An eventfd that is taken away: what comes then waits for another one. */
static void try_other_eventfd(struct walk *w)
{
    int other = walk_eventfd(w);

    walk_disable(w, "INTx: taking the eventfd away", INTX);
    walk_fire_timer(w);
    walk_expect_quiet(w, "INTx: an eventfd that was taken away", w->intx);
    walk_assign(w, "INTx: assigning another eventfd", INTX, 0, 1, &other);
    walk_expect_irq(w, "INTx: the interrupt that waited for an eventfd", other);
    walk_expect_quiet(w, "INTx: the first eventfd", w->intx);
    walk_acknowledge(w);
    walk_say(w, "taken away, the timer's interrupt waits; it comes with the next eventfd");
    walk_assign(w, "INTx: assigning the first eventfd again", INTX, 0, 1, &w->intx);
    walk_close_eventfd(w, other);
}

/*
 * A loop-back is a test of an eventfd, of which there is none. EVENTFD without an fd, and DATA_NONE
 * with count 0, take away what is not there.
 */
static void try_without_fds(struct walk *w)
{
    walk_set_irq(w, "INTx: loop-back without an eventfd", TRIGGER, INTX, NULL);
    walk_expect_quiet(w, "INTx: loop-back without an eventfd", w->intx);
    walk_fire_timer(w);
    walk_expect_irq(w, "INTx: the timer's interrupt by message", w->intx);
    walk_acknowledge(w);
    if (!walk_failed(w))
        walk_expect_err(w, "INTx: EVENTFD without an fd", 0,
                        client_set_irqs(w->client, VFIO_IRQ_SET_DATA_EVENTFD | TRIGGER, INTX, 0, 1,
                                        NULL, NULL, 0));
    walk_disable(w, "INTx: DATA_NONE with count 0", INTX);
    walk_fire_timer(w);
    walk_expect_irq(w, "INTx: the timer's interrupt by message again", w->intx);
    walk_acknowledge(w);
    walk_say(w,
             "the timer's interrupt comes by message; a loop-back, which tests eventfds, does not");
    walk_say(w, "EVENTFD without an fd takes away what is not there: messages go on");
}

static void try_loop_back(struct walk *w)
{
    walk_set_irq(w, "INTx: loop-back with DATA_NONE", TRIGGER, INTX, NULL);
    walk_expect_irq(w, "INTx: loop-back with DATA_NONE", w->intx);
    walk_set_irq(w, "INTx: loop-back with DATA_BOOL", TRIGGER, INTX, &yes);
    walk_expect_irq(w, "INTx: loop-back with DATA_BOOL", w->intx);
    walk_set_irq(w, "INTx: loop-back with DATA_BOOL 0", TRIGGER, INTX, &no);
    walk_expect_quiet(w, "INTx: loop-back with DATA_BOOL 0", w->intx);
    walk_say(w, "an eventfd assigned; loop-back with DATA_NONE and DATA_BOOL arrives");
}

void step_intx(struct walk *w)
{
    walk_ready_intx(w);
    if (w->no_fds) {
        try_without_fds(w);
    } else {
        try_loop_back(w);
        try_other_eventfd(w);
    }
}

/* What the register reads is now − written, by a clock that both sides read. */
static void expect_elapsed(struct walk *w, const char *what, uint64_t reg, int64_t written,
                           int64_t unit)
{
    int64_t before = walk_now() / unit;
    int64_t elapsed = (int64_t)walk_get64(w, reg);
    int64_t after = walk_now() / unit;
    char text[64];

    if (walk_failed(w) || (elapsed >= before - written && elapsed <= after - written))
        return;
    snprintf(text, sizeof(text), "%lld to %lld", (long long)(before - written),
             (long long)(after - written));
    walk_fail(w, what, text, "%lld", (long long)elapsed);
}

static void expect_fired(struct walk *w, int64_t deadline)
{
    int64_t fired;

    walk_expect_irq(w, "the timer's interrupt", w->intx);
    walk_expect(w, "IRQ_STATUS with the timer fired", IRQ_TIMER, walk_get32(w, REG_IRQ_STATUS));
    fired = (int64_t)walk_get64(w, REG_FIRED_NSEC);
    if (!walk_failed(w) && (fired < deadline || fired > walk_now()))
        walk_fail(w, "FIRED_NSEC", "a time between the deadline and now", "%lld ns after it",
                  (long long)(fired - deadline));
    walk_say(w, "armed 50 ms ahead: fired %lld us after its deadline",
             (long long)((fired - deadline) / NS_PER_US));
}

void step_timer(struct walk *w)
{
    uint64_t count;
    int64_t deadline;
    int64_t past;

    walk_ready_intx(w);
    count = walk_get64(w, REG_IRQ_COUNT);
    deadline = walk_now() + 50 * NS_PER_MS;
    walk_put64(w, REG_TIMER_NSEC, (uint64_t)deadline);
    expect_elapsed(w, "TIMER_NSEC", REG_TIMER_NSEC, deadline, 1);
    expect_fired(w, deadline);
    walk_expect(w, "IRQ_COUNT", count + 1, walk_get64(w, REG_IRQ_COUNT));
    walk_acknowledge(w);
    past = walk_now() / NS_PER_S - 10;
    walk_put64(w, REG_TIMER_SEC, (uint64_t)past);
    walk_expect_irq(w, "the timer, armed in the past", w->intx);
    expect_elapsed(w, "TIMER_SEC", REG_TIMER_SEC, past, NS_PER_S);
    walk_put64(w, REG_TIMER_SEC, (uint64_t)past);
    walk_expect_irq(w, "the timer, armed again and not acknowledged", w->intx);
    walk_say(w, "armed 10 s in the past, twice: fired at once each time");
    walk_put64(w, REG_TIMER_SEC, (uint64_t)past + 3600);
    walk_put64(w, REG_TIMER_SEC, 0);
    walk_expect(w, "IRQ_STATUS, disarmed", 0, walk_get32(w, REG_IRQ_STATUS));
    walk_expect_quiet(w, "the timer, disarmed", w->intx);
}

void step_level(struct walk *w)
{
    walk_ready_intx(w);
    walk_fire_timer(w);
    walk_expect_irq(w, "the timer's interrupt", w->intx);
    walk_set_irq(w, "UNMASK with the level high", UNMASK, INTX, NULL);
    walk_expect_irq(w, "UNMASK with the level high", w->intx);
    walk_expect(w, "Interrupt Status in PCI Status, level high", PCI_STATUS_INTERRUPT,
                walk_config_get16(w, PCI_STATUS) & PCI_STATUS_INTERRUPT);
    walk_acknowledge(w);
    walk_expect(w, "Interrupt Status in PCI Status, level low", 0,
                walk_config_get16(w, PCI_STATUS) & PCI_STATUS_INTERRUPT);
    walk_set_irq(w, "UNMASK with the level low", UNMASK, INTX, NULL);
    walk_expect_quiet(w, "UNMASK with the level low", w->intx);
    walk_say(w, "unmasking with the level high triggers again, after an acknowledge it does not");
    walk_put32(w, REG_IRQ_ENABLE, 0);
    walk_fire_timer(w);
    walk_expect_quiet(w, "with IRQ_ENABLE 0", w->intx);
    walk_expect(w, "IRQ_STATUS with IRQ_ENABLE 0", IRQ_TIMER, walk_get32(w, REG_IRQ_STATUS));
    walk_put32(w, REG_IRQ_ENABLE, UINT32_MAX);
    walk_expect_irq(w, "enabling what is pending", w->intx);
    walk_acknowledge(w);
    walk_say(w, "IRQ_ENABLE keeps the line low, Interrupt Status shows the level");
}

void step_mask(struct walk *w)
{
    walk_ready_intx(w);
    walk_set_irq(w, "MASK with DATA_NONE", MASK, INTX, NULL);
    walk_fire_timer(w);
    walk_expect_quiet(w, "masked with DATA_NONE", w->intx);
    walk_set_irq(w, "UNMASK with DATA_NONE", UNMASK, INTX, NULL);
    walk_expect_irq(w, "unmasked with DATA_NONE", w->intx);
    walk_acknowledge(w);
    walk_set_irq(w, "MASK with DATA_BOOL 0", MASK, INTX, &no);
    walk_fire_timer(w);
    walk_expect_irq(w, "MASK with DATA_BOOL 0, which does nothing", w->intx);
    walk_acknowledge(w);
    walk_set_irq(w, "MASK with DATA_BOOL", MASK, INTX, &yes);
    walk_fire_timer(w);
    walk_expect_quiet(w, "masked with DATA_BOOL", w->intx);
    walk_set_irq(w, "UNMASK with DATA_BOOL 0", UNMASK, INTX, &no);
    walk_expect_quiet(w, "UNMASK with DATA_BOOL 0, which does nothing", w->intx);
    walk_set_irq(w, "UNMASK with DATA_BOOL", UNMASK, INTX, &yes);
    walk_expect_irq(w, "unmasked with DATA_BOOL", w->intx);
    walk_acknowledge(w);
    walk_say(w, "masked, the interrupt waits; unmasked, it comes (DATA_NONE and DATA_BOOL)");
}

/* What KVM does at the guest's end of interrupt: it signals an eventfd instead of a message. */
static void set_unmask_eventfd(struct walk *w, const char *what, const int *fd)
{
    if (!walk_failed(w))
        walk_expect_err(w, what, 0,
                        client_set_irqs(w->client, VFIO_IRQ_SET_DATA_EVENTFD | UNMASK, INTX, 0, 1,
                                        NULL, fd, fd != NULL ? 1 : 0));
}

void step_unmask_eventfd(struct walk *w)
{
    const uint64_t one = 1;
    int fd;

    if (w->no_fds) {
        set_unmask_eventfd(w, "UNMASK without an fd", NULL);
        walk_say(w, "left out: it would be passed");
        return;
    }
    fd = walk_eventfd(w);
    walk_ready_intx(w);
    set_unmask_eventfd(w, "assigning an eventfd to UNMASK", &fd);
    walk_fire_timer(w);
    walk_expect_irq(w, "the timer's interrupt", w->intx);
    if (!walk_failed(w) && write(fd, &one, sizeof(one)) != sizeof(one))
        walk_expect_err(w, "signalling an eventfd", 0, -errno);
    walk_expect_irq(w, "the UNMASK eventfd with the level high", w->intx);
    walk_acknowledge(w);
    set_unmask_eventfd(w, "taking UNMASK's eventfd away", NULL);
    walk_say(w, "an eventfd that unmasks: signalled with the level high, it triggers again");
    if (fd >= 0)
        close(fd);
}

void step_intx_disable(struct walk *w)
{
    walk_ready_intx(w);
    walk_command(w, PCI_COMMAND_INTX_DISABLE, 0);
    walk_fire_timer(w);
    walk_expect_quiet(w, "with INTx Disable set", w->intx);
    walk_expect(w, "Interrupt Status with INTx Disable set", PCI_STATUS_INTERRUPT,
                walk_config_get16(w, PCI_STATUS) & PCI_STATUS_INTERRUPT);
    walk_command(w, 0, PCI_COMMAND_INTX_DISABLE);
    walk_expect_irq(w, "INTx Disable cleared with the level high", w->intx);
    walk_acknowledge(w);
    walk_say(w, "set, the interrupt waits and Interrupt Status shows it; cleared, it comes");
}

/*
 * The other kinds
 */

static void try_single(struct walk *w, const char *name, uint32_t index)
{
    int fd = walk_eventfd(w);

    walk_expect(w, name, 1, w->irq_vectors[index]);
    walk_assign(w, name, index, 0, 1, &fd);
    walk_expect_quiet(w, name, fd);
    walk_set_irq(w, name, TRIGGER, index, NULL);
    walk_expect_irq(w, name, fd);
    walk_disable(w, name, index);
    walk_set_irq(w, name, TRIGGER, index, NULL);
    walk_expect_quiet(w, name, fd);
    walk_close_eventfd(w, fd);
}

void step_err_req(struct walk *w)
{
    if (w->no_fds) {
        walk_say(w, "left out: only eventfds can be tested from here");
        return;
    }
    try_single(w, "ERR", VFIO_PCI_ERR_IRQ_INDEX);
    try_single(w, "REQ", VFIO_PCI_REQ_IRQ_INDEX);
    walk_say(w, "eventfds assigned, loop-back arrives, taken away again");
}

/* The last vector alone, so that the timer's has no eventfd yet. */
static void msi_with_some(struct walk *w, const int *fds, uint32_t n)
{
    walk_assign(w, "MSI: assigning the last vector", MSI, n - 1, 1, &fds[n - 1]);
    walk_fire_timer(w);
    if (n > 1)
        walk_expect_quiet(w, "MSI: the last vector, when the timer fires", fds[n - 1]);
    walk_assign(w, "MSI: assigning all vectors", MSI, 0, n, fds);
    walk_expect_irq(w, "MSI: vector 0, which waited for its eventfd", fds[0]);
    walk_say(w, "the last vector first: the timer's message waits for vector 0 and comes with it");
}

static void msi_with_all(struct walk *w, const int *fds, uint32_t n)
{
    uint16_t control = walk_config_get16(w, w->msi + PCI_MSI_FLAGS);

    walk_config_put16(w, w->msi + PCI_MSI_FLAGS, control | PCI_MSI_FLAGS_ENABLE);
    for (unsigned i = 0; i < 2; i++) {
        walk_fire_timer(w);
        walk_expect_irq(w, "MSI: vector 0, not acknowledged in between", fds[0]);
    }
    for (uint32_t i = 1; i < n; i++)
        walk_expect_quiet(w, "MSI: the other vectors", fds[i]);
    walk_set_irq(w, "UNMASK of INTx while MSI is on", UNMASK, INTX, NULL);
    walk_expect_quiet(w, "INTx while MSI is on", w->intx);
    walk_config_put16(w, w->msi + PCI_MSI_FLAGS, control);
    walk_say(w, "all %u vectors: vector 0 for each deadline, INTx is quiet", n);
}

void step_msi(struct walk *w)
{
    uint32_t n = w->irq_vectors[MSI];
    int fds[WALK_MAX_VECTORS];

    if (n == 0) {
        walk_say(w, "left out: the device has no MSI vectors");
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        fds[i] = walk_eventfd(w);
    walk_ready_intx(w);
    if (w->no_fds)
        walk_route(w, MSI, 0, n, fds);
    else
        msi_with_some(w, fds, n);
    msi_with_all(w, fds, n);
    if (!w->no_fds)
        walk_disable(w, "MSI: taking all eventfds away", MSI);
    walk_expect_irq(w, "INTx, when MSI is off and the level is high", w->intx);
    walk_acknowledge(w);
    walk_say(w, "%s: the line takes over", w->no_fds ? "disabled" : "disabled with count 0");
    for (uint32_t i = 0; i < n; i++)
        walk_close_eventfd(w, fds[i]);
}
