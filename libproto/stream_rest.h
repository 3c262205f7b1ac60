/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a stream has received and nobody has taken: bytes, and the fds that came with them. Another
 * stream, also one of another process, goes on from it where this one stopped. What is to be sent
 * is not part of it: that must have gone out before.
 */
#ifndef VFIO_USERD_STREAM_REST_H
#define VFIO_USERD_STREAM_REST_H

#include <stddef.h>
#include <stdint.h>

#include "stream.h"

/* As many as a stream keeps. */
#define STREAM_REST_FDS 254

struct stream_rest_fd {
    uint32_t owner; /* where its message begins, in bytes from the rest's begin */
    int fd;         /* -1: it could not be received, and its message is to know */
};

struct stream_rest {
    const uint8_t *bytes; /* begins with a message, complete or not */
    size_t len;
    struct stream_rest_fd fds[STREAM_REST_FDS]; /* in the order of their messages */
    unsigned nfds;
};

/* Bytes and fds stay the stream's: valid until its next call. -EBUSY: something waits to be sent.
 */
int stream_get_rest(const struct stream *s, struct stream_rest *out);

/*
 * Gives a stream that has received nothing yet what another one had. The fds are taken, and their
 * slots set to -1, on success only. Returns 0; -EBUSY when it has received something; -EINVAL for
 * more bytes than one of its max_message can have, or fds of no message; -ENOMEM.
 */
int stream_put_rest(struct stream *s, struct stream_rest *rest);

#endif
