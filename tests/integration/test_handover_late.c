/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Those who come while a device moves, or were too late to be told that it does: a client, a state
 * to be loaded; and a destination that looks again only when its time is over.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/control_kit.h"
#include "integration/handover_kit.h"
#include "integration/live_kit.h"
#include "message.h"
#include "suite.h"

#define VALUE      0x1122334455667788ull
#define STREAM_MAX (64u << 10)
#define CALLS      500

/* The errno with which a new client's VERSION is answered; 0: it is the client now. */
static uint32_t attach_error(const struct server *s)
{
    struct {
        struct vfio_user_header hdr;
        struct vfio_user_version version;
    } hello = { .hdr = { .command = VFIO_USER_VERSION, .size = sizeof(hello) } };
    uint8_t wire[4096];
    struct vfio_user_header reply;
    int fd = server_connect_raw(s);

    ck_assert_int_eq(send(fd, &hello, sizeof(hello), MSG_NOSIGNAL), sizeof(hello));
    receive(fd, wire);
    memcpy(&reply, wire, sizeof(reply));
    close(fd);
    return reply.error;
}

static uint64_t read_value(struct client *c)
{
    uint64_t value = 0;

    ck_assert_int_eq(client_region_read(c, 1, 0, &value, sizeof(value)), 0);
    return value;
}

/* The device has no client, and is on its way: who comes to the source has to come again. */
START_TEST(a_client_cannot_come_to_a_device_that_moves)
{
    const struct fault fault = { .phase = "state", .signal = SIGSTOP };
    const struct wish wish = { .timeout_ms = 10000, .keep = true };
    struct outcome outcome;
    struct server a;
    struct server b;
    struct varlink *v;

    server_start(&a, NULL);
    server_start_faulty(&b, &fault);
    v = handover_begin(&a, &b, &wish);
    server_wait_fault(&b, &fault);
    ck_assert_uint_eq(attach_error(&a), EBUSY);
    server_wait_log(&a, "turned away: the device is being moved");
    ck_assert_int_eq(kill(b.pid, SIGCONT), 0);
    handover_wait(v, &outcome);
    ck_assert_str_eq(outcome.error, "");
    ck_assert_uint_eq(attach_error(&a), 0);
    ck_assert_uint_eq(attach_error(&b), 0);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

/* And one that does not move after all takes clients as before. */
START_TEST(a_client_comes_after_a_handover_that_failed)
{
    const struct fault fault = { .phase = "state", .signal = SIGKILL };
    const struct wish wish = { .keep = true };
    struct outcome outcome;
    struct server a;
    struct server b;

    server_start(&a, NULL);
    server_start_faulty(&b, &fault);
    handover_do(&a, &b, &wish, &outcome);
    ck_assert_str_eq(outcome.error, "MigrationFailed");
    ck_assert_uint_eq(attach_error(&a), 0);
    server_wait_fault(&b, &fault);
    server_clean(&b);
    server_stop(&a);
}
END_TEST

/* A saved state of the server; returns its length. */
static size_t save(const struct server *s, uint8_t *out)
{
    char command[256];
    size_t len;
    FILE *f;

    snprintf(command, sizeof(command), "\"$VFUCTL\" -S %s -q save -", s->control);
    f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    len = fread(out, 1, STREAM_MAX, f);
    ck_assert_int_eq(pclose(f), 0);
    ck_assert_uint_gt(len, 1000);
    return len;
}

/* Reads replies until none comes for some time. */
static void drain(int fd)
{
    char replies[65536];
    struct pollfd p = { .fd = fd, .events = POLLIN };

    while (poll(&p, 1, 100) == 1 && recv(fd, replies, sizeof(replies), MSG_DONTWAIT) > 0)
        ;
}

/*
 * A Load that was allowed, but whose reply its caller lets wait until the device moves: by then it
 * is not ours to load.
 */
START_TEST(a_load_that_comes_too_late)
{
    static const char get[] = "{\"method\":\"" DEVICE ".GetStatus\"}";
    static const char load[] = "{\"method\":\"" DEVICE ".Load\",\"upgrade\":true}";
    static uint8_t stream[STREAM_MAX];
    const struct fault fault = { .phase = "ready", .signal = SIGSTOP };
    const struct wish wish = { .timeout_ms = 10000, .keep = true };
    const uint64_t value = VALUE;
    struct outcome outcome;
    struct client *c;
    struct server a;
    struct server b;
    struct varlink *v;
    size_t len;
    int fd;

    server_start(&a, NULL);
    len = save(&a, stream);
    server_start_faulty(&b, &fault);
    fd = peer_connect(a.control, 0);
    for (unsigned i = 0; i < CALLS; i++)
        ck_assert_int_eq(send(fd, get, sizeof(get), MSG_NOSIGNAL), sizeof(get));
    ck_assert_int_eq(send(fd, load, sizeof(load), MSG_NOSIGNAL), sizeof(load));
    server_wait_log(&a, ": Load");
    c = server_connect(&a);
    ck_assert_int_eq(client_region_write(c, 1, 0, &value, sizeof(value)), 0);
    v = handover_begin(&a, &b, &wish);
    server_wait_fault(&b, &fault);
    drain(fd);
    (void)send(fd, stream, len, MSG_NOSIGNAL | MSG_DONTWAIT); /* nobody may be there any more */
    shutdown(fd, SHUT_WR);
    drain(fd);
    ck_assert_int_eq(kill(b.pid, SIGCONT), 0);
    handover_wait(v, &outcome);
    ck_assert_uint_eq(read_value(c), VALUE);
    close(fd);
    client_free(c);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

/*
 * The source has died when all was handed over, and the destination comes to see it only after its
 * own time is over: the device is its all the same.
 */
START_TEST(a_destination_that_looks_late)
{
    const struct fault fault = { .phase = "ready", .signal = SIGSTOP };
    const struct wish wish = { .timeout_ms = 200, .keep = true };
    const uint64_t value = VALUE;
    struct client *c;
    struct server a;
    struct server b;
    struct varlink *v;

    server_start_faulty(&a, &fault);
    server_start(&b, NULL);
    c = server_connect(&a);
    ck_assert_int_eq(client_region_write(c, 1, 0, &value, sizeof(value)), 0);
    v = handover_begin(&a, &b, &wish);
    server_wait_fault(&a, &fault);
    ck_assert_int_eq(kill(b.pid, SIGSTOP), 0);
    ck_assert_int_eq(kill(a.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(a.pid, NULL, 0), a.pid);
    poll(NULL, 0, 1000); /* the destination's time is half a second longer than the source's */
    ck_assert_int_eq(kill(b.pid, SIGCONT), 0);
    ck_assert_uint_eq(read_value(c), VALUE);
    ck_assert(server_has_client(&b));
    varlink_free(v);
    client_free(c);
    server_clean(&a);
    server_stop(&b);
}
END_TEST

/* What cannot be spoken to is no destination; it costs no time to find that out. */
START_TEST(connections_that_are_none)
{
    static const char call[] = "{\"method\":\"" DEVICE ".Migrate\",\"more\":true,\"parameters\":"
                               "{\"to\":\"x\",\"connection\":0,\"timeout\":60000}}";
    int fds[] = { eventfd(0, EFD_CLOEXEC), make_memory(4096),
                  socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    struct server a;

    server_start(&a, NULL);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        struct json_object *message = json_tokener_parse(call);
        struct varlink *v = control_open(&a);
        struct json_object *reply;

        ck_assert_int_eq(varlink_send_fds(v, message, &fds[i], 1), 0);
        ck_assert_int_eq(varlink_flush(v), 0);
        do {
            reply = control_next(v);
            ck_assert_ptr_nonnull(reply);
            if (json_object_object_get_ex(reply, "error", NULL))
                break;
            json_object_put(reply);
        } while (true);
        ck_assert_ptr_nonnull(strstr(json_object_get_string(reply), "MigrationFailed"));
        json_object_put(reply);
        json_object_put(message);
        varlink_free(v);
        close(fds[i]);
    }
    server_stop(&a);
}
END_TEST

/*
 * A message of the device's without an answer holds a handover up until it has failed, and no
 * longer: nothing else happens that would wake the source.
 */
START_TEST(an_answer_that_never_comes)
{
    const struct wish wish = { .keep = true };
    struct server from;
    struct server to;
    struct outcome o;
    struct client *c;
    struct pollfd p = { .events = POLLIN };
    const uint32_t command = 1;
    int64_t began;

    server_start(&from, "{\"limits\": {\"client_timeout\": 0.3}}");
    server_start(&to, NULL);
    c = server_connect(&from);
    ck_assert_int_eq(client_dma_map(c, 0x1000, 0x1000, 3, -1, 0), 0);
    set_bus_master(c);
    write_reg(c, REG_DMA_IOVA, 0x1000, 8);
    write_reg(c, REG_DMA_LENGTH, 64, 4);
    ck_assert_int_eq(client_region_post(c, 0, REG_DMA_CONTROL, &command, sizeof(command)), 0);
    p.fd = stream_fd(client_stream(c));
    ck_assert_int_eq(poll(&p, 1, 5000), 1); /* the DMA_READ, which stays there */
    began = now_ms();
    handover_do(&from, &to, &wish, &o);
    ck_assert_msg(o.error[0] == '\0', "%s %s", o.error, o.text);
    ck_assert_int_lt(now_ms() - began, 3000);
    ck_assert(server_log_has(&from, "no reply within 300 ms"));
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0x80000000u + ETIMEDOUT);
    client_free(c);
    server_stop(&from);
    server_stop(&to);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_client_cannot_come_to_a_device_that_moves,
        a_client_comes_after_a_handover_that_failed,
        a_load_that_comes_too_late,
        a_destination_that_looks_late,
        connections_that_are_none,
        an_answer_that_never_comes,
    };
    Suite *suite = suite_create("handover_late");
    TCase *tcase = tcase_create("all");

    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_set_timeout(tcase, 30);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
