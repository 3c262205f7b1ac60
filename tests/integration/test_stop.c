/* SPDX-License-Identifier: BSD-3-Clause */
/* SIGTERM beside a client: what it has asked is answered, its socket is closed, and soon. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/live_kit.h"
#include "message.h"
#include "stream.h"
#include "suite.h"

/* Small enough to be in the socket's buffer all at once. */
#define RESETS 200

/* Replies of 4 KiB: more of them than a socket's buffer holds. */
#define READS      200
#define READ_BYTES 4096u

/* The server is stopped while the requests and then the signal come, so they meet for certain. */
static void freeze(const struct server *s)
{
    ck_assert_int_eq(kill(s->pid, SIGSTOP), 0);
}

static void terminate_and_thaw(const struct server *s)
{
    ck_assert_int_eq(kill(s->pid, SIGTERM), 0);
    ck_assert_int_eq(kill(s->pid, SIGCONT), 0);
}

/* Nothing comes but the end. */
static void expect_end(int sock)
{
    struct pollfd p = { .fd = sock, .events = POLLIN };
    uint8_t byte;

    ck_assert_int_eq(poll(&p, 1, 2000), 1);
    ck_assert_int_eq(recv(sock, &byte, 1, 0), 0);
}

static void ended_well(const struct server *s, int64_t since)
{
    struct stat st;

    ck_assert_int_eq(server_wait(s), 0);
    ck_assert_int_lt(now_ms() - since, 1000);
    ck_assert_int_ne(stat(s->socket, &st), 0);
    server_remove(s);
}

START_TEST(outstanding_requests_are_answered)
{
    uint8_t wire[16];
    struct vfio_user_header hdr;
    struct server s;
    struct client *c;
    int64_t since;
    int sock;

    server_start(&s, NULL);
    c = server_connect(&s);
    sock = stream_fd(client_stream(c));
    freeze(&s);
    for (uint16_t i = 0; i < RESETS; i++) {
        message_encode_header(wire, i, VFIO_USER_DEVICE_RESET, sizeof(wire), 0, 0);
        ck_assert_int_eq(send(sock, wire, sizeof(wire), MSG_NOSIGNAL), (int)sizeof(wire));
    }
    since = now_ms();
    terminate_and_thaw(&s);
    for (uint16_t i = 0; i < RESETS; i++) {
        ck_assert_uint_eq(receive(sock, wire), 16);
        memcpy(&hdr, wire, sizeof(hdr));
        ck_assert_uint_eq(hdr.id, i);
        ck_assert_uint_eq(hdr.flags & VFIO_USER_ERROR, 0);
    }
    expect_end(sock);
    ended_well(&s, since);
    client_free(c);
}
END_TEST

static void ask_for_reads(int sock)
{
    uint8_t wire[16 + sizeof(struct vfio_user_region_access)];
    const struct vfio_user_region_access access = { .region = 1, .count = READ_BYTES };

    memcpy(wire + 16, &access, sizeof(access));
    for (uint16_t i = 0; i < READS; i++) {
        message_encode_header(wire, i, VFIO_USER_REGION_READ, sizeof(wire), 0, 0);
        ck_assert_int_eq(send(sock, wire, sizeof(wire), MSG_NOSIGNAL), (int)sizeof(wire));
    }
}

START_TEST(a_slow_reader_gets_its_answers)
{
    static uint8_t wire[8192];
    struct server s;
    struct client *c;
    int64_t since;
    int sock;

    server_start(&s, NULL);
    c = server_connect(&s);
    sock = stream_fd(client_stream(c));
    freeze(&s);
    ask_for_reads(sock);
    since = now_ms();
    terminate_and_thaw(&s);
    poll(NULL, 0, 100);
    for (unsigned i = 0; i < READS; i++)
        ck_assert_uint_eq(receive(sock, wire),
                          16 + sizeof(struct vfio_user_region_access) + READ_BYTES);
    expect_end(sock);
    ended_well(&s, since);
    client_free(c);
}
END_TEST

START_TEST(one_that_never_reads_does_not_hold_it)
{
    struct server s;
    struct client *c;
    int64_t since;

    server_start(&s, NULL);
    c = server_connect(&s);
    freeze(&s);
    ask_for_reads(stream_fd(client_stream(c)));
    since = now_ms();
    terminate_and_thaw(&s);
    ended_well(&s, since);
    client_free(c);
}
END_TEST

/* Half a message has no answer. */
START_TEST(half_a_request_does_not_hold_it)
{
    uint8_t wire[16];
    struct server s;
    struct client *c;
    int64_t since;
    int sock;

    server_start(&s, NULL);
    c = server_connect(&s);
    sock = stream_fd(client_stream(c));
    message_encode_header(wire, 1, VFIO_USER_REGION_WRITE, 4096, 0, 0);
    ck_assert_int_eq(send(sock, wire, sizeof(wire), MSG_NOSIGNAL), (int)sizeof(wire));
    since = now_ms();
    ck_assert_int_eq(kill(s.pid, SIGTERM), 0);
    expect_end(sock);
    ended_well(&s, since);
    client_free(c);
}
END_TEST

/* One that sends without pause is cut off where the end began. */
START_TEST(one_that_never_stops_does_not_hold_it)
{
    uint8_t wire[16];
    struct server s;
    struct client *c;
    int64_t since;
    pid_t sender;
    int sock;

    server_start(&s, NULL);
    c = server_connect(&s);
    sock = stream_fd(client_stream(c));
    message_encode_header(wire, 1, VFIO_USER_DEVICE_RESET, sizeof(wire), VFIO_USER_NO_REPLY, 0);
    sender = fork();
    ck_assert_int_ge(sender, 0);
    if (sender == 0) {
        alarm(10);
        while (send(sock, wire, sizeof(wire), MSG_NOSIGNAL) == (ssize_t)sizeof(wire))
            ;
        _exit(0);
    }
    poll(NULL, 0, 50);
    since = now_ms();
    ck_assert_int_eq(kill(s.pid, SIGTERM), 0);
    ended_well(&s, since);
    ck_assert_int_eq(waitpid(sender, NULL, 0), sender);
    client_free(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stop");
    TCase *tcase = tcase_create("stop");

    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, outstanding_requests_are_answered);
    tcase_add_test(tcase, a_slow_reader_gets_its_answers);
    tcase_add_test(tcase, one_that_never_reads_does_not_hold_it);
    tcase_add_test(tcase, half_a_request_does_not_hold_it);
    tcase_add_test(tcase, one_that_never_stops_does_not_hold_it);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
