/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What somebody who may connect to the control socket can do with it: never read, connect too
 * often, send what is no call, too large, too deep, broken or endless. Each costs its own
 * connection at most; others are answered, and a guest's round trips go on meanwhile: their times
 * are printed, and none may take a second.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "integration/control_kit.h"
#include "integration/guest_latency.h"
#include "suite.h"

#define GUEST_MS    1000 /* longest round trip of the guest */
#define CONTROL_MS  2000 /* longest call of an honest client */
#define CONNECTIONS 64
#define MIB         (1u << 20)
#define STATUS      "{\"method\":\"" DEVICE ".GetStatus\"}"
#define MONITOR     "{\"method\":\"" DEVICE ".Monitor\",\"more\":true}"

struct scene {
    struct server server;
    struct guest guest;
};

static void scene_begin(struct scene *s)
{
    server_start(&s->server, NULL);
    guest_start(&s->guest, &s->server);
}

/* The daemon answers others, and the guest has not suffered. */
static void scene_end(struct scene *s, const char *what)
{
    ck_assert_int_lt(server_status_call(&s->server), CONTROL_MS);
    guest_stop(&s->guest, what, GUEST_MS);
    server_stop(&s->server);
}

static int connect_raw(const struct server *s)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(addr.sun_path, s->control);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

/*
 * Sends it all, reading nothing, until the daemon closes the connection or takes nothing for five
 * seconds: on a busy machine, with sanitizers, half a second was too little. Returns the bytes
 * sent.
 */
static size_t push(int fd, const char *data, size_t len)
{
    size_t sent = 0;

    while (sent < len) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        ssize_t n = send(fd, data + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0)
            sent += (size_t)n;
        else if (errno != EAGAIN || poll(&p, 1, 5000) == 0)
            break;
    }
    return sent;
}

static bool is_closed(int fd, int ms)
{
    int64_t until = now_ms() + ms;
    char data[65536];

    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int64_t left = until - now_ms();

        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return false;
        if (recv(fd, data, sizeof(data), 0) <= 0)
            return true;
    }
}

/* n times the text with its NUL, to be freed. */
static char *repeat(const char *text, size_t n)
{
    size_t len = strlen(text) + 1;
    char *all = malloc(n * len);

    ck_assert_ptr_nonnull(all);
    for (size_t i = 0; i < n; i++)
        memcpy(all + i * len, text, len);
    return all;
}

START_TEST(test_who_never_reads)
{
    const size_t n = 40000; /* some 25 MiB of replies */
    char *calls = repeat(STATUS, n);
    struct scene s;
    int fd;

    scene_begin(&s);
    fd = connect_raw(&s.server);
    ck_assert_uint_lt(push(fd, calls, n * sizeof(STATUS)), n * sizeof(STATUS));
    ck_assert(is_closed(fd, 5000));
    ck_assert(server_log_has(&s.server, "it does not read its replies"));
    close(fd);
    scene_end(&s, "40,000 calls whose replies nobody reads");
    free(calls);
}
END_TEST

START_TEST(test_all_connections_never_read)
{
    const size_t n = 200;
    char *calls = repeat(STATUS, n);
    int fds[CONNECTIONS];
    struct scene s;

    scene_begin(&s);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        fds[i] = connect_raw(&s.server);
        push(fds[i], calls, n * sizeof(STATUS));
    }
    ck_assert_int_lt(server_status_call(&s.server), CONTROL_MS); /* the 65th */
    for (size_t i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
    scene_end(&s, "64 connections that never read, and one more");
    free(calls);
}
END_TEST

START_TEST(test_monitors_that_never_read)
{
    int fds[CONNECTIONS - 2];
    struct scene s;

    scene_begin(&s);
    for (size_t i = 0; i < CONNECTIONS - 2; i++) {
        fds[i] = connect_raw(&s.server);
        push(fds[i], MONITOR, sizeof(MONITOR));
    }
    for (int i = 0; i < 2000; i++)
        json_object_put(server_call(&s.server, "Reset"));
    for (size_t i = 0; i < CONNECTIONS - 2; i++)
        close(fds[i]);
    scene_end(&s, "2,000 events for 62 monitors that never read");
}
END_TEST

START_TEST(test_too_many_connections)
{
    int fds[CONNECTIONS + 1];
    struct scene s;

    scene_begin(&s);
    for (size_t i = 0; i < CONNECTIONS + 1; i++)
        fds[i] = connect_raw(&s.server);
    ck_assert(is_closed(fds[0], 1000)); /* silent for longest */
    ck_assert_int_lt(server_status_call(&s.server), CONTROL_MS);
    for (size_t i = 0; i < CONNECTIONS + 1; i++)
        close(fds[i]);
    for (int i = 0; i < 3000; i++)
        close(connect_raw(&s.server));
    scene_end(&s, "65 connections, and 3,000 short ones");
}
END_TEST

/* A message of len bytes: before, then filler, then after with its NUL. To be freed. */
static char *make_message(const char *before, const char *filler, const char *after, size_t len)
{
    size_t n_filler = strlen(filler);
    char *message = malloc(len);
    size_t at = strlen(before);

    ck_assert_ptr_nonnull(message);
    memcpy(message, before, at);
    while (at + n_filler + strlen(after) + 1 <= len) {
        memcpy(message + at, filler, n_filler);
        at += n_filler;
    }
    memset(message + at, ' ', len - at);
    strcpy(message + len - strlen(after) - 1, after);
    return message;
}

static const struct {
    const char *what;
    const char *before;
    const char *filler;
    const char *after;
    size_t len;
    bool closes;
} messages[] = {
    { "a message of 2 MiB", "{\"method\":\"", "x", "\"}", 2 * MIB, true },
    { "a message of 1 MiB: a long name", "{\"method\":\"", "x", "\"}", MIB - 16, false },
    { "a message of 1 MiB: escapes", "{\"method\":\"", "\\u0001", "\"}", MIB - 16, false },
    { "a message of 1 MiB: empty arrays", "{\"a\":[[]", ",[]", "]}", MIB - 16, true },
    { "a message of 1 MiB: members", "{\"a\":0", ",\"b\":0", "}", MIB - 16, true },
    { "a message of 1 MiB: a long number", "{\"a\":1", "1", "}", MIB - 16, false },
    { "a message of 1 MiB: spaces", "{", "        ", "\"method\":\"a.b\"}", MIB - 16, false },
    { "JSON 10,000 deep", "{\"parameters\":", "[", "", 10000, true },
    { "objects 10,000 deep", "{\"parameters\":", "{\"a\":", "1", 50000, true },
    { "invalid UTF-8", "{\"method\":\"", "\xff\xfe\x80", "\"}", 200, true },
    { "an overlong sequence", "{\"method\":\"", "\xc0\x80", "\"}", 200, true },
    { "a surrogate", "{\"method\":\"", "\xed\xa0\x80", "\"}", 200, true },
    { "a character cut by the end", "{\"method\":\"", "a", "\xe2\x82\"}", 200, true },
    { "no object", "", "[]", "", 3, true },
    { "an empty message", "", " ", "", 1, true },
    { "two values", "", "{}", "", 5, true },
    { "no JSON at all", "GET / HTTP/1.1\r\n", "Host: x\r\n", "", 100, true },
};

START_TEST(test_bad_messages)
{
    char *message = make_message(messages[_i].before, messages[_i].filler, messages[_i].after,
                                 messages[_i].len);
    struct scene s;
    int fds[8];

    scene_begin(&s);
    for (size_t i = 0; i < 8; i++) {
        fds[i] = connect_raw(&s.server);
        push(fds[i], message, messages[_i].len);
    }
    for (size_t i = 0; i < 8; i++) {
        char reply[1];

        if (messages[_i].closes)
            ck_assert_msg(is_closed(fds[i], 5000), "%s", messages[_i].what);
        else
            ck_assert_int_eq(recv(fds[i], reply, 1, 0), 1);
        close(fds[i]);
    }
    scene_end(&s, messages[_i].what);
    free(message);
}
END_TEST

START_TEST(test_half_messages)
{
    int fds[CONNECTIONS / 2];
    struct scene s;

    scene_begin(&s);
    for (size_t i = 0; i < CONNECTIONS / 2; i++) {
        fds[i] = connect_raw(&s.server);
        push(fds[i], STATUS, sizeof(STATUS) / 2);
    }
    ck_assert_int_lt(server_status_call(&s.server), CONTROL_MS);
    for (size_t i = 0; i < CONNECTIONS / 2; i++) {
        ck_assert(!is_closed(fds[i], 1));
        if (i % 2 == 0) /* the other half, a byte at a time */
            for (size_t k = sizeof(STATUS) / 2; k < sizeof(STATUS); k++)
                push(fds[i], STATUS + k, 1);
    }
    for (size_t i = 0; i < CONNECTIONS / 2; i += 2) {
        char reply[4096];

        ck_assert_int_gt(recv(fds[i], reply, sizeof(reply), 0), 0);
    }
    for (size_t i = 0; i < CONNECTIONS / 2; i++)
        close(fds[i]);
    scene_end(&s, "half messages on 32 connections");
}
END_TEST

/* A reproducible stream of numbers. */
static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Something between noise and a call. Returns its length with the NUL. */
static size_t random_message(uint64_t *state, char *out, size_t size)
{
    static const char *const calls[] = {
        STATUS,
        MONITOR,
        "{\"method\":\"" DEVICE ".TriggerIrq\",\"parameters\":{\"index\":\"msi\",\"vector\":7}}",
        "{\"method\":\"" DEVICE ".Reset\",\"oneway\":true}",
        "{\"method\":\"" DEVICE ".Reload\"}",
        "{\"method\":\"" DEVICE ".Capture\",\"upgrade\":true}",
        "{\"method\":\"" DEVICE ".SetLogLevel\",\"parameters\":{\"level\":\"debug\"}}",
        "{\"method\":\"" SERVICE ".GetInterfaceDescription\",\"parameters\":{\"interface\":"
        "\"" DEVICE "\"}}",
    };
    const char *call = calls[next_random(state) % (sizeof(calls) / sizeof(calls[0]))];
    size_t len = strlen(call) + 1;
    uint32_t kind = next_random(state) % 4;

    if (kind == 0) {
        len = next_random(state) % size + 1;
        for (size_t i = 0; i < len; i++)
            out[i] = (char)next_random(state);
        out[len - 1] = '\0';
        return len;
    }
    memcpy(out, call, len);
    for (uint32_t i = 1; i < kind; i++)
        out[next_random(state) % len] ^= (char)(1u << next_random(state) % 7);
    out[len - 1] = '\0';
    return len;
}

#define RANDOM_MESSAGES 20000

START_TEST(test_random_messages)
{
    uint64_t state = 4;
    unsigned reconnected = 0;
    int fds[8];
    struct scene s;

    scene_begin(&s);
    for (size_t i = 0; i < 8; i++)
        fds[i] = connect_raw(&s.server);
    for (unsigned i = 0; i < RANDOM_MESSAGES; i++) {
        char message[600];
        char replies[65536];
        int *fd = &fds[next_random(&state) % 8];
        size_t len = random_message(&state, message, sizeof(message));

        if (push(*fd, message, len) < len) {
            close(*fd);
            *fd = connect_raw(&s.server);
            reconnected++;
        }
        recv(*fd, replies, sizeof(replies), MSG_DONTWAIT);
    }
    printf("%u connections were closed by random messages\n", reconnected);
    /* Some 300 of them; fewer where the daemon is slow, and many messages go with one connection.
     */
    ck_assert_uint_gt(reconnected, 10);
    for (size_t i = 0; i < 8; i++)
        close(fds[i]);
    scene_end(&s, "20,000 random messages");
}
END_TEST

/* Calls on eight connections, as many as the daemon takes, read as they come. */
START_TEST(test_a_flood_of_calls)
{
    const char *const calls[] = { STATUS, "{\"method\":\"" DEVICE ".GetStats\"}",
                                  "{\"method\":\"" DEVICE ".Reload\"}",
                                  "{\"method\":\"" DEVICE ".Reset\"}" };
    int64_t until;
    char *flood[4];
    int fds[8];
    struct scene s;

    scene_begin(&s);
    for (size_t i = 0; i < 8; i++)
        fds[i] = connect_raw(&s.server);
    for (size_t i = 0; i < 4; i++)
        flood[i] = repeat(calls[i], 100);
    until = now_ms() + 1000;
    for (unsigned i = 0; now_ms() < until; i++) {
        char replies[65536];
        int fd = fds[i % 8];
        size_t len = 100 * (strlen(calls[i % 4]) + 1);

        if (send(fd, flood[i % 4], len, MSG_NOSIGNAL | MSG_DONTWAIT) < (ssize_t)len) {
            close(fd); /* a call was cut */
            fds[i % 8] = connect_raw(&s.server);
        }
        while (recv(fds[i % 8], replies, sizeof(replies), MSG_DONTWAIT) > 0)
            ;
    }
    ck_assert_int_lt(server_status_call(&s.server), CONTROL_MS);
    for (size_t i = 0; i < 8; i++)
        close(fds[i]);
    for (size_t i = 0; i < 4; i++)
        free(flood[i]);
    scene_end(&s, "a second of calls on eight connections");
}
END_TEST

START_TEST(test_nothing_at_all)
{
    struct scene s;

    scene_begin(&s);
    poll(NULL, 0, 300);
    scene_end(&s, "nothing, to compare with");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control_hostile");
    TCase *tcase = tcase_create("control_hostile");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_nothing_at_all);
    tcase_add_test(tcase, test_who_never_reads);
    tcase_add_test(tcase, test_all_connections_never_read);
    tcase_add_test(tcase, test_monitors_that_never_read);
    tcase_add_test(tcase, test_too_many_connections);
    tcase_add_test(tcase, test_half_messages);
    tcase_add_test(tcase, test_random_messages);
    tcase_add_test(tcase, test_a_flood_of_calls);
    tcase_add_loop_test(tcase, test_bad_messages, 0, (int)(sizeof(messages) / sizeof(messages[0])));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
