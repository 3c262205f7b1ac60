/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What others learn of a session: lines in the log, counters for each command with the time its
 * answers took, and events for those who watch. Knows where these go, and not how a session works.
 */
#ifndef VFIO_USERD_OBSERVE_H
#define VFIO_USERD_OBSERVE_H

#include <stdint.h>

#include "client_info.h"
#include "session.h"
#include "vfio_user.h"

/* A client is there, and gone again. */
void observe_attached(const struct session_host *host, const struct client_info *client);
void observe_detached(const struct session_host *host, const struct client_info *client,
                      const char *reason);

/* A client is another process's now; the log hears of that from whoever has moved it. */
void observe_left(const struct session_host *host, const struct client_info *client,
                  const char *reason);

/* A connection was turned away. */
void observe_refused(const struct session_host *host, pid_t pid, const char *reason);

/* What a connection sent is no message. */
void observe_out_of_step(const struct session_host *host, pid_t pid);

/*
 * A request has been handled; err: its outcome. began: uv_hrtime() before that; not looked at for
 * one that has no answer.
 */
void observe_request(const struct session_host *host, const struct vfio_user_header *request,
                     int err, uint64_t began);

#endif
