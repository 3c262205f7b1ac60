/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connected vfio-user client: its socket, the VERSION handshake, the message loop, and our own
 * commands to it (DMA by message). A connection becomes *the* client with its VERSION; while one
 * is attached, others are answered EBUSY.
 *
 * Runs in the loop's thread and never waits: what the socket does not take is sent when it does.
 *
 * Why nothing can wait for the other in a circle. Each side sends requests and replies, and what a
 * client owes us, the reply to a command of ours, may be behind requests of its own on the same
 * socket. If we stopped reading as soon as it does not take our replies, a client that sends a
 * batch before it reads, or that answers our command with a send that waits, would wait for us to
 * read, and we for it. So
 *
 *  - a full socket does not stop us from reading. Requests are handled in their order and replies
 *    queued, until 4 MiB and one message of the largest size are unread. A client that never leaves
 *    more than that unread is always read from, whatever it sends and in whatever order. One that
 *    does has to read first: no server can keep without end what nobody takes;
 *  - no request waits for a command of ours: DMA goes on behind the reply. So every request has its
 *    reply without the client doing anything but read;
 *  - our commands go into the same queue and never over its bound: -EBUSY is for the device to
 *    handle. At most SERVER_COMMANDS_MAX are unanswered, and each has a deadline: a client that
 *    never answers costs a transfer its time, and the session nothing;
 *  - with a twin socket the two do not depend on each other: what is full, or left unread, on the
 *    one stops nothing on the other.
 */
#ifndef VFIO_USERD_SESSION_H
#define VFIO_USERD_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "client_info.h"
#include "device/device.h"
#include "event.h"
#include "log.h"
#include "stats.h"

struct capture;
struct keeper;
struct migration;
struct session;

/* Whoever keeps the sessions. */
struct session_host {
    void *opaque;
    unsigned version_timeout_ms; /* VERSION must come by then; 0: whenever it likes */
    struct log_limit *limit;     /* for lines that connections cause; outlives them */
    struct stats *stats;         /* requests are counted here; outlives them */
    uint32_t connection;         /* its number, for a capture */
    struct capture *capture;     /* NULL: none runs */
    struct migration *migration; /* outlives them; NULL: the device does not migrate */
    struct keeper *keeper;       /* outlives them; NULL: nothing is kept */
    /* May s be the client now? NULL: it is from here on, until closed; else the reason why not. */
    const char *(*attach)(void *opaque, struct session *s);
    /* s is going and must not be used any more; it frees itself. */
    void (*closed)(void *opaque, struct session *s);
    /* Attached, detached, or turned away. Must not close a session. */
    void (*event)(void *opaque, const struct event *event);
};

/*
 * Serves the connected socket fd, which it owns from now on, also on failure. dev outlives it.
 * Returns 0 or -errno.
 */
int session_new(uv_loop_t *loop, int fd, struct device *dev, const struct session_host *host,
                struct session **out);

/*
 * Sends what can be sent at once and closes. reason goes to the log. host->closed is called before
 * this returns, if it has not been called; memory goes in the loop's next turn.
 */
void session_close(struct session *s, const char *reason);

/*
 * Whether the client has closed its end. Then what it sent before is handled, and the session is
 * closed when this returns true.
 */
bool session_finished(struct session *s);

/*
 * The end has come: answers what the client has sent so far, waiting until deadline (a
 * peer_deadline) for it to take the answers, and closes the session.
 */
void session_finish(struct session *s, int64_t deadline, const char *reason);

void session_info(const struct session *s, struct client_info *out);

/* Shows all messages to a capture from now on; NULL: to none. */
void session_set_capture(struct session *s, struct capture *capture);

/* Sends what waited for the end of a step. */
void session_released(struct session *s);

/* For struct dma_messenger. */
int session_send_dma(struct session *s, uint32_t tag, uint64_t iova, const void *data,
                     uint32_t len);
uint32_t session_max_data(const struct session *s);

/*
 * For struct device_host: sends VM_INTERRUPT. -ENOTSUP: the client takes none (yet); -ENOTCONN: it
 * cannot be reached; -EBUSY: it leaves too many unanswered, and device_retry_interrupts follows
 * when it does no more.
 */
int session_send_interrupt(struct session *s, uint32_t index, uint32_t vector);

#endif
