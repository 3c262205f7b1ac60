/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/migrate/migration.c and loading.c: what is written goes on in another process, from each
 * byte of the stream; the other states; and what may be kept of them that cannot be.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/stat.h>

#include "unit/kept_kit.h"

/*
 * Resuming
 */

/* How much of the next bytes was taken in the step that died: nothing, a bit, some records, all. */
static const size_t died_in[] = { 0, 37, 1500, SIZE_MAX / 2 };

static void cut_resuming(struct world *w, size_t cut, size_t more)
{
    struct left left;

    kit_fill(&w->k, (unsigned)cut);
    migration_reset(w->m);
    set_state(w, RESUMING);
    ck_assert_int_eq(write_part(w, 0, cut), 0);
    left = leave(w);
    ck_assert_int_ge(left.fd, 0);
    ck_assert_int_eq(write_part(w, cut, more), 0);
    go_on(w, &left);
    ck_assert_int_eq(write_part(w, cut, more), 0);
    if (more < w->written.len - cut)
        ck_assert_int_eq(write_part(w, cut + more, SIZE_MAX), 0);
    set_state(w, STOP);
    kit_expect_same(&w->other, &w->k);
}

START_TEST(resuming_goes_on_at_each_byte)
{
    struct world w;

    world_init_to_write(&w, 4096);
    for (size_t cut = 0; cut <= w.written.len; cut++)
        cut_resuming(&w, cut, died_in[_i]);
    world_fini(&w);
}
END_TEST

/* A first stream of other bytes, which a BEGIN voids; the second one leaves zeros out. */
static void write_two(struct world *w)
{
    static struct kit_record records[KIT_RECORDS];
    struct kit_stream second;
    struct kit_stream s;
    unsigned n;

    kit_use(&w->other);
    memset(device_bar1(w->other.dev), 0xee, w->other.d.bar1.size);
    kit_save(&w->other, 1000, &w->written);
    w->written.len -= STATE_HEADER_SIZE + STATE_END_SIZE; /* without its END */
    memset(device_bar1(w->other.dev), 0, w->other.d.bar1.size);
    kit_save(&w->other, 1000, &s);
    n = kit_split(&s, records);
    for (unsigned i = 0; i < n; i++) {
        if (records[i].type == STATE_MEMORY)
            records[i].len = STATE_PIECE_SIZE;
    }
    kit_join(records, n, &second);
    kit_append(&w->written, second.bytes, second.len);
    kit_free_records(records, n);
    kit_free(&second);
    kit_free(&s);
}

START_TEST(begin_that_comes_again)
{
    struct world w;

    world_init(&w, 4096);
    write_two(&w);
    for (size_t cut = 0; cut <= w.written.len; cut += 3)
        cut_resuming(&w, cut, died_in[_i]);
    world_fini(&w);
}
END_TEST

START_TEST(death_after_death)
{
    struct world w;

    world_init_to_write(&w, 4096);
    set_state(&w, RESUMING);
    for (size_t at = 0; at < w.written.len; at += 3) {
        struct left left;

        ck_assert_int_eq(write_part(&w, at, 3), 0);
        left = leave(&w);
        go_on(&w, &left);
    }
    set_state(&w, RUNNING);
    device_stop(w.k.dev);
    kit_expect_same(&w.other, &w.k);
    world_fini(&w);
}
END_TEST

/* The step that ends it died: all is there still, to be applied. */
START_TEST(death_while_it_is_applied)
{
    struct left left;
    struct world w;

    world_init_to_write(&w, SMALL);
    set_state(&w, RESUMING);
    ck_assert_int_eq(write_part(&w, 0, SIZE_MAX), 0);
    left = leave(&w);
    set_state(&w, STOP);
    kit_fill(&w.k, 5);
    go_on(&w, &left);
    left = leave(&w);
    ck_assert_int_eq(left.kept.loading.flags & LOADING_KEPT_COMPLETE, LOADING_KEPT_COMPLETE);
    set_state(&w, STOP);
    kit_expect_same(&w.other, &w.k);
    left.kept.loading.have = 1; /* of a record behind the END */
    left.kept.loading.need = STATE_HEADER_SIZE;
    ck_assert_int_eq(die(&w, &left), -EINVAL);
    world_fini(&w);
}
END_TEST

static blkcnt_t blocks(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_blocks;
}

/* A large BAR1 with little in it takes little, there and here. */
START_TEST(holes_are_not_filled)
{
    const uint64_t size = 64u << 20;
    struct left left;
    struct world w;

    world_init(&w, size);
    for (uint64_t at = 0; at < size; at += size / 4)
        device_bar1(w.other.dev)[at + 5000] = 1;
    kit_save(&w.other, 65536, &w.written);
    set_state(&w, RESUMING);
    ck_assert_int_eq(write_part(&w, 0, SIZE_MAX), 0);
    left = leave(&w);
    go_on(&w, &left);
    left = leave(&w);
    set_state(&w, STOP);
    ck_assert_int_lt(blocks(left.fd), 1000);
    ck_assert_int_lt(blocks(device_bar1_fd(w.k.dev)), 100);
    close(left.fd);
    kit_expect_same(&w.other, &w.k);
    world_fini(&w);
}
END_TEST

START_TEST(bytes_behind_the_end)
{
    struct left left;
    struct world w;

    world_init_to_write(&w, SMALL);
    set_state(&w, RESUMING);
    ck_assert_int_eq(write_part(&w, 0, SIZE_MAX), 0);
    left = leave(&w);
    go_on(&w, &left);
    ck_assert_int_eq(migration_write(w.m, w.written.bytes, 1), -EINVAL);
    left = leave(&w);
    go_on(&w, &left);
    ck_assert_int_eq(migration_set_state(w.m, STOP), -EINVAL);
    ck_assert_uint_eq(migration_state(w.m), ERROR);
    world_fini(&w);
}
END_TEST

START_TEST(refused_stream_stays_refused)
{
    struct left left;
    struct world w;

    world_init_to_write(&w, SMALL);
    set_state(&w, RESUMING);
    w.written.bytes[w.written.len / 2] ^= 1;
    ck_assert_int_eq(write_part(&w, 0, SIZE_MAX), -EINVAL);
    left = leave(&w);
    ck_assert_uint_eq(left.kept.refused, 1);
    go_on(&w, &left);
    w.written.bytes[w.written.len / 2] ^= 1;
    ck_assert_int_eq(write_part(&w, 0, SIZE_MAX), -EINVAL);
    ck_assert_int_eq(migration_set_state(w.m, RUNNING), -EINVAL);
    ck_assert_uint_eq(migration_state(w.m), ERROR);
    world_fini(&w);
}
END_TEST

/* The file did not fit where it should have been kept. */
START_TEST(resuming_without_its_file)
{
    struct left left;
    struct world w;

    world_init(&w, SMALL);
    w.keep = _i == 0;
    migration_free(w.m);
    make_migration(&w);
    set_state(&w, RESUMING);
    ck_assert(migration_resume_fd(w.m) >= 0 || _i == 1);
    left = leave(&w);
    if (left.fd >= 0)
        close(left.fd);
    left.fd = -1;
    ck_assert_int_eq(die(&w, &left), 0);
    ck_assert_uint_eq(migration_state(w.m), RESUMING);
    ck_assert_int_eq(migration_resume_fd(w.m), -1);
    ck_assert_int_eq(migration_write(w.m, (const uint8_t *)"x", 1), -EINVAL);
    ck_assert_int_eq(migration_set_state(w.m, STOP), -EINVAL);
    ck_assert_uint_eq(migration_state(w.m), ERROR);
    world_fini(&w);
}
END_TEST

/*
 * Other states, and the file
 */

static const uint32_t other_states[] = { ERROR, STOP, RUNNING };

START_TEST(states_without_data)
{
    uint32_t state = other_states[_i];
    struct left left;
    struct world w;

    world_init(&w, SMALL);
    kit_use(&w.k);
    if (state == ERROR) {
        set_state(&w, RESUMING);
        ck_assert_int_eq(migration_set_state(w.m, STOP), -EINVAL);
    } else {
        set_state(&w, state);
    }
    w.changes = 0;
    left = leave(&w);
    ck_assert_int_eq(left.fd, -1);
    go_on(&w, &left);
    ck_assert_uint_eq(w.changes, 0);
    migration_reset(w.m);
    ck_assert_uint_eq(migration_state(w.m), RUNNING);
    ck_assert(device_running(w.k.dev));
    world_fini(&w);
}
END_TEST

START_TEST(file_goes_with_the_state)
{
    unsigned before;
    struct world w;

    world_init(&w, SMALL);
    before = fake_open_fds();
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(migration_resume_fd(w.m), -1);
        set_state(&w, RESUMING);
        ck_assert_int_ge(migration_resume_fd(w.m), 0);
        ck_assert_uint_eq(fake_open_fds(), before + 1);
        if (i == 0) {
            migration_reset(w.m);
        } else {
            ck_assert_int_eq(migration_set_state(w.m, i == 1 ? STOP : RUNNING), -EINVAL);
            ck_assert_uint_eq(fake_open_fds(), before);
            migration_reset(w.m);
        }
    }
    ck_assert_uint_eq(fake_open_fds(), before);
    world_fini(&w);
}
END_TEST

/*
 * Garbage
 */

static uint8_t *at_of(struct migration_kept *kept, size_t offset)
{
    return (uint8_t *)kept + offset;
}

#define IN_SAVING(field)  offsetof(struct migration_kept, saving.field)
#define IN_LOADING(field) offsetof(struct migration_kept, loading.field)

static const struct wrong {
    uint32_t state; /* that it was in */
    size_t offset;  /* of 4 bytes */
    uint32_t value;
} wrong[] = {
    { RUNNING, offsetof(struct migration_kept, layout), 0 },
    { RUNNING, offsetof(struct migration_kept, layout), MIGRATION_KEPT_LAYOUT + 1 },
    { RUNNING, offsetof(struct migration_kept, state), 5 },
    { RUNNING, offsetof(struct migration_kept, state), 8 },
    { RUNNING, offsetof(struct migration_kept, state), UINT32_MAX },
    { RUNNING, offsetof(struct migration_kept, refused), 2 },
    { RUNNING, offsetof(struct migration_kept, reserved), 1 },
    { STOP_COPY, IN_SAVING(flags), 8 },
    { STOP_COPY, IN_SAVING(flags), SAVING_KEPT_DONE },
    { STOP_COPY, IN_SAVING(flags), SAVING_KEPT_DONE | SAVING_KEPT_STATE },
    { STOP_COPY, IN_SAVING(config_at), 4097 },
    { STOP_COPY, IN_SAVING(config_at), UINT32_MAX },
    { STOP_COPY, IN_SAVING(msix_at), 5 * MSIX_ENTRY_SIZE + 1 },
    { STOP_COPY, IN_SAVING(bar1_at), SMALL + 1 },
    { PRE_COPY, IN_SAVING(flags), SAVING_KEPT_DONE },
    { PRE_COPY, IN_SAVING(flags), 8 },
    { PRE_COPY, IN_SAVING(config_at), 1 },
    { PRE_COPY, IN_SAVING(bar1_at), SMALL + 1 },
    { RESUMING, offsetof(struct migration_kept, state), STOP }, /* with a file */
    { RESUMING, IN_LOADING(flags), 16 },
    { RESUMING, IN_LOADING(flags), 0 },
    { RESUMING, IN_LOADING(flags), LOADING_KEPT_STATE },
    { RESUMING, IN_LOADING(flags), LOADING_KEPT_BEGUN | LOADING_KEPT_COMPLETE },
    { RESUMING, IN_LOADING(config_at), 4097 },
    { RESUMING, IN_LOADING(msix_at), 5 * MSIX_ENTRY_SIZE + 1 },
    { RESUMING, IN_LOADING(sum.records), 1000 },
    { RESUMING, IN_LOADING(sum.records), 0 },
    { RESUMING, IN_LOADING(have), 1u << 21 },
    { RESUMING, IN_LOADING(have), 5 },
    { RESUMING, IN_LOADING(need), 3 },
    { RESUMING, IN_LOADING(need), 17 },
    { RESUMING, IN_LOADING(need), 1u << 21 },
    { RESUMING, IN_LOADING(error), 1 },
    { RESUMING, IN_LOADING(error), (uint32_t)-ENOENT },
    { RESUMING, IN_LOADING(state_version), DEVICE_STATE_VERSION + 1 },
    { RESUMING, IN_LOADING(state_size), 8 },
    { RESUMING, IN_LOADING(reserved), 1 },
};

/* In the middle of a stream; of a record where it is written. */
static void get_somewhere(struct world *w, uint32_t state)
{
    if (state != RUNNING)
        set_state(w, state);
    if (state == PRE_COPY || state == STOP_COPY)
        read_once(w, 1000, true);
    else if (state == RESUMING)
        ck_assert_int_eq(write_part(w, 0, 1500), 0);
}

START_TEST(garbage_is_refused)
{
    struct world w;

    world_init_to_write(&w, SMALL);
    kit_use(&w.k);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct left good;
        struct left bad;
        unsigned fds;

        migration_reset(w.m);
        get_somewhere(&w, wrong[i].state);
        good = leave(&w);
        fds = fake_open_fds() - (good.fd >= 0);
        bad = good;
        bad.fd = good.fd >= 0 ? dup(good.fd) : -1;
        memcpy(at_of(&bad.kept, wrong[i].offset), &wrong[i].value, sizeof(wrong[i].value));
        ck_assert_msg(die(&w, &bad) == -EINVAL, "row %zu", i);
        ck_assert_uint_eq(migration_state(w.m), RUNNING);
        ck_assert_uint_eq(fake_open_fds(), fds);
        go_on(&w, &good);
    }
    world_fini(&w);
}
END_TEST

/* Each bit of it: refused, or another place to go on from; nothing breaks. */
START_TEST(every_bit_of_it)
{
    static const uint32_t states[] = { PRE_COPY, STOP_COPY, RESUMING };
    static uint8_t bytes[4096];
    uint32_t state = states[_i];
    unsigned refused = 0;
    struct left good;
    struct world w;

    world_init_to_write(&w, SMALL);
    kit_use(&w.k);
    get_somewhere(&w, state);
    good = leave(&w);
    for (size_t bit = 0; bit < 8 * sizeof(good.kept); bit++) {
        struct left bad = good;

        *at_of(&bad.kept, bit / 8) ^= (uint8_t)(1u << bit % 8);
        bad.fd = good.fd >= 0 ? dup(good.fd) : -1;
        refused += die(&w, &bad) != 0;
        migration_read(w.m, bytes, sizeof(bytes));
        migration_write(w.m, bytes, sizeof(bytes));
        migration_set_state(w.m, STOP);
    }
    ck_assert_uint_gt(refused, 200);
    if (good.fd >= 0)
        close(good.fd);
    world_fini(&w);
}
END_TEST

/* Another file, or one that could be cut from under us. */
START_TEST(files_that_are_wrong)
{
    struct left left;
    struct world w;
    off_t size;

    world_init_to_write(&w, SMALL);
    get_somewhere(&w, RESUMING);
    left = leave(&w);
    size = lseek(left.fd, 0, SEEK_END);
    close(left.fd);
    left.fd = memfd_create("wrong", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(ftruncate(left.fd, _i == 0 ? size : size + 4096), 0);
    if (_i == 1)
        ck_assert_int_eq(fcntl(left.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    ck_assert_int_eq(die(&w, &left), -EINVAL);
    world_fini(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {

        death_after_death,    death_while_it_is_applied,    bytes_behind_the_end,
        holes_are_not_filled, refused_stream_stays_refused, file_goes_with_the_state,
        garbage_is_refused,
    };
    const struct fake_loop_test loops[] = {
        { resuming_goes_on_at_each_byte, ARRAY_SIZE(died_in) },
        { begin_that_comes_again, ARRAY_SIZE(died_in) },
        { resuming_without_its_file, 2 },
        { states_without_data, ARRAY_SIZE(other_states) },
        { every_bit_of_it, 3 },
        { files_that_are_wrong, 2 },
    };

    return fake_run("migration_kept", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
