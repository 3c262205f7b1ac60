/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "recover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/control.h"
#include "daemon_private.h"
#include "keep/recovery.h"
#include "log.h"
#include "migrate/content.h"
#include "session/freeze.h"
#include "session/session_keep.h"

/* BAR1, the state, and that of the next process. */
#define STORE_MIN 3

/*
 * The keeper's host
 */

static int put(void *opaque, int fd, const char *name)
{
    const struct daemon *d = opaque;

    return service_store(d->options.service, fd, name);
}

static int drop(void *opaque, const char *name)
{
    const struct daemon *d = opaque;

    return service_unstore(d->options.service, name);
}

static void collect(void *opaque, struct block_facts *facts, struct keeper_fds *fds,
                    struct vfio_device_feature_dma_logging_range *ranges)
{
    struct daemon *d = opaque;
    const struct session *s = daemon_client(d);

    fds->bar1 = device_bar1_fd(d->dev);
    device_get_doorbell(d->dev, &fds->doorbell[0], &fds->doorbell[1]);
    irq_get_fds(device_irq(d->dev), &fds->irq);
    device_get_held(d->dev, &facts->held);
    migration_get_kept(d->migration, &facts->migration);
    fds->resume = migration_resume_fd(d->migration);
    fds->token = d->token;
    facts->token_owner = d->token >= 0 ? (uint32_t)d->token_owner : 0;
    facts->n_log_ranges = DIRTY_LOG_MAX_RANGES;
    facts->logging = device_log_ranges(d->dev, &facts->log_page, ranges, &facts->n_log_ranges) == 0;
    if (facts->logging == 0)
        facts->n_log_ranges = 0;
    if (s != NULL)
        session_collect(s, facts, fds);
}

static void released(void *opaque)
{
    struct session *s = daemon_client(opaque);

    if (s != NULL)
        session_released(s);
}

/*
 * The keeper of a handover: see migrate/token.h
 */

static void begin_change(void *opaque)
{
    const struct daemon *d = opaque;

    keeper_begin(d->keeper, KEEPER_OTHER);
    keeper_touch(d->keeper);
}

static void end_change(void *opaque)
{
    const struct daemon *d = opaque;

    keeper_end(d->keeper);
}

static int keep_token(struct daemon *d, int fd, enum token_owner who)
{
    if (!keeper_keeps(d->keeper))
        return 0;
    d->token_serial = keeper_store(d->keeper, fd, "token");
    if (d->token_serial == 0)
        return -ENOSPC;
    d->token = fd;
    d->token_owner = who;
    keeper_touch(d->keeper);
    keeper_settle(d->keeper);
    return 0;
}

static int token_kept(void *opaque, int fd)
{
    return keep_token(opaque, fd, TOKEN_SOURCE);
}

static int received(void *opaque, int fd)
{
    return keep_token(opaque, fd, TOKEN_DESTINATION);
}

static void token_over(void *opaque, bool ours)
{
    struct daemon *d = opaque;

    (void)ours; /* the device is as it is to be, and is what is kept */
    d->token = -1;
    keeper_forget(d->keeper, d->token_serial);
    d->token_serial = 0;
    keeper_touch(d->keeper);
    keeper_settle(d->keeper);
}

static void inherit(struct daemon *d, struct fd_store *store)
{
    char name[SERVICE_NAME_BYTES];

    for (unsigned i = 0; i < service_stored(d->options.service); i++) {
        int fd = service_take_stored(d->options.service, i, name);

        if (fd >= 0 && fd_store_inherit(store, fd, name) != 0)
            log_warning("keep", "what the service manager holds as \"%s\" is none of ours", name);
    }
    if (d->options.discard_state && fd_store_count(store) > 0) {
        log_warning("keep", "--discard-state: what was left by the process before is dropped");
        fd_store_drop_unused(store, true);
    }
}

int recover_make_keeper(struct daemon *d)
{
    const struct fd_store_host store_host = {
        .opaque = d, .put = put, .drop = drop, .max = service_store_max(d->options.service)
    };
    const struct keeper_host host = { .opaque = d, .collect = collect, .released = released };
    struct fd_store *store;
    int err;

    if (store_host.max == 0)
        return 0;
    if (store_host.max < STORE_MIN) {
        log_warning("keep",
                    "a store of %u file descriptors (FDSTORE) is too small: nothing is kept",
                    store_host.max);
        return 0;
    }
    err = fd_store_new(&store_host, &store);
    if (err != 0)
        return err;
    inherit(d, store);
    d->handover_keeper = (struct token_keeper) { .opaque = d,
                                                 .begin = begin_change,
                                                 .end = end_change,
                                                 .token_kept = token_kept,
                                                 .received = received,
                                                 .token_over = token_over };
    err = keeper_new(&host, store, &d->keeper);
    if (err != 0) {
        fd_store_free(store);
        log_err("keep", "there is no memory for what is to outlive us: %s", strerror(-err));
    }
    return err;
}

/*
 * Becoming what was left
 */

/* Says in words which part it was. */
static int blame(char reason[RECOVERY_REASON_BYTES], const char *what, int err)
{
    snprintf(reason, RECOVERY_REASON_BYTES, "%s: %s", what, strerror(-err));
    return err;
}

static int apply_client(struct daemon *d, struct recovered *r, char reason[RECOVERY_REASON_BYTES])
{
    const struct block_facts *f = r->facts;
    int err = listener_adopt(d->listener, &f->session, &r->sockets, &d->recovered);

    if (err != 0)
        return blame(reason, "the client's connection", err);
    err = session_put_unsent(d->recovered, &r->unsent);
    if (err != 0)
        return blame(reason, "what was to be sent to the client", err);
    session_put_commands(d->recovered, f);
    err = dma_import(device_dma(d->dev), r->ranges, r->n_ranges, r->files, r->n_files);
    if (err != 0)
        return blame(reason, "the client's memory", err);
    err = irq_take_fds(device_irq(d->dev), &r->irq);
    if (err != 0)
        return blame(reason, "the client's eventfds", err);
    if (r->doorbell[0] >= 0)
        err = device_adopt_doorbell(d->dev, &r->doorbell[0], &r->doorbell[1]);
    if (err != 0)
        return blame(reason, "the doorbell", err);
    if (f->logging != 0)
        err = device_log_restore(d->dev, f->log_page, r->log_ranges, f->n_log_ranges);
    return err != 0 ? blame(reason, "the log of written pages", err) : 0;
}

/* The device is stopped, and as it was made. */
static int apply(struct daemon *d, struct recovered *r, char reason[RECOVERY_REASON_BYTES])
{
    char field[DEVICE_FIELD_BYTES];
    int resume = r->resume;
    int err = device_load(d->dev, &r->state, NULL, field);

    if (err != 0) {
        snprintf(reason, RECOVERY_REASON_BYTES, "%s has a value that it cannot have", field);
        return err;
    }
    err = device_adopt_bar1(d->dev, &r->bar1);
    if (err != 0)
        return blame(reason, "BAR1's memory", err);
    device_put_held(d->dev, &r->facts->held);
    if (r->attached)
        err = apply_client(d, r, reason);
    if (err != 0)
        return err;
    if (r->attached && r->state.irq.intx_masked != 0)
        irq_set(device_irq(d->dev), VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK,
                VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, NULL, 0);
    r->resume = -1;
    err = migration_restore(d->migration, &r->facts->migration, resume);
    return err != 0 ? blame(reason, "the state of its migration", err) : 0;
}

/* Executes the step that the process before has died in, which has begun already. */
static void replay(struct daemon *d, const struct recovered *r)
{
    enum keeper_step step = r->replay.step;

    if (step == KEEPER_NONE)
        return;
    keeper_begin(d->keeper, step);
    device_replay(d->dev, &r->replay.evidence);
    if (step == KEEPER_MESSAGE || step == KEEPER_TWIN) {
        if (d->recovered != NULL)
            session_replay(d->recovered, step == KEEPER_TWIN);
    } else if (step == KEEPER_TIMER) {
        device_wake(d->dev);
    } else if (step == KEEPER_RINGS) {
        device_take_rings(d->dev);
    } else if (step == KEEPER_UNMASK) {
        irq_resample(device_irq(d->dev));
    } else if (step == KEEPER_RESUME && device_running(d->dev)) {
        device_start(d->dev);
    } else if (step == KEEPER_RETRY) {
        device_retry_interrupts(d->dev);
    }
    device_replayed(d->dev);
    keeper_touch(d->keeper);
    keeper_end(d->keeper);
}

static void log_recovered(const struct daemon *d, const struct recovered *r)
{
    struct client_info client = { 0 };
    char who[64] = "no client was attached";

    if (d->recovered != NULL) {
        session_info(d->recovered, &client);
        snprintf(who, sizeof(who), "client %d stays attached", (int)client.pid);
    } else if (!r->attached && r->facts->session.info.pid != 0) {
        snprintf(who, sizeof(who), "client %d, which had no place in the store, is lost",
                 (int)r->facts->session.info.pid);
    }
    log_event(
        LOG_EVENT_RECOVERED,
        LOG_FIELDS(LOG_TEXT("CLEAN", r->clean ? "1" : "0"), LOG_NUMBER("CLIENT_PID", client.pid)),
        LOG_LEVEL_INFO, "keep", "goes on where the process before has %s: %s%s",
        r->clean ? "stopped" : "died", who,
        r->replay.step != KEEPER_NONE ? ", and what it died in is done again" : "");
    if (r->lost_maps > 0)
        log_warning("keep",
                    "%u of the client's maps are in files that had no place in the store: they are "
                    "reached by messages from now on",
                    r->lost_maps);
}

/* It can be neither used nor dropped: nobody is served before an operator has decided. */
static int hold(struct daemon *d, const char *reason)
{
    keeper_abandon(d->keeper, false);
    device_stop(d->dev);
    if (d->recovered != NULL) {
        device_drop_client(d->dev);
        session_leave(d->recovered, reason);
        d->recovered = NULL;
    }
    snprintf(d->held, sizeof(d->held), "%s", reason);
    log_event(LOG_EVENT_STATE_HELD, LOG_FIELDS(LOG_TEXT("REASON", reason)), LOG_LEVEL_ERR, "keep",
              "what the process before has left is not used, and kept: %s. No client is served. A "
              "restart with the vfio-userd and the description that it belongs to goes on with it; "
              "\"systemctl stop\", or --discard-state, drops it",
              reason);
    listener_reserve(d->listener, "a state is held that this vfio-userd cannot use: see its log");
    return 0;
}

/*
 * Whether the device is ours. A process that died in a handover may have left it to the other
 * daemon, which the token says; else it is whose the first claim is. Returns 0 or -errno.
 */
static int find_owner(struct recovered *r, bool *ours)
{
    struct token token = { 0 };
    int err;

    *ours = true;
    if (r->token < 0)
        return 0;
    err = token_adopt(&r->token, &token);
    if (err != 0)
        return err;
    *ours = token_claim(&token, (enum token_owner)r->facts->token_owner);
    token_fini(&token);
    return 0;
}

static int begin_anew(struct daemon *d)
{
    const struct keeper_replay none = { .step = KEEPER_NONE };
    int err = keeper_complete(d->keeper, &none);

    if (err != 0) {
        log_warning("keep", "the service manager does not hold our state: it is lost in a crash");
        keeper_abandon(d->keeper, true);
    }
    return 0;
}

int recover_run(struct daemon *d)
{
    struct block_header *header;
    struct recovered *r = NULL;
    char reason[RECOVERY_REASON_BYTES];
    bool ours;
    int err;

    if (d->keeper == NULL)
        return 0;
    if (d->options.hold != NULL)
        return hold(d, d->options.hold);
    header = &keeper_block(d->keeper)->header;
    err = content_begin(d->dev, header->begin, sizeof(header->begin));
    if (err < 0)
        return err;
    header->begin_len = (uint32_t)err;
    if (fd_store_count(keeper_fds_stored(d->keeper)) == 0)
        return begin_anew(d);
    err = recovery_read(keeper_fds_stored(d->keeper), d->dev, &r, reason);
    if (err == -ESTALE) {
        log_info("keep", "what the process before has left is dropped: %s, and nobody was attached",
                 reason);
        header->generation = r->generation + 1; /* it may be there still when we die */
        recovery_free(r);
    }
    if (err == -ENOENT || err == -ESTALE)
        return begin_anew(d);
    if (err != 0)
        return hold(d, reason);
    header->generation = r->generation + 1;
    err = find_owner(r, &ours);
    if (err == 0 && !ours) {
        log_info("keep", "the process before died in a handover, and the device is the other "
                         "daemon's: an empty one begins here");
        recovery_free(r);
        return begin_anew(d);
    }
    device_stop(d->dev);
    if (err != 0)
        blame(reason, "the token of its handover", err);
    else
        err = apply(d, r, reason);
    if (err == 0) {
        if (migration_runs(d->migration))
            device_unfreeze(d->dev);
        err = keeper_complete(d->keeper, &r->replay);
        if (err != 0)
            blame(reason, "the service manager does not hold our state", err);
    }
    if (err != 0) {
        recovery_free(r);
        return hold(d, reason);
    }
    d->after = r->clean ? "restart" : "crash";
    log_recovered(d, r);
    replay(d, r);
    recovery_free(r);
    return 0;
}

void recover_get(void *opaque, struct control_recovery *out)
{
    const struct daemon *d = opaque;

    out->after = d->after == NULL ? "start" : d->after;
    if (d->keeper == NULL)
        return;
    out->descriptors = fd_store_count(keeper_fds_stored(d->keeper));
    out->max_descriptors = service_store_max(d->options.service);
    if (d->held[0] != '\0') {
        out->state = "held";
        out->reason = d->held;
    } else if (keeper_keeps(d->keeper)) {
        out->state = keeper_forgot_client(d->keeper) ? "partly" : "on";
    }
}

void recover_resume(struct daemon *d)
{
    if (d->keeper == NULL || d->held[0] != '\0')
        return;
    keeper_begin(d->keeper, KEEPER_RESUME);
    if (device_running(d->dev))
        device_start(d->dev);
    keeper_touch(d->keeper);
    keeper_end(d->keeper);
    /* Unless the step that was executed again was its end. */
    if (d->recovered != NULL && d->recovered == daemon_client(d))
        session_thaw(d->recovered);
    d->recovered = NULL;
}
