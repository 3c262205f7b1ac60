/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon/migrate/migration.c: every state and every way between them, and what the device does. */
#include "migrate/migration.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "log.h"
#include "unit/migrate_kit.h"

enum {
    ERROR = VFIO_DEVICE_STATE_ERROR,
    STOP = VFIO_DEVICE_STATE_STOP,
    RUNNING = VFIO_DEVICE_STATE_RUNNING,
    STOP_COPY = VFIO_DEVICE_STATE_STOP_COPY,
    RESUMING = VFIO_DEVICE_STATE_RESUMING,
    RUNNING_P2P = VFIO_DEVICE_STATE_RUNNING_P2P,
    PRE_COPY = VFIO_USER_DEVICE_STATE_PRE_COPY,
    STATES = PRE_COPY + 1,
};

struct world {
    struct kit_device k;
    struct kit_stream stream; /* of k as it was at first */
    struct migration *m;
    char changes[256]; /* "running>stop " … */
};

static void on_changed(void *opaque, const char *from, const char *to)
{
    struct world *w = opaque;
    size_t len = strlen(w->changes);

    snprintf(w->changes + len, sizeof(w->changes) - len, "%s>%s ", from, to);
}

static void world_init(struct world *w)
{
    const struct migration_host host = { .opaque = w, .changed = on_changed };

    *w = (struct world) { .changes = "" };
    log_set_level(LOG_LEVEL_ERR);
    kit_init(&w->k, 0);
    kit_use(&w->k);
    kit_save(&w->k, 4096, &w->stream);
    device_start(w->k.dev);
    ck_assert_int_eq(migration_new(w->k.dev, &host, &w->m), 0);
}

static void world_fini(struct world *w)
{
    migration_free(w->m);
    kit_free(&w->stream);
    kit_fini(&w->k);
}

static int write_stream(struct world *w)
{
    return migration_write(w->m, w->stream.bytes, (uint32_t)w->stream.len);
}

/* By ways that are tested elsewhere here. */
static void enter(struct world *w, uint32_t state)
{
    if (state == ERROR) {
        ck_assert_int_eq(migration_set_state(w->m, RESUMING), 0);
        ck_assert_int_eq(migration_set_state(w->m, STOP), -EINVAL);
    } else {
        ck_assert_int_eq(migration_set_state(w->m, state), 0);
        if (state == RESUMING)
            ck_assert_int_eq(write_stream(w), 0);
    }
    ck_assert_uint_eq(migration_state(w->m), state);
    w->changes[0] = '\0';
}

static bool is_running(uint32_t state)
{
    return state == RUNNING || state == PRE_COPY;
}

/* Data can be read and written where the state has it, and nowhere else. */
static void expect_data(struct world *w)
{
    uint32_t state = migration_state(w->m);
    uint8_t out[1024];
    int n = migration_read(w->m, out, sizeof(out));

    if (state == PRE_COPY || state == STOP_COPY)
        ck_assert_int_eq(n, sizeof(out));
    else
        ck_assert_int_eq(n, -EINVAL);
    ck_assert_int_eq(migration_write(w->m, out, 0), state == RESUMING ? 0 : -EINVAL);
    ck_assert(device_running(w->k.dev) == is_running(state));
}

static bool is_state(uint32_t state)
{
    return state == STOP || state == RUNNING || state == STOP_COPY || state == RESUMING ||
           state == PRE_COPY;
}

/* The specification's rules: all but what it names lead there, by one arc or more. */
static bool may_go(uint32_t from, uint32_t to)
{
    return from != ERROR && is_state(to) && !(from == STOP_COPY && to == PRE_COPY);
}

static const uint32_t targets[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 255, UINT32_MAX };
static const uint32_t origins[] = { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY };

START_TEST(every_pair)
{
    uint32_t from = origins[(size_t)_i / ARRAY_SIZE(targets)];
    uint32_t to = targets[(size_t)_i % ARRAY_SIZE(targets)];
    char change[64] = "";
    struct world w;

    world_init(&w);
    enter(&w, from);
    if (may_go(from, to)) {
        ck_assert_int_eq(migration_set_state(w.m, to), 0);
        ck_assert_uint_eq(migration_state(w.m), to);
        if (from != to)
            snprintf(change, sizeof(change), "%s>%s ", migration_state_name(from),
                     migration_state_name(to));
    } else {
        ck_assert_int_eq(migration_set_state(w.m, to), -EINVAL);
        ck_assert_uint_eq(migration_state(w.m), from);
    }
    ck_assert_str_eq(w.changes, change);
    expect_data(&w);
    migration_reset(w.m);
    ck_assert_uint_eq(migration_state(w.m), RUNNING);
    expect_data(&w);
    world_fini(&w);
}
END_TEST

/* The same state again goes on with what is under way. */
START_TEST(the_same_state_changes_nothing)
{
    struct kit_stream s = { .bytes = NULL };
    struct world w;
    uint8_t out[1024];
    int n;

    world_init(&w);
    enter(&w, STOP_COPY);
    while ((n = migration_read(w.m, out, sizeof(out))) > 0) {
        kit_append(&s, out, (size_t)n);
        ck_assert_int_eq(migration_set_state(w.m, STOP_COPY), 0);
    }
    ck_assert_int_eq(n, 0);
    enter(&w, STOP);
    ck_assert_int_eq(migration_set_state(w.m, RESUMING), 0);
    for (size_t at = 0; at < s.len; at += 100) {
        ck_assert_int_eq(migration_set_state(w.m, RESUMING), 0);
        ck_assert_int_eq(
            migration_write(w.m, s.bytes + at, (uint32_t)(s.len - at < 100 ? s.len - at : 100)), 0);
    }
    ck_assert_int_eq(migration_set_state(w.m, STOP), 0);
    kit_free(&s);
    world_fini(&w);
}
END_TEST

START_TEST(names)
{
    ck_assert_str_eq(migration_state_name(ERROR), "error");
    ck_assert_str_eq(migration_state_name(STOP), "stop");
    ck_assert_str_eq(migration_state_name(RUNNING), "running");
    ck_assert_str_eq(migration_state_name(STOP_COPY), "stop-copy");
    ck_assert_str_eq(migration_state_name(RESUMING), "resuming");
    ck_assert_str_eq(migration_state_name(PRE_COPY), "pre-copy");
    ck_assert_str_eq(migration_state_name(RUNNING_P2P), "unknown");
    ck_assert_str_eq(migration_state_name(UINT32_MAX), "unknown");
}
END_TEST

/* Each target that ends RESUMING fails alike, and the device is as it was. */
START_TEST(a_bad_stream_is_an_error)
{
    static const uint32_t ends[] = { STOP, RUNNING, STOP_COPY, PRE_COPY };
    struct device_state before;
    struct world w;
    uint8_t bar1[16384];

    world_init(&w);
    device_stop(w.k.dev);
    before = *device_state(w.k.dev);
    device_start(w.k.dev);
    memcpy(bar1, device_bar1(w.k.dev), sizeof(bar1));
    for (unsigned how = 0; how < 4; how++) {
        uint32_t end = ends[(size_t)_i];

        ck_assert_int_eq(migration_set_state(w.m, RESUMING), 0);
        if (how == 1) /* incomplete */
            ck_assert_int_eq(migration_write(w.m, w.stream.bytes, (uint32_t)w.stream.len - 1), 0);
        w.stream.bytes[w.stream.len / 2] ^= how == 2;
        if (how == 2) {
            ck_assert_int_eq(write_stream(&w), -EINVAL);
            w.stream.bytes[w.stream.len / 2] ^= 1;
            ck_assert_int_eq(write_stream(&w), -EINVAL);
        }
        if (how == 3) {
            ck_assert_int_eq(write_stream(&w), 0);
            ck_assert_int_eq(migration_write(w.m, w.stream.bytes, 1), -EINVAL);
        }
        w.changes[0] = '\0';
        ck_assert_int_eq(migration_set_state(w.m, end), -EINVAL);
        ck_assert_uint_eq(migration_state(w.m), ERROR);
        ck_assert_str_eq(w.changes, "resuming>error ");
        ck_assert_int_eq(memcmp(&before, device_state(w.k.dev), sizeof(before)), 0);
        ck_assert_int_eq(memcmp(bar1, device_bar1(w.k.dev), sizeof(bar1)), 0);
        expect_data(&w);
        migration_reset(w.m);
    }
    world_fini(&w);
}
END_TEST

/* RESUMING that is reset in the middle leaves no trace. */
START_TEST(what_was_staged_is_dropped)
{
    struct kit_device other;
    struct kit_stream s;
    struct world w;
    uint8_t before;

    world_init(&w);
    kit_init(&other, 0);
    kit_fill(&other, 3);
    kit_save(&other, 4096, &s);
    before = device_bar1(w.k.dev)[77];
    ck_assert_int_eq(migration_set_state(w.m, RESUMING), 0);
    ck_assert_int_eq(migration_write(w.m, s.bytes, (uint32_t)s.len), 0);
    migration_reset(w.m);
    ck_assert_uint_eq(device_bar1(w.k.dev)[77], before);
    ck_assert_int_eq(migration_set_state(w.m, RESUMING), 0);
    ck_assert_int_eq(migration_set_state(w.m, STOP), -EINVAL); /* nothing is left of it */
    migration_reset(w.m);
    ck_assert_int_eq(migration_set_state(w.m, RESUMING), 0);
    ck_assert_int_eq(migration_write(w.m, s.bytes, (uint32_t)s.len), 0);
    ck_assert_int_eq(migration_set_state(w.m, STOP), 0);
    kit_expect_same(&other, &w.k);
    kit_free(&s);
    kit_fini(&other);
    world_fini(&w);
}
END_TEST

static const uint32_t stopped[] = { STOP, STOP_COPY, RESUMING, ERROR };

START_TEST(a_stopped_device)
{
    struct world w;
    uint32_t value = 5;
    uint64_t late = (uint64_t)FAKE_START_TIME + 60 * FAKE_NS_PER_S;
    int line;

    world_init(&w);
    fake_put(w.k.dev, VFIO_PCI_CONFIG_REGION_INDEX, 4, 2, 0x0006);
    kit_put0(&w.k, 0x014, 4, 1); /* the timer's interrupt alone */
    line = fake_eventfd();
    fake_give_eventfd(device_irq(w.k.dev), VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_INTX_IRQ_INDEX, 0,
                      line);
    (void)fake_signals(line);
    enter(&w, stopped[_i]);
    for (uint32_t region = 0; region < 2; region++)
        ck_assert_int_eq(device_write(w.k.dev, region, 0x800, &value, sizeof(value)), -EBUSY);
    fake_put(w.k.dev, VFIO_PCI_CONFIG_REGION_INDEX, 0x3c, 1, 11);
    ck_assert_uint_eq(fake_get(w.k.dev, VFIO_PCI_CONFIG_REGION_INDEX, 0x3c, 1), 11);
    (void)fake_get(w.k.dev, VFIO_PCI_BAR0_REGION_INDEX, 0x800, 4);
    fake_set_time(&w.k.host, w.k.dev, (int64_t)late);
    device_wake(w.k.dev);
    ck_assert_uint_eq(fake_signals(line), 0);
    ck_assert_int_ne(device_state(w.k.dev)->timer.deadline, 0);
    migration_reset(w.m);
    ck_assert_uint_eq(fake_signals(line), 1);
    device_wake(w.k.dev);
    ck_assert_uint_eq(fake_signals(line), 0);
    ck_assert_int_eq(device_state(w.k.dev)->timer.fired, (int64_t)late);
    close(line);
    world_fini(&w);
}
END_TEST

/* The guest resets the function while it is stopped: that is its state's affair. */
START_TEST(a_guests_reset_is_not_migrations)
{
    struct world w;

    world_init(&w);
    enter(&w, STOP);
    device_reset(w.k.dev, DEVICE_RESET_BY_GUEST);
    ck_assert_uint_eq(migration_state(w.m), STOP);
    ck_assert(!device_running(w.k.dev));
    ck_assert_str_eq(w.changes, "");
    world_fini(&w);
}
END_TEST

/* From one device to another, with data of both phases, and what follows from the deadline. */
START_TEST(all_the_way)
{
    struct world from;
    struct world to;
    uint8_t out[1024];
    int n;

    world_init(&from);
    world_init(&to);
    device_reset(to.k.dev, DEVICE_RESET_BY_GUEST);
    ck_assert_int_eq(migration_set_state(from.m, PRE_COPY), 0);
    ck_assert_int_eq(migration_set_state(to.m, RESUMING), 0);
    while ((n = migration_read(from.m, out, sizeof(out))) > 0)
        ck_assert_int_eq(migration_write(to.m, out, (uint32_t)n), 0);
    ck_assert_int_eq(n, 0);
    ck_assert_int_eq(migration_set_state(from.m, STOP_COPY), 0);
    while ((n = migration_read(from.m, out, sizeof(out))) > 0)
        ck_assert_int_eq(migration_write(to.m, out, (uint32_t)n), 0);
    ck_assert_int_eq(n, 0);
    ck_assert_int_eq(migration_set_state(to.m, STOP), 0);
    kit_expect_same(&from.k, &to.k);
    ck_assert_int_eq(migration_set_state(to.m, RUNNING), 0);
    ck_assert_int_eq(to.k.host.deadline, FAKE_START_TIME + 30 * FAKE_NS_PER_S);
    ck_assert_str_eq(from.changes, "running>pre-copy pre-copy>stop-copy ");
    ck_assert_str_eq(to.changes, "running>resuming resuming>stop stop>running ");
    world_fini(&from);
    world_fini(&to);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_same_state_changes_nothing,   names,       what_was_staged_is_dropped,
        a_guests_reset_is_not_migrations, all_the_way,
    };
    const struct fake_loop_test loops[] = {
        { every_pair, ARRAY_SIZE(origins) * ARRAY_SIZE(targets) },
        { a_bad_stream_is_an_error, 4 },
        { a_stopped_device, ARRAY_SIZE(stopped) },
    };

    return fake_run("migration", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
