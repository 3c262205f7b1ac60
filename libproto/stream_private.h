/* SPDX-License-Identifier: BSD-3-Clause */
/* What stream.c and stream_rest.c share: the inside of a stream. For nobody else. */
#ifndef VFIO_USERD_STREAM_PRIVATE_H
#define VFIO_USERD_STREAM_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream.h"
#include "stream_keep.h"

/* What is received at once at most, unless a message is larger. */
#define STREAM_IN_SIZE 65536u

/* The kernel passes at most this many in one message (SCM_MAX_FD). */
#define STREAM_CONTROL_MAX_FDS 253

/* Received fds, waiting for their message to be complete. */
struct stream_in_fd {
    uint64_t owner;  /* position in the stream of the first byte of the message */
    int fd;          /* -1: could not be received */
    uint32_t serial; /* of the copy that is kept; 0: none is */
};

struct stream_out_fds {
    uint64_t owner;
    int fds[STREAM_MAX_FDS];
    uint32_t serials[STREAM_MAX_FDS]; /* of the copies that are kept */
    unsigned nfds;
};

struct stream {
    int fd;
    size_t max_message;

    /* [in_head, in_tail) is received and not taken; a message begins at in_head. */
    uint8_t *in;
    size_t in_size;
    size_t in_head;
    size_t in_tail;
    uint64_t in_pos; /* position in the stream of in[in_head] */
    unsigned shorts; /* fills in a row that brought one short message: the next may be the same */
    struct stream_in_fd in_fds[STREAM_CONTROL_MAX_FDS + 1];
    unsigned n_in_fds;

    /* [out_head, out_tail) is to be sent; out_cut bytes of a message begun are still to go. */
    uint8_t *out;
    size_t out_size;
    size_t out_head;
    size_t out_tail;
    size_t out_cut;
    uint64_t out_pos; /* position in the stream of out[out_head] */
    struct stream_out_fds out_fds[STREAM_OUT_FDS_MAX];
    unsigned n_out_fds;

    /* What the kernel notes of the calls: in the stream's own memory, or in one that outlives us.
     */
    struct stream_journal own;
    struct stream_journal *journal;
    struct stream_fd_table *fd_table; /* NULL: nothing outlives us */
    struct stream_keeper keeper;

    stream_tap tap; /* NULL: none */
    void *tap_opaque;
    uint64_t in_shown; /* position in the stream up to which the tap was shown what came */

    struct stream_counters counters;
};

/* Begins the note of a call at a position; base: that of the buffer's first byte. */
struct stream_note *stream_next_note(struct stream_notes *notes, uint64_t at, uint64_t base);

/* Keeps the received fds from the nth on, which count when bytes behind position at are received.
 */
void stream_keep_received(struct stream *s, unsigned n, const char *role, uint64_t at);

/* The last n were not received after all. */
void stream_unkeep_received(struct stream *s, unsigned n);

/* Keeps the fds of a message that is queued now; forgets them when it is sent. */
void stream_keep_queued(struct stream *s, struct stream_out_fds *with);
void stream_forget(struct stream *s, uint32_t serial);

/* Closes the fds of the first queued message that has some. */
void stream_drop_queued_fds(struct stream *s);

#endif
