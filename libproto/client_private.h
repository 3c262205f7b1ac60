/* SPDX-License-Identifier: BSD-3-Clause */
/* What client.c and client_serve.c share: the inside of a client. For nobody else. */
#ifndef VFIO_USERD_CLIENT_PRIVATE_H
#define VFIO_USERD_CLIENT_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "stream.h"

#define CLIENT_MAX_DATA (64u << 20)

struct client {
    struct stream *stream;
    struct stream *twin; /* NULL: none, or the server has closed it */
    bool had_twin;
    struct client_memory memory;
    client_interrupt interrupt;
    void *interrupt_opaque;
    int timeout_ms;
    uint16_t next_id;
    uint64_t fds_sent;
    uint64_t fds_received;
};

/* Sends what is queued on one of the sockets. */
int client_flush(struct stream *s, int64_t deadline);

/*
 * Serves commands of the server until a reply comes: 1 with *m written, which the caller finishes.
 * 0: fd is readable.
 */
int client_next_reply(struct client *c, struct stream_message *m, int fd, int64_t deadline);

#endif
