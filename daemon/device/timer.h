/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's own function: the registers of BAR0 (timer, interrupt status, DMA engine, doorbell)
 * and the self-test DMA. Register table and rules: the README's section "The device". Knows
 * nothing of sockets, clocks' file descriptors or the loop: the time and the wake-up come through
 * struct timer_host.
 */
#ifndef VFIO_USERD_TIMER_H
#define VFIO_USERD_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dma.h"
#include "irq.h"

#define TIMER_BAR0_SIZE 4096u

/* Bits of IRQ_STATUS and IRQ_ENABLE; bit n raises MSI vector n. */
#define TIMER_IRQ_TIMER    (1u << 0)
#define TIMER_IRQ_SOFTWARE (1u << 1)
#define TIMER_IRQ_DMA      (1u << 2)

/* The register that may be rung without a message. */
#define TIMER_DOORBELL      0x800u
#define TIMER_DOORBELL_SIZE 4u

/* DMA_CONTROL as it is read; a failure's errno is added to TIMER_DMA_FAILED. */
#define TIMER_DMA_IDLE   0u
#define TIMER_DMA_BUSY   1u
#define TIMER_DMA_FAILED 0x80000000u

/* And what is written to it. */
#define TIMER_DMA_CMD_READ  1u /* guest -> BAR1 */
#define TIMER_DMA_CMD_WRITE 2u /* BAR1 -> guest */

/* Number of 64-bit registers. */
#define TIMER_WIDE_REGS 7

/* Guest-visible; part of the state block. Nanoseconds since the Epoch. */
struct timer_state {
    int64_t deadline;  /* 0: not armed */
    int64_t written_s; /* what TIMER_SEC and TIMER_NSEC count from */
    int64_t written_ns;
    int64_t fired; /* FIRED_NSEC */
    uint64_t dma_iova;
    uint64_t dma_offset;
    uint32_t dma_length;
    uint32_t dma_control; /* as read; 1: a transfer is under way, or to be gone on with */
    uint32_t irq_status;
    uint32_t irq_enable;
    uint32_t doorbell;
    uint32_t doorbell_count;
    uint32_t doorbell_trapped;
    uint32_t dma_command;   /* what was written to DMA_CONTROL */
    uint64_t engine_iova;   /* of the transfer that was started last: the registers */
    uint64_t engine_offset; /* may have been written since */
    uint32_t engine_length;
    uint32_t engine_progress;          /* bytes done, kept when the device is stopped */
    uint64_t staged[TIMER_WIDE_REGS];  /* of 64-bit registers whose last byte is not written yet */
    uint64_t latched[TIMER_WIDE_REGS]; /* of those whose first bytes were read: what the rest is */
    uint16_t staged_mask;              /* a bit for each that has something staged */
    uint16_t latched_mask;             /* and latched */
    uint8_t self_test;                 /* 1: begun and not ended */
    uint8_t reserved[3];
};

/* The world outside. */
struct timer_host {
    void *opaque;
    int64_t (*now)(void *opaque);                    /* CLOCK_REALTIME in ns */
    void (*wake_at)(void *opaque, int64_t deadline); /* call timer_wake then; 0: not at all */
};

/* What the timer works with; all outlive it. */
struct timer_parts {
    struct timer_state *state;
    struct irq *irq;
    struct dma *dma;
    uint8_t *bar1;
    uint64_t bar1_size;
    bool (*may_dma)(void *opaque); /* Bus Master Enable, with host.opaque */
    struct timer_host host;
    bool dma_on_irq;
};

struct timer;

int timer_new(const struct timer_parts *parts, struct timer **out);
void timer_free(struct timer *t);

/* Registers as after power-on; transfers under way are dropped. */
void timer_reset(struct timer *t);

/*
 * Access to BAR0. Returns 0, or -EINVAL for an access that is not 1, 2, 4 or 8 bytes, naturally
 * aligned, inside one register, and -EBUSY for a DMA command while one is under way: nothing has
 * changed then.
 */
int timer_read(struct timer *t, uint64_t offset, void *data, uint32_t count);
int timer_write(struct timer *t, uint64_t offset, const void *data, uint32_t count);

/* Bus Master is off, or the device not in D0: the engine's transfer ends with ENODEV. */
void timer_stop_dma(struct timer *t);

/* Fires what is due, and asks to be woken for what is not. */
void timer_wake(struct timer *t);

/*
 * The device stops: no deadline fires and no DMA is begun until timer_start, which fires what has
 * become due, and goes on with the transfer and the self-test that the state speaks of. DMA that
 * waits for an answer is forgotten, and asked for again then. A device that is stopped must have no
 * DMA started.
 */
void timer_stop(struct timer *t);
void timer_start(struct timer *t);

/* Stopped no longer, but the state's deadline, transfer and self-test wait for timer_start. */
void timer_unfreeze(struct timer *t);

/*
 * Another process has told the guest of the end of a transfer in the step that was executed again,
 * and that did not come to it now: if the state speaks of one, it is over.
 */
void timer_passed(struct timer *t);

/*
 * The name of the first field of a state that could not be one of a device with so many bytes of
 * BAR1, or NULL: "deadline", say. active: the interrupt sources that the irq holds for active then.
 */
const char *timer_bad_field(uint64_t bar1_size, const struct timer_state *state, uint32_t active);

/* Puts *state in the place of ours; transfers of ours are dropped. The timer is stopped. */
void timer_load(struct timer *t, const struct timer_state *state);

/* BAR1's bytes are elsewhere from now on. The timer is stopped, and no transfer is under way. */
void timer_move_bar1(struct timer *t, uint8_t *bar1);

/* The doorbell was rung rings times, the last time with *value; NULL: that is not known. */
void timer_ring(struct timer *t, uint64_t rings, const uint32_t *value);

/* Sets SOFTWARE in IRQ_STATUS. */
enum irq_delivery timer_raise_software(struct timer *t);

#endif
