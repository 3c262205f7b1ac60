/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accept.h"
#include "freeze.h"
#include "log.h"
#include "peer.h"
#include "session.h"

/* Connections at a time: the client, and those on their way to be turned away. */
#define MAX_CONNECTIONS 16

/* A connection that has not said VERSION is not kept longer. */
#define VERSION_TIMEOUT_MS 5000

#define STOPPING "vfio-userd is stopping"

struct listener {
    uv_loop_t *loop;
    struct acceptor *acceptor; /* NULL: started with a connected socket */
    struct device *dev;
    struct listener_host host;
    struct session *sessions[MAX_CONNECTIONS]; /* the oldest first, no gaps */
    unsigned n_sessions;
    struct session *client;
    struct capture *capture; /* NULL: none runs */
    uint32_t connections;    /* since the start */
    const char *reserved;    /* why nobody may become the client; NULL: anybody may */
    struct log_limit limit;
    bool ending;
};

bool listener_is_taken(struct listener *l)
{
    /* A VMM that restarts may be back before its old connection's end has been read. */
    return l->client != NULL && !session_finished(l->client);
}

static const char *on_attach(void *opaque, struct session *s)
{
    struct listener *l = opaque;

    if (l->reserved != NULL)
        return l->reserved;
    if (listener_is_taken(l))
        return "another client is attached";
    l->client = s;
    return NULL;
}

static void on_session_closed(void *opaque, struct session *s)
{
    struct listener *l = opaque;
    unsigned i = 0;

    if (l->client == s)
        l->client = NULL;
    while (i < l->n_sessions && l->sessions[i] != s)
        i++;
    if (i == l->n_sessions)
        return; /* one that could not be adopted */
    l->n_sessions--;
    memmove(&l->sessions[i], &l->sessions[i + 1], (l->n_sessions - i) * sizeof(l->sessions[0]));
    if (l->acceptor == NULL && !l->ending)
        l->host.done(l->host.opaque);
}

static void on_event(void *opaque, const struct event *event)
{
    const struct listener *l = opaque;

    l->host.event(l->host.opaque, event);
}

/* Connections that say nothing must not keep others out: the oldest of them makes room. */
static void make_room(struct listener *l)
{
    unsigned oldest = l->sessions[0] == l->client ? 1 : 0;

    if (l->n_sessions == MAX_CONNECTIONS)
        session_close(l->sessions[oldest], "it has not said VERSION, and others wait");
}

static struct session_host host_of(struct listener *l)
{
    return (struct session_host) {
        .opaque = l,
        /* The only connection that there will ever be has all the time it wants. */
        .version_timeout_ms = l->acceptor != NULL ? VERSION_TIMEOUT_MS : 0,
        .limit = &l->limit,
        .stats = l->host.stats,
        .connection = ++l->connections,
        .capture = l->capture,
        .migration = l->host.migration,
        .keeper = l->host.keeper,
        .attach = on_attach,
        .closed = on_session_closed,
        .event = on_event,
    };
}

static int add_connection(struct listener *l, int fd)
{
    const struct session_host host = host_of(l);
    struct session *s;
    int err;

    make_room(l);
    err = session_new(l->loop, fd, l->dev, &host, &s);
    if (err == 0)
        l->sessions[l->n_sessions++] = s;
    return err;
}

void listener_reserve(struct listener *l, const char *reason)
{
    l->reserved = reason;
}

int listener_adopt(struct listener *l, const struct session_snapshot *snapshot,
                   struct session_sockets *sockets, struct session **out)
{
    const struct session_host host = host_of(l);
    int err;

    make_room(l);
    err = session_adopt(l->loop, l->dev, &host, snapshot, sockets, out);
    if (err != 0)
        return err;
    l->sessions[l->n_sessions++] = *out;
    l->client = *out;
    return 0;
}

static void on_connection(void *opaque, int fd)
{
    struct listener *l = opaque;
    int err = add_connection(l, fd);

    if (err != 0)
        log_limited(&l->limit, LOG_LEVEL_WARNING, "session", "connection refused: %s",
                    strerror(-err));
}

int listener_new(uv_loop_t *loop, int fd, struct device *dev, const struct listener_host *host,
                 struct listener **out)
{
    struct listener *l = calloc(1, sizeof(*l));
    int listening = 0;
    socklen_t len = sizeof(listening);
    int err = -ENOMEM;

    if (l == NULL)
        goto fail;
    l->loop = loop;
    l->dev = dev;
    l->host = *host;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0) {
        err = -errno;
        goto fail;
    }
    if (listening)
        err = acceptor_new(loop, fd, "session", on_connection, l, &l->acceptor);
    else
        err = add_connection(l, fd);
    if (err != 0) {
        free(l);
        return err;
    }
    *out = l;
    return 0;
fail:
    free(l);
    close(fd);
    return err;
}

void listener_finish(struct listener *l, int ms)
{
    l->ending = true;
    acceptor_free(l->acceptor);
    l->acceptor = NULL;
    if (l->client != NULL)
        session_finish(l->client, peer_deadline(ms), STOPPING);
    while (l->n_sessions > 0)
        session_close(l->sessions[0], STOPPING);
}

void listener_leave(struct listener *l)
{
    l->ending = true;
    if (l->client != NULL)
        session_leave(l->client, STOPPING);
}

void listener_free(struct listener *l)
{
    if (l == NULL)
        return;
    listener_finish(l, 0);
    free(l);
}

void listener_set_capture(struct listener *l, struct capture *capture)
{
    l->capture = capture;
    for (unsigned i = 0; i < l->n_sessions; i++)
        session_set_capture(l->sessions[i], capture);
}

struct session *listener_client(struct listener *l)
{
    return l->client;
}
