/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that goes on in another process, whose first one died in the middle of a step. */
#define _GNU_SOURCE
#include "unit/keep_kit.h"

static void fire(struct process *p)
{
    device_wake(p->dev);
}

START_TEST(a_deadline_that_fired_fires_once)
{
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;

    client_init(&c);
    process_init(&a, &c, false);
    put0(&a, TIMER_NSEC, 8, FAKE_START_TIME + S);
    step(&a);
    before = state_of(&a);
    a.host.now += S;
    fire(&a);
    ck_assert_uint_eq(fake_signals(c.line), 1);
    revive(&b, &a, &c, &before); /* killed there */
    replay(&b, &a, fire);
    ck_assert_uint_eq(fake_signals(c.line), 0);
    ck_assert_uint_eq(get0(&b, IRQ_COUNT, 8), 1);
    ck_assert_mem_eq(&a.block->state, &b.block->state, sizeof(struct device_state));
    acknowledge(&b);
    put0(&b, TIMER_NSEC, 8, 1); /* and the next one as ever */
    ck_assert_uint_eq(fake_signals(c.line), 1);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

static void look_at_the_doorbell(struct process *p)
{
    (void)get0(p, DOORBELL, 4);
}

static void do_nothing(struct process *p)
{
    (void)p;
}

/* Also when the step is not executed again, but refused: nothing that was rung is lost. */
START_TEST(rings_that_were_taken_count)
{
    static void (*const again[])(struct process *) = { look_at_the_doorbell, do_nothing };
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;
    struct device_io_fd fds[DEVICE_IO_FDS_MAX];
    unsigned n;

    client_init(&c);
    process_init(&a, &c, false);
    ck_assert_int_eq(device_io_fds(a.dev, BAR0, fds, &n), 0);
    ck_assert_int_eq(pwrite(fds[0].shadow_fd, "\x55\0\0", 4, 0), 4);
    ck_assert_int_eq(eventfd_write(fds[0].fd, 4), 0);
    before = state_of(&a);
    look_at_the_doorbell(&a);
    ck_assert_uint_eq(fake_signals(fds[0].fd), 0);
    revive(&b, &a, &c, &before);
    replay(&b, &a, again[_i]);
    ck_assert_uint_eq(get0(&b, DOORBELL_COUNT, 4), 4);
    ck_assert_uint_eq(get0(&b, DOORBELL, 4), 0x55);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

static void raise_software(struct process *p)
{
    enum irq_delivery how;

    ck_assert_int_eq(device_trigger_irq(p->dev, INTX, 0, &how), 0);
}

static void resample(struct process *p)
{
    irq_resample(device_irq(p->dev));
}

static void give_unmask(struct process *p, int fd)
{
    fake_give_eventfd(device_irq(p->dev), VFIO_IRQ_SET_ACTION_UNMASK, INTX, 0, fd);
}

static void mask(struct process *p)
{
    ck_assert_int_eq(irq_set(device_irq(p->dev), VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK,
                             INTX, 0, 1, NULL, NULL, 0),
                     0);
}

/* The end of the interrupt was taken, and the next one not sent yet; or it was. */
START_TEST(an_unmask_that_was_taken_counts)
{
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;
    int unmask = fake_eventfd();
    bool sent = _i == 1;

    client_init(&c);
    process_init(&a, &c, false);
    give_unmask(&a, unmask);
    mask(&a);
    raise_software(&a);
    ck_assert_int_eq(eventfd_write(unmask, 1), 0);
    step(&a);
    before = state_of(&a);
    resample(&a);
    ck_assert_uint_eq(fake_signals(c.line), 1);
    ck_assert_uint_eq(fake_signals(unmask), 0);
    if (!sent)
        a.block->evidence.signalled = 0;
    revive(&b, &a, &c, &before);
    give_unmask(&b, unmask);
    mask(&b);
    replay(&b, &a, resample);
    ck_assert_uint_eq(b.block->state.irq.intx_masked, 0);
    ck_assert_uint_eq(fake_signals(c.line), sent ? 0 : 1);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
    close(unmask);
}
END_TEST

static void write_guest(struct process *p)
{
    start_engine(p, GUEST, 64, TO_GUEST);
}

/* The guest was told that its memory is written: it has it for itself again. */
START_TEST(dma_that_was_told_of_is_not_made_again)
{
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;

    client_init(&c);
    process_init(&a, &c, false);
    memset(device_bar1(a.dev), 0x11, 64);
    before = state_of(&a);
    write_guest(&a);
    ck_assert_uint_eq(fake_signals(c.line), 1);
    ck_assert_uint_eq(c.memory[0], 0x11);
    memset(c.memory, 0x22, 64); /* the guest's own */
    revive(&b, &a, &c, &before);
    replay(&b, &a, write_guest);
    ck_assert_uint_eq(c.memory[0], 0x22);
    ck_assert_uint_eq(fake_signals(c.line), 0);
    ck_assert_mem_eq(&a.block->state, &b.block->state, sizeof(struct device_state));
    acknowledge(&b);
    write_guest(&b); /* in a step of its own */
    ck_assert_uint_eq(c.memory[0], 0x11);
    ck_assert_uint_eq(fake_signals(c.line), 1);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

/* Nobody was told: it is made again. */
START_TEST(dma_that_was_not_told_of_is_made)
{
    static const struct evidence nothing;
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;

    client_init(&c);
    process_init(&a, &c, false);
    memset(device_bar1(a.dev), 0x11, 64);
    before = state_of(&a);
    a.block->evidence = nothing; /* killed before the transfer */
    revive(&b, &a, &c, &before);
    replay(&b, &a, write_guest);
    ck_assert_uint_eq(c.memory[63], 0x11);
    ck_assert_uint_eq(fake_signals(c.line), 1);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

/*
 * The answer that ended a transfer has come, and its process was killed behind the interrupt. The
 * answer means nothing to the next one, which has asked for nothing: the transfer is over.
 */
START_TEST(a_transfer_that_was_told_of_is_over)
{
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;

    client_init(&c);
    process_init(&a, &c, false);
    start_engine(&a, ELSEWHERE, 4, FROM_GUEST);
    step(&a);
    before = state_of(&a);
    dma_message_done(device_dma(a.dev), a.host.sent[0].tag, 0, (const uint8_t *)"abcd", 4);
    ck_assert_uint_eq(fake_signals(c.line), 1);
    revive(&b, &a, &c, &before);
    replay(&b, &a, do_nothing);
    ck_assert_uint_eq(b.host.n_sent, 0);
    ck_assert_uint_eq(get0(&b, DMA_CONTROL, 4), 0);
    ck_assert_uint_eq(fake_signals(c.line), 0);
    ck_assert_mem_eq(&a.block->state, &b.block->state, sizeof(struct device_state));
    ck_assert_mem_eq(device_bar1(b.dev), "abcd", 4);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

/* A step that is not executed again, and had told of something else: the transfer is not over. */
START_TEST(a_transfer_that_was_not_told_of_goes_on)
{
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;

    client_init(&c);
    process_init(&a, &c, false);
    start_engine(&a, GUEST, 4, FROM_GUEST); /* one that is over and was told of */
    ck_assert_uint_eq(fake_signals(c.line), 1);
    acknowledge(&a);
    start_engine(&a, ELSEWHERE, 4, FROM_GUEST);
    step(&a);
    before = state_of(&a);
    raise_software(&a);
    ck_assert_uint_eq(fake_signals(c.line), 1);
    revive(&b, &a, &c, &before);
    replay(&b, &a, do_nothing);
    ck_assert_uint_eq(b.host.n_sent, 1);
    ck_assert_uint_eq(get0(&b, DMA_CONTROL, 4), BUSY);
    ck_assert_uint_eq(fake_signals(c.line), 0);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

static void start(struct process *p)
{
    device_start(p->dev);
}

/* The step that died is the start itself, before the line rose or behind that. */
START_TEST(a_start_is_executed_again)
{
    struct process a;
    struct process b;
    struct process third;
    struct client c;
    struct device_state before;
    bool signalled = _i == 1;

    client_init(&c);
    process_init(&a, &c, false);
    memset(device_bar1(a.dev), 0x11, 64);
    device_stop_dma(a.dev);
    start_engine(&a, GUEST, 64, TO_GUEST);
    put0(&a, TIMER_NSEC, 8, FAKE_START_TIME + S);
    step(&a);
    before = state_of(&a);
    a.host.now += S;
    revive(&b, &a, &c, &before);
    device_unfreeze(b.dev);
    step(&b);
    device_start(b.dev);
    ck_assert_uint_eq(fake_signals(c.line), 1); /* the line rises once */
    ck_assert_uint_eq(c.memory[0], 0x11);
    memset(c.memory, 0x22, 64);
    if (!signalled)
        evidence_reset(&b.block->evidence);
    revive(&third, &b, &c, &before);
    replay(&third, &b, start);
    ck_assert_uint_eq(fake_signals(c.line), !signalled);
    ck_assert_uint_eq(c.memory[0], signalled ? 0x22 : 0x11);
    ck_assert_mem_eq(&b.block->state, &third.block->state, sizeof(struct device_state));
    process_fini(&a);
    process_fini(&b);
    process_fini(&third);
    client_fini(&c);
}
END_TEST

static void ask_for_dma(struct process *p)
{
    const uint32_t command = TO_GUEST;

    ck_assert_int_eq(device_write(p->dev, BAR0, DMA_CONTROL, &command, 4), -EBUSY);
}

static void take_bus_master(struct process *p)
{
    fake_put(p->dev, CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
}

static void stop(struct process *p)
{
    device_stop(p->dev);
}

/* Steps beside a transfer, which goes on with the start only. */
START_TEST(a_step_beside_a_transfer)
{
    static void (*const steps[])(struct process *) = { ask_for_dma, take_bus_master, stop };
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;
    bool goes_on = steps[_i] == ask_for_dma;

    client_init(&c);
    process_init(&a, &c, false);
    start_engine(&a, ELSEWHERE, 4, FROM_GUEST);
    step(&a);
    before = state_of(&a);
    steps[_i](&a);
    (void)fake_signals(c.line); /* one without Bus Master */
    revive(&b, &a, &c, &before);
    replay(&b, &a, steps[_i]);
    ck_assert_uint_eq(fake_signals(c.line), 0);
    ck_assert_mem_eq(&a.block->state, &b.block->state, sizeof(struct device_state));
    ck_assert_uint_eq(b.host.n_sent, goes_on);
    ck_assert_uint_eq(get0(&b, DMA_CONTROL, 4),
                      steps[_i] == take_bus_master ? FAILED_ENODEV : BUSY);
    ck_assert_int_eq(device_running(b.dev), steps[_i] != stop);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_deadline_that_fired_fires_once,        dma_that_was_told_of_is_not_made_again,
        dma_that_was_not_told_of_is_made,        a_transfer_that_was_told_of_is_over,
        a_transfer_that_was_not_told_of_goes_on,
    };
    const struct fake_loop_test loops[] = {
        { rings_that_were_taken_count, 2 },
        { an_unmask_that_was_taken_counts, 2 },
        { a_step_beside_a_transfer, 3 },
        { a_start_is_executed_again, 2 },
    };

    return fake_run("device_replay", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
