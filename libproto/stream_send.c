/* SPDX-License-Identifier: BSD-3-Clause */
/* What a stream is to send. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"
#include "stream_private.h"

/* What is queued is moved to the front of memory that outlives us when this much is free there. */
#define MOVE_BYTES (256u * 1024)

uint8_t *stream_reserve(struct stream *s, size_t len)
{
    size_t have = s->out_tail - s->out_head;

    if (have == 0) {
        s->out_head = 0;
        s->out_tail = 0;
    }
    if (s->fd_table != NULL) /* it does not grow; stream_flush moves what is queued */
        return len <= s->out_size - s->out_tail ? s->out + s->out_tail : NULL;
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

                peer_close_fds(with->fds, with->nfds);
                return err;
            }
            with->fds[with->nfds] = fd;
        }
        stream_keep_queued(s, with);
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

void stream_drop_queued_fds(struct stream *s)
{
    peer_close_fds(s->out_fds[0].fds, s->out_fds[0].nfds);
    for (unsigned i = 0; i < s->out_fds[0].nfds; i++)
        stream_forget(s, s->out_fds[0].serials[i]);
    s->n_out_fds--;
    memmove(s->out_fds, s->out_fds + 1, s->n_out_fds * sizeof(s->out_fds[0]));
}

/* Writes the first message's fds to space, and has *msg send them. */
static void add_fds(const struct stream *s, struct msghdr *msg, void *space)
{
    size_t size = s->out_fds[0].nfds * sizeof(int);
    struct cmsghdr *c;

    msg->msg_control = space;
    msg->msg_controllen = CMSG_SPACE(size);
    memset(space, 0, msg->msg_controllen);
    c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), s->out_fds[0].fds, size);
}

/*
 * The kernel notes what was sent; where nothing outlives us, send costs less. Returns as sendmsg
 * does.
 */
static ssize_t send_batch(struct stream *s, size_t len, bool with_fds)
{
    union {
        struct cmsghdr align;
        uint8_t space[CMSG_SPACE(STREAM_MAX_FDS * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = s->out + s->out_head, .iov_len = len };
    struct stream_call *call;

    s->counters.send_calls++;
    if (s->fd_table == NULL && !with_fds)
        return send(s->fd, iov.iov_base, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    call = &stream_next_note(&s->journal->sent, s->out_pos, s->out_pos - s->out_head)->call;
    call->message.msg_iov = &iov;
    call->message.msg_iovlen = 1;
    if (with_fds)
        add_fds(s, &call->message, control.space);
    if (sendmmsg(s->fd, (struct mmsghdr *)call, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
        return -1;
    return (ssize_t)call->len;
}

/*
 * Without this, a queue that is never empty would wander through all of a buffer that does not
 * grow. What is at the front is not looked at any more behind the first mark, and what was moved is
 * found behind the second.
 */
static void move_to_front(struct stream *s)
{
    size_t have = s->out_tail - s->out_head;

    if (have > s->out_head)
        return;
    s->keeper.mark(s->keeper.opaque);
    memcpy(s->out, s->out + s->out_head, have);
    s->out_head = 0;
    s->out_tail = have;
    s->keeper.mark(s->keeper.opaque);
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
            stream_drop_queued_fds(s);
        forget_sent(s, (size_t)n);
        if (s->fd_table != NULL && s->out_head >= MOVE_BYTES)
            move_to_front(s);
    }
    return 0;
}

size_t stream_queued(const struct stream *s)
{
    return s->out_tail - s->out_head;
}
