/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "twin.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "message.h"
#include "session_private.h"

static void on_twin(void *arg, int events)
{
    struct session *s = arg;

    if ((events & UV_READABLE) != 0)
        twin_read(s);
    session_settle(s);
}

static int make(struct session *s, int fd)
{
    struct session_twin *t = &s->twin;
    int err = stream_new(fd, s->limits.max_data_xfer_size + MESSAGE_OVERHEAD, &t->stream);

    if (err != 0)
        return err;
    err = watch_new(s->loop, fd, on_twin, s, &t->watch);
    if (err != 0) {
        stream_free(t->stream);
        t->stream = NULL;
        return err;
    }
    t->events = UV_READABLE;
    s->info.twin = TWIN_OPEN;
    tap_init(&t->tap, t->stream, &s->info, s->host.connection);
    t->tap.twin = true;
    tap_set(&t->tap, s->tap.capture);
    s->commands.stream = t->stream;
    return 0;
}

int twin_open(struct session *s, int *theirs)
{
    int fds[2];
    int err;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return -errno;
    err = make(s, fds[0]);
    if (err != 0)
        close(fds[1]);
    else
        *theirs = fds[1];
    return err;
}

int twin_adopt(struct session *s, int fd, struct stream_rest *rest)
{
    int err = make(s, fd);

    return err == 0 ? stream_put_rest(s->twin.stream, rest) : err;
}

void twin_free(struct session *s)
{
    struct session_twin *t = &s->twin;

    watch_free(t->watch);
    stream_free(t->stream);
    t->watch = NULL;
    t->stream = NULL;
}

/* Whether the other socket is closed too: the client is gone, and its session about to end. */
static bool is_gone(const struct session *s)
{
    struct pollfd p = { .fd = stream_fd(s->stream) };

    return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static const char *reason_of(int err)
{
    if (err == -EPROTO)
        return "what came on it is no message";
    return err == -ENOTCONN || err == -EPIPE || err == -ECONNRESET ? "by the client"
                                                                   : strerror(-err);
}

/* Without it our commands have no way: whoever waits for one hears that. */
static void lose(struct session *s, const char *reason)
{
    if (!is_gone(s))
        log_limited(s->host.limit, LOG_LEVEL_WARNING, "session",
                    "pid %d: the twin socket is closed: %s: no more DMA and interrupts by message",
                    (int)s->info.pid, reason);
    keeper_begin(s->host.keeper, KEEPER_OTHER);
    if (s->kept)
        keeper_stream(s->host.keeper, 1, NULL);
    twin_free(s);
    s->info.twin = TWIN_LOST;
    s->info.caps.twin_socket = false;
    server_commands_abandon(&s->commands);
    keeper_end(s->host.keeper);
}

/* There are no commands for us here: the reply says so. */
static void refuse_command(struct session *s, const struct vfio_user_header *hdr)
{
    uint8_t *wire;

    log_limited(&s->limit, LOG_LEVEL_WARNING, "session",
                "%s, id %u, on the twin socket: refused: it is for the server's commands",
                message_command_name(hdr->command), hdr->id);
    if ((hdr->flags & VFIO_USER_NO_REPLY) != 0)
        return;
    wire = stream_reserve(s->twin.stream, VFIO_USER_HEADER_SIZE);
    if (wire == NULL)
        return;
    message_encode_header(wire, hdr->id, hdr->command, VFIO_USER_HEADER_SIZE,
                          VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, EINVAL);
    stream_commit(s->twin.stream, VFIO_USER_HEADER_SIZE, NULL, 0);
}

void twin_handle_message(struct session *s, const struct stream_message *m)
{
    if ((m->hdr.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY)
        server_commands_reply(&s->commands, session_now_ms(), m);
    else
        refuse_command(s, &m->hdr);
    keeper_touch(s->host.keeper);
}

void twin_read(struct session *s)
{
    struct stream *stream = s->twin.stream;
    struct stream_message m;
    int n = stream != NULL ? stream_fill(stream) : 0;

    s->in_turn = true;
    while (n > 0 && (n = stream_next(stream, &m)) == 1) {
        keeper_begin(s->host.keeper, KEEPER_TWIN);
        twin_handle_message(s, &m);
        stream_message_fini(stream, &m);
        keeper_end(s->host.keeper);
    }
    if (n < 0)
        lose(s, reason_of(n));
    s->in_turn = false;
}

void twin_flush(struct session *s)
{
    struct session_twin *t = &s->twin;
    int err = 0;

    if (t->stream != NULL && t->err == 0 && !keeper_holds_back(s->host.keeper))
        err = stream_flush(t->stream);

    if (err != -EAGAIN && err != 0)
        t->err = err;
}

/* As many reads as it takes at most to receive all that a socket's buffer holds. */
#define WHOLE_READS 4

void twin_settle(struct session *s)
{
    struct session_twin *t = &s->twin;

    twin_flush(s);
    /* Replies may have come before its end. */
    for (int i = 0; i < WHOLE_READS && t->stream != NULL && t->err != 0; i++)
        twin_read(s);
    if (t->stream != NULL && t->err != 0)
        lose(s, reason_of(t->err));
}

void twin_wait(struct session *s)
{
    struct session_twin *t = &s->twin;
    size_t queued = t->stream != NULL ? stream_queued(t->stream) : 0;
    int events = s->frozen || queued > session_max_queued(s) ? 0 : UV_READABLE;

    if (t->stream == NULL)
        return;
    if (queued > 0 && !s->frozen)
        events |= UV_WRITABLE;
    if (events != t->events)
        watch_set(t->watch, events);
    t->events = events;
}
