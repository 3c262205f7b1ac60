/* SPDX-License-Identifier: BSD-3-Clause */
#include "migration.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "loading.h"
#include "log.h"
#include "saving.h"

enum {
    ERROR = VFIO_DEVICE_STATE_ERROR,
    STOP = VFIO_DEVICE_STATE_STOP,
    RUNNING = VFIO_DEVICE_STATE_RUNNING,
    STOP_COPY = VFIO_DEVICE_STATE_STOP_COPY,
    RESUMING = VFIO_DEVICE_STATE_RESUMING,
    PRE_COPY = VFIO_USER_DEVICE_STATE_PRE_COPY,
    STATES = PRE_COPY + 1,
};

struct migration {
    struct device *dev;
    struct migration_host host;
    uint32_t state;
    struct saving *saving;   /* in PRE_COPY and STOP_COPY */
    struct loading *loading; /* in RESUMING */
    bool refused;            /* the log has said why loading failed */
    struct log_limit limit;
};

static const struct {
    const char *shown;
    const char *logged;
} names[STATES] = {
    [ERROR] = { "error", "ERROR" },          [STOP] = { "stop", "STOP" },
    [RUNNING] = { "running", "RUNNING" },    [STOP_COPY] = { "stop-copy", "STOP_COPY" },
    [RESUMING] = { "resuming", "RESUMING" }, [PRE_COPY] = { "pre-copy", "PRE_COPY" },
};

const char *migration_state_name(uint32_t state)
{
    return state < STATES && names[state].shown != NULL ? names[state].shown : "unknown";
}

/*
 * The first step on the way from one state to another, itself where there is an arc: the shortest
 * way without PRE_COPY or STOP_COPY between. 0, which is ERROR, where there is none.
 */
static const uint8_t next_states[STATES][STATES] = {
    [STOP] = { [RUNNING] = RUNNING,
               [STOP_COPY] = STOP_COPY,
               [RESUMING] = RESUMING,
               [PRE_COPY] = RUNNING },
    [RUNNING] = { [STOP] = STOP, [STOP_COPY] = STOP, [RESUMING] = STOP, [PRE_COPY] = PRE_COPY },
    [STOP_COPY] = { [STOP] = STOP, [RUNNING] = STOP, [RESUMING] = STOP },
    [RESUMING] = { [STOP] = STOP, [RUNNING] = STOP, [STOP_COPY] = STOP, [PRE_COPY] = STOP },
    [PRE_COPY] = { [STOP] = RUNNING,
                   [RUNNING] = RUNNING,
                   [STOP_COPY] = STOP_COPY,
                   [RESUMING] = RUNNING },
};

static void drop_data(struct migration *m)
{
    saving_free(m->saving);
    loading_free(m->loading);
    m->saving = NULL;
    m->loading = NULL;
    m->refused = false;
}

static void say_refused(struct migration *m)
{
    if (!m->refused)
        log_limited(&m->limit, LOG_LEVEL_WARNING, "migration", "the state is refused: %s",
                    loading_reason(m->loading));
    m->refused = true;
}

/*
 * Arcs
 */

static int enter_stop(struct migration *m)
{
    int err = 0;

    device_stop(m->dev);
    if (m->state == RESUMING) {
        err = loading_apply(m->loading);
        if (err != 0)
            say_refused(m);
    }
    drop_data(m);
    return err;
}

static int enter_running(struct migration *m)
{
    drop_data(m);
    device_start(m->dev);
    return 0;
}

static int enter_stop_copy(struct migration *m)
{
    /* It stays stopped until all is read: there need be no copy of it. */
    int err = m->state != PRE_COPY ? saving_new(m->dev, true, &m->saving) : 0;

    if (err != 0)
        return err;
    device_stop(m->dev);
    return saving_stop(m->saving);
}

static int enter_resuming(struct migration *m)
{
    return m->host.keep ? loading_new_kept(m->dev, &m->loading) : loading_new(m->dev, &m->loading);
}

static int enter_pre_copy(struct migration *m)
{
    return saving_new(m->dev, true, &m->saving);
}

static int (*const enter[STATES])(struct migration *m) = {
    [STOP] = enter_stop,         [RUNNING] = enter_running,   [STOP_COPY] = enter_stop_copy,
    [RESUMING] = enter_resuming, [PRE_COPY] = enter_pre_copy,
};

static int take_arc(struct migration *m, uint32_t to)
{
    int err = enter[to](m);

    if (err == 0)
        m->state = to;
    else if (m->state == RESUMING)
        m->state = ERROR;
    return err;
}

static void tell_change(struct migration *m, uint32_t from)
{
    if (m->state == from)
        return;
    log_limited(&m->limit, LOG_LEVEL_INFO, "migration", "%s -> %s", names[from].logged,
                names[m->state].logged);
    if (m->host.changed != NULL)
        m->host.changed(m->host.opaque, migration_state_name(from), migration_state_name(m->state));
}

int migration_set_state(struct migration *m, uint32_t state)
{
    uint32_t from = m->state;
    int err = 0;

    if (state >= STATES || enter[state] == NULL || from == ERROR)
        return -EINVAL;
    if (state != from && next_states[from][state] == ERROR)
        return -EINVAL;
    while (err == 0 && m->state != state)
        err = take_arc(m, next_states[m->state][state]);
    tell_change(m, from);
    return err == 0 || err == -ENOMEM ? err : -EINVAL;
}

int migration_read(struct migration *m, uint8_t *out, uint32_t size)
{
    return m->saving != NULL ? saving_read(m->saving, out, size) : -EINVAL;
}

int migration_write(struct migration *m, const uint8_t *data, uint32_t size)
{
    int err;

    if (m->loading == NULL)
        return -EINVAL;
    err = loading_write(m->loading, data, size);
    if (err != 0)
        say_refused(m);
    return err == 0 || err == -ENOMEM ? err : -EINVAL;
}

/*
 * Life
 */

uint32_t migration_state(const struct migration *m)
{
    return m->state;
}

void migration_reset(struct migration *m)
{
    uint32_t from = m->state;

    if (from == RUNNING)
        return;
    drop_data(m);
    m->state = RUNNING;
    device_start(m->dev);
    tell_change(m, from);
}

bool migration_runs(const struct migration *m)
{
    return m->state == RUNNING || m->state == PRE_COPY;
}

int migration_new(struct device *dev, const struct migration_host *host, struct migration **out)
{
    struct migration *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return -ENOMEM;
    m->dev = dev;
    m->host = *host;
    m->state = RUNNING;
    *out = m;
    return 0;
}

void migration_free(struct migration *m)
{
    if (m == NULL)
        return;
    drop_data(m);
    free(m);
}

/*
 * Going on
 */

void migration_get_kept(const struct migration *m, struct migration_kept *out)
{
    *out = (struct migration_kept) { .layout = MIGRATION_KEPT_LAYOUT,
                                     .state = m->state,
                                     .refused = m->refused };
    if (m->saving != NULL)
        saving_get_kept(m->saving, &out->saving);
    if (m->loading != NULL)
        loading_get_kept(m->loading, &out->loading);
}

int migration_resume_fd(const struct migration *m)
{
    return m->loading != NULL ? loading_fd(m->loading) : -1;
}

int migration_restore(struct migration *m, const struct migration_kept *kept, int resume_fd)
{
    int err = 0;

    if (m->state != RUNNING || kept->layout != MIGRATION_KEPT_LAYOUT || kept->state >= STATES ||
        names[kept->state].shown == NULL || kept->refused > 1 || kept->reserved != 0 ||
        (resume_fd >= 0 && kept->state != RESUMING)) {
        if (resume_fd >= 0)
            close(resume_fd);
        return -EINVAL;
    }
    if (kept->state == RESUMING)
        err = loading_restore(m->dev, &kept->loading, resume_fd, &m->loading);
    else if (kept->state == PRE_COPY || kept->state == STOP_COPY)
        err = saving_restore(m->dev, kept->state == PRE_COPY, &kept->saving, &m->saving);
    if (err != 0)
        return err;
    m->state = kept->state;
    m->refused = kept->refused != 0;
    return 0;
}
