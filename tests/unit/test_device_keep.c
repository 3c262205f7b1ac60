/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that goes on in another process, whose first one died between two steps. */
#define _GNU_SOURCE
#include "unit/keep_kit.h"

START_TEST(the_state_is_where_the_host_has_it)
{
    static const struct block zeros;
    struct process p;
    struct block *left = malloc(sizeof(*left));

    process_make(&p, false);
    ck_assert_ptr_eq(device_state(p.dev), &p.block->state);
    ck_assert_uint_eq(p.block->state.magic, DEVICE_STATE_MAGIC);
    ck_assert_uint_eq(p.block->state.size, sizeof(struct device_state));
    ck_assert_uint_eq(DEVICE_STATE_NARROW, offsetof(struct device_state, pci));
    put0(&p, DOORBELL, 4, 77);
    ck_assert_uint_eq(p.block->state.timer.doorbell, 77);
    map(&p, ELSEWHERE, -1);
    ck_assert_uint_eq(p.block->high, 1);
    ck_assert_mem_ne(&p.block->records[0], &zeros.records[0], sizeof(struct dma_record));
    start_engine(&p, ELSEWHERE, 16, FROM_GUEST);
    *left = *p.block;
    device_free(p.dev); /* leaves it as it is */
    p.dev = NULL;
    ck_assert_mem_eq(p.block, left, sizeof(*left));
    free(left);
    process_fini(&p);
}
END_TEST

/* What plain accesses change is in the narrow part of the state. */
START_TEST(what_is_narrow)
{
    const size_t narrow = DEVICE_STATE_NARROW;
    struct process p;
    struct client c;
    struct device_state before;

    client_init(&c);
    process_init(&p, &c, true);
    before = state_of(&p);
    put0(&p, TIMER_NSEC, 8, FAKE_START_TIME + S);
    fake_set_time(&p.host, p.dev, FAKE_START_TIME + S);
    start_engine(&p, ELSEWHERE, 16, TO_GUEST);
    put0(&p, DOORBELL, 4, 5);
    (void)get0(&p, 0x040, 4);
    ck_assert_mem_ne(&p.block->state, &before, narrow);
    ck_assert_mem_eq((const uint8_t *)&p.block->state + narrow, (const uint8_t *)&before + narrow,
                     sizeof(before) - narrow);
    process_fini(&p);
    client_fini(&c);
}
END_TEST

/* A deadline that has passed, an interrupt that waits for its client, a transfer: once each. */
START_TEST(it_goes_on)
{
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;

    client_init(&c);
    process_init(&a, &c, false);
    put0(&a, TIMER_NSEC, 8, FAKE_START_TIME + S);
    start_engine(&a, ELSEWHERE, 16, FROM_GUEST);
    ck_assert_uint_eq(a.host.n_sent, 1);
    step(&a);
    before = state_of(&a);
    a.host.now += 5 * S;
    revive(&b, &a, &c, &before);
    device_unfreeze(b.dev);
    ck_assert(device_running(b.dev));
    ck_assert_uint_eq(fake_signals(c.line), 0); /* nothing goes on yet */
    ck_assert_uint_eq(b.host.n_sent, 0);
    ck_assert_uint_eq(get0(&b, DMA_CONTROL, 4), BUSY);
    device_start(b.dev);
    ck_assert_uint_eq(fake_signals(c.line), 1);
    ck_assert_uint_eq(get0(&b, IRQ_STATUS, 4), 1);
    ck_assert_uint_eq(b.host.n_sent, 1);
    ck_assert_uint_eq(b.host.sent[0].iova, ELSEWHERE);
    acknowledge(&b);
    device_start(b.dev); /* it is started */
    fake_set_time(&b.host, b.dev, b.host.now + S);
    ck_assert_uint_eq(fake_signals(c.line), 0);
    dma_message_done(device_dma(b.dev), b.host.sent[0].tag, 0, (const uint8_t *)"0123456789abcdef",
                     16);
    ck_assert_uint_eq(fake_signals(c.line), 1);
    ck_assert_uint_eq(get0(&b, DMA_CONTROL, 4), 0);
    ck_assert_mem_eq(device_bar1(b.dev), "0123456789abcdef", 16);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

/* An interrupt that found no way out goes out, and not before the start. */
START_TEST(what_is_pending_goes_out_once)
{
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;
    enum irq_delivery how;

    client_init(&c);
    process_init(&a, &c, false);
    irq_drop_client(device_irq(a.dev));
    ck_assert_int_eq(device_trigger_irq(a.dev, INTX, 0, &how), 0);
    step(&a);
    before = state_of(&a);
    revive(&b, &a, &c, &before);
    device_unfreeze(b.dev);
    ck_assert_uint_eq(fake_signals(c.line), 0);
    device_start(b.dev);
    device_start(b.dev);
    ck_assert_uint_eq(fake_signals(c.line), 1);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

/* Rings of a stopped device wait on in the next process; here, nothing else may hold them. */
START_TEST(rings_that_wait)
{
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;
    struct device_io_fd fds[DEVICE_IO_FDS_MAX];
    unsigned n;

    client_init(&c);
    process_init(&a, &c, false);
    ck_assert_int_eq(device_io_fds(a.dev, BAR0, fds, &n), 0);
    device_stop(a.dev);
    ck_assert_int_eq(pwrite(fds[0].shadow_fd, "\x44\0\0", 4, 0), 4);
    ck_assert_int_eq(eventfd_write(fds[0].fd, 3), 0);
    device_take_rings(a.dev);
    step(&a);
    before = state_of(&a);
    revive(&b, &a, &c, &before);
    device_start(b.dev);
    device_start(a.dev); /* as if it had never died */
    ck_assert_uint_eq(get0(&a, DOORBELL_COUNT, 4), 3);
    ck_assert_uint_eq(get0(&b, DOORBELL_COUNT, 4), 3);
    ck_assert_uint_eq(get0(&b, DOORBELL, 4), 0x44);
    ck_assert_mem_eq(&a.block->state, &b.block->state, sizeof(struct device_state));
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

START_TEST(a_self_test_begins_again)
{
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;

    client_init(&c);
    process_init(&a, &c, true);
    ck_assert_uint_eq(a.block->state.timer.self_test, 0);
    put0(&a, TIMER_NSEC, 8, 1);
    ck_assert_uint_eq(a.host.n_sent, 1); /* it waits for the client's answer */
    ck_assert_uint_eq(a.block->state.timer.self_test, 1);
    step(&a);
    before = state_of(&a);
    revive(&b, &a, &c, &before);
    device_unfreeze(b.dev);
    ck_assert_uint_eq(b.host.n_sent, 0);
    device_start(b.dev);
    ck_assert_uint_eq(b.host.n_sent, 1);
    ck_assert_uint_eq(b.block->state.timer.self_test, 1);
    while (b.block->state.timer.self_test != 0) {
        struct fake_message *m = &b.host.sent[b.host.n_sent - 1];

        dma_message_done(device_dma(b.dev), m->tag, m->data != NULL ? 0 : -EIO, NULL, m->len);
    }
    ck_assert_uint_eq(b.host.n_sent, 2);
    device_free(a.dev); /* a process that ends leaves it for the next one */
    a.dev = NULL;
    ck_assert_uint_eq(a.block->state.timer.self_test, 1);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

/*
 * The dirty log
 */

START_TEST(everything_is_written_in_a_restored_log)
{
    struct vfio_device_feature_dma_logging_range ranges[4];
    const struct vfio_device_feature_dma_logging_range watched[2] = {
        { .iova = GUEST, .length = 2 * PAGE }, { .iova = ELSEWHERE, .length = 2 * PAGE }
    };
    struct process a;
    struct process b;
    struct client c;
    struct device_state before;
    uint64_t page_size = PAGE;
    uint32_t n = 4;
    uint64_t bits;

    client_init(&c);
    process_init(&a, &c, false);
    ck_assert_int_eq(device_log_ranges(a.dev, &page_size, ranges, &n), -EINVAL);
    ck_assert_int_eq(device_log_start(a.dev, &page_size, watched, 2), 0);
    page_size = 0;
    ck_assert_int_eq(device_log_ranges(a.dev, &page_size, ranges, &n), 0);
    ck_assert(page_size == PAGE && n == 2);
    ck_assert_mem_eq(ranges, watched, sizeof(watched));
    before = state_of(&a);
    revive(&b, &a, &c, &before);
    ck_assert_int_eq(device_log_restore(b.dev, page_size, ranges, n), 0);
    ck_assert_int_eq(device_log_restore(b.dev, page_size, ranges, n), -EBUSY);
    device_start(b.dev);
    ck_assert_int_eq(device_log_report(b.dev, GUEST, 2 * PAGE, PAGE, &bits), 0);
    ck_assert_uint_eq(bits, 3);
    ck_assert_int_eq(device_log_report(b.dev, GUEST, 2 * PAGE, PAGE, &bits), 0);
    ck_assert_uint_eq(bits, 0); /* it ends */
    start_engine(&b, GUEST, 4, TO_GUEST);
    ck_assert_int_eq(device_log_report(b.dev, GUEST, 2 * PAGE, PAGE, &bits), 0);
    ck_assert_uint_eq(bits, 1);
    ck_assert_int_eq(device_log_report(b.dev, ELSEWHERE, 2 * PAGE, PAGE, &bits), 0);
    ck_assert_uint_eq(bits, 3);
    n = 1; /* no room for both: all is watched */
    ck_assert_int_eq(device_log_ranges(a.dev, &page_size, ranges, &n), 0);
    ck_assert_uint_eq(n, 0);
    process_fini(&a);
    process_fini(&b);
    client_fini(&c);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_state_is_where_the_host_has_it,      what_is_narrow,  it_goes_on,
        what_is_pending_goes_out_once,           rings_that_wait, a_self_test_begins_again,
        everything_is_written_in_a_restored_log,
    };

    return fake_run("device_keep", tests, ARRAY_SIZE(tests), NULL, 0);
}
