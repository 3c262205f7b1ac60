/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An attached client whose connection goes over to another process. Here it is frozen between two
 * messages, and then either thawed, as if nothing had been, or left to the other process; there it
 * is adopted, frozen at first. Nobody notices but by the pause.
 */
#ifndef VFIO_USERD_FREEZE_H
#define VFIO_USERD_FREEZE_H

#include <stdbool.h>
#include <uv.h>

#include "session.h"
#include "snapshot.h"

/* Whether all replies are sent and no command of ours is without an answer: it can be frozen. */
bool session_is_quiet(const struct session *s);

/* Nothing is read from the client or done for it until it is thawed. The session is quiet. */
void session_freeze(struct session *s);

/*
 * What another process needs to know, and the sockets, which stay the session's as the bytes do:
 * see stream_get_rest. The session is frozen.
 */
int session_snapshot(const struct session *s, struct session_snapshot *out,
                     struct session_sockets *sockets);

/* Goes on, first with what was received before. */
void session_thaw(struct session *s);

/*
 * Gives the client up to the process that has its socket too: it is not shut down, and nothing is
 * dropped of the device. reason is for those who watch. Ends like session_close.
 */
void session_leave(struct session *s, const char *reason);

/*
 * Serves the client that another process had, on its connected sockets; frozen until session_thaw.
 * Fds that are taken are set to -1 in *sockets, also on failure; all of them are on success.
 * Returns 0; -EINVAL for a socket or a snapshot that cannot be; or another -errno.
 */
int session_adopt(uv_loop_t *loop, struct device *dev, const struct session_host *host,
                  const struct session_snapshot *snapshot, struct session_sockets *sockets,
                  struct session **out);

#endif
