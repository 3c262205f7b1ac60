/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon/device/msix.c and its BAR: the table, the pending bits, and who masks a vector. */
#include "device/msix.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>

#include "device/device.h"
#include "unit/fakes.h"

#define BAR0       VFIO_PCI_BAR0_REGION_INDEX
#define BAR2       VFIO_PCI_BAR2_REGION_INDEX
#define CONFIG     VFIO_PCI_CONFIG_REGION_INDEX
#define MSIX       VFIO_PCI_MSIX_IRQ_INDEX
#define PBA        MSIX_PBA_OFFSET
#define CAP        0x48 /* behind power management */
#define CONTROL    (CAP + PCI_MSIX_FLAGS)
#define SEC        0x000
#define VECTORS    5u
#define MASK_OF(v) (16u * (v) + PCI_MSIX_ENTRY_VECTOR_CTRL)

struct machine {
    struct device_description d;
    struct fake_host host;
    struct device *dev;
    int fds[VECTORS];
};

static void machine_init(struct machine *m)
{
    description_default(&m->d);
    m->d.pci.caps[m->d.pci.n_caps++] =
        (struct pci_cap_description) { .kind = PCI_CAP_KIND_MSIX, .vectors = VECTORS, .bar = 2 };
    fake_host_init(&m->host);
    m->dev = fake_device(&m->host, &m->d);
    for (unsigned i = 0; i < VECTORS; i++) {
        m->fds[i] = fake_eventfd();
        fake_give_eventfd(device_irq(m->dev), VFIO_IRQ_SET_ACTION_TRIGGER, MSIX, i, m->fds[i]);
    }
}

static void machine_fini(struct machine *m)
{
    device_free(m->dev);
    for (unsigned i = 0; i < VECTORS; i++)
        close(m->fds[i]);
    fake_host_fini(&m->host);
    description_fini(&m->d);
}

static uint32_t get(struct machine *m, uint64_t offset)
{
    return (uint32_t)fake_get(m->dev, BAR2, offset, 4);
}

static void put(struct machine *m, uint64_t offset, uint32_t value)
{
    fake_put(m->dev, BAR2, offset, 4, value);
}

static void fire_timer(struct machine *m)
{
    fake_put(m->dev, BAR0, SEC, 8, 1);
}

START_TEST(the_capability_tells_where_it_is)
{
    struct machine m;
    struct device_region region;

    machine_init(&m);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, CAP, 1), PCI_CAP_ID_MSIX);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, CONTROL, 2), VECTORS - 1);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, CAP + PCI_MSIX_TABLE, 4), 2);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, CAP + PCI_MSIX_PBA, 4), PBA | 2);
    fake_put(m.dev, CONFIG, CAP + PCI_MSIX_TABLE, 4, UINT32_MAX); /* read-only */
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, CAP + PCI_MSIX_TABLE, 4), 2);
    fake_put(m.dev, CONFIG, CONTROL, 2, 0xffff);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, CONTROL, 2), 0xc000 | (VECTORS - 1));
    fake_put(m.dev, CONFIG, PCI_BASE_ADDRESS_2, 4, UINT32_MAX);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, PCI_BASE_ADDRESS_2, 4), 0xfffff000);
    fake_put(m.dev, CONFIG, PCI_BASE_ADDRESS_3, 4, UINT32_MAX);
    ck_assert_uint_eq(fake_get(m.dev, CONFIG, PCI_BASE_ADDRESS_3, 4), 0);
    ck_assert_int_eq(device_region(m.dev, BAR2, &region), 0);
    ck_assert_uint_eq(region.size, 4096);
    ck_assert_uint_eq(region.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
    ck_assert_int_eq(region.fd, -1);
    machine_fini(&m);
}
END_TEST

START_TEST(a_table_is_read_as_it_was_written)
{
    struct machine m;
    uint8_t bytes[5 * 16];

    machine_init(&m);
    for (unsigned v = 0; v < VECTORS; v++)
        ck_assert_uint_eq(get(&m, MASK_OF(v)), 1); /* after power-on, and nothing else */
    for (unsigned at = 0; at < VECTORS * 16; at += 4) {
        put(&m, at, 0xa5a5a5a7);
        ck_assert_uint_eq(get(&m, at), at % 16 == 0 ? 0xa5a5a5a4 : at % 16 == 12 ? 1 : 0xa5a5a5a7);
    }
    fake_put(m.dev, BAR2, 8, 8, 0x11223344); /* Message Data and Vector Control at once */
    ck_assert_uint_eq(get(&m, 8), 0x11223344);
    ck_assert_uint_eq(get(&m, 12), 0);
    put(&m, VECTORS * 16, UINT32_MAX); /* there is no such vector */
    ck_assert_uint_eq(get(&m, VECTORS * 16), 0);
    ck_assert_uint_eq(fake_get(m.dev, BAR2, 12, 8), 0xa5a5a5a400000000);
    ck_assert_uint_eq(fake_get(m.dev, BAR2, 9, 1), 0x33); /* reads of any kind */
    ck_assert_int_eq(device_read(m.dev, BAR2, 3, bytes, sizeof(bytes)), 0);
    ck_assert_uint_eq(bytes[8 - 3], 0x44);
    ck_assert_uint_eq(bytes[sizeof(bytes) - 1], 0);
    device_reset(m.dev, DEVICE_RESET_BY_CLIENT);
    ck_assert_uint_eq(get(&m, 8), 0);
    ck_assert_uint_eq(get(&m, 12), 1);
    machine_fini(&m);
}
END_TEST

/* With all the vectors that there can be, nothing is behind the table. */
START_TEST(the_last_vector)
{
    struct msix_state s[2];

    memset(s, 0, sizeof(s));
    msix_reset(&s[0]);
    s[1].table[0] = 0x5a;
    ck_assert_int_eq(msix_write(&s[0], 32, 31 * 16, (const uint32_t[]) { 0xfee00000 }, 4), 0);
    ck_assert_int_eq(msix_write(&s[0], 32, MASK_OF(31), (const uint32_t[]) { 0 }, 4), 0);
    ck_assert_uint_eq(s[0].written, 1u << 31);
    ck_assert_int_eq(msix_write(&s[0], 32, 32 * 16, (const uint32_t[]) { UINT32_MAX }, 4), 0);
    ck_assert_int_eq(msix_write(&s[0], 32, MASK_OF(32), (const uint32_t[]) { 0 }, 4), 0);
    ck_assert_uint_eq(s[0].written, 1u << 31);
    ck_assert_uint_eq(s[0].reserved, 0);
    ck_assert_uint_eq(s[1].table[0], 0x5a);
    ck_assert(msix_could_be(&s[0], 32));
    ck_assert(!msix_could_be(&s[0], 31));
}
END_TEST

START_TEST(a_device_whose_client_has_gone_elsewhere)
{
    struct machine m;

    machine_init(&m);
    put(&m, 4, 0x12345678);
    put(&m, MASK_OF(1), 0);
    ck_assert_int_eq(device_renew(m.dev), 0);
    ck_assert_uint_eq(get(&m, 4), 0);
    ck_assert_uint_eq(get(&m, MASK_OF(1)), 1);
    ck_assert_uint_eq(device_state(m.dev)->msix.written, 0);
    machine_fini(&m);
}
END_TEST

START_TEST(odd_writes_are_refused)
{
    static const struct {
        uint64_t offset;
        uint32_t count;
    } rows[] = { { 0, 1 }, { 0, 2 }, { 2, 4 }, { 4, 8 }, { 0, 16 }, { 0, 3 }, { 4092, 8 } };
    struct machine m;
    uint8_t bytes[16] = { 0xff };

    machine_init(&m);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        ck_assert_int_eq(device_write(m.dev, BAR2, rows[i].offset, bytes, rows[i].count), -EINVAL);
    ck_assert_uint_eq(get(&m, 0), 0);
    ck_assert_int_eq(device_read(m.dev, BAR2, 4092, bytes, 8), -EINVAL);
    machine_fini(&m);
}
END_TEST

/* The mask bits of a table that nobody has written hold nobody back: a VMM keeps its own. */
START_TEST(a_mask_holds_once_it_was_written)
{
    struct machine m;

    machine_init(&m);
    fire_timer(&m);
    ck_assert_uint_eq(fake_signals(m.fds[0]), 1);
    put(&m, MASK_OF(0), 1);
    fire_timer(&m);
    ck_assert_uint_eq(fake_signals(m.fds[0]), 0);
    ck_assert_uint_eq(get(&m, PBA), 1);
    put(&m, PBA, 0); /* read-only */
    ck_assert_uint_eq(get(&m, PBA), 1);
    ck_assert_uint_eq(get(&m, PBA + 4), 0);
    ck_assert_uint_eq(fake_get(m.dev, BAR2, PBA, 8), 1);
    put(&m, MASK_OF(0), 0);
    ck_assert_uint_eq(fake_signals(m.fds[0]), 1);
    ck_assert_uint_eq(get(&m, PBA), 0);
    machine_fini(&m);
}
END_TEST

START_TEST(the_function_mask_holds_all)
{
    struct machine m;
    enum irq_delivery how;

    machine_init(&m);
    fake_put(m.dev, CONFIG, CONTROL, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    ck_assert_int_eq(device_trigger_irq(m.dev, MSIX, 4, &how), 0);
    ck_assert_int_eq(how, IRQ_PENDING_DISABLED);
    ck_assert_int_eq(device_trigger_irq(m.dev, MSIX, 5, &how), -EINVAL);
    ck_assert_uint_eq(get(&m, PBA), 1u << 4);
    fake_put(m.dev, CONFIG, CONTROL, 2, PCI_MSIX_FLAGS_ENABLE);
    ck_assert_uint_eq(fake_signals(m.fds[4]), 1);
    ck_assert_uint_eq(get(&m, PBA), 0);
    machine_fini(&m);
}
END_TEST

START_TEST(states_that_cannot_be)
{
    struct msix_state s;

    msix_reset(&s);
    ck_assert(msix_could_be(&s, 3));
    s.written = 4;
    s.table[2 * 16 + 12] = 0;
    ck_assert(msix_could_be(&s, 3));
    s.written = 8; /* no such vector */
    ck_assert(!msix_could_be(&s, 3));
    s.written = 0; /* a mask bit that nobody has written */
    ck_assert(!msix_could_be(&s, 3));
    msix_reset(&s);
    s.table[0] = 1; /* reserved */
    ck_assert(!msix_could_be(&s, 3));
    s.table[0] = 4;
    ck_assert(msix_could_be(&s, 3));
    s.table[3 * 16] = 4; /* no such vector */
    ck_assert(!msix_could_be(&s, 3));
}
END_TEST

/* Table, masks and pending bits come from another device. */
START_TEST(it_moves)
{
    struct machine from;
    struct machine to;
    struct device_state state;
    char field[DEVICE_FIELD_BYTES];

    machine_init(&from);
    machine_init(&to);
    put(&from, 4, 0x12345678);
    put(&from, MASK_OF(0), 1);
    fire_timer(&from);
    device_stop(from.dev);
    device_stop(to.dev);
    state = *device_state(from.dev);
    ck_assert_int_eq(device_load(to.dev, &state, NULL, field), 0);
    device_start(to.dev);
    ck_assert_uint_eq(get(&to, 4), 0x12345678);
    ck_assert_uint_eq(get(&to, PBA), 1);
    ck_assert_uint_eq(fake_signals(to.fds[0]), 0);
    put(&to, MASK_OF(0), 0);
    ck_assert_uint_eq(fake_signals(to.fds[0]), 1);
    state.irq.msix_pending = 1u << VECTORS;
    device_stop(to.dev);
    ck_assert_int_eq(device_load(to.dev, &state, NULL, field), -EINVAL);
    ck_assert_str_eq(field, "irq.msix_pending");
    state.irq.msix_pending = 0;
    state.msix.written = 1u << VECTORS;
    ck_assert_int_eq(device_load(to.dev, &state, NULL, field), -EINVAL);
    ck_assert_str_eq(field, "msix.table");
    machine_fini(&from);
    machine_fini(&to);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_capability_tells_where_it_is,
        a_table_is_read_as_it_was_written,
        the_last_vector,
        a_device_whose_client_has_gone_elsewhere,
        odd_writes_are_refused,
        a_mask_holds_once_it_was_written,
        the_function_mask_holds_all,
        states_that_cannot_be,
        it_moves,
    };

    return fake_run("msix", tests, ARRAY_SIZE(tests), NULL, 0);
}
