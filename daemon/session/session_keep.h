/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that is served across a death of this process: what of its session is kept, and how
 * another session goes on with that. See keep/block.h.
 */
#ifndef VFIO_USERD_SESSION_KEEP_H
#define VFIO_USERD_SESSION_KEEP_H

#include <stdbool.h>

#include "keep/block.h"
#include "keep/keeper.h"
#include "session.h"

/* Writes what is known of an attached client that is kept; else nothing. */
void session_collect(const struct session *s, struct block_facts *facts, struct keeper_fds *fds);

/* What another process has left to be sent, of the client's socket and of its twin. */
struct session_unsent {
    struct stream_kept streams[BLOCK_STREAMS];
    /* Of each message with fds, in order: duplicates, which are taken on success. */
    int fds[BLOCK_STREAMS][STREAM_OUT_FDS_MAX][STREAM_MAX_FDS];
};

/*
 * For a session that was adopted and not thawed. Queues what is unsent, and knows the commands
 * whose answers come too late. Returns 0 or -errno.
 */
int session_put_unsent(struct session *s, struct session_unsent *unsent);
void session_put_commands(struct session *s, const struct block_facts *facts);

/*
 * Executes the next message of the client, or of its twin, without sending anything. Returns
 * whether there was one.
 */
bool session_replay(struct session *s, bool twin);

/*
 * The process ends, and another one goes on: handles and answers what has come by now, as far as
 * the client takes answers at once. Nothing is closed.
 */
void session_pause(struct session *s);

#endif
