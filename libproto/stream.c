/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "message.h"
#include "peer.h"
#include "stream_private.h"

#define OUT_SIZE 16384u

/*
 * No message of at most this many bytes carries fds: DMA_MAP and SET_IRQS are longer, REGION_READ,
 * the one that a guest waits for most, is just that long.
 */
#define SHORT_MESSAGE 32u

/* What is taken without a look at what is behind it. */
#define LONG_REST 32768u

int stream_new(int fd, size_t max_message, struct stream **out)
{
    struct stream *s = calloc(1, sizeof(*s));
    int flags = fcntl(fd, F_GETFL);
    int err = -ENOMEM;

    if (s == NULL)
        goto fail;
    s->in = malloc(STREAM_IN_SIZE);
    s->out = malloc(OUT_SIZE);
    if (s->in == NULL || s->out == NULL)
        goto fail;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        err = -errno;
        goto fail;
    }
    s->fd = fd;
    s->max_message = max_message;
    s->in_size = STREAM_IN_SIZE;
    s->out_size = OUT_SIZE;
    *out = s;
    return 0;
fail:
    if (s != NULL) {
        free(s->in);
        free(s->out);
        free(s);
    }
    close(fd);
    return err;
}

static void close_all(const int *fds, unsigned nfds)
{
    for (unsigned i = 0; i < nfds; i++)
        peer_close_fd(fds[i]);
}

void stream_free(struct stream *s)
{
    if (s == NULL)
        return;
    for (unsigned i = 0; i < s->n_in_fds; i++)
        close_all(&s->in_fds[i].fd, 1);
    for (unsigned i = 0; i < s->n_out_fds; i++)
        close_all(s->out_fds[i].fds, s->out_fds[i].nfds);
    close(s->fd);
    free(s->in);
    free(s->out);
    free(s);
}

int stream_fd(const struct stream *s)
{
    return s->fd;
}

void stream_set_max_message(struct stream *s, size_t max_message)
{
    s->max_message = max_message;
}

void stream_set_tap(struct stream *s, stream_tap tap, void *opaque)
{
    s->tap = tap;
    s->tap_opaque = opaque;
}

/*
 * Receiving
 */

/* The size that the message at in[at] claims, or 0 when its header is not complete. */
static uint32_t claimed_size(const struct stream *s, size_t at, size_t tail)
{
    struct vfio_user_header hdr;

    if (tail - at < sizeof(hdr))
        return 0;
    memcpy(&hdr, s->in + at, sizeof(hdr));
    return hdr.size;
}

/*
 * Where the last message begins that starts at or before the byte tail: the one that a further
 * byte would belong to. A size that cannot be is left to stream_next to refuse.
 */
static size_t open_message(const struct stream *s, size_t tail)
{
    size_t at = s->in_head;

    for (;;) {
        uint32_t size = claimed_size(s, at, tail);

        if (size < VFIO_USER_HEADER_SIZE || size > tail - at)
            return at;
        at += size;
    }
}

/* Makes room behind in_tail: for the message that is begun, and for at least a header. */
static int make_room(struct stream *s)
{
    size_t have = s->in_tail - s->in_head;
    size_t want = claimed_size(s, s->in_head, s->in_tail);

    if (s->in_head > 0) {
        memmove(s->in, s->in + s->in_head, have);
        s->in_head = 0;
        s->in_tail = have;
    }
    if (want > s->max_message || want < STREAM_IN_SIZE)
        want = STREAM_IN_SIZE;
    if (want > s->in_size) {
        uint8_t *bigger = realloc(s->in, want);

        if (bigger == NULL)
            return -ENOMEM;
        s->in = bigger;
        s->in_size = want;
    }
    return 0;
}

/* Files the fds of one recvmsg under the message that begins at position owner. */
static void keep_fds(struct stream *s, struct msghdr *msg, uint64_t owner)
{
    bool lost = (msg->msg_flags & MSG_CTRUNC) != 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (unsigned i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (s->n_in_fds < STREAM_CONTROL_MAX_FDS) {
                s->in_fds[s->n_in_fds++] = (struct stream_in_fd) { .owner = owner, .fd = fd };
            } else {
                close_all(&fd, 1);
                lost = true;
            }
        }
    }
    if (lost && s->n_in_fds <= STREAM_CONTROL_MAX_FDS)
        s->in_fds[s->n_in_fds++] = (struct stream_in_fd) { .owner = owner, .fd = -1 };
}

/*
 * How many bytes to take at once: all that was seen when there are no fds among them, else what
 * completes the header, and then the message, that the next byte belongs to.
 */
static size_t take_at_once(struct stream *s, size_t seen, bool fds_in_sight)
{
    size_t begin = open_message(s, s->in_tail);
    size_t have = s->in_tail - begin;
    uint32_t size = claimed_size(s, begin, s->in_tail + seen);
    size_t end = size >= VFIO_USER_HEADER_SIZE ? size : VFIO_USER_HEADER_SIZE;

    if (!fds_in_sight || end <= have)
        return seen;
    return end - have < seen ? end - have : seen;
}

/*
 * Reads at most len bytes. Fds among them belong to the message of the last byte: the kernel ends a
 * recvmsg behind the send that carried fds, and what is taken is either one message's at most, or
 * short ones and the begin of another.
 */
static ssize_t take(struct stream *s, size_t len)
{
    union {
        struct cmsghdr align;
        uint8_t space[CMSG_SPACE(STREAM_CONTROL_MAX_FDS * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = s->in + s->in_tail, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.space,
                          .msg_controllen = sizeof(control.space) };
    ssize_t n = recvmsg(s->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    s->counters.recv_calls++;
    if (n <= 0)
        return n;
    s->in_tail += (size_t)n;
    if (msg.msg_controllen > 0 || (msg.msg_flags & MSG_CTRUNC) != 0)
        keep_fds(s, &msg, s->in_pos + (open_message(s, s->in_tail - 1) - s->in_head));
    return n;
}

/* How much is to come of the message that has begun, when that is long; else 0. */
static size_t long_rest(const struct stream *s)
{
    size_t begin = open_message(s, s->in_tail);
    size_t have = s->in_tail - begin;
    uint32_t size = claimed_size(s, begin, s->in_tail);

    return size > have && size - have >= LONG_REST ? size - have : 0;
}

/*
 * Looks what there is, and takes all of it that can have no other message's fds. To look means to
 * copy, which for a long message takes longer than to be called again for what is behind it.
 */
static ssize_t look_and_take(struct stream *s)
{
    size_t rest = long_rest(s);
    size_t room = s->in_size - s->in_tail;
    struct iovec iov = { .iov_base = s->in + s->in_tail, .iov_len = room };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    if (rest > 0)
        return take(s, rest < room ? rest : room);
    n = recvmsg(s->fd, &msg, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 ? take(s, take_at_once(s, (size_t)n, (msg.msg_flags & MSG_CTRUNC) != 0)) : n;
}

static unsigned count_in_fds(const struct stream *s, uint64_t owner)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->n_in_fds; i++)
        n += s->in_fds[i].owner == owner;
    return n;
}

/* Shows the tap the len bytes from where it was shown the last; returns what is behind them. */
static uint64_t show(struct stream *s, uint64_t at, size_t len, bool together)
{
    const struct stream_tapped m = { .together = together,
                                     .wire = s->in + s->in_head + (at - s->in_pos),
                                     .len = len,
                                     .nfds = count_in_fds(s, at) };

    s->tap(s->tap_opaque, &m);
    return at + len;
}

/* Shows the tap what has become complete. What is no message stops it: stream_next will tell. */
static void show_received(struct stream *s)
{
    uint64_t end = s->in_pos + (s->in_tail - s->in_head);
    uint64_t at = s->in_shown > s->in_pos ? s->in_shown : s->in_pos;
    bool together = false;

    for (;;) {
        uint32_t size = claimed_size(s, s->in_head + (size_t)(at - s->in_pos), s->in_tail);

        if (size < VFIO_USER_HEADER_SIZE || size > end - at)
            break;
        at = show(s, at, size, together);
        together = true;
    }
    s->in_shown = at;
}

/* The same for what turned out to be no message. */
static void show_bad(struct stream *s)
{
    if (s->in_shown <= s->in_pos)
        s->in_shown = show(s, s->in_pos, s->in_tail - s->in_head, false);
}

int stream_fill(struct stream *s)
{
    bool empty = s->in_tail == s->in_head;
    ssize_t more = 0;
    ssize_t n;

    if (empty) {
        s->in_head = 0;
        s->in_tail = 0;
    } else if (make_room(s) != 0) {
        return -ENOMEM;
    }
    if (s->in_tail == s->in_size)
        return 0; /* complete messages wait to be taken */
    if (empty && s->expect_short) {
        n = take(s, SHORT_MESSAGE + 1);
        if (n > SHORT_MESSAGE)
            more = look_and_take(s); /* should it fail, then again the next time */
    } else {
        n = look_and_take(s);
    }
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ENOTCONN;
    n += more > 0 ? more : 0;
    if (s->tap != NULL)
        show_received(s);
    s->expect_short = empty && n <= SHORT_MESSAGE && claimed_size(s, 0, s->in_tail) == n;
    return (int)n;
}

/* Moves the fds that belong to the message at in_pos into it. */
static void hand_over_fds(struct stream *s, struct stream_message *m)
{
    unsigned taken = 0;

    while (taken < s->n_in_fds && s->in_fds[taken].owner == s->in_pos) {
        int fd = s->in_fds[taken++].fd;

        if (fd >= 0 && m->nfds < STREAM_MAX_FDS) {
            m->fds[m->nfds++] = fd;
        } else {
            m->fds_lost = true;
            close_all(&fd, 1);
        }
    }
    s->n_in_fds -= taken;
    memmove(s->in_fds, s->in_fds + taken, s->n_in_fds * sizeof(s->in_fds[0]));
}

int stream_next(struct stream *s, struct stream_message *out)
{
    size_t have = s->in_tail - s->in_head;
    int err;

    if (have < VFIO_USER_HEADER_SIZE)
        return 0;
    err = message_decode_header(s->in + s->in_head, s->max_message, &out->hdr);
    if (err != 0 && s->tap != NULL)
        show_bad(s);
    if (err != 0)
        return err;
    if (have < out->hdr.size)
        return 0;
    out->payload = s->in + s->in_head + VFIO_USER_HEADER_SIZE;
    out->nfds = 0;
    out->fds_lost = false;
    if (s->n_in_fds > 0)
        hand_over_fds(s, out);
    s->in_head += out->hdr.size;
    s->in_pos += out->hdr.size;
    s->counters.recv_messages++;
    return 1;
}

int stream_message_take_fd(struct stream_message *m, unsigned i)
{
    int fd = i < m->nfds ? m->fds[i] : -1;

    if (fd >= 0)
        m->fds[i] = -1;
    return fd;
}

void stream_message_fini(struct stream *s, struct stream_message *m)
{
    for (unsigned i = 0; s != NULL && i < m->nfds; i++)
        s->counters.fds_closed += m->fds[i] >= 0;
    close_all(m->fds, m->nfds);
    m->nfds = 0;
}

/*
 * Sending
 */

uint8_t *stream_reserve(struct stream *s, size_t len)
{
    size_t have = s->out_tail - s->out_head;

    if (have == 0) {
        s->out_head = 0;
        s->out_tail = 0;
    }
    if (len > s->out_size - s->out_tail && s->out_head > 0) {
        memmove(s->out, s->out + s->out_head, have);
        s->out_head = 0;
        s->out_tail = have;
    }
    if (len > s->out_size - s->out_tail) {
        size_t size = s->out_size;
        uint8_t *bigger;

        while (len > size - s->out_tail)
            size *= 2;
        bigger = realloc(s->out, size);
        if (bigger == NULL)
            return NULL;
        s->out = bigger;
        s->out_size = size;
    }
    return s->out + s->out_tail;
}

int stream_commit(struct stream *s, size_t len, const int *fds, unsigned nfds)
{
    struct stream_out_fds *with;

    if (nfds > 0) {
        if (nfds > STREAM_MAX_FDS || s->n_out_fds == STREAM_OUT_FDS_MAX)
            return -ENOBUFS;
        with = &s->out_fds[s->n_out_fds];
        with->owner = s->out_pos + (s->out_tail - s->out_head);
        for (with->nfds = 0; with->nfds < nfds; with->nfds++) {
            int fd = fcntl(fds[with->nfds], F_DUPFD_CLOEXEC, 0);

            if (fd < 0) {
                int err = -errno;

                close_all(with->fds, with->nfds);
                return err;
            }
            with->fds[with->nfds] = fd;
        }
        s->n_out_fds++;
    }
    if (s->tap != NULL)
        s->tap(s->tap_opaque,
               &(struct stream_tapped) {
                   .sent = true, .wire = s->out + s->out_tail, .len = len, .nfds = nfds });
    s->out_tail += len;
    s->counters.send_messages++;
    return 0;
}

bool stream_fds_full(const struct stream *s)
{
    return s->n_out_fds == STREAM_OUT_FDS_MAX;
}

/* The size of the queued message at out[at]. */
static uint32_t queued_size(const struct stream *s, size_t at)
{
    struct vfio_user_header hdr;

    memcpy(&hdr, s->out + at, sizeof(hdr));
    return hdr.size;
}

static bool has_fds(const struct stream *s, size_t at)
{
    return s->n_out_fds > 0 && s->out_fds[0].owner == s->out_pos + (at - s->out_head);
}

/* How many bytes from out_head may go in one sendmsg. */
static size_t batch_size(const struct stream *s)
{
    size_t at = s->out_head;
    bool alone = s->out_cut == 0 && has_fds(s, at);

    at += s->out_cut > 0 ? s->out_cut : queued_size(s, at);
    while (!alone && at < s->out_tail && !has_fds(s, at)) {
        uint32_t size = queued_size(s, at);

        if (at - s->out_head + size > STREAM_BATCH)
            break;
        at += size;
    }
    return at - s->out_head;
}

/* Notes that n bytes from out_head are gone, and how much of a message they left. */
static void forget_sent(struct stream *s, size_t n)
{
    size_t end = s->out_head + n;
    size_t next = s->out_head + s->out_cut;

    while (next < end)
        next += queued_size(s, next);
    s->out_cut = next - end;
    s->out_head = end;
    s->out_pos += n;
}

static void drop_sent_fds(struct stream *s)
{
    close_all(s->out_fds[0].fds, s->out_fds[0].nfds);
    s->n_out_fds--;
    memmove(s->out_fds, s->out_fds + 1, s->n_out_fds * sizeof(s->out_fds[0]));
}

static ssize_t send_with_fds(struct stream *s, size_t len)
{
    union {
        struct cmsghdr align;
        uint8_t space[CMSG_SPACE(STREAM_MAX_FDS * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = s->out + s->out_head, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space };
    size_t size = s->out_fds[0].nfds * sizeof(int);
    struct cmsghdr *c;

    memset(&control, 0, sizeof(control));
    msg.msg_controllen = CMSG_SPACE(size);
    c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), s->out_fds[0].fds, size);
    return sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t send_batch(struct stream *s, size_t len, bool with_fds)
{
    s->counters.send_calls++;
    /* send is cheaper than sendmsg: nothing but the two numbers has to be fetched and checked. */
    return with_fds ? send_with_fds(s, len)
                    : send(s->fd, s->out + s->out_head, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int stream_flush(struct stream *s)
{
    while (s->out_tail > s->out_head) {
        bool with_fds = s->out_cut == 0 && has_fds(s, s->out_head);
        ssize_t n = send_batch(s, batch_size(s), with_fds);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        if (with_fds)
            drop_sent_fds(s);
        forget_sent(s, (size_t)n);
    }
    return 0;
}

size_t stream_queued(const struct stream *s)
{
    return s->out_tail - s->out_head;
}

const struct stream_counters *stream_counters(const struct stream *s)
{
    return &s->counters;
}
