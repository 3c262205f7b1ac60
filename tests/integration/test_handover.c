/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A running device moves to another daemon while its client, which never rests, stays connected.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <json-c/json.h>
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
#include "suite.h"

#define HANDOVERS 200

/* GetStatus: migration.NAME, "" for null; of a static buffer. */
static const char *migration_member(const struct server *s, const char *name)
{
    static char text[128];
    struct json_object *status = server_status(s);
    const char *value = json_object_get_string(
        json_object_object_get(json_object_object_get(status, "migration"), name));

    snprintf(text, sizeof(text), "%s", value != NULL ? value : "");
    json_object_put(status);
    return text;
}

/* The source's end, by itself and with 0. */
static void expect_gone(struct server *s)
{
    ck_assert_int_eq(server_wait(s), 0);
    server_remove(s);
}

START_TEST(device_moves_with_its_client)
{
    struct server a;
    struct server b;
    struct load l;
    char text[160];

    server_start(&a, NULL);
    server_start(&b, NULL);
    load_start(&l, &a);
    load_wait(&l, 5);
    handover_succeeds(&a, &b, false);
    load_wait(&l, 5);
    snprintf(text, sizeof(text), "migrate: moved to %s: 4 fds,", b.control);
    server_wait_log(&a, text);
    snprintf(text, sizeof(text), "daemon: stopping: migrated to %s", b.control);
    server_wait_log(&a, text);
    ck_assert(!server_log_has(&a, "detached"));
    expect_gone(&a);
    ck_assert(server_has_client(&b));
    server_wait_log(&b, "migrate: received from");
    snprintf(text, sizeof(text), "client pid %d uid %u attached: protocol 0.1", (int)getpid(),
             geteuid());
    server_wait_log(&b, text);
    load_wait(&l, 20);
    load_stop(&l);
    server_stop(&b);
}
END_TEST

/* The registers and BAR1 move without a client too, and the source connects by itself. */
START_TEST(device_moves_without_a_client)
{
    const struct wish wish = { .no_fd = true };
    struct server a;
    struct server b;
    struct client *c;
    struct outcome o;
    uint64_t deadline = (uint64_t)now_ns() + 3600 * 1000 * MS;
    uint32_t value = 0;

    server_start(&a, NULL);
    server_start(&b, NULL);
    c = server_connect(&a);
    write_reg(c, REG_TIMER_NSEC, deadline, 8);
    value = 0x12345678;
    ck_assert_int_eq(client_region_write(c, 1, 0x123c, &value, 4), 0);
    client_free(c);
    while (server_has_client(&a))
        poll(NULL, 0, 1);
    handover_do(&a, &b, &wish, &o);
    ck_assert_msg(o.error[0] == '\0', "%s %s", o.error, o.text);
    expect_gone(&a);
    ck_assert(!server_has_client(&b));
    c = server_connect(&b);
    value = 0;
    ck_assert_int_eq(client_region_read(c, 1, 0x123c, &value, 4), 0);
    ck_assert_uint_eq(value, 0x12345678);
    ck_assert(read_reg(c, REG_TIMER_NSEC, 8) > UINT64_MAX / 2); /* ns before the deadline */
    client_free(c);
    server_stop(&b);
}
END_TEST

/* It stays as a device that nothing ever happened to, and a new client may come. */
START_TEST(source_stays_as_an_empty_device)
{
    struct server a;
    struct server b;
    struct client *c;
    struct load l;
    uint64_t value;

    server_start(&a, NULL);
    server_start(&b, NULL);
    load_start(&l, &a);
    load_wait(&l, 5);
    handover_succeeds(&a, &b, true);
    ck_assert_str_eq(migration_member(&a, "moved_to"), b.control);
    ck_assert_str_eq(migration_member(&a, "state"), "running");
    ck_assert_str_eq(migration_member(&b, "moved_to"), "");
    ck_assert(!server_has_client(&a));
    c = server_connect(&a);
    for (uint64_t at = 0; at < 3 * 4096; at += 8) {
        ck_assert_int_eq(client_region_read(c, 1, at, &value, 8), 0);
        ck_assert_uint_eq(value, 0);
    }
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 0);
    client_free(c);
    load_wait(&l, 20);
    load_stop(&l);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

START_TEST(two_hundred_times_there_and_back)
{
    const struct wish wish = { .keep = true };
    int64_t blackouts[HANDOVERS];
    struct server s[2];
    struct outcome o;
    struct load l;
    unsigned fds[2];
    unsigned rounds;

    server_start(&s[0], NULL);
    server_start(&s[1], NULL);
    load_start(&l, &s[0]);
    fds[0] = server_fds(&s[0]);
    fds[1] = server_fds(&s[1]);
    for (int i = 0; i < HANDOVERS; i++) {
        handover_do(&s[i % 2], &s[(i + 1) % 2], &wish, &o);
        ck_assert_msg(o.error[0] == '\0', "handover %d: %s %s", i, o.error, o.text);
        blackouts[i] = o.blackout;
        load_wait(&l, 1);
    }
    rounds = load_stop(&l);
    ck_assert_uint_ge(rounds, HANDOVERS);
    server_wait_fds(&s[0], fds[0]);
    server_wait_fds(&s[1], fds[1]);
    qsort(blackouts, HANDOVERS, sizeof(blackouts[0]), compare);
    printf("blackout of %d handovers: median %lld us, p99 %lld us, most %lld us; %u rounds\n",
           HANDOVERS, (long long)blackouts[HANDOVERS / 2] / 1000,
           (long long)blackouts[HANDOVERS * 99 / 100] / 1000,
           (long long)blackouts[HANDOVERS - 1] / 1000, rounds);
    server_stop(&s[0]);
    server_stop(&s[1]);
}
END_TEST

/* Reads events until one of kind "migration" has this phase; the names of those before, in order.
 */
static void expect_phases(struct varlink *v, const char *wanted)
{
    char seen[256] = "";

    while (strlen(seen) < strlen(wanted)) {
        struct json_object *reply = control_next(v);
        struct json_object *event;
        const char *phase;

        ck_assert_ptr_nonnull(reply);
        event = control_member(reply, "event");
        phase = json_object_get_string(json_object_object_get(event, "phase"));
        if (phase == NULL)
            phase = json_object_get_string(json_object_object_get(event, "kind"));
        if (strcmp(phase, "interrupt") != 0 && strcmp(phase, "monitoring") != 0)
            snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s ", phase);
        json_object_put(reply);
    }
    ck_assert_str_eq(seen, wanted);
}

START_TEST(those_who_watch_are_told)
{
    const char *call = "{\"method\": \"" DEVICE ".Monitor\", \"more\": true}";
    struct server a;
    struct server b;
    struct varlink *source;
    struct varlink *destination;
    struct client *c;

    server_start(&a, NULL);
    server_start(&b, NULL);
    c = server_connect(&a);
    source = control_open(&a);
    destination = control_open(&b);
    control_send(source, call);
    control_send(destination, call);
    server_status_call(&a);
    server_status_call(&b);
    handover_succeeds(&a, &b, true);
    expect_phases(source, "offer freeze state ready commit running client-detached ");
    expect_phases(destination, "offer state ready await commit client-attached running ");
    client_free(c);
    varlink_free(source);
    varlink_free(destination);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

/* The operator's end is not the handover's. */
START_TEST(vfuctl_may_die)
{
    const struct wish wish = { .keep = true };
    struct server a;
    struct server b;
    struct load l;

    server_start(&a, NULL);
    server_start(&b, NULL);
    load_start(&l, &a);
    for (int i = 0; i < 20; i++) {
        const struct server *from = i % 2 == 0 ? &a : &b;
        const struct server *to = i % 2 == 0 ? &b : &a;
        int64_t until = now_ms() + 5000;

        varlink_free(handover_begin(from, to, &wish)); /* its call is in the socket */
        while ((server_has_client(from) || !server_has_client(to)) && now_ms() < until)
            poll(NULL, 0, 1);
        ck_assert_msg(server_has_client(to), "handover %d", i);
        load_wait(&l, 1);
    }
    load_stop(&l);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("handover");
    TCase *tcase = tcase_create("handover");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, device_moves_with_its_client);
    tcase_add_test(tcase, device_moves_without_a_client);
    tcase_add_test(tcase, source_stays_as_an_empty_device);
    tcase_add_test(tcase, those_who_watch_are_told);
    tcase_add_test(tcase, vfuctl_may_die);
    tcase_add_test(tcase, two_hundred_times_there_and_back);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
