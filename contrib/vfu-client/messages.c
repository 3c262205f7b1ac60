/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The step with interrupts by message beside eventfds. Those before it have not offered them, so
 * that an interrupt without an eventfd waits: it makes a connection of its own, which stays.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "registers.h"
#include "steps.h"

#define INTX       VFIO_PCI_INTX_IRQ_INDEX
#define TRIES      500
#define TRY_US     10000
#define DOORBELL   0x3e55a6e
#define PATIENT_MS 50

/* The server may not have seen yet that the first connection is closed. */
static int connect_again(struct walk *w)
{
    struct version_caps ours;
    int err = -EBUSY;

    setup_caps(w, &ours);
    for (int i = 0; i < TRIES && err == -EBUSY; i++) {
        if (w->client != NULL)
            usleep(TRY_US);
        client_free(w->client);
        w->client = NULL;
        err = client_connect(w->socket_path, &w->client);
        if (err != 0)
            return err;
        walk_attach(w);
        err = client_negotiate(w->client, &ours, &w->server);
    }
    return err;
}

static void reconnect(struct walk *w)
{
    walk_put32(w, REG_DOORBELL, DOORBELL);
    if (walk_failed(w))
        return;
    client_free(w->client);
    w->client = NULL;
    w->messages = true;
    walk_expect_err(w, "connecting and negotiating again", 0, connect_again(w));
    walk_expect(w, "DOORBELL for the next client", DOORBELL, walk_get32(w, REG_DOORBELL));
}

/* messages: the eventfd of ours that they signal. */
static void without_eventfd(struct walk *w, int messages)
{
    walk_acknowledge(w);
    walk_ignore_irq(w, messages);
    walk_fire_timer(w);
    walk_expect_irq(w, "the timer's interrupt by message", messages);
    walk_set_irq(w, "UNMASK with the level high", VFIO_IRQ_SET_ACTION_UNMASK, INTX, NULL);
    walk_expect_irq(w, "UNMASK with the level high, by message", messages);
    walk_acknowledge(w);
    walk_set_irq(w, "MASK", VFIO_IRQ_SET_ACTION_MASK, INTX, NULL);
    walk_fire_timer(w);
    walk_expect_quiet(w, "masked, by message", messages);
    walk_set_irq(w, "UNMASK", VFIO_IRQ_SET_ACTION_UNMASK, INTX, NULL);
    walk_expect_irq(w, "unmasked, by message", messages);
    walk_acknowledge(w);
    walk_say(w, "without an eventfd INTx comes as VM_INTERRUPT; masked, it waits");
}

/* Either it is followed by the message, or there is none. */
static void with_eventfd(struct walk *w, int messages)
{
    uint64_t before;
    bool both;
    int err;

    walk_ready_intx(w);
    before = w->irq_messages;
    walk_fire_timer(w);
    err = walk_failed(w) ? 0 : client_serve(w->client, messages, PATIENT_MS);
    both = err == 0;
    if (err != -ETIMEDOUT)
        walk_expect_err(w, "waiting", 0, err);
    /* When a message is here, the eventfd has been signalled. */
    walk_expect_irq_within(w, "the timer's interrupt by eventfd", w->intx,
                           both ? 0 : WALK_IRQ_TIMEOUT_MS);
    if (both)
        walk_expect_irq(w, "the message after the eventfd", messages);
    walk_expect_quiet(w, "the message a second time", messages);
    walk_expect(w, "messages for an interrupt with an eventfd", both, w->irq_messages - before);
    walk_acknowledge(w);
    walk_say(w, both ? "with one: first the eventfd, then the message"
                     : "with one: the eventfd alone");
}

static void after_eventfd(struct walk *w, int messages)
{
    walk_disable(w, "INTx: taking the eventfd away", INTX);
    walk_fire_timer(w);
    walk_expect_irq(w, "by message again", messages);
    walk_expect_quiet(w, "INTx: an eventfd that was taken away", w->intx);
    walk_acknowledge(w);
    walk_say(w, "taken away: by message again");
}

void step_interrupt_messages(struct walk *w)
{
    int messages = -1;

    if (w->no_fds) {
        walk_say(w, "%llu interrupts came by message so far, no fd came",
                 (unsigned long long)w->irq_messages);
        return;
    }
    reconnect(w);
    if (!walk_failed(w) && !w->server.vm_interrupt) {
        walk_say(w, "left out: not negotiated");
        w->messages = false;
        return;
    }
    messages = walk_eventfd(w);
    walk_route(w, INTX, 0, 1, &messages);
    without_eventfd(w, messages);
    with_eventfd(w, messages);
    after_eventfd(w, messages);
    walk_close_eventfd(w, messages);
}
