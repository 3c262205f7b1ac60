/* SPDX-License-Identifier: BSD-3-Clause */
/* What session.c and freeze.c share: the inside of a session. For nobody else. */
#ifndef VFIO_USERD_SESSION_PRIVATE_H
#define VFIO_USERD_SESSION_PRIVATE_H

#include <uv.h>

#include "commands.h"
#include "dma_messages.h"
#include "log.h"
#include "session.h"
#include "stream.h"
#include "tap.h"
#include "watch.h"

/* An eventfd that the client signals. */
struct side_fd {
    struct watch *watch;
    int fd; /* a duplicate; -1 */
};

struct session {
    uv_loop_t *loop;
    uv_timer_t version; /* runs until VERSION has come */
    struct watch *socket;
    struct side_fd unmask;   /* INTx UNMASK */
    struct side_fd doorbell; /* the device's */
    struct session_host host;
    struct device *dev;
    struct stream *stream;
    struct client_info info;
    struct device_limits limits; /* what the client was told */
    struct command_context context;
    struct log_limit limit;
    struct dma_messages dma;
    char refusal[128]; /* why it may not be the client; "": nothing is against it */
    bool out_of_step;  /* what it sends is no message, and that has been said */
    struct tap tap;
    const char *end_reason; /* why there is no more to read, when that is so */
    bool attached;
    bool closing;
    bool finishing; /* the client is gone: what it sent is handled now, however long it takes */
    bool in_turn;   /* messages are being handled: what is queued is sent at the end */
    bool blocked;   /* the socket takes no more: nothing is read until it does */
    bool frozen;    /* nothing is done for it: another process may */
    bool adopted;   /* from another process, and nobody has been told yet */
};

/* session_new without a limit for VERSION: that is still to be started. */
int session_make(uv_loop_t *loop, int fd, struct device *dev, const struct session_host *host,
                 struct session **out);

/* Closes the socket and frees it, in the loop's next turn; nothing is said to anybody. */
void session_discard(struct session *s);

/* Watches the eventfds of UNMASK and of the doorbell that there are now, and no others. */
void session_watch_side_fds(struct session *s);
void session_unwatch_side_fds(struct session *s);

/* The limits that the client was told hold from here on. */
void session_set_limits(struct session *s, const struct device_limits *limits);

#endif
