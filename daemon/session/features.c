/* SPDX-License-Identifier: BSD-3-Clause */
#include "features.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/dirty_log.h"

/* A request's data, and where the reply's goes. */
struct feature_call {
    struct command_context *context;
    const uint8_t *data;
    size_t len;
    uint32_t argsz;
    uint32_t flags;
    struct reply *reply;
};

/*
 * The reply's data of len bytes, behind the header that every reply has; NULL, with *err set, when
 * argsz has no room for them.
 */
static uint8_t *reply_data(const struct feature_call *call, size_t len, int *err)
{
    struct vfio_device_feature feature = { .argsz = (uint32_t)(sizeof(feature) + len),
                                           .flags = call->flags };
    uint8_t *payload = NULL;

    *err = call->argsz < feature.argsz ? -EINVAL : -ENOMEM;
    if (*err == -ENOMEM)
        payload = reply_payload(call->reply, feature.argsz);
    if (payload == NULL)
        return NULL;
    memcpy(payload, &feature, sizeof(feature));
    *err = 0;
    return payload + sizeof(feature);
}

static int reply_with(const struct feature_call *call, const void *data, size_t len)
{
    int err;
    uint8_t *at = reply_data(call, len, &err);

    if (at != NULL && len > 0)
        memcpy(at, data, len);
    return err;
}

/* Whether there is room for the request itself, with which SET and PROBE are answered. */
static bool may_echo(const struct feature_call *call)
{
    return call->argsz - sizeof(struct vfio_device_feature) >= call->len;
}

/*
 * Answers with the request itself; returns where its data is, or NULL without memory. Comes behind
 * what is to be done: a device that runs again may send a message of its own, and that must not
 * come between a reply's making and its sending.
 */
static uint8_t *reply_echo(const struct feature_call *call)
{
    struct vfio_device_feature feature = { .argsz = call->argsz, .flags = call->flags };
    uint8_t *payload = reply_payload(call->reply, sizeof(feature) + call->len);

    if (payload == NULL)
        return NULL;
    memcpy(payload, &feature, sizeof(feature));
    if (call->len > 0)
        memcpy(payload + sizeof(feature), call->data, call->len);
    return payload + sizeof(feature);
}

static int reply_request(const struct feature_call *call)
{
    return reply_echo(call) != NULL ? 0 : -ENOMEM;
}

/*
 * Features
 */

static int get_migration(const struct feature_call *call)
{
    const struct vfio_device_feature_migration migration = {
        .flags = VFIO_MIGRATION_STOP_COPY | VFIO_USER_MIGRATION_PRE_COPY
    };

    return reply_with(call, &migration, sizeof(migration));
}

static int get_state(const struct feature_call *call)
{
    const struct vfio_device_feature_mig_state state = {
        .device_state = migration_state(call->context->migration), .data_fd = -1
    };

    return reply_with(call, &state, sizeof(state));
}

static int set_state(const struct feature_call *call)
{
    struct vfio_device_feature_mig_state state;
    int err;

    if (call->len != sizeof(state) || !may_echo(call))
        return -EINVAL;
    memcpy(&state, call->data, sizeof(state));
    err = migration_set_state(call->context->migration, state.device_state);
    return err != 0 ? err : reply_request(call);
}

static int start_logging(const struct feature_call *call)
{
    struct vfio_user_dma_logging_control control;
    struct vfio_device_feature_dma_logging_range *ranges;
    uint8_t *echo;
    size_t size;
    int err;

    if (call->len < sizeof(control) || !may_echo(call))
        return -EINVAL;
    memcpy(&control, call->data, sizeof(control));
    size = call->len - sizeof(control);
    if (size != (uint64_t)control.num_ranges * sizeof(*ranges))
        return -EINVAL;
    ranges = malloc(size + 1); /* those of the request are not aligned */
    if (ranges == NULL)
        return -ENOMEM;
    memcpy(ranges, call->data + sizeof(control), size);
    err = device_log_start(call->context->dev, &control.page_size, ranges, control.num_ranges);
    free(ranges);
    if (err != 0)
        return err;
    echo = reply_echo(call);
    if (echo == NULL)
        return -ENOMEM;
    memcpy(echo, &control, sizeof(control)); /* with the page size that was chosen */
    return 0;
}

static int stop_logging(const struct feature_call *call)
{
    int err = may_echo(call) ? device_log_stop(call->context->dev) : -EINVAL;

    return err != 0 ? err : reply_request(call);
}

/* Bytes of the bitmap; 0 for a page size or a range that cannot be. */
static uint64_t bitmap_size(const struct vfio_user_dma_logging_report *report)
{
    if (report->page_size == 0 || (report->page_size & (report->page_size - 1)) != 0 ||
        report->length == 0 || report->length - 1 > UINT64_MAX - report->iova)
        return 0;
    return dirty_log_words(report->length, report->page_size) * sizeof(uint64_t);
}

static int report_logging(const struct feature_call *call)
{
    struct vfio_user_dma_logging_report report;
    uint64_t *bitmap;
    uint64_t size;
    uint8_t *at;
    int err;

    if (call->len < sizeof(report))
        return -EINVAL;
    memcpy(&report, call->data, sizeof(report));
    size = bitmap_size(&report);
    if (size == 0 || size > FEATURES_MAX_BITMAP)
        return size == 0 ? -EINVAL : -E2BIG;
    at = reply_data(call, sizeof(report) + size, &err);
    if (at == NULL)
        return err;
    bitmap = malloc(size); /* the reply's bytes are not aligned */
    if (bitmap == NULL)
        return -ENOMEM;
    err =
        device_log_report(call->context->dev, report.iova, report.length, report.page_size, bitmap);
    memcpy(at, &report, sizeof(report));
    if (err == 0)
        memcpy(at + sizeof(report), bitmap, size);
    free(bitmap);
    return err;
}

static const struct feature {
    int (*get)(const struct feature_call *call); /* NULL: not to be got */
    int (*set)(const struct feature_call *call);
} features[] = {
    [VFIO_DEVICE_FEATURE_MIGRATION] = { .get = get_migration },
    [VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE] = { .get = get_state, .set = set_state },
    [VFIO_DEVICE_FEATURE_DMA_LOGGING_START] = { .set = start_logging },
    [VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP] = { .set = stop_logging },
    [VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT] = { .get = report_logging },
};

static const struct feature *find_feature(const struct command_context *c, uint32_t flags)
{
    uint32_t index = flags & VFIO_DEVICE_FEATURE_MASK;

    if (c->migration == NULL || index >= sizeof(features) / sizeof(features[0]) ||
        (features[index].get == NULL && features[index].set == NULL))
        return NULL;
    return &features[index];
}

int features_handle(struct command_context *c, const struct message_request *request,
                    struct stream_message *m, struct reply *reply)
{
    const struct feature_call call = { .context = c,
                                       .data = request->feature.data,
                                       .len = request->feature.data_len,
                                       .argsz = request->feature.argsz,
                                       .flags = request->feature.flags,
                                       .reply = reply };
    const struct feature *feature = find_feature(c, call.flags);
    bool gets = (call.flags & VFIO_DEVICE_FEATURE_GET) != 0;
    bool sets = (call.flags & VFIO_DEVICE_FEATURE_SET) != 0;

    (void)m;
    if (feature == NULL)
        return -ENOTTY;
    if ((gets && feature->get == NULL) || (sets && feature->set == NULL))
        return -EINVAL;
    if ((call.flags & VFIO_DEVICE_FEATURE_PROBE) != 0)
        return may_echo(&call) ? reply_request(&call) : -EINVAL;
    return gets ? feature->get(&call) : feature->set(&call);
}

/*
 * Data
 */

int features_mig_read(struct command_context *c, const struct message_request *request,
                      struct stream_message *m, struct reply *reply)
{
    struct vfio_user_mig_data mig = { .size = request->mig_data.size };
    uint8_t *payload;
    int n;

    (void)m;
    if (c->migration == NULL)
        return -ENOTSUP;
    if (request->mig_data.argsz - sizeof(mig) < mig.size)
        return -EINVAL;
    payload = reply_payload(reply, sizeof(mig) + mig.size);
    if (payload == NULL)
        return -ENOMEM;
    n = migration_read(c->migration, payload + sizeof(mig), mig.size);
    if (n < 0)
        return n;
    reply->len = sizeof(mig) + (size_t)n;
    mig.argsz = (uint32_t)reply->len;
    mig.size = (uint32_t)n;
    memcpy(payload, &mig, sizeof(mig));
    return 0;
}

int features_mig_write(struct command_context *c, const struct message_request *request,
                       struct stream_message *m, struct reply *reply)
{
    (void)m;
    (void)reply;
    if (c->migration == NULL)
        return -ENOTSUP;
    return migration_write(c->migration, request->mig_data.data, request->mig_data.size);
}
