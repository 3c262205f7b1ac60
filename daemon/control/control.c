/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accept.h"
#include "log.h"
#include "methods.h"
#include "monitor.h"
#include "peer.h"
#include "stats.h"
#include "varlink.h"
#include "watch.h"

#define MAX_CONNECTIONS 64

/* What calls that came before the end may take at the end. */
#define FINISH_US 100000u

struct connection {
    struct control *control;
    struct varlink *varlink;
    struct watch *watch;
    struct peer peer;
    bool ended;     /* the peer sends no more */
    bool monitors;  /* has events, and calls no more */
    uint64_t lost;  /* events that a monitor has not got */
    bool migrates;  /* its Migrate gets more replies */
    bool upgrading; /* when its reply is sent, the socket is the taker's */
    struct method_taker taker;
};

struct control {
    uv_loop_t *loop;
    uv_idle_t turn; /* active while calls wait: one share of them in each turn of the loop */
    struct acceptor *acceptor;
    struct control_host host;
    struct connection *connections[MAX_CONNECTIONS]; /* served longest ago first, no gaps */
    unsigned n_connections;
    unsigned n_monitors;
    struct connection *migrating; /* whose Migrate is under way; NULL: none, or it has gone */
    struct log_limit limit;
    struct log_limit acts; /* for what operators do */
};

/*
 * Connections
 */

static unsigned place_of(const struct connection *c)
{
    const struct control *control = c->control;
    unsigned i = 0;

    while (control->connections[i] != c)
        i++;
    return i;
}

static void remove_at(struct control *control, unsigned i)
{
    control->n_connections--;
    memmove(&control->connections[i], &control->connections[i + 1],
            (control->n_connections - i) * sizeof(control->connections[0]));
}

/* Frees the connection, and its socket unless that has another owner by now. */
static void drop_connection(struct connection *c)
{
    remove_at(c->control, place_of(c));
    c->control->n_monitors -= c->monitors;
    if (c->control->migrating == c)
        c->control->migrating = NULL;
    watch_free(c->watch);
    varlink_free(c->varlink);
    free(c);
}

static void close_connection(struct connection *c, const char *reason)
{
    if (reason != NULL && log_limit_pass(&c->control->limit, "control"))
        log_event(LOG_EVENT_CONTROL_REFUSED,
                  LOG_FIELDS(LOG_NUMBER("PEER_PID", c->peer.pid), LOG_TEXT("REASON", reason)),
                  LOG_LEVEL_WARNING, "control", "connection of pid %d closed: %s", (int)c->peer.pid,
                  reason);
    drop_connection(c);
}

static const char *describe(int err)
{
    switch (err) {
    case -EBADMSG:
        return "a message is not a JSON object, or has too many values";
    case -EMSGSIZE:
        return "a message is longer than 1 MiB";
    case -ENOBUFS:
        return "it does not read its replies";
    case -ETOOMANYREFS:
        return "it sends more file descriptors than a call may bring";
    case -EPIPE:
    case -ECONNRESET:
        return NULL; /* those that go without their reply have broken no rule */
    default:
        return strerror(-err);
    }
}

static bool has_call(const struct connection *c)
{
    return !c->monitors && !c->upgrading && !c->migrates && varlink_pending(c->varlink);
}

/*
 * Sending
 */

/* Makes the taker the socket's owner. c is gone then. */
static void hand_over(struct connection *c)
{
    const struct control_host *host = &c->control->host;
    struct method_taker taker = c->taker;
    pid_t pid = c->peer.pid;
    int fd;
    int err;

    if (varlink_unread(c->varlink) > 0) { /* it would be lost, and the rest be misread */
        close_connection(c, "it did not wait for the reply to a call with \"upgrade\"");
        return;
    }
    watch_free(c->watch);
    c->watch = NULL;
    fd = varlink_take_fd(c->varlink);
    c->varlink = NULL;
    drop_connection(c);
    err = taker.take(host->opaque, fd, taker.argument);
    if (err != 0)
        log_warning("control", "%s for pid %d cannot begin: %s", taker.what, (int)pid,
                    strerror(-err));
}

/* What the connection waits for; c may be gone after this. */
static void settle(struct connection *c)
{
    bool queued = varlink_queued(c->varlink) > 0;

    if (c->upgrading && !queued) {
        hand_over(c);
    } else if (c->monitors && varlink_pending(c->varlink)) {
        close_connection(c, "it calls while it monitors");
    } else if (c->ended && (c->monitors || c->migrates || (!queued && !has_call(c)))) {
        close_connection(c, NULL);
    } else {
        /* While there are calls to answer, more need not be read. */
        bool reads = !c->ended && !c->upgrading && !varlink_pending(c->varlink);

        watch_set(c->watch, (reads ? UV_READABLE : 0) | (queued ? UV_WRITABLE : 0));
    }
}

static void send_lost(struct connection *c)
{
    struct json_object *reply;

    if (c->lost == 0 || varlink_queued(c->varlink) > CONTROL_MONITOR_QUEUE / 2)
        return;
    reply = monitor_lost(c->lost);
    if (reply != NULL && varlink_send(c->varlink, reply) == 0)
        c->lost = 0;
    json_object_put(reply);
}

/* Sends what the socket takes. c may be gone after this. */
static void send_queued(struct connection *c)
{
    int err = varlink_flush(c->varlink);

    if (err != 0 && err != -EAGAIN) {
        close_connection(c, describe(err));
        return;
    }
    send_lost(c);
    settle(c);
}

/*
 * Calls
 */

static void log_denied(const struct connection *c, const struct method *method)
{
    char reason[160];

    if (!log_limit_pass(&c->control->limit, "control"))
        return;
    snprintf(reason, sizeof(reason), "%s is for root and vfio-userd's own user%s", method->name,
             method->right == METHOD_ACT ? " (control.group_may_write is false)" : "");
    log_event(LOG_EVENT_CONTROL_REFUSED,
              LOG_FIELDS(LOG_NUMBER("PEER_PID", c->peer.pid), LOG_TEXT("REASON", reason)),
              LOG_LEVEL_WARNING, "control", "call of pid %d refused: %s", (int)c->peer.pid, reason);
}

/* Counts the call, and says what an operator has done. */
static void record(const struct connection *c, const struct methods_answer *answer)
{
    struct stats *stats = c->control->host.stats;

    stats->control.calls++;
    stats->control.errors += answer->failed;
    if (answer->denied)
        log_denied(c, answer->method);
    else if (!answer->failed && answer->method->right != METHOD_READ)
        log_limited(&c->control->acts, LOG_LEVEL_INFO, "control", "pid %d: %s", (int)c->peer.pid,
                    answer->method->name + sizeof(METHOD_INTERFACE));
}

/* Begins what Migrate has asked for. Replies follow: see control_progress and control_moved. */
static void migrate(struct connection *c, struct json_object *call)
{
    const struct moving_outcome no_fd = {
        .error = "MigrationFailed",
        .phase = "offer",
        .reason = "the call's parameter connection names a file descriptor that did not come"
    };
    struct moving_request request;
    int connection;

    method_migrate_request(method_parameter(call, "parameters"), &request, &connection);
    c->migrates = true;
    c->control->migrating = c;
    if (connection >= 0)
        request.fd = varlink_take_message_fd(c->varlink, (unsigned)connection);
    if (connection >= 0 && request.fd < 0)
        control_moved(c->control, &no_fd);
    else
        moving_migrate(c->control->host.moving, &request);
}

/* What the call wants besides its reply. */
static void follow_up(struct connection *c, const struct methods_answer *answer,
                      struct json_object *call)
{
    switch (answer->then) {
    case METHOD_THEN_MONITOR:
        c->monitors = true;
        c->control->n_monitors++;
        break;
    case METHOD_THEN_HAND_OVER:
        c->upgrading = true;
        c->taker = answer->taker;
        break;
    case METHOD_THEN_MIGRATE:
        migrate(c, call);
        break;
    case METHOD_THEN_NOTHING:
    case METHOD_THEN_QUIT:
        break;
    }
}

static bool is_owner(const struct peer *peer)
{
    return peer->uid_known && (peer->uid == 0 || peer->uid == geteuid());
}

/* Executes the connection's next call. Returns 0 or -errno: it is to be closed. */
static int execute(struct connection *c, bool *quit)
{
    struct methods_answer answer;
    struct json_object *call;
    int err = varlink_next(c->varlink, &call);

    if (err <= 0)
        return err;
    methods_call(&c->control->host, is_owner(&c->peer), call, &answer);
    if (answer.reply == NULL) {
        json_object_put(call);
        return -ENOMEM;
    }
    record(c, &answer);
    err = answer.wanted ? varlink_send(c->varlink, answer.reply) : 0;
    json_object_put(answer.reply);
    if (err == 0)
        follow_up(c, &answer, call);
    json_object_put(call);
    *quit = answer.then == METHOD_THEN_QUIT;
    return err;
}

static void answer_next(struct connection *c)
{
    const struct control_host *host = &c->control->host;
    bool quit = false;
    int err = execute(c, &quit);

    if (err != 0)
        close_connection(c, describe(err));
    else
        send_queued(c);
    if (quit)
        host->quit(host->opaque);
}

/* The connection with a call whose turn it is, which goes behind all others; NULL without one. */
static struct connection *next_caller(struct control *control)
{
    for (unsigned i = 0; i < control->n_connections; i++) {
        struct connection *c = control->connections[i];

        if (!has_call(c))
            continue;
        remove_at(control, i);
        control->connections[control->n_connections++] = c;
        return c;
    }
    return NULL;
}

/* Answers calls, one of each connection after the other, for as long; true when none is left. */
static bool answer_calls(struct control *control, uint64_t us)
{
    uint64_t end = uv_hrtime() + us * 1000;

    do {
        struct connection *c = next_caller(control);

        if (c == NULL)
            return true;
        answer_next(c);
    } while (uv_hrtime() < end);
    return false;
}

static void on_turn(uv_idle_t *turn)
{
    if (answer_calls(turn->data, CONTROL_TURN_US))
        uv_idle_stop(turn);
}

static void on_socket(void *arg, int events)
{
    struct connection *c = arg;
    int n = (events & UV_READABLE) != 0 && !c->ended ? varlink_fill(c->varlink) : 0;

    if (n == -ENOTCONN) {
        c->ended = true; /* but what it sent before is answered */
    } else if (n < 0) {
        close_connection(c, describe(n));
        return;
    }
    if (has_call(c))
        uv_idle_start(&c->control->turn, on_turn);
    send_queued(c);
}

/*
 * Life
 */

static unsigned connections_of(const struct control *control, const struct peer *peer)
{
    unsigned n = 0;

    for (unsigned i = 0; i < control->n_connections; i++) {
        const struct peer *other = &control->connections[i]->peer;

        n += other->uid_known == peer->uid_known && (!peer->uid_known || other->uid == peer->uid);
    }
    return n;
}

/*
 * Whoever keeps connections open must not lock others out: one of the user who has most of them
 * goes, rather one that says nothing, and of these the one that has been silent for longest.
 */
static void make_room(struct control *control)
{
    struct connection *victim = NULL;
    unsigned most = 0;

    for (unsigned i = 0; i < MAX_CONNECTIONS && control->n_connections == MAX_CONNECTIONS; i++) {
        struct connection *c = control->connections[i];
        bool silent = !c->monitors && !has_call(c) && varlink_queued(c->varlink) == 0;
        unsigned weight = 2 * connections_of(control, &c->peer) + silent;

        if (weight > most) {
            most = weight;
            victim = c;
        }
    }
    if (victim != NULL)
        close_connection(victim, "64 are open, and no user has more of them");
}

static int add_connection(struct control *control, int fd)
{
    struct connection *c = calloc(1, sizeof(*c));
    int err;

    if (c == NULL) {
        close(fd);
        return -ENOMEM;
    }
    make_room(control);
    c->control = control;
    peer_credentials(fd, &c->peer);
    err = varlink_new(fd, &c->varlink);
    if (err == 0 && is_owner(&c->peer)) /* who else sends fds has no use for them */
        varlink_allow_fds(c->varlink);
    if (err == 0)
        err = watch_new(control->loop, fd, on_socket, c, &c->watch);
    if (err != 0) {
        varlink_free(c->varlink);
        free(c);
        return err;
    }
    control->connections[control->n_connections++] = c;
    control->host.stats->control.connections++;
    return 0;
}

static void on_connection(void *opaque, int fd)
{
    struct control *control = opaque;
    int err = add_connection(control, fd);

    if (err != 0)
        log_limited(&control->limit, LOG_LEVEL_WARNING, "control", "connection refused: %s",
                    strerror(-err));
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
    uv_idle_init(loop, &c->turn);
    c->turn.data = c;
    *out = c;
    return 0;
}

void control_finish(struct control *c)
{
    if (c == NULL)
        return;
    acceptor_free(c->acceptor);
    c->acceptor = NULL;
    for (unsigned i = c->n_connections; i > 0; i--)
        varlink_fill(c->connections[i - 1]->varlink);
    answer_calls(c, FINISH_US);
    while (c->n_connections > 0) {
        varlink_flush(c->connections[0]->varlink);
        close_connection(c->connections[0], NULL);
    }
}

static void on_turn_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void control_free(struct control *c)
{
    if (c == NULL)
        return;
    control_finish(c);
    uv_close((uv_handle_t *)&c->turn, on_turn_closed);
}

/*
 * Events
 */

static void offer(struct connection *c, const char *text, size_t len)
{
    if (c->lost > 0 || varlink_queued(c->varlink) + len > CONTROL_MONITOR_QUEUE ||
        varlink_send_text(c->varlink, text, len) != 0)
        c->lost++;
    else
        watch_set(c->watch, UV_READABLE | UV_WRITABLE);
}

void control_publish(struct control *c, const struct event *event)
{
    struct json_object *reply;
    const char *text;
    size_t len;

    if (c == NULL || c->n_monitors == 0)
        return;
    reply = monitor_event(event);
    text = json_object_to_json_string_length(reply, JSON_C_TO_STRING_PLAIN, &len);
    for (unsigned i = 0; i < c->n_connections && text != NULL; i++) {
        if (c->connections[i]->monitors)
            offer(c->connections[i], text, len);
    }
    json_object_put(reply);
}

/* A further reply to Migrate. */
static void tell_migrating(struct control *control, struct json_object *reply)
{
    struct connection *c = control->migrating;

    /* One that does not read is not waited for; it is closed when its turn comes. */
    if (reply != NULL && varlink_send(c->varlink, reply) == 0)
        watch_set(c->watch, UV_READABLE | UV_WRITABLE);
    json_object_put(reply);
}

void control_progress(struct control *c, const struct moving_progress *progress)
{
    if (c != NULL && c->migrating != NULL)
        tell_migrating(c, method_migrate_progress(progress));
}

void control_moved(struct control *c, const struct moving_outcome *outcome)
{
    if (c == NULL || c->migrating == NULL)
        return;
    tell_migrating(c, method_migrate_end(outcome));
    c->migrating->migrates = false;
    c->migrating = NULL;
}
