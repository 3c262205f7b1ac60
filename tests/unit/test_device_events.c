/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device tells of: interrupts and how they went, resets and by whom, the client's maps. */
#include <errno.h>
#include <unistd.h>

#include "unit/fakes.h"

#define BAR0   VFIO_PCI_BAR0_REGION_INDEX
#define CONFIG VFIO_PCI_CONFIG_REGION_INDEX
#define INTX   VFIO_PCI_INTX_IRQ_INDEX
#define MSI    VFIO_PCI_MSI_IRQ_INDEX
#define ERR    VFIO_PCI_ERR_IRQ_INDEX
#define REQ    VFIO_PCI_REQ_IRQ_INDEX
#define RW     (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

struct made {
    struct fake_host host;
    struct device_description d;
    struct device *dev;
    int line;
};

static void made_init(struct made *m)
{
    *m = (struct made) { .line = fake_eventfd() };
    fake_host_init(&m->host);
    description_default(&m->d);
    m->d.pci.caps[0].no_soft_reset = false;
    m->d.pci.caps[1] = (struct pci_cap_description) { .kind = PCI_CAP_KIND_MSI, .vectors = 2 };
    m->d.pci.caps[2] = (struct pci_cap_description) { .kind = PCI_CAP_KIND_EXPRESS, .flr = true };
    m->d.pci.n_caps = 3;
    m->dev = fake_device(&m->host, &m->d);
    m->host.n_events = 0;
}

static void made_fini(struct made *m)
{
    device_free(m->dev);
    description_fini(&m->d);
    fake_host_fini(&m->host);
    close(m->line);
}

/* The only event since the last look. */
static const struct device_event *only(struct made *m, enum device_event_kind kind)
{
    ck_assert_uint_eq(m->host.n_events, 1);
    m->host.n_events = 0;
    ck_assert_int_eq(m->host.events[0].kind, kind);
    return &m->host.events[0];
}

static void expect_interrupt(struct made *m, uint32_t index, uint32_t vector, enum irq_delivery how,
                             bool anew)
{
    const struct device_event *event = only(m, DEVICE_EVENT_INTERRUPT);

    ck_assert_uint_eq(event->index, index);
    ck_assert_uint_eq(event->vector, vector);
    ck_assert_int_eq(event->how, how);
    ck_assert_int_eq(event->anew, anew);
}

static void give(struct made *m, uint32_t index, uint32_t vector)
{
    fake_give_eventfd(device_irq(m->dev), VFIO_IRQ_SET_ACTION_TRIGGER, index, vector, m->line);
}

static void trigger(struct made *m, uint32_t index, uint32_t vector)
{
    enum irq_delivery how;

    ck_assert_int_eq(device_trigger_irq(m->dev, index, vector, &how), 0);
}

START_TEST(the_line)
{
    struct made m;

    made_init(&m);
    trigger(&m, INTX, 0);
    expect_interrupt(&m, INTX, 0, IRQ_PENDING_NO_EVENTFD, true);
    trigger(&m, INTX, 0); /* still pending: nothing new */
    ck_assert_uint_eq(m.host.n_events, 0);
    give(&m, INTX, 0);
    expect_interrupt(&m, INTX, 0, IRQ_DELIVERED_EVENTFD, false);
    trigger(&m, INTX, 0); /* the line is high */
    ck_assert_uint_eq(m.host.n_events, 0);
    fake_put(m.dev, BAR0, 0x10, 4, UINT32_MAX);
    ck_assert_uint_eq(m.host.n_events, 0);
    fake_put(m.dev, BAR0, 8, 8, FAKE_START_TIME + 5);
    fake_set_time(&m.host, m.dev, FAKE_START_TIME + 6);
    expect_interrupt(&m, INTX, 0, IRQ_DELIVERED_EVENTFD, true);
    made_fini(&m);
}
END_TEST

START_TEST(vectors)
{
    struct made m;

    made_init(&m);
    trigger(&m, MSI, 1);
    expect_interrupt(&m, MSI, 1, IRQ_PENDING_NOT_ENABLED, true);
    give(&m, MSI, 1);
    expect_interrupt(&m, MSI, 1, IRQ_DELIVERED_EVENTFD, false);
    trigger(&m, MSI, 1);
    expect_interrupt(&m, MSI, 1, IRQ_DELIVERED_EVENTFD, true);
    trigger(&m, ERR, 0);
    expect_interrupt(&m, ERR, 0, IRQ_PENDING_NO_EVENTFD, true);
    give(&m, ERR, 0);
    expect_interrupt(&m, ERR, 0, IRQ_DELIVERED_EVENTFD, false);
    give(&m, REQ, 0);
    ck_assert_uint_eq(m.host.n_events, 0);
    trigger(&m, REQ, 0);
    expect_interrupt(&m, REQ, 0, IRQ_DELIVERED_EVENTFD, true);
    made_fini(&m);
}
END_TEST

START_TEST(resets_say_by_whom)
{
    struct made m;

    made_init(&m);
    device_reset(m.dev, DEVICE_RESET_BY_OPERATOR);
    ck_assert_int_eq(only(&m, DEVICE_EVENT_RESET)->by, DEVICE_RESET_BY_OPERATOR);
    device_reset(m.dev, DEVICE_RESET_BY_CLIENT);
    ck_assert_int_eq(only(&m, DEVICE_EVENT_RESET)->by, DEVICE_RESET_BY_CLIENT);
    fake_put(m.dev, CONFIG, 0x44, 2, 3); /* D3hot, and back: a soft reset */
    ck_assert_uint_eq(m.host.n_events, 0);
    fake_put(m.dev, CONFIG, 0x44, 2, 0);
    ck_assert_int_eq(only(&m, DEVICE_EVENT_RESET)->by, DEVICE_RESET_BY_GUEST);
    made_fini(&m);
}
END_TEST

START_TEST(maps_are_told_when_they_are_made)
{
    const struct device_event *event;
    struct made m;
    int none = -1;
    int file = fake_memfd(4096, 1);

    made_init(&m);
    ck_assert_int_eq(device_dma_map(m.dev, 0x1000, 0x2000, RW, &none, 0), 0);
    event = only(&m, DEVICE_EVENT_DMA_MAP);
    ck_assert(event->iova == 0x1000 && event->size == 0x2000 && !event->shared);
    ck_assert_int_eq(device_dma_map(m.dev, 0x8000, 0x1000, RW, &file, 0), 0);
    ck_assert(only(&m, DEVICE_EVENT_DMA_MAP)->shared);
    ck_assert_int_eq(device_dma_map(m.dev, 0x1000, 0x1000, RW, &none, 0), -EEXIST);
    ck_assert_int_eq(device_dma_unmap(m.dev, 0x1000, 0x1000), -ENOENT);
    ck_assert_uint_eq(m.host.n_events, 0);
    ck_assert_int_eq(device_dma_unmap(m.dev, 0x1000, 0x2000), 0);
    event = only(&m, DEVICE_EVENT_DMA_UNMAP);
    ck_assert(event->iova == 0x1000 && event->size == 0x2000);
    device_dma_unmap_all(m.dev);
    ck_assert_uint_eq(only(&m, DEVICE_EVENT_DMA_UNMAP)->size, 0);
    ck_assert_int_eq(device_dma_map(m.dev, 0, 0x1000, RW, &none, 0), 0);
    m.host.n_events = 0;
    device_drop_client(m.dev); /* that it is gone says it all */
    ck_assert_uint_eq(m.host.n_events, 0);
    made_fini(&m);
}
END_TEST

START_TEST(nobody_has_to_listen)
{
    struct fake_host fake;
    struct device_host host;
    struct device_description d;
    struct pci_error error;
    struct device *dev;
    int none = -1;

    fake_host_init(&fake);
    description_default(&d);
    host = fake_device_host(&fake);
    host.event = NULL;
    ck_assert_int_eq(device_new(&d, &host, &dev, &error), 0);
    device_reset(dev, DEVICE_RESET_BY_CLIENT);
    ck_assert_int_eq(device_dma_map(dev, 0, 0x1000, RW, &none, 0), 0);
    device_dma_unmap_all(dev);
    device_free(dev);
    description_fini(&d);
    fake_host_fini(&fake);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_line,
        vectors,
        resets_say_by_whom,
        maps_are_told_when_they_are_made,
        nobody_has_to_listen,
    };

    return fake_run("device_events", tests, ARRAY_SIZE(tests), NULL, 0);
}
