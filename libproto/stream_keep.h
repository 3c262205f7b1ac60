/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that outlives the process, for a stream's bytes, and what must be known of them so that
 * another stream, of another process, goes on to the byte wherever this one died.
 *
 * A process dies inside a call as often as between two, and what it notes behind a call is missing
 * then. So the number of bytes that a call has received or sent is written by the kernel: recvmmsg
 * and sendmmsg store it in the struct mmsghdr, which lies in the memory that is left, before they
 * return, and a call that does not wait is never left half done. Two notes take turns, so there
 * always is one that is whole.
 *
 * What is committed, the rest: up to where messages have been handled, and replies queued, is in a
 * struct stream_mark, which the stream's owner stores when a message is done with.
 *
 * Fds that come along are looked at first (MSG_PEEK) and given to struct stream_keeper, and only
 * then received; those of messages to be sent are given to it when they are queued.
 */
#ifndef VFIO_USERD_STREAM_KEEP_H
#define VFIO_USERD_STREAM_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "stream.h"
#include "stream_rest.h"

/* struct mmsghdr, which only GNU sources see. The pointers are for the one who calls. */
struct stream_call {
    struct msghdr message;
    unsigned len; /* bytes; 0: none (yet) */
};

/* The last call of its kind. */
struct stream_note {
    uint64_t at;   /* position in the stream of its first byte */
    uint64_t base; /* position of the first byte in the buffer */
    struct stream_call call;
    uint32_t kept; /* the fds that came with these bytes are */
    uint32_t reserved;
};

struct stream_notes {
    struct stream_note notes[2];
    uint32_t current; /* which of the two holds */
    uint32_t reserved;
};

struct stream_journal {
    struct stream_notes received;
    struct stream_notes sent;
};

/* Messages with fds that may wait to be sent; the next one has to wait for the socket. */
#define STREAM_OUT_FDS_MAX 64

/* More than can wait at a time: entries take turns. */
#define STREAM_KEPT_IN_FDS 256

/* Fds that are on their way, by serial. */
struct stream_fd_table {
    uint64_t n_in; /* entries so far: entry n is at n modulo their number */
    uint64_t n_out;
    struct stream_kept_in {
        uint64_t at;    /* it counts if bytes from this position on have been received */
        uint64_t owner; /* position of its message's first byte */
        uint32_t serial;
        uint32_t reserved;
    } in[STREAM_KEPT_IN_FDS];
    struct stream_kept_out {
        uint64_t owner;
        uint32_t nfds;
        uint32_t serials[STREAM_MAX_FDS];
        uint32_t reserved;
    } out[STREAM_OUT_FDS_MAX];
};

/* Positions in the stream. */
struct stream_mark {
    uint64_t in_head;  /* messages before it have been handled */
    uint64_t out_tail; /* messages before it have been queued */
    uint64_t out_base; /* of the first byte in the buffer */
    uint64_t out_next; /* a message began here that was not sent */
};

/* Where all this is. */
struct stream_memory {
    struct stream_journal *journal;
    struct stream_fd_table *fds;
    uint8_t *in; /* in_size: twice the largest message at least */
    size_t in_size;
    uint8_t *out; /* out_size: twice what may be queued at least */
    size_t out_size;
};

/* Whoever keeps fds: serials are its names for them. */
struct stream_keeper {
    void *opaque;
    /* Returns the serial, or 0: it could not be kept. fd stays the caller's. */
    uint32_t (*store)(void *opaque, int fd, const char *role);
    void (*forget)(void *opaque, uint32_t serial);
    /* A mark is to be stored now. Called between two messages. */
    void (*mark)(void *opaque);
};

/*
 * From now on the stream's bytes are in *memory, with what it has received and not sent so far;
 * *memory is copied, what it points to outlives the stream. Returns 0; -ENOSPC: it has more than
 * there is room for. The owner stores a mark then.
 */
int stream_keep(struct stream *s, const struct stream_memory *memory,
                const struct stream_keeper *keeper);

/* Between two messages. */
void stream_get_mark(const struct stream *s, struct stream_mark *out);

/* What a process has left. Bytes are where they were; positions count from the first of them. */
struct stream_kept {
    const uint8_t *in; /* received and not handled: begins with a message */
    size_t in_len;
    struct {
        uint32_t owner;
        uint32_t serial;
    } in_fds[STREAM_REST_FDS];
    unsigned n_in_fds;
    const uint8_t *out; /* queued and not sent */
    size_t out_len;
    size_t out_cut; /* of these, bytes of a message that has been sent in part */
    struct {
        uint32_t owner;
        uint32_t nfds;
        uint32_t serials[STREAM_MAX_FDS];
    } out_fds[STREAM_OUT_FDS_MAX];
    unsigned n_out_fds;
};

/* Returns 0, or -EINVAL: no stream leaves that. */
int stream_read_kept(const struct stream_memory *memory, const struct stream_mark *mark,
                     struct stream_kept *out);

/*
 * Queues, in a stream that has nothing to send, what another one had: len bytes, of which the first
 * cut are the end of a message. Returns 0, -EBUSY, -EINVAL: these are no messages, or -ENOMEM.
 */
int stream_put_unsent(struct stream *s, const uint8_t *bytes, size_t len, size_t cut);

/* Gives the queued message that begins at owner, counted from the first byte queued, its fds. */
int stream_put_unsent_fds(struct stream *s, size_t owner, const int *fds, unsigned nfds);

#endif
