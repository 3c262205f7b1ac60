/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All that a guest can see of a device is in the state block and in BAR1: a device is used, these
 * two are loaded into a fresh one, and both must be alike from then on, whatever is done to them.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/device.h"
#include "unit/fakes.h"

#define BAR0   VFIO_PCI_BAR0_REGION_INDEX
#define BAR1   VFIO_PCI_BAR1_REGION_INDEX
#define CONFIG VFIO_PCI_CONFIG_REGION_INDEX
#define INTX   VFIO_PCI_INTX_IRQ_INDEX
#define MSI    VFIO_PCI_MSI_IRQ_INDEX
#define ERR    VFIO_PCI_ERR_IRQ_INDEX
#define REQ    VFIO_PCI_REQ_IRQ_INDEX

#define TRIGGER VFIO_IRQ_SET_ACTION_TRIGGER
#define S       FAKE_NS_PER_S

enum {
    TIMER_SEC = 0x000,
    TIMER_NSEC = 0x008,
    IRQ_ENABLE = 0x014,
    DMA_IOVA = 0x020,
    DMA_OFFSET = 0x028,
    DMA_LENGTH = 0x030,
    DMA_CONTROL = 0x034,
    CLOCK_NSEC = 0x040,
    DOORBELL = 0x800,
    DOORBELL_TRAPPED = 0x808,
};

enum { COMMAND = 0x04, BAR0_ADDRESS = 0x10, LINE = 0x3c, PMCSR = 0x44, MSI_FLAGS = 0x4a };
enum { MSI_ADDRESS = 0x4c, MSI_DATA = 0x54, MSI_MASK = 0x58, DEVICE_CONTROL = 0x68 };

#define N_LINES 7 /* INTx, four of MSI, ERR, REQ */

struct machine {
    struct fake_host host;
    struct device *dev;
    int lines[N_LINES];
};

static void describe(struct device_description *d)
{
    description_default(d);
    d->pci.caps[1] = (struct pci_cap_description) {
        .kind = PCI_CAP_KIND_MSI, .vectors = 4, .address64 = true, .maskable = true
    };
    d->pci.caps[2] = (struct pci_cap_description) { .kind = PCI_CAP_KIND_EXPRESS, .flr = true };
    d->pci.n_caps = 3;
}

static void machine_init(struct machine *m, const struct device_description *d)
{
    fake_host_init(&m->host);
    m->dev = fake_device(&m->host, d);
    for (unsigned i = 0; i < N_LINES; i++)
        m->lines[i] = fake_eventfd();
}

static void machine_fini(struct machine *m)
{
    device_free(m->dev);
    fake_host_fini(&m->host);
    for (unsigned i = 0; i < N_LINES; i++)
        close(m->lines[i]);
}

static void put0(struct machine *m, uint64_t offset, uint32_t count, uint64_t value)
{
    fake_put(m->dev, BAR0, offset, count, value);
}

static void config(struct machine *m, uint64_t offset, uint32_t count, uint64_t value)
{
    fake_put(m->dev, CONFIG, offset, count, value);
}

static void trigger(struct machine *m, uint32_t index, uint32_t vector)
{
    enum irq_delivery how;

    ck_assert_int_eq(device_trigger_irq(m->dev, index, vector, &how), 0);
}

static void client(struct machine *m, uint32_t action)
{
    ck_assert_int_eq(
        irq_set(device_irq(m->dev), VFIO_IRQ_SET_DATA_NONE | action, INTX, 0, 1, NULL, NULL, 0), 0);
}

/*
 * Uses of a device
 */

static void use_registers(struct machine *m)
{
    put0(m, IRQ_ENABLE, 4, 0xfffffff5);
    put0(m, TIMER_SEC, 8, FAKE_START_TIME / S + 30);
    put0(m, DMA_IOVA, 8, 0x1111222233334444);
    put0(m, DMA_OFFSET, 8, 0x5555666677778888);
    put0(m, DMA_LENGTH, 4, 0x9999);
    put0(m, DMA_CONTROL, 4, 1); /* fails */
    put0(m, DOORBELL, 4, 0xaaaa);
    put0(m, DOORBELL_TRAPPED, 4, 0xbbbb);
    fake_put(m->dev, BAR1, 16376, 8, 0xcccc0000dddd);
}

static void use_a_fired_timer(struct machine *m)
{
    put0(m, TIMER_NSEC, 8, FAKE_START_TIME + 5);
    fake_set_time(&m->host, m->dev, FAKE_START_TIME + 6);
}

static void use_half_written(struct machine *m)
{
    put0(m, DMA_IOVA, 8, 0x1111222233334444);
    put0(m, DMA_IOVA, 4, 0x77777777);
}

static void use_half_written_deadline(struct machine *m)
{
    put0(m, TIMER_NSEC, 4, 0x12345678);
}

static void use_half_read(struct machine *m)
{
    m->host.now = 0x55ffffffff;
    (void)fake_get(m->dev, BAR0, CLOCK_NSEC, 4);
    m->host.now = 0x5600000000;
}

static void use_configuration(struct machine *m)
{
    config(m, COMMAND, 2, 0x0546);
    config(m, BAR0_ADDRESS, 4, 0xfebff000);
    config(m, BAR0_ADDRESS + 4, 4, 0xfebf0000);
    config(m, LINE, 1, 10);
    config(m, MSI_ADDRESS, 4, 0xfee00000);
    config(m, MSI_DATA, 2, 0x4021);
    config(m, MSI_MASK, 4, 5);
    config(m, DEVICE_CONTROL, 2, 0x100f);
}

static void use_pending_intx(struct machine *m)
{
    trigger(m, INTX, 0);
}

static void use_masked_intx(struct machine *m)
{
    client(m, VFIO_IRQ_SET_ACTION_MASK);
    trigger(m, INTX, 0);
}

static void use_mask(struct machine *m)
{
    client(m, VFIO_IRQ_SET_ACTION_MASK);
}

static void use_delivered_intx(struct machine *m)
{
    fake_give_eventfd(device_irq(m->dev), TRIGGER, INTX, 0, m->lines[0]);
    trigger(m, INTX, 0);
    ck_assert_uint_eq(fake_signals(m->lines[0]), 1);
}

static void use_hidden_intx(struct machine *m)
{
    put0(m, IRQ_ENABLE, 4, 0);
    trigger(m, INTX, 0);
}

static void use_d3hot(struct machine *m)
{
    put0(m, DOORBELL, 4, 3);
    config(m, PMCSR, 2, 3);
    trigger(m, INTX, 0);
    trigger(m, MSI, 2);
}

static void use_intx_disable(struct machine *m)
{
    config(m, COMMAND, 2, 0x0400);
    trigger(m, INTX, 0);
}

static void use_msi(struct machine *m)
{
    config(m, MSI_FLAGS, 2, 0x21);
    config(m, MSI_MASK, 4, 2);
    trigger(m, INTX, 0); /* its source has vector 1 */
    trigger(m, MSI, 3);
}

static void use_errors(struct machine *m)
{
    trigger(m, ERR, 0);
    trigger(m, REQ, 0);
}

static const struct {
    const char *name;
    void (*use)(struct machine *m);
} uses[] = {
    { "registers", use_registers },
    { "a fired timer", use_a_fired_timer },
    { "a half written register", use_half_written },
    { "a half written deadline", use_half_written_deadline },
    { "a half read register", use_half_read },
    { "configuration", use_configuration },
    { "pending INTx", use_pending_intx },
    { "masked INTx", use_masked_intx },
    { "the client's mask", use_mask },
    { "delivered INTx", use_delivered_intx },
    { "INTx behind IRQ_ENABLE", use_hidden_intx },
    { "D3hot", use_d3hot },
    { "INTx Disable", use_intx_disable },
    { "MSI", use_msi },
    { "ERR and REQ", use_errors },
};

/*
 * Copying and comparing
 */

/* As a device that has moved: stopped, loaded, started; the mask is the client's to set. */
static void load(struct machine *to, const struct machine *from)
{
    const struct device_state *block = device_state(from->dev);
    char field[DEVICE_FIELD_BYTES] = "";

    ck_assert_uint_eq(block->magic, DEVICE_STATE_MAGIC);
    ck_assert_uint_eq(block->version, DEVICE_STATE_VERSION);
    ck_assert_uint_eq(block->size, sizeof(*block));
    to->host.now = from->host.now;
    if (block->irq.intx_masked)
        client(to, VFIO_IRQ_SET_ACTION_MASK);
    device_stop(to->dev);
    ck_assert_msg(device_load(to->dev, block, device_bar1(from->dev), field) == 0, "%s", field);
    device_start(to->dev);
}

/* BAR0 is read register by register, the others at once. */
static void compare_region(struct machine *a, struct machine *b, uint32_t region, const char *name)
{
    static uint8_t x[16384];
    static uint8_t y[16384];
    struct device_region r;
    uint32_t step;

    ck_assert_int_eq(device_region(a->dev, region, &r), 0);
    ck_assert_uint_le(r.size, sizeof(x));
    step = region == BAR0 ? 4 : (uint32_t)r.size;
    for (uint64_t offset = 0; offset < r.size; offset += step) {
        int err = device_read(a->dev, region, offset, x, step);

        if (device_read(b->dev, region, offset, y, step) != err ||
            (err == 0 && memcmp(x, y, step) != 0))
            ck_abort_msg("%s: region %u differs at 0x%llx", name, region,
                         (unsigned long long)offset);
    }
}

static void compare(struct machine *a, struct machine *b, const char *name)
{
    for (unsigned i = 0; i < N_LINES; i++) {
        uint64_t x = fake_signals(a->lines[i]);
        uint64_t y = fake_signals(b->lines[i]);

        ck_assert_msg(x == y, "%s: line %u: %llu and %llu signals", name, i, (unsigned long long)x,
                      (unsigned long long)y);
    }
    compare_region(a, b, BAR0, name);
    compare_region(a, b, BAR1, name);
    compare_region(a, b, CONFIG, name);
    ck_assert_int_eq(a->host.deadline, b->host.deadline);
    ck_assert_mem_eq(device_state(a->dev), device_state(b->dev), sizeof(struct device_state));
}

/* A half written or half read register goes on with its other half. */
static void go_on_with_halves(struct machine *m)
{
    if (!device_in_d0(m->dev))
        return;
    put0(m, DMA_IOVA + 4, 4, 0x66);
    put0(m, TIMER_NSEC + 4, 4, 0x17979cfe);
}

/* All eventfds are new. */
static void give_lines(struct machine *m)
{
    struct irq *irq = device_irq(m->dev);

    fake_give_eventfd(irq, TRIGGER, INTX, 0, m->lines[0]);
    fake_give_eventfd(irq, TRIGGER, ERR, 0, m->lines[5]);
    fake_give_eventfd(irq, TRIGGER, REQ, 0, m->lines[6]);
    if (irq_mode(irq) == VFIO_PCI_INTX_IRQ_INDEX && device_state(m->dev)->irq.msi_pending == 0)
        return;
    for (unsigned i = 0; i < 4; i++)
        fake_give_eventfd(irq, TRIGGER, MSI, i, m->lines[1 + i]);
}

/* Nothing stands in the way of interrupts any more. */
static void open_gates(struct machine *m)
{
    config(m, PMCSR, 2, 0);
    config(m, COMMAND, 2, 4);
    config(m, MSI_MASK, 4, 0);
    put0(m, IRQ_ENABLE, 4, 0xffffffff);
    client(m, VFIO_IRQ_SET_ACTION_UNMASK);
}

static void pass_time(struct machine *m)
{
    fake_set_time(&m->host, m->dev, FAKE_START_TIME + 100 * S);
}

static void reset(struct machine *m)
{
    device_reset(m->dev, DEVICE_RESET_BY_CLIENT);
}

START_TEST(the_state_block_and_bar1_are_the_device)
{
    static void (*const steps[])(struct machine *) = { go_on_with_halves, give_lines, open_gates,
                                                       pass_time, reset };
    const char *name = uses[_i].name;
    struct device_description d;
    struct machine used;
    struct machine fresh;

    describe(&d);
    machine_init(&used, &d);
    machine_init(&fresh, &d);
    uses[_i].use(&used);
    ck_assert_msg(
        memcmp(device_state(used.dev), device_state(fresh.dev), sizeof(struct device_state)) != 0,
        "%s: nothing happened", name);
    load(&fresh, &used);
    ck_assert_int_eq(fresh.host.deadline, used.host.deadline);
    if (uses[_i].use == use_half_read)
        ck_assert_uint_eq(fake_get(used.dev, BAR0, CLOCK_NSEC + 4, 4), 0x55);
    if (uses[_i].use == use_half_read)
        ck_assert_uint_eq(fake_get(fresh.dev, BAR0, CLOCK_NSEC + 4, 4), 0x55);
    compare(&used, &fresh, name);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        steps[i](&used);
        steps[i](&fresh);
        compare(&used, &fresh, name);
    }
    machine_fini(&used);
    machine_fini(&fresh);
    description_fini(&d);
}
END_TEST

/* The comparison above sees each kind of interrupt: counted here for one device. */
START_TEST(pending_interrupts_are_delivered_after_loading)
{
    static const struct {
        void (*use)(struct machine *m);
        uint64_t at_once[N_LINES]; /* with new eventfds */
        uint64_t opened[N_LINES];  /* more, when nothing stands in the way */
    } rows[] = {
        { use_pending_intx, { 1 }, { 1 } },
        { use_masked_intx, { 0 }, { 1 } },
        { use_delivered_intx, { 1 }, { 1 } },
        { use_d3hot, { 0 }, { 0, 0, 0, 1 } },
        { use_intx_disable, { 0 }, { 2 } },
        { use_msi, { 0, 0, 0, 0, 1 }, { 0, 0, 1 } },
        { use_errors, { 0, 0, 0, 0, 0, 1, 1 }, { 0 } },
    };
    struct device_description d;

    describe(&d);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct machine used;
        struct machine fresh;

        machine_init(&used, &d);
        machine_init(&fresh, &d);
        rows[i].use(&used);
        load(&fresh, &used);
        give_lines(&fresh);
        for (unsigned j = 0; j < N_LINES; j++)
            ck_assert_msg(fake_signals(fresh.lines[j]) == rows[i].at_once[j], "row %zu line %u", i,
                          j);
        open_gates(&fresh);
        for (unsigned j = 0; j < N_LINES; j++)
            ck_assert_msg(fake_signals(fresh.lines[j]) == rows[i].opened[j],
                          "row %zu line %u, opened", i, j);
        machine_fini(&used);
        machine_fini(&fresh);
    }
    description_fini(&d);
}
END_TEST

static int64_t memory_of_bar1(struct device *dev)
{
    struct stat st;

    ck_assert_int_eq(fstat(device_bar1_fd(dev), &st), 0);
    return st.st_blocks * 512;
}

/* What is there is replaced, be it by zeros; what is a hole becomes memory only where it must. */
START_TEST(a_sparse_bar1_stays_sparse)
{
    enum { SIZE = 8 << 20, PAGE = 4096, OLD = 1 << 20, NEW = 6 << 20 };
    char field[DEVICE_FIELD_BYTES];
    uint8_t *bar1 = calloc(1, SIZE);
    struct device_description d;
    struct machine m;

    describe(&d);
    d.bar1.size = SIZE;
    machine_init(&m, &d);
    memset(device_bar1(m.dev) + OLD, 0x77, PAGE + 1);
    ck_assert_int_eq(memory_of_bar1(m.dev), 2 * PAGE);
    memset(bar1 + OLD + PAGE, 0x55, PAGE);
    bar1[NEW] = 1;
    bar1[NEW + PAGE - 1] = 2;
    bar1[SIZE - 1] = 3;
    device_stop(m.dev);
    ck_assert_int_eq(device_load(m.dev, device_state(m.dev), bar1, field), 0);
    ck_assert_int_eq(memory_of_bar1(m.dev), 4 * PAGE);
    ck_assert_int_eq(memcmp(device_bar1(m.dev), bar1, SIZE), 0);
    free(bar1);
    machine_fini(&m);
    description_fini(&d);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { pending_interrupts_are_delivered_after_loading,
                                   a_sparse_bar1_stays_sparse };
    const struct fake_loop_test loops[] = {
        { the_state_block_and_bar1_are_the_device, ARRAY_SIZE(uses) },
    };

    return fake_run("device_state", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
