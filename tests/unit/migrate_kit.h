/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that were used, and their state as a stream: read, taken apart into records, put together
 * again with right checksums, and loaded.
 */
#ifndef VFIO_USERD_TEST_MIGRATE_KIT_H
#define VFIO_USERD_TEST_MIGRATE_KIT_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "migrate/loading.h"
#include "migrate/saving.h"
#include "state_stream.h"
#include "unit/fakes.h"

#define KIT_RECORDS 8192

struct kit_device {
    struct fake_host host;
    struct device_description d;
    struct device *dev;
};

struct kit_stream {
    uint8_t *bytes;
    size_t len;
    size_t capacity;
    unsigned reads; /* that were not empty */
};

struct kit_record {
    uint32_t type;
    uint32_t flags; /* without the padding */
    uint8_t *payload;
    uint32_t len;
    uint32_t padding;
};

/* PM, MSI with masking, Express and MSI-X, and 16 KiB of BAR1 when bar1 is 0. */
static inline void kit_describe(struct device_description *d, uint64_t bar1)
{
    description_default(d);
    d->pci.caps[1] = (struct pci_cap_description) {
        .kind = PCI_CAP_KIND_MSI, .vectors = 4, .address64 = true, .maskable = true
    };
    d->pci.caps[2] = (struct pci_cap_description) { .kind = PCI_CAP_KIND_EXPRESS, .flr = true };
    d->pci.caps[3] =
        (struct pci_cap_description) { .kind = PCI_CAP_KIND_MSIX, .vectors = 5, .bar = 3 };
    d->pci.n_caps = 4;
    if (bar1 != 0)
        d->bar1.size = bar1;
}

/* A device of k->d. */
static inline void kit_make(struct kit_device *k)
{
    fake_host_init(&k->host);
    k->dev = fake_device(&k->host, &k->d);
}

static inline void kit_init(struct kit_device *k, uint64_t bar1)
{
    kit_describe(&k->d, bar1);
    kit_make(k);
}

static inline void kit_fini(struct kit_device *k)
{
    device_free(k->dev);
    description_fini(&k->d);
    fake_host_fini(&k->host);
}

static inline void kit_put0(struct kit_device *k, uint64_t offset, uint32_t count, uint64_t value)
{
    fake_put(k->dev, VFIO_PCI_BAR0_REGION_INDEX, offset, count, value);
}

/* Bytes that depend on the seed and the place, no page like another. */
static inline void kit_fill(struct kit_device *k, unsigned seed)
{
    uint8_t *bar1 = device_bar1(k->dev);

    for (uint64_t i = 0; i < k->d.bar1.size; i++)
        bar1[i] = (uint8_t)(i * 7 + i / 4096 * 13 + seed + 1);
}

/* Something of everything that the state has. */
static inline void kit_use(struct kit_device *k)
{
    enum irq_delivery how;

    fake_put(k->dev, VFIO_PCI_CONFIG_REGION_INDEX, 4, 2, 0x0546);
    fake_put(k->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0x10, 4, 0xfebff000);
    kit_put0(k, 0x008, 8, (uint64_t)FAKE_START_TIME + 5);
    fake_set_time(&k->host, k->dev, FAKE_START_TIME + 6);
    kit_put0(k, 0x014, 4, 0xfffffff7);
    kit_put0(k, 0x008, 8, (uint64_t)FAKE_START_TIME + 30 * FAKE_NS_PER_S);
    kit_put0(k, 0x020, 8, 0x1111222233334444);
    kit_put0(k, 0x028, 8, 0x5555666677778888);
    kit_put0(k, 0x030, 4, 0x9999);
    kit_put0(k, 0x034, 4, 1); /* fails */
    kit_put0(k, 0x020, 4, 0x77777777);
    (void)fake_get(k->dev, VFIO_PCI_BAR0_REGION_INDEX, 0x040, 4);
    kit_put0(k, 0x800, 4, 0xaaaa);
    kit_put0(k, 0x808, 4, 0xbbbb);
    ck_assert_int_eq(device_trigger_irq(k->dev, VFIO_PCI_INTX_IRQ_INDEX, 0, &how), 0);
    ck_assert_int_eq(device_trigger_irq(k->dev, VFIO_PCI_MSI_IRQ_INDEX, 2, &how), 0);
    ck_assert_int_eq(device_trigger_irq(k->dev, VFIO_PCI_ERR_IRQ_INDEX, 0, &how), 0);
    fake_put(k->dev, VFIO_PCI_BAR3_REGION_INDEX, 2 * 16 + 4, 4, 0x13572468);
    fake_put(k->dev, VFIO_PCI_BAR3_REGION_INDEX, 3 * 16 + 8, 8, 0x1000000aa);
    ck_assert_int_eq(device_trigger_irq(k->dev, VFIO_PCI_MSIX_IRQ_INDEX, 4, &how), 0);
    kit_fill(k, 0);
}

/* The state as the guest can see it: what a mask does not name is left over from before. */
static inline struct device_state kit_visible(const struct kit_device *k)
{
    struct device_state state = *device_state(k->dev);

    for (unsigned i = 0; i < TIMER_WIDE_REGS; i++) {
        if ((state.timer.staged_mask & (1u << i)) == 0)
            state.timer.staged[i] = 0;
        if ((state.timer.latched_mask & (1u << i)) == 0)
            state.timer.latched[i] = 0;
    }
    return state;
}

/* The state block and BAR1 are alike, byte for byte. */
static inline void kit_expect_same(const struct kit_device *a, const struct kit_device *b)
{
    const struct device_state state_a = kit_visible(a);
    const struct device_state state_b = kit_visible(b);

    ck_assert_int_eq(memcmp(&state_a, &state_b, sizeof(state_a)), 0);
    ck_assert_int_eq(memcmp(device_bar1(a->dev), device_bar1(b->dev), a->d.bar1.size), 0);
}

/*
 * Streams
 */

static inline void kit_append(struct kit_stream *s, const void *bytes, size_t len)
{
    if (s->len + len > s->capacity) {
        s->capacity = 2 * (s->len + len);
        s->bytes = realloc(s->bytes, s->capacity);
        ck_assert_ptr_nonnull(s->bytes);
    }
    memcpy(s->bytes + s->len, bytes, len);
    s->len += len;
}

static inline void kit_free(struct kit_stream *s)
{
    free(s->bytes);
    *s = (struct kit_stream) { .bytes = NULL };
}

/* A reply has whole records only. */
static inline void kit_expect_whole(const uint8_t *reply, size_t len)
{
    while (len > 0) {
        struct state_record record;

        ck_assert_uint_ge(len, STATE_HEADER_SIZE);
        ck_assert_ptr_null(state_record_decode(reply, &record));
        ck_assert_uint_ge(len - STATE_HEADER_SIZE, record.length);
        reply += STATE_HEADER_SIZE + record.length;
        len -= STATE_HEADER_SIZE + record.length;
    }
}

/* Reads once, appends, returns the bytes. */
static inline uint32_t kit_read(struct saving *saving, uint32_t size, struct kit_stream *s)
{
    uint8_t *reply = malloc(size);
    int n;

    ck_assert_ptr_nonnull(reply);
    n = saving_read(saving, reply, size);
    ck_assert_int_ge(n, 0);
    ck_assert_int_le(n, (int)size);
    kit_expect_whole(reply, (size_t)n);
    kit_append(s, reply, (size_t)n);
    s->reads += n > 0;
    free(reply);
    return (uint32_t)n;
}

/* Reads to the end: all replies are full but for the last. */
static inline void kit_read_all(struct saving *saving, uint32_t size, struct kit_stream *s)
{
    while (!saving_done(saving)) {
        uint32_t n = kit_read(saving, size, s);

        ck_assert_msg(n == size || saving_done(saving), "%u of %u bytes, and not the end", n, size);
    }
    ck_assert_uint_eq(kit_read(saving, size, s), 0);
}

/* The stream of a device as it is; it is stopped after this. */
static inline void kit_save(struct kit_device *k, uint32_t size, struct kit_stream *s)
{
    struct saving *saving;

    *s = (struct kit_stream) { .bytes = NULL };
    device_stop(k->dev);
    ck_assert_int_eq(saving_new(k->dev, false, &saving), 0);
    kit_read_all(saving, size, s);
    ck_assert_uint_eq(saving_bytes(saving), s->len);
    saving_free(saving);
}

/* Loads into a device, which is stopped after this; the first error. */
static inline int kit_load(struct kit_device *k, const struct kit_stream *s)
{
    struct loading *loading;
    int err;

    device_stop(k->dev);
    ck_assert_int_eq(loading_new(k->dev, &loading), 0);
    err = loading_write(loading, s->bytes, s->len);
    if (err == 0)
        err = loading_apply(loading);
    ck_assert_int_eq(err != 0, loading_reason(loading)[0] != '\0');
    loading_free(loading);
    return err;
}

/* Takes a stream apart; payloads are copies without padding. Returns the number of records. */
static inline unsigned kit_split(const struct kit_stream *s, struct kit_record *out)
{
    unsigned n = 0;

    for (size_t at = 0; at < s->len;) {
        struct state_record r;

        ck_assert_uint_lt(n, KIT_RECORDS);
        ck_assert_ptr_null(state_record_decode(s->bytes + at, &r));
        out[n] = (struct kit_record) { .type = r.type,
                                       .payload = malloc(r.length + 512),
                                       .len = r.length - r.padding };
        ck_assert_ptr_nonnull(out[n].payload);
        memcpy(out[n].payload, s->bytes + at + STATE_HEADER_SIZE, out[n].len);
        at += STATE_HEADER_SIZE + r.length;
        n++;
    }
    return n;
}

/* Puts one together; with an END of its own, where there is one. */
static inline void kit_join(const struct kit_record *records, unsigned n, struct kit_stream *s)
{
    struct state_sum sum = { 0 };

    *s = (struct kit_stream) { .bytes = NULL };
    for (unsigned i = 0; i < n; i++) {
        const struct kit_record *r = &records[i];
        uint8_t *wire = calloc(1, STATE_HEADER_SIZE + r->len + r->padding);

        ck_assert_ptr_nonnull(wire);
        memcpy(wire + STATE_HEADER_SIZE, r->payload, r->len);
        if (r->type == STATE_END && r->len == STATE_END_SIZE)
            state_record_end(wire, &sum);
        else
            state_record_seal(wire, r->type, r->flags, r->len + r->padding, r->padding, &sum);
        kit_append(s, wire, STATE_HEADER_SIZE + r->len + r->padding);
        free(wire);
    }
}

static inline void kit_free_records(struct kit_record *records, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free(records[i].payload);
}

/* The first record of a type. */
static inline struct kit_record *kit_find(struct kit_record *records, unsigned n, uint32_t type)
{
    for (unsigned i = 0; i < n; i++) {
        if (records[i].type == type)
            return &records[i];
    }
    ck_abort_msg("no record of type %u", type);
    return NULL;
}

/* The data of a field in a payload. */
static inline uint8_t *kit_field(struct kit_record *r, uint16_t id, uint16_t *size)
{
    for (size_t at = 0; at < r->len;) {
        *size = (uint16_t)state_get(r->payload + at + 2, 2);
        if (state_get(r->payload + at, 2) == id)
            return r->payload + at + STATE_FIELD_SIZE;
        at += STATE_FIELD_SIZE + *size;
    }
    ck_abort_msg("no field %u", id);
    return NULL;
}

#endif
