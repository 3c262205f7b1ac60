/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a handover makes of a peer that does not keep to it: one that calls Receive and sends
 * anything, or that answers Receive with anything. The device stays as and where it was.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "device/device.h"
#include "integration/control_kit.h"
#include "integration/handover_kit.h"
#include "integration/live_kit.h"
#include "migrate/content.h"
#include "migrate/handover_wire.h"
#include "suite.h"

#define ROUNDS 150

/*
 * A source that is none
 */

static int64_t no_time(void *opaque)
{
    (void)opaque;
    return 0;
}

static void no_wake(void *opaque, int64_t deadline)
{
    (void)opaque;
    (void)deadline;
}

/* The default device's BEGIN; made once, which takes a while. */
static int make_begin(uint8_t out[CONTENT_BEGIN_MAX])
{
    static uint8_t begin[CONTENT_BEGIN_MAX];
    static int n;
    const struct device_host host = { .now = no_time, .wake_at = no_wake };
    struct device_description d;
    struct pci_error error;
    struct device *dev;

    if (n == 0) {
        description_default(&d);
        ck_assert_int_eq(device_new(&d, &host, &dev, &error), 0);
        n = content_begin(dev, begin, sizeof(begin));
        device_free(dev);
        description_fini(&d);
    }
    memcpy(out, begin, sizeof(begin));
    return n;
}

/* Receive with that offer; at: a byte of it that is not as it should be, -1: all are. */
static void make_call(char *out, size_t size, int timeout_ms, int at)
{
    uint8_t begin[CONTENT_BEGIN_MAX];
    int n = make_begin(begin);
    size_t len;

    if (at >= 0)
        begin[at % n] ^= 0x55;
    len = (size_t)snprintf(out, size,
                           "{\"method\": \"" DEVICE ".Receive\", \"upgrade\": true, "
                           "\"parameters\": {\"from\": \"garbage\", \"timeout\": %d, \"offer\": \"",
                           timeout_ms);
    for (int i = 0; i < n; i++)
        len += (size_t)snprintf(out + len, size - len, "%02x", begin[i]);
    snprintf(out + len, size - len, "\"}}");
}

/* A connection on which Receive was accepted, as a stream. */
static struct stream *offer(const struct server *s, int timeout_ms)
{
    struct varlink *v = control_open(s);
    struct stream *stream;
    char call[2048];

    make_call(call, sizeof(call), timeout_ms, -1);
    ck_assert_str_eq(control_error(v, call), "");
    ck_assert_int_eq(stream_new(varlink_take_fd(v), HANDOVER_MAX_MESSAGE, &stream), 0);
    return stream;
}

/* Sends what the peer takes, which may have hung up. */
static void send_some(struct stream *s)
{
    for (int i = 0; i < 100 && stream_flush(s) == -EAGAIN; i++)
        poll(NULL, 0, 1);
}

/* The command of the next message; 0: the other end has hung up. */
static uint32_t next_command(struct stream *s)
{
    struct pollfd p = { .fd = stream_fd(s), .events = POLLIN };
    struct stream_message m;
    int n;

    while ((n = stream_next(s, &m)) == 0) {
        if (poll(&p, 1, 5000) != 1)
            return UINT32_MAX;
        if (stream_fill(s) < 0)
            return 0;
    }
    ck_assert_int_eq(n, 1);
    stream_message_fini(s, &m);
    return m.hdr.command;
}

static void wait_free(const struct server *s)
{
    int64_t until = now_ms() + 5000;
    bool busy = true;

    while (busy && now_ms() < until) {
        struct json_object *status = server_status(s);
        struct json_object *migration = json_object_object_get(status, "migration");

        busy = strcmp(json_object_get_string(json_object_object_get(migration, "state")),
                      "running") != 0;
        json_object_put(status);
    }
    ck_assert(!busy);
}

/* The device has a value that it must keep. */
static void mark(const struct server *s, bool check)
{
    struct client *c = server_connect(s);
    uint64_t value = 0x1122334455667788;

    if (!check) {
        ck_assert_int_eq(client_region_write(c, 1, 0x100, &value, 8), 0);
        write_reg(c, REG_TIMER_NSEC, (uint64_t)now_ns() + 3600000 * MS, 8);
    } else {
        value = 0;
        ck_assert_int_eq(client_region_read(c, 1, 0x100, &value, 8), 0);
        ck_assert_uint_eq(value, 0x1122334455667788);
        ck_assert(read_reg(c, REG_TIMER_NSEC, 8) > UINT64_MAX / 2);
    }
    client_free(c);
    while (server_has_client(s))
        poll(NULL, 0, 1);
}

/* Nothing but the source can get at a device that is being received. */
START_TEST(who_is_turned_away_meanwhile)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct json_object *status;
    struct server s;
    struct stream *source;
    struct varlink *v;
    struct client *c;
    char call[2048];

    server_start(&s, NULL);
    mark(&s, false);
    source = offer(&s, 10000);
    version_defaults(&ours);
    ck_assert_int_eq(client_connect(s.socket, &c), 0);
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), -EBUSY);
    client_free(c);
    server_wait_log(&s, "turned away: a device is being received");
    status = server_status(&s);
    ck_assert_str_eq(json_object_get_string(json_object_object_get(
                         json_object_object_get(status, "migration"), "state")),
                     "receiving");
    json_object_put(status);
    v = control_open(&s);
    ck_assert_str_eq(control_error(v, "{\"method\": \"" DEVICE ".Reset\"}"), DEVICE ".Busy");
    ck_assert_str_eq(control_error(v, "{\"method\": \"" DEVICE ".TriggerIrq\"}"), DEVICE ".Busy");
    ck_assert_str_eq(control_error(v, "{\"method\": \"" DEVICE ".Migrate\", \"more\": true, "
                                      "\"parameters\": {\"to\": \"dev1\"}}"),
                     DEVICE ".Busy");
    make_call(call, sizeof(call), 1000, -1);
    ck_assert_str_eq(control_error(v, call), DEVICE ".Busy");
    varlink_free(v);
    stream_free(source);
    wait_free(&s);
    server_wait_log(&s, "migrate: not received from garbage: offer: the source has ended");
    mark(&s, true);
    server_stop(&s);
}
END_TEST

/* Any byte of the offer, the version's among them: another device, or none at all. */
START_TEST(offers_that_are_wrong)
{
    struct server s;
    struct varlink *v;
    char call[2048];
    unsigned incompatible = 0;

    server_start(&s, NULL);
    v = control_open(&s);
    for (int at = 0; at < (int)CONTENT_BEGIN_MAX; at++) {
        const char *error;

        make_call(call, sizeof(call), 1000, at);
        error = control_error(v, call);
        incompatible += strcmp(error, DEVICE ".Incompatible") == 0;
        ck_assert_msg(strcmp(error, DEVICE ".Incompatible") == 0 ||
                          strcmp(error, SERVICE ".InvalidParameter") == 0,
                      "byte %d: %s", at, error);
    }
    ck_assert_uint_gt(incompatible, 20);
    varlink_free(v);
    server_stop(&s);
}
END_TEST

START_TEST(source_that_says_nothing)
{
    struct server s;
    struct stream *source;

    server_start(&s, NULL);
    mark(&s, false);
    source = offer(&s, 200);
    ck_assert_uint_eq(next_command(source), HANDOVER_FAILED);
    ck_assert_uint_eq(next_command(source), 0);
    stream_free(source);
    mark(&s, true);
    server_stop(&s);
}
END_TEST

static void send_garbage(struct stream *s, unsigned *seed)
{
    static const uint16_t strange[] = { 0, 1, 0x4fff, 0x500e, 0xffff };
    uint8_t data[512];
    int fds[3];
    unsigned nfds = (unsigned)rand_r(seed) % 4;
    size_t len = (size_t)rand_r(seed) % sizeof(data);
    uint16_t command = (uint16_t)(HANDOVER_PLAN + rand_r(seed) % 14);

    if (rand_r(seed) % 8 == 0)
        command = strange[rand_r(seed) % 5];
    for (size_t i = 0; i < len; i++)
        data[i] = rand_r(seed) % 4 == 0 ? (uint8_t)rand_r(seed) : 0;
    for (unsigned i = 0; i < nfds; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    handover_send(s, (enum handover_command)command, data, len, fds, nfds);
    for (unsigned i = 0; i < nfds; i++)
        close(fds[i]);
}

/* A right plan, so that more than the first message is looked at. */
static void send_plan(struct stream *s, unsigned *seed)
{
    const struct handover_plan plan = {
        .version = HANDOVER_VERSION,
        .client = (uint32_t)rand_r(seed) % 2,
        .ranges = plan.client != 0 ? (uint32_t)rand_r(seed) % 3 : 0,
        .irq_fds = plan.client != 0 ? (uint32_t)rand_r(seed) % 3 : 0,
        .unread = plan.client != 0 ? (uint32_t)rand_r(seed) % 3 : 0,
    };
    uint8_t fields[HANDOVER_FIELDS_MAX];

    handover_send(s, HANDOVER_PLAN, fields, handover_write_plan(&plan, fields), NULL, 0);
}

START_TEST(source_that_sends_anything)
{
    struct server s;
    unsigned seed = 1;
    unsigned fds;

    server_start(&s, NULL);
    mark(&s, false);
    server_status_call(&s);
    fds = server_fds(&s);
    for (int round = 0; round < ROUNDS; round++) {
        struct stream *source = offer(&s, 1000);

        if (round % 3 > 0)
            send_plan(source, &seed);
        for (int i = 0; i < 6; i++)
            send_garbage(source, &seed);
        if (round % 5 == 0) {
            ck_assert(send(stream_fd(source), "this is no message at all", 25, MSG_NOSIGNAL) != 0);
        } else {
            send_some(source);
        }
        stream_free(source);
        wait_free(&s);
    }
    server_wait_fds(&s, fds);
    mark(&s, true);
    server_stop(&s);
}
END_TEST

/*
 * A destination that is none
 */

enum answer {
    ANSWER_NOTHING, /* hangs up */
    ANSWER_TEXT,
    ANSWER_ERROR,
    ANSWER_END,   /* accepts, and hangs up */
    ANSWER_BYTES, /* accepts, and sends what is no message */
    ANSWER_RUNNING,
    ANSWER_STRANGE,
    ANSWER_FAILED,
    ANSWER_UNWANTED, /* takes all, is READY, and hangs up at COMMIT without reading it */
    N_ANSWERS
};

struct destination {
    struct server place; /* only its control socket */
    int listener;
    enum answer answer;
    pthread_t thread;
};

static void say(int fd, const char *json)
{
    ck_assert_int_eq(send(fd, json, strlen(json) + 1, MSG_NOSIGNAL), (int)strlen(json) + 1);
}

static void be_ready_and_go(struct stream *s)
{
    struct pollfd p = { .fd = stream_fd(s), .events = POLLIN };
    uint32_t command;

    do {
        command = next_command(s);
    } while (command != HANDOVER_END && command != 0);
    handover_send(s, HANDOVER_READY, NULL, 0, NULL, 0);
    stream_flush(s);
    poll(&p, 1, 5000); /* COMMIT is there, and stays unread */
}

static void accept_and(enum answer answer, int fd)
{
    struct stream *s;

    say(fd, "{\"parameters\": {}}");
    stream_new(fd, HANDOVER_MAX_MESSAGE, &s);
    if (answer == ANSWER_BYTES)
        send(fd, "0123456789abcdefghijklmnopqrstuvwxyz", 36, MSG_NOSIGNAL);
    else if (answer == ANSWER_RUNNING)
        handover_send(s, HANDOVER_RUNNING, NULL, 0, NULL, 0);
    else if (answer == ANSWER_STRANGE)
        handover_send(s, HANDOVER_FDS, "12", 2, NULL, 0);
    else if (answer == ANSWER_FAILED)
        handover_send(s, HANDOVER_FAILED, "no, thank you", 13, NULL, 0);
    else if (answer == ANSWER_UNWANTED)
        be_ready_and_go(s);
    stream_flush(s);
    if (answer != ANSWER_UNWANTED && answer != ANSWER_END)
        while (next_command(s) != 0)
            continue;
    stream_free(s);
}

static void *serve(void *arg)
{
    const struct destination *d = arg;
    int fd = accept(d->listener, NULL, NULL);
    char call[4096];

    recv(fd, call, sizeof(call), 0);
    if (d->answer >= ANSWER_END) {
        accept_and(d->answer, fd);
        return NULL;
    }
    if (d->answer == ANSWER_TEXT)
        say(fd, "hello?");
    else if (d->answer == ANSWER_ERROR)
        say(fd, "{\"error\": \"org.example.Strange\", \"parameters\": {\"reason\": 3}}");
    close(fd);
    return NULL;
}

static void destination_start(struct destination *d, enum answer answer)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    *d = (struct destination) { .answer = answer };
    snprintf(d->place.control, sizeof(d->place.control), "/tmp/vfio-userd-test.%d.sock",
             (int)getpid());
    strcpy(addr.sun_path, d->place.control);
    d->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(d->listener, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(listen(d->listener, 1), 0);
    ck_assert_int_eq(pthread_create(&d->thread, NULL, serve, d), 0);
}

static void destination_stop(struct destination *d)
{
    pthread_join(d->thread, NULL);
    close(d->listener);
    unlink(d->place.control);
}

START_TEST(destination_that_answers_anything)
{
    const struct wish wish = { .keep = true, .timeout_ms = 5000 };
    struct destination d;
    struct server a;
    struct outcome o;
    struct load l;

    server_start(&a, NULL);
    load_start(&l, &a);
    destination_start(&d, (enum answer)_i);
    handover_do(&a, &d.place, &wish, &o);
    ck_assert_str_eq(o.error, "MigrationFailed");
    if (_i == ANSWER_FAILED)
        ck_assert_msg(strstr(o.text, "the destination: no, thank you") != NULL, "%s", o.text);
    load_wait(&l, 10);
    destination_stop(&d);
    load_stop(&l);
    server_stop(&a);
}
END_TEST

/*
 * The calls
 */

START_TEST(calls_that_are_wrong)
{
    static const struct {
        const char *call;
        const char *error;
    } rows[] = {
        { "Migrate\", \"parameters\": {\"to\": \"x\"}", SERVICE ".ExpectedMore" },
        { "Migrate\", \"more\": true, \"parameters\": {}", SERVICE ".InvalidParameter" },
        { "Migrate\", \"more\": true, \"parameters\": {\"to\": \"\"}",
          SERVICE ".InvalidParameter" },
        { "Migrate\", \"more\": true, \"parameters\": {\"to\": \"x\", \"timeout\": 0}",
          SERVICE ".InvalidParameter" },
        { "Migrate\", \"more\": true, \"parameters\": {\"to\": \"x\", \"timeout\": 1e3}",
          SERVICE ".InvalidParameter" },
        { "Migrate\", \"more\": true, \"parameters\": {\"to\": \"x\", \"connection\": 4}",
          SERVICE ".InvalidParameter" },
        { "Receive\", \"parameters\": {\"offer\": \"\"}", SERVICE ".ExpectedUpgrade" },
        { "Receive\", \"upgrade\": true, \"parameters\": {\"offer\": \"0\"}",
          SERVICE ".InvalidParameter" },
        { "Receive\", \"upgrade\": true, \"parameters\": {\"offer\": \"zz\"}",
          SERVICE ".InvalidParameter" },
        { "Receive\", \"upgrade\": true, \"parameters\": {\"offer\": \"\"}",
          SERVICE ".InvalidParameter" },
    };
    struct server s;
    struct varlink *v;

    server_start(&s, NULL);
    v = control_open(&s);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256];

        snprintf(text, sizeof(text), "{\"method\": \"" DEVICE ".%s}", rows[i].call);
        ck_assert_msg(strcmp(control_error(v, text), rows[i].error) == 0, "%s", rows[i].call);
    }
    varlink_free(v);
    server_stop(&s);
}
END_TEST

/* The fd that is named has not come: the second reply says so, and the connection goes on. */
START_TEST(connection_that_did_not_come)
{
    struct json_object *reply;
    struct server s;
    struct varlink *v;

    server_start(&s, NULL);
    v = control_open(&s);
    ck_assert_str_eq(control_error(v, "{\"method\": \"" DEVICE ".Migrate\", \"more\": true, "
                                      "\"parameters\": {\"to\": \"x\", \"connection\": 0}}"),
                     "");
    reply = control_next(v);
    ck_assert_str_eq(json_object_get_string(json_object_object_get(reply, "error")),
                     DEVICE ".MigrationFailed");
    json_object_put(reply);
    ck_assert_str_eq(control_error(v, "{\"method\": \"" DEVICE ".GetStatus\"}"), "");
    varlink_free(v);
    server_stop(&s);
}
END_TEST

/* What nobody asked for is closed; too much of it closes the connection, and no other. */
START_TEST(fds_that_nobody_takes)
{
    struct json_object *call = json_tokener_parse("{\"method\": \"" DEVICE ".GetStatus\"}");
    struct json_object *reply;
    struct server s;
    struct varlink *v;
    int fds[VARLINK_MAX_FDS];
    unsigned before;

    server_start(&s, NULL);
    v = control_open(&s);
    ck_assert_str_eq(control_error(v, "{\"method\": \"" DEVICE ".GetStatus\"}"), "");
    before = server_fds(&s);
    for (int i = 0; i < VARLINK_MAX_FDS; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(varlink_send_fds(v, call, fds, VARLINK_MAX_FDS), 0);
        ck_assert_int_eq(varlink_flush(v), 0);
        reply = control_next(v);
        ck_assert_ptr_nonnull(reply);
        json_object_put(reply);
    }
    ck_assert_uint_le(server_fds(&s), before + VARLINK_MAX_FDS);
    for (int i = 0; i < 20; i++) { /* no message ever ends */
        char blank = ' ';
        struct iovec iov = { .iov_base = &blank, .iov_len = 1 };
        union {
            struct cmsghdr align;
            uint8_t space[CMSG_SPACE(sizeof(fds))];
        } control = { .space = { 0 } };
        struct msghdr msg = { .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = control.space,
                              .msg_controllen = sizeof(control.space) };

        *CMSG_FIRSTHDR(&msg) = (struct cmsghdr) { .cmsg_len = CMSG_LEN(sizeof(fds)),
                                                  .cmsg_level = SOL_SOCKET,
                                                  .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, sizeof(fds));
        sendmsg(varlink_fd(v), &msg, MSG_NOSIGNAL);
    }
    ck_assert_ptr_null(control_next(v));
    server_wait_log(&s, "it sends more file descriptors than a call may bring");
    server_wait_fds(&s, before - 1);
    for (int i = 0; i < VARLINK_MAX_FDS; i++)
        close(fds[i]);
    json_object_put(call);
    varlink_free(v);
    server_stop(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("handover_garbage");
    TCase *tcase = tcase_create("garbage");

    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, who_is_turned_away_meanwhile);
    tcase_add_test(tcase, offers_that_are_wrong);
    tcase_add_test(tcase, source_that_says_nothing);
    tcase_add_test(tcase, source_that_sends_anything);
    tcase_add_loop_test(tcase, destination_that_answers_anything, 0, N_ANSWERS);
    tcase_add_test(tcase, calls_that_are_wrong);
    tcase_add_test(tcase, connection_that_did_not_come);
    tcase_add_test(tcase, fds_that_nobody_takes);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
