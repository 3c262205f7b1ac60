/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/migrate/saving.c: how replies are filled, what is sent in which phase, and that what is
 * sent is what is there, also while somebody writes BAR1 all the time.
 */
#define _GNU_SOURCE
#include "migrate/saving.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate/content.h"
#include "unit/migrate_kit.h"

#define LARGE (4u << 20)
#define PAGE  4096u

/* Loads into a new device of the same description and compares. */
static void expect_loads(struct kit_device *from, const struct kit_stream *s)
{
    struct kit_device to = { .d = from->d };

    kit_make(&to);
    ck_assert_int_eq(kit_load(&to, s), 0);
    kit_expect_same(from, &to);
    device_free(to.dev);
    fake_host_fini(&to.host);
}

START_TEST(replies_are_filled_whatever_their_size)
{
    struct kit_device k;

    kit_init(&k, 0);
    kit_use(&k);
    for (uint32_t size = SAVING_MIN_READ; size <= 65536; size += size < 3000 ? 1 : 997) {
        struct kit_stream s;

        kit_save(&k, size, &s);
        ck_assert_uint_eq(s.reads, (s.len + size - 1) / size);
        if (size % 61 == 0)
            expect_loads(&k, &s);
        kit_free(&s);
    }
    kit_fini(&k);
}
END_TEST

/* The largest BEGIN and STATE that there are, in the smallest replies. */
START_TEST(replies_are_filled_where_records_are_large)
{
    static const uint64_t wide[] = { 0, 8, 0x18, 0x20, 0x28, 0x40, 0x48 };
    struct kit_device k;

    kit_describe(&k.d, 0);
    k.d.pci.caps[2] = k.d.pci.caps[3]; /* MSI-X */
    k.d.pci.caps[2].vectors = 32;
    for (k.d.pci.n_caps = 3; k.d.pci.n_caps < DESCRIPTION_MAX_CAPS; k.d.pci.n_caps++)
        k.d.pci.caps[k.d.pci.n_caps] = (struct pci_cap_description) {
            .kind = PCI_CAP_KIND_RAW_EXT, .id = (uint16_t)k.d.pci.n_caps, .revision = 1
        };
    kit_make(&k);
    kit_use(&k);
    for (size_t i = 0; i < ARRAY_SIZE(wide); i++) {
        kit_put0(&k, wide[i], 4, i); /* two of them only keep what is read */
        (void)fake_get(k.dev, VFIO_PCI_BAR0_REGION_INDEX, wide[i], 4);
    }
    ck_assert_uint_eq(device_state(k.dev)->timer.latched_mask, 0x7f);
    for (uint32_t size = SAVING_MIN_READ; size <= 1200; size++) {
        struct kit_stream s;

        kit_save(&k, size, &s);
        if (size % 13 == 0)
            expect_loads(&k, &s);
        kit_free(&s);
    }
    kit_fini(&k);
}
END_TEST

START_TEST(reads_that_are_too_small)
{
    struct saving *saving;
    struct kit_device k;
    uint8_t out[SAVING_MIN_READ] = { 0 };

    kit_init(&k, 0);
    for (int live = 0; live < 2; live++) {
        device_stop(k.dev);
        ck_assert_int_eq(saving_new(k.dev, live == 1, &saving), 0);
        ck_assert_int_eq(saving_read(saving, out, 0), 0);
        for (uint32_t size = 1; size < SAVING_MIN_READ; size++)
            ck_assert_int_eq(saving_read(saving, out, size), -EINVAL);
        ck_assert_uint_eq(saving_bytes(saving), 0);
        ck_assert_int_eq(saving_read(saving, out, SAVING_MIN_READ), SAVING_MIN_READ);
        ck_assert_uint_eq(saving_bytes(saving), SAVING_MIN_READ);
        saving_free(saving);
    }
    kit_fini(&k);
}
END_TEST

/*
 * What libvfio-user's sample client counts on: 12 KiB of BAR1 in reads of 1 KiB, 12 that are not
 * empty before the device is stopped, and 13 in all after that.
 */
START_TEST(the_sample_clients_budget)
{
    struct kit_stream before = { .bytes = NULL };
    struct kit_stream after = { .bytes = NULL };
    struct saving *saving;
    struct kit_device k;

    description_default(&k.d);
    k.d.bar1.size = 12288;
    k.d.bar1.n_areas = 0;
    k.d.dma_on_irq = true;
    k.d.pci.n_caps = 1;
    ck_assert_int_eq(k.d.pci.caps[0].kind, PCI_CAP_KIND_PM);
    kit_make(&k);
    kit_put0(&k, 0, 8, (uint64_t)FAKE_START_TIME / FAKE_NS_PER_S + 3);
    ck_assert_int_eq(saving_new(k.dev, true, &saving), 0);
    for (int i = 0; i < 12; i++)
        ck_assert_uint_eq(kit_read(saving, 1024, &before), 1024);
    kit_fill(&k, 5);
    device_stop(k.dev);
    ck_assert_int_eq(saving_stop(saving), 0);
    kit_read_all(saving, 1024, &after);
    ck_assert_uint_eq(after.reads, 13);
    expect_loads(&k, &after);
    saving_free(saving);
    kit_free(&before);
    kit_free(&after);
    /* And a state that came without that. */
    kit_save(&k, 1024, &after);
    ck_assert_uint_eq(after.reads, 13);
    kit_free(&after);
    kit_fini(&k);
}
END_TEST

/* Reads a round: until a reply is not full. Returns the bytes. */
static size_t read_round(struct saving *saving, uint32_t size, struct kit_stream *s)
{
    size_t before = s->len;

    while (kit_read(saving, size, s) == size)
        ;
    return s->len - before;
}

START_TEST(rounds_of_a_small_device)
{
    struct kit_stream s = { .bytes = NULL };
    struct saving *saving;
    struct kit_device k;
    size_t n;

    kit_init(&k, 65536);
    kit_fill(&k, 0);
    ck_assert_int_eq(saving_new(k.dev, true, &saving), 0);
    n = read_round(saving, 4096, &s);
    ck_assert_uint_gt(n, 65536);
    ck_assert_uint_lt(n, 65536 + 17 * 48 + 512);
    ck_assert_uint_eq(kit_read(saving, 4096, &s), 0);
    device_bar1(k.dev)[5 * PAGE + 7] ^= 1;
    device_bar1(k.dev)[15 * PAGE + 4095] ^= 1;
    n = read_round(saving, 4096, &s);
    ck_assert_uint_gt(n, 2 * PAGE);
    ck_assert_uint_lt(n, 2 * PAGE + 200);
    ck_assert_uint_eq(kit_read(saving, 4096, &s), 0);
    /* Written with what is there already: nothing has changed. */
    device_bar1(k.dev)[5 * PAGE] ^= 0;
    ck_assert_uint_eq(kit_read(saving, 4096, &s), 0);
    ck_assert(!saving_done(saving));
    device_stop(k.dev);
    ck_assert_int_eq(saving_stop(saving), 0);
    ck_assert_int_eq(saving_stop(saving), -EINVAL);
    /* All of it again, and that alone is enough. */
    s.len = 0;
    kit_read_all(saving, 4096, &s);
    ck_assert_uint_gt(s.len, 65536);
    expect_loads(&k, &s);
    saving_free(saving);
    kit_free(&s);
    kit_fini(&k);
}
END_TEST

START_TEST(a_large_device_sends_what_changed)
{
    struct kit_stream s = { .bytes = NULL };
    struct kit_stream rest = { .bytes = NULL };
    struct kit_device lost;
    struct saving *saving;
    struct kit_device k;
    size_t n;

    kit_init(&k, LARGE);
    kit_use(&k);
    ck_assert_int_eq(saving_new(k.dev, true, &saving), 0);
    n = read_round(saving, 65536, &s);
    ck_assert_uint_gt(n, LARGE);
    for (unsigned i = 0; i < 10; i++)
        device_bar1(k.dev)[(i * 97 + 1) * PAGE + i] ^= 0xff;
    device_stop(k.dev);
    ck_assert_int_eq(saving_stop(saving), 0);
    kit_read_all(saving, 65536, &rest);
    ck_assert_uint_gt(rest.len, 10 * PAGE);
    ck_assert_uint_lt(rest.len, 10 * PAGE + 6000); /* with 4 KiB of configuration space */
    kit_append(&s, rest.bytes, rest.len);
    expect_loads(&k, &s);
    /* Who has thrown the first part away is told so. */
    lost.d = k.d;
    kit_make(&lost);
    ck_assert_int_eq(kit_load(&lost, &rest), -EINVAL);
    device_free(lost.dev);
    fake_host_fini(&lost.host);
    saving_free(saving);
    kit_free(&s);
    kit_free(&rest);
    kit_fini(&k);
}
END_TEST

/* Stopped in the middle of the first round, also before its first byte, or of a run. */
START_TEST(a_large_device_that_is_stopped_early)
{
    for (unsigned reads = 0; reads < 80; reads += 1 + reads / 4) {
        struct kit_stream s = { .bytes = NULL };
        struct saving *saving;
        struct kit_device k;

        kit_init(&k, LARGE);
        kit_use(&k);
        ck_assert_int_eq(saving_new(k.dev, true, &saving), 0);
        for (unsigned i = 0; i < reads; i++)
            kit_read(saving, i % 2 == 0 ? 5000 : 100001, &s);
        device_bar1(k.dev)[PAGE / 2] ^= 1;
        device_bar1(k.dev)[LARGE - 1] ^= 1;
        device_stop(k.dev);
        ck_assert_int_eq(saving_stop(saving), 0);
        kit_read_all(saving, 65536, &s);
        expect_loads(&k, &s);
        saving_free(saving);
        kit_free(&s);
        kit_fini(&k);
    }
}
END_TEST

static uint64_t blocks(const struct kit_device *k)
{
    struct stat st;

    ck_assert_int_eq(fstat(device_bar1_fd(k->dev), &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* Holes are neither sent nor filled; a page that was sent and is a hole now is sent as zeros. */
START_TEST(holes)
{
    struct kit_stream s = { .bytes = NULL };
    struct saving *saving;
    struct kit_device k;
    uint64_t used;

    kit_init(&k, 64u << 20);
    for (unsigned i = 0; i < 5; i++)
        device_bar1(k.dev)[i * (12u << 20) + 5 * PAGE + 1] = 1;
    used = blocks(&k);
    ck_assert_int_eq(saving_new(k.dev, true, &saving), 0);
    ck_assert_uint_lt(read_round(saving, 65536, &s), 5 * PAGE + 1000);
    ck_assert_uint_eq(kit_read(saving, 65536, &s), 0);
    ck_assert_uint_eq(blocks(&k), used);
    ck_assert_int_eq(fallocate(device_bar1_fd(k.dev), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               (12u << 20) + 5 * PAGE, PAGE),
                     0);
    device_bar1(k.dev)[(64u << 20) - 1] = 1; /* what was a hole */
    device_stop(k.dev);
    ck_assert_int_eq(saving_stop(saving), 0);
    kit_read_all(saving, 65536, &s);
    expect_loads(&k, &s);
    saving_free(saving);
    s.len = 0;
    ck_assert_int_eq(saving_new(k.dev, false, &saving), 0);
    kit_read_all(saving, 65536, &s);
    ck_assert_uint_lt(s.len, 8 * PAGE + 6000);
    expect_loads(&k, &s);
    saving_free(saving);
    kit_free(&s);
    kit_fini(&k);
}
END_TEST

/* A copy is made: the device may go on, and what is read is how it was. */
static void snapshot(uint64_t size)
{
    struct kit_stream first = { .bytes = NULL };
    struct kit_stream then = { .bytes = NULL };
    struct saving *saving;
    struct kit_device k;

    kit_init(&k, size);
    kit_use(&k);
    kit_save(&k, 65536, &first);
    ck_assert_int_eq(saving_new(k.dev, false, &saving), 0);
    device_start(k.dev);
    kit_put0(&k, 0x800, 4, 0x4321);
    fake_put(k.dev, VFIO_PCI_CONFIG_REGION_INDEX, 0x3c, 1, 9);
    kit_fill(&k, 77);
    kit_read_all(saving, 65536, &then);
    ck_assert_uint_eq(first.len, then.len);
    ck_assert_int_eq(memcmp(first.bytes, then.bytes, then.len), 0);
    saving_free(saving);
    kit_free(&first);
    kit_free(&then);
    kit_fini(&k);
}

START_TEST(a_snapshot)
{
    snapshot(16384);
    snapshot(LARGE);
}
END_TEST

/*
 * A client that writes BAR1 through its mapping all the time
 */

struct writer {
    uint8_t *at;
    uint64_t size; /* what it writes to, from at on */
    atomic_bool end;
    atomic_uint rounds;
};

static void *write_on(void *arg)
{
    struct writer *w = arg;
    unsigned round = 0;

    while (!atomic_load(&w->end)) {
        round++;
        for (uint64_t i = 0; i < w->size; i += 64)
            *(volatile uint64_t *)(void *)(w->at + i) = round * 0x9e3779b97f4a7c15ull + i;
        atomic_store(&w->rounds, round);
    }
    return NULL;
}

/* What is sent after the device and its client have stopped completes what was sent before. */
static void converge(uint64_t size, uint64_t written)
{
    struct kit_stream s = { .bytes = NULL };
    struct saving *saving;
    struct kit_device k;
    struct writer w = { .size = written };
    pthread_t thread;

    kit_init(&k, size);
    kit_fill(&k, 0);
    w.at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device_bar1_fd(k.dev), 0);
    ck_assert_ptr_ne(w.at, MAP_FAILED);
    ck_assert_int_eq(saving_new(k.dev, true, &saving), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, write_on, &w), 0);
    while (atomic_load(&w.rounds) < 3)
        sched_yield();
    ck_assert_uint_ge(read_round(saving, 32768, &s), size);
    for (int i = 0; i < 20; i++) {
        unsigned rounds = atomic_load(&w.rounds);

        while (atomic_load(&w.rounds) == rounds)
            sched_yield();
        /* A round is what the writer has reached, and not more. */
        ck_assert_uint_le(read_round(saving, 32768, &s), written + written / 512 + 1024);
    }
    atomic_store(&w.end, true);
    pthread_join(thread, NULL);
    device_stop(k.dev);
    ck_assert_int_eq(saving_stop(saving), 0);
    if (size <= SAVING_SMALL_BAR1)
        s.len = 0;
    kit_read_all(saving, 32768, &s);
    expect_loads(&k, &s);
    munmap(w.at, size);
    saving_free(saving);
    kit_free(&s);
    kit_fini(&k);
}

START_TEST(a_small_one_that_is_written_meanwhile)
{
    converge(65536, 65536);
}
END_TEST

START_TEST(a_large_one_that_is_written_meanwhile)
{
    converge(LARGE, 262144);
}
END_TEST

START_TEST(fds_and_memory_are_given_back)
{
    struct saving *saving;
    struct kit_device k;
    unsigned fds;

    kit_init(&k, LARGE);
    kit_use(&k);
    fds = fake_open_fds();
    for (unsigned i = 0; i < 200; i++) {
        struct kit_stream s = { .bytes = NULL };

        ck_assert_int_eq(saving_new(k.dev, true, &saving), 0);
        kit_read(saving, 4096, &s);
        saving_free(saving);
        kit_free(&s);
    }
    saving_free(NULL);
    ck_assert_uint_eq(fake_open_fds(), fds);
    kit_fini(&k);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        replies_are_filled_whatever_their_size,
        replies_are_filled_where_records_are_large,
        reads_that_are_too_small,
        the_sample_clients_budget,
        rounds_of_a_small_device,
        a_large_device_sends_what_changed,
        a_large_device_that_is_stopped_early,
        holes,
        a_snapshot,
        a_small_one_that_is_written_meanwhile,
        a_large_one_that_is_written_meanwhile,
        fds_and_memory_are_given_back,
    };

    return fake_run("saving", tests, ARRAY_SIZE(tests), NULL, 0);
}
