/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "freeze.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "observe.h"
#include "session_private.h"
#include "twin.h"

bool session_is_quiet(const struct session *s)
{
    return s->attached && !s->closing && !s->in_turn && stream_queued(s->stream) == 0 &&
           (s->twin.stream == NULL || stream_queued(s->twin.stream) == 0) &&
           server_commands_quiet(&s->commands);
}

void session_freeze(struct session *s)
{
    s->frozen = true;
    session_wait(s);
    session_unwatch_side_fds(s);
}

void session_describe(const struct session *s, struct session_snapshot *out)
{
    *out = (struct session_snapshot) {
        .info = s->info,
        .limits = s->limits,
        .dma_shape = (uint32_t)s->commands.shape,
        .dma_next_id = s->commands.next_id,
        .client_fds = s->context.max_fds,
        .shared_seen = s->context.shared_seen,
        .by_message_said = s->context.by_message_said,
    };
}

int session_snapshot(const struct session *s, struct session_snapshot *out,
                     struct session_sockets *sockets)
{
    int err = stream_get_rest(s->stream, &sockets->rest);

    session_describe(s, out);
    sockets->socket = stream_fd(s->stream);
    sockets->twin = -1;
    sockets->twin_rest = (struct stream_rest) { 0 };
    if (err == 0 && s->twin.stream != NULL) {
        sockets->twin = stream_fd(s->twin.stream);
        err = stream_get_rest(s->twin.stream, &sockets->twin_rest);
    }
    return err;
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
    s->left = true; /* what was received before it was frozen */
    session_wait(s);
}

void session_leave(struct session *s, const char *reason)
{
    if (s->closing)
        return;
    if (!s->adopted)
        observe_left(&s->host, &s->info, reason);
    session_discard(s);
}

static bool is_connection(int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    int type = 0;
    socklen_t type_len = sizeof(type);

    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.ss_family == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_STREAM;
}

static bool is_possible(const struct session_sockets *sockets,
                        const struct session_snapshot *snapshot)
{
    const struct client_info *info = &snapshot->info;

    return is_connection(sockets->socket) && snapshot->dma_shape <= DMA_SHAPE_NARROW &&
           snapshot->info.twin <= TWIN_LOST &&
           (snapshot->info.twin == TWIN_OPEN) == (sockets->twin >= 0) &&
           (sockets->twin < 0 || is_connection(sockets->twin)) && info->profile > PROFILE_AUTO &&
           info->profile < PROFILE_COUNT && snapshot->limits.max_data_xfer_size > 0 &&
           snapshot->limits.client_timeout_ms > 0;
}

static int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* What the snapshot says, and what the sockets brought, into a session that knows nothing yet. */
static int restore(struct session *s, struct session_sockets *sockets,
                   const struct session_snapshot *snapshot)
{
    const struct client_info socket_info = s->info;
    int err;

    s->info = snapshot->info;
    s->info.twin = TWIN_NONE; /* so far */
    s->info.pid = socket_info.pid;
    s->info.uid = socket_info.uid;
    s->info.uid_known = socket_info.uid_known;
    s->context.profile = s->info.profile;
    s->context.max_fds = snapshot->client_fds;
    s->context.shared_seen = snapshot->shared_seen;
    s->context.by_message_said = snapshot->by_message_said;
    s->commands.shape = (enum dma_shape)snapshot->dma_shape;
    s->commands.next_id = snapshot->dma_next_id;
    session_set_limits(s, &snapshot->limits);
    err = stream_put_rest(s->stream, &sockets->rest);
    if (err == 0 && snapshot->info.twin == TWIN_OPEN)
        err = twin_adopt(s, take_fd(&sockets->twin), &sockets->twin_rest);
    if (err == 0 && snapshot->info.twin == TWIN_LOST) {
        s->info.twin = TWIN_LOST;
        s->commands.stream = NULL;
    }
    return err;
}

int session_adopt(uv_loop_t *loop, struct device *dev, const struct session_host *host,
                  const struct session_snapshot *snapshot, struct session_sockets *sockets,
                  struct session **out)
{
    struct session *s;
    int err;

    if (!is_possible(sockets, snapshot))
        return -EINVAL;
    err = session_make(loop, take_fd(&sockets->socket), dev, host, &s);
    if (err != 0)
        return err;
    session_freeze(s);
    s->adopted = true;
    err = restore(s, sockets, snapshot);
    if (err != 0) {
        session_discard(s);
        return err;
    }
    session_keep(s);
    session_wait(s);
    *out = s;
    return 0;
}
