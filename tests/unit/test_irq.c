/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "device/irq.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "unit/fakes.h"
#include "unit/irq_kit.h"

/*
 * INTx: scripts of what happens to the line, and how many triggers follow each step.
 */

enum step_kind {
    END,
    RISE,        /* a source appears */
    SECOND,      /* another one while the line is high */
    FALL,        /* no source is left */
    CLIENT_MASK, /* SET_IRQS MASK, UNMASK */
    CLIENT_UNMASK,
    MASK_BOOL0, /* the same with a bool of 0: nothing */
    UNMASK_BOOL0,
    MASK_BOOL1,
    UNMASK_BOOL1,
    INTX_DISABLE, /* the guest's */
    INTX_ENABLE,
    D3HOT,
    D0,
    GIVE_FD,
    TAKE_FD, /* de-assigned by a message without fds */
    DISABLE_INDEX,
    DROP_CLIENT,
    RESET,
    MSI_ON,
    MSI_OFF,
    MSI_DISABLE_INDEX,
    LOOPBACK, /* SET_IRQS TRIGGER without data */
    LOOPBACK_BOOL0,
};

struct step {
    enum step_kind kind;
    uint64_t triggers;
};

static const struct script {
    const char *name;
    struct step steps[12];
} scripts[] = {
    { "a rise triggers once", { { GIVE_FD, 0 }, { RISE, 1 }, { SECOND, 0 }, { FALL, 0 } } },
    { "a client that never unmasks gets one for each rise",
      { { GIVE_FD, 0 },
        { RISE, 1 },
        { FALL, 0 },
        { RISE, 1 },
        { SECOND, 0 },
        { FALL, 0 },
        { RISE, 1 } } },
    { "unmask while high triggers again, and again",
      { { GIVE_FD, 0 },
        { RISE, 1 },
        { CLIENT_UNMASK, 1 },
        { CLIENT_UNMASK, 1 },
        { FALL, 0 },
        { CLIENT_UNMASK, 0 } } },
    { "mask holds a rise back",
      { { GIVE_FD, 0 }, { CLIENT_MASK, 0 }, { RISE, 0 }, { SECOND, 0 }, { CLIENT_UNMASK, 1 } } },
    { "what fell while masked does not trigger",
      { { GIVE_FD, 0 },
        { CLIENT_MASK, 0 },
        { RISE, 0 },
        { FALL, 0 },
        { CLIENT_UNMASK, 0 },
        { RISE, 1 } } },
    { "bools",
      { { GIVE_FD, 0 },
        { MASK_BOOL0, 0 },
        { RISE, 1 },
        { UNMASK_BOOL0, 0 },
        { UNMASK_BOOL1, 1 },
        { FALL, 0 },
        { MASK_BOOL1, 0 },
        { RISE, 0 },
        { UNMASK_BOOL0, 0 },
        { UNMASK_BOOL1, 1 } } },
    { "INTx Disable blocks, clearing it delivers",
      { { GIVE_FD, 0 },
        { INTX_DISABLE, 0 },
        { RISE, 0 },
        { CLIENT_UNMASK, 0 },
        { INTX_ENABLE, 1 },
        { INTX_ENABLE, 0 } } },
    { "clearing INTx Disable triggers a level that was delivered before",
      { { GIVE_FD, 0 },
        { RISE, 1 },
        { INTX_DISABLE, 0 },
        { INTX_ENABLE, 1 },
        { FALL, 0 },
        { INTX_DISABLE, 0 },
        { INTX_ENABLE, 0 } } },
    { "what fell behind INTx Disable does not trigger",
      { { GIVE_FD, 0 }, { INTX_DISABLE, 0 }, { RISE, 0 }, { FALL, 0 }, { INTX_ENABLE, 0 } } },
    { "D3hot holds back, D0 delivers",
      { { GIVE_FD, 0 }, { D3HOT, 0 }, { RISE, 0 }, { CLIENT_UNMASK, 0 }, { D0, 1 }, { D0, 0 } } },
    { "return to D0 with a high level triggers",
      { { GIVE_FD, 0 }, { RISE, 1 }, { D3HOT, 0 }, { D0, 1 } } },
    { "D0 with INTx Disable still set",
      { { GIVE_FD, 0 }, { D3HOT, 0 }, { RISE, 0 }, { INTX_DISABLE, 0 }, { INTX_ENABLE, 1 } } },
    { "the first eventfd gets what waited", { { RISE, 0 }, { GIVE_FD, 1 } } },
    { "a new eventfd while high gets one too", { { GIVE_FD, 0 }, { RISE, 1 }, { GIVE_FD, 1 } } },
    { "what fell before there was an eventfd", { { RISE, 0 }, { FALL, 0 }, { GIVE_FD, 0 } } },
    { "de-assigning keeps the level",
      { { GIVE_FD, 0 }, { TAKE_FD, 0 }, { RISE, 0 }, { CLIENT_UNMASK, 0 }, { GIVE_FD, 1 } } },
    { "disabling the index forgets the mask",
      { { GIVE_FD, 0 }, { CLIENT_MASK, 0 }, { RISE, 0 }, { DISABLE_INDEX, 0 }, { GIVE_FD, 1 } } },
    { "a masked line stays masked with a new eventfd",
      { { GIVE_FD, 0 }, { CLIENT_MASK, 0 }, { RISE, 0 }, { GIVE_FD, 0 }, { CLIENT_UNMASK, 1 } } },
    { "the next client gets what the last one saw",
      { { GIVE_FD, 0 }, { RISE, 1 }, { DROP_CLIENT, 0 }, { GIVE_FD, 1 } } },
    { "the next client is not masked",
      { { GIVE_FD, 0 }, { CLIENT_MASK, 0 }, { DROP_CLIENT, 0 }, { GIVE_FD, 0 }, { RISE, 1 } } },
    { "reset drops the level, keeps the eventfd",
      { { GIVE_FD, 0 }, { RISE, 1 }, { RESET, 0 }, { CLIENT_UNMASK, 0 }, { RISE, 1 } } },
    { "reset keeps the client's mask",
      { { GIVE_FD, 0 }, { CLIENT_MASK, 0 }, { RESET, 0 }, { RISE, 0 }, { CLIENT_UNMASK, 1 } } },
    { "MSI silences the line and gives it back",
      { { GIVE_FD, 0 }, { RISE, 1 }, { MSI_ON, 0 }, { CLIENT_UNMASK, 0 }, { MSI_OFF, 1 } } },
    { "a source that came during MSI pulls the line after it",
      { { GIVE_FD, 0 }, { MSI_ON, 0 }, { RISE, 0 }, { MSI_OFF, 1 }, { FALL, 0 }, { RISE, 1 } } },
    { "disabling an index that is not in use is nothing to the line",
      { { GIVE_FD, 0 }, { RISE, 1 }, { MSI_DISABLE_INDEX, 0 } } },
    { "loop-back signals the eventfd, whatever the level",
      { { GIVE_FD, 0 }, { LOOPBACK, 1 }, { LOOPBACK_BOOL0, 0 }, { RISE, 1 }, { LOOPBACK, 1 } } },
    { "loop-back without an eventfd", { { LOOPBACK, 0 }, { GIVE_FD, 0 } } },
};

static void set_gate(struct irq *irq, bool d0, bool intx_disabled, bool msi_enabled,
                     uint32_t msi_masked)
{
    const struct irq_gate gate = { .d0 = d0,
                                   .intx_disabled = intx_disabled,
                                   .msi_enabled = msi_enabled,
                                   .msi_count = IRQ_MSI_MAX,
                                   .msi_masked = msi_masked };

    irq_set_gate(irq, &gate);
}

static void set_bool(struct line *l, uint32_t action, uint8_t value)
{
    ck_assert_int_eq(irq_set(l->irq, BOOL | action, INTX, 0, 1, &value, NULL, 0), 0);
}

static void client_step(struct line *l, enum step_kind kind)
{
    switch (kind) {
    case CLIENT_MASK:
        ck_assert_int_eq(set_none(l, MASK, INTX, 0, 1), 0);
        break;
    case CLIENT_UNMASK:
        ck_assert_int_eq(set_none(l, UNMASK, INTX, 0, 1), 0);
        break;
    case MASK_BOOL0:
    case MASK_BOOL1:
        set_bool(l, MASK, kind == MASK_BOOL1);
        break;
    case UNMASK_BOOL0:
    case UNMASK_BOOL1:
        set_bool(l, UNMASK, kind == UNMASK_BOOL1);
        break;
    case GIVE_FD:
        fake_give_eventfd(l->irq, TRIGGER, INTX, 0, l->fd);
        break;
    case TAKE_FD:
        ck_assert_int_eq(irq_set(l->irq, EVENTFD | TRIGGER, INTX, 0, 1, NULL, NULL, 0), 0);
        break;
    case DISABLE_INDEX:
    case MSI_DISABLE_INDEX:
        ck_assert_int_eq(set_none(l, TRIGGER, kind == DISABLE_INDEX ? INTX : MSI, 0, 0), 0);
        break;
    case DROP_CLIENT:
        irq_drop_client(l->irq);
        break;
    case LOOPBACK:
        ck_assert_int_eq(set_none(l, TRIGGER, INTX, 0, 1), 0);
        break;
    default:
        set_bool(l, TRIGGER, 0);
        break;
    }
}

static void do_step(struct line *l, enum step_kind kind)
{
    switch (kind) {
    case RISE:
        irq_update(l->irq, 1, 1);
        break;
    case SECOND:
        irq_update(l->irq, 3, 2);
        break;
    case FALL:
        irq_update(l->irq, 0, 0);
        break;
    case INTX_DISABLE:
        set_gate(l->irq, true, true, false, 0);
        break;
    case INTX_ENABLE:
    case D0:
    case MSI_OFF:
        set_gate(l->irq, true, false, false, 0);
        break;
    case D3HOT:
        set_gate(l->irq, false, false, false, 0);
        break;
    case MSI_ON:
        set_gate(l->irq, true, false, true, 0);
        break;
    case RESET:
        irq_reset(l->irq);
        break;
    default:
        client_step(l, kind);
        break;
    }
}

START_TEST(intx_is_a_level)
{
    const struct script *script = &scripts[_i];
    struct line l;

    line_init(&l, 4);
    for (unsigned i = 0; script->steps[i].kind != END; i++) {
        uint64_t triggers;

        do_step(&l, script->steps[i].kind);
        triggers = fake_signals(l.fd);
        ck_assert_msg(triggers == script->steps[i].triggers, "%s: step %u: %llu triggers, not %llu",
                      script->name, i, (unsigned long long)triggers,
                      (unsigned long long)script->steps[i].triggers);
    }
    line_fini(&l);
}
END_TEST

START_TEST(outcomes_say_why)
{
    struct line l;

    line_init(&l, 0);
    ck_assert_int_eq(irq_update(l.irq, 0, 0), IRQ_PENDING_DISABLED);
    ck_assert_int_eq(irq_update(l.irq, 1, 1), IRQ_PENDING_NO_EVENTFD);
    ck_assert_int_eq(irq_update(l.irq, 3, 2), IRQ_PENDING_NO_EVENTFD);
    fake_give_eventfd(l.irq, TRIGGER, INTX, 0, l.fd);
    ck_assert_int_eq(irq_update(l.irq, 3, 1), IRQ_ALREADY_ASSERTED);
    irq_update(l.irq, 0, 0);
    ck_assert_int_eq(irq_update(l.irq, 2, 2), IRQ_DELIVERED_EVENTFD);
    irq_update(l.irq, 0, 0);
    set_none(&l, MASK, INTX, 0, 1);
    ck_assert_int_eq(irq_update(l.irq, 2, 2), IRQ_PENDING_MASKED);
    irq_update(l.irq, 0, 0);
    set_gate(l.irq, true, true, false, 0);
    ck_assert_int_eq(irq_update(l.irq, 2, 2), IRQ_PENDING_DISABLED);
    irq_update(l.irq, 0, 0);
    set_gate(l.irq, false, false, false, 0);
    ck_assert_int_eq(irq_update(l.irq, 2, 2), IRQ_PENDING_POWER);
    ck_assert(!irq_level(l.irq));
    set_gate(l.irq, true, false, false, 0);
    ck_assert(irq_level(l.irq));
    ck_assert_uint_eq(irq_count(l.irq), 5); /* rises, delivered or not */
    irq_reset(l.irq);
    ck_assert_uint_eq(irq_count(l.irq), 0);
    ck_assert(!irq_level(l.irq));
    line_fini(&l);
}
END_TEST

/*
 * MSI
 */

START_TEST(msi_raises_the_source_modulo_the_vectors)
{
    static const uint64_t expected[4][4] = {
        { 3, 0, 0, 0 }, { 2, 1, 0, 0 }, { 1, 1, 1, 0 }, { 1, 1, 1, 0 }
    };
    unsigned n = (unsigned)_i + 1;
    struct line l;
    int fds[4];

    line_init(&l, 4);
    ck_assert_uint_eq(irq_mode(l.irq), INTX);
    give_msi(&l, fds, n);
    ck_assert_uint_eq(irq_mode(l.irq), MSI);
    ck_assert_int_eq(irq_update(l.irq, 7, 7), IRQ_DELIVERED_EVENTFD);
    expect_msi(fds, n, expected[_i]);
    ck_assert_uint_eq(irq_count(l.irq), 3);
    /* An edge: the source is still there, and happens again. */
    irq_update(l.irq, 7, 1);
    expect_msi(fds, n, (const uint64_t[]) { 1, 0, 0, 0 });
    /* One that goes is no event; one that appears without having been told is. */
    irq_update(l.irq, 0, 0);
    irq_update(l.irq, 1, 0);
    expect_msi(fds, n, (const uint64_t[]) { 1, 0, 0, 0 });
    ck_assert_uint_eq(irq_count(l.irq), 5);
    line_fini(&l);
    close_all(fds, n);
}
END_TEST

START_TEST(msi_waits_for_an_eventfd)
{
    struct line l;
    int fds[2];

    line_init(&l, 2);
    set_gate(l.irq, true, false, true, 0);
    ck_assert_int_eq(irq_update(l.irq, 2, 2), IRQ_PENDING_NO_EVENTFD);
    ck_assert_uint_eq(l.state.msi_pending, 2);
    give_msi(&l, fds, 2);
    expect_msi(fds, 2, (const uint64_t[]) { 0, 1 });
    ck_assert_uint_eq(l.state.msi_pending, 0);
    fake_give_eventfd(l.irq, TRIGGER, MSI, 1, fds[1]); /* delivered only once */
    expect_msi(fds, 2, (const uint64_t[]) { 0, 0 });
    line_fini(&l);
    close_all(fds, 2);
}
END_TEST

START_TEST(msi_mask_bits_and_power_hold_back)
{
    struct line l;
    int fds[2];

    line_init(&l, 2);
    give_msi(&l, fds, 2);
    set_gate(l.irq, true, false, true, 1);
    ck_assert_int_eq(irq_update(l.irq, 1, 1), IRQ_PENDING_DISABLED);
    ck_assert_int_eq(irq_update(l.irq, 3, 2), IRQ_DELIVERED_EVENTFD);
    expect_msi(fds, 2, (const uint64_t[]) { 0, 1 });
    irq_update(l.irq, 3, 1); /* twice while masked is one message */
    set_gate(l.irq, true, false, true, 0);
    expect_msi(fds, 2, (const uint64_t[]) { 1, 0 });
    set_gate(l.irq, false, false, true, 0);
    ck_assert_int_eq(irq_update(l.irq, 3, 2), IRQ_PENDING_POWER);
    expect_msi(fds, 2, (const uint64_t[]) { 0, 0 });
    set_gate(l.irq, true, false, true, 0);
    expect_msi(fds, 2, (const uint64_t[]) { 0, 1 });
    /* INTx Disable is nothing to MSI. */
    set_gate(l.irq, true, true, true, 0);
    irq_update(l.irq, 3, 1);
    expect_msi(fds, 2, (const uint64_t[]) { 1, 0 });
    line_fini(&l);
    close_all(fds, 2);
}
END_TEST

START_TEST(the_last_vector_gives_intx_back)
{
    struct line l;
    int fds[2];

    line_init(&l, 2);
    fake_give_eventfd(l.irq, TRIGGER, INTX, 0, l.fd);
    give_msi(&l, fds, 2);
    irq_update(l.irq, 1, 1);
    expect_msi(fds, 2, (const uint64_t[]) { 1, 0 });
    ck_assert_uint_eq(fake_signals(l.fd), 0);
    ck_assert_int_eq(irq_set(l.irq, EVENTFD | TRIGGER, MSI, 0, 1, NULL, NULL, 0), 0);
    ck_assert_uint_eq(irq_mode(l.irq), MSI);
    ck_assert_uint_eq(fake_signals(l.fd), 0);
    ck_assert_int_eq(set_none(&l, TRIGGER, MSI, 0, 0), 0);
    ck_assert_uint_eq(irq_mode(l.irq), INTX);
    ck_assert_uint_eq(fake_signals(l.fd), 1);
    line_fini(&l);
    close_all(fds, 2);
}
END_TEST

START_TEST(vectors_are_raised_directly)
{
    static const uint32_t singles[] = { ERR, REQ };
    enum irq_delivery how = IRQ_ALREADY_ASSERTED;
    struct line l;

    line_init(&l, 2);
    for (size_t i = 0; i < ARRAY_SIZE(singles); i++) {
        ck_assert_int_eq(irq_raise(l.irq, singles[i], 0, &how), 0);
        ck_assert_int_eq(how, IRQ_PENDING_NO_EVENTFD);
        fake_give_eventfd(l.irq, TRIGGER, singles[i], 0, l.fd);
        ck_assert_uint_eq(fake_signals(l.fd), 1);
        fake_give_eventfd(l.irq, TRIGGER, singles[i], 0, l.fd);
        ck_assert_uint_eq(fake_signals(l.fd), 0); /* nothing pends any more */
        ck_assert_int_eq(irq_raise(l.irq, singles[i], 0, &how), 0);
        ck_assert_int_eq(how, IRQ_DELIVERED_EVENTFD);
        ck_assert_uint_eq(fake_signals(l.fd), 1);
        ck_assert_int_eq(irq_raise(l.irq, singles[i], 1, &how), -EINVAL);
    }
    ck_assert_int_eq(irq_raise(l.irq, MSI, 1, &how), 0);
    ck_assert_int_eq(how, IRQ_PENDING_NOT_ENABLED);
    fake_give_eventfd(l.irq, TRIGGER, MSI, 1, l.fd);
    ck_assert_uint_eq(fake_signals(l.fd), 1);
    ck_assert_int_eq(irq_raise(l.irq, MSI, 2, &how), -EINVAL);
    ck_assert_int_eq(irq_raise(l.irq, MSIX, 0, &how), -EINVAL);
    ck_assert_int_eq(irq_raise(l.irq, INTX, 0, &how), -EINVAL);
    ck_assert_int_eq(irq_raise(l.irq, 5, 0, &how), -EINVAL);
    ck_assert_int_eq(irq_raise(l.irq, UINT32_MAX, 0, &how), -EINVAL);
    line_fini(&l);
}
END_TEST

START_TEST(indexes_are_described)
{
    static const struct {
        uint32_t index, count, flags;
    } indexes[] = {
        { INTX, 1, 7 }, { MSI, 4, 9 }, { MSIX, 0, 0 }, { ERR, 1, 9 }, { REQ, 1, 9 },
    };
    uint32_t count;
    uint32_t flags;
    struct line l;

    line_init(&l, 4);
    for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
        ck_assert_int_eq(irq_info(l.irq, indexes[i].index, &count, &flags), 0);
        ck_assert_uint_eq(count, indexes[i].count);
        ck_assert_uint_eq(flags, indexes[i].flags);
    }
    ck_assert_int_eq(irq_info(l.irq, 5, &count, &flags), -EINVAL);
    ck_assert_int_eq(irq_info(l.irq, UINT32_MAX, &count, &flags), -EINVAL);
    line_fini(&l);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        outcomes_say_why,
        msi_waits_for_an_eventfd,
        msi_mask_bits_and_power_hold_back,
        the_last_vector_gives_intx_back,
        vectors_are_raised_directly,
        indexes_are_described,
    };
    const struct fake_loop_test loops[] = {
        { intx_is_a_level, ARRAY_SIZE(scripts) },
        { msi_raises_the_source_modulo_the_vectors, 4 },
    };

    return fake_run("irq", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
