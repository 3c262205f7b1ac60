/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/timer.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "unit/fakes.h"

#define S FAKE_NS_PER_S

/* BAR0's registers, as the guest knows them. */
enum {
    TIMER_SEC = 0x000,
    TIMER_NSEC = 0x008,
    IRQ_STATUS = 0x010,
    IRQ_ENABLE = 0x014,
    IRQ_COUNT = 0x018,
    DMA_IOVA = 0x020,
    DMA_OFFSET = 0x028,
    DMA_LENGTH = 0x030,
    DMA_CONTROL = 0x034,
    CLOCK_NSEC = 0x040,
    FIRED_NSEC = 0x048,
    DOORBELL = 0x800,
    DOORBELL_COUNT = 0x804,
    DOORBELL_TRAPPED = 0x808,
};

/* A timer with the parts that it works with, and nothing else. */
struct model {
    struct fake_host host;
    struct timer_state state;
    struct irq_state irq_state;
    struct irq *irq;
    struct dma *dma;
    struct timer *timer;
    int line; /* the INTx eventfd */
};

static bool may_dma(void *opaque)
{
    (void)opaque;
    return false;
}

static void model_init(struct model *m)
{
    const struct dma_messenger messenger = fake_messenger(&m->host);
    const struct device_host outside = fake_device_host(&m->host);
    const struct irq_vectors no_vectors = { 0 };
    struct timer_parts parts = { .state = &m->state,
                                 .bar1_size = 0,
                                 .may_dma = may_dma,
                                 .host = { &m->host, outside.now, outside.wake_at } };

    fake_host_init(&m->host);
    memset(&m->irq_state, 0, sizeof(m->irq_state));
    m->line = fake_eventfd();
    ck_assert_int_eq(irq_new(&m->irq_state, &no_vectors, &m->irq), 0);
    ck_assert_int_eq(dma_new(10, &messenger, &m->dma), 0);
    parts.irq = m->irq;
    parts.dma = m->dma;
    ck_assert_int_eq(timer_new(&parts, &m->timer), 0);
    fake_give_eventfd(m->irq, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_INTX_IRQ_INDEX, 0, m->line);
}

static void model_fini(struct model *m)
{
    timer_free(m->timer);
    dma_free(m->dma);
    irq_free(m->irq);
    fake_host_fini(&m->host);
    close(m->line);
}

static uint64_t get(struct model *m, uint64_t offset, uint32_t count)
{
    uint64_t value = 0;

    ck_assert_int_eq(timer_read(m->timer, offset, &value, count), 0);
    return le64toh(value);
}

static void put(struct model *m, uint64_t offset, uint32_t count, uint64_t value)
{
    value = htole64(value);
    ck_assert_int_eq(timer_write(m->timer, offset, &value, count), 0);
}

static void set_time(struct model *m, int64_t ns)
{
    m->host.now = ns;
    timer_wake(m->timer);
}

/*
 * Which accesses there are
 */

static const struct {
    uint16_t offset;
    uint16_t size;
} registers[] = {
    { TIMER_SEC, 8 },      { TIMER_NSEC, 8 },       { IRQ_STATUS, 4 }, { IRQ_ENABLE, 4 },
    { IRQ_COUNT, 8 },      { DMA_IOVA, 8 },         { DMA_OFFSET, 8 }, { DMA_LENGTH, 4 },
    { DMA_CONTROL, 4 },    { CLOCK_NSEC, 8 },       { FIRED_NSEC, 8 }, { DOORBELL, 4 },
    { DOORBELL_COUNT, 4 }, { DOORBELL_TRAPPED, 4 },
};

static bool is_proper(uint64_t offset, uint32_t count)
{
    if ((count != 1 && count != 2 && count != 4 && count != 8) || offset % count != 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
        if (offset >= registers[i].offset &&
            offset + count <= (uint64_t)registers[i].offset + registers[i].size)
            return true;
    }
    return false;
}

/* Neither reads nor writes, and leaves all as it was. */
static void expect_refused(struct model *m, uint64_t offset, uint32_t count)
{
    const struct timer_state state = m->state;
    const struct irq_state irq_state = m->irq_state;
    uint8_t bytes[16];
    uint8_t untouched[16];

    memset(bytes, 0xff, sizeof(bytes));
    memset(untouched, 0xff, sizeof(untouched));
    ck_assert_msg(timer_read(m->timer, offset, bytes, count) == -EINVAL, "read %u at 0x%llx", count,
                  (unsigned long long)offset);
    ck_assert_mem_eq(bytes, untouched, sizeof(bytes));
    ck_assert_msg(timer_write(m->timer, offset, bytes, count) == -EINVAL, "write %u at 0x%llx",
                  count, (unsigned long long)offset);
    ck_assert_mem_eq(&m->state, &state, sizeof(state));
    ck_assert_mem_eq(&m->irq_state, &irq_state, sizeof(irq_state));
}

static uint64_t next_step(uint64_t offset)
{
    return offset < 0x60 || (offset >= 0x7f0 && offset < 0x820) ? 1 : 16;
}

START_TEST(improper_accesses_are_refused_and_change_nothing)
{
    struct model m;
    unsigned wakes;

    model_init(&m);
    put(&m, DMA_IOVA, 4, 0x1234); /* half written */
    (void)get(&m, CLOCK_NSEC, 4); /* half read */
    wakes = m.host.wakes;
    /* All that is near the registers, and some of what is far from them. */
    for (uint64_t offset = 0; offset < TIMER_BAR0_SIZE; offset += next_step(offset)) {
        for (uint32_t count = 0; count <= 16; count++) {
            if (!is_proper(offset, count))
                expect_refused(&m, offset, count);
        }
    }
    expect_refused(&m, TIMER_BAR0_SIZE, 4);
    expect_refused(&m, 1ull << 32, 8); /* not register 0 */
    expect_refused(&m, (1ull << 32) + DOORBELL, 4);
    ck_assert_uint_eq(m.host.wakes, wakes);
    model_fini(&m);
}
END_TEST

START_TEST(offsets_at_the_end_of_64_bits_do_not_wrap)
{
    struct model m;

    model_init(&m);
    expect_refused(&m, UINT64_MAX - 7, 8);
    expect_refused(&m, UINT64_MAX - 3, 4);
    expect_refused(&m, UINT64_MAX, 1);
    model_fini(&m);
}
END_TEST

START_TEST(every_proper_read_is_a_part_of_the_register)
{
    struct model m;

    model_init(&m);
    put(&m, DMA_IOVA, 8, 0x1122334455667788);
    put(&m, DMA_OFFSET, 8, 0x99aabbccddeeff00);
    put(&m, DMA_LENGTH, 4, 0x01020304);
    put(&m, IRQ_ENABLE, 4, 0xfedcba98);
    put(&m, DOORBELL_TRAPPED, 4, 0xcafebabe);
    for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
        uint64_t whole = get(&m, registers[i].offset, registers[i].size);

        for (uint32_t count = 1; count <= registers[i].size; count *= 2) {
            for (uint32_t at = 0; at < registers[i].size; at += count) {
                uint64_t mask = count == 8 ? UINT64_MAX : (1ull << 8 * count) - 1;

                ck_assert_uint_eq(get(&m, registers[i].offset + at, count), whole >> 8 * at & mask);
            }
        }
    }
    ck_assert_uint_eq(get(&m, DMA_IOVA, 8), 0x1122334455667788);
    ck_assert_uint_eq(get(&m, IRQ_ENABLE, 4), 0xfedcba98);
    model_fini(&m);
}
END_TEST

START_TEST(read_only_registers_ignore_writes)
{
    static const struct {
        uint16_t offset;
        uint32_t count;
    } ignored[] = { { IRQ_COUNT, 8 },      { CLOCK_NSEC, 8 },    { FIRED_NSEC, 8 },
                    { DOORBELL_COUNT, 4 }, { IRQ_COUNT + 4, 4 }, { FIRED_NSEC, 1 },
                    { CLOCK_NSEC + 2, 2 } };
    struct model m;
    struct timer_state before;

    model_init(&m);
    before = m.state;
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
        put(&m, ignored[i].offset, ignored[i].count, UINT64_MAX);
    ck_assert_mem_eq(&m.state, &before, sizeof(before));
    ck_assert_uint_eq(get(&m, CLOCK_NSEC, 8), (uint64_t)FAKE_START_TIME);
    model_fini(&m);
}
END_TEST

START_TEST(halves_take_effect_with_the_high_one)
{
    const uint64_t deadline = (uint64_t)(FAKE_START_TIME + 5 * S);
    struct model m;

    model_init(&m);
    put(&m, TIMER_NSEC, 4, (uint32_t)deadline);
    ck_assert_int_eq(m.state.deadline, 0);
    ck_assert_uint_eq(m.host.wakes, 0);
    put(&m, TIMER_NSEC + 4, 4, deadline >> 32);
    ck_assert_int_eq(m.state.deadline, (int64_t)deadline);
    ck_assert_int_eq(m.host.deadline, (int64_t)deadline);
    put(&m, DMA_IOVA, 8, 0x1111111122222222);
    put(&m, DMA_IOVA, 4, 0x33333333);
    ck_assert_uint_eq(get(&m, DMA_IOVA, 8), 0x1111111122222222);
    put(&m, DMA_IOVA + 4, 4, 0x44444444);
    ck_assert_uint_eq(get(&m, DMA_IOVA, 8), 0x4444444433333333);
    for (unsigned i = 0; i < 4; i++) /* in quarters */
        put(&m, DMA_OFFSET + 2 * i, 2, 0x1000 + i);
    ck_assert_uint_eq(get(&m, DMA_OFFSET, 8), 0x1003100210011000);
    for (unsigned i = 0; i < 8; i++) /* in bytes */
        put(&m, DMA_OFFSET + i, 1, 0x10 + i);
    ck_assert_uint_eq(get(&m, DMA_OFFSET, 8), 0x1716151413121110);
    model_fini(&m);
}
END_TEST

START_TEST(halves_of_several_registers_may_mix)
{
    struct model m;

    model_init(&m);
    put(&m, DMA_IOVA, 4, 0x11111111);
    put(&m, DMA_OFFSET, 4, 0x22222222);
    put(&m, TIMER_NSEC, 8, FAKE_START_TIME + S); /* as an interrupt handler would */
    put(&m, DMA_LENGTH, 4, 5);
    put(&m, DMA_IOVA + 4, 4, 0x33333333);
    put(&m, DMA_OFFSET + 4, 4, 0x44444444);
    ck_assert_uint_eq(get(&m, DMA_IOVA, 8), 0x3333333311111111);
    ck_assert_uint_eq(get(&m, DMA_OFFSET, 8), 0x4444444422222222);
    ck_assert_int_eq(m.state.deadline, FAKE_START_TIME + S);
    model_fini(&m);
}
END_TEST

START_TEST(halves_read_are_of_one_value)
{
    struct model m;
    uint64_t low;
    uint64_t high;

    model_init(&m);
    m.host.now = 0x12fffffff0ll;
    low = get(&m, CLOCK_NSEC, 4);
    m.host.now = 0x1300000010ll;
    high = get(&m, CLOCK_NSEC + 4, 4);
    ck_assert_uint_eq(high << 32 | low, 0x12fffffff0);
    ck_assert_uint_eq(get(&m, CLOCK_NSEC + 4, 4), 0x13); /* kept for one read only */
    ck_assert_uint_eq(get(&m, CLOCK_NSEC, 8), 0x1300000010);
    low = get(&m, CLOCK_NSEC, 4);
    m.host.now = 0x1400000000ll;
    ck_assert_uint_eq(get(&m, TIMER_NSEC + 4, 4), 0x14); /* another register's */
    model_fini(&m);
}
END_TEST

/*
 * The timer
 */

START_TEST(a_deadline_fires_once_and_on_time)
{
    struct model m;

    model_init(&m);
    put(&m, TIMER_SEC, 8, FAKE_START_TIME / S + 10);
    ck_assert_int_eq(m.host.deadline, FAKE_START_TIME + 10 * S);
    ck_assert_uint_eq(get(&m, TIMER_SEC, 8), (uint64_t)-10);
    ck_assert_uint_eq(get(&m, TIMER_NSEC, 8), (uint64_t)(-10 * S));
    set_time(&m, FAKE_START_TIME + 10 * S - 1);
    ck_assert_uint_eq(fake_signals(m.line), 0);
    ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), 0);
    set_time(&m, FAKE_START_TIME + 10 * S + 7);
    ck_assert_uint_eq(fake_signals(m.line), 1);
    ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), TIMER_IRQ_TIMER);
    ck_assert_uint_eq(get(&m, IRQ_COUNT, 8), 1);
    ck_assert_uint_eq(get(&m, FIRED_NSEC, 8), (uint64_t)(FAKE_START_TIME + 10 * S + 7));
    ck_assert_uint_eq(get(&m, TIMER_NSEC, 8), 7);
    ck_assert_int_eq(m.host.deadline, 0);
    set_time(&m, FAKE_START_TIME + 20 * S);
    ck_assert_uint_eq(fake_signals(m.line), 0);
    ck_assert_uint_eq(get(&m, TIMER_SEC, 8), 10);
    model_fini(&m);
}
END_TEST

START_TEST(the_past_fires_at_once_and_each_time)
{
    struct model m;

    model_init(&m);
    for (unsigned i = 1; i <= 5; i++) { /* arming acknowledges: nothing else is done */
        put(&m, TIMER_NSEC, 8, (uint64_t)FAKE_START_TIME - i + 1);
        ck_assert_uint_eq(fake_signals(m.line), 1);
        ck_assert_uint_eq(get(&m, IRQ_COUNT, 8), i);
        ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), TIMER_IRQ_TIMER);
        ck_assert_int_eq(m.host.deadline, 0);
    }
    model_fini(&m);
}
END_TEST

START_TEST(zero_disarms_and_acknowledges)
{
    static const uint16_t offsets[] = { TIMER_SEC, TIMER_NSEC };
    struct model m;

    model_init(&m);
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
        put(&m, TIMER_NSEC, 8, 1);
        ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), TIMER_IRQ_TIMER);
        put(&m, TIMER_NSEC, 8, (uint64_t)m.host.now + 5);
        ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), 0);
        ck_assert(!irq_level(m.irq));
        put(&m, offsets[i], 8, 0);
        ck_assert_int_eq(m.host.deadline, 0);
        fake_signals(m.line);
        set_time(&m, m.host.now + S);
        ck_assert_uint_eq(fake_signals(m.line), 0);
        ck_assert_uint_eq(get(&m, TIMER_SEC, 8), (uint64_t)(m.host.now / S));
        ck_assert_uint_eq(get(&m, TIMER_NSEC, 8), (uint64_t)m.host.now);
    }
    model_fini(&m);
}
END_TEST

START_TEST(extreme_deadlines_do_not_overflow)
{
    static const struct {
        uint16_t offset;
        int64_t value;
        bool fires;
    } extremes[] = {
        { TIMER_SEC, -1, true },
        { TIMER_SEC, INT64_MIN, true },
        { TIMER_SEC, INT64_MAX, false },
        { TIMER_SEC, INT64_MAX / S, false },
        { TIMER_SEC, INT64_MAX / S + 1, false },
        { TIMER_SEC, INT64_MIN / S, true },
        { TIMER_SEC, INT64_MIN / S - 1, true },
        { TIMER_NSEC, -1, true },
        { TIMER_NSEC, INT64_MIN, true },
        { TIMER_NSEC, INT64_MAX, false },
        { TIMER_NSEC, 1, true },
    };
    struct model m;

    model_init(&m);
    for (size_t i = 0; i < ARRAY_SIZE(extremes); i++) {
        put(&m, extremes[i].offset, 8, (uint64_t)extremes[i].value);
        ck_assert_msg((fake_signals(m.line) == 1) == extremes[i].fires, "row %zu", i);
        ck_assert_int_eq(m.host.deadline != 0, !extremes[i].fires);
        ck_assert_uint_eq(
            get(&m, extremes[i].offset, 8),
            (uint64_t)(extremes[i].offset == TIMER_SEC ? FAKE_START_TIME / S : FAKE_START_TIME) -
                (uint64_t)extremes[i].value);
        (void)get(&m, TIMER_SEC, 8);
        (void)get(&m, TIMER_NSEC, 8);
    }
    model_fini(&m);
}
END_TEST

START_TEST(a_clock_step_moves_the_deadline)
{
    struct model m;

    model_init(&m);
    put(&m, TIMER_NSEC, 8, FAKE_START_TIME + 10 * S);
    set_time(&m, FAKE_START_TIME - 3600 * S); /* back: it is later until then */
    ck_assert_uint_eq(fake_signals(m.line), 0);
    ck_assert_int_eq(m.host.deadline, FAKE_START_TIME + 10 * S);
    ck_assert_uint_eq(get(&m, CLOCK_NSEC, 8), (uint64_t)(FAKE_START_TIME - 3600 * S));
    set_time(&m, FAKE_START_TIME + 3600 * S); /* forward: it has passed */
    ck_assert_uint_eq(fake_signals(m.line), 1);
    ck_assert_uint_eq(get(&m, FIRED_NSEC, 8), (uint64_t)(FAKE_START_TIME + 3600 * S));
    set_time(&m, FAKE_START_TIME); /* back again: it does not fire twice */
    set_time(&m, FAKE_START_TIME + 20 * S);
    ck_assert_uint_eq(fake_signals(m.line), 0);
    model_fini(&m);
}
END_TEST

/*
 * Interrupt registers and doorbells
 */

START_TEST(status_is_cleared_by_writing_one)
{
    struct model m;

    model_init(&m);
    put(&m, TIMER_NSEC, 8, 1);
    ck_assert_int_eq(timer_raise_software(m.timer), IRQ_ALREADY_ASSERTED);
    ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), 3);
    put(&m, IRQ_STATUS, 4, 0);
    put(&m, IRQ_STATUS, 4, 0xfffffffc);
    ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), 3);
    put(&m, IRQ_STATUS, 4, 1);
    ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), 2);
    ck_assert(irq_level(m.irq));
    put(&m, IRQ_STATUS + 1, 1, 0xff); /* the other bytes */
    put(&m, IRQ_STATUS + 2, 2, 0xffff);
    ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), 2);
    put(&m, IRQ_STATUS, 1, 2);
    ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), 0);
    ck_assert(!irq_level(m.irq));
    ck_assert_uint_eq(fake_signals(m.line), 1);
    ck_assert_int_eq(timer_raise_software(m.timer), IRQ_DELIVERED_EVENTFD);
    ck_assert_uint_eq(get(&m, IRQ_COUNT, 8), 2);
    model_fini(&m);
}
END_TEST

START_TEST(enable_gates_and_raises)
{
    struct model m;

    model_init(&m);
    ck_assert_uint_eq(get(&m, IRQ_ENABLE, 4), 0xffffffff);
    put(&m, IRQ_ENABLE, 4, ~TIMER_IRQ_SOFTWARE);
    ck_assert_int_eq(timer_raise_software(m.timer), IRQ_PENDING_DISABLED);
    ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), TIMER_IRQ_SOFTWARE);
    ck_assert_uint_eq(get(&m, IRQ_COUNT, 8), 0);
    ck_assert(!irq_level(m.irq));
    put(&m, IRQ_ENABLE, 1, 0xff); /* a byte of it; the others keep */
    ck_assert_uint_eq(get(&m, IRQ_ENABLE, 4), 0xffffffff);
    ck_assert_uint_eq(fake_signals(m.line), 1);
    ck_assert_uint_eq(get(&m, IRQ_COUNT, 8), 1);
    put(&m, IRQ_ENABLE, 4, 0);
    ck_assert(!irq_level(m.irq));
    ck_assert_uint_eq(get(&m, IRQ_STATUS, 4), TIMER_IRQ_SOFTWARE);
    put(&m, IRQ_ENABLE, 4, 0xffffffff);
    ck_assert_uint_eq(fake_signals(m.line), 1);
    model_fini(&m);
}
END_TEST

START_TEST(doorbells_ring)
{
    struct model m;

    model_init(&m);
    put(&m, DOORBELL, 4, 0x11223344);
    put(&m, DOORBELL_TRAPPED, 4, 0x55667788);
    ck_assert_uint_eq(get(&m, DOORBELL, 4), 0x11223344);
    ck_assert_uint_eq(get(&m, DOORBELL_TRAPPED, 4), 0x55667788);
    ck_assert_uint_eq(get(&m, DOORBELL_COUNT, 4), 2);
    put(&m, DOORBELL, 2, 0xabcd); /* a part rings too */
    ck_assert_uint_eq(get(&m, DOORBELL, 2), 0xabcd);
    ck_assert_uint_eq(get(&m, DOORBELL_COUNT, 4), 3);
    m.state.doorbell_count = UINT32_MAX;
    put(&m, DOORBELL, 4, 0);
    ck_assert_uint_eq(get(&m, DOORBELL_COUNT, 4), 0);
    model_fini(&m);
}
END_TEST

START_TEST(reset_is_power_on)
{
    struct timer_state initial;
    struct model m;

    model_init(&m);
    initial = m.state;
    put(&m, IRQ_ENABLE, 4, 3);
    put(&m, DMA_IOVA, 8, 1);
    put(&m, DMA_OFFSET, 8, 2);
    put(&m, DMA_LENGTH, 4, 3);
    put(&m, DMA_CONTROL, 4, 9);
    put(&m, DOORBELL, 4, 4);
    put(&m, DOORBELL_TRAPPED, 4, 5);
    put(&m, TIMER_NSEC, 8, 1);
    put(&m, TIMER_NSEC, 8, FAKE_START_TIME + S);
    timer_raise_software(m.timer);
    put(&m, DMA_IOVA, 4, 0xffff);
    (void)get(&m, CLOCK_NSEC, 4);
    timer_reset(m.timer);
    ck_assert_mem_eq(&m.state, &initial, sizeof(initial));
    ck_assert(!irq_level(m.irq));
    ck_assert_int_eq(m.host.deadline, 0);
    fake_signals(m.line);
    set_time(&m, FAKE_START_TIME + 10 * S);
    ck_assert_uint_eq(fake_signals(m.line), 0);
    model_fini(&m);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        improper_accesses_are_refused_and_change_nothing,
        offsets_at_the_end_of_64_bits_do_not_wrap,
        every_proper_read_is_a_part_of_the_register,
        read_only_registers_ignore_writes,
        halves_take_effect_with_the_high_one,
        halves_of_several_registers_may_mix,
        halves_read_are_of_one_value,
        a_deadline_fires_once_and_on_time,
        the_past_fires_at_once_and_each_time,
        zero_disarms_and_acknowledges,
        extreme_deadlines_do_not_overflow,
        a_clock_step_moves_the_deadline,
        status_is_cleared_by_writing_one,
        enable_gates_and_raises,
        doorbells_ring,
        reset_is_power_on,
    };

    return fake_run("timer", tests, ARRAY_SIZE(tests), NULL, 0);
}
