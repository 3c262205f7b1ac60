/* SPDX-License-Identifier: BSD-3-Clause */
/* What stream.c and stream_rest.c share: the inside of a stream. For nobody else. */
#ifndef VFIO_USERD_STREAM_PRIVATE_H
#define VFIO_USERD_STREAM_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream.h"

/* What is received at once at most, unless a message is larger. */
#define STREAM_IN_SIZE 65536u

/* The kernel passes at most this many in one message (SCM_MAX_FD). */
#define STREAM_CONTROL_MAX_FDS 253

/* Messages with fds that may wait to be sent; the next one has to wait for the socket. */
#define STREAM_OUT_FDS_MAX 64

/* Received fds, waiting for their message to be complete. */
struct stream_in_fd {
    uint64_t owner; /* position in the stream of the first byte of the message */
    int fd;         /* -1: could not be received */
};

struct stream_out_fds {
    uint64_t owner;
    int fds[STREAM_MAX_FDS];
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
    uint64_t in_pos;   /* position in the stream of in[in_head] */
    bool expect_short; /* the last fill brought one short message: the next may be the same */
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

    stream_tap tap; /* NULL: none */
    void *tap_opaque;
    uint64_t in_shown; /* position in the stream up to which the tap was shown what came */

    struct stream_counters counters;
};

#endif
