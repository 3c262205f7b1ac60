/* SPDX-License-Identifier: BSD-3-Clause */
/* Which states a timer can be in. */
#include "timer.h"

static bool is_dma_control(uint32_t value)
{
    return value == TIMER_DMA_IDLE || value == TIMER_DMA_BUSY ||
           (value > TIMER_DMA_FAILED && value < TIMER_DMA_FAILED + 4096);
}

static bool is_engine(uint64_t bar1_size, const struct timer_state *state)
{
    return state->engine_offset <= bar1_size &&
           state->engine_length <= bar1_size - state->engine_offset &&
           state->engine_progress <= state->engine_length &&
           (state->engine_length == 0 ||
            state->engine_length - 1 <= UINT64_MAX - state->engine_iova);
}

const char *timer_bad_field(uint64_t bar1_size, const struct timer_state *state, uint32_t active)
{
    if ((state->irq_status & ~(TIMER_IRQ_TIMER | TIMER_IRQ_SOFTWARE | TIMER_IRQ_DMA)) != 0)
        return "irq_status";
    if ((state->irq_status & state->irq_enable) != active)
        return "irq_enable";
    if (!is_dma_control(state->dma_control))
        return "dma_control";
    if (state->dma_control == TIMER_DMA_BUSY && state->dma_command != TIMER_DMA_CMD_READ &&
        state->dma_command != TIMER_DMA_CMD_WRITE)
        return "dma_command";
    if (!is_engine(bar1_size, state))
        return "engine_length";
    if (state->staged_mask >= 1u << TIMER_WIDE_REGS)
        return "staged_mask";
    if (state->latched_mask >= 1u << TIMER_WIDE_REGS)
        return "latched_mask";
    return state->self_test <= 1 ? NULL : "self_test";
}
