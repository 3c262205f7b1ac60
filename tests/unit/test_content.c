/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon/migrate/content.c: what BEGIN and STATE say, and that they leave nothing out. */
#include "migrate/content.h"

#include <errno.h>

#include "unit/migrate_kit.h"

/* What of the state block is no field of STATE, and why. */
static const struct {
    size_t offset;
    size_t size;
} elsewhere[] = {
#define ELSEWHERE(member)                                                                    \
    {                                                                                        \
        offsetof(struct device_state, member), sizeof(((struct device_state *)NULL)->member) \
    }
    /* The block's own, alike in all. */
    ELSEWHERE(magic),
    ELSEWHERE(version),
    ELSEWHERE(size),
    ELSEWHERE(reserved),
    /* Unused. */
    ELSEWHERE(timer.reserved),
    ELSEWHERE(msix.reserved),
    /* The records CONFIG and MSIX. */
    ELSEWHERE(pci.config),
    ELSEWHERE(msix.table),
};

static void cover(uint8_t *covered, size_t offset, size_t size)
{
    for (size_t i = offset; i < offset + size; i++) {
        ck_assert_uint_lt(i, sizeof(struct device_state));
        ck_assert_msg(covered[i] == 0, "byte %zu is covered twice", i);
        covered[i] = 1;
    }
}

/* Fails when somebody adds to the state block and not to the stream. */
START_TEST(every_byte_of_the_block_is_carried)
{
    uint8_t covered[sizeof(struct device_state)] = { 0 };
    size_t n;
    const struct content_field *fields = content_fields(&n);
    const struct content_masked_field *masked;

    for (size_t i = 0; i < n; i++)
        cover(covered, fields[i].offset, fields[i].size);
    masked = content_masked_fields(&n);
    for (size_t i = 0; i < n; i++) {
        cover(covered, masked[i].mask, 2);
        cover(covered, masked[i].values, TIMER_WIDE_REGS * sizeof(uint64_t));
    }
    for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
        cover(covered, elsewhere[i].offset, elsewhere[i].size);
    for (size_t i = 0; i < sizeof(covered); i++)
        ck_assert_msg(covered[i] == 1, "byte %zu of struct device_state is not in the stream", i);
}
END_TEST

START_TEST(ids_are_given_once)
{
    size_t n;
    size_t n_masked;
    const struct content_field *fields = content_fields(&n);
    const struct content_masked_field *masked = content_masked_fields(&n_masked);

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++)
            ck_assert_uint_ne(fields[i].id, fields[j].id);
        for (size_t j = 0; j < n_masked; j++)
            ck_assert_uint_ne(fields[i].id, masked[j].id);
        ck_assert_uint_lt(fields[i].id, STATE_FIELD_OPTIONAL);
        ck_assert_ptr_nonnull(strchr(fields[i].name, '.'));
    }
}
END_TEST

/* Each byte of the block on its own survives; but staged and latched only behind their mask. */
START_TEST(each_field_keeps_its_value)
{
    struct device_state state = { .magic = DEVICE_STATE_MAGIC,
                                  .version = DEVICE_STATE_VERSION,
                                  .size = sizeof(state) };
    size_t n;
    const struct content_field *fields = content_fields(&n);

    for (size_t i = 0; i < n; i++) {
        struct device_state in = state;
        struct device_state out = state;
        uint8_t payload[CONTENT_STATE_MAX];
        const char *field = "";
        int len;

        for (unsigned b = 0; b < fields[i].size; b++)
            ((uint8_t *)&in)[fields[i].offset + b] = (uint8_t)(0xe1 + b);
        len = content_state(&in, payload, sizeof(payload));
        ck_assert_int_gt(len, 0);
        ck_assert_msg(content_read_state(payload, (size_t)len, &out, &field) == 0, "%s", field);
        ck_assert_msg(memcmp(&in, &out, sizeof(in)) == 0, "%s", fields[i].name);
    }
}
END_TEST

START_TEST(staged_registers_are_sent_where_their_mask_says)
{
    for (unsigned mask = 0; mask < 1u << TIMER_WIDE_REGS; mask++) {
        struct device_state in = { .magic = DEVICE_STATE_MAGIC,
                                   .version = DEVICE_STATE_VERSION,
                                   .size = sizeof(in) };
        struct device_state out = { 0 };
        uint8_t payload[CONTENT_STATE_MAX];
        const char *field;
        int len;

        in.timer.staged_mask = (uint16_t)mask;
        in.timer.latched_mask = (uint16_t)(mask ^ 0x55);
        for (unsigned i = 0; i < TIMER_WIDE_REGS; i++) {
            in.timer.staged[i] = 0x1100 + i;
            in.timer.latched[i] = ~0x1100ull - i;
        }
        len = content_state(&in, payload, sizeof(payload));
        ck_assert_int_gt(len, 0);
        ck_assert_int_eq(content_read_state(payload, (size_t)len, &out, &field), 0);
        for (unsigned i = 0; i < TIMER_WIDE_REGS; i++) {
            if ((in.timer.staged_mask & (1u << i)) == 0)
                in.timer.staged[i] = 0;
            if ((in.timer.latched_mask & (1u << i)) == 0)
                in.timer.latched[i] = 0;
        }
        ck_assert_int_eq(memcmp(&in, &out, sizeof(in)), 0);
    }
}
END_TEST

/* A STATE without one of its fields, with one twice, longer or shorter, or an unknown one. */
static int read_changed(unsigned which, unsigned how, const char **field)
{
    const struct device_state state = {
        .size = sizeof(state), .irq.msix_pending = 1, .msix.written = 1 /* those may be left out */
    };
    struct device_state out = { .size = 77 };
    uint8_t whole[CONTENT_STATE_MAX];
    uint8_t payload[2 * CONTENT_STATE_MAX];
    struct state_fields f = { .at = payload, .left = sizeof(payload) };
    int len = content_state(&state, whole, sizeof(whole));
    struct wire w = wire_init(whole, (size_t)len);
    struct state_field next;
    int err;

    for (unsigned i = 0; state_field_next(&w, &next); i++) {
        if (i != which || how == 1)
            memcpy(state_field_add(&f, next.id, next.size), next.data, next.size);
        if (i == which && how == 1)
            memcpy(state_field_add(&f, next.id, next.size), next.data, next.size);
        if (i == which && how == 2)
            memset(state_field_add(&f, next.id, (uint16_t)(next.size + 1)), 0, next.size + 1u);
        if (i == which && how == 3)
            memset(state_field_add(&f, next.id, (uint16_t)(next.size - 1)), 0, next.size - 1u);
        if (i == which && how == 4)
            state_field_put(&f, 0x7fff, 0, 4);
    }
    ck_assert(!f.bad);
    err = content_read_state(payload, sizeof(payload) - f.left, &out, field);
    ck_assert(err == 0 || out.size == 77);
    return err;
}

START_TEST(fields_that_are_not_as_they_should)
{
    size_t n;
    size_t n_masked;
    const struct content_field *fields = content_fields(&n);
    const struct content_masked_field *masked = content_masked_fields(&n_masked);

    for (unsigned how = 0; how < 5; how++) {
        for (unsigned i = 0; i < n + n_masked; i++) {
            const char *name = i < n ? fields[i].name : masked[i - n].name;
            const char *field = "";

            if (how == 0 && i < n && fields[i].when_set) {
                ck_assert_msg(read_changed(i, how, &field) == 0, "%s", name);
                continue;
            }
            ck_assert_msg(read_changed(i, how, &field) == -EINVAL, "%s, %u", name, how);
            if (how == 4)
                name = "a field that is not known";
            ck_assert_str_eq(field, name);
        }
    }
}
END_TEST

START_TEST(a_field_of_the_future)
{
    const struct device_state state = { .size = sizeof(state) };
    struct device_state out = { 0 };
    uint8_t payload[2 * CONTENT_STATE_MAX];
    struct state_fields f = { .at = payload, .left = sizeof(payload) };
    const char *field = "";
    int len;

    state_field_put(&f, STATE_FIELD_OPTIONAL, 1, 8);
    state_field_put(&f, 0xffff, 1, 8);
    len = content_state(&state, f.at, f.left);
    ck_assert_int_gt(len, 0);
    ck_assert_int_eq(
        content_read_state(payload, (size_t)(f.at - payload) + (size_t)len, &out, &field), 0);
    ck_assert_int_eq(
        content_read_state(payload, (size_t)(f.at - payload) + (size_t)len - 1, &out, &field),
        -EINVAL);
}
END_TEST

/*
 * BEGIN
 */

static void change_bar1(struct device_description *d)
{
    d->bar1.size = 8192;
    d->bar1.n_areas = 0;
}

static void change_vendor(struct device_description *d)
{
    d->pci.vendor = 0x1234;
}

static void change_device(struct device_description *d)
{
    d->pci.device = 0x1234;
}

static void change_subsystem(struct device_description *d)
{
    d->pci.subsystem_vendor = 0x1234;
}

static void change_subsystem_device(struct device_description *d)
{
    d->pci.subsystem_device = 0x1234;
}

static void change_class(struct device_description *d)
{
    d->pci.class_code = 0x123456;
}

static void change_revision(struct device_description *d)
{
    d->pci.revision = 0x77;
}

static void change_config(struct device_description *d)
{
    d->pci.n_caps = 2;
}

static void change_clear(struct device_description *d)
{
    d->bar1.clear_on_reset = true;
}

static void change_dma_on_irq(struct device_description *d)
{
    d->dma_on_irq = true;
}

static void change_caps(struct device_description *d)
{
    d->pci.caps[d->pci.n_caps++] =
        (struct pci_cap_description) { .kind = PCI_CAP_KIND_DSN, .serial = 5 };
}

static void change_place(struct device_description *d)
{
    d->pci.caps[1].offset = 0x80;
}

static void change_kind(struct device_description *d)
{
    d->pci.caps[0] = (struct pci_cap_description) { .kind = PCI_CAP_KIND_VENDOR, .data_len = 5 };
}

static void change_vectors(struct device_description *d)
{
    d->pci.caps[1].vectors = 8;
}

static void change_flr(struct device_description *d)
{
    d->pci.caps[2].flr = false;
}

static const struct {
    void (*change)(struct device_description *d);
    const char *field;
    const char *ours; /* NULL: not compared */
    const char *theirs;
} changes[] = {
    { change_bar1, "bar1.size", "16384", "8192" },
    { change_vendor, "pci.vendor", NULL, "0x1234" },
    { change_device, "pci.device", NULL, "0x1234" },
    { change_subsystem, "pci.subsystem_vendor", NULL, "0x1234" },
    { change_subsystem_device, "pci.subsystem_device", NULL, "0x1234" },
    { change_class, "pci.class", NULL, "0x00123456" },
    { change_revision, "pci.revision", NULL, "0x77" },
    { change_config, "pci.config", "4096", "256" },
    { change_clear, "bar1.clear_on_reset", "false", "true" },
    { change_dma_on_irq, "dma_on_irq", "false", "true" },
    { change_caps, "pci.capabilities", "4 of them", "5 of them" },
    { change_place, "pci.capabilities[1]", NULL, NULL },
    { change_kind, "pci.capabilities[0]", NULL, NULL },
    { change_vectors, "pci.capabilities[1]", NULL, NULL },
    { change_flr, "pci.capabilities[2]", NULL, NULL },
};

START_TEST(the_first_difference_is_told)
{
    struct content_difference difference;
    struct kit_device ours;
    struct kit_device theirs;
    uint8_t payload[CONTENT_BEGIN_MAX];
    int len;

    kit_init(&ours, 0);
    kit_describe(&theirs.d, 0);
    changes[_i].change(&theirs.d);
    kit_make(&theirs);
    len = content_begin(theirs.dev, payload, sizeof(payload));
    ck_assert_int_gt(len, 0);
    ck_assert_int_eq(content_check_begin(ours.dev, payload, (size_t)len, &difference), -EPERM);
    ck_assert_str_eq(difference.field, changes[_i].field);
    if (changes[_i].ours != NULL)
        ck_assert_str_eq(difference.ours, changes[_i].ours);
    if (changes[_i].theirs != NULL)
        ck_assert_str_eq(difference.theirs, changes[_i].theirs);
    ck_assert_str_ne(difference.ours, difference.theirs);
    ck_assert_int_eq(content_check_begin(theirs.dev, payload, (size_t)len, &difference), 0);
    kit_fini(&ours);
    kit_fini(&theirs);
}
END_TEST

/* What a client may map is told to each client anew: it is not the state's. */
START_TEST(what_does_not_matter)
{
    struct content_difference difference;
    struct kit_device ours;
    struct kit_device theirs;
    uint8_t payload[CONTENT_BEGIN_MAX];
    int len;

    kit_init(&ours, 0);
    kit_describe(&theirs.d, 0);
    theirs.d.bar1.n_areas = 0;
    theirs.d.limits.max_dma_maps = 3;
    theirs.d.pci.caps[1].offset = 0x48; /* where it is anyway */
    theirs.d.pci.caps[0].vectors = 4;   /* of power management nothing is made of it */
    kit_make(&theirs);
    len = content_begin(theirs.dev, payload, sizeof(payload));
    ck_assert_int_gt(len, 0);
    ck_assert_int_eq(content_check_begin(ours.dev, payload, (size_t)len, &difference), 0);
    kit_fini(&ours);
    kit_fini(&theirs);
}
END_TEST

START_TEST(another_version)
{
    struct content_difference difference;
    struct kit_record begin = { .payload = malloc(CONTENT_BEGIN_MAX + 8) };
    struct kit_device ours;
    uint16_t size;

    ck_assert_ptr_nonnull(begin.payload);
    kit_init(&ours, 0);
    begin.len = (uint32_t)content_begin(ours.dev, begin.payload, CONTENT_BEGIN_MAX);
    state_put(kit_field(&begin, 2, &size), CONTENT_VERSION + 1, 4);
    state_put(begin.payload + begin.len, 0x7000, 4); /* a field that we do not know */
    ck_assert_int_eq(content_check_begin(ours.dev, begin.payload, begin.len + 4, &difference),
                     -EPERM);
    ck_assert_str_eq(difference.field, "version");
    ck_assert_str_eq(difference.ours, "1");
    ck_assert_str_eq(difference.theirs, "2");
    state_put(kit_field(&begin, 1, &size), 1, 4);
    ck_assert_int_eq(content_check_begin(ours.dev, begin.payload, begin.len, &difference),
                     -EBADMSG);
    ck_assert_str_eq(difference.field, "magic");
    free(begin.payload);
    kit_fini(&ours);
}
END_TEST

/* Every cut and every bit: never taken for ours, never read beyond. */
START_TEST(a_begin_that_is_damaged)
{
    struct content_difference difference;
    struct kit_device ours;
    uint8_t payload[CONTENT_BEGIN_MAX];
    size_t len;

    kit_init(&ours, 0);
    len = (size_t)content_begin(ours.dev, payload, sizeof(payload));
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *bytes = malloc(cut + (cut == 0));

        ck_assert_ptr_nonnull(bytes);
        memcpy(bytes, payload, cut);
        ck_assert_int_eq(content_check_begin(ours.dev, bytes, cut, &difference), -EBADMSG);
        ck_assert_str_ne(difference.field, "");
        free(bytes);
    }
    for (size_t bit = 0; bit < 8 * len; bit++) {
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_msg(content_check_begin(ours.dev, payload, len, &difference) != 0, "bit %zu",
                      bit);
        ck_assert_str_ne(difference.field, "");
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    kit_fini(&ours);
}
END_TEST

/* The largest of both records fit where the smallest read is answered. */
START_TEST(the_largest_there_are)
{
    struct content_difference difference;
    struct device_state state = { .size = sizeof(state) };
    struct kit_device k;
    uint8_t payload[CONTENT_BEGIN_MAX];
    int len;

    kit_describe(&k.d, 0);
    for (k.d.pci.n_caps = 1; k.d.pci.n_caps < DESCRIPTION_MAX_CAPS; k.d.pci.n_caps++)
        k.d.pci.caps[k.d.pci.n_caps] = (struct pci_cap_description) {
            .kind = PCI_CAP_KIND_RAW_EXT, .id = (uint16_t)k.d.pci.n_caps, .revision = 1
        };
    kit_make(&k);
    len = content_begin(k.dev, payload, sizeof(payload));
    ck_assert_int_gt(len, (int)CONTENT_BEGIN_MAX - 32);
    ck_assert_int_eq(content_check_begin(k.dev, payload, (size_t)len, &difference), 0);
    ck_assert_int_eq(content_begin(k.dev, payload, (size_t)len - 1), -ENOSPC);
    state.timer.staged_mask = state.timer.latched_mask = (1u << TIMER_WIDE_REGS) - 1;
    state.irq.msix_pending = state.msix.written = 1;
    len = content_state(&state, payload, CONTENT_STATE_MAX);
    ck_assert_int_gt(len, 0);
    ck_assert_int_eq(content_state(&state, payload, (size_t)len - 1), -ENOSPC);
    ck_assert_uint_le(CONTENT_BEGIN_MAX + STATE_HEADER_SIZE, SAVING_MIN_READ);
    ck_assert_uint_le(CONTENT_STATE_MAX + STATE_HEADER_SIZE, SAVING_MIN_READ);
    kit_fini(&k);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_byte_of_the_block_is_carried,
        ids_are_given_once,
        each_field_keeps_its_value,
        staged_registers_are_sent_where_their_mask_says,
        fields_that_are_not_as_they_should,
        a_field_of_the_future,
        what_does_not_matter,
        another_version,
        a_begin_that_is_damaged,
        the_largest_there_are,
    };
    const struct fake_loop_test loops[] = { { the_first_difference_is_told, ARRAY_SIZE(changes) } };

    return fake_run("content", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
