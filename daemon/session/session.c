/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "handshake.h"
#include "log.h"
#include "message.h"
#include "observe.h"
#include "peer.h"
#include "server_commands.h"
#include "session_keep.h"
#include "session_private.h"
#include "stream.h"
#include "tap.h"
#include "twin.h"
#include "watch.h"

/* Replies that are collected before they are sent in the middle of a turn. */
#define QUEUE_BYTES (256u * 1024)

/* A turn's time, and how many messages are handled between two looks at it. */
#define TURN_MS    5u
#define NS_PER_MS  1000000u
#define TURN_CHECK 16u

/*
 * What a client may leave unread, besides one message of the largest size, before its requests are
 * left alone.
 */
#define UNREAD_BYTES (4u << 20)

/* As many reads as it takes at most to receive all that a socket's buffer holds. */
#define WHOLE_READS 4

/* How often a command whose time is over is given another turn of the loop. */
#define POSTPONED_MAX 8

static void on_socket(void *arg, int events);
static void on_rest(uv_idle_t *idle);

/*
 * Life
 */

static void on_closed(uv_handle_t *handle)
{
    struct session *s = handle->data;

    if (--s->handles == 0)
        free(s);
}

static void unkeep(struct session *s)
{
    if (s->kept) {
        keeper_stream(s->host.keeper, 0, NULL);
        keeper_stream(s->host.keeper, 1, NULL);
    }
    s->kept = false;
}

void session_discard(struct session *s)
{
    keeper_begin(s->host.keeper, KEEPER_OTHER);
    s->closing = true;
    s->host.closed(s->host.opaque, s);
    s->attached = false;
    session_unwatch_side_fds(s);
    twin_free(s);
    watch_free(s->socket);
    unkeep(s);
    stream_free(s->stream);
    s->stream = NULL;
    uv_close((uv_handle_t *)&s->timer, on_closed);
    uv_close((uv_handle_t *)&s->rest, on_closed);
    keeper_end(s->host.keeper);
}

void session_refuse(struct session *s, const char *format, ...)
{
    va_list args;

    if (s->refusal[0] != '\0')
        return;
    va_start(args, format);
    vsnprintf(s->refusal, sizeof(s->refusal), format, args);
    va_end(args);
}

void session_close(struct session *s, const char *reason)
{
    if (s->closing)
        return;
    s->closing = true;
    if (!keeper_holds_back(s->host.keeper))
        stream_flush(s->stream);
    keeper_begin(s->host.keeper, KEEPER_OTHER);
    if (s->attached) {
        observe_detached(&s->host, &s->info, reason);
        device_drop_client(s->dev);
        if (s->host.migration != NULL)
            migration_reset(s->host.migration);
        keeper_touch(s->host.keeper);
    } else if (s->refusal[0] != '\0') {
        observe_refused(&s->host, s->info.pid, s->refusal);
    } else if (!s->out_of_step) {
        log_limited(s->host.limit, LOG_LEVEL_INFO, "session", "connection of pid %d closed: %s",
                    (int)s->info.pid, reason);
    }
    session_discard(s);
    keeper_end(s->host.keeper);
}

/*
 * Reads what has come by now and may be an answer, for no longer than a turn. The session may be
 * closed by it.
 */
static void read_answers(struct session *s)
{
    bool twin = s->info.twin != TWIN_NONE;

    for (int i = 0; i < WHOLE_READS && !twin && !s->left && !s->closing; i++)
        on_socket(s, UV_READABLE);
    for (int i = 0; i < WHOLE_READS && !s->closing; i++)
        twin_read(s);
}

/*
 * Whether an answer that has come is handled: it may have come while the loop was busy, or this
 * process did not run. One that is behind requests has to wait for its turn, which is not waited
 * for without end: others have theirs.
 */
static bool has_caught_up(struct session *s)
{
    if (!s->left)
        read_answers(s);
    if (s->left && s->info.twin == TWIN_NONE && s->postponed < POSTPONED_MAX) {
        s->postponed++;
        return false;
    }
    s->postponed = 0;
    return true;
}

static void on_timer(uv_timer_t *timer)
{
    struct session *s = timer->data;
    bool over = true;

    if (!s->attached) {
        session_refuse(s, "no VERSION message came in time");
        session_close(s, "");
        return;
    }
    if (!s->frozen && server_commands_deadline(&s->commands) <= session_now_ms())
        over = has_caught_up(s);
    if (s->closing)
        return;
    if (over) {
        keeper_begin(s->host.keeper, KEEPER_OTHER);
        server_commands_expire(&s->commands, session_now_ms());
        keeper_touch(s->host.keeper);
        keeper_end(s->host.keeper);
    }
    session_settle(s);
}

int session_make(uv_loop_t *loop, int fd, struct device *dev, const struct session_host *host,
                 struct session **out)
{
    struct session *s = calloc(1, sizeof(*s));
    struct peer peer;
    int err;

    if (s == NULL) {
        close(fd);
        return -ENOMEM;
    }
    err = stream_new(fd, HANDSHAKE_MAX, &s->stream);
    if (err != 0) {
        free(s);
        return err;
    }
    peer_credentials(fd, &peer);
    s->info.pid = peer.pid;
    s->info.uid = peer.uid;
    s->info.uid_known = peer.uid_known;
    s->loop = loop;
    s->host = *host;
    s->dev = dev;
    s->unmask.fd = s->doorbell.fd = -1;
    s->end_reason = "it closed the connection";
    s->context = (struct command_context) { .dev = dev,
                                            .migration = host->migration,
                                            .limit = &s->limit,
                                            .listener_limit = s->host.limit };
    server_commands_init(&s->commands, device_dma(dev), &s->limit);
    tap_init(&s->tap, s->stream, &s->info, host->connection);
    tap_set(&s->tap, host->capture);
    err = watch_new(loop, stream_fd(s->stream), on_socket, s, &s->socket);
    if (err != 0) {
        stream_free(s->stream);
        free(s);
        return err;
    }
    s->events = UV_READABLE;
    uv_timer_init(loop, &s->timer);
    uv_idle_init(loop, &s->rest);
    s->timer.data = s;
    s->rest.data = s;
    s->handles = 2;
    *out = s;
    return 0;
}

int session_new(uv_loop_t *loop, int fd, struct device *dev, const struct session_host *host,
                struct session **out)
{
    int err = session_make(loop, fd, dev, host, out);

    if (err == 0 && host->version_timeout_ms > 0)
        uv_timer_start(&(*out)->timer, on_timer, host->version_timeout_ms, 0);
    return err;
}

void session_info(const struct session *s, struct client_info *out)
{
    *out = s->info;
}

void session_set_capture(struct session *s, struct capture *capture)
{
    tap_set(&s->tap, capture);
    if (s->twin.stream != NULL)
        tap_set(&s->twin.tap, capture);
}

uint64_t session_now_ms(void)
{
    return uv_hrtime() / NS_PER_MS;
}

/*
 * Sending
 */

size_t session_max_queued(const struct session *s)
{
    return UNREAD_BYTES + s->limits.max_data_xfer_size + MESSAGE_OVERHEAD;
}

/* Whether the client has to read before anything more is done for it. */
static bool is_full(const struct session *s)
{
    return stream_queued(s->stream) > session_max_queued(s) || stream_fds_full(s->stream);
}

int session_flush(struct session *s)
{
    int err = s->stuck ? -EAGAIN : 0;

    if (keeper_holds_back(s->host.keeper))
        return 0;
    if (err == 0)
        err = stream_flush(s->stream);

    s->stuck = err == -EAGAIN;
    return s->stuck ? 0 : err;
}

static void wait_for_deadline(struct session *s)
{
    uint64_t deadline = server_commands_deadline(&s->commands);
    uint64_t now;

    if (!s->attached)
        return; /* it waits for VERSION */
    if (deadline == SERVER_COMMANDS_NEVER) {
        uv_timer_stop(&s->timer);
    } else if (!uv_is_active((uv_handle_t *)&s->timer)) {
        now = session_now_ms();
        uv_timer_start(&s->timer, on_timer, deadline > now ? deadline - now : 1, 0);
    }
}

static void wait_for_socket(struct session *s)
{
    int events = 0;

    if (!s->frozen && !s->ended && !s->left && !is_full(s))
        events |= UV_READABLE;
    if (!s->frozen && stream_queued(s->stream) > 0)
        events |= UV_WRITABLE;
    if (events != s->events)
        watch_set(s->socket, events);
    s->events = events;
}

void session_wait(struct session *s)
{
    bool rest = s->left && !s->frozen && !is_full(s);

    wait_for_socket(s);
    twin_wait(s);
    wait_for_deadline(s);
    if (rest)
        uv_idle_start(&s->rest, on_rest);
    else
        uv_idle_stop(&s->rest);
}

bool session_settle(struct session *s)
{
    int err;

    if (s->closing)
        return false;
    err = session_flush(s);
    twin_settle(s);
    if (err == 0 && server_commands_has_room(&s->commands)) {
        session_retry_interrupts(s);
        err = session_flush(s);
    }
    if (err != 0 || (s->ended && stream_queued(s->stream) == 0)) {
        session_close(s, s->ended ? s->end_reason : strerror(-err));
        return false;
    }
    session_wait(s);
    return true;
}

int session_send_reply(struct session *s, const struct vfio_user_header *request, int err,
                       const struct reply *reply)
{
    size_t len = VFIO_USER_HEADER_SIZE + (err == 0 ? reply->len : 0);
    uint8_t *message = stream_reserve(s->stream, len);

    if (message == NULL)
        return -ENOMEM;
    message_encode_header(message, request->id, request->command, (uint32_t)len,
                          VFIO_USER_TYPE_REPLY | (err != 0 ? VFIO_USER_ERROR : 0), (uint32_t)-err);
    return stream_commit(s->stream, len, reply->fds, err == 0 ? reply->nfds : 0);
}

void session_set_limits(struct session *s, const struct device_limits *limits)
{
    s->attached = true;
    s->limits = *limits;
    device_take_client(s->dev, &s->limits);
    s->commands.stream = s->stream;
    s->commands.timeout_ms = limits->client_timeout_ms;
    s->commands.max_queued = session_max_queued(s);
    stream_set_max_message(s->stream, s->limits.max_data_xfer_size + MESSAGE_OVERHEAD);
}

/*
 * The message loop
 */

/* A command may have brought an eventfd, or taken it. A guest that masks vectors sends many. */
static void watch_side_fds_of(struct session *s, const struct message_request *request)
{
    uint16_t command = request->hdr.command;

    if (command == VFIO_USER_DEVICE_SET_IRQS && request->set_irqs.index == VFIO_PCI_INTX_IRQ_INDEX)
        session_watch_unmask(s);
    else if (command == VFIO_USER_DEVICE_GET_REGION_IO_FDS)
        session_watch_doorbell(s);
}

static int execute(struct session *s, struct stream_message *m, struct reply *reply)
{
    struct message_request request;
    int err;

    if (keeper_deadly(s->host.keeper) > 0)
        return -EIO; /* that has been said */
    err = message_decode_request(&m->hdr, m->payload, s->limits.max_data_xfer_size, &request);

    if (err == 0 && m->hdr.command == VFIO_USER_VERSION)
        err = -EINVAL; /* once is enough */
    if (err == 0)
        err = commands_execute(&s->context, &request, m, reply);
    if (err == 0)
        watch_side_fds_of(s, &request);
    return err;
}

/* Returns whether the session goes on. */
static bool handle_request(struct session *s, struct stream_message *m)
{
    bool posted = (m->hdr.flags & VFIO_USER_NO_REPLY) != 0;
    uint64_t began = posted ? 0 : uv_hrtime();
    struct reply reply = { .stream = s->stream };
    int err = execute(s, m, &reply);
    int unsent;

    s->info.requests++;
    if (err != 0) {
        s->info.errors++;
        log_debug("session", "%s id %u, %u bytes: %s", message_command_name(m->hdr.command),
                  m->hdr.id, m->hdr.size, strerror(-err));
    }
    observe_request(&s->host, &m->hdr, err, began);
    if (posted)
        return true;
    /* Without an answer the client would wait for ever: an error is one, and takes no fd. */
    unsent = session_send_reply(s, &m->hdr, err, &reply);
    if (unsent == 0)
        return true;
    s->info.errors += err == 0;
    if (session_send_reply(s, &m->hdr, unsent, &reply) == 0)
        return true;
    session_close(s, "there is no memory for its reply");
    return false;
}

bool session_handle_message(struct session *s, struct stream_message *m)
{
    bool goes_on = true;

    if (!s->attached)
        goes_on = handshake_take(s, m);
    else if ((m->hdr.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_REPLY)
        goes_on = handle_request(s, m);
    else if (s->info.twin == TWIN_NONE)
        server_commands_reply(&s->commands, session_now_ms(), m);
    else
        log_limited(&s->limit, LOG_LEVEL_WARNING, "session",
                    "a reply to %s, id %u, that was not asked for here, but on the twin socket: "
                    "ignored",
                    message_command_name(m->hdr.command), m->hdr.id);
    return goes_on;
}

/*
 * Whether a turn has been long enough: others (the control socket, signals) have theirs. The loop
 * knows when it began.
 */
static bool turn_is_over(const struct session *s, unsigned handled, uint16_t command)
{
    /* One that may look at all of BAR1 is looked at by itself. */
    bool due = handled % TURN_CHECK == 0 || command >= VFIO_USER_DEVICE_FEATURE;

    return !s->finishing && due && uv_hrtime() / NS_PER_MS > uv_now(s->loop) + TURN_MS;
}

/*
 * Handles messages while there are some, and room for their replies. Returns 0, -EPROTO for what is
 * no message, or another -errno of the socket.
 */
static int handle_messages(struct session *s)
{
    struct stream_message m;
    unsigned handled = 0;
    int n = 0;

    s->left = false;
    while (!s->closing && !s->left && (n = stream_next(s->stream, &m)) == 1) {
        struct keeper *keeper = s->host.keeper;
        uint16_t command = m.hdr.command;
        bool is_step = session_begin_message(s, &m);
        bool goes_on = session_handle_message(s, &m);
        int err = 0;

        stream_message_fini(s->stream, &m);
        if (is_step)
            keeper_end(keeper);
        if (!goes_on)
            break;
        if (!s->kept)
            session_keep(s);
        /* Those that were pending when there was nobody to send them to. */
        if (s->greets && s->info.caps.vm_interrupt)
            session_retry_interrupts(s);
        s->greets = false;
        if (stream_queued(s->stream) > QUEUE_BYTES || stream_fds_full(s->stream))
            err = session_flush(s);
        if (err != 0)
            return err;
        s->left = is_full(s) || turn_is_over(s, ++handled, command);
    }
    return n < 0 ? n : 0;
}

/* Handles what has been received, and sends the replies. Returns whether the session goes on. */
static bool handle_received(struct session *s)
{
    int err;

    s->in_turn = true;
    err = handle_messages(s);
    s->in_turn = false;
    if (err == -EPROTO && !s->closing) {
        s->out_of_step = true;
        observe_out_of_step(&s->host, s->info.pid);
    }
    if (err != 0)
        session_close(s, err == -EPROTO ? "a message that is none" : strerror(-err));
    return session_settle(s);
}

/* What a turn had no time for. */
static void on_rest(uv_idle_t *idle)
{
    handle_received(idle->data);
}

/* Reads once, if there is room for the replies to what is read, and handles it. */
static void read_socket(struct session *s)
{
    int n;

    if (s->left || s->ended || is_full(s))
        return;
    n = stream_fill(s->stream);
    if (n > 0) {
        handle_received(s);
    } else if (n == -ENOTCONN) {
        s->ended = true; /* of one half at least: the other may still take replies */
        session_settle(s);
    } else if (n < 0) {
        session_close(s, strerror(-n));
    }
}

static void on_socket(void *arg, int events)
{
    struct session *s = arg;

    /* That it is readable although nobody asked says that it is dead: sending shows how. */
    if ((events & UV_WRITABLE) != 0 || (s->events & UV_READABLE) == 0) {
        s->stuck = false;
        if (!session_settle(s))
            return;
    }
    /* What was left when there was no room comes first. */
    if (s->left && !is_full(s) && !handle_received(s))
        return;
    if ((events & UV_READABLE) != 0)
        read_socket(s);
}

/* More than a socket's buffer holds, a full read at a time. */
#define LAST_READS 64

bool session_finished(struct session *s)
{
    struct pollfd p = { .fd = stream_fd(s->stream), .events = POLLRDHUP };

    if (s->frozen || poll(&p, 1, 0) != 1 || (p.revents & (POLLHUP | POLLERR)) == 0)
        return false;
    s->finishing = true;
    for (int i = 0; i < LAST_READS && !s->closing; i++)
        on_socket(s, UV_READABLE);
    session_close(s, "it closed the connection");
    return true;
}

void session_pause(struct session *s)
{
    struct pollfd p = { .fd = stream_fd(s->stream), .events = POLLIN };

    s->finishing = true;
    if (!s->frozen && s->left)
        handle_received(s);
    if (!s->frozen && !s->closing && poll(&p, 1, 0) == 1)
        on_socket(s, UV_READABLE);
}

void session_finish(struct session *s, int64_t deadline, const char *reason)
{
    /* What it has sent can still be read, and then comes its end. */
    shutdown(stream_fd(s->stream), SHUT_RD);
    s->end_reason = reason;
    while (!s->closing) {
        if (stream_queued(s->stream) > 0 &&
            peer_wait(stream_fd(s->stream), POLLOUT, -1, deadline) != 0)
            break;
        on_socket(s, UV_READABLE | UV_WRITABLE);
    }
    session_close(s, reason);
}
