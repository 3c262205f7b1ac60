/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client may do to its sockets costs the daemon no time of its own, and others none. */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/live_kit.h"
#include "integration/raw_peer.h"
#include "message.h"
#include "suite.h"

#define FAILED 0x80000000u
#define PIECE  4096u

static struct raw_peer peer; /* large */

/* The processor time that the server has used, in ms. */
static int64_t used_ms(const struct server *s)
{
    unsigned long user;
    unsigned long system;
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)s->pid);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    /* The name, in parentheses, has no blank. */
    ck_assert_int_eq(fscanf(f,
                            "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu "
                            "%lu",
                            &user, &system),
                     2);
    fclose(f);
    return (int64_t)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

/* Somebody who waits for something uses no time. */
static void expect_rest(const struct server *s)
{
    int64_t before = used_ms(s);

    poll(NULL, 0, 500);
    ck_assert_int_lt(used_ms(s) - before, 150);
}

/* What GetStatus says of it. */
static void expect_twin(const struct server *s, const char *state)
{
    struct json_object *status = server_status(s);
    struct json_object *client = json_object_object_get(status, "client");

    ck_assert_str_eq(json_object_get_string(json_object_object_get(client, "twin_socket")), state);
    json_object_put(status);
}

static void expect_lost(const struct server *s)
{
    int64_t until = now_ms() + 2000;

    while (!server_log_has(s, "the twin socket is closed: by the client")) {
        ck_assert_int_lt(now_ms(), until);
        poll(NULL, 0, 5);
    }
    expect_twin(s, "closed");
    expect_rest(s);
    raw_start_dma(&peer, 1, 0, PIECE);
    ck_assert_uint_eq(raw_dma_outcome(&peer), FAILED + ENOTCONN);
}

/* Nothing more goes there, although it is not closed. */
START_TEST(a_twin_that_is_shut)
{
    struct server s;

    server_start(&s, NULL);
    raw_connect(&peer, &s, RAW_TWIN);
    raw_map(&peer);
    ck_assert_int_eq(shutdown(peer.twin, SHUT_RD), 0);
    raw_start_dma(&peer, 1, 0, PIECE);
    ck_assert_uint_eq(raw_dma_outcome(&peer), FAILED + ENOTCONN);
    expect_lost(&s);
    raw_close(&peer);
    server_stop(&s);
}
END_TEST

/* Sends commands where none belong until no more are taken, and reads no reply. */
static void fill(int twin)
{
    struct vfio_user_header commands[256];
    struct pollfd p = { .fd = twin, .events = POLLOUT };
    size_t sent = 0;

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        commands[i] = (struct vfio_user_header) { .command = VFIO_USER_REGION_READ,
                                                  .size = VFIO_USER_HEADER_SIZE };
    while (poll(&p, 1, 300) == 1) {
        ssize_t n = send(twin, commands, sizeof(commands), MSG_DONTWAIT | MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        ck_assert_uint_lt(sent, 64u << 20);
    }
}

/* There are replies to be sent when it is closed, and as long as they are not read, it is full. */
START_TEST(a_twin_that_is_full)
{
    struct server s;

    server_start(&s, NULL);
    raw_connect(&peer, &s, RAW_TWIN);
    raw_map(&peer);
    expect_twin(&s, "open");
    fill(peer.twin);
    expect_rest(&s);
    ck_assert_int_lt(server_status_call(&s), 1000);
    close(peer.twin);
    peer.twin = -1;
    expect_lost(&s);
    raw_close(&peer);
    server_stop(&s);
}
END_TEST

/*
 * The control socket
 */

#define LARGE    (16u << 20)
#define REQUESTS 8000

struct flood {
    struct client *client;
    pthread_t thread;
};

/* Many in one send: a socket holds more of them. */
static void *send_transfers(void *arg)
{
    static struct {
        struct vfio_user_header hdr;
        struct vfio_user_region_access access;
        uint32_t command;
    } __attribute__((packed)) writes[REQUESTS];
    const struct flood *f = arg;
    const uint8_t *at = (const uint8_t *)writes;
    const uint8_t *end = at + sizeof(writes);
    struct pollfd p = { .fd = stream_fd(client_stream(f->client)), .events = POLLOUT };
    ssize_t n = 0;

    for (unsigned i = 0; i < REQUESTS; i++) {
        writes[i].hdr.command = VFIO_USER_REGION_WRITE;
        writes[i].hdr.size = sizeof(writes[i]);
        writes[i].access.offset = REG_DMA_CONTROL;
        writes[i].access.count = sizeof(writes[i].command);
        writes[i].command = 1;
    }
    /* Ends when the client shuts the socket down. */
    while (n >= 0 && at < end && poll(&p, 1, 20000) == 1) {
        n = send(p.fd, at, (size_t)(end - at), MSG_DONTWAIT | MSG_NOSIGNAL);
        at += n > 0 ? n : 0;
        n = n < 0 && errno == EAGAIN ? 0 : n;
    }
    return NULL;
}

static struct client *connect_with_interrupts(const struct server *s)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *c;

    version_defaults(&ours);
    ours.present = VERSION_MAX_MSG_FDS | VERSION_VM_INTERRUPT;
    ours.max_msg_fds = 16;
    ours.vm_interrupt = true;
    ck_assert_int_eq(client_connect(s->socket, &c), 0);
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), 0);
    ck_assert(theirs.vm_interrupt);
    return c;
}

/* A command that is not answered is no reason to do all that the client asked for at once. */
START_TEST(requests_behind_an_unanswered_command)
{
    const uint64_t past = 1;
    int memory = make_memory(LARGE);
    struct flood flood;
    struct server s;
    int64_t until;
    bool over;

    server_start(&s, "{ \"limits\": { \"client_timeout\": 0.2 }, "
                     "\"bar1\": { \"size\": \"16M\", \"mmap\": [] } }");
    flood.client = connect_with_interrupts(&s);
    ck_assert_int_eq(client_dma_map(flood.client, 0, LARGE, 3, memory, 0), 0);
    set_bus_master(flood.client);
    write_reg(flood.client, REG_DMA_LENGTH, LARGE, 4);
    /* The past: fires at once. Nothing is read any more, and so not answered. */
    ck_assert_int_eq(client_region_post(flood.client, 0, REG_TIMER_SEC, &past, sizeof(past)), 0);
    ck_assert_int_eq(pthread_create(&flood.thread, NULL, send_transfers, &flood), 0);
    until = now_ms() + 8000;
    do {
        over = server_log_has(&s, "VM_INTERRUPT of index 0, vector 0, id 0: no reply within");
        ck_assert_int_lt(server_status_call(&s), 1000);
        ck_assert_int_lt(now_ms(), until);
    } while (!over);
    for (int i = 0; i < 5; i++)
        ck_assert_int_lt(server_status_call(&s), 1000);
    shutdown(stream_fd(client_stream(flood.client)), SHUT_RDWR);
    pthread_join(flood.thread, NULL);
    client_free(flood.client);
    close(memory);
    kill(s.pid, SIGKILL); /* it would still do what it was asked for */
    waitpid(s.pid, NULL, 0);
    server_remove(&s);
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *test)
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("overload");

    add(suite, "shut", a_twin_that_is_shut);
    add(suite, "full", a_twin_that_is_full);
    add(suite, "control", requests_behind_an_unanswered_command);
    return run_suite(suite);
}
