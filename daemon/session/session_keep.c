/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "session_keep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "freeze.h"
#include "log.h"
#include "message.h"
#include "session_private.h"
#include "twin.h"

/* Of a message that is not executed any more, this many bytes are logged. */
#define SHOWN_BYTES 64

/*
 * Steps
 */

/* Whether the message reads or writes a region of a device that runs: registers change, no facts.
 */
static bool is_access(const struct session *s, const struct stream_message *m)
{
    return (m->hdr.command == VFIO_USER_REGION_READ || m->hdr.command == VFIO_USER_REGION_WRITE) &&
           (m->hdr.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_COMMAND && s->kept &&
           m->hdr.size >= VFIO_USER_HEADER_SIZE + sizeof(struct vfio_user_region_access) &&
           device_running(s->dev);
}

/* And whether these are the registers of BAR0, or the bytes of BAR1. */
static bool is_narrow(const struct stream_message *m)
{
    struct vfio_user_region_access access;

    memcpy(&access, m->payload, sizeof(access));
    return access.region <= VFIO_PCI_BAR1_REGION_INDEX;
}

bool session_begin_message(struct session *s, const struct stream_message *m)
{
    struct keeper *keeper = s->host.keeper;
    bool access;

    if (keeper == NULL || !s->attached)
        return false;
    access = is_access(s, m);
    if (access && is_narrow(m)) {
        keeper_begin_narrow(keeper, KEEPER_MESSAGE);
        return true;
    }
    keeper_begin(keeper, s->kept ? KEEPER_MESSAGE : KEEPER_OTHER);
    if (!access)
        keeper_touch(keeper);
    return true;
}

void session_retry_interrupts(struct session *s)
{
    keeper_begin(s->host.keeper, KEEPER_RETRY);
    device_retry_interrupts(s->dev);
    keeper_touch(s->host.keeper);
    keeper_end(s->host.keeper);
}

void session_keep(struct session *s)
{
    struct keeper *keeper = s->host.keeper;
    int err;

    if (keeper == NULL || !s->attached || s->closing)
        return;
    keeper_begin(keeper, KEEPER_OTHER);
    err = keeper_stream(keeper, 0, s->stream);
    if (err == 0 && s->twin.stream != NULL)
        err = keeper_stream(keeper, 1, s->twin.stream);
    s->kept = true; /* or is not tried again */
    if (err != 0)
        log_warning("session", "pid %d: would be lost in a crash: %s", (int)s->info.pid,
                    strerror(-err));
    keeper_end(keeper);
}

void session_released(struct session *s)
{
    if (s->closing || s->in_turn)
        return;
    session_flush(s);
    twin_flush(s);
    session_wait(s);
}

/*
 * What is kept
 */

static void collect_commands(const struct server_commands *c, struct block_facts *facts)
{
    for (unsigned i = 0; i < SERVER_COMMANDS_LATE; i++) {
        if (c->late[i].used)
            facts->commands[facts->n_commands++] =
                (struct block_command) { .id = c->late[i].id, .command = c->late[i].command };
    }
    for (unsigned i = 0; i < SERVER_COMMANDS_MAX; i++) {
        if (c->sent[i].used)
            facts->commands[facts->n_commands++] =
                (struct block_command) { .id = c->sent[i].id, .command = c->sent[i].command };
    }
}

void session_collect(const struct session *s, struct block_facts *facts, struct keeper_fds *fds)
{
    if (!s->attached || !s->kept || s->stream == NULL)
        return;
    facts->attached = 1;
    session_describe(s, &facts->session);
    collect_commands(&s->commands, facts);
    fds->streams[0] = stream_fd(s->stream);
    if (s->twin.stream != NULL)
        fds->streams[1] = stream_fd(s->twin.stream);
}

/*
 * Going on
 */

static int put_stream(struct stream *stream, const struct stream_kept *kept,
                      int fds[STREAM_OUT_FDS_MAX][STREAM_MAX_FDS])
{
    int err = stream_put_unsent(stream, kept->out, kept->out_len, kept->out_cut);

    for (unsigned i = 0; err == 0 && i < kept->n_out_fds; i++) {
        err = stream_put_unsent_fds(stream, kept->out_fds[i].owner, fds[i], kept->out_fds[i].nfds);
        for (unsigned j = 0; err == 0 && j < kept->out_fds[i].nfds; j++)
            fds[i][j] = -1;
    }
    return err;
}

int session_put_unsent(struct session *s, struct session_unsent *unsent)
{
    int err = put_stream(s->stream, &unsent->streams[0], unsent->fds[0]);

    if (err == 0 && s->twin.stream != NULL)
        err = put_stream(s->twin.stream, &unsent->streams[1], unsent->fds[1]);
    keeper_touch(s->host.keeper);
    return err;
}

void session_put_commands(struct session *s, const struct block_facts *facts)
{
    for (uint32_t i = 0; i < facts->n_commands && i < BLOCK_COMMANDS; i++)
        server_commands_put_late(&s->commands, session_now_ms(), facts->commands[i].id,
                                 facts->commands[i].command);
}

/* A message that has killed twice: it is answered, and not executed. */
static void say_deadly(const struct session *s, const struct stream_message *m)
{
    size_t len = m->hdr.size < SHOWN_BYTES ? m->hdr.size : SHOWN_BYTES;
    const uint8_t *wire = m->payload - VFIO_USER_HEADER_SIZE;
    char hex[3 * SHOWN_BYTES + 1];

    for (size_t i = 0; i < len; i++)
        snprintf(hex + 3 * i, 4, " %02x", wire[i]);
    log_err("session",
            "pid %d: %s, id %u, has ended this daemon %u times: it is not executed, and answered "
            "with EIO. Its first %zu of %u bytes:%s",
            (int)s->info.pid, message_command_name(m->hdr.command), m->hdr.id,
            keeper_deadly(s->host.keeper), len, m->hdr.size, hex);
}

static bool is_command(const struct stream_message *m)
{
    return (m->hdr.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_COMMAND;
}

bool session_replay(struct session *s, bool twin)
{
    struct stream *stream = twin ? s->twin.stream : s->stream;
    struct stream_message m;

    if (stream == NULL || stream_next(stream, &m) != 1)
        return false;
    s->in_turn = true;
    if (keeper_deadly(s->host.keeper) > 0)
        say_deadly(s, &m);
    if (twin && keeper_deadly(s->host.keeper) == 0)
        twin_handle_message(s, &m);
    else if (!twin && (keeper_deadly(s->host.keeper) == 0 || is_command(&m)))
        session_handle_message(s, &m);
    stream_message_fini(twin ? s->twin.stream : s->stream, &m);
    keeper_touch(s->host.keeper);
    s->in_turn = false;
    return true;
}
