/* SPDX-License-Identifier: BSD-3-Clause */
#include "handshake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/dirty_log.h"
#include "features.h"
#include "log.h"
#include "message.h"
#include "observe.h"
#include "session_private.h"
#include "twin.h"
#include "version.h"
#include "wake.h"

/* By what only these clients say. */
static enum client_profile guess_profile(const struct version_caps *client)
{
    const uint32_t qemu = VERSION_PGSIZES | VERSION_MAX_DMA_MAPS | VERSION_WRITE_MULTIPLE |
                          VERSION_MIGRATION_MAX_BITMAP_SIZE;
    const uint32_t cloud_hypervisor = VERSION_MAX_MSG_FDS | VERSION_MAX_DATA_XFER_SIZE |
                                      VERSION_MIGRATION | VERSION_MIGRATION_PGSIZE;

    if ((client->present & qemu) == qemu)
        return PROFILE_QEMU;
    if (client->present == cloud_hypervisor && client->max_msg_fds == 1)
        return PROFILE_CLOUD_HYPERVISOR;
    return PROFILE_STRICT;
}

static void our_caps(const struct device_limits *limits, bool migrates, struct version_caps *ours)
{
    version_defaults(ours);
    ours->present = VERSION_MAX_MSG_FDS | VERSION_MAX_DATA_XFER_SIZE | VERSION_MAX_DMA_MAPS |
                    VERSION_PGSIZES | VERSION_WRITE_MULTIPLE | VERSION_TWIN_SOCKET |
                    VERSION_VM_INTERRUPT;
    if (migrates)
        ours->present |=
            VERSION_MIGRATION | VERSION_MIGRATION_PGSIZE | VERSION_MIGRATION_MAX_BITMAP_SIZE;
    ours->max_msg_fds = limits->max_msg_fds;
    ours->max_data_xfer_size = limits->max_data_xfer_size;
    ours->max_dma_maps = limits->max_dma_maps;
    ours->pgsizes =
        ~(uint64_t)(VFIO_USER_DEFAULT_PGSIZES - 1); /* all: a map is not tied to pages */
    ours->write_multiple = true;
    ours->twin_socket = true;
    ours->vm_interrupt = true;
    ours->migration_pgsize = DIRTY_LOG_MIN_PAGE;
    ours->migration_max_bitmap_size = FEATURES_MAX_BITMAP;
}

static int write_version(struct reply *reply, const struct version_caps *caps)
{
    const struct vfio_user_version version = { .major = caps->major, .minor = caps->minor };
    char *json = version_format(caps);
    uint8_t *payload = NULL;

    if (json != NULL)
        payload = reply_payload(reply, sizeof(version) + strlen(json) + 1);
    if (payload != NULL) {
        memcpy(payload, &version, sizeof(version));
        strcpy((char *)payload + sizeof(version), json);
    }
    free(json);
    return payload != NULL ? 0 : -ENOMEM;
}

/*
 * Makes the twin socket that was agreed on, if the client takes an fd and there is one to be had;
 * else there is none. Its end becomes the reply's fd.
 */
static void make_twin(struct session *s, const struct version_caps *client,
                      struct version_caps *agreed, struct reply *reply)
{
    int err = -ENOTSUP;

    if (!agreed->twin_socket)
        return;
    if (client->max_msg_fds > 0)
        err = twin_open(s, &reply->fds[0]);
    if (err == 0) {
        agreed->twin_socket_fd_index = 0;
        reply->nfds = 1;
        return;
    }
    agreed->twin_socket = false;
    log_limited(s->host.limit, LOG_LEVEL_WARNING, "session", "pid %d: no twin socket: %s",
                (int)s->info.pid,
                client->max_msg_fds == 0 ? "its max_msg_fds is 0" : strerror(-err));
}

/* What the client says of itself, against what we have. Returns 0 or -errno. */
static int negotiate(struct session *s, const struct message_request *request,
                     struct version_caps *client, struct version_caps *agreed)
{
    struct version_caps ours;
    const char *field = "";
    int err = version_parse(request->version.major, request->version.minor, request->version.json,
                            request->version.json_len, client, &field);

    if (err != 0) {
        session_refuse(s, "VERSION: %s is not valid", field);
        return err;
    }
    our_caps(device_limits(s->dev), s->host.migration != NULL, &ours);
    err = version_negotiate(client, &ours, agreed);
    if (err != 0)
        session_refuse(s, "VERSION: protocol %u.%u is not supported", client->major, client->minor);
    return err;
}

/* Becomes the client, or says why not. On success *reply is written, and its fd, if there is one,
 * is to be closed. */
static int attach(struct session *s, const struct message_request *request, struct reply *reply)
{
    const struct device_description *d = device_description(s->dev);
    struct version_caps client;
    struct version_caps agreed;
    const char *refusal;
    int err = negotiate(s, request, &client, &agreed);

    if (err != 0)
        return err;
    refusal = s->host.attach(s->host.opaque, s);
    if (refusal != NULL) {
        session_refuse(s, "%s", refusal);
        return -EBUSY;
    }
    session_set_limits(s, device_limits(s->dev));
    s->info.since = wake_now();
    s->info.profile = d->profile != PROFILE_AUTO ? d->profile : guess_profile(&client);
    s->context.profile = s->info.profile;
    if (s->info.profile == PROFILE_QEMU)
        s->commands.shape = DMA_SHAPE_UNKNOWN;
    make_twin(s, &client, &agreed, reply);
    s->info.caps = agreed;
    /* What the client takes from us is its own word, not the lesser of both. */
    s->info.caps.max_data_xfer_size = client.max_data_xfer_size;
    s->context.max_fds =
        (uint32_t)(client.max_msg_fds < UINT32_MAX ? client.max_msg_fds : UINT32_MAX);
    uv_timer_stop(&s->timer);
    observe_attached(&s->host, &s->info);
    return write_version(reply, &agreed);
}

bool handshake_take(struct session *s, const struct stream_message *m)
{
    struct message_request request;
    struct reply reply = { .stream = s->stream };
    uint64_t began = uv_hrtime();
    bool attached;
    int err;

    if (m->hdr.command != VFIO_USER_VERSION ||
        (m->hdr.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_COMMAND)
        err = -EINVAL;
    else
        err = message_decode_request(&m->hdr, m->payload, HANDSHAKE_MAX, &request);
    if (err == 0)
        err = attach(s, &request, &reply);
    observe_request(&s->host, &m->hdr, err, began);
    attached = session_send_reply(s, &m->hdr, err, &reply) == 0 && err == 0;
    if (reply.nfds > 0)
        close(reply.fds[0]);
    s->greets = attached;
    if (attached)
        return true;
    session_refuse(s, "it did not begin with a valid VERSION message");
    session_close(s, "");
    return false;
}
