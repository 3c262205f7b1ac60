/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BAR0 as its client sees it: offsets in bytes, little endian. The README's section "The device"
 * says what each does.
 */
#ifndef VFU_CLIENT_REGISTERS_H
#define VFU_CLIENT_REGISTERS_H

#define REG_TIMER_SEC        0x000
#define REG_TIMER_NSEC       0x008
#define REG_IRQ_STATUS       0x010
#define REG_IRQ_ENABLE       0x014
#define REG_IRQ_COUNT        0x018
#define REG_DMA_IOVA         0x020
#define REG_DMA_OFFSET       0x028
#define REG_DMA_LENGTH       0x030
#define REG_DMA_CONTROL      0x034
#define REG_CLOCK_NSEC       0x040
#define REG_FIRED_NSEC       0x048
#define REG_DOORBELL         0x800
#define REG_DOORBELL_COUNT   0x804
#define REG_DOORBELL_TRAPPED 0x808

/* IRQ_STATUS and IRQ_ENABLE. */
#define IRQ_TIMER 0x1u
#define IRQ_DMA   0x4u

/* DMA_CONTROL. */
#define DMA_GUEST_TO_BAR1 1u
#define DMA_BAR1_TO_GUEST 2u
#define DMA_FAILED        0x80000000u /* + errno */

#endif
