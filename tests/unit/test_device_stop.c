/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that is stopped does nothing, and goes on with everything when it starts again; its
 * state, memory, maps and eventfds can come from another one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/device.h"
#include "unit/fakes.h"

#define BAR0   VFIO_PCI_BAR0_REGION_INDEX
#define BAR1   VFIO_PCI_BAR1_REGION_INDEX
#define CONFIG VFIO_PCI_CONFIG_REGION_INDEX
#define INTX   VFIO_PCI_INTX_IRQ_INDEX
#define RW     (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define S      FAKE_NS_PER_S
#define PAGE   4096u

enum {
    TIMER_NSEC = 0x008,
    IRQ_STATUS = 0x010,
    IRQ_COUNT = 0x018,
    DMA_IOVA = 0x020,
    DMA_OFFSET = 0x028,
    DMA_LENGTH = 0x030,
    DMA_CONTROL = 0x034,
    DOORBELL = 0x800,
};

enum { COMMAND = 0x04, BUS_MASTER = 4, MEMORY = 2 };

struct machine {
    struct device_description d;
    struct fake_host host;
    struct device *dev;
    int intx;
};

static void machine_make(struct machine *m)
{
    fake_host_init(&m->host);
    m->dev = fake_device(&m->host, &m->d);
    m->intx = fake_eventfd();
    fake_give_eventfd(device_irq(m->dev), VFIO_IRQ_SET_ACTION_TRIGGER, INTX, 0, m->intx);
    fake_put(m->dev, CONFIG, COMMAND, 2, BUS_MASTER | MEMORY);
}

static void machine_init(struct machine *m)
{
    description_default(&m->d);
    machine_make(m);
}

static void machine_init_msi(struct machine *m)
{
    description_default(&m->d);
    m->d.pci.caps[m->d.pci.n_caps++] =
        (struct pci_cap_description) { .kind = PCI_CAP_KIND_MSI, .vectors = 2 };
    machine_make(m);
}

static void machine_fini(struct machine *m)
{
    device_free(m->dev);
    fake_host_fini(&m->host);
    close(m->intx);
    description_fini(&m->d);
}

static uint64_t get0(struct machine *m, uint64_t offset, uint32_t count)
{
    return fake_get(m->dev, BAR0, offset, count);
}

static void put0(struct machine *m, uint64_t offset, uint32_t count, uint64_t value)
{
    fake_put(m->dev, BAR0, offset, count, value);
}

static void map(struct machine *m, uint64_t iova, uint64_t size, int fd)
{
    ck_assert_int_eq(device_dma_map(m->dev, iova, size, RW, &fd, 0), 0);
}

static void start_engine(struct machine *m, uint64_t iova, uint32_t length, uint32_t command)
{
    put0(m, DMA_IOVA, 8, iova);
    put0(m, DMA_OFFSET, 8, 0);
    put0(m, DMA_LENGTH, 4, length);
    put0(m, DMA_CONTROL, 4, command);
}

/* What the last message asked for; from with data. */
static void answer(struct machine *m, unsigned i, const uint8_t *data)
{
    const struct fake_message *sent = &m->host.sent[i];

    dma_message_done(device_dma(m->dev), sent->tag, 0, data, sent->len);
}

START_TEST(bars_cannot_be_written_and_the_rest_can)
{
    struct machine m;
    uint32_t value = 5;

    machine_init(&m);
    put0(&m, DOORBELL, 4, 3);
    device_stop(m.dev);
    ck_assert(!device_running(m.dev));
    ck_assert_int_eq(device_write(m.dev, BAR0, DOORBELL, &value, 4), -EBUSY);
    ck_assert_int_eq(device_write(m.dev, BAR1, 0, &value, 4), -EBUSY);
    ck_assert_uint_eq(get0(&m, DOORBELL, 4), 3);
    ck_assert_uint_eq(fake_get(m.dev, BAR1, 0, 4), 0);
    fake_put(m.dev, CONFIG, COMMAND, 2, 0x0406);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, COMMAND, 2), 0x0406);
    device_start(m.dev);
    ck_assert(device_running(m.dev));
    put0(&m, DOORBELL, 4, 7);
    ck_assert_uint_eq(get0(&m, DOORBELL, 4), 7);
    machine_fini(&m);
}
END_TEST

START_TEST(a_deadline_waits_and_fires_once)
{
    struct machine m;

    machine_init(&m);
    put0(&m, TIMER_NSEC, 8, FAKE_START_TIME + S);
    device_stop(m.dev);
    ck_assert_int_eq(m.host.deadline, 0); /* nobody wakes it */
    m.host.now = FAKE_START_TIME + 2 * S;
    device_wake(m.dev); /* a wake-up that was on its way */
    ck_assert_uint_eq(fake_signals(m.intx), 0);
    ck_assert_uint_eq(get0(&m, IRQ_STATUS, 4), 0);
    device_start(m.dev);
    ck_assert_uint_eq(fake_signals(m.intx), 1);
    ck_assert_uint_eq(get0(&m, IRQ_STATUS, 4), 1);
    device_stop(m.dev);
    device_start(m.dev);
    device_wake(m.dev);
    ck_assert_uint_eq(fake_signals(m.intx), 0);
    machine_fini(&m);
}
END_TEST

START_TEST(a_deadline_ahead_is_asked_for_again)
{
    struct machine m;

    machine_init(&m);
    put0(&m, TIMER_NSEC, 8, FAKE_START_TIME + S);
    device_stop(m.dev);
    device_start(m.dev);
    ck_assert_int_eq(m.host.deadline, FAKE_START_TIME + S);
    ck_assert_uint_eq(fake_signals(m.intx), 0);
    machine_fini(&m);
}
END_TEST

/* A new eventfd and the guest's opening of a gate would trigger a running device. */
START_TEST(interrupts_wait)
{
    struct machine m;
    enum irq_delivery how;

    machine_init(&m);
    fake_put(m.dev, CONFIG, COMMAND, 2, 0x0400);
    ck_assert_int_eq(device_trigger_irq(m.dev, INTX, 0, &how), 0);
    ck_assert_int_eq(how, IRQ_PENDING_DISABLED);
    device_stop(m.dev);
    ck_assert_int_eq(device_trigger_irq(m.dev, INTX, 0, &how), -EBUSY);
    fake_put(m.dev, CONFIG, COMMAND, 2, 0);
    fake_give_eventfd(device_irq(m.dev), VFIO_IRQ_SET_ACTION_TRIGGER, INTX, 0, m.intx);
    ck_assert_int_eq(irq_raise(device_irq(m.dev), VFIO_PCI_ERR_IRQ_INDEX, 0, &how), 0);
    ck_assert_int_eq(how, IRQ_PENDING_STOPPED);
    ck_assert_uint_eq(fake_signals(m.intx), 0);
    device_start(m.dev);
    ck_assert_uint_eq(fake_signals(m.intx), 1);
    device_stop(m.dev); /* what has gone out does not go out again */
    device_start(m.dev);
    ck_assert_uint_eq(fake_signals(m.intx), 0);
    machine_fini(&m);
}
END_TEST

/* Those without a level, too. */
START_TEST(each_kind_of_interrupt_goes_out_at_the_start)
{
    static const uint32_t indexes[] = { VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_ERR_IRQ_INDEX,
                                        VFIO_PCI_REQ_IRQ_INDEX };
    struct machine m;
    enum irq_delivery how;
    int fds[3];

    machine_init_msi(&m);
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = fake_eventfd();
        fake_give_eventfd(device_irq(m.dev), VFIO_IRQ_SET_ACTION_TRIGGER, indexes[i], 0, fds[i]);
    }
    device_stop(m.dev);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(irq_raise(device_irq(m.dev), indexes[i], 0, &how), 0);
        ck_assert_int_eq(how, IRQ_PENDING_STOPPED);
        ck_assert_uint_eq(fake_signals(fds[i]), 0);
    }
    device_start(m.dev);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(fake_signals(fds[i]), 1);
        close(fds[i]);
    }
    machine_fini(&m);
}
END_TEST

START_TEST(a_message_without_an_answer_is_sent_again)
{
    struct machine m;
    uint8_t bytes[PAGE];

    machine_init(&m);
    m.host.max_len = 1024;
    map(&m, 0x10000, PAGE, -1);
    memset(bytes, 0x5a, sizeof(bytes));
    start_engine(&m, 0x10000, PAGE, 1);
    answer(&m, 0, bytes);
    ck_assert_uint_eq(m.host.n_sent, 2);
    device_stop(m.dev);
    ck_assert(!device_dma_awaits(m.dev));
    answer(&m, 1, bytes); /* late: nobody asks for it any more */
    ck_assert_uint_eq(m.host.n_sent, 2);
    ck_assert_uint_eq(get0(&m, DMA_CONTROL, 4), 1);
    ck_assert_uint_eq(device_state(m.dev)->timer.engine_progress, 1024);
    device_start(m.dev);
    ck_assert_uint_eq(m.host.n_sent, 3);
    ck_assert_uint_eq(m.host.sent[2].iova, 0x10000 + 1024);
    for (unsigned i = 2; i < 5; i++)
        answer(&m, i, bytes);
    ck_assert_uint_eq(m.host.n_sent, 5);
    ck_assert_uint_eq(get0(&m, DMA_CONTROL, 4), 0);
    ck_assert_mem_eq(device_bar1(m.dev), bytes, sizeof(bytes));
    machine_fini(&m);
}
END_TEST

/* DMA is held back, the message under way is answered, and the rest of the device runs. */
START_TEST(dma_is_stopped_by_itself)
{
    struct machine m;
    uint8_t bytes[PAGE] = { 0 };

    machine_init(&m);
    m.host.max_len = 1024;
    map(&m, 0x10000, PAGE, -1);
    start_engine(&m, 0x10000, PAGE, 1);
    device_stop_dma(m.dev);
    ck_assert(device_dma_awaits(m.dev));
    answer(&m, 0, bytes);
    ck_assert(!device_dma_awaits(m.dev));
    ck_assert_uint_eq(m.host.n_sent, 1);
    put0(&m, TIMER_NSEC, 8, 1);
    ck_assert_uint_eq(fake_signals(m.intx), 1);
    device_resume_dma(m.dev);
    ck_assert_uint_eq(m.host.n_sent, 2);
    machine_fini(&m);
}
END_TEST

/* The engine's transfer goes on in another device, with the addresses that it began with. */
START_TEST(a_transfer_goes_on_elsewhere)
{
    struct machine a;
    struct machine b;
    uint8_t bytes[PAGE];
    char field[DEVICE_FIELD_BYTES];

    machine_init(&a);
    machine_init(&b);
    a.host.max_len = b.host.max_len = 1024;
    map(&a, 0x10000, PAGE, -1);
    map(&b, 0x10000, PAGE, -1);
    memset(bytes, 0x77, sizeof(bytes));
    start_engine(&a, 0x10000, PAGE, 1);
    put0(&a, DMA_IOVA, 8, 0x99990000); /* for the next one */
    put0(&a, DMA_LENGTH, 4, 8);
    answer(&a, 0, bytes);
    device_stop(a.dev);
    device_stop(b.dev);
    ck_assert_int_eq(device_load(b.dev, device_state(a.dev), device_bar1(a.dev), field), 0);
    ck_assert_uint_eq(b.host.n_sent, 0);
    device_start(b.dev);
    ck_assert_uint_eq(b.host.n_sent, 1);
    ck_assert_uint_eq(b.host.sent[0].iova, 0x10000 + 1024);
    answer(&b, 0, bytes);
    device_stop(b.dev); /* on it goes, with what both have done */
    ck_assert_uint_eq(device_state(b.dev)->timer.engine_progress, 2048);
    device_start(b.dev);
    for (unsigned i = 2; i < 4; i++)
        answer(&b, i, bytes);
    ck_assert_uint_eq(get0(&b, DMA_CONTROL, 4), 0);
    ck_assert_mem_eq(device_bar1(b.dev), bytes, sizeof(bytes));
    ck_assert_uint_eq(fake_signals(b.intx), 1);
    ck_assert_uint_eq(fake_signals(a.intx), 0);
    machine_fini(&a);
    machine_fini(&b);
}
END_TEST

/* One field that could not be: it is named, and nothing has changed. */
START_TEST(a_state_that_could_not_be_is_refused)
{
    struct machine m;
    struct device_state *bad = malloc(sizeof(*bad));
    struct device_state *before = malloc(sizeof(*before));
    char field[DEVICE_FIELD_BYTES];
    const struct {
        const char *field;
        void *at;
        uint64_t value;
        size_t size;
    } rows[] = {
        { "timer.irq_status", &bad->timer.irq_status, 8, 4 },
        { "timer.irq_enable", &bad->irq.active, 1, 4 },
        { "timer.dma_control", &bad->timer.dma_control, 2, 4 },
        { "timer.dma_control", &bad->timer.dma_control, 0x80000000, 4 },
        { "timer.dma_control", &bad->timer.dma_control, 0x80001000, 4 },
        { "timer.dma_command", &bad->timer.dma_control, 1, 4 },
        { "timer.engine_length", &bad->timer.engine_length, 16385, 4 },
        { "timer.engine_length", &bad->timer.engine_offset, 16385, 8 },
        { "timer.engine_length", &bad->timer.engine_progress, 1, 4 },
        { "timer.staged_mask", &bad->timer.staged_mask, 0x80, 2 },
        { "timer.latched_mask", &bad->timer.latched_mask, 0x80, 2 },
        { "timer.self_test", &bad->timer.self_test, 2, 1 },
        { "irq.msi_pending", &bad->irq.msi_pending, 1, 4 },
        { "irq.intx_pending", &bad->irq.intx_pending, 1, 1 },
        { "irq.intx_masked", &bad->irq.intx_masked, 2, 1 },
        { "irq.err_pending", &bad->irq.err_pending, 2, 1 },
        { "irq.req_pending", &bad->irq.req_pending, 2, 1 },
        { "pci.config", &bad->pci.config[0], 1, 1 },
        { "pci.config", &bad->pci.config[0x10], 1, 1 },
        { "pci.config", &bad->pci.config[0x44], 1, 1 }, /* D1 */
        { "pci.config", &bad->pci.config[300], 1, 1 },
    };

    machine_init(&m);
    device_stop(m.dev);
    *before = *device_state(m.dev);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        *bad = *before;
        memcpy(rows[i].at, &rows[i].value, rows[i].size);
        strcpy(field, "");
        ck_assert_int_eq(device_load(m.dev, bad, NULL, field), -EINVAL);
        ck_assert_msg(strcmp(field, rows[i].field) == 0, "row %zu: %s", i, field);
        ck_assert_mem_eq(device_state(m.dev), before, sizeof(*before));
    }
    device_start(m.dev);
    ck_assert_int_eq(device_load(m.dev, before, NULL, field), -EBUSY);
    free(bad);
    free(before);
    machine_fini(&m);
}
END_TEST

START_TEST(bar1_comes_from_elsewhere)
{
    struct machine a;
    struct machine b;
    int fd;
    int other = fake_memfd(16384, 1); /* not sealed */

    machine_init(&a);
    machine_init(&b);
    fake_put(a.dev, BAR1, 8, 8, 0x1122334455667788);
    fd = fcntl(device_bar1_fd(a.dev), F_DUPFD_CLOEXEC, 0);
    ck_assert_int_eq(device_adopt_bar1(b.dev, &fd), -EBUSY);
    device_stop(b.dev);
    ck_assert_int_eq(device_adopt_bar1(b.dev, &other), -EINVAL);
    ck_assert_int_ge(other, 0);
    ck_assert_int_eq(device_adopt_bar1(b.dev, &fd), 0);
    ck_assert_int_eq(fd, -1);
    device_start(b.dev);
    ck_assert_uint_eq(fake_get(b.dev, BAR1, 8, 8), 0x1122334455667788);
    fake_put(b.dev, BAR1, 16, 8, 42);
    ck_assert_uint_eq(fake_get(a.dev, BAR1, 16, 8), 42); /* the same memory */
    map(&b, 0x10000, PAGE, fake_memfd(PAGE, 3));
    start_engine(&b, 0x10000, 16, 1); /* the engine knows where it is now */
    ck_assert_uint_eq(fake_get(b.dev, BAR1, 0, 1), 3);
    close(other);
    machine_fini(&a);
    machine_fini(&b);
}
END_TEST

START_TEST(a_renewed_device_is_as_it_was_made)
{
    struct machine m;
    struct machine fresh;
    struct dma_info info;
    int before;

    machine_init(&m);
    machine_init(&fresh);
    fake_put(fresh.dev, CONFIG, COMMAND, 2, 0);
    before = dup(device_bar1_fd(m.dev));
    fake_put(m.dev, BAR1, 0, 4, 9);
    put0(&m, DOORBELL, 4, 9);
    put0(&m, TIMER_NSEC, 8, FAKE_START_TIME + S);
    map(&m, 0x10000, PAGE, -1);
    start_engine(&m, 0x10000, 16, 1);
    device_stop(m.dev);
    ck_assert_int_eq(device_renew(m.dev), 0);
    ck_assert(device_running(m.dev));
    ck_assert_mem_eq(device_state(m.dev), device_state(fresh.dev), sizeof(struct device_state));
    ck_assert_uint_eq(fake_get(m.dev, BAR1, 0, 4), 0);
    ck_assert_int_eq(m.host.deadline, 0);
    dma_get_info(device_dma(m.dev), &info);
    ck_assert_uint_eq(info.maps, 0);
    ck_assert_uint_eq(fake_signals(m.intx), 0); /* whoever has it now must not be disturbed */
    put0(&m, TIMER_NSEC, 8, 1);
    ck_assert_uint_eq(fake_signals(m.intx), 0);
    fake_put(m.dev, BAR1, 0, 4, 7);
    ck_assert_int_eq(pread(before, &before, sizeof(before), 0), sizeof(before));
    ck_assert_int_eq(before, 9);
    machine_fini(&m);
    machine_fini(&fresh);
}
END_TEST

START_TEST(maps_come_from_elsewhere)
{
    struct machine a;
    struct machine b;
    struct dma_range *ranges;
    struct dma_info info;
    unsigned n_ranges;
    unsigned n_files;
    int copies[2];
    int *files;
    int fd = fake_memfd(4 * PAGE, 3);

    machine_init(&a);
    machine_init(&b);
    map(&a, 0x10000, PAGE, dup(fd));
    map(&a, 0x20000, PAGE, dup(fd));
    map(&a, 0x30000, PAGE, fake_memfd(PAGE, 8));
    map(&a, 0x40000, PAGE, -1);
    ck_assert_int_eq(dma_export(device_dma(a.dev), &ranges, &n_ranges, &files, &n_files), 0);
    ck_assert_uint_eq(n_ranges, 4);
    ck_assert_uint_eq(n_files, 2);
    for (unsigned i = 0; i < 2; i++)
        copies[i] = dup(files[i]);
    ck_assert_int_eq(dma_import(device_dma(b.dev), ranges, n_ranges, copies, 2), 0);
    ck_assert(copies[0] == -1 && copies[1] == -1);
    dma_get_info(device_dma(b.dev), &info);
    ck_assert(info.maps == 4 && info.shared == 3 && info.files == 2);
    start_engine(&b, 0x30000, 16, 1);
    ck_assert_uint_eq(fake_get(b.dev, BAR1, 0, 1), 8);
    start_engine(&b, 0x10000, 16, 1);
    ck_assert_uint_eq(fake_get(b.dev, BAR1, 0, 1), 3);
    ck_assert_int_eq(dma_import(device_dma(b.dev), ranges, n_ranges, copies, 0), -EEXIST);
    device_dma_unmap_all(b.dev);
    ck_assert_int_eq(dma_import(device_dma(b.dev), ranges, n_ranges, copies, 0), -EINVAL);
    ranges[3].iova = 0x30800; /* overlaps */
    copies[0] = dup(files[0]);
    copies[1] = dup(files[1]);
    ck_assert_int_eq(dma_import(device_dma(b.dev), ranges, n_ranges, copies, 2), -EEXIST);
    ranges[3].iova = UINT64_MAX; /* wraps */
    ck_assert_int_eq(dma_import(device_dma(b.dev), &ranges[3], 1, copies, 0), -EINVAL);
    dma_get_info(device_dma(b.dev), &info);
    ck_assert(info.maps == 0 && info.files == 0);
    free(ranges);
    free(files);
    close(fd);
    machine_fini(&a);
    machine_fini(&b);
}
END_TEST

START_TEST(eventfds_come_from_elsewhere)
{
    struct machine a;
    struct machine b;
    struct irq_fds fds;
    int pipes[2];

    machine_init(&a);
    machine_init(&b);
    irq_get_fds(device_irq(a.dev), &fds);
    fds.intx = dup(fds.intx);
    ck_assert_int_eq(pipe(pipes), 0);
    fds.err = pipes[0];
    ck_assert_int_eq(irq_take_fds(device_irq(b.dev), &fds), -EINVAL);
    ck_assert_int_ge(fds.intx, 0);
    fds.err = -1;
    fds.msi[0] = fds.intx; /* a vector that there is none of */
    ck_assert_int_eq(irq_take_fds(device_irq(b.dev), &fds), -EINVAL);
    fds.msi[0] = -1;
    ck_assert_int_eq(irq_take_fds(device_irq(b.dev), &fds), 0);
    ck_assert_int_eq(fds.intx, -1);
    put0(&b, TIMER_NSEC, 8, 1);
    ck_assert_uint_eq(fake_signals(a.intx), 1);
    ck_assert_uint_eq(fake_signals(b.intx), 0);
    close(pipes[0]);
    close(pipes[1]);
    machine_fini(&a);
    machine_fini(&b);
}
END_TEST

/* Direct writes, writes by message, and only writes; the log ends with its client. */
START_TEST(dma_is_logged)
{
    struct machine m;
    uint64_t page_size = PAGE;
    uint64_t bits;

    machine_init(&m);
    map(&m, 0x10000, 8 * PAGE, fake_memfd(8 * PAGE, 0));
    map(&m, 0x80000, 8 * PAGE, -1);
    ck_assert_int_eq(device_log_report(m.dev, 0x10000, PAGE, PAGE, &bits), -EINVAL);
    ck_assert_int_eq(device_log_stop(m.dev), -EINVAL);
    ck_assert_int_eq(device_log_start(m.dev, &page_size, NULL, 0), 0);
    ck_assert_int_eq(device_log_start(m.dev, &page_size, NULL, 0), -EBUSY);
    start_engine(&m, 0x10000, PAGE, 1); /* guest memory is read */
    ck_assert_int_eq(device_log_report(m.dev, 0x10000, 8 * PAGE, PAGE, &bits), 0);
    ck_assert_uint_eq(bits, 0);
    start_engine(&m, 0x10000 + PAGE, 2 * PAGE, 2);
    ck_assert_int_eq(device_log_report(m.dev, 0x10000, 8 * PAGE, PAGE, &bits), 0);
    ck_assert_uint_eq(bits, 6);
    start_engine(&m, 0x80000 + 5 * PAGE, 16, 2);
    ck_assert_uint_eq(m.host.n_sent, 1);
    ck_assert_int_eq(device_log_report(m.dev, 0x80000, 8 * PAGE, PAGE, &bits), 0);
    ck_assert_uint_eq(bits, 1 << 5);
    answer(&m, 0, NULL); /* it may have been executed only now */
    ck_assert_int_eq(device_log_report(m.dev, 0x80000, 8 * PAGE, PAGE, &bits), 0);
    ck_assert_uint_eq(bits, 1 << 5);
    device_drop_client(m.dev);
    ck_assert_int_eq(device_log_stop(m.dev), -EINVAL);
    machine_fini(&m);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        bars_cannot_be_written_and_the_rest_can,
        a_deadline_waits_and_fires_once,
        a_deadline_ahead_is_asked_for_again,
        interrupts_wait,
        each_kind_of_interrupt_goes_out_at_the_start,
        a_message_without_an_answer_is_sent_again,
        dma_is_stopped_by_itself,
        a_transfer_goes_on_elsewhere,
        a_state_that_could_not_be_is_refused,
        bar1_comes_from_elsewhere,
        a_renewed_device_is_as_it_was_made,
        maps_come_from_elsewhere,
        eventfds_come_from_elsewhere,
        dma_is_logged,
    };

    return fake_run("device_stop", tests, ARRAY_SIZE(tests), NULL, 0);
}
