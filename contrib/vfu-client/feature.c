/* SPDX-License-Identifier: BSD-3-Clause */
#include "feature.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define STATE    VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE
#define GET      VFIO_DEVICE_FEATURE_GET
#define SET      VFIO_DEVICE_FEATURE_SET
#define LOG_MOST (64u << 20)

/* The wire's: the kernel's structures end in pointers. */
struct log_control {
    uint64_t page_size;
    uint32_t num_ranges;
    uint32_t reserved;
    struct vfio_device_feature_dma_logging_range range;
};

struct log_report {
    uint64_t iova;
    uint64_t length;
    uint64_t page_size;
};

static int check_reply(const struct client_call *call, const struct vfio_device_feature *reply,
                       uint32_t flags)
{
    if (call->reply_len < sizeof(*reply) || call->reply_len > call->reply_max)
        return -EPROTO;
    return reply->flags == flags && reply->argsz == call->reply_len ? 0 : -EPROTO;
}

int feature_call(struct client *c, uint32_t flags, uint32_t argsz, const void *data, size_t len,
                 void *reply, size_t max, size_t *got)
{
    struct vfio_device_feature head = { .argsz = argsz, .flags = flags };
    struct client_call call = { .command = VFIO_USER_DEVICE_FEATURE,
                                .fixed = &head,
                                .fixed_len = sizeof(head),
                                .data = data,
                                .data_len = len };
    /* A PROBE, and for some servers a SET, comes back as it was sent. */
    size_t room = sizeof(head) + (max > len ? max : len);
    uint8_t *answer = malloc(room);
    struct vfio_device_feature there;
    int err = -ENOMEM;

    if (answer == NULL)
        return err;
    call.reply = answer;
    call.reply_max = room;
    err = client_call(c, &call);
    if (err == 0) {
        memcpy(&there, answer, sizeof(there));
        err = check_reply(&call, &there, flags);
    }
    if (err == 0) {
        *got = call.reply_len - sizeof(head);
        if (max > 0)
            memcpy(reply, answer + sizeof(head), *got < max ? *got : max);
    }
    free(answer);
    return err;
}

int feature_probe(struct client *c, uint32_t flags)
{
    size_t got;

    return feature_call(c, flags | VFIO_DEVICE_FEATURE_PROBE, sizeof(struct vfio_device_feature),
                        NULL, 0, NULL, 0, &got);
}

int feature_set(struct client *c, uint32_t feature, const void *data, size_t len)
{
    size_t got;

    return feature_call(c, feature | SET, (uint32_t)(sizeof(struct vfio_device_feature) + len),
                        data, len, NULL, 0, &got);
}

/* GET of a feature that is asked with nothing but its name and answered with len bytes. */
static int get(struct client *c, uint32_t feature, void *data, size_t len)
{
    size_t got = 0;
    int err = feature_call(c, feature | GET, (uint32_t)(sizeof(struct vfio_device_feature) + len),
                           NULL, 0, data, len, &got);

    return err != 0 ? err : got == len ? 0 : -EPROTO;
}

int feature_get_migration(struct client *c, uint64_t *flags)
{
    struct vfio_device_feature_migration migration = { 0 };
    int err = get(c, VFIO_DEVICE_FEATURE_MIGRATION, &migration, sizeof(migration));

    if (err == 0)
        *flags = migration.flags;
    return err;
}

int feature_get_state(struct client *c, uint32_t *state)
{
    struct vfio_device_feature_mig_state now = { 0 };
    int err = get(c, STATE, &now, sizeof(now));

    if (err == 0)
        *state = now.device_state;
    return err;
}

int feature_set_state(struct client *c, uint32_t state)
{
    const struct vfio_device_feature_mig_state next = { .device_state = state, .data_fd = -1 };

    return feature_set(c, STATE, &next, sizeof(next));
}

const char *feature_state_name(uint32_t state)
{
    static const char *const names[] = { "ERROR",    "STOP",        "RUNNING",  "STOP_COPY",
                                         "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P" };

    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

int feature_log_start(struct client *c, uint64_t *page_size, uint64_t iova, uint64_t length)
{
    struct log_control control = { .page_size = *page_size,
                                   .num_ranges = length > 0,
                                   .range = { .iova = iova, .length = length } };
    size_t len = sizeof(control) - (length > 0 ? 0 : sizeof(control.range));
    size_t got = 0;
    int err = feature_call(c, VFIO_DEVICE_FEATURE_DMA_LOGGING_START | SET,
                           (uint32_t)(sizeof(struct vfio_device_feature) + len), &control, len,
                           &control, len, &got);

    if (err == 0 && got < sizeof(control.page_size))
        err = -EPROTO;
    if (err == 0)
        *page_size = control.page_size;
    return err;
}

int feature_log_stop(struct client *c)
{
    return feature_set(c, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, NULL, 0);
}

int feature_log_report(struct client *c, uint64_t iova, uint64_t length, uint64_t page_size,
                       uint64_t *bitmap)
{
    const struct log_report ask = { .iova = iova, .length = length, .page_size = page_size };
    size_t bits = page_size > 0 ? (length + page_size - 1) / page_size : 0;
    size_t len = sizeof(ask) + (bits + 63) / 64 * sizeof(uint64_t);
    uint8_t *answer = len <= LOG_MOST ? calloc(1, len) : NULL;
    size_t got = 0;
    int err = -ENOMEM;

    if (answer == NULL)
        return err;
    err = feature_call(c, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT | GET,
                       (uint32_t)(sizeof(struct vfio_device_feature) + len), &ask, sizeof(ask),
                       answer, len, &got);
    if (err == 0 && (got != len || memcmp(answer, &ask, sizeof(ask)) != 0))
        err = -EPROTO;
    if (err == 0)
        memcpy(bitmap, answer + sizeof(ask), len - sizeof(ask));
    free(answer);
    return err;
}

int feature_read_data(struct client *c, void *data, uint32_t size)
{
    struct vfio_user_mig_data ask = { .argsz = (uint32_t)(sizeof(ask) + size), .size = size };
    struct client_call call = { .command = VFIO_USER_MIG_DATA_READ,
                                .fixed = &ask,
                                .fixed_len = sizeof(ask),
                                .reply_max = sizeof(ask) + size };
    struct vfio_user_mig_data there;
    uint8_t *answer;
    int err = -ENOMEM;

    if (size > INT_MAX)
        return -EINVAL;
    answer = malloc(call.reply_max);
    if (answer == NULL)
        return err;
    call.reply = answer;
    err = client_call(c, &call);
    if (err == 0 && call.reply_len >= sizeof(there)) {
        memcpy(&there, answer, sizeof(there));
        err = there.size <= size && call.reply_len == sizeof(there) + there.size ? 0 : -EPROTO;
    } else if (err == 0) {
        err = -EPROTO;
    }
    if (err == 0) {
        memcpy(data, answer + sizeof(there), there.size);
        err = (int)there.size;
    }
    free(answer);
    return err;
}

int feature_write_data(struct client *c, const void *data, uint32_t size)
{
    const struct vfio_user_mig_data head = { .argsz = (uint32_t)(sizeof(head) + size),
                                             .size = size };
    struct client_call call = { .command = VFIO_USER_MIG_DATA_WRITE,
                                .fixed = &head,
                                .fixed_len = sizeof(head),
                                .data = data,
                                .data_len = size };

    return client_call(c, &call);
}
