/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Migration as the client drives it: the states of the specification's sections
 * "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE", the transitions between them with what the device does in
 * each, and the data of a saving or resuming device. Knows no messages.
 */
#ifndef VFIO_USERD_MIGRATION_H
#define VFIO_USERD_MIGRATION_H

#include <stdbool.h>
#include <stdint.h>

#include "device/device.h"
#include "loading.h"
#include "saving.h"
#include "vfio_user.h"

struct migration;

struct migration_host {
    void *opaque;
    /* The state has changed; names as of migration_state_name. NULL: nobody cares. */
    void (*changed)(void *opaque, const char *from, const char *to);
    /* What is written in RESUMING is to lie in a file: migration_resume_fd. */
    bool keep;
};

/* Of this structure. */
#define MIGRATION_KEPT_LAYOUT 1u

/* Where a migration is: all that another process needs to go on, beside migration_resume_fd. */
struct migration_kept {
    uint32_t layout;
    uint32_t state;
    uint32_t refused; /* the log has said why loading failed */
    uint32_t reserved;
    struct saving_kept saving;   /* in PRE_COPY and STOP_COPY; else zeros */
    struct loading_kept loading; /* in RESUMING; the same */
};

_Static_assert(sizeof(struct migration_kept) <= 256, "room where it is kept");

/* In RUNNING. dev outlives it. host is copied. Returns 0 or -ENOMEM. */
int migration_new(struct device *dev, const struct migration_host *host, struct migration **out);

/* The device stays stopped if it is. NULL is allowed. */
void migration_free(struct migration *m);

/* VFIO_DEVICE_STATE_…. */
uint32_t migration_state(const struct migration *m);

/* "running", "stop", "stop-copy", "resuming", "pre-copy" or "error"; never NULL. */
const char *migration_state_name(uint32_t state);

/*
 * Goes to a state, by those between if there must be any. Returns 0, also when it is there already.
 * -EINVAL for a state that there is not or that is not reached from here, with nothing changed; or
 * for a state loaded that was incomplete or wrong: the state is ERROR then, and the device as it
 * was. -ENOMEM: the state is one on the way, or ERROR where a state was being loaded.
 */
int migration_set_state(struct migration *m, uint32_t state);

/*
 * Reads at most size bytes of data in PRE_COPY or STOP_COPY, as saving_read does. -EINVAL in
 * another state.
 */
int migration_read(struct migration *m, uint8_t *out, uint32_t size);

/*
 * Writes data in RESUMING. Returns 0; -EINVAL in another state, and from the first byte on that
 * cannot be a state of this device: the log says why; -ENOMEM.
 */
int migration_write(struct migration *m, const uint8_t *data, uint32_t size);

/*
 * The client or the operator has reset the device, or the client is gone: back to RUNNING, and what
 * was staged is dropped. A reset by the guest is none of these.
 */
void migration_reset(struct migration *m);

/*
 * Going on in another process
 */

void migration_get_kept(const struct migration *m, struct migration_kept *out);

/* The file that belongs to it in RESUMING, of host.keep; -1: none. It stays m's. */
int migration_resume_fd(const struct migration *m);

/*
 * Goes on from kept, in a migration that was just made, for a device that is stopped and has its
 * state of then; nobody is told. What was begun behind kept, at most one call of
 * migration_set_state, migration_read or migration_write, is to be done again. resume_fd is taken,
 * also on failure; -1 in RESUMING: what was written is lost, and the stream is refused. Returns 0;
 * -EINVAL: kept is none, is not of this device or does not belong to resume_fd; or -errno: m is in
 * RUNNING then. The device is not started in any case: see migration_runs.
 */
int migration_restore(struct migration *m, const struct migration_kept *kept, int resume_fd);

/* Whether the device runs in this state. */
bool migration_runs(const struct migration *m);

#endif
