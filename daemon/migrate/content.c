/* SPDX-License-Identifier: BSD-3-Clause */
#include "content.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "state_stream.h"

#define MODEL "timer"
#define MAGIC 0x74737675u /* "uvst" */

#define CAP_BYTES 8u /* u16 offset, u8 kind, u8 0, u32 crc32 of what a guest sees of it */

/*
 * BEGIN
 */

enum begin_id {
    BEGIN_MAGIC = 1,
    BEGIN_VERSION,
    BEGIN_MODEL,
    BEGIN_BAR0_SIZE,
    BEGIN_BAR1_SIZE,
    BEGIN_VENDOR,
    BEGIN_DEVICE,
    BEGIN_SUBSYSTEM_VENDOR,
    BEGIN_SUBSYSTEM_DEVICE,
    BEGIN_CLASS,
    BEGIN_REVISION,
    BEGIN_CONFIG_SIZE,
    BEGIN_CLEAR_ON_RESET,
    BEGIN_DMA_ON_IRQ,
    BEGIN_CAPABILITIES,
    BEGIN_COUNT /* not a field */
};

enum format { FORMAT_TEXT, FORMAT_NUMBER, FORMAT_HEX, FORMAT_BOOL, FORMAT_CAPS };

/* Compared in this order: what the format is comes first. */
static const struct begin_field {
    const char *name;
    enum format format;
    uint16_t size; /* 0: any */
} begin_fields[BEGIN_COUNT] = {
    [BEGIN_MAGIC] = { "magic", FORMAT_HEX, 4 },
    [BEGIN_VERSION] = { "version", FORMAT_NUMBER, 4 },
    [BEGIN_MODEL] = { "model", FORMAT_TEXT, 0 },
    [BEGIN_BAR0_SIZE] = { "bar0.size", FORMAT_NUMBER, 8 },
    [BEGIN_BAR1_SIZE] = { "bar1.size", FORMAT_NUMBER, 8 },
    [BEGIN_VENDOR] = { "pci.vendor", FORMAT_HEX, 2 },
    [BEGIN_DEVICE] = { "pci.device", FORMAT_HEX, 2 },
    [BEGIN_SUBSYSTEM_VENDOR] = { "pci.subsystem_vendor", FORMAT_HEX, 2 },
    [BEGIN_SUBSYSTEM_DEVICE] = { "pci.subsystem_device", FORMAT_HEX, 2 },
    [BEGIN_CLASS] = { "pci.class", FORMAT_HEX, 4 },
    [BEGIN_REVISION] = { "pci.revision", FORMAT_HEX, 1 },
    [BEGIN_CONFIG_SIZE] = { "pci.config", FORMAT_NUMBER, 4 },
    [BEGIN_CLEAR_ON_RESET] = { "bar1.clear_on_reset", FORMAT_BOOL, 1 },
    [BEGIN_DMA_ON_IRQ] = { "dma_on_irq", FORMAT_BOOL, 1 },
    [BEGIN_CAPABILITIES] = { "pci.capabilities", FORMAT_CAPS, 0 },
};

static void put_caps(const struct device *dev, struct state_fields *f)
{
    const struct pci_description *d = &device_description(dev)->pci;
    uint8_t *at = state_field_add(f, BEGIN_CAPABILITIES, (uint16_t)(d->n_caps * CAP_BYTES));
    uint8_t image[PCI_CAP_IMAGE_MAX];

    if (at == NULL)
        return;
    for (unsigned i = 0; i < d->n_caps; i++, at += CAP_BYTES) {
        uint16_t offset;
        size_t len = device_cap_image(dev, i, image, &offset);

        state_put(at, offset, 2);
        state_put(at + 2, d->caps[i].kind, 2);
        state_put(at + 4, (uint32_t)crc32_z(0, image, len), 4);
    }
}

static void put_number(struct state_fields *f, enum begin_id id, uint64_t value)
{
    state_field_put(f, (uint16_t)id, value, begin_fields[id].size);
}

int content_begin(const struct device *dev, uint8_t *out, size_t size)
{
    const struct device_description *d = device_description(dev);
    struct state_fields f = { .at = out, .left = size };
    uint8_t *model;

    put_number(&f, BEGIN_MAGIC, MAGIC);
    put_number(&f, BEGIN_VERSION, CONTENT_VERSION);
    model = state_field_add(&f, BEGIN_MODEL, sizeof(MODEL) - 1);
    if (model != NULL)
        memcpy(model, MODEL, sizeof(MODEL) - 1);
    put_number(&f, BEGIN_BAR0_SIZE, TIMER_BAR0_SIZE);
    put_number(&f, BEGIN_BAR1_SIZE, d->bar1.size);
    put_number(&f, BEGIN_VENDOR, d->pci.vendor);
    put_number(&f, BEGIN_DEVICE, d->pci.device);
    put_number(&f, BEGIN_SUBSYSTEM_VENDOR, d->pci.subsystem_vendor);
    put_number(&f, BEGIN_SUBSYSTEM_DEVICE, d->pci.subsystem_device);
    put_number(&f, BEGIN_CLASS, d->pci.class_code);
    put_number(&f, BEGIN_REVISION, d->pci.revision);
    put_number(&f, BEGIN_CONFIG_SIZE, device_config_size(dev));
    put_number(&f, BEGIN_CLEAR_ON_RESET, d->bar1.clear_on_reset);
    put_number(&f, BEGIN_DMA_ON_IRQ, d->dma_on_irq);
    put_caps(dev, &f);
    return f.bad ? -ENOSPC : (int)(size - f.left);
}

/* A BEGIN in its fields. */
struct begin {
    struct state_field fields[BEGIN_COUNT]; /* data NULL: not there */
};

static bool is_well_sized(const struct state_field *field)
{
    const struct begin_field *known = &begin_fields[field->id];

    if (known->size != 0)
        return field->size == known->size;
    return known->format != FORMAT_CAPS ||
           (field->size % CAP_BYTES == 0 && field->size / CAP_BYTES <= DESCRIPTION_MAX_CAPS);
}

static int malformed(struct content_difference *out, const char *field)
{
    snprintf(out->field, sizeof(out->field), "%s", field);
    return -EBADMSG;
}

static int read_begin(const uint8_t *payload, size_t len, struct begin *out,
                      struct content_difference *difference)
{
    struct wire w = wire_init(payload, len);
    struct state_field field;

    *out = (struct begin) { .fields = { { 0 } } };
    while (state_field_next(&w, &field)) {
        bool known = field.id > 0 && field.id < BEGIN_COUNT;

        if (!known && field.id >= STATE_FIELD_OPTIONAL)
            continue;
        if (!known)
            return malformed(difference, "a field that is not known");
        if (out->fields[field.id].data != NULL || !is_well_sized(&field))
            return malformed(difference, begin_fields[field.id].name);
        out->fields[field.id] = field;
    }
    return w.bad ? malformed(difference, "a field that is cut") : 0;
}

/* Another format may have other fields: it is only called another one. */
static bool is_other_format(const uint8_t *payload, size_t len, struct content_difference *out)
{
    struct wire w = wire_init(payload, len);
    struct state_field magic;
    struct state_field version;

    if (!state_field_next(&w, &magic) || !state_field_next(&w, &version) ||
        magic.id != BEGIN_MAGIC || magic.size != 4 || state_get(magic.data, 4) != MAGIC ||
        version.id != BEGIN_VERSION || version.size != 4 ||
        state_get(version.data, 4) == CONTENT_VERSION)
        return false;
    strcpy(out->field, "version");
    snprintf(out->ours, sizeof(out->ours), "%u", CONTENT_VERSION);
    snprintf(out->theirs, sizeof(out->theirs), "%" PRIu64, state_get(version.data, 4));
    return true;
}

static void print_cap(const uint8_t *cap, char *out, size_t size)
{
    static const char *const kinds[] = {
        [PCI_CAP_KIND_PM] = "pm",
        [PCI_CAP_KIND_MSI] = "msi",
        [PCI_CAP_KIND_EXPRESS] = "express",
        [PCI_CAP_KIND_VENDOR] = "vendor",
        [PCI_CAP_KIND_RAW] = "raw",
        [PCI_CAP_KIND_DSN] = "dsn",
        [PCI_CAP_KIND_VENDOR_EXT] = "vendor-ext",
        [PCI_CAP_KIND_RAW_EXT] = "raw-ext",
        [PCI_CAP_KIND_MSIX] = "msix",
    };
    unsigned kind = (unsigned)state_get(cap + 2, 2);

    snprintf(out, size, "%s at 0x%x, contents %08x",
             kind < sizeof(kinds) / sizeof(kinds[0]) ? kinds[kind] : "unknown",
             (unsigned)state_get(cap, 2), (unsigned)state_get(cap + 4, 4));
}

/* The first capability that differs, or their number. */
static void tell_caps(const struct state_field *ours, const struct state_field *theirs,
                      struct content_difference *out)
{
    unsigned i = 0;

    if (ours->size != theirs->size) {
        snprintf(out->ours, sizeof(out->ours), "%u of them", ours->size / CAP_BYTES);
        snprintf(out->theirs, sizeof(out->theirs), "%u of them", theirs->size / CAP_BYTES);
        return;
    }
    while (memcmp(ours->data + i * CAP_BYTES, theirs->data + i * CAP_BYTES, CAP_BYTES) == 0)
        i++;
    snprintf(out->field, sizeof(out->field), "pci.capabilities[%u]", i);
    print_cap(ours->data + i * CAP_BYTES, out->ours, sizeof(out->ours));
    print_cap(theirs->data + i * CAP_BYTES, out->theirs, sizeof(out->theirs));
}

static void print_value(enum format format, const struct state_field *field, char *out, size_t size)
{
    uint64_t value = format != FORMAT_TEXT ? state_get(field->data, field->size) : 0;

    if (format == FORMAT_TEXT)
        snprintf(out, size, "%.*s", (int)field->size, (const char *)field->data);
    else if (format == FORMAT_HEX)
        snprintf(out, size, "0x%0*" PRIx64, field->size * 2, value);
    else if (format == FORMAT_NUMBER)
        snprintf(out, size, "%" PRIu64, value);
    else
        snprintf(out, size, "%s", value != 0 ? "true" : "false");
}

static void tell(enum begin_id id, const struct state_field *ours, const struct state_field *theirs,
                 struct content_difference *out)
{
    const struct begin_field *field = &begin_fields[id];

    strcpy(out->field, field->name);
    if (field->format == FORMAT_CAPS) {
        tell_caps(ours, theirs, out);
        return;
    }
    print_value(field->format, ours, out->ours, sizeof(out->ours));
    print_value(field->format, theirs, out->theirs, sizeof(out->theirs));
}

int content_check_begin(const struct device *dev, const uint8_t *payload, size_t len,
                        struct content_difference *out)
{
    uint8_t own[CONTENT_BEGIN_MAX];
    int own_len = content_begin(dev, own, sizeof(own));
    struct begin ours;
    struct begin theirs;
    int err;

    *out = (struct content_difference) { .field = "" };
    if (is_other_format(payload, len, out))
        return -EPERM;
    if (own_len < 0 || read_begin(own, (size_t)own_len, &ours, out) != 0)
        return malformed(out, "our own");
    err = read_begin(payload, len, &theirs, out);
    if (err != 0)
        return err;
    for (unsigned id = 1; id < BEGIN_COUNT; id++) {
        const struct state_field *a = &ours.fields[id];
        const struct state_field *b = &theirs.fields[id];

        if (b->data == NULL)
            return malformed(out, begin_fields[id].name);
        if (a->size == b->size && memcmp(a->data, b->data, a->size) == 0)
            continue;
        if (id == BEGIN_MAGIC)
            return malformed(out, begin_fields[id].name);
        tell((enum begin_id)id, a, b, out);
        return -EPERM;
    }
    return 0;
}

/*
 * STATE
 */

#define ANY_FIELD(ID, MEMBER, WHEN_SET)                                                   \
    {                                                                                     \
        .id = ID, .size = sizeof(((struct device_state *)NULL)->MEMBER), .name = #MEMBER, \
        .offset = offsetof(struct device_state, MEMBER), .when_set = WHEN_SET             \
    }

#define FIELD(ID, MEMBER) ANY_FIELD(ID, MEMBER, false)

/* One that came later, or that most devices have no use for: the stream is shorter without. */
#define FIELD_WHEN_SET(ID, MEMBER) ANY_FIELD(ID, MEMBER, true)

/* An id, once given, keeps its meaning: streams are kept in files. */
static const struct content_field fields[] = {
    FIELD(1, timer.deadline),
    FIELD(2, timer.written_s),
    FIELD(3, timer.written_ns),
    FIELD(4, timer.fired),
    FIELD(5, timer.dma_iova),
    FIELD(6, timer.dma_offset),
    FIELD(7, timer.dma_length),
    FIELD(8, timer.dma_control),
    FIELD(9, timer.irq_status),
    FIELD(10, timer.irq_enable),
    FIELD(11, timer.doorbell),
    FIELD(12, timer.doorbell_count),
    FIELD(13, timer.doorbell_trapped),
    FIELD(14, timer.dma_command),
    FIELD(15, timer.engine_iova),
    FIELD(16, timer.engine_offset),
    FIELD(17, timer.engine_length),
    FIELD(18, timer.engine_progress),
    FIELD(19, timer.self_test),
    FIELD(32, irq.active),
    FIELD(33, irq.msi_pending),
    FIELD(34, irq.count),
    FIELD(35, irq.intx_pending),
    FIELD(36, irq.intx_masked),
    FIELD(37, irq.err_pending),
    FIELD(38, irq.req_pending),
    FIELD_WHEN_SET(39, irq.msix_pending),
    FIELD_WHEN_SET(40, msix.written),
};

#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

/* Most of the time nothing is in them: only what the mask names is sent. */
static const struct content_masked_field masked_fields[] = {
    { 20, "timer.staged", offsetof(struct device_state, timer.staged_mask),
      offsetof(struct device_state, timer.staged) },
    { 21, "timer.latched", offsetof(struct device_state, timer.latched_mask),
      offsetof(struct device_state, timer.latched) },
};

#define N_MASKED (sizeof(masked_fields) / sizeof(masked_fields[0]))

const struct content_field *content_fields(size_t *n)
{
    *n = N_FIELDS;
    return fields;
}

const struct content_masked_field *content_masked_fields(size_t *n)
{
    *n = N_MASKED;
    return masked_fields;
}

/* A number of the state block, in the byte order of this machine. */
static uint64_t load_number(const uint8_t *at, size_t size)
{
    uint64_t wide;
    uint32_t word;
    uint16_t half;

    switch (size) {
    case 1:
        return *at;
    case 2:
        memcpy(&half, at, sizeof(half));
        return half;
    case 4:
        memcpy(&word, at, sizeof(word));
        return word;
    default:
        memcpy(&wide, at, sizeof(wide));
        return wide;
    }
}

static void store_number(uint8_t *at, size_t size, uint64_t wide)
{
    uint32_t word = (uint32_t)wide;
    uint16_t half = (uint16_t)wide;

    switch (size) {
    case 1:
        *at = (uint8_t)wide;
        break;
    case 2:
        memcpy(at, &half, sizeof(half));
        break;
    case 4:
        memcpy(at, &word, sizeof(word));
        break;
    default:
        memcpy(at, &wide, sizeof(wide));
        break;
    }
}

static void put_masked(const struct content_masked_field *m, const uint8_t *block,
                       struct state_fields *f)
{
    uint16_t mask = (uint16_t)load_number(block + m->mask, 2) & ((1u << TIMER_WIDE_REGS) - 1);
    unsigned n = (unsigned)__builtin_popcount(mask);
    uint8_t *at = state_field_add(f, m->id, (uint16_t)(2 + 8 * n));

    if (at == NULL)
        return;
    state_put(at, mask, 2);
    at += 2;
    for (unsigned i = 0; i < TIMER_WIDE_REGS; i++) {
        if ((mask & (1u << i)) == 0)
            continue;
        state_put(at, load_number(block + m->values + 8 * i, 8), 8);
        at += 8;
    }
}

int content_state(const struct device_state *state, uint8_t *out, size_t size)
{
    const uint8_t *block = (const uint8_t *)state;
    struct state_fields f = { .at = out, .left = size };

    for (size_t i = 0; i < N_FIELDS; i++) {
        uint64_t value = load_number(block + fields[i].offset, fields[i].size);

        if (value != 0 || !fields[i].when_set)
            state_field_put(&f, fields[i].id, value, fields[i].size);
    }
    for (size_t i = 0; i < N_MASKED; i++)
        put_masked(&masked_fields[i], block, &f);
    return f.bad ? -ENOSPC : (int)(size - f.left);
}

static bool read_masked(const struct content_masked_field *m, const struct state_field *field,
                        uint8_t *block)
{
    const uint8_t *at = field->data + 2;
    unsigned mask;

    if (field->size < 2)
        return false;
    mask = (unsigned)state_get(field->data, 2);
    if (mask >> TIMER_WIDE_REGS != 0 || field->size != 2 + 8 * __builtin_popcount(mask))
        return false;
    store_number(block + m->mask, 2, mask);
    for (unsigned i = 0; i < TIMER_WIDE_REGS; i++) {
        if ((mask & (1u << i)) == 0)
            continue;
        store_number(block + m->values + 8 * i, 8, state_get(at, 8));
        at += 8;
    }
    return true;
}

/* Which fields have been read. */
struct seen {
    bool plain[N_FIELDS];
    bool masked[N_MASKED];
};

/* Reads a field; NULL, or the name of what is wrong with it. */
static const char *read_field(const struct state_field *field, uint8_t *block, struct seen *seen)
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (fields[i].id != field->id)
            continue;
        if (seen->plain[i] || field->size != fields[i].size)
            return fields[i].name;
        seen->plain[i] = true;
        store_number(block + fields[i].offset, field->size, state_get(field->data, field->size));
        return NULL;
    }
    for (size_t i = 0; i < N_MASKED; i++) {
        if (masked_fields[i].id != field->id)
            continue;
        if (seen->masked[i] || !read_masked(&masked_fields[i], field, block))
            return masked_fields[i].name;
        seen->masked[i] = true;
        return NULL;
    }
    return field->id >= STATE_FIELD_OPTIONAL ? NULL : "a field that is not known";
}

static const char *first_missing(const struct seen *seen)
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (!seen->plain[i] && !fields[i].when_set)
            return fields[i].name;
    }
    for (size_t i = 0; i < N_MASKED; i++) {
        if (!seen->masked[i])
            return masked_fields[i].name;
    }
    return NULL;
}

int content_read_state(const uint8_t *payload, size_t len, struct device_state *out,
                       const char **field)
{
    struct device_state state = { .magic = DEVICE_STATE_MAGIC,
                                  .version = DEVICE_STATE_VERSION,
                                  .size = sizeof(state) };
    struct wire w = wire_init(payload, len);
    struct seen seen = { .plain = { false } };
    struct state_field next;
    const char *wrong = NULL;

    while (wrong == NULL && state_field_next(&w, &next))
        wrong = read_field(&next, (uint8_t *)&state, &seen);
    if (wrong == NULL)
        wrong = w.bad ? "a field that is cut" : first_missing(&seen);
    if (wrong != NULL) {
        *field = wrong;
        return -EINVAL;
    }
    state.pci = out->pci;
    memcpy(state.msix.table, out->msix.table, sizeof(state.msix.table));
    *out = state;
    return 0;
}
