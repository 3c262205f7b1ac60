/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands of a client, one handler each, in a table by number. A handler gets a request whose
 * lengths have been validated and a reply to write; it returns 0, or a negative errno that becomes
 * the error reply. It knows the device and the session's negotiated facts, not the socket.
 */
#ifndef VFIO_USERD_COMMANDS_H
#define VFIO_USERD_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client_info.h"
#include "device/device.h"
#include "log.h"
#include "message.h"
#include "migrate/migration.h"
#include "stream.h"

/* Most fds of a reply: an eventfd and a shadow for each sub-region. */
#define REPLY_MAX_FDS (2 * DEVICE_IO_FDS_MAX)

/* A reply in the making, in the stream's own buffer. */
struct reply {
    struct stream *stream;
    size_t len;             /* of the payload */
    int fds[REPLY_MAX_FDS]; /* to send along; they stay whose they are */
    unsigned nfds;
};

/* What handlers know of the session. */
struct command_context {
    struct device *dev;
    struct migration *migration; /* NULL: the device does not migrate */
    enum client_profile profile;
    uint32_t max_fds;                 /* that the client takes in one message */
    bool io_fds_said;                 /* why it is given none: said once */
    struct log_limit *limit;          /* this client's lines */
    struct log_limit *listener_limit; /* lines that each client brings once */
    bool shared_seen;                 /* a DMA_MAP came with an fd: this client shares its memory */
    bool by_message_said;             /* why DMA goes through messages: said once */
};

/*
 * One command: m has its fds, those that are taken are set to -1. Returns 0 with *reply written, or
 * a negative errno.
 */
typedef int (*command_fn)(struct command_context *c, const struct message_request *request,
                          struct stream_message *m, struct reply *reply);

/* The reply's payload of len bytes, to be filled in whole; NULL without memory. */
void *reply_payload(struct reply *r, size_t len);

/*
 * Executes any command but VERSION. fds that the command does not take stay in m. Returns 0 with
 * *reply written, or a negative errno: the state is as it was.
 */
int commands_execute(struct command_context *c, const struct message_request *request,
                     struct stream_message *m, struct reply *reply);

#endif
