/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control protocol's framing, for both sides: JSON objects, each ended by a NUL byte, over a
 * UNIX stream socket. Non-blocking; has no event loop and knows no method.
 */
#ifndef VFIO_USERD_VARLINK_H
#define VFIO_USERD_VARLINK_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

struct varlink;

/* What one side may ask of the other's memory, in bytes. */
#define VARLINK_MAX_MESSAGE (1u << 20)
#define VARLINK_MAX_QUEUE   (4u << 20)

/* Deepest nesting of a message's JSON, and how many arrays, elements and members it may have. */
#define VARLINK_MAX_DEPTH  32
#define VARLINK_MAX_VALUES 8192u

/* What one varlink_fill reads at most, in bytes. */
#define VARLINK_MAX_READ (64u << 10)

/* Fds that come along and are not taken: at most this many at a time. */
#define VARLINK_MAX_FDS 4

/* Makes a connection of the socket fd, which it owns from now on, also on failure. 0 or -errno. */
int varlink_new(int fd, struct varlink **out);

/* Connects to the UNIX socket at path. */
int varlink_connect(const char *path, struct varlink **out);

void varlink_free(struct varlink *v);

int varlink_fd(const struct varlink *v);

/* Bytes that were received and not taken, complete messages or not. */
size_t varlink_unread(const struct varlink *v);

/* Ends a connection whose queue is empty, but not its socket, which is the caller's now. */
int varlink_take_fd(struct varlink *v);

/* From now on fds that come with messages are kept for them; without it the kernel drops them. */
void varlink_allow_fds(struct varlink *v);

/*
 * Reads once. Returns the bytes read, 0 when there is nothing now, -ENOTCONN at the end, -EMSGSIZE
 * when the peer's message is over the limit, -ETOOMANYREFS when it sends more fds than are kept or
 * there are none left for them, or another -errno.
 */
int varlink_fill(struct varlink *v);

/*
 * Takes the next complete message. Returns 1 with *out an object that the caller puts, 0 when none
 * is complete, -EBADMSG when it is not a JSON object in UTF-8, or has more values than it may.
 */
int varlink_next(struct varlink *v, struct json_object **out);

/*
 * Takes fd i of those that came with the last message of varlink_next, which closes what nobody
 * took of those before. The caller owns it; -1 when there is none (any more).
 */
int varlink_take_message_fd(struct varlink *v, unsigned i);

/* Queues a message. The object stays the caller's. -ENOBUFS when the peer does not read. */
int varlink_send(struct varlink *v, struct json_object *message);

/*
 * The same with up to VARLINK_MAX_FDS fds, which are duplicated. -EBUSY while another message with
 * fds waits to be sent.
 */
int varlink_send_fds(struct varlink *v, struct json_object *message, const int *fds, unsigned nfds);

/* varlink_send of a message that is text already, of len bytes without its NUL. */
int varlink_send_text(struct varlink *v, const char *text, size_t len);

/* Sends what is queued: 0 all, -EAGAIN not all, or another -errno. */
int varlink_flush(struct varlink *v);

size_t varlink_queued(const struct varlink *v);

/* Whether a complete message waits to be taken. */
bool varlink_pending(struct varlink *v);

/*
 * For a client whose call had "upgrade" and was answered: reads what is no message any more, what
 * came behind the reply first. Returns the bytes read, 0 when there is nothing now, -ENOTCONN at
 * the end, or another -errno.
 */
int varlink_read_raw(struct varlink *v, void *data, size_t size);

/*
 * For a client: sends one call and waits for its reply, at most ms. Returns 0 with *out the whole
 * reply message, which the caller puts; -ETIMEDOUT and the errors above.
 */
int varlink_call(struct varlink *v, const char *method, struct json_object *parameters, int ms,
                 struct json_object **out);

#endif
