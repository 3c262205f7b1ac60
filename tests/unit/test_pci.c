/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unit/fakes.h"

/*
 * Offsets and bits are written as numbers here, from the specifications, so that a wrong constant
 * in the code under test does not hide itself.
 */
#define COMMAND     0x04
#define STATUS      0x06
#define BAR0        0x10
#define CAP_POINTER 0x34

static const uint64_t two_bars[6] = { 4096, 16384 };

struct space {
    struct pci_state state;
    struct pci *pci;
};

static void make(struct space *s, const struct pci_description *d)
{
    struct pci_error error = { .cap = 99 };
    int err = pci_new(d, two_bars, &s->state, &s->pci, &error);

    ck_assert_msg(err == 0, "capability %u: %s: %s", error.cap, error.key, error.reason);
}

static uint32_t get(const struct space *s, size_t offset, size_t len)
{
    uint8_t bytes[4] = { 0 };

    pci_read(s->pci, offset, bytes, len, false, 0);
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static unsigned put(struct space *s, size_t offset, size_t len, uint32_t value)
{
    const uint8_t bytes[4] = { (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                               (uint8_t)(value >> 24) };

    return pci_write(s->pci, offset, bytes, len);
}

/* One capability of each kind, placed automatically. */
static uint8_t vendor_data[8] = "abcdefgh";
static uint8_t raw_data[4] = { 0x11, 0x22, 0x33, 0x44 };
static uint8_t raw_mask[4] = { 0xff, 0x0f, 0x00, 0xa0 };

static const struct pci_description all_kinds = {
    .vendor = 0x1234,
    .device = 0x5678,
    .subsystem_vendor = 0x9abc,
    .subsystem_device = 0xdef0,
    .class_code = 0x088001,
    .revision = 0x2a,
    .n_caps = 8,
    .caps = {
        { .kind = PCI_CAP_KIND_PM, .no_soft_reset = true },
        { .kind = PCI_CAP_KIND_MSI, .vectors = 4, .address64 = true, .maskable = true },
        { .kind = PCI_CAP_KIND_EXPRESS, .flr = true },
        { .kind = PCI_CAP_KIND_VENDOR, .data = vendor_data, .data_len = 8 },
        { .kind = PCI_CAP_KIND_RAW, .id = 0x0d, .data = raw_data, .mask = raw_mask, .data_len = 4 },
        { .kind = PCI_CAP_KIND_DSN, .serial = 0xcafebabedeadbeef },
        { .kind = PCI_CAP_KIND_VENDOR_EXT, .id = 7, .revision = 3, .length = 21 },
        { .kind = PCI_CAP_KIND_RAW_EXT, .id = 0x1e, .revision = 2, .data = raw_data,
          .mask = raw_mask, .data_len = 4 },
    },
};

struct field {
    size_t offset;
    size_t len;
    uint32_t value;
};

/* What a guest may write in all_kinds; every bit that is not here is read-only. */
static const struct field writable_fields[] = {
    { 0x04, 2, 0x0546 },     /* memory, bus master, parity, SERR, INTx Disable */
    { 0x0c, 1, 0xff },       /* cache line size */
    { 0x10, 4, 0xfffff000 }, /* BAR0: 4 KiB */
    { 0x14, 4, 0xffffc000 }, /* BAR1: 16 KiB */
    { 0x3c, 1, 0xff },       /* interrupt line */
    { 0x44, 2, 0x0003 },     /* PMCSR: power state */
    { 0x4a, 2, 0x0071 },     /* MSI control: enable, number of vectors */
    { 0x4c, 4, 0xfffffffc }, /* MSI address */
    { 0x50, 4, 0xffffffff }, { 0x54, 2, 0xffff }, /* MSI data */
    { 0x58, 4, 0x0000000f },                      /* MSI mask bits, four vectors */
    { 0x68, 2, 0x781f },                          /* Device Control */
    { 0xaa, 4, 0xa0000fff },                      /* raw */
    { 0x128, 4, 0xa0000fff }                      /* raw-ext */
};

static void expected_mask(uint8_t mask[PCI_SPACE_EXP_SIZE])
{
    memset(mask, 0, PCI_SPACE_EXP_SIZE);
    for (size_t i = 0; i < ARRAY_SIZE(writable_fields); i++) {
        const struct field *f = &writable_fields[i];

        for (size_t j = 0; j < f->len; j++)
            mask[f->offset + j] = (uint8_t)(f->value >> 8 * j);
    }
}

static void write_all(struct space *s, uint8_t value, bool one_by_one)
{
    uint8_t bytes[PCI_SPACE_EXP_SIZE];

    memset(bytes, value, sizeof(bytes));
    if (!one_by_one)
        pci_write(s->pci, 0, bytes, sizeof(bytes));
    for (size_t i = 0; one_by_one && i < sizeof(bytes); i++)
        pci_write(s->pci, i, &bytes[i], 1);
}

static void check_space(const struct space *s, const uint8_t *initial, const uint8_t *mask,
                        uint8_t written)
{
    uint8_t now[PCI_SPACE_EXP_SIZE];

    pci_read(s->pci, 0, now, sizeof(now), false, 0);
    for (size_t i = 0; i < sizeof(now); i++) {
        uint8_t expected = (uint8_t)((initial[i] & ~mask[i]) | (written & mask[i]));

        ck_assert_msg(now[i] == expected, "%02x written: byte 0x%zx is %02x, not %02x", written, i,
                      now[i], expected);
    }
}

START_TEST(writes_change_what_is_writable_and_nothing_else)
{
    uint8_t initial[PCI_SPACE_EXP_SIZE];
    uint8_t mask[PCI_SPACE_EXP_SIZE];
    struct space s;

    expected_mask(mask);
    make(&s, &all_kinds);
    ck_assert_uint_eq(pci_config_size(s.pci), 4096);
    pci_read(s.pci, 0, initial, sizeof(initial), false, 0);
    for (int one_by_one = 0; one_by_one <= 1; one_by_one++) {
        write_all(&s, 0xff, one_by_one);
        check_space(&s, initial, mask, 0xff);
        write_all(&s, 0x00, one_by_one);
        check_space(&s, initial, mask, 0x00);
    }
    pci_reset(s.pci);
    memset(mask, 0, sizeof(mask));
    check_space(&s, initial, mask, 0);
    pci_free(s.pci);
}
END_TEST

START_TEST(header_and_capabilities_have_their_values)
{
    static const struct field values[] = {
        { 0x00, 2, 0x1234 },      { 0x02, 2, 0x5678 },      { 0x04, 2, 0 },
        { 0x06, 2, 0x0010 },      { 0x08, 4, 0x0880012a }, /* class, revision */
        { 0x0c, 4, 0 },                                    /* header type 0, one function */
        { 0x10, 4, 0 },           { 0x14, 4, 0 },           { 0x18, 4, 0 },
        { 0x1c, 4, 0 },           { 0x20, 4, 0 },           { 0x24, 4, 0 },
        { 0x28, 4, 0 },           { 0x2c, 2, 0x9abc },      { 0x2e, 2, 0xdef0 },
        { 0x30, 4, 0 },           { 0x34, 4, 0x40 },        { 0x38, 4, 0 },
        { 0x3c, 4, 0x0100 },                               /* INTA */
        { 0x40, 4, 0x00034801 },  { 0x44, 4, 0x00000008 }, /* PM 1.2, NoSoftRst */
        { 0x48, 4, 0x01846005 }, /* MSI: 64 bits, maskable, 4 of 4 vectors capable */
        { 0x60, 4, 0x00029c10 }, /* Express 2, endpoint */
        { 0x64, 4, 0x10008000 }, /* role-based errors, FLR */
        { 0x68, 4, 0x00002810 },  { 0x9c, 2, 0xa809 },      { 0x9e, 1, 11 },
        { 0x9f, 4, 0x64636261 },  { 0xa3, 4, 0x68676665 },  { 0xa8, 2, 0x000d },
        { 0xaa, 4, 0x44332211 },  { 0x100, 4, 0x10c10003 }, { 0x104, 4, 0xdeadbeef },
        { 0x108, 4, 0xcafebabe }, { 0x10c, 4, 0x1241000b }, { 0x110, 4, 0x01530007 },
        { 0x124, 4, 0x0002001e }, { 0x128, 4, 0x44332211 }, { 0x12c, 4, 0 },
    };
    struct space s;

    make(&s, &all_kinds);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        uint32_t value = get(&s, values[i].offset, values[i].len);

        ck_assert_msg(value == values[i].value, "at 0x%zx: %08x, not %08x", values[i].offset, value,
                      values[i].value);
    }
    pci_free(s.pci);
}
END_TEST

START_TEST(a_bar_decodes_a_power_of_two)
{
    static const struct {
        uint64_t size;
        uint32_t mask;
    } bars[] = {
        { 0, 0 },
        { 1, 0xfffffff0 },
        { 16, 0xfffffff0 },
        { 17, 0xffffffe0 },
        { 4096, 0xfffff000 },
        { 8192, 0xffffe000 },
        { 12288, 0xffffc000 },
        { 16384, 0xffffc000 },
        { 20480, 0xffff8000 },
        { 1 << 20, 0xfff00000 },
        { 3 << 20, 0xffc00000 },
        { 2ull << 30, 0x80000000 },
    };
    const struct pci_description d = { .n_caps = 0 };

    for (size_t i = 0; i < ARRAY_SIZE(bars); i++) {
        for (unsigned bar = 0; bar < 6; bar++) {
            uint64_t sizes[6] = { 0 };
            struct pci_error error;
            struct space s;

            sizes[bar] = bars[i].size;
            ck_assert_int_eq(pci_new(&d, sizes, &s.state, &s.pci, &error), 0);
            put(&s, BAR0 + 4 * bar, 4, 0xffffffff);
            ck_assert_uint_eq(get(&s, BAR0 + 4 * bar, 4), bars[i].mask);
            put(&s, BAR0 + 4 * bar, 4, 0xe1234567);
            ck_assert_uint_eq(get(&s, BAR0 + 4 * bar, 4), 0xe1234567 & bars[i].mask);
            put(&s, BAR0 + 4 * ((bar + 1) % 6), 4, 0xffffffff);
            ck_assert_uint_eq(get(&s, BAR0 + 4 * ((bar + 1) % 6), 4), 0);
            pci_free(s.pci);
        }
    }
}
END_TEST

START_TEST(status_errors_are_cleared_by_writing_one)
{
    struct space s;

    make(&s, &all_kinds);
    s.state.config[STATUS] = 0x10;
    s.state.config[STATUS + 1] = 0xf9; /* every error bit */
    s.state.config[0x6a] = 0x0f;       /* Device Status */
    put(&s, STATUS, 2, 0);
    put(&s, 0x6a, 2, 0);
    ck_assert_uint_eq(get(&s, STATUS, 2), 0xf910);
    ck_assert_uint_eq(get(&s, 0x6a, 2), 0x0f);
    put(&s, STATUS, 2, 0x8100);
    put(&s, 0x6a, 2, 0x05);
    ck_assert_uint_eq(get(&s, STATUS, 2), 0x7810);
    ck_assert_uint_eq(get(&s, 0x6a, 2), 0x0a);
    put(&s, STATUS, 2, 0xffff);
    put(&s, 0x6a, 2, 0xffff);
    ck_assert_uint_eq(get(&s, STATUS, 2), 0x0010);
    ck_assert_uint_eq(get(&s, 0x6a, 2), 0);
    pci_free(s.pci);
}
END_TEST

START_TEST(interrupt_status_shows_the_level)
{
    struct space s;
    uint8_t bytes[8];

    make(&s, &all_kinds);
    pci_read(s.pci, STATUS, bytes, 2, true, 0);
    ck_assert_uint_eq(bytes[0], 0x18);
    pci_read(s.pci, 0, bytes, 8, true, 0);
    ck_assert_uint_eq(bytes[6], 0x18);
    pci_read(s.pci, STATUS + 1, bytes, 1, true, 0);
    ck_assert_uint_eq(bytes[0], 0);
    pci_read(s.pci, COMMAND, bytes, 2, true, 0);
    ck_assert_uint_eq(bytes[0], 0);
    pci_read(s.pci, STATUS, bytes, 2, false, 0);
    ck_assert_uint_eq(bytes[0], 0x10);
    pci_free(s.pci);
}
END_TEST

START_TEST(command_bits_are_told)
{
    struct space s;

    make(&s, &all_kinds);
    ck_assert(!pci_bus_master(s.pci));
    ck_assert(!pci_intx_disabled(s.pci));
    ck_assert_uint_eq(put(&s, COMMAND, 2, 0x0004), PCI_EFFECT_GATE);
    ck_assert(pci_bus_master(s.pci));
    ck_assert(!pci_intx_disabled(s.pci));
    ck_assert_uint_eq(put(&s, COMMAND + 1, 1, 0x04), PCI_EFFECT_GATE);
    ck_assert(pci_bus_master(s.pci));
    ck_assert(pci_intx_disabled(s.pci));
    ck_assert_uint_eq(put(&s, BAR0, 4, 0xfe000000), PCI_EFFECT_NONE);
    pci_reset(s.pci);
    ck_assert(!pci_bus_master(s.pci));
    ck_assert(!pci_intx_disabled(s.pci));
    ck_assert_uint_eq(get(&s, BAR0, 4), 0);
    pci_free(s.pci);
}
END_TEST

START_TEST(capabilities_keep_order_and_places)
{
    /* The offsets given are kept, the others go around them, the list has the order described. */
    const struct pci_description d = {
        .n_caps = 5,
        .caps = { { .kind = PCI_CAP_KIND_VENDOR,
                    .offset = 0x80,
                    .data = vendor_data,
                    .data_len = 8 },
                  { .kind = PCI_CAP_KIND_PM },
                  { .kind = PCI_CAP_KIND_VENDOR, .offset = 0x44 },
                  { .kind = PCI_CAP_KIND_RAW, .id = 0x0d, .data_len = 2 },
                  { .kind = PCI_CAP_KIND_MSI, .vectors = 1 } },
    };
    static const uint8_t list[][2] = {
        { 0x80, 0x09 }, { 0x48, 0x01 }, { 0x44, 0x09 }, { 0x40, 0x0d }, { 0x50, 0x05 },
    };
    size_t at = CAP_POINTER;
    struct space s;

    make(&s, &d);
    ck_assert_uint_eq(pci_config_size(s.pci), 256);
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        ck_assert_uint_eq(get(&s, at, 1), list[i][0]);
        ck_assert_uint_eq(get(&s, list[i][0], 1), list[i][1]);
        at = list[i][0] + 1u;
    }
    ck_assert_uint_eq(get(&s, at, 1), 0);
    pci_free(s.pci);
}
END_TEST

START_TEST(extended_capabilities_begin_at_0x100)
{
    const struct pci_description d = {
        .n_caps = 3,
        .caps = { { .kind = PCI_CAP_KIND_VENDOR_EXT, .offset = 0x400, .id = 2, .length = 8 },
                  { .kind = PCI_CAP_KIND_DSN, .serial = 1 },
                  { .kind = PCI_CAP_KIND_RAW_EXT, .offset = 0xffc, .id = 0x17, .revision = 1 } },
    };
    struct space s;

    make(&s, &d);
    ck_assert_uint_eq(pci_config_size(s.pci), 4096);
    ck_assert_uint_eq(get(&s, STATUS, 2), 0x10);
    ck_assert_uint_eq(get(&s, 0x100, 4), 0x40010003);
    ck_assert_uint_eq(get(&s, 0x400, 4), 0xffc1000b);
    ck_assert_uint_eq(get(&s, 0xffc, 4), 0x00010017);
    pci_free(s.pci);
}
END_TEST

START_TEST(without_capabilities_there_is_no_list)
{
    const struct pci_description d = { .n_caps = 0 };
    struct space s;

    make(&s, &d);
    ck_assert_uint_eq(get(&s, STATUS, 2), 0);
    ck_assert_uint_eq(get(&s, CAP_POINTER, 1), 0);
    ck_assert_uint_eq(pci_config_size(s.pci), 256);
    ck_assert_uint_eq(pci_msi_vectors(s.pci), 0);
    ck_assert(!pci_msi_enabled(s.pci));
    ck_assert_uint_eq(pci_msi_masked(s.pci), 0);
    ck_assert(pci_in_d0(s.pci));
    pci_free(s.pci);
}
END_TEST

/* Descriptions that do not fit: two capabilities, and what is said of which of them. */
static uint8_t long_data[4096];

static const struct {
    struct pci_cap_description caps[2];
    unsigned cap;
    const char *key;
} refused[] = {
    { { { .kind = PCI_CAP_KIND_PM, .offset = 0x3c } }, 0, "offset" },
    { { { .kind = PCI_CAP_KIND_PM, .offset = 0x42 } }, 0, "offset" },
    { { { .kind = PCI_CAP_KIND_PM, .offset = 0xfc } }, 0, "offset" },
    { { { .kind = PCI_CAP_KIND_PM, .offset = 0x100 } }, 0, "offset" },
    { { { .kind = PCI_CAP_KIND_EXPRESS, .offset = 0xc8 } }, 0, "offset" },
    { { { .kind = PCI_CAP_KIND_DSN, .offset = 0x40 } }, 0, "offset" },
    { { { .kind = PCI_CAP_KIND_DSN, .offset = 0x102 } }, 0, "offset" },
    { { { .kind = PCI_CAP_KIND_DSN, .offset = 0xff8 } }, 0, "offset" },
    { { { .kind = PCI_CAP_KIND_DSN, .offset = 0x1000 } }, 0, "offset" },
    { { { .kind = PCI_CAP_KIND_DSN, .offset = 0x104 } }, 0, "offset" }, /* none at 0x100 */
    { { { .kind = PCI_CAP_KIND_PM, .offset = 0x40 },
        { .kind = PCI_CAP_KIND_VENDOR, .offset = 0x44 } },
      1,
      "offset" },
    { { { .kind = PCI_CAP_KIND_VENDOR, .offset = 0x44, .data = long_data, .data_len = 9 },
        { .kind = PCI_CAP_KIND_PM, .offset = 0x4c } },
      1,
      "offset" },
    { {
          { .kind = PCI_CAP_KIND_DSN },
          { .kind = PCI_CAP_KIND_VENDOR_EXT, .offset = 0x100, .length = 8 },
      },
      99,
      NULL }, /* DSN goes around it: accepted */
    { { { .kind = PCI_CAP_KIND_DSN, .offset = 0x100 },
        { .kind = PCI_CAP_KIND_DSN, .offset = 0x108 } },
      1,
      "offset" },
    { { { .kind = PCI_CAP_KIND_PM }, { .kind = PCI_CAP_KIND_PM, .no_soft_reset = true } },
      1,
      "kind" },
    { { { .kind = PCI_CAP_KIND_MSI, .vectors = 1 }, { .kind = PCI_CAP_KIND_MSI, .vectors = 1 } },
      1,
      "kind" },
    { { { .kind = PCI_CAP_KIND_EXPRESS }, { .kind = PCI_CAP_KIND_EXPRESS } }, 1, "kind" },
    { { { .kind = PCI_CAP_KIND_PM },
        { .kind = PCI_CAP_KIND_RAW, .id = 9, .data = long_data, .data_len = 0xc0 } },
      1,
      "kind" },
    { { { .kind = PCI_CAP_KIND_DSN },
        { .kind = PCI_CAP_KIND_RAW_EXT, .data = long_data, .data_len = 3840 } },
      1,
      "kind" },
    { { { .kind = PCI_CAP_KIND_VENDOR_EXT, .length = 7 } }, 0, "length" },
    { { { .kind = PCI_CAP_KIND_VENDOR_EXT, .length = 8, .data = long_data, .data_len = 1 } },
      0,
      "length" },
    { { { .kind = PCI_CAP_KIND_VENDOR, .data = long_data, .data_len = 4000 } }, 0, "data" },
};

START_TEST(what_does_not_fit_is_refused_by_name)
{
    struct pci_description d = { .n_caps = 0 };
    struct pci_error error = { .cap = 99, .key = NULL, .reason = NULL };
    struct pci_state state;
    struct pci *pci = NULL;
    int err;

    memcpy(d.caps, refused[_i].caps, sizeof(refused[_i].caps));
    d.n_caps = memcmp(&d.caps[1], &d.caps[2], sizeof(d.caps[1])) == 0 ? 1 : 2;
    err = pci_new(&d, two_bars, &state, &pci, &error);
    ck_assert_int_eq(err, refused[_i].key != NULL ? -EINVAL : 0);
    ck_assert_uint_eq(error.cap, refused[_i].cap);
    ck_assert_pstr_eq(error.key, refused[_i].key);
    if (err != 0) {
        ck_assert_ptr_nonnull(error.reason);
        ck_assert_ptr_null(pci);
    }
    pci_free(pci);
}
END_TEST

START_TEST(power_states_are_d0_and_d3hot)
{
    struct space s;

    make(&s, &all_kinds);
    ck_assert_uint_eq(put(&s, 0x44, 2, 1), PCI_EFFECT_GATE);
    ck_assert_uint_eq(get(&s, 0x44, 2), 0x0008);
    put(&s, 0x44, 2, 2);
    ck_assert_uint_eq(get(&s, 0x44, 2), 0x0008);
    ck_assert(pci_in_d0(s.pci));
    ck_assert_uint_eq(put(&s, 0x44, 2, 3), PCI_EFFECT_GATE);
    ck_assert_uint_eq(get(&s, 0x44, 2), 0x000b);
    ck_assert(!pci_in_d0(s.pci));
    put(&s, 0x44, 1, 2);
    ck_assert_uint_eq(get(&s, 0x44, 2), 0x000b);
    ck_assert_uint_eq(put(&s, 0x44, 2, 0), PCI_EFFECT_GATE); /* NoSoftRst: no reset */
    ck_assert(pci_in_d0(s.pci));
    put(&s, 0x44, 2, 3);
    pci_reset(s.pci);
    ck_assert(pci_in_d0(s.pci));
    pci_free(s.pci);
}
END_TEST

START_TEST(leaving_d3hot_resets_without_no_soft_reset)
{
    const struct pci_description d = { .n_caps = 1, .caps = { { .kind = PCI_CAP_KIND_PM } } };
    struct space s;

    make(&s, &d);
    ck_assert_uint_eq(get(&s, 0x44, 2), 0);
    ck_assert_uint_eq(put(&s, 0x44, 2, 0), PCI_EFFECT_GATE); /* D0 -> D0 */
    put(&s, 0x44, 2, 3);
    ck_assert_uint_eq(put(&s, 0x44, 2, 1) & PCI_EFFECT_SOFT_RESET, 0);
    ck_assert_uint_eq(put(&s, 0x45, 1, 0) & PCI_EFFECT_SOFT_RESET, 0);
    ck_assert_uint_eq(put(&s, 0x44, 2, 0), PCI_EFFECT_GATE | PCI_EFFECT_SOFT_RESET);
    pci_free(s.pci);
}
END_TEST

START_TEST(function_level_reset_is_an_effect)
{
    struct pci_description d = all_kinds;
    struct space s;

    make(&s, &d);
    ck_assert_uint_eq(put(&s, 0x68, 2, 0x8000), PCI_EFFECT_FLR);
    ck_assert_uint_eq(put(&s, 0x69, 1, 0x80), PCI_EFFECT_FLR);
    ck_assert_uint_eq(put(&s, 0x68, 4, 0x8000), PCI_EFFECT_FLR);
    ck_assert_uint_eq(put(&s, 0x68, 1, 0x80), PCI_EFFECT_NONE);
    ck_assert_uint_eq(put(&s, 0x68, 2, 0x7fff), PCI_EFFECT_NONE);
    ck_assert_uint_eq(put(&s, 0x6a, 2, 0x8000), PCI_EFFECT_NONE);
    ck_assert_uint_eq(get(&s, 0x68, 2) & 0x8000, 0); /* reads as 0 */
    pci_free(s.pci);
    d.caps[2].flr = false;
    make(&s, &d);
    ck_assert_uint_eq(get(&s, 0x64, 4), 0x00008000);
    ck_assert_uint_eq(put(&s, 0x68, 2, 0x8000), PCI_EFFECT_NONE);
    pci_free(s.pci);
}
END_TEST

/* The forms of the MSI capability: control after power-on, and what may be written of each word. */
static const struct msi_form {
    uint8_t vectors;
    bool address64;
    bool maskable;
    uint32_t control;
    uint32_t words[6]; /* from 0x40 on */
} msi_forms[] = {
    { 1, false, false, 0x0000, { 0x00710000, 0xfffffffc, 0xffff } },
    { 2, true, false, 0x0082, { 0x00710000, 0xfffffffc, 0xffffffff, 0xffff } },
    { 8, false, true, 0x0106, { 0x00710000, 0xfffffffc, 0xffff, 0xff, 0 } },
    { 32, true, true, 0x018a, { 0x00710000, 0xfffffffc, 0xffffffff, 0xffff, 0xffffffff, 0 } },
};

START_TEST(msi_has_its_width_and_masks)
{
    const struct msi_form *form = &msi_forms[_i];
    const struct pci_description d = { .n_caps = 1,
                                       .caps = { { .kind = PCI_CAP_KIND_MSI,
                                                   .vectors = form->vectors,
                                                   .address64 = form->address64,
                                                   .maskable = form->maskable } } };
    struct space s;

    make(&s, &d);
    ck_assert_uint_eq(pci_msi_vectors(s.pci), form->vectors);
    ck_assert_uint_eq(get(&s, 0x42, 2), form->control);
    ck_assert(!pci_msi_enabled(s.pci));
    for (size_t i = 0; i < 6; i++) {
        put(&s, 0x40 + 4 * i, 4, 0xffffffff);
        ck_assert_uint_eq(get(&s, 0x40 + 4 * i, 4),
                          form->words[i] | (i == 0 ? form->control << 16 | 0x05 : 0));
    }
    ck_assert(pci_msi_enabled(s.pci));
    ck_assert_uint_eq(pci_msi_masked(s.pci),
                      form->maskable ? form->words[form->address64 ? 4 : 3] : 0);
    ck_assert_uint_eq(put(&s, 0x42, 2, 0) & PCI_EFFECT_GATE, PCI_EFFECT_GATE);
    ck_assert(!pci_msi_enabled(s.pci));
    pci_free(s.pci);
}
END_TEST

START_TEST(msi_mask_bits_are_told)
{
    struct space s;

    make(&s, &all_kinds);
    ck_assert_uint_eq(put(&s, 0x58, 4, 0x5), PCI_EFFECT_GATE);
    ck_assert_uint_eq(pci_msi_masked(s.pci), 0x5);
    put(&s, 0x58, 1, 0xf8);
    ck_assert_uint_eq(pci_msi_masked(s.pci), 0x8);
    pci_reset(s.pci);
    ck_assert_uint_eq(pci_msi_masked(s.pci), 0);
    pci_free(s.pci);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        writes_change_what_is_writable_and_nothing_else,
        header_and_capabilities_have_their_values,
        a_bar_decodes_a_power_of_two,
        status_errors_are_cleared_by_writing_one,
        interrupt_status_shows_the_level,
        command_bits_are_told,
        capabilities_keep_order_and_places,
        extended_capabilities_begin_at_0x100,
        without_capabilities_there_is_no_list,
        power_states_are_d0_and_d3hot,
        leaving_d3hot_resets_without_no_soft_reset,
        function_level_reset_is_an_effect,
        msi_mask_bits_are_told,
    };
    const struct fake_loop_test loops[] = {
        { what_does_not_fit_is_refused_by_name, ARRAY_SIZE(refused) },
        { msi_has_its_width_and_masks, ARRAY_SIZE(msi_forms) },
    };

    return fake_run("pci", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
