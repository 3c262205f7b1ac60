/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A migration whose process ends, between its steps or in one of them, and that goes on in another
 * one, for tests.
 */
#ifndef VFIO_USERD_TEST_KEPT_KIT_H
#define VFIO_USERD_TEST_KEPT_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

#include "log.h"
#include "migrate/migration.h"
#include "unit/migrate_kit.h"

enum {
    ERROR = VFIO_DEVICE_STATE_ERROR,
    STOP = VFIO_DEVICE_STATE_STOP,
    RUNNING = VFIO_DEVICE_STATE_RUNNING,
    STOP_COPY = VFIO_DEVICE_STATE_STOP_COPY,
    RESUMING = VFIO_DEVICE_STATE_RESUMING,
    PRE_COPY = VFIO_USER_DEVICE_STATE_PRE_COPY,
};

#define SMALL 16384u
#define LARGE (2u * SAVING_SMALL_BAR1)

struct world {
    struct kit_device k;
    struct kit_device other; /* for what was read, or where what is written comes from */
    struct kit_stream written;
    struct migration *m;
    struct kit_stream read;
    bool keep;
    unsigned changes;
};

static inline void on_changed(void *opaque, const char *from, const char *to)
{
    struct world *w = opaque;

    (void)from;
    (void)to;
    w->changes++;
}

static inline void make_migration(struct world *w)
{
    const struct migration_host host = { .opaque = w, .changed = on_changed, .keep = w->keep };

    ck_assert_int_eq(migration_new(w->k.dev, &host, &w->m), 0);
}

static inline void world_init(struct world *w, uint64_t bar1)
{
    *w = (struct world) { .keep = true };
    log_set_level(LOG_LEVEL_ERR);
    kit_init(&w->k, bar1);
    kit_init(&w->other, bar1);
    make_migration(w);
}

static inline void world_init_of(struct world *w, void (*describe)(struct device_description *d))
{
    *w = (struct world) { .keep = true };
    log_set_level(LOG_LEVEL_ERR);
    describe(&w->k.d);
    kit_make(&w->k);
    describe(&w->other.d);
    kit_make(&w->other);
    make_migration(w);
}

static inline void world_fini(struct world *w)
{
    migration_free(w->m);
    kit_free(&w->read);
    kit_free(&w->written);
    kit_fini(&w->k);
    kit_fini(&w->other);
}

static inline void set_state(struct world *w, uint32_t state)
{
    ck_assert_int_eq(migration_set_state(w->m, state), 0);
}

/* What is left of the process: kept, and the file. */
struct left {
    struct migration_kept kept;
    int fd;
};

static inline struct left leave(const struct world *w)
{
    struct left left = { .fd = migration_resume_fd(w->m) };

    memset(&left.kept, 0xff, sizeof(left.kept));
    migration_get_kept(w->m, &left.kept);
    if (left.fd >= 0)
        left.fd = fcntl(left.fd, F_DUPFD_CLOEXEC, 0);
    return left;
}

/* The process has ended, and another one goes on. */
static inline int die(struct world *w, const struct left *left)
{
    int err;

    migration_free(w->m);
    device_stop(w->k.dev);
    make_migration(w);
    err = migration_restore(w->m, &left->kept, left->fd);
    if (migration_runs(w->m))
        device_start(w->k.dev);
    return err;
}

static inline void go_on(struct world *w, const struct left *left)
{
    struct migration_kept now;

    ck_assert_int_eq(die(w, left), 0);
    ck_assert_uint_eq(migration_state(w->m), left->kept.state);
    ck_assert(device_running(w->k.dev) ==
              (left->kept.state == RUNNING || left->kept.state == PRE_COPY));
    if (left->kept.state == RESUMING || left->kept.state == STOP) {
        migration_get_kept(w->m, &now);
        ck_assert_mem_eq(&now, &left->kept, sizeof(now));
    }
}

/* Reads once; a reply that is thrown away was never sent. */
static inline int read_once(struct world *w, uint32_t size, bool sent)
{
    uint8_t *reply = malloc(size);
    int n = migration_read(w->m, reply, size);

    ck_assert_int_ge(n, 0);
    kit_expect_whole(reply, (size_t)n);
    if (sent)
        kit_append(&w->read, reply, (size_t)n);
    free(reply);
    return n;
}

static inline unsigned read_rest(struct world *w, uint32_t size)
{
    unsigned n = 0;

    while (read_once(w, size, true) > 0)
        n++;
    return n;
}

/* What is written is of a device that was used. */
static inline void world_init_to_write(struct world *w, uint64_t bar1)
{
    world_init(w, bar1);
    kit_use(&w->other);
    kit_save(&w->other, 1000, &w->written);
}

static inline int write_part(struct world *w, size_t at, size_t len)
{
    size_t left = w->written.len - at;

    return migration_write(w->m, w->written.bytes + at, (uint32_t)(len < left ? len : left));
}

#endif
