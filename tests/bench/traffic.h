/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's traffic: prepared bytes out, known bytes back, with plain blocking calls on a UNIX
 * stream socket. The same code drives the daemon and its floor, so that a difference between the
 * two is the server's alone. Functions return 0 or -errno; -EPROTO for an answer that is not the
 * expected one.
 */
#ifndef VFIO_USERD_BENCH_TRAFFIC_H
#define VFIO_USERD_BENCH_TRAFFIC_H

#include <stddef.h>
#include <stdint.h>

#include "stats.h"

/* One request and the reply that must come: its header's bytes are compared, its data is not. */
struct exchange {
    const uint8_t *request;
    size_t request_len;
    const uint8_t *reply; /* as it must be */
    size_t reply_len;
    uint8_t *received; /* room for reply_len bytes */
};

/* Messages back to back, of which only the last has a reply. */
struct stream_of_writes {
    const uint8_t *bytes;
    size_t len;
    size_t send_len; /* bytes in each send() */
    const uint8_t *reply;
    size_t reply_len; /* at most TRAFFIC_ACK_MAX */
};

#define TRAFFIC_ACK_MAX 64

int traffic_send(int fd, const void *bytes, size_t len);
int traffic_receive(int fd, void *bytes, size_t len);

int traffic_exchange(int fd, const struct exchange *x);

/* Exchanges for that long; each one's duration is a sample. */
int traffic_round_trips(int fd, const struct exchange *x, int64_t for_ns, struct samples *out);

/* Sends it all and waits for the reply; *ns is how long that took. */
int traffic_write(int fd, const struct stream_of_writes *w, int64_t *ns);

#endif
