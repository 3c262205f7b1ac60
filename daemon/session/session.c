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
#include "device/dirty_log.h"
#include "dma_messages.h"
#include "features.h"
#include "log.h"
#include "message.h"
#include "observe.h"
#include "peer.h"
#include "session_private.h"
#include "stream.h"
#include "tap.h"
#include "version.h"
#include "wake.h"
#include "watch.h"

/* Replies that are collected before they are sent in the middle of a turn. */
#define QUEUE_BYTES (256u * 1024)

/* A turn's time, and how many messages are handled between two looks at it. */
#define TURN_MS    5u
#define NS_PER_MS  1000000u
#define TURN_CHECK 16u

/* Messages of at most this much are taken before a client has said VERSION. */
#define HANDSHAKE_MAX 65536u

static void on_socket(void *arg, int events);

/*
 * Life
 */

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void session_discard(struct session *s)
{
    s->closing = true;
    s->host.closed(s->host.opaque, s);
    s->attached = false;
    session_unwatch_side_fds(s);
    watch_free(s->socket);
    stream_free(s->stream);
    s->stream = NULL;
    uv_close((uv_handle_t *)&s->version, on_timer_closed);
}

/* Why it may not be the client; logged when it is closed for it. */
static void refuse(struct session *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void refuse(struct session *s, const char *format, ...)
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
    stream_flush(s->stream);
    if (s->attached) {
        observe_detached(&s->host, &s->info, reason);
        device_drop_client(s->dev);
        if (s->host.migration != NULL)
            migration_reset(s->host.migration);
    } else if (s->refusal[0] != '\0') {
        observe_refused(&s->host, s->info.pid, s->refusal);
    } else if (!s->out_of_step) {
        log_limited(s->host.limit, LOG_LEVEL_INFO, "session", "connection of pid %d closed: %s",
                    (int)s->info.pid, reason);
    }
    session_discard(s);
}

static void on_version_timeout(uv_timer_t *timer)
{
    refuse(timer->data, "no VERSION message came in time");
    session_close(timer->data, "");
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
    dma_messages_init(&s->dma, s->stream, device_dma(dev), &s->limit);
    tap_init(&s->tap, s->stream, &s->info, host->connection);
    tap_set(&s->tap, host->capture);
    err = watch_new(loop, stream_fd(s->stream), on_socket, s, &s->socket);
    if (err != 0) {
        stream_free(s->stream);
        free(s);
        return err;
    }
    uv_timer_init(loop, &s->version);
    s->version.data = s;
    *out = s;
    return 0;
}

int session_new(uv_loop_t *loop, int fd, struct device *dev, const struct session_host *host,
                struct session **out)
{
    int err = session_make(loop, fd, dev, host, out);

    if (err == 0 && host->version_timeout_ms > 0)
        uv_timer_start(&(*out)->version, on_version_timeout, host->version_timeout_ms, 0);
    return err;
}

void session_info(const struct session *s, struct client_info *out)
{
    *out = s->info;
}

void session_set_capture(struct session *s, struct capture *capture)
{
    tap_set(&s->tap, capture);
}

/*
 * Sending
 */

static void set_blocked(struct session *s, bool blocked)
{
    if (s->blocked == blocked)
        return;
    s->blocked = blocked;
    watch_set(s->socket, blocked ? UV_WRITABLE : UV_READABLE);
}

/* Returns whether all is sent; false also when the session is closed now. */
static bool flush(struct session *s)
{
    int err = stream_flush(s->stream);

    if (err == 0 || err == -EAGAIN) {
        set_blocked(s, err != 0);
        return err == 0;
    }
    session_close(s, strerror(-err));
    return false;
}

static int send_reply(struct session *s, const struct vfio_user_header *request, int err,
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

/*
 * Our commands
 */

uint32_t session_max_data(const struct session *s)
{
    uint64_t max = s->info.caps.max_data_xfer_size;

    if (!s->attached)
        return 0;
    return max < s->limits.max_data_xfer_size ? (uint32_t)max : s->limits.max_data_xfer_size;
}

int session_send_dma(struct session *s, uint32_t tag, uint64_t iova, const void *data, uint32_t len)
{
    int err = s->closing ? -ENOTCONN : dma_messages_send(&s->dma, tag, iova, data, len);

    /* Out of a turn (a timer fired, say) nobody else would send it. A dead socket is noticed by
     * the next read: the caller is in the middle of something and must not lose its session. */
    if (err == 0 && !s->in_turn && stream_flush(s->stream) == -EAGAIN)
        set_blocked(s, true);
    return err;
}

/*
 * VERSION
 */

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
                    VERSION_PGSIZES | VERSION_WRITE_MULTIPLE;
    if (migrates)
        ours->present |=
            VERSION_MIGRATION | VERSION_MIGRATION_PGSIZE | VERSION_MIGRATION_MAX_BITMAP_SIZE;
    ours->max_msg_fds = limits->max_msg_fds;
    ours->max_data_xfer_size = limits->max_data_xfer_size;
    ours->max_dma_maps = limits->max_dma_maps;
    ours->pgsizes =
        ~(uint64_t)(VFIO_USER_DEFAULT_PGSIZES - 1); /* all: a map is not tied to pages */
    ours->write_multiple = true;
    ours->migration_pgsize = DIRTY_LOG_MIN_PAGE;
    ours->migration_max_bitmap_size = FEATURES_MAX_BITMAP;
}

void session_set_limits(struct session *s, const struct device_limits *limits)
{
    s->attached = true;
    s->limits = *limits;
    device_take_client(s->dev, &s->limits);
    stream_set_max_message(s->stream, s->limits.max_data_xfer_size + MESSAGE_OVERHEAD);
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

/* Becomes the client, or says why not. On success *reply is written. */
static int attach(struct session *s, const struct message_request *request, struct reply *reply)
{
    const struct device_description *d = device_description(s->dev);
    struct version_caps client;
    struct version_caps ours;
    struct version_caps agreed;
    const char *field = "";
    const char *refusal;
    int err = version_parse(request->version.major, request->version.minor, request->version.json,
                            request->version.json_len, &client, &field);

    if (err != 0) {
        refuse(s, "VERSION: %s is not valid", field);
        return err;
    }
    our_caps(device_limits(s->dev), s->host.migration != NULL, &ours);
    err = version_negotiate(&client, &ours, &agreed);
    if (err != 0) {
        refuse(s, "VERSION: protocol %u.%u is not supported", client.major, client.minor);
        return err;
    }
    refusal = s->host.attach(s->host.opaque, s);
    if (refusal != NULL) {
        refuse(s, "%s", refusal);
        return -EBUSY;
    }
    session_set_limits(s, device_limits(s->dev));
    s->info.since = wake_now();
    s->info.profile = d->profile != PROFILE_AUTO ? d->profile : guess_profile(&client);
    s->context.profile = s->info.profile;
    if (s->info.profile == PROFILE_QEMU)
        s->dma.shape = DMA_SHAPE_UNKNOWN;
    s->info.caps = agreed;
    /* What the client takes from us is its own word, not the lesser of both. */
    s->info.caps.max_data_xfer_size = client.max_data_xfer_size;
    s->context.max_fds =
        (uint32_t)(client.max_msg_fds < UINT32_MAX ? client.max_msg_fds : UINT32_MAX);
    uv_timer_stop(&s->version);
    observe_attached(&s->host, &s->info);
    return write_version(reply, &agreed);
}

/* The first message. Returns whether the session goes on. */
static bool handle_first(struct session *s, const struct stream_message *m)
{
    struct message_request request;
    struct reply reply = { .stream = s->stream };
    uint64_t began = uv_hrtime();
    int err;

    if (m->hdr.command != VFIO_USER_VERSION ||
        (m->hdr.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_COMMAND)
        err = -EINVAL;
    else
        err = message_decode_request(&m->hdr, m->payload, HANDSHAKE_MAX, &request);
    if (err == 0)
        err = attach(s, &request, &reply);
    observe_request(&s->host, &m->hdr, err, began);
    if (send_reply(s, &m->hdr, err, &reply) == 0 && err == 0)
        return true;
    refuse(s, "it did not begin with a valid VERSION message");
    session_close(s, "");
    return false;
}

/*
 * The message loop
 */

/* Whether a command may have brought or taken an eventfd. */
static bool changes_side_fds(uint16_t command)
{
    return command == VFIO_USER_DEVICE_SET_IRQS || command == VFIO_USER_DEVICE_GET_REGION_IO_FDS;
}

static int execute(struct session *s, struct stream_message *m, struct reply *reply)
{
    struct message_request request;
    int err = message_decode_request(&m->hdr, m->payload, s->limits.max_data_xfer_size, &request);

    if (err == 0 && m->hdr.command == VFIO_USER_VERSION)
        err = -EINVAL; /* once is enough */
    if (err == 0)
        err = commands_execute(&s->context, &request, m, reply);
    if (err == 0 && changes_side_fds(m->hdr.command))
        session_watch_side_fds(s);
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
    unsent = send_reply(s, &m->hdr, err, &reply);
    if (unsent == 0)
        return true;
    s->info.errors += err == 0;
    if (send_reply(s, &m->hdr, unsent, &reply) == 0)
        return true;
    session_close(s, "there is no memory for its reply");
    return false;
}

/* Handles one message; returns whether the session goes on. */
static bool handle_message(struct session *s, struct stream_message *m)
{
    bool goes_on = true;

    if (!s->attached)
        goes_on = handle_first(s, m);
    else if ((m->hdr.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY)
        dma_messages_reply(&s->dma, m);
    else
        goes_on = handle_request(s, m);
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

/* Handles messages while they come and the socket takes the replies; returns stream_next's word. */
static int handle_messages(struct session *s)
{
    struct stream_message m;
    unsigned handled = 0;
    int n;

    while ((n = stream_next(s->stream, &m)) == 1) {
        uint16_t command = m.hdr.command;
        bool goes_on = handle_message(s, &m);

        stream_message_fini(s->stream, &m);
        if (!goes_on)
            break;
        if ((stream_queued(s->stream) > QUEUE_BYTES || stream_fds_full(s->stream)) && !flush(s))
            break;
        if (turn_is_over(s, ++handled, command)) {
            /* As if the socket took no more: it does, so the rest comes in the loop's next turn. */
            set_blocked(s, true);
            break;
        }
    }
    return n;
}

/*
 * Handles what has been received, and sends the replies. Returns whether the session goes on and
 * may read more.
 */
static bool handle_received(struct session *s)
{
    int n;

    s->in_turn = true;
    n = handle_messages(s);
    s->in_turn = false;
    if (s->closing)
        return false;
    if (n < 0) {
        s->out_of_step = true;
        if (log_limit_pass(s->host.limit, "session"))
            log_event(LOG_EVENT_CLIENT_OUT_OF_STEP,
                      LOG_FIELDS(LOG_NUMBER("CLIENT_PID", s->info.pid)), LOG_LEVEL_WARNING,
                      "session", "pid %d: the stream is out of step: bad size or type in a header",
                      (int)s->info.pid);
        session_close(s, "a message that is none");
        return false;
    }
    if (n == 1) { /* messages are left, and s is blocked: flush would undo that */
        stream_flush(s->stream);
        return false;
    }
    return flush(s);
}

static void on_socket(void *arg, int events)
{
    struct session *s = arg;
    int n;

    /* What was left in the buffer when the socket took no more comes first. */
    if (s->blocked && (!flush(s) || !handle_received(s)))
        return;
    if ((events & UV_READABLE) == 0)
        return;
    n = stream_fill(s->stream);
    if (n > 0)
        handle_received(s);
    else if (n == -ENOTCONN)
        session_close(s, s->end_reason);
    else if (n < 0)
        session_close(s, strerror(-n));
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

void session_finish(struct session *s, int64_t deadline, const char *reason)
{
    /* What it has sent can still be read, and then comes its end. */
    shutdown(stream_fd(s->stream), SHUT_RD);
    s->end_reason = reason;
    while (!s->closing) {
        if (s->blocked && peer_wait(stream_fd(s->stream), POLLOUT, -1, deadline) != 0)
            break;
        on_socket(s, UV_READABLE);
    }
    session_close(s, reason);
}
