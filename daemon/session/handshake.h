/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first message of a connection: its VERSION, with which it becomes the client, or the answer
 * that says that it does not. Section "VFIO_USER_VERSION".
 */
#ifndef VFIO_USERD_HANDSHAKE_H
#define VFIO_USERD_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "session.h"
#include "stream.h"

/* Messages of at most this much are taken before a client has said VERSION. */
#define HANDSHAKE_MAX 65536u

/* Handles the first message, whatever it is. Returns whether the session goes on. */
bool handshake_take(struct session *s, const struct stream_message *m);

#endif
