/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of a session share: its inside. For nobody else. */
#ifndef VFIO_USERD_SESSION_PRIVATE_H
#define VFIO_USERD_SESSION_PRIVATE_H

#include <uv.h>

#include "commands.h"
#include "keep/keeper.h"
#include "log.h"
#include "server_commands.h"
#include "session.h"
#include "snapshot.h"
#include "stream.h"
#include "tap.h"
#include "watch.h"

/* An eventfd that the client signals. */
struct side_fd {
    struct watch *watch;
    int fd; /* a duplicate; -1 */
};

/* The twin socket; its state is in the client_info. */
struct session_twin {
    struct stream *stream; /* NULL, unless it is open */
    struct watch *watch;
    int events; /* it is watched for */
    int err;    /* why it takes nothing any more; 0: it does */
    struct tap tap;
};

struct session {
    uv_loop_t *loop;
    uv_timer_t timer; /* until VERSION has come: its time; then the deadlines of our commands */
    uv_idle_t rest;   /* runs while messages are left that a turn had no time for */
    unsigned handles; /* of these, still to be closed */
    struct watch *socket;
    int events;              /* the socket is watched for */
    struct side_fd unmask;   /* INTx UNMASK */
    struct side_fd doorbell; /* the device's */
    struct session_host host;
    struct device *dev;
    struct stream *stream;
    struct session_twin twin;
    struct client_info info;
    struct device_limits limits; /* what the client was told */
    struct command_context context;
    struct log_limit limit;
    struct server_commands commands;
    char refusal[128]; /* why it may not be the client; "": nothing is against it */
    bool out_of_step;  /* what it sends is no message, and that has been said */
    struct tap tap;
    const char *end_reason; /* why there is no more to read, when that is so */
    unsigned postponed;     /* how often a command got another turn beyond its time */
    bool attached;
    bool closing;
    bool finishing; /* what the client sent is handled now, however long it takes */
    bool in_turn;   /* messages are being handled: what is queued is sent at the end */
    bool stuck;     /* the socket took no more when it was last tried */
    bool left;      /* messages are received and not handled: for want of room, or of time */
    bool ended;     /* nothing more comes from the client: it goes when it has its replies */
    bool frozen;    /* nothing is done for it: another process may */
    bool adopted;   /* from another process, and nobody has been told yet */
    bool kept;      /* its streams are the keeper's */
    bool greets;    /* it has just become the client */
};

/* session_new without a limit for VERSION: that is still to be started. */
int session_make(uv_loop_t *loop, int fd, struct device *dev, const struct session_host *host,
                 struct session **out);

/* Closes the sockets and frees it, in the loop's next turn; nothing is said to anybody. */
void session_discard(struct session *s);

/* Why it may not be the client, of which the first is kept; logged when it is closed for it. */
void session_refuse(struct session *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Queues the reply to a request: an error is its header alone. Returns 0 or -errno. */
int session_send_reply(struct session *s, const struct vfio_user_header *request, int err,
                       const struct reply *reply);

/*
 * The end of a turn: sends what is queued, lets interrupts go on that waited for room, and waits
 * for what comes next. Returns whether the session goes on.
 */
bool session_settle(struct session *s);

/* Waits for what comes next on the sockets, and for the first deadline. */
void session_wait(struct session *s);

/* Watches the eventfd of UNMASK, or of the doorbell, that there is now, and no other; or both. */
void session_watch_unmask(struct session *s);
void session_watch_doorbell(struct session *s);
void session_watch_side_fds(struct session *s);
void session_unwatch_side_fds(struct session *s);

/*
 * Sends what is queued, unless a step is open: then it is sent when that has ended. Returns 0, also
 * when the socket takes no more now, or -errno: it is of no use any more.
 */
int session_flush(struct session *s);

/* Handles one message; returns whether the session goes on. */
bool session_handle_message(struct session *s, struct stream_message *m);

/*
 * Begins the step that this message is, and returns whether it is one. VERSION is none: it changes
 * nothing of the device, and the messages of a client before it may have to be handled meanwhile.
 */
bool session_begin_message(struct session *s, const struct stream_message *m);

/* device_retry_interrupts, as a step. */
void session_retry_interrupts(struct session *s);

/* Its streams and what is known of the client are kept from now on, if there is a keeper. */
void session_keep(struct session *s);

/* What the snapshot is made of besides the sockets. */
void session_describe(const struct session *s, struct session_snapshot *out);

/* The limits that the client was told hold from here on. */
void session_set_limits(struct session *s, const struct device_limits *limits);

/* With more bytes than this waiting for a client to read them, nothing more is done for it. */
size_t session_max_queued(const struct session *s);

/* Monotonic, for the deadlines of our commands. */
uint64_t session_now_ms(void);

#endif
