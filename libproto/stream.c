/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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

/* Behind as many short messages in a row, nobody asks any more whether the next is one too. */
#define SHORTS_ASKED 16

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
    s->journal = &s->own;
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

void stream_free(struct stream *s)
{
    if (s == NULL)
        return;
    for (unsigned i = 0; i < s->n_in_fds; i++) {
        peer_close_fd(s->in_fds[i].fd);
        stream_forget(s, s->in_fds[i].serial);
    }
    while (s->n_out_fds > 0)
        stream_drop_queued_fds(s);
    close(s->fd);
    if (s->fd_table == NULL) {
        free(s->in);
        free(s->out);
    }
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

/*
 * Makes room behind in_tail: for the message that is begun, and for at least a header. Memory that
 * outlives us has room for two of the largest messages: there what is received is not moved onto
 * itself, since a process that dies meanwhile would leave neither.
 */
static int make_room(struct stream *s)
{
    size_t have = s->in_tail - s->in_head;
    size_t want = claimed_size(s, s->in_head, s->in_tail);

    if (s->in_head > 0 && (s->fd_table == NULL || s->in_head >= have)) {
        memmove(s->in, s->in + s->in_head, have);
        s->in_head = 0;
        s->in_tail = have;
        /* They are here from now on: the next call may write where they were. */
        stream_next_note(&s->journal->received, s->in_pos + have, s->in_pos);
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
                peer_close_fd(fd);
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

#define CONTROL_SPACE CMSG_SPACE(STREAM_CONTROL_MAX_FDS * sizeof(int))

/*
 * The kernel notes what was received; where nothing outlives us, recvmsg costs less. Returns as
 * recvmsg does.
 */
static ssize_t receive_noted(const struct stream *s, struct stream_call *call)
{
    const int flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;

    if (s->fd_table == NULL)
        return recvmsg(s->fd, &call->message, flags);
    return recvmmsg(s->fd, (struct mmsghdr *)call, 1, flags, NULL) == 1 ? (ssize_t)call->len : -1;
}

/*
 * Reads at most len bytes, and the fds among them into control, unless that is NULL: then they are
 * closed. Returns as recvmsg does.
 */
static ssize_t receive(struct stream *s, size_t len, void *control, struct stream_note **out)
{
    struct iovec iov = { .iov_base = s->in + s->in_tail, .iov_len = len };
    uint64_t at = s->in_pos + (s->in_tail - s->in_head);
    struct stream_note *note = stream_next_note(&s->journal->received, at, s->in_pos - s->in_head);
    struct stream_call *call = &note->call;
    ssize_t n;

    call->message.msg_iov = &iov;
    call->message.msg_iovlen = 1;
    call->message.msg_control = control;
    call->message.msg_controllen = control != NULL ? CONTROL_SPACE : 0;
    s->counters.recv_calls++;
    *out = note;
    n = receive_noted(s, call);
    if (n > 0)
        s->in_tail += (size_t)n;
    return n;
}

/* Whose the fds are that came with bytes up to tail. */
static uint64_t owner_of_fds(const struct stream *s, size_t tail)
{
    return s->in_pos + (open_message(s, tail - 1) - s->in_head);
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
        uint8_t space[CONTROL_SPACE];
    } control;
    unsigned before = s->n_in_fds;
    struct stream_note *note;
    ssize_t n = receive(s, len, control.space, &note);
    struct msghdr *msg = &note->call.message;

    if (n > 0 && (msg->msg_controllen > 0 || (msg->msg_flags & MSG_CTRUNC) != 0)) {
        keep_fds(s, msg, owner_of_fds(s, s->in_tail));
        stream_keep_received(s, before, "in", s->in_pos);
        __atomic_store_n(&note->kept, 1, __ATOMIC_RELEASE);
    }
    return n;
}

/* What fds are for, for people: the name of those that are kept. */
static const char *role_of(const struct stream *s, uint64_t owner)
{
    struct vfio_user_header hdr = { 0 };

    memcpy(&hdr, s->in + s->in_head + (owner - s->in_pos), sizeof(hdr));
    if (hdr.command == VFIO_USER_DMA_MAP)
        return "dma";
    return hdr.command == VFIO_USER_DEVICE_SET_IRQS ? "irq" : "in";
}

/* Fds from the nth on were looked at, and did not come with what was received then. */
static void drop_received(struct stream *s, unsigned n)
{
    for (unsigned i = n; i < s->n_in_fds; i++) {
        peer_close_fd(s->in_fds[i].fd);
        stream_forget(s, s->in_fds[i].serial);
    }
    stream_unkeep_received(s, s->n_in_fds - n);
    s->n_in_fds = n;
}

/*
 * The same where fds are in sight and are to outlive us: a copy of them is made and kept, and then
 * the bytes are taken, and only they. A look, unlike a read, also shows fds of what is behind the
 * bytes; whether they came with these is told by the read, which says that it had no room for them.
 */
static ssize_t take_kept(struct stream *s, size_t len)
{
    union {
        struct cmsghdr align;
        uint8_t space[CONTROL_SPACE];
    } control;
    struct iovec iov = { .iov_base = s->in + s->in_tail, .iov_len = len };
    struct msghdr peek = { .msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control.space,
                           .msg_controllen = sizeof(control.space) };
    uint64_t at = s->in_pos + (s->in_tail - s->in_head);
    unsigned before = s->n_in_fds;
    struct stream_note *note;
    uint64_t owner;
    ssize_t n = recvmsg(s->fd, &peek, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n <= 0)
        return n;
    owner = owner_of_fds(s, s->in_tail + (size_t)n);
    keep_fds(s, &peek, owner);
    stream_keep_received(s, before,
                         s->in_tail + (size_t)n - (size_t)(owner - s->in_pos) - s->in_head >=
                                 VFIO_USER_HEADER_SIZE
                             ? role_of(s, owner)
                             : "in",
                         at);
    n = receive(s, (size_t)n, NULL, &note);
    if (n > 0 && (note->call.message.msg_flags & MSG_CTRUNC) == 0)
        drop_received(s, before);
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
    size_t look = room < STREAM_IN_SIZE ? room : STREAM_IN_SIZE;
    struct iovec iov = { .iov_base = s->in + s->in_tail, .iov_len = look };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    bool fds_in_sight;
    size_t len;
    ssize_t n;

    if (rest > 0)
        return take(s, rest < room ? rest : room);
    n = recvmsg(s->fd, &msg, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0)
        return n;
    fds_in_sight = (msg.msg_flags & MSG_CTRUNC) != 0;
    len = take_at_once(s, (size_t)n, fds_in_sight);
    /* The look has ended with the send that has the fds: they are not those of a message before. */
    return fds_in_sight && s->fd_table != NULL && len == (size_t)n ? take_kept(s, len)
                                                                   : take(s, len);
}

/*
 * Takes what is probably a short message, which has no fds. Fds that are to outlive us must be kept
 * before they are received, so there no more is taken than is known to be short. To ask for that is
 * a system call more: after a while it is left to the note of the call to tell that fds were lost.
 */
static ssize_t take_short(struct stream *s)
{
    int there = SHORT_MESSAGE + 1;

    if (s->fd_table != NULL && s->shorts < SHORTS_ASKED &&
        (ioctl(s->fd, SIOCINQ, &there) != 0 || there <= 0 || there > (int)SHORT_MESSAGE))
        return look_and_take(s);
    return take(s, (size_t)there);
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
    if (empty && s->shorts > 0) {
        n = take_short(s);
        if (n == SHORT_MESSAGE + 1)
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
    if (empty && n <= SHORT_MESSAGE && claimed_size(s, 0, s->in_tail) == n)
        s->shorts += s->shorts < SHORTS_ASKED;
    else
        s->shorts = 0;
    return (int)n;
}

/* Moves the fds that belong to the message at in_pos into it. */
static void hand_over_fds(struct stream *s, struct stream_message *m)
{
    unsigned taken = 0;

    while (taken < s->n_in_fds && s->in_fds[taken].owner == s->in_pos) {
        const struct stream_in_fd *in = &s->in_fds[taken++];

        if (in->fd >= 0 && m->nfds < STREAM_MAX_FDS) {
            m->serials[m->nfds] = in->serial;
            m->fds[m->nfds++] = in->fd;
        } else {
            m->fds_lost = true;
            peer_close_fd(in->fd);
            stream_forget(s, in->serial);
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
    for (unsigned i = 0; s != NULL && i < m->nfds; i++) {
        s->counters.fds_closed += m->fds[i] >= 0;
        stream_forget(s, m->serials[i]);
    }
    peer_close_fds(m->fds, m->nfds);
    m->nfds = 0;
}

const struct stream_counters *stream_counters(const struct stream *s)
{
    return &s->counters;
}
