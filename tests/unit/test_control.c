/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/control/control.c on a loop of the test's own: a connection that becomes a capture's,
 * events for monitors, and the end. With processes it is tested in tests/integration.
 */
#define _GNU_SOURCE
#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "event.h"
#include "log.h"
#include "unit/methods_kit.h"
#include "varlink.h"

#define CAPTURE "{\"method\":\"" DEVICE ".Capture\",\"upgrade\":true}"
#define MONITOR "{\"method\":\"" DEVICE ".Monitor\",\"more\":true}"
#define QUIT    "{\"method\":\"" DEVICE ".Quit\"}"

struct world {
    struct daemon_parts parts;
    uv_loop_t loop;
    struct control *control;
    struct sockaddr_un addr;
    int captured; /* the socket that a capture has got; -1 */
    int refuse;   /* what capture returns; 0: it begins */
    uint32_t snaplen;
    unsigned quits;
};

/* methods_kit's parts are the first member: what it gives as opaque is the world. */
static int on_capture(void *opaque, int fd, uint32_t snaplen)
{
    struct world *w = opaque;

    w->snaplen = snaplen;
    if (w->refuse != 0) {
        close(fd);
        return w->refuse;
    }
    w->captured = fd;
    return 0;
}

static void on_quit(void *opaque)
{
    ((struct world *)opaque)->quits++;
}

static void world_init(struct world *w)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memset(w, 0, sizeof(*w));
    log_set_level(LOG_LEVEL_ERR);
    parts_init(&w->parts);
    w->parts.control.opaque = w;
    w->parts.control.capture = on_capture;
    w->parts.control.quit = on_quit;
    w->captured = -1;
    w->addr.sun_family = AF_UNIX;
    snprintf(w->addr.sun_path + 1, sizeof(w->addr.sun_path) - 1, "vfio-userd-test-control-%d",
             (int)getpid());
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&w->addr, sizeof(w->addr)), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    ck_assert_int_eq(control_new(&w->loop, fd, &w->parts.control, &w->control), 0);
}

static void world_fini(struct world *w)
{
    control_free(w->control);
    uv_run(&w->loop, UV_RUN_DEFAULT); /* the close callbacks */
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
    if (w->captured >= 0)
        close(w->captured);
    parts_fini(&w->parts);
}

static void turn(struct world *w, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
}

static struct varlink *connect_to(struct world *w)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct varlink *v;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&w->addr, sizeof(w->addr)), 0);
    ck_assert_int_eq(varlink_new(fd, &v), 0);
    return v;
}

static void ask(struct world *w, struct varlink *v, const char *text)
{
    ck_assert_int_eq(varlink_send_text(v, text, strlen(text)), 0);
    ck_assert_int_eq(varlink_flush(v), 0);
    turn(w, 4);
}

/* Fails unless the next message is this; NULL: the connection has been closed. */
static void expect(struct varlink *v, const char *text)
{
    struct json_object *message = NULL;
    int n = varlink_next(v, &message);

    if (n == 0 && varlink_fill(v) > 0)
        n = varlink_next(v, &message);
    if (text == NULL) {
        ck_assert_int_eq(n, 0);
        ck_assert_int_eq(varlink_fill(v), -ENOTCONN);
        return;
    }
    ck_assert_int_eq(n, 1);
    ck_assert_str_eq(json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN), text);
    json_object_put(message);
}

/* The kind of the next event, which there must be; of a static buffer. */
static const char *next_kind(struct varlink *v)
{
    static char kind[64];
    struct json_object *message = NULL;

    if (varlink_next(v, &message) == 0) {
        ck_assert_int_gt(varlink_fill(v), 0);
        ck_assert_int_eq(varlink_next(v, &message), 1);
    }
    snprintf(kind, sizeof(kind), "%s", json_object_get_string(reply_at(message, "event.kind")));
    json_object_put(message);
    return kind;
}

START_TEST(a_connection_becomes_a_captures)
{
    struct world w;
    struct varlink *v;
    char data[16];

    world_init(&w);
    v = connect_to(&w);
    ask(&w, v,
        "{\"method\":\"" DEVICE ".Capture\",\"upgrade\":true,"
        "\"parameters\":{\"snaplen\":96}}");
    ck_assert_int_ge(w.captured, 0);
    ck_assert_uint_eq(w.snaplen, 96);
    ck_assert_int_ne(fcntl(w.captured, F_GETFL) & O_NONBLOCK, 0);
    expect(v, "{\"parameters\":{}}");
    ck_assert_int_eq(send(w.captured, "stream", 6, 0), 6);
    ck_assert_int_eq(recv(varlink_fd(v), data, sizeof(data), 0), 6);
    ck_assert_mem_eq(data, "stream", 6);
    /* What it says now is the capture's to read, and the end of control/ does not end it. */
    ck_assert_int_eq(send(varlink_fd(v), QUIT, sizeof(QUIT), 0), sizeof(QUIT));
    turn(&w, 4);
    ck_assert_uint_eq(w.quits, 0);
    control_finish(w.control);
    ck_assert_int_eq(send(w.captured, "more", 4, 0), 4);
    ck_assert_int_eq(recv(varlink_fd(v), data, sizeof(data), 0), 4);
    varlink_free(v);
    world_fini(&w);
}
END_TEST

START_TEST(a_capture_that_cannot_begin)
{
    struct world w;
    struct varlink *v;

    world_init(&w);
    v = connect_to(&w);
    w.parts.capturing = true;
    ask(&w, v, CAPTURE);
    expect(v, "{\"error\":\"" DEVICE ".Busy\",\"parameters\":{\"reason\":\"a capture is under "
              "way\"}}");
    w.parts.capturing = false;
    w.refuse = -ENOMEM;
    ask(&w, v, CAPTURE);
    expect(v, "{\"parameters\":{}}"); /* it has been said by then: the stream is empty */
    expect(v, NULL);
    varlink_free(v);
    world_fini(&w);
}
END_TEST

/* The replies to what was called before come first. */
START_TEST(a_capture_waits_for_what_is_queued)
{
    struct world w;
    struct varlink *v;
    char discarded[65536];
    ssize_t n;
    size_t received = 0;
    const char *describe = "{\"method\":\"" SERVICE ".GetInterfaceDescription\",\"parameters\":"
                           "{\"interface\":\"" DEVICE "\"}}";

    world_init(&w);
    v = connect_to(&w);
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(varlink_send_text(v, describe, strlen(describe)), 0);
    ask(&w, v, CAPTURE);
    turn(&w, 1000);
    ck_assert_int_eq(w.captured, -1);
    for (int i = 0; i < 1000 && w.captured < 0; i++) {
        while ((n = recv(varlink_fd(v), discarded, sizeof(discarded), MSG_DONTWAIT)) > 0)
            received += (size_t)n;
        turn(&w, 1);
    }
    ck_assert_int_ge(w.captured, 0);
    while ((n = recv(varlink_fd(v), discarded, sizeof(discarded), MSG_DONTWAIT)) > 0)
        received += (size_t)n;
    ck_assert_uint_gt(received, 200 * 4096);
    varlink_free(v);
    world_fini(&w);
}
END_TEST

START_TEST(events_reach_those_who_monitor)
{
    const struct event refused = { .kind = EVENT_CLIENT_REFUSED, .pid = 9, .reason = "x" };
    struct world w;
    struct varlink *monitors[2];
    struct varlink *other;

    world_init(&w);
    control_publish(NULL, &refused);
    control_publish(w.control, &refused); /* nobody is there */
    other = connect_to(&w);
    for (int i = 0; i < 2; i++) {
        monitors[i] = connect_to(&w);
        ask(&w, monitors[i], MONITOR);
        ck_assert_str_eq(next_kind(monitors[i]), "monitoring");
    }
    control_publish(w.control, &refused);
    turn(&w, 2);
    for (int i = 0; i < 2; i++)
        ck_assert_str_eq(next_kind(monitors[i]), "client-refused");
    ck_assert_int_eq(varlink_fill(other), 0);
    varlink_free(monitors[0]);
    control_publish(w.control, &refused); /* to one that is gone, too */
    turn(&w, 4);
    control_publish(w.control, &refused);
    turn(&w, 2);
    ck_assert_str_eq(next_kind(monitors[1]), "client-refused");
    ck_assert_str_eq(next_kind(monitors[1]), "client-refused");
    varlink_free(monitors[1]);
    varlink_free(other);
    world_fini(&w);
}
END_TEST

START_TEST(quit_comes_after_its_reply)
{
    struct world w;
    struct varlink *v;

    world_init(&w);
    v = connect_to(&w);
    ask(&w, v, QUIT);
    ck_assert_uint_eq(w.quits, 1);
    expect(v, "{\"parameters\":{}}");
    varlink_free(v);
    world_fini(&w);
}
END_TEST

START_TEST(the_end_answers_what_was_called)
{
    struct world w;
    struct varlink *v;
    struct json_object *message = NULL;

    world_init(&w);
    v = connect_to(&w);
    turn(&w, 2);
    ck_assert_int_eq(varlink_send_text(v, MONITOR, strlen(MONITOR)), 0);
    ck_assert_int_eq(varlink_flush(v), 0);
    control_finish(w.control);
    ck_assert_int_gt(varlink_fill(v), 0);
    ck_assert_int_eq(varlink_next(v, &message), 1);
    json_object_put(message);
    expect(v, NULL);
    control_finish(w.control);
    control_finish(NULL);
    varlink_free(v);
    world_fini(&w);
}
END_TEST

START_TEST(calls_of_all_have_their_turns)
{
    struct world w;
    struct varlink *greedy;
    struct varlink *modest;

    world_init(&w);
    greedy = connect_to(&w);
    modest = connect_to(&w);
    turn(&w, 2);
    for (int i = 0; i < 5000; i++)
        ck_assert_int_eq(varlink_send_text(greedy, "{\"method\":\"a.b\"}", 16), 0);
    varlink_flush(greedy);
    turn(&w, 1);
    ask(&w, modest, QUIT); /* four turns */
    ck_assert_uint_eq(w.quits, 1);
    ck_assert_uint_lt(w.parts.stats.control.calls, 5000);
    varlink_free(greedy);
    varlink_free(modest);
    world_fini(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_connection_becomes_a_captures,    a_capture_that_cannot_begin,
        a_capture_waits_for_what_is_queued, events_reach_those_who_monitor,
        quit_comes_after_its_reply,         the_end_answers_what_was_called,
        calls_of_all_have_their_turns,
    };

    return fake_run("control", tests, ARRAY_SIZE(tests), NULL, 0);
}
