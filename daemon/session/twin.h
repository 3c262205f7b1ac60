/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The twin socket: a second connection to the same client, made for it when its VERSION asks for
 * one, on which nothing goes but our own commands and their replies. Section "VFIO_USER_VERSION",
 * twin_socket.
 *
 * It is the client's to close. Then, and when what comes on it is no message, our commands have no
 * way any more, and all that wait or are still to come fail with ENOTCONN; the client's own
 * requests go on as if nothing had been.
 */
#ifndef VFIO_USERD_TWIN_H
#define VFIO_USERD_TWIN_H

#include <stdbool.h>

#include "session.h"
#include "stream_rest.h"

/* Makes one. *theirs is the client's end, to be sent to it and closed. Returns 0 or -errno. */
int twin_open(struct session *s, int *theirs);

/*
 * Goes on with the one that another process had: fd, which is owned from now on, also on failure.
 * Returns 0; -EINVAL when that is no such socket; or another -errno.
 */
int twin_adopt(struct session *s, int fd, struct stream_rest *rest);

/*
 * Sends what the socket takes. That it is dead is only noted: whoever asked for the sending may be
 * in the middle of something, and our commands fail in the next twin_settle.
 */
void twin_flush(struct session *s);

/* Sends what the socket takes; when it is dead, that is the end of it. */
void twin_settle(struct session *s);

/* Waits for what comes next on it, or for nothing while the session is frozen. */
void twin_wait(struct session *s);

/* Handles what has come on it. */
void twin_read(struct session *s);

/* Handles one message of it. */
void twin_handle_message(struct session *s, const struct stream_message *m);

/* Closes it, with the session; nobody is told. */
void twin_free(struct session *s);

#endif
