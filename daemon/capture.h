/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A running capture: vfio-user messages as a pcapng stream to a socket, that of whoever asked for
 * it. What is captured goes into a bounded buffer, which is sent when it is worth it and without
 * ever waiting; a message that finds no room is dropped and counted. Knows neither sessions nor the
 * control protocol.
 *
 * Each message is a packet of its own, with the time at which it was read, or queued to be sent;
 * messages that one read brought have the same time, in their order. Connections are told apart by
 * the packet's queue number.
 */
#ifndef VFIO_USERD_CAPTURE_H
#define VFIO_USERD_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct capture;

/* At most this much waits to be sent. */
#define CAPTURE_BUFFER (4u << 20)

/* Of a message, whatever is asked for: Wireshark reads no more of a packet. */
#define CAPTURE_SNAPLEN_MAX 262144u

struct capture_host {
    void *opaque;
    /* It is over: nothing may be done with it any more, it frees itself. */
    void (*ended)(void *opaque);
};

struct capture_message {
    uint32_t connection; /* from 1 */
    bool sent;           /* by us */
    bool together;       /* read together with the one before */
    const uint8_t *wire; /* header included */
    size_t len;
    const char *comment; /* NULL: none */
};

/*
 * Begins a capture to the connected socket fd, which it owns from now on, also on failure. It ends
 * when the peer shuts down its sending side, and gets the rest then, or closes the connection. name
 * is the instance's. Returns 0 or -errno.
 */
int capture_new(uv_loop_t *loop, int fd, const char *name, uint32_t snaplen,
                const struct capture_host *host, struct capture **out);

/* Takes one message. host->ended is not called from here. */
void capture_message(struct capture *c, const struct capture_message *m);

/*
 * Ends it: no more messages are taken; what there is, and the last numbers, are sent, which is
 * waited for no longer than ms. host->ended is called. NULL is allowed.
 */
void capture_finish(struct capture *c, int ms, const char *reason);

#endif
