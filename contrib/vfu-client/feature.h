/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DEVICE_FEATURE and the migration data, as calls of one line. Functions return 0 or -errno as
 * those of client.h do. Sections "VFIO_USER_DEVICE_FEATURE", "VFIO_USER_MIG_DATA_READ" and
 * "VFIO_USER_MIG_DATA_WRITE".
 */
#ifndef VFU_CLIENT_FEATURE_H
#define VFU_CLIENT_FEATURE_H

#include <stddef.h>
#include <stdint.h>

#include "client.h"

/* States of enum vfio_device_mig_state and a flag that older kernel headers do not have. */
#define FEATURE_STATE_PRE_COPY     6u
#define FEATURE_STATE_PRE_COPY_P2P 7u
#define FEATURE_MIGRATION_PRE_COPY (1u << 2)

/*
 * flags: a feature and its methods. Sends argsz, flags and len bytes of data; at most max bytes of
 * what follows flags in the reply go to reply (NULL with max 0). -EPROTO when the reply speaks of
 * another feature, or *got, the number of bytes behind its flags, is not what argsz says.
 */
int feature_call(struct client *c, uint32_t flags, uint32_t argsz, const void *data, size_t len,
                 void *reply, size_t max, size_t *got);

/* PROBE; flags: the feature, with VFIO_DEVICE_FEATURE_GET or _SET or both if these are asked for.
 */
int feature_probe(struct client *c, uint32_t flags);

/* A SET without an answer that matters. */
int feature_set(struct client *c, uint32_t feature, const void *data, size_t len);

/* MIGRATION: VFIO_MIGRATION_* flags. */
int feature_get_migration(struct client *c, uint64_t *flags);

/* MIG_DEVICE_STATE. */
int feature_get_state(struct client *c, uint32_t *state);
int feature_set_state(struct client *c, uint32_t state);

/* "RUNNING" and so on; "unknown" for a number without a name. */
const char *feature_state_name(uint32_t state);

/*
 * DMA logging: of one range, or of all with length 0; *page_size is asked for, and then what the
 * server took. REPORT writes one bit a page to bitmap, which has room for them in whole u64s.
 */
int feature_log_start(struct client *c, uint64_t *page_size, uint64_t iova, uint64_t length);
int feature_log_stop(struct client *c);
int feature_log_report(struct client *c, uint64_t iova, uint64_t length, uint64_t page_size,
                       uint64_t *bitmap);

/* MIG_DATA_READ of at most size bytes: how many came, or -errno. */
int feature_read_data(struct client *c, void *data, uint32_t size);

/* MIG_DATA_WRITE. */
int feature_write_data(struct client *c, const void *data, uint32_t size);

#endif
