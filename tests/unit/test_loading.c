/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/migrate/loading.c: a good stream, cut anywhere, makes one device of two; any other one is
 * refused, and nothing has changed.
 */
#include "migrate/loading.h"

#include <errno.h>

#include "unit/migrate_kit.h"

#define SLICES 16

/* A source that was used, its stream, and a destination with a past of its own. */
struct pair {
    struct kit_device from;
    struct kit_device to;
    struct kit_stream stream;
    struct device_state before; /* of the destination */
    uint8_t bar1[16384];
};

static void pair_init(struct pair *p)
{
    *p = (struct pair) { .stream = { .bytes = NULL } };
    kit_init(&p->from, 0);
    kit_use(&p->from);
    kit_save(&p->from, 1024, &p->stream);
    kit_init(&p->to, 0);
    kit_put0(&p->to, 0x800, 4, 0x1234);
    kit_fill(&p->to, 99);
    device_stop(p->to.dev);
    p->before = *device_state(p->to.dev);
    memcpy(p->bar1, device_bar1(p->to.dev), sizeof(p->bar1));
}

static void pair_fini(struct pair *p)
{
    kit_free(&p->stream);
    kit_fini(&p->from);
    kit_fini(&p->to);
}

static void expect_untouched(const struct pair *p)
{
    ck_assert_int_eq(memcmp(&p->before, device_state(p->to.dev), sizeof(p->before)), 0);
    ck_assert_int_eq(memcmp(p->bar1, device_bar1(p->to.dev), sizeof(p->bar1)), 0);
}

START_TEST(a_state_is_loaded)
{
    struct pair p;

    pair_init(&p);
    ck_assert_int_eq(kit_load(&p.to, &p.stream), 0);
    kit_expect_same(&p.from, &p.to);
    pair_fini(&p);
}
END_TEST

/* As the writer likes it: in pieces of every size up to beyond a record's. */
START_TEST(a_stream_may_be_cut_anywhere)
{
    struct pair p;

    pair_init(&p);
    for (size_t size = 1; size < 2100; size += size < 40 ? 1 : 37) {
        struct loading *l;

        ck_assert_int_eq(loading_new(p.to.dev, &l), 0);
        for (size_t at = 0; at < p.stream.len; at += size) {
            size_t len = p.stream.len - at < size ? p.stream.len - at : size;

            ck_assert(!loading_complete(l));
            ck_assert_int_eq(loading_write(l, p.stream.bytes + at, len), 0);
        }
        ck_assert(loading_complete(l));
        ck_assert_uint_eq(loading_bytes(l), p.stream.len);
        loading_free(l);
    }
    expect_untouched(&p);
    pair_fini(&p);
}
END_TEST

/* Both on memory of its exact size, for the sanitizers. */
static void expect_refused(struct pair *p, const uint8_t *bytes, size_t len, const char *what,
                           size_t n)
{
    struct loading *l;
    int err;

    ck_assert_int_eq(loading_new(p->to.dev, &l), 0);
    err = loading_write(l, bytes, len);
    ck_assert_msg(err == 0 || err == -EINVAL || err == -EPERM, "%s %zu: %d", what, n, err);
    ck_assert_msg(!loading_complete(l), "%s %zu is taken", what, n);
    ck_assert_msg(loading_apply(l) == (err != 0 ? err : -EINVAL), "%s %zu", what, n);
    ck_assert_str_ne(loading_reason(l), "");
    loading_free(l);
}

START_TEST(every_bit_matters)
{
    struct pair p;
    size_t bits;

    pair_init(&p);
    bits = 8 * p.stream.len;
    for (size_t bit = bits * (size_t)_i / SLICES; bit < bits * ((size_t)_i + 1) / SLICES; bit++) {
        p.stream.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        expect_refused(&p, p.stream.bytes, p.stream.len, "bit", bit);
        p.stream.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    expect_untouched(&p);
    ck_assert_int_eq(kit_load(&p.to, &p.stream), 0);
    pair_fini(&p);
}
END_TEST

START_TEST(every_length_matters)
{
    struct pair p;

    pair_init(&p);
    for (size_t len = (size_t)_i; len < p.stream.len; len += SLICES)
        expect_refused(&p, p.stream.bytes, len, "length", len);
    expect_untouched(&p);
    pair_fini(&p);
}
END_TEST

/* A byte less at the front, or one more there or behind. */
START_TEST(shifted_streams)
{
    struct kit_stream longer = { .bytes = NULL };
    struct pair p;

    pair_init(&p);
    expect_refused(&p, p.stream.bytes + 1, p.stream.len - 1, "without the first byte", 0);
    kit_append(&longer, "", 1);
    kit_append(&longer, p.stream.bytes, p.stream.len);
    expect_refused(&p, longer.bytes, longer.len, "a byte before", 0);
    longer.len = 0;
    kit_append(&longer, p.stream.bytes, p.stream.len);
    kit_append(&longer, "", 1);
    expect_refused(&p, longer.bytes, longer.len, "a byte behind", 0);
    longer.len = 0;
    kit_append(&longer, p.stream.bytes, p.stream.len);
    kit_append(&longer, p.stream.bytes, p.stream.len);
    expect_refused(&p, longer.bytes, longer.len, "twice", 0);
    kit_free(&longer);
    expect_untouched(&p);
    pair_fini(&p);
}
END_TEST

/*
 * Records with right checksums
 */

static struct kit_record all[KIT_RECORDS];

/* Joins, loads and compares the reason with how it begins; NULL: it is taken. */
static void expect(struct pair *p, unsigned n, int err, const char *reason)
{
    struct kit_stream s;
    struct loading *l;
    int got;

    kit_join(all, n, &s);
    ck_assert_int_eq(loading_new(p->to.dev, &l), 0);
    got = loading_write(l, s.bytes, s.len);
    if (got == 0)
        got = loading_apply(l);
    ck_assert_msg(got == err, "%d: %s", got, loading_reason(l));
    if (reason != NULL)
        ck_assert_msg(strstr(loading_reason(l), reason) != NULL, "%s", loading_reason(l));
    ck_assert((loading_difference(l) != NULL) == (err == -EPERM));
    if (err != 0)
        expect_untouched(p);
    loading_free(l);
    kit_free(&s);
}

static void move_record(unsigned from, unsigned to)
{
    struct kit_record moved = all[from];

    if (from < to)
        memmove(&all[from], &all[from + 1], (to - from) * sizeof(all[0]));
    else
        memmove(&all[to + 1], &all[to], (from - to) * sizeof(all[0]));
    all[to] = moved;
}

START_TEST(records_that_are_not_known)
{
    struct pair p;
    unsigned n;

    pair_init(&p);
    n = kit_split(&p.stream, all);
    all[n] = (struct kit_record) { .type = 77, .payload = calloc(1, 600), .len = 5 };
    move_record(n, 3);
    n++;
    expect(&p, n, -EINVAL, "record 4 (unknown): of an unknown type");
    all[3].flags = 2;
    expect(&p, n, -EINVAL, "record 4 (unknown): unknown flags");
    all[3].flags = STATE_FLAG_OPTIONAL;
    all[3].padding = 200;
    expect(&p, n, 0, NULL);
    kit_expect_same(&p.from, &p.to);
    kit_free_records(all, n);
    pair_fini(&p);
}
END_TEST

START_TEST(records_that_are_missing)
{
    static const struct {
        uint32_t type;
        const char *reason;
    } missing[] = {
        { STATE_BEGIN, "record 1 (STATE): before any BEGIN" },
        { STATE_STATE, "STATE is missing" },
        { STATE_CONFIG, "(CONFIG): not the next bytes" },
        { STATE_MSIX, "MSIX is missing" },
        { STATE_END, "the END is missing" },
    };
    struct pair p;

    pair_init(&p);
    for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
        unsigned n = kit_split(&p.stream, all);
        struct kit_record *gone = kit_find(all, n, missing[i].type);

        free(gone->payload);
        move_record((unsigned)(gone - all), n - 1);
        expect(&p, n - 1, -EINVAL, missing[i].reason);
        kit_free_records(all, n - 1);
    }
    pair_fini(&p);
}
END_TEST

START_TEST(all_of_configuration_space_is_missing)
{
    struct pair p;
    unsigned n;
    unsigned kept = 0;

    pair_init(&p);
    n = kit_split(&p.stream, all);
    for (unsigned i = 0; i < n; i++) {
        if (all[i].type == STATE_CONFIG)
            free(all[i].payload);
        else
            all[kept++] = all[i];
    }
    expect(&p, kept, -EINVAL, "CONFIG is missing");
    kit_free_records(all, kept);
    pair_fini(&p);
}
END_TEST

START_TEST(records_that_come_again)
{
    struct pair p;
    unsigned n;

    pair_init(&p);
    n = kit_split(&p.stream, all);
    all[n] = all[1];
    ck_assert_uint_eq(all[n].type, STATE_STATE);
    move_record(n, 2);
    expect(&p, n + 1, -EINVAL, "record 3 (STATE): a second one");
    move_record(2, n);
    /* A piece of memory may: a later one holds. */
    all[n] = *kit_find(all, n, STATE_MEMORY);
    move_record(n, n - 1);
    expect(&p, n + 1, 0, NULL);
    kit_expect_same(&p.from, &p.to);
    kit_free_records(all, n - 1); /* the one at n - 1 is another's copy */
    free(all[n].payload);
    pair_fini(&p);
}
END_TEST

/* What came before a BEGIN is void: also a page that does not come again. */
START_TEST(a_begin_begins_anew)
{
    struct kit_stream both = { .bytes = NULL };
    struct kit_device empty;
    struct kit_stream s;
    struct pair p;

    pair_init(&p);
    kit_init(&empty, 0);
    kit_save(&empty, 4096, &s);
    kit_append(&both, p.stream.bytes, p.stream.len - 24); /* all but the END */
    kit_append(&both, s.bytes, s.len);
    ck_assert_int_eq(kit_load(&p.to, &both), 0);
    kit_expect_same(&empty, &p.to);
    kit_free(&both);
    kit_free(&s);
    kit_fini(&empty);
    pair_fini(&p);
}
END_TEST

/* And what is in no record behind it is zero. */
START_TEST(a_begin_forgets_memory)
{
    struct kit_stream both = { .bytes = NULL };
    struct kit_stream bare = { .bytes = NULL };
    struct kit_device empty;
    struct kit_stream s;
    struct pair p;
    unsigned n;

    pair_init(&p);
    kit_init(&empty, 0);
    kit_save(&empty, 4096, &s);
    n = kit_split(&s, all);
    for (unsigned i = 0; i < n;) {
        if (all[i].type != STATE_MEMORY) {
            i++;
            continue;
        }
        free(all[i].payload);
        move_record(i, --n);
    }
    kit_join(all, n, &bare);
    kit_append(&both, p.stream.bytes, p.stream.len - 24); /* all but the END */
    kit_append(&both, bare.bytes, bare.len);
    ck_assert_int_eq(kit_load(&p.to, &both), 0);
    kit_expect_same(&empty, &p.to);
    kit_free_records(all, n);
    kit_free(&both);
    kit_free(&bare);
    kit_free(&s);
    kit_fini(&empty);
    pair_fini(&p);
}
END_TEST

START_TEST(pieces_that_do_not_fit)
{
    struct pair p;
    struct kit_record *r;
    unsigned n;

    pair_init(&p);
    n = kit_split(&p.stream, all);
    r = kit_find(all, n, STATE_MEMORY);
    state_put(r->payload, 16384 - (r->len - 8) + 1, 8);
    expect(&p, n, -EINVAL, "(MEMORY): not inside BAR1");
    state_put(r->payload, UINT64_MAX, 8);
    expect(&p, n, -EINVAL, "(MEMORY): not inside BAR1");
    state_put(r->payload, 16384, 8);
    expect(&p, n, -EINVAL, "(MEMORY): not inside BAR1");
    r->len = 7;
    expect(&p, n, -EINVAL, "(MEMORY): not inside BAR1");
    r->len = 8; /* nothing, right behind the end */
    expect(&p, n, 0, NULL);
    kit_free_records(all, n);
    pair_fini(&p);

    pair_init(&p);
    n = kit_split(&p.stream, all);
    r = kit_find(all, n, STATE_CONFIG);
    state_put(r->payload, 1, 8);
    expect(&p, n, -EINVAL, "(CONFIG): not the next bytes");
    state_put(r->payload, UINT64_MAX, 8);
    expect(&p, n, -EINVAL, "(CONFIG): not the next bytes");
    r->len = 3;
    expect(&p, n, -EINVAL, "(CONFIG): not the next bytes");
    kit_free_records(all, n);
    pair_fini(&p);

    pair_init(&p);
    n = kit_split(&p.stream, all);
    r = kit_find(all, n, STATE_MSIX);
    ck_assert_uint_eq(r->len, 8 + 5 * 16);
    state_put(r->payload, 1, 8);
    expect(&p, n, -EINVAL, "(MSIX): not the next bytes");
    state_put(r->payload, 0, 8);
    r->payload[8] ^= 1; /* reserved bits */
    expect(&p, n, -EINVAL, "msix.table: a value that this device cannot have");
    r->payload[8] ^= 1;
    r->len++;
    expect(&p, n, -EINVAL, "(MSIX): not the next bytes");
    r->len--;
    all[n - 1].type = STATE_MSIX; /* a second one */
    expect(&p, n, -EINVAL, "(MSIX): not the next bytes");
    kit_free_records(all, n);
    pair_fini(&p);
}
END_TEST

START_TEST(an_end_of_something_else)
{
    struct pair p;
    unsigned n;

    pair_init(&p);
    n = kit_split(&p.stream, all);
    all[n - 1].len = 7; /* else the kit computes it */
    expect(&p, n, -EINVAL, "(END): records are missing");
    all[n - 1].len = 9;
    expect(&p, n, -EINVAL, "(END): records are missing");
    kit_free_records(all, n);
    pair_fini(&p);
}
END_TEST

/* As when the data of PRE_COPY was thrown away, and the rest is only what changed. */
START_TEST(an_end_of_more_than_came)
{
    struct kit_stream s = { .bytes = NULL };
    struct pair p;
    unsigned n;
    size_t at = 0;

    pair_init(&p);
    n = kit_split(&p.stream, all);
    for (unsigned i = 0; i < n; i++) {
        size_t len = STATE_HEADER_SIZE + (size_t)state_get(p.stream.bytes + at + 8, 4);

        if (i != n - 2)
            kit_append(&s, p.stream.bytes + at, len);
        at += len;
    }
    ck_assert_int_eq(kit_load(&p.to, &s), -EINVAL);
    expect_untouched(&p);
    kit_free(&s);
    kit_free_records(all, n);
    pair_fini(&p);
}
END_TEST

static const struct {
    uint16_t id;
    uint64_t value;
    const char *field;
} hostile[] = {
    { 8, 2, "timer.dma_control" },
    { 8, 0x80000000, "timer.dma_control" },
    { 8, 0x80001000, "timer.dma_control" },
    { 9, 8, "timer.irq_status" },
    { 10, 0, "timer.irq_enable" },
    { 17, 16385, "timer.engine_length" },
    { 16, UINT64_MAX, "timer.engine_length" },
    { 18, 1, "timer.engine_length" },
    { 19, 2, "timer.self_test" },
    { 32, 0, "timer.irq_enable" },
    { 33, 16, "irq.msi_pending" },
    { 35, 2, "irq.intx_pending" },
    { 36, 2, "irq.intx_masked" },
    { 37, 2, "irq.err_pending" },
    { 38, 2, "irq.req_pending" },
};

START_TEST(values_that_this_device_cannot_have)
{
    struct pair p;
    unsigned n;

    pair_init(&p);
    n = kit_split(&p.stream, all);
    for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
        uint16_t size;
        uint8_t *data = kit_field(kit_find(all, n, STATE_STATE), hostile[i].id, &size);
        uint64_t good = state_get(data, size);

        state_put(data, hostile[i].value, size);
        expect(&p, n, -EINVAL, hostile[i].field);
        state_put(data, good, size);
    }
    kit_find(all, n, STATE_CONFIG)->payload[8] ^= 1; /* the vendor's id */
    expect(&p, n, -EINVAL, "pci.config");
    kit_free_records(all, n);
    pair_fini(&p);
}
END_TEST

/* Any value at all of any field: refused, or a device that can be used. */
START_TEST(values_at_random)
{
    unsigned taken = 0;
    struct pair p;
    unsigned n;

    srand(4711);
    pair_init(&p);
    n = kit_split(&p.stream, all);
    for (unsigned i = 0; i < 400; i++) {
        struct kit_record *r = kit_find(all, n, i % 4 == 3 ? STATE_CONFIG : STATE_STATE);
        unsigned at = (unsigned)rand() % (r->len - 8) + 8;
        uint8_t good = r->payload[at];
        struct kit_stream s;

        r->payload[at] = (uint8_t)rand();
        kit_join(all, n, &s);
        if (kit_load(&p.to, &s) == 0) {
            taken++;
            device_start(p.to.dev);
            fake_set_time(&p.to.host, p.to.dev, FAKE_START_TIME + i * FAKE_NS_PER_S);
            (void)fake_get(p.to.dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, 4);
            (void)fake_get(p.to.dev, VFIO_PCI_BAR0_REGION_INDEX, 0x34, 4);
            fake_forget_messages(&p.to.host);
        }
        kit_free(&s);
        r->payload[at] = good;
    }
    ck_assert_uint_gt(taken, 50);
    ck_assert_uint_lt(taken, 350);
    kit_free_records(all, n);
    pair_fini(&p);
}
END_TEST

START_TEST(another_device)
{
    struct content_difference difference = { .field = "" };
    struct kit_device other;
    struct kit_stream s;
    struct loading *l;
    struct pair p;

    pair_init(&p);
    kit_init(&other, 32768);
    kit_save(&other, 4096, &s);
    ck_assert_int_eq(loading_new(p.to.dev, &l), 0);
    ck_assert_int_eq(loading_write(l, s.bytes, s.len), -EPERM);
    ck_assert_ptr_nonnull(loading_difference(l));
    difference = *loading_difference(l);
    ck_assert_str_eq(difference.field, "bar1.size");
    ck_assert_str_eq(loading_reason(l),
                     "it is of another device: bar1.size is 32768 there, 16384 here");
    ck_assert_int_eq(loading_write(l, p.stream.bytes, p.stream.len), -EPERM); /* and stays so */
    ck_assert_int_eq(loading_apply(l), -EPERM);
    loading_free(l);
    expect_untouched(&p);
    kit_free(&s);
    kit_fini(&other);
    pair_fini(&p);
}
END_TEST

START_TEST(a_device_that_runs_is_not_loaded)
{
    struct loading *l;
    struct pair p;

    pair_init(&p);
    ck_assert_int_eq(loading_new(p.to.dev, &l), 0);
    ck_assert_int_eq(loading_write(l, p.stream.bytes, p.stream.len), 0);
    device_start(p.to.dev);
    ck_assert_int_eq(loading_apply(l), -EBUSY);
    loading_free(l);
    device_stop(p.to.dev);
    expect_untouched(&p);
    pair_fini(&p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_state_is_loaded,
        a_stream_may_be_cut_anywhere,
        shifted_streams,
        records_that_are_not_known,
        records_that_are_missing,
        all_of_configuration_space_is_missing,
        records_that_come_again,
        a_begin_begins_anew,
        a_begin_forgets_memory,
        pieces_that_do_not_fit,
        an_end_of_something_else,
        an_end_of_more_than_came,
        values_that_this_device_cannot_have,
        values_at_random,
        another_device,
        a_device_that_runs_is_not_loaded,
    };
    const struct fake_loop_test loops[] = { { every_bit_matters, SLICES },
                                            { every_length_matters, SLICES } };

    return fake_run("loading", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
