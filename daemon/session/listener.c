/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accept.h"
#include "log.h"
#include "session.h"

/* Connections at a time: the client, and those on their way to be turned away. */
#define MAX_CONNECTIONS 16

struct listener {
    uv_loop_t *loop;
    struct acceptor *acceptor; /* NULL: started with a connected socket */
    struct device *dev;
    struct listener_host host;
    struct session *sessions[MAX_CONNECTIONS];
    struct session *client;
    bool ending;
};

static bool on_attach(void *opaque, struct session *s)
{
    struct listener *l = opaque;

    if (l->client != NULL)
        return false;
    l->client = s;
    return true;
}

static void on_session_closed(void *opaque, struct session *s)
{
    struct listener *l = opaque;

    if (l->client == s)
        l->client = NULL;
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) {
        if (l->sessions[i] == s)
            l->sessions[i] = NULL;
    }
    if (l->acceptor == NULL && !l->ending)
        l->host.done(l->host.opaque);
}

static int add_connection(struct listener *l, int fd)
{
    const struct session_host host = { .opaque = l,
                                       .attach = on_attach,
                                       .closed = on_session_closed };

    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) {
        if (l->sessions[i] == NULL)
            return session_new(l->loop, fd, l->dev, &host, &l->sessions[i]);
    }
    close(fd);
    return -EBUSY;
}

static void on_connection(void *opaque, int fd)
{
    int err = add_connection(opaque, fd);

    if (err != 0)
        log_warning("session", "connection refused: %s", strerror(-err));
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

void listener_free(struct listener *l)
{
    if (l == NULL)
        return;
    l->ending = true;
    acceptor_free(l->acceptor);
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) {
        if (l->sessions[i] != NULL)
            session_close(l->sessions[i], "vfio-userd is stopping");
    }
    free(l);
}

struct session *listener_client(struct listener *l)
{
    return l->client;
}
