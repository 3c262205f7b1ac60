/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/migrate/migration.c and saving.c: what is read goes on in another process, from each point
 * of the stream.
 */
#define _GNU_SOURCE
#include "unit/kept_kit.h"

/* What was read makes another device like this one. */
static void expect_loads(struct world *w)
{
    kit_fill(&w->other, 77);
    ck_assert_int_eq(kit_load(&w->other, &w->read), 0);
    kit_expect_same(&w->k, &w->other);
}

static void write_bar1(struct world *w, unsigned seed)
{
    uint8_t *bar1 = device_bar1(w->k.dev);

    memset(bar1 + seed * 4096u % w->k.d.bar1.size, (int)(seed + 3), 100);
    bar1[w->k.d.bar1.size - 1] = (uint8_t)seed;
}

static void describe_sample(struct device_description *d)
{
    description_default(d);
    d->bar1.size = 12288;
    d->bar1.n_areas = 0;
    d->dma_on_irq = true;
    d->pci.n_caps = 1;
}

static const uint32_t sizes[] = { SAVING_MIN_READ, 1000, 1024, 4096, 5000, 1u << 20 };

enum death { BETWEEN, IN_STEP, BETWEEN_BAR1, N_DEATHS };

/* The whole of it, cut before the given read of PRE_COPY, or of STOP_COPY. Whether there was one.
 */
static bool cut_saving(struct world *w, uint32_t size, uint32_t state, unsigned cut,
                       enum death death)
{
    struct left left;
    unsigned n = 0;

    w->read.len = 0;
    kit_fill(&w->k, cut);
    migration_reset(w->m);
    set_state(w, PRE_COPY);
    if (state == STOP_COPY) {
        read_once(w, size, true);
        write_bar1(w, 9);
        set_state(w, STOP_COPY);
    }
    while (n < cut && read_once(w, size, true) > 0)
        n++;
    left = leave(w);
    if (death == IN_STEP)
        read_once(w, size, false);
    if (death == BETWEEN_BAR1 && (left.kept.saving.flags & SAVING_KEPT_DONE) == 0)
        write_bar1(w, cut);
    go_on(w, &left);
    if (state == PRE_COPY) {
        read_once(w, size, true);
        write_bar1(w, cut + 1);
        set_state(w, STOP_COPY);
    }
    read_rest(w, size);
    expect_loads(w);
    return n == cut;
}

START_TEST(saving_goes_on_at_each_piece)
{
    uint32_t size = sizes[(size_t)_i % ARRAY_SIZE(sizes)];
    uint32_t state = (size_t)_i / ARRAY_SIZE(sizes) == 0 ? PRE_COPY : STOP_COPY;

    struct world w;

    world_init(&w, SMALL);
    kit_use(&w.k);
    for (int death = 0; death < N_DEATHS; death++) {
        unsigned cut = 0;

        while (cut_saving(&w, size, state, cut, (enum death)death))
            cut++;
        ck_assert_uint_gt(cut, 1);
    }
    world_fini(&w);
}
END_TEST

START_TEST(saving_of_a_large_bar1_goes_on)
{
    uint32_t state = _i == 0 ? PRE_COPY : STOP_COPY;

    struct world w;

    world_init(&w, LARGE);
    kit_use(&w.k);
    for (int death = 0; death < N_DEATHS; death++) {
        for (unsigned cut = 0; cut < 40; cut += 3)
            cut_saving(&w, 65536, state, cut, (enum death)death);
    }
    world_fini(&w);
}
END_TEST

/* Where nothing has changed: the bytes that would have come, in the same replies. */
START_TEST(stopped_device_goes_on_to_the_byte)
{
    uint32_t size = sizes[_i];
    struct kit_stream whole;
    struct left left;
    struct world w;

    world_init(&w, SMALL);
    kit_use(&w.k);
    set_state(&w, STOP_COPY);
    read_rest(&w, size);
    whole = w.read;
    w.read = (struct kit_stream) { .bytes = NULL };
    set_state(&w, RUNNING);
    set_state(&w, STOP_COPY);
    do {
        left = leave(&w);
        read_once(&w, size, false);
        go_on(&w, &left);
    } while (read_once(&w, size, true) > 0);
    ck_assert_uint_eq(w.read.len, whole.len);
    ck_assert_mem_eq(w.read.bytes, whole.bytes, whole.len);
    migration_get_kept(w.m, &left.kept);
    ck_assert_uint_eq(left.kept.saving.bytes, whole.len);
    kit_free(&whole);
    world_fini(&w);
}
END_TEST

/* What a VMM writes to configuration space of a stopped device: there is no going on in the middle.
 */
START_TEST(configuration_space_written_between)
{
    struct left left;
    unsigned cut = 0;
    struct world w;
    int n;

    world_init(&w, SMALL);
    kit_use(&w.k);
    do {
        migration_reset(w.m);
        w.read.len = 0;
        set_state(&w, STOP_COPY);
        n = 1;
        for (unsigned i = 0; i < cut && n > 0; i++)
            n = read_once(&w, SAVING_MIN_READ, true);
        left = leave(&w);
        if (n > 0 && (left.kept.saving.flags & SAVING_KEPT_DONE) == 0) {
            fake_put(w.k.dev, VFIO_PCI_CONFIG_REGION_INDEX, 0x3c, 1, cut + 1);
            go_on(&w, &left);
            read_rest(&w, SAVING_MIN_READ);
            expect_loads(&w);
        }
        cut++;
    } while (n > 0);
    ck_assert_uint_gt(cut, 30);
    world_fini(&w);
}
END_TEST

/* What libvfio-user's sample client counts on, as in test_saving.c, with a death before each read.
 */
START_TEST(thirteen_reads)
{
    struct left left;
    unsigned n = 0;
    struct world w;

    world_init_of(&w, describe_sample);
    set_state(&w, PRE_COPY);
    for (int i = 0; i < 12; i++) {
        left = leave(&w);
        go_on(&w, &left);
        ck_assert_int_eq(read_once(&w, 1024, false), 1024);
    }
    kit_fill(&w.k, 5);
    set_state(&w, STOP_COPY);
    do {
        left = leave(&w);
        go_on(&w, &left);
        n++;
    } while (read_once(&w, 1024, true) > 0);
    ck_assert_uint_eq(n - 1, 13);
    expect_loads(&w);
    world_fini(&w);
}
END_TEST

START_TEST(saving_that_is_over_stays_so)
{
    uint64_t bar1 = _i == 0 ? SMALL : LARGE;
    struct left left;
    struct world w;

    world_init(&w, bar1);
    set_state(&w, STOP_COPY);
    read_rest(&w, 4096);
    left = leave(&w);
    write_bar1(&w, 1);
    go_on(&w, &left);
    ck_assert_int_eq(read_once(&w, 4096, true), 0);
    world_fini(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { thirteen_reads, configuration_space_written_between };
    const struct fake_loop_test loops[] = {
        { saving_goes_on_at_each_piece, 2 * ARRAY_SIZE(sizes) },
        { saving_of_a_large_bar1_goes_on, 2 },
        { stopped_device_goes_on_to_the_byte, ARRAY_SIZE(sizes) },
        { saving_that_is_over_stays_so, 2 },
    };

    return fake_run("saving_kept", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
