/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket of a running daemon: who may call, monitors, counters, the log level, the end.
 * What a hostile peer can do is in test_control_hostile.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/control_kit.h"
#include "suite.h"

#define STRANGER 54321 /* a uid that is neither root's nor ours */
#define RW       (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define READ_ALL "{\"control\": {\"group_may_write\": false}}"
#define CALL(m)  "{\"method\": \"" DEVICE "." m "\"}"
#define MONITOR  "{\"method\": \"" DEVICE ".Monitor\", \"more\": true}"

/*
 * Who may call
 */

/* In another process, as another user: the error of a call must be this, "" for none. */
static void expect_for_stranger(const struct server *s, const char *call, const char *error)
{
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct varlink *v;

        if (setgroups(0, NULL) != 0 || setresgid(STRANGER, STRANGER, STRANGER) != 0 ||
            setresuid(STRANGER, STRANGER, STRANGER) != 0)
            _exit(100);
        v = control_open(s);
        _exit(strcmp(control_error(v, call), error) == 0 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "%s: status 0x%x", call, status);
}

static void expect_changed(const struct server *s)
{
    struct json_object *reply = server_call(s, "Reload");

    ck_assert_uint_eq(json_object_array_length(control_member(reply, "changed")), 1);
    json_object_put(reply);
}

START_TEST(test_a_stranger_reads_and_is_kept_from_acting)
{
    struct server s;

    if (geteuid() != 0)
        return; /* nobody else can be made */
    server_start(&s, "{}");
    ck_assert_int_eq(chmod(s.dir, 0755), 0);
    ck_assert_int_eq(chmod(s.control, 0666), 0); /* as if it were a member of the group */
    expect_for_stranger(&s, CALL("GetStatus"), "");
    expect_for_stranger(&s, CALL("Reset"), "");
    server_describe(&s, READ_ALL);
    expect_changed(&s);
    expect_for_stranger(&s, CALL("GetStatus"), "");
    expect_for_stranger(&s, MONITOR, "");
    expect_for_stranger(&s, CALL("Reset"), SERVICE ".PermissionDenied");
    expect_for_stranger(&s, CALL("Quit"), SERVICE ".PermissionDenied");
    ck_assert(server_log_has(&s, "refused: " DEVICE ".Reset is for root and vfio-userd's own user "
                                 "(control.group_may_write is false)"));
    json_object_put(server_call(&s, "Reset")); /* but we may */
    server_describe(&s, "{}");
    expect_changed(&s);
    expect_for_stranger(&s, CALL("Reset"), "");
    server_stop(&s);
}
END_TEST

/*
 * Monitors
 */

/* The next event, which must be of this kind; its parameters, to be put. */
static struct json_object *expect_event(struct varlink *v, const char *kind)
{
    struct json_object *reply = control_next(v);
    struct json_object *event;

    ck_assert_msg(reply != NULL, "the connection was closed instead of %s", kind);
    ck_assert(json_object_get_boolean(json_object_object_get(reply, "continues")));
    event = json_object_get(control_member(reply, "event"));
    ck_assert_str_eq(json_object_get_string(json_object_object_get(event, "kind")), kind);
    json_object_put(reply);
    return event;
}

static void skip_event(struct varlink *v, const char *kind)
{
    json_object_put(expect_event(v, kind));
}

static struct varlink *monitor(const struct server *s)
{
    struct varlink *v = control_open(s);

    control_send(v, MONITOR);
    skip_event(v, "monitoring");
    return v;
}

static int64_t number(struct json_object *o, const char *name)
{
    struct json_object *value = NULL;

    ck_assert_msg(json_object_object_get_ex(o, name, &value), "%s", name);
    return json_object_get_int64(value);
}

START_TEST(test_a_monitor_sees_what_happens)
{
    struct json_object *event;
    struct server s;
    struct varlink *v;
    struct client *c;

    server_start(&s, NULL);
    v = monitor(&s);
    c = server_connect(&s);
    event = expect_event(v, "client-attached");
    ck_assert_int_eq(number(json_object_object_get(event, "client"), "pid"), getpid());
    json_object_put(event);
    ck_assert_int_eq(client_dma_map(c, 4096, 8192, RW, -1, 0), 0);
    event = expect_event(v, "dma-map");
    ck_assert_int_eq(number(event, "iova"), 4096);
    ck_assert_int_eq(number(event, "size"), 8192);
    json_object_put(event);
    json_object_put(server_call(&s, "TriggerIrq"));
    skip_event(v, "interrupt");
    json_object_put(server_call(&s, "Reset"));
    skip_event(v, "reset");
    ck_assert_int_eq(client_dma_unmap(c, 4096, 8192, 0), 0);
    skip_event(v, "dma-unmap");
    ck_assert_int_eq(client_reset(c), 0);
    event = expect_event(v, "reset");
    ck_assert_str_eq(json_object_get_string(json_object_object_get(event, "by")), "client");
    json_object_put(event);
    client_free(c);
    skip_event(v, "client-detached");
    varlink_free(v);
    server_stop(&s);
}
END_TEST

START_TEST(test_a_second_client_is_seen_to_be_refused)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct json_object *event;
    struct server s;
    struct varlink *v;
    struct client *c;
    struct client *second;

    server_start(&s, NULL);
    c = server_connect(&s);
    v = monitor(&s);
    version_defaults(&ours);
    ck_assert_int_eq(client_connect(s.socket, &second), 0);
    ck_assert_int_ne(client_negotiate(second, &ours, &theirs), 0);
    event = expect_event(v, "client-refused");
    ck_assert_int_eq(number(event, "pid"), getpid());
    ck_assert_str_eq(json_object_get_string(json_object_object_get(event, "reason")),
                     "another client is attached");
    json_object_put(event);
    client_free(second);
    client_free(c);
    varlink_free(v);
    server_stop(&s);
}
END_TEST

#define ROUNDS 20000

/* What a monitor that does not read may cost; with AddressSanitizer freed memory counts too. */
#ifdef __SANITIZE_ADDRESS__
#define MAX_RSS_KIB (1 << 20)
#else
#define MAX_RSS_KIB 16384
#endif

/* Maps and unmaps a page; two events each. */
static void map_and_unmap(struct client *c, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        ck_assert_int_eq(client_dma_map(c, 0, 4096, RW, -1, 0), 0);
        ck_assert_int_eq(client_dma_unmap(c, 0, 4096, 0), 0);
    }
}

START_TEST(test_a_slow_monitor_loses_events_and_is_told)
{
    struct json_object *event;
    struct server s;
    struct varlink *v;
    struct client *c;
    int64_t seen = 0;
    int64_t lost = 0;
    unsigned times = 0;
    long rss;

    server_start(&s, NULL);
    c = server_connect(&s);
    rss = server_status_value(&s, "VmRSS");
    v = monitor(&s);
    map_and_unmap(c, ROUNDS);
    ck_assert_int_lt(server_status_value(&s, "VmRSS") - rss, MAX_RSS_KIB);
    map_and_unmap(c, 1); /* behind what was lost, if that has been told by then */
    while (seen + lost < 2 * ROUNDS + 2) {
        struct json_object *reply = control_next(v);

        ck_assert_ptr_nonnull(reply);
        event = control_member(reply, "event");
        if (strcmp(json_object_get_string(json_object_object_get(event, "kind")), "lost") == 0) {
            lost += number(event, "count");
            times++;
        } else {
            seen++;
        }
        json_object_put(reply);
    }
    ck_assert_int_eq(seen + lost, 2 * ROUNDS + 2);
    ck_assert_int_gt(lost, ROUNDS / 2);
    ck_assert_uint_eq(times, 1);
    ck_assert_int_eq(client_reset(c), 0);
    skip_event(v, "reset"); /* and it goes on */
    client_free(c);
    varlink_free(v);
    server_stop(&s);
}
END_TEST

START_TEST(test_a_monitor_does_nothing_else)
{
    struct server s;
    struct varlink *v;

    server_start(&s, NULL);
    v = monitor(&s);
    control_send(v, CALL("GetStatus"));
    ck_assert_ptr_null(control_next(v));
    varlink_free(v);
    ck_assert(server_log_has(&s, "it calls while it monitors"));
    server_stop(&s);
}
END_TEST

START_TEST(test_monitors_come_and_go)
{
    struct varlink *monitors[40];
    struct server s;
    unsigned fds;

    server_start(&s, NULL);
    server_wait_fds(&s, server_fds(&s));
    fds = server_fds(&s);
    for (size_t i = 0; i < 40; i++)
        monitors[i] = monitor(&s);
    json_object_put(server_call(&s, "Reset"));
    for (size_t i = 0; i < 20; i++)
        varlink_free(monitors[i]); /* with an event unread */
    json_object_put(server_call(&s, "Reset"));
    for (size_t i = 20; i < 40; i++) {
        skip_event(monitors[i], "reset");
        skip_event(monitors[i], "reset");
        varlink_free(monitors[i]);
    }
    server_wait_fds(&s, fds);
    ck_assert(!server_log_has(&s, "closed:"));
    server_stop(&s);
}
END_TEST

/*
 * Counters, levels, forms, the end
 */

static struct json_object *find_command(struct json_object *stats, const char *name)
{
    struct json_object *commands = control_member(stats, "commands");

    for (size_t i = 0; i < json_object_array_length(commands); i++) {
        struct json_object *o = json_object_array_get_idx(commands, i);

        if (strcmp(json_object_get_string(json_object_object_get(o, "command")), name) == 0)
            return o;
    }
    return NULL;
}

START_TEST(test_statistics_count)
{
    struct json_object *stats;
    struct json_object *read;
    struct json_object *latency;
    struct server s;
    struct client *c;
    uint8_t data[8];
    int64_t timed = 0;

    server_start(&s, NULL);
    c = server_connect(&s);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(client_region_read(c, 1, 0, data, sizeof(data)), 0);
    ck_assert_int_eq(client_region_read(c, 1, 1 << 30, data, sizeof(data)), -EINVAL);
    stats = server_call(&s, "GetStats");
    read = find_command(stats, "REGION_READ");
    ck_assert_ptr_nonnull(read);
    ck_assert_int_eq(number(read, "requests"), 101);
    ck_assert_int_eq(number(read, "errors"), 1);
    ck_assert_int_gt(number(read, "latency_sum"), 0);
    latency = json_object_object_get(read, "latency");
    for (size_t i = 0; i < json_object_array_length(latency); i++)
        timed += json_object_get_int64(json_object_array_get_idx(latency, i));
    ck_assert_int_eq(timed, 101);
    ck_assert_ptr_null(find_command(stats, "DEVICE_RESET"));
    ck_assert_int_eq(json_object_get_int64(control_member(stats, "clients")), 1);
    ck_assert_int_ge(number(control_member(stats, "control"), "calls"), 1);
    json_object_put(stats);
    client_free(c);
    server_stop(&s);
}
END_TEST

START_TEST(test_no_reply_to_a_oneway_call)
{
    struct json_object *reply;
    struct server s;
    struct varlink *v;

    server_start(&s, NULL);
    v = control_open(&s);
    control_send(v, "{\"method\": \"" DEVICE ".Reset\", \"oneway\": true}");
    control_send(v, "{\"method\": \"" DEVICE ".Nothing\", \"oneway\": true}");
    control_send(v, CALL("GetStats"));
    reply = control_next(v);
    ck_assert_int_eq(json_object_get_int64(control_member(reply, "resets")), 1);
    ck_assert_int_eq(number(control_member(reply, "control"), "errors"), 1);
    json_object_put(reply);
    varlink_free(v);
    server_stop(&s);
}
END_TEST

static void expect_level(const struct server *s, const char *level)
{
    struct json_object *status = server_status(s);

    ck_assert_str_eq(json_object_get_string(json_object_object_get(status, "log_level")), level);
    json_object_put(status);
}

/* The harness gives --log-level debug, which is what a reload goes back to. */
START_TEST(test_a_reload_sets_the_level_back)
{
    struct server s;
    struct varlink *v;

    server_start(&s, "{}");
    expect_level(&s, "debug");
    v = control_open(&s);
    ck_assert_str_eq(control_error(v, "{\"method\": \"" DEVICE ".SetLogLevel\", \"parameters\": "
                                      "{\"level\": \"warning\"}}"),
                     "");
    expect_level(&s, "warning");
    ck_assert_str_eq(control_error(v, CALL("Reload")), "");
    expect_level(&s, "debug");
    varlink_free(v);
    server_stop(&s);
}
END_TEST

START_TEST(test_quit_is_answered)
{
    struct server s;
    struct varlink *v;
    struct stat st;

    server_start(&s, NULL);
    v = control_open(&s);
    ck_assert_str_eq(control_error(v, CALL("Quit")), "");
    ck_assert_ptr_null(control_next(v));
    varlink_free(v);
    ck_assert_int_eq(server_wait(&s), 0);
    ck_assert(server_log_has(&s, "stopping: vfuctl quit"));
    ck_assert_int_ne(stat(s.control, &st), 0);
    server_remove(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control");
    TCase *tcase = tcase_create("control");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_a_stranger_reads_and_is_kept_from_acting);
    tcase_add_test(tcase, test_a_monitor_sees_what_happens);
    tcase_add_test(tcase, test_a_second_client_is_seen_to_be_refused);
    tcase_add_test(tcase, test_a_slow_monitor_loses_events_and_is_told);
    tcase_add_test(tcase, test_a_monitor_does_nothing_else);
    tcase_add_test(tcase, test_monitors_come_and_go);
    tcase_add_test(tcase, test_statistics_count);
    tcase_add_test(tcase, test_no_reply_to_a_oneway_call);
    tcase_add_test(tcase, test_a_reload_sets_the_level_back);
    tcase_add_test(tcase, test_quit_is_answered);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
