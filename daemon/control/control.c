/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accept.h"
#include "log.h"
#include "methods.h"
#include "peer.h"
#include "varlink.h"
#include "watch.h"

#define MAX_CONNECTIONS 64

/* Calls of one connection that are executed before the guest gets its turn again. */
#define CALLS_PER_TURN 8

struct connection {
    struct control *control;
    struct varlink *varlink;
    struct watch *watch;
    pid_t pid;
    bool ended; /* the peer sends no more */
};

struct control {
    uv_loop_t *loop;
    struct acceptor *acceptor;
    struct control_host host;
    struct connection *connections[MAX_CONNECTIONS]; /* the oldest first, no gaps */
    unsigned n_connections;
    struct log_limit limit;
};

static void close_connection(struct connection *c, const char *reason)
{
    struct control *control = c->control;

    if (reason != NULL && log_limit_pass(&control->limit, "control"))
        log_event(LOG_EVENT_CONTROL_REFUSED,
                  LOG_FIELDS(LOG_NUMBER("PEER_PID", c->pid), LOG_TEXT("REASON", reason)),
                  LOG_LEVEL_WARNING, "control", "connection of pid %d closed: %s", (int)c->pid,
                  reason);
    for (unsigned i = 0; i < control->n_connections; i++) {
        if (control->connections[i] != c)
            continue;
        control->n_connections--;
        memmove(&control->connections[i], &control->connections[i + 1],
                (control->n_connections - i) * sizeof(control->connections[0]));
        break;
    }
    watch_free(c->watch);
    varlink_free(c->varlink);
    free(c);
}

static bool wants_no_reply(struct json_object *call)
{
    struct json_object *oneway;

    return json_object_object_get_ex(call, "oneway", &oneway) && json_object_get_boolean(oneway);
}

/* Returns 0 or -errno: the connection is to be closed. */
static int answer(struct connection *c, struct json_object *call)
{
    struct json_object *reply = methods_call(&c->control->host, call);
    int err = 0;

    if (reply == NULL)
        return -ENOMEM;
    if (!wants_no_reply(call))
        err = varlink_send(c->varlink, reply);
    json_object_put(reply);
    return err;
}

/* Executes what has been received, up to a turn's share. Returns 0 or -errno. */
static int handle_calls(struct connection *c)
{
    struct json_object *call;
    int err = 0;
    int n = 0;

    for (int i = 0; err == 0 && i < CALLS_PER_TURN; i++) {
        n = varlink_next(c->varlink, &call);
        if (n <= 0)
            break;
        err = answer(c, call);
        json_object_put(call);
    }
    return err != 0 ? err : n < 0 ? n : 0;
}

static const char *describe(int err)
{
    switch (err) {
    case -EBADMSG:
        return "a message is not a JSON object";
    case -EMSGSIZE:
        return "a message is longer than 1 MiB";
    case -ENOBUFS:
        return "it does not read its replies";
    default:
        return strerror(-err);
    }
}

static void on_socket(void *arg, int events)
{
    struct connection *c = arg;
    int n = (events & UV_READABLE) != 0 ? varlink_fill(c->varlink) : 0;
    int err;

    int wanted;

    if (n == -ENOTCONN)
        c->ended = true; /* but what it sent before is answered */
    err = n < 0 && n != -ENOTCONN ? n : handle_calls(c);
    if (err == 0)
        err = varlink_flush(c->varlink);
    if (err != 0 && err != -EAGAIN) {
        /* Those that go without their reply have broken no rule. */
        close_connection(c, err == -EPIPE || err == -ECONNRESET ? NULL : describe(err));
        return;
    }
    /* For calls that are left for the next turn, a writable socket calls us again at once. */
    wanted = err == -EAGAIN || varlink_pending(c->varlink) ? UV_WRITABLE : 0;
    if (c->ended && wanted == 0)
        close_connection(c, NULL);
    else
        watch_set(c->watch, c->ended ? wanted : UV_READABLE | wanted);
}

/* Those that keep a connection open and say nothing must not lock the operator out. */
static void make_room(struct control *control)
{
    for (unsigned i = 0; control->n_connections == MAX_CONNECTIONS && i < MAX_CONNECTIONS; i++) {
        struct connection *c = control->connections[i];

        if (!varlink_pending(c->varlink) && varlink_queued(c->varlink) == 0)
            close_connection(c, "64 are open, and this one has been silent for longest");
    }
}

static int add_connection(struct control *control, int fd)
{
    struct connection *c = calloc(1, sizeof(*c));
    struct peer peer;
    int err;

    make_room(control);
    if (c == NULL || control->n_connections == MAX_CONNECTIONS) {
        err = c == NULL ? -ENOMEM : -EUSERS;
        free(c);
        close(fd);
        return err;
    }
    peer_credentials(fd, &peer);
    c->control = control;
    c->pid = peer.pid;
    err = varlink_new(fd, &c->varlink);
    if (err == 0)
        err = watch_new(control->loop, fd, on_socket, c, &c->watch);
    if (err != 0) {
        varlink_free(c->varlink);
        free(c);
        return err;
    }
    control->connections[control->n_connections++] = c;
    return 0;
}

static void on_connection(void *opaque, int fd)
{
    struct control *control = opaque;
    int err = add_connection(control, fd);

    if (err != 0)
        log_limited(&control->limit, LOG_LEVEL_WARNING, "control", "connection refused: %s",
                    err == -EUSERS ? "64 are open" : strerror(-err));
}

int control_new(uv_loop_t *loop, int fd, const struct control_host *host, struct control **out)
{
    struct control *c = calloc(1, sizeof(*c));
    int err;

    if (c == NULL) {
        close(fd);
        return -ENOMEM;
    }
    c->loop = loop;
    c->host = *host;
    err = acceptor_new(loop, fd, "control", on_connection, c, &c->acceptor);
    if (err != 0) {
        free(c);
        return err;
    }
    *out = c;
    return 0;
}

void control_finish(struct control *c)
{
    if (c == NULL)
        return;
    acceptor_free(c->acceptor);
    c->acceptor = NULL;
    while (c->n_connections > 0) {
        struct connection *connection = c->connections[0];

        if (varlink_fill(connection->varlink) >= 0)
            handle_calls(connection);
        varlink_flush(connection->varlink);
        close_connection(connection, NULL);
    }
}

void control_free(struct control *c)
{
    control_finish(c);
    free(c);
}
