/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/varlink.c: framing, limits, and a client's call. */
#define _GNU_SOURCE
#include "suite.h"
#include "varlink.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct pair {
    struct varlink *v;
    int peer;
};

static void pair_init(struct pair *p)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(varlink_new(fds[0], &p->v), 0);
    p->peer = fds[1];
}

static void pair_fini(struct pair *p)
{
    varlink_free(p->v);
    close(p->peer);
}

static void put(struct pair *p, const void *data, size_t len)
{
    ck_assert_int_eq(send(p->peer, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Reads until a message is complete. Returns what varlink_next or varlink_fill said. */
static int receive(struct varlink *v, struct json_object **out)
{
    for (;;) {
        int n = varlink_next(v, out);

        if (n != 0)
            return n;
        n = varlink_fill(v);
        if (n <= 0)
            return n;
    }
}

static void expect(struct varlink *v, const char *text)
{
    struct json_object *message = NULL;

    ck_assert_int_eq(receive(v, &message), 1);
    ck_assert_str_eq(json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN), text);
    json_object_put(message);
}

static void expect_nothing(struct varlink *v)
{
    struct json_object *message = NULL;

    ck_assert_int_eq(receive(v, &message), 0);
    ck_assert(!varlink_pending(v));
}

START_TEST(test_nothing)
{
    struct json_object *message = NULL;
    struct varlink *v = NULL;
    struct pair p;

    pair_init(&p);
    ck_assert(!varlink_pending(p.v));
    ck_assert_int_eq(varlink_next(p.v, &message), 0);
    ck_assert_int_eq(varlink_fill(p.v), 0);
    ck_assert_int_eq(varlink_flush(p.v), 0);
    ck_assert_uint_eq(varlink_queued(p.v), 0);
    pair_fini(&p);
    varlink_free(NULL);
    ck_assert_int_eq(varlink_new(-1, &v), -EBADF);
    ck_assert_int_eq(varlink_connect("/nonexistent/socket", &v), -ENOENT);
    ck_assert_ptr_null(v);
}
END_TEST

START_TEST(test_halves)
{
    static const char text[] = "{\"a\":[1,2,{\"b\":\"c\"}]}";

    for (size_t cut = 1; cut < sizeof(text); cut++) {
        struct pair p;

        pair_init(&p);
        put(&p, text, cut);
        expect_nothing(p.v);
        put(&p, text + cut, sizeof(text) - cut);
        ck_assert_int_gt(varlink_fill(p.v), 0);
        ck_assert(varlink_pending(p.v));
        ck_assert(varlink_pending(p.v));
        expect(p.v, text);
        expect_nothing(p.v);
        pair_fini(&p);
    }
}
END_TEST

START_TEST(test_many_in_one)
{
    static const char text[] = "{\"a\":1}\0{}\0 {\"b\":null} \0{\"c\":\"d\"}\0{\"half\":";
    struct pair p;

    pair_init(&p);
    put(&p, text, sizeof(text) - 1);
    expect(p.v, "{\"a\":1}");
    ck_assert(varlink_pending(p.v));
    expect(p.v, "{}");
    expect(p.v, "{\"b\":null}");
    expect(p.v, "{\"c\":\"d\"}");
    expect_nothing(p.v);
    put(&p, "2}", 3);
    expect(p.v, "{\"half\":2}");
    pair_fini(&p);
}
END_TEST

/* Each is refused, and the message behind it is not lost. */
static const struct bad {
    const char *text;
    size_t len;
} bads[] = {
#define BAD(text)          \
    {                      \
        text, sizeof(text) \
    }
    BAD(""),
    BAD(" "),
    BAD("[]"),
    BAD("[{}]"),
    BAD("1"),
    BAD("true"),
    BAD("null"),
    BAD("\"{}\""),
    BAD("{"),
    BAD("}"),
    BAD("{\"a\"}"),
    BAD("{\"a\":}"),
    BAD("{\"a\":1,}"),
    BAD("{} {}"),
    BAD("{}x"),
    BAD("{\"a\":\"\xff\"}"),
    BAD("{\"\x80\":1}"),
    BAD("{\"a\":\"\xe2\x82\"}"),
    BAD("{\"a\":\"\xc0\x80\"}"),
    BAD("{\"a\":\"\xe0\x9f\xbf\"}"),
    BAD("{\"a\":\"\xed\xa0\x80\"}"),
    BAD("{\"a\":\"\xf0\x8f\xbf\xbf\"}"),
    BAD("{\"a\":\"\xf4\x90\x80\x80\"}"),
    BAD("{\"a\":\"\xf5\x80\x80\x80\"}"),
};

START_TEST(test_bad)
{
    struct json_object *message = NULL;
    struct pair p;

    pair_init(&p);
    put(&p, bads[_i].text, bads[_i].len);
    put(&p, "{\"next\":1}", 11);
    ck_assert_int_eq(receive(p.v, &message), -EBADMSG);
    ck_assert_ptr_null(message);
    expect(p.v, "{\"next\":1}");
    expect_nothing(p.v);
    pair_fini(&p);
}
END_TEST

/* n objects, one in the other. */
static size_t nested(char *text, unsigned n)
{
    char *at = text;

    for (unsigned i = 1; i < n; i++)
        at = stpcpy(at, "{\"a\":");
    at = stpcpy(at, "{}");
    memset(at, '}', n - 1);
    at[n - 1] = '\0';
    return (size_t)(at - text) + n;
}

START_TEST(test_utf8)
{
    static const char text[] = "{\"a\":\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80"
                               "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"}";
    struct pair p;

    pair_init(&p);
    put(&p, text, sizeof(text));
    expect(p.v, text);
    pair_fini(&p);
}
END_TEST

/* {"a":[0,0,…]} with n values in it. */
static int receive_values(unsigned n)
{
    static char text[4 * VARLINK_MAX_VALUES];
    struct json_object *message = NULL;
    size_t len = (size_t)sprintf(text, "{\"a,[{\\\",\":[0");
    struct pair p;
    int result;

    for (unsigned i = 1; i < n; i++)
        len += (size_t)sprintf(text + len, ",0");
    len += (size_t)sprintf(text + len, "]}") + 1;
    pair_init(&p);
    put(&p, text, len);
    result = receive(p.v, &message);
    json_object_put(message);
    pair_fini(&p);
    return result;
}

START_TEST(test_values)
{
    ck_assert_int_eq(receive_values(1), 1);
    ck_assert_int_eq(receive_values(VARLINK_MAX_VALUES - 1), 1);
    ck_assert_int_eq(receive_values(VARLINK_MAX_VALUES), -EBADMSG);
}
END_TEST

START_TEST(test_text_and_socket)
{
    struct pair p;
    char data[16];

    pair_init(&p);
    ck_assert_int_eq(varlink_send_text(p.v, "{}x", 2), 0);
    ck_assert_int_eq(varlink_flush(p.v), 0);
    ck_assert_int_eq(recv(p.peer, data, sizeof(data), 0), 3);
    ck_assert_mem_eq(data, "{}", 3);
    put(&p, "rest", 4);
    ck_assert_int_eq(varlink_fill(p.v), 4);
    close(p.peer);
    p.peer = varlink_take_fd(p.v);
    ck_assert_int_eq(recv(p.peer, data, sizeof(data), 0), 0); /* open, and at its end */
    close(p.peer);
}
END_TEST

START_TEST(test_depth)
{
    static const unsigned depths[] = { 1, VARLINK_MAX_DEPTH, VARLINK_MAX_DEPTH + 1, 20000 };
    char *text = malloc(20000 * 7);

    for (unsigned i = 0; i < COUNT(depths); i++) {
        struct json_object *message = NULL;
        size_t len = nested(text, depths[i]);
        int expected = depths[i] <= VARLINK_MAX_DEPTH ? 1 : -EBADMSG;
        struct pair p;

        pair_init(&p);
        put(&p, text, len);
        ck_assert_int_eq(receive(p.v, &message), expected);
        json_object_put(message);
        put(&p, "{}", 3);
        expect(p.v, "{}");
        pair_fini(&p);
    }
    free(text);
}
END_TEST

/* An object whose JSON has len bytes. */
static char *long_object(size_t len)
{
    char *text = malloc(len + 1);

    memset(text, 'x', len);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + len - 2, "\"}", 3);
    return text;
}

/* Sends len bytes while reading. Returns 1 when a message came, or the error. */
static int exchange(struct pair *p, const char *text, size_t len)
{
    struct json_object *message = NULL;
    size_t sent = 0;

    for (;;) {
        int n = receive(p->v, &message);

        json_object_put(message);
        if (n != 0)
            return n;
        if (sent < len) {
            ssize_t put = send(p->peer, text + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

            ck_assert_int_gt(put, 0);
            sent += (size_t)put;
        }
    }
}

static const struct long_row {
    size_t len;
    bool nul;
    int result;
} long_rows[] = {
    { 4096, true, 1 },
    { 65536, true, 1 },
    { VARLINK_MAX_MESSAGE - 1, true, 1 },
    { VARLINK_MAX_MESSAGE + 1, true, -EMSGSIZE },
    { VARLINK_MAX_MESSAGE + 100000, true, -EMSGSIZE },
    { 3 * VARLINK_MAX_MESSAGE, true, -EMSGSIZE },
    { 2 * VARLINK_MAX_MESSAGE, false, -EMSGSIZE },
};

START_TEST(test_long)
{
    const struct long_row *row = &long_rows[_i];
    char *text = long_object(row->len);
    struct pair p;

    pair_init(&p);
    ck_assert_int_eq(exchange(&p, text, row->len + row->nul), row->result);
    pair_fini(&p);
    free(text);
}
END_TEST

START_TEST(test_end)
{
    struct json_object *message = NULL;
    struct pair p;

    pair_init(&p);
    put(&p, "{}\0{\"a\"", 7);
    ck_assert_int_eq(shutdown(p.peer, SHUT_WR), 0);
    expect(p.v, "{}");
    ck_assert_int_eq(receive(p.v, &message), -ENOTCONN);
    ck_assert_ptr_null(message);
    pair_fini(&p);
}
END_TEST

/* Whole messages arrive, in order, at a peer that reads late. */
START_TEST(test_send)
{
    struct json_object *message = json_object_new_object();
    char buffer[65536];
    size_t total = 0, got = 0;
    unsigned ends = 0;
    struct pair p;

    pair_init(&p);
    json_object_object_add(message, "text", json_object_new_string("\"\\/\n\u00e9"));
    for (unsigned i = 0; i < 20000; i++) {
        json_object_object_add(message, "n", json_object_new_int((int)i));
        ck_assert_int_eq(varlink_send(p.v, message), 0);
    }
    total = varlink_queued(p.v);
    ck_assert_int_eq(varlink_flush(p.v), -EAGAIN);
    ck_assert_uint_lt(varlink_queued(p.v), total);
    while (got < total) {
        ssize_t n = recv(p.peer, buffer, sizeof(buffer), 0);

        ck_assert_int_gt(n, 0);
        for (ssize_t i = 0; i < n; i++)
            ends += buffer[i] == '\0';
        got += (size_t)n;
        (void)varlink_flush(p.v);
    }
    ck_assert_uint_eq(ends, 20000);
    ck_assert_uint_eq(varlink_queued(p.v), 0);
    ck_assert_int_eq(varlink_flush(p.v), 0);
    ck_assert_uint_eq(json_object_object_length(message), 2);
    json_object_put(message);
    pair_fini(&p);
}
END_TEST

START_TEST(test_round_trip)
{
    struct json_object *message = json_object_new_object();
    struct pair p;

    pair_init(&p);
    ck_assert_int_eq(varlink_send(p.v, message), 0);
    json_object_object_add(message, "a\"b", json_object_new_string("\x01\xc3\xa9\n"));
    ck_assert_int_eq(varlink_send(p.v, message), 0);
    ck_assert_int_eq(varlink_flush(p.v), 0);
    varlink_free(p.v);
    ck_assert_int_eq(varlink_new(p.peer, &p.v), 0);
    expect(p.v, "{}");
    expect(p.v, json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN));
    json_object_put(message);
    varlink_free(p.v);
}
END_TEST

START_TEST(test_queue_limit)
{
    struct json_object *message = json_object_new_object();
    char *text = long_object(100000);
    size_t queued;
    struct pair p;
    int err;

    pair_init(&p);
    json_object_object_add(message, "text", json_object_new_string(text));
    do {
        queued = varlink_queued(p.v);
        err = varlink_send(p.v, message);
    } while (err == 0);
    ck_assert_int_eq(err, -ENOBUFS);
    ck_assert_uint_eq(varlink_queued(p.v), queued);
    ck_assert_uint_le(queued, VARLINK_MAX_QUEUE);
    ck_assert_uint_gt(queued, VARLINK_MAX_QUEUE - 200000);
    ck_assert_int_eq(varlink_flush(p.v), -EAGAIN);
    ck_assert_int_eq(varlink_send(p.v, message), 0);
    json_object_put(message);
    free(text);
    pair_fini(&p);
}
END_TEST

START_TEST(test_peer_gone)
{
    struct json_object *message = json_object_new_object();
    struct pair p;

    pair_init(&p);
    ck_assert_int_eq(shutdown(p.peer, SHUT_RD), 0);
    ck_assert_int_eq(varlink_send(p.v, message), 0);
    ck_assert_int_eq(varlink_flush(p.v), -EPIPE);
    json_object_put(message);
    pair_fini(&p);
}
END_TEST

/*
 * Calls
 */

/* The peer, in a child: reads one call, checks it and sends len bytes of reply in two pieces. */
static pid_t answer(struct pair *p, const char *call, const char *reply, size_t len)
{
    pid_t child = fork();
    char got[200] = { 0 };

    ck_assert_int_ge(child, 0);
    if (child > 0)
        return child;
    if (recv(p->peer, got, sizeof(got) - 1, 0) != (ssize_t)strlen(call) + 1 ||
        strcmp(got, call) != 0)
        _exit(1);
    if (len > 1) {
        ssize_t n = send(p->peer, reply, len / 2, 0);

        usleep(10000);
        _exit(send(p->peer, reply + n, len - (size_t)n, 0) > 0 ? 0 : 2);
    }
    shutdown(p->peer, SHUT_RDWR);
    _exit(0);
}

static const struct call_row {
    const char *reply;
    size_t len;
    int err;
} call_rows[] = {
    { "{\"parameters\":{\"x\":1}}", 23, 0 },
    { "{\"error\":\"a.b.C\",\"parameters\":{}}", 34, 0 },
    { "[]", 3, -EBADMSG },
    { "{\"\xff\":1}", 8, -EBADMSG },
    { "", 0, -ENOTCONN },
};

START_TEST(test_call)
{
    const struct call_row *row = &call_rows[_i];
    struct json_object *parameters = json_object_new_object();
    struct json_object *out = NULL;
    struct pair p;
    pid_t child;
    int status;

    pair_init(&p);
    json_object_object_add(parameters, "n", json_object_new_int(7));
    child = answer(&p, "{\"method\":\"a.b.C\",\"parameters\":{\"n\":7}}", row->reply, row->len);
    ck_assert_int_eq(varlink_call(p.v, "a.b.C", parameters, 1500, &out), row->err);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    if (row->err == 0)
        ck_assert_str_eq(json_object_to_json_string_ext(out, JSON_C_TO_STRING_PLAIN), row->reply);
    else
        ck_assert_ptr_null(out);
    json_object_put(out);
    json_object_put(parameters);
    pair_fini(&p);
}
END_TEST

START_TEST(test_call_without_parameters)
{
    struct json_object *out = NULL;
    struct pair p;
    pid_t child;

    pair_init(&p);
    child = answer(&p, "{\"method\":\"a.b.C\"}", "{}", 3);
    ck_assert_int_eq(varlink_call(p.v, "a.b.C", NULL, 1500, &out), 0);
    waitpid(child, NULL, 0);
    json_object_put(out);
    pair_fini(&p);
}
END_TEST

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* No answer, half an answer, and a peer that does not even read. */
START_TEST(test_call_timeout)
{
    struct json_object *parameters = json_object_new_object();
    char *text = long_object(1000000);
    struct json_object *out = NULL;
    int64_t begin = now_ms();
    struct pair p;

    pair_init(&p);
    json_object_object_add(parameters, "text", json_object_new_string(text));
    ck_assert_int_eq(varlink_call(p.v, "a.b.C", NULL, 40, &out), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - begin, 40);
    put(&p, "{\"half\":", 8);
    ck_assert_int_eq(varlink_call(p.v, "a.b.C", NULL, 40, &out), -ETIMEDOUT);
    ck_assert_int_eq(varlink_call(p.v, "a.b.C", parameters, 40, &out), -ETIMEDOUT);
    ck_assert_int_lt(now_ms() - begin, 1500);
    ck_assert_ptr_null(out);
    json_object_put(parameters);
    free(text);
    pair_fini(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("varlink");
    TCase *tc = tcase_create("varlink");

    tcase_add_test(tc, test_nothing);
    tcase_add_test(tc, test_halves);
    tcase_add_test(tc, test_many_in_one);
    tcase_add_loop_test(tc, test_bad, 0, COUNT(bads));
    tcase_add_test(tc, test_depth);
    tcase_add_test(tc, test_utf8);
    tcase_add_test(tc, test_values);
    tcase_add_test(tc, test_text_and_socket);
    tcase_add_loop_test(tc, test_long, 0, COUNT(long_rows));
    tcase_add_test(tc, test_end);
    tcase_add_test(tc, test_send);
    tcase_add_test(tc, test_round_trip);
    tcase_add_test(tc, test_queue_limit);
    tcase_add_test(tc, test_peer_gone);
    tcase_add_loop_test(tc, test_call, 0, COUNT(call_rows));
    tcase_add_test(tc, test_call_without_parameters);
    tcase_add_test(tc, test_call_timeout);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
