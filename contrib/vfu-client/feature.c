/* SPDX-License-Identifier: BSD-3-Clause */
#include "feature.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MOST (64u << 20)

int feature_get_migration(struct client *c, uint64_t *flags)
{
    struct vfio_device_feature_migration migration = { 0 };
    size_t got = 0;
    int err = client_feature_get(c, VFIO_DEVICE_FEATURE_MIGRATION, NULL, 0, &migration,
                                 sizeof(migration), &got);

    if (err == 0 && got != sizeof(migration))
        err = -EPROTO;
    if (err == 0)
        *flags = migration.flags;
    return err;
}

const char *feature_state_name(uint32_t state)
{
    static const char *const names[] = { "ERROR",    "STOP",        "RUNNING",  "STOP_COPY",
                                         "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P" };

    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

int feature_log_start(struct client *c, uint64_t *page_size, uint64_t iova, uint64_t length)
{
    struct {
        struct vfio_user_dma_logging_control control;
        struct vfio_device_feature_dma_logging_range range;
    } start = { .control = { .page_size = *page_size, .num_ranges = length > 0 },
                .range = { .iova = iova, .length = length } };
    int err = client_feature_set(c, VFIO_DEVICE_FEATURE_DMA_LOGGING_START, &start,
                                 length > 0 ? sizeof(start) : sizeof(start.control));

    if (err == 0)
        *page_size = start.control.page_size;
    return err;
}

int feature_log_stop(struct client *c)
{
    return client_feature_set(c, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, NULL, 0);
}

int feature_log_report(struct client *c, uint64_t iova, uint64_t length, uint64_t page_size,
                       uint64_t *bitmap)
{
    const struct vfio_user_dma_logging_report ask = { .iova = iova,
                                                      .length = length,
                                                      .page_size = page_size };
    size_t bits = (length + page_size - 1) / page_size;
    size_t len = sizeof(ask) + (bits + 63) / 64 * sizeof(uint64_t);
    uint8_t *answer = len <= LOG_MOST ? calloc(1, len) : NULL;
    size_t got = 0;
    int err = -ENOMEM;

    if (answer == NULL)
        return err;
    err = client_feature_get(c, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, &ask, sizeof(ask), answer,
                             len, &got);
    if (err == 0 && (got != len || memcmp(answer, &ask, sizeof(ask)) != 0))
        err = -EPROTO;
    if (err == 0)
        memcpy(bitmap, answer + sizeof(ask), len - sizeof(ask));
    free(answer);
    return err;
}
