/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Features of the device that take more than one line with client.h, and their names. Functions
 * return 0 or -errno as those of client.h do. Section "VFIO_USER_DEVICE_FEATURE".
 */
#ifndef VFU_CLIENT_FEATURE_H
#define VFU_CLIENT_FEATURE_H

#include <stddef.h>
#include <stdint.h>

#include "client.h"

/* MIGRATION: VFIO_MIGRATION_* flags. */
int feature_get_migration(struct client *c, uint64_t *flags);

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

#endif
