/* SPDX-License-Identifier: BSD-3-Clause */
#include "timer.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "notifier.h"
#include "self_test.h"

#define NS_PER_S 1000000000ll

struct engine {
    struct dma_transfer transfer;
    struct timer *timer;
    uint32_t before; /* bytes that were done before this transfer, by another process */
    bool running;
    bool forbidden; /* it is being cancelled because it may not run */
};

struct timer {
    struct timer_parts parts;
    struct timer_state *state;
    struct engine engine;
    struct self_test *test; /* NULL without dma_on_irq */
    bool stopping;          /* a transfer that ends now has no consequences for the registers */
    bool stopped;
};

static int64_t now(const struct timer *t)
{
    return t->parts.host.now(t->parts.host.opaque);
}

static void wake_at_deadline(const struct timer *t)
{
    t->parts.host.wake_at(t->parts.host.opaque, t->stopped ? 0 : t->state->deadline);
}

static void update_irq(struct timer *t, uint32_t events)
{
    irq_update(t->parts.irq, t->state->irq_status & t->state->irq_enable,
               events & t->state->irq_enable);
}

static enum irq_delivery raise_source(struct timer *t, uint32_t bit)
{
    struct timer_state *state = t->state;

    state->irq_status |= bit;
    return irq_update(t->parts.irq, state->irq_status & state->irq_enable, bit & state->irq_enable);
}

enum irq_delivery timer_raise_software(struct timer *t)
{
    enum irq_delivery how = raise_source(t, TIMER_IRQ_SOFTWARE);

    return (t->state->irq_enable & TIMER_IRQ_SOFTWARE) != 0 ? how : IRQ_PENDING_DISABLED;
}

/*
 * Timer
 */

void timer_wake(struct timer *t)
{
    struct timer_state *state = t->state;
    int64_t time = now(t);

    if (state->deadline == 0 || t->stopped)
        return;
    if (time >= state->deadline) {
        state->deadline = 0;
        state->fired = time;
        raise_source(t, TIMER_IRQ_TIMER);
        if (t->test != NULL)
            self_test_run(t->test, (uint32_t)(time / 1000));
    }
    wake_at_deadline(t);
}

/* A deadline of 0 disarms. Arming acknowledges, so each deadline has its own rise of the level. */
static void arm(struct timer *t, int64_t deadline)
{
    t->state->deadline = deadline;
    t->state->irq_status &= ~TIMER_IRQ_TIMER;
    update_irq(t, 0);
    wake_at_deadline(t);
    timer_wake(t);
}

/*
 * DMA engine
 */

static void engine_finish(struct timer *t, int err)
{
    struct notifier *notifier = irq_notifier(t->parts.irq);

    t->state->dma_control = err == 0 ? TIMER_DMA_IDLE : TIMER_DMA_FAILED + (uint32_t)-err;
    notifier_tell_transferred(notifier, true);
    raise_source(t, TIMER_IRQ_DMA);
    notifier_tell_transferred(notifier, false);
}

static void engine_done(struct dma_transfer *transfer, int err)
{
    struct engine *engine = (struct engine *)transfer;

    engine->running = false;
    if (!engine->timer->stopping)
        engine_finish(engine->timer, engine->forbidden ? -ENODEV : err);
}

void timer_stop_dma(struct timer *t)
{
    t->engine.forbidden = true;
    dma_cancel(t->parts.dma, &t->engine.transfer);
    t->engine.forbidden = false;
    if (!t->stopped && t->state->dma_control == TIMER_DMA_BUSY)
        engine_finish(t, -ENODEV); /* it is to be gone on with */
}

static int engine_check(const struct timer *t, uint32_t command)
{
    const struct timer_state *state = t->state;

    if (command != TIMER_DMA_CMD_READ && command != TIMER_DMA_CMD_WRITE)
        return -EINVAL;
    if (state->dma_offset > t->parts.bar1_size ||
        state->dma_length > t->parts.bar1_size - state->dma_offset)
        return -ERANGE;
    if (state->dma_length > 0 && state->dma_length - 1 > UINT64_MAX - state->dma_iova)
        return -EFAULT;
    /* The number that QEMU answers DMA messages with when Bus Master is off. */
    return t->parts.may_dma(t->parts.host.opaque) ? 0 : -ENODEV;
}

/* Starts the transfer that the state speaks of, behind what is done of it. */
static void engine_run(struct timer *t)
{
    const struct timer_state *state = t->state;
    uint32_t done = state->engine_progress;

    t->engine.running = true;
    t->engine.before = done;
    t->engine.transfer = (struct dma_transfer) {
        .direction = state->dma_command == TIMER_DMA_CMD_READ ? DMA_FROM_GUEST : DMA_TO_GUEST,
        .way = DMA_ANY,
        .iova = state->engine_iova + done,
        .buffer = t->parts.bar1 + state->engine_offset + done,
        .length = state->engine_length - done,
        .done = engine_done,
    };
    dma_start(t->parts.dma, &t->engine.transfer);
}

static void engine_start(struct timer *t, uint32_t command)
{
    struct timer_state *state = t->state;
    int err = engine_check(t, command);

    state->dma_command = command;
    if (err != 0) {
        engine_finish(t, err);
        return;
    }
    state->dma_control = TIMER_DMA_BUSY;
    state->engine_iova = state->dma_iova;
    state->engine_offset = state->dma_offset;
    state->engine_length = state->dma_length;
    state->engine_progress = 0;
    engine_run(t);
}

/* Goes on where another process, or the same before it was stopped, has left off. */
static void engine_continue(struct timer *t)
{
    if (t->state->dma_control != TIMER_DMA_BUSY || t->engine.running)
        return;
    if (t->parts.may_dma(t->parts.host.opaque))
        engine_run(t);
    else
        engine_finish(t, -ENODEV);
}

/*
 * Registers
 */

struct reg {
    uint16_t offset;
    uint8_t size;
    uint8_t wide; /* index among those of 64 bits */
    uint64_t (*read)(struct timer *t);
    void (*write)(struct timer *t, uint64_t value); /* NULL: writes are ignored */
};

/* a - b as two's complement, without overflow's traps. */
static uint64_t minus(int64_t a, int64_t b)
{
    return (uint64_t)a - (uint64_t)b;
}

static uint64_t read_timer_sec(struct timer *t)
{
    return minus(now(t) / NS_PER_S, t->state->written_s);
}

static void write_timer_sec(struct timer *t, uint64_t value)
{
    const int64_t max_s = INT64_MAX / NS_PER_S;
    int64_t seconds = (int64_t)value;
    int64_t deadline = seconds > max_s    ? INT64_MAX
                       : seconds < -max_s ? INT64_MIN
                                          : seconds * NS_PER_S;

    t->state->written_s = seconds;
    t->state->written_ns = deadline;
    arm(t, deadline);
}

static uint64_t read_timer_nsec(struct timer *t)
{
    return minus(now(t), t->state->written_ns);
}

static void write_timer_nsec(struct timer *t, uint64_t value)
{
    t->state->written_s = (int64_t)value / NS_PER_S;
    t->state->written_ns = (int64_t)value;
    arm(t, (int64_t)value);
}

static uint64_t read_irq_status(struct timer *t)
{
    return t->state->irq_status;
}

static void write_irq_status(struct timer *t, uint64_t value)
{
    t->state->irq_status &= ~(uint32_t)value;
    update_irq(t, 0);
}

static uint64_t read_irq_enable(struct timer *t)
{
    return t->state->irq_enable;
}

static void write_irq_enable(struct timer *t, uint64_t value)
{
    t->state->irq_enable = (uint32_t)value;
    update_irq(t, 0);
}

static uint64_t read_irq_count(struct timer *t)
{
    return irq_count(t->parts.irq);
}

static uint64_t read_dma_iova(struct timer *t)
{
    return t->state->dma_iova;
}

static void write_dma_iova(struct timer *t, uint64_t value)
{
    t->state->dma_iova = value;
}

static uint64_t read_dma_offset(struct timer *t)
{
    return t->state->dma_offset;
}

static void write_dma_offset(struct timer *t, uint64_t value)
{
    t->state->dma_offset = value;
}

static uint64_t read_dma_length(struct timer *t)
{
    return t->state->dma_length;
}

static void write_dma_length(struct timer *t, uint64_t value)
{
    t->state->dma_length = (uint32_t)value;
}

static uint64_t read_dma_control(struct timer *t)
{
    return t->state->dma_control;
}

static void write_dma_control(struct timer *t, uint64_t value)
{
    engine_start(t, (uint32_t)value);
}

static uint64_t read_clock(struct timer *t)
{
    return (uint64_t)now(t);
}

static uint64_t read_fired(struct timer *t)
{
    return (uint64_t)t->state->fired;
}

static uint64_t read_doorbell(struct timer *t)
{
    return t->state->doorbell;
}

static void write_doorbell(struct timer *t, uint64_t value)
{
    t->state->doorbell = (uint32_t)value;
    t->state->doorbell_count++;
}

void timer_ring(struct timer *t, uint64_t rings, const uint32_t *value)
{
    t->state->doorbell_count += (uint32_t)rings;
    if (value != NULL)
        t->state->doorbell = *value;
}

static uint64_t read_doorbell_count(struct timer *t)
{
    return t->state->doorbell_count;
}

static uint64_t read_doorbell_trapped(struct timer *t)
{
    return t->state->doorbell_trapped;
}

static void write_doorbell_trapped(struct timer *t, uint64_t value)
{
    t->state->doorbell_trapped = (uint32_t)value;
    t->state->doorbell_count++;
}

#define REG_DMA_CONTROL 0x034

static const struct reg regs[] = {
    { 0x000, 8, 0, read_timer_sec, write_timer_sec },
    { 0x008, 8, 1, read_timer_nsec, write_timer_nsec },
    { 0x010, 4, 0, read_irq_status, write_irq_status },
    { 0x014, 4, 0, read_irq_enable, write_irq_enable },
    { 0x018, 8, 2, read_irq_count, NULL },
    { 0x020, 8, 3, read_dma_iova, write_dma_iova },
    { 0x028, 8, 4, read_dma_offset, write_dma_offset },
    { 0x030, 4, 0, read_dma_length, write_dma_length },
    { REG_DMA_CONTROL, 4, 0, read_dma_control, write_dma_control },
    { 0x040, 8, 5, read_clock, NULL },
    { 0x048, 8, 6, read_fired, NULL },
    { TIMER_DOORBELL, TIMER_DOORBELL_SIZE, 0, read_doorbell, write_doorbell },
    { 0x804, 4, 0, read_doorbell_count, NULL },
    { 0x808, 4, 0, read_doorbell_trapped, write_doorbell_trapped },
};

/* The register that the access lies in, NULL when it is not a proper one. */
static const struct reg *find_reg(uint64_t offset, uint32_t count)
{
    if ((count != 1 && count != 2 && count != 4 && count != 8) || offset % count != 0 ||
        offset >= TIMER_BAR0_SIZE)
        return NULL;
    for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
        if (offset >= regs[i].offset && offset + count <= regs[i].offset + regs[i].size)
            return &regs[i];
    }
    return NULL;
}

/*
 * The value to read bytes from. One that is read in parts is one value: the first part keeps it for
 * the others.
 */
static uint64_t latch(struct timer *t, const struct reg *reg, unsigned shift, uint32_t count)
{
    struct timer_state *state = t->state;
    uint16_t bit = (uint16_t)(1u << reg->wide);
    uint64_t value;

    if (reg->size < 8 || count == 8)
        return reg->read(t);
    value =
        shift > 0 && (state->latched_mask & bit) != 0 ? state->latched[reg->wide] : reg->read(t);
    state->latched[reg->wide] = value;
    state->latched_mask |= bit;
    if (shift + count == 8)
        state->latched_mask &= (uint16_t)~bit;
    return value;
}

int timer_read(struct timer *t, uint64_t offset, void *data, uint32_t count)
{
    const struct reg *reg = find_reg(offset, count);
    unsigned shift;
    uint64_t value;

    if (reg == NULL)
        return -EINVAL;
    shift = (unsigned)(offset - reg->offset);
    value = htole64(latch(t, reg, shift, count));
    memcpy(data, (const uint8_t *)&value + shift, count);
    return 0;
}

/*
 * The value that a 64-bit register takes by this write, in *value. Returns false while its last
 * byte has not been written: the bytes are kept until then.
 */
static bool stage(struct timer *t, const struct reg *reg, unsigned shift, const void *data,
                  uint32_t count, uint64_t *value)
{
    struct timer_state *state = t->state;
    uint16_t bit = (uint16_t)(1u << reg->wide);
    uint64_t staged = (state->staged_mask & bit) != 0 ? htole64(state->staged[reg->wide]) : 0;

    memcpy((uint8_t *)&staged + shift, data, count);
    *value = le64toh(staged);
    state->staged[reg->wide] = *value;
    state->staged_mask |= bit;
    if (shift + count < 8)
        return false;
    state->staged_mask &= (uint16_t)~bit;
    return true;
}

/*
 * The value that a 32-bit register takes: it takes effect at once. Bytes that are not written keep
 * what is read there, but for the registers that act on what is written: 0 there.
 */
static uint64_t merge(struct timer *t, const struct reg *reg, unsigned shift, const void *data,
                      uint32_t count)
{
    bool keeps = reg->write == write_irq_enable || reg->write == write_dma_length;
    uint64_t value = htole64(keeps ? reg->read(t) : 0);

    memcpy((uint8_t *)&value + shift, data, count);
    return le64toh(value);
}

int timer_write(struct timer *t, uint64_t offset, const void *data, uint32_t count)
{
    const struct reg *reg = find_reg(offset, count);
    unsigned shift;
    uint64_t value;

    if (reg == NULL)
        return -EINVAL;
    if (reg->offset == REG_DMA_CONTROL && t->state->dma_control == TIMER_DMA_BUSY)
        return -EBUSY;
    if (reg->write == NULL)
        return 0;
    shift = (unsigned)(offset - reg->offset);
    if (reg->size == 8) {
        if (!stage(t, reg, shift, data, count, &value))
            return 0;
    } else {
        value = merge(t, reg, shift, data, count);
    }
    reg->write(t, value);
    return 0;
}

/*
 * Life
 */

static void set_initial(struct timer_state *state)
{
    *state = (struct timer_state) { .irq_enable = UINT32_MAX };
}

int timer_new(const struct timer_parts *parts, struct timer **out)
{
    struct timer *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return -ENOMEM;
    t->parts = *parts;
    t->state = parts->state;
    t->engine.timer = t;
    if (parts->dma_on_irq && self_test_new(parts->dma, &t->state->self_test, &t->test) != 0) {
        free(t);
        return -ENOMEM;
    }
    set_initial(t->state);
    *out = t;
    return 0;
}

static void stop_transfers(struct timer *t)
{
    t->stopping = true;
    dma_cancel_all(t->parts.dma);
    t->stopping = false;
}

void timer_free(struct timer *t)
{
    if (t == NULL)
        return;
    /* What the state speaks of as under way is so in the state that is left. */
    if (t->test != NULL)
        self_test_detach(t->test);
    stop_transfers(t);
    self_test_free(t->test);
    free(t);
}

void timer_stop(struct timer *t)
{
    struct timer_state *state = t->state;

    t->stopped = true;
    wake_at_deadline(t);
    dma_pause(t->parts.dma);
    dma_abandon(t->parts.dma);
    if (t->engine.running)
        state->engine_progress = t->engine.before + (uint32_t)t->engine.transfer.progress;
}

void timer_unfreeze(struct timer *t)
{
    t->stopped = false;
    dma_resume(t->parts.dma);
}

void timer_passed(struct timer *t)
{
    if (t->state->dma_control == TIMER_DMA_BUSY && !t->engine.running)
        engine_finish(t, 0);
}

void timer_start(struct timer *t)
{
    /* One of our own goes on with its transfer. */
    bool tests = t->state->self_test != 0 && t->test != NULL && !self_test_runs(t->test);

    timer_unfreeze(t);
    engine_continue(t);
    if (tests)
        self_test_run(t->test, (uint32_t)(now(t) / 1000));
    else if (t->test == NULL)
        t->state->self_test = 0; /* begun by a device that has one */
    timer_wake(t);
    wake_at_deadline(t);
}

void timer_load(struct timer *t, const struct timer_state *state)
{
    stop_transfers(t);
    *t->state = *state;
}

void timer_move_bar1(struct timer *t, uint8_t *bar1)
{
    t->parts.bar1 = bar1;
}

void timer_reset(struct timer *t)
{
    stop_transfers(t);
    set_initial(t->state);
    wake_at_deadline(t);
    update_irq(t, 0);
}
