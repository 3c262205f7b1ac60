/* SPDX-License-Identifier: BSD-3-Clause */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A DEVICE_FEATURE whose reply has at most max bytes of data, and at least as many as it says. */
static int feature_call(struct client *c, uint32_t flags, const void *request, size_t request_len,
                        void *data, size_t max, size_t *got)
{
    struct vfio_device_feature feature = { .argsz = (uint32_t)(sizeof(feature) + max),
                                           .flags = flags };
    struct client_call call = { .command = VFIO_USER_DEVICE_FEATURE,
                                .fixed = &feature,
                                .fixed_len = sizeof(feature),
                                .data = request,
                                .data_len = request_len,
                                .reply_max = sizeof(feature) + max };
    int err = -ENOMEM;

    call.reply = malloc(call.reply_max);
    if (call.reply != NULL)
        err = client_call(c, &call);
    if (err == 0) {
        struct vfio_device_feature reply = { 0 };

        if (call.reply_len >= sizeof(reply))
            memcpy(&reply, call.reply, sizeof(reply));
        if (call.reply_len < sizeof(reply) || call.reply_len > call.reply_max ||
            reply.flags != flags)
            err = -EPROTO;
    }
    if (err == 0) {
        *got = call.reply_len - sizeof(feature);
        if (*got > 0)
            memcpy(data, (uint8_t *)call.reply + sizeof(feature), *got);
    }
    free(call.reply);
    return err;
}

int client_feature_probe(struct client *c, uint32_t flags)
{
    size_t got;
    int err = feature_call(c, flags | VFIO_DEVICE_FEATURE_PROBE, NULL, 0, NULL, 0, &got);

    return err != 0 ? err : got == 0 ? 0 : -EPROTO;
}

int client_feature_get(struct client *c, uint32_t feature, const void *request, size_t request_len,
                       void *data, size_t len, size_t *got)
{
    size_t came;
    int err =
        feature_call(c, feature | VFIO_DEVICE_FEATURE_GET, request, request_len, data, len, &came);

    if (err == 0 && got != NULL)
        *got = came;
    return err;
}

int client_feature_set(struct client *c, uint32_t feature, void *data, size_t len)
{
    size_t got;
    int err = feature_call(c, feature | VFIO_DEVICE_FEATURE_SET, data, len, data, len, &got);

    return err != 0 ? err : got == len ? 0 : -EPROTO;
}

int client_mig_get_state(struct client *c, uint32_t *state)
{
    struct vfio_device_feature_mig_state reply;
    size_t got;
    int err = client_feature_get(c, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, NULL, 0, &reply,
                                 sizeof(reply), &got);

    if (err == 0 && got != sizeof(reply))
        err = -EPROTO;
    if (err == 0)
        *state = reply.device_state;
    return err;
}

int client_mig_set_state(struct client *c, uint32_t state)
{
    struct vfio_device_feature_mig_state set = { .device_state = state, .data_fd = -1 };

    return client_feature_set(c, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &set, sizeof(set));
}

int client_mig_read(struct client *c, void *data, uint32_t size)
{
    struct vfio_user_mig_data mig = { .argsz = (uint32_t)sizeof(mig) + size, .size = size };
    struct client_call call = { .command = VFIO_USER_MIG_DATA_READ,
                                .fixed = &mig,
                                .fixed_len = sizeof(mig),
                                .reply_max = sizeof(mig) + size };
    int err = -ENOMEM;

    call.reply = malloc(call.reply_max);
    if (call.reply != NULL)
        err = client_call(c, &call);
    if (err == 0) {
        mig.size = 0;
        if (call.reply_len >= sizeof(mig))
            memcpy(&mig, call.reply, sizeof(mig));
        if (call.reply_len > call.reply_max || call.reply_len != sizeof(mig) + mig.size)
            err = -EPROTO;
    }
    if (err == 0) {
        memcpy(data, (uint8_t *)call.reply + sizeof(mig), mig.size);
        err = (int)mig.size;
    }
    free(call.reply);
    return err;
}

int client_mig_write(struct client *c, const void *data, uint32_t size)
{
    struct vfio_user_mig_data mig = { .argsz = (uint32_t)sizeof(mig) + size, .size = size };
    struct client_call call = { .command = VFIO_USER_MIG_DATA_WRITE,
                                .fixed = &mig,
                                .fixed_len = sizeof(mig),
                                .data = data,
                                .data_len = size };

    return client_call(c, &call); /* a payload, which other servers may send, is left */
}
