/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A non-blocking framed UNIX stream socket: many messages per recvmsg, the fds of each kept with
 * it, messages to send collected and sent with as few sendmsg calls as the peer can stand. Knows
 * the 16-byte header and nothing of payloads; has no event loop: the owner waits for the socket to
 * be readable or writable (stream_fd) and calls in.
 *
 * Where fds belong. The kernel ends a recvmsg after the send that carried fds, but does not say
 * at which byte that send began, so several messages read at once leave open whose the fds are.
 * stream_fill therefore looks first (MSG_PEEK); when fds are in sight it takes one message at a
 * time, and else all there is. Only behind a single short message, the way of a client that waits
 * for each reply, it takes the next one without looking: no message of at most 32 bytes takes fds.
 * Those that such a message brings all the same may be found at the one behind it.
 *
 * What may be sent together. QEMU reads a header with one recvmsg of 16 bytes and gives up on less,
 * and the kernel cuts what one sendmsg sends into buffers of at least 32 KiB. So one sendmsg
 * carries at most STREAM_BATCH bytes of several messages, or a single larger one, and no header is
 * ever cut; a message with fds goes alone.
 */
#ifndef VFIO_USERD_STREAM_H
#define VFIO_USERD_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio_user.h"

/* Most fds that a message may bring; QEMU and Cloud Hypervisor send 16 whatever we announce. */
#define STREAM_MAX_FDS 16

/* Most bytes of several messages in one sendmsg. */
#define STREAM_BATCH 32768u

struct stream;

/* A received message. The payload is valid until the next stream_fill or stream_free. */
struct stream_message {
    struct vfio_user_header hdr;
    const uint8_t *payload; /* hdr.size - 16 bytes */
    int fds[STREAM_MAX_FDS];
    uint32_t serials[STREAM_MAX_FDS]; /* of the copies that are kept; see stream_keep.h */
    unsigned nfds;
    bool fds_lost; /* some could not be received: the process is out of fds, or there were more */
};

/* A message as a tap sees it, header included, as it is on the wire. */
struct stream_tapped {
    bool sent;     /* queued to be sent; else it was received */
    bool together; /* received by the same read as the one before it */
    const uint8_t *wire;
    size_t len;
    unsigned nfds; /* that travel with it */
};

typedef void (*stream_tap)(void *opaque, const struct stream_tapped *m);

/* What a stream has seen since it was made; for the bench, the log and the tests. */
struct stream_counters {
    uint64_t recv_calls;
    uint64_t recv_messages;
    uint64_t send_calls;
    uint64_t send_messages;
    uint64_t fds_closed; /* received fds that nobody took */
};

/*
 * Makes a stream of the connected socket fd, which it owns from now on, also on failure, and makes
 * non-blocking. max_message is the largest message accepted from the peer, header included.
 * Returns 0 or -errno.
 */
int stream_new(int fd, size_t max_message, struct stream **out);

/* Closes the socket and every fd received or to be sent. NULL is allowed. */
void stream_free(struct stream *s);

int stream_fd(const struct stream *s);

/* A larger or smaller bound for messages that are not begun yet. */
void stream_set_max_message(struct stream *s, size_t max_message);

/*
 * From now on every message is shown to tap: once, when the read that completed it returns, before
 * any message of that read is taken, and when it is queued to be sent. Bytes that stream_next
 * refuses are shown as one of their own, the last. tap must not call this module. NULL: none.
 */
void stream_set_tap(struct stream *s, stream_tap tap, void *opaque);

/*
 * Reads once from the socket. Returns the number of bytes read, 0 when there is nothing now,
 * -ENOTCONN at the end of the stream, or another -errno.
 */
int stream_fill(struct stream *s);

/*
 * Takes the next complete message. Returns 1 with *out written, 0 when none is complete, -EPROTO
 * when the stream is out of step: nothing more can be read from it. Fds in *out are the caller's
 * to take: stream_message_fini closes those whose slot is not -1.
 */
int stream_next(struct stream *s, struct stream_message *out);

/* Takes fd i of a message away from it: the caller owns it now. -1 when there is none. */
int stream_message_take_fd(struct stream_message *m, unsigned i);

/* Closes the fds that nobody took and counts them; s may be NULL when it is freed already. */
void stream_message_fini(struct stream *s, struct stream_message *m);

/*
 * Room for a message of len bytes, header included, at the end of what is to be sent. Valid until
 * the next call of this module. NULL without memory. Nothing is sent before stream_commit.
 */
uint8_t *stream_reserve(struct stream *s, size_t len);

/*
 * Queues the len bytes (at most those reserved) as one message with nfds fds, which are duplicated;
 * its header's size must be len. Returns 0 or -errno: nothing is queued then.
 */
int stream_commit(struct stream *s, size_t len, const int *fds, unsigned nfds);

/* Whether no further message with fds can be queued before stream_flush has sent some. */
bool stream_fds_full(const struct stream *s);

/*
 * Sends what is queued. Returns 0 when all is sent, -EAGAIN when the socket takes no more now, or
 * another -errno: the stream is useless then.
 */
int stream_flush(struct stream *s);

/* Bytes queued and not sent. */
size_t stream_queued(const struct stream *s);

const struct stream_counters *stream_counters(const struct stream *s);

#endif
