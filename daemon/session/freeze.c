/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "freeze.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "observe.h"
#include "session_private.h"

bool session_is_quiet(const struct session *s)
{
    return s->attached && !s->closing && !s->in_turn && stream_queued(s->stream) == 0 &&
           dma_messages_quiet(&s->dma);
}

void session_freeze(struct session *s)
{
    s->frozen = true;
    watch_set(s->socket, 0);
    session_unwatch_side_fds(s);
}

int session_snapshot(const struct session *s, struct session_snapshot *out,
                     struct stream_rest *rest)
{
    *out = (struct session_snapshot) {
        .info = s->info,
        .limits = s->limits,
        .dma_shape = (uint32_t)s->dma.shape,
        .dma_next_id = s->dma.next_id,
        .shared_seen = s->context.shared_seen,
        .by_message_said = s->context.by_message_said,
    };
    return stream_get_rest(s->stream, rest);
}

int session_socket(const struct session *s)
{
    return stream_fd(s->stream);
}

void session_thaw(struct session *s)
{
    if (!s->frozen)
        return;
    s->frozen = false;
    if (s->adopted)
        observe_attached(&s->host, &s->info);
    s->adopted = false;
    session_watch_side_fds(s);
    /* What was received before it was frozen is handled when the socket is writable: at once. */
    s->blocked = true;
    watch_set(s->socket, UV_WRITABLE);
}

void session_leave(struct session *s, const char *reason)
{
    if (s->closing)
        return;
    if (!s->adopted)
        observe_left(&s->host, &s->info, reason);
    session_discard(s);
}

static bool is_possible(int fd, const struct session_snapshot *snapshot)
{
    const struct client_info *info = &snapshot->info;
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    int type = 0;
    socklen_t type_len = sizeof(type);

    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.ss_family == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_STREAM &&
           snapshot->dma_shape <= DMA_SHAPE_NARROW && info->profile > PROFILE_AUTO &&
           info->profile < PROFILE_COUNT && snapshot->limits.max_data_xfer_size > 0;
}

int session_adopt(uv_loop_t *loop, int fd, struct device *dev, const struct session_host *host,
                  const struct session_snapshot *snapshot, struct stream_rest *rest,
                  struct session **out)
{
    struct client_info socket_info;
    struct session *s;
    int err;

    if (!is_possible(fd, snapshot)) {
        close(fd);
        return -EINVAL;
    }
    err = session_make(loop, fd, dev, host, &s);
    if (err != 0)
        return err;
    session_freeze(s);
    s->adopted = true;
    socket_info = s->info;
    s->info = snapshot->info;
    s->info.pid = socket_info.pid;
    s->info.uid = socket_info.uid;
    s->info.uid_known = socket_info.uid_known;
    s->context.profile = s->info.profile;
    s->context.shared_seen = snapshot->shared_seen;
    s->context.by_message_said = snapshot->by_message_said;
    s->dma.shape = (enum dma_shape)snapshot->dma_shape;
    s->dma.next_id = snapshot->dma_next_id;
    session_set_limits(s, &snapshot->limits);
    err = stream_put_rest(s->stream, rest);
    if (err != 0) {
        session_discard(s);
        return err;
    }
    *out = s;
    return 0;
}
