/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A description that changes while the device runs: what holds from then on, for whom, and what is
 * refused. By the control socket and by SIGHUP.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "integration/harness.h"
#include "suite.h"

#define RW       (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define WAIT_MS  2000
#define MAPS(n)  "{\"limits\": {\"max_dma_maps\": " #n "}}"
#define FIXED(n) "{\"bar1\": {\"size\": \"64K\"}, \"limits\": {\"max_dma_maps\": " #n "}}"

/* The result of Reload as text, to see that it has changed just this. */
static void expect_changed(const struct server *s, const char *changed)
{
    struct json_object *reply = server_call(s, "Reload");
    struct json_object *value;

    ck_assert_msg(!json_object_object_get_ex(reply, "error", &value), "%s",
                  json_object_get_string(reply));
    ck_assert_str_eq(json_object_to_json_string_ext(json_object_object_get(reply, "parameters"),
                                                    JSON_C_TO_STRING_PLAIN),
                     changed);
    json_object_put(reply);
}

static void expect_refused(const struct server *s, const char *reason)
{
    struct json_object *reply = server_call(s, "Reload");
    struct json_object *value;
    char text[256];

    snprintf(text, sizeof(text), "%s: %s", s->config, reason);
    ck_assert(json_object_object_get_ex(reply, "error", &value));
    ck_assert_str_eq(json_object_get_string(value), "io.vfiouserd.Device.ReloadRefused");
    value = json_object_object_get(json_object_object_get(reply, "parameters"), "reason");
    ck_assert_str_eq(json_object_get_string(value), text);
    json_object_put(reply);
}

/* The map limit that a client is told now. */
static unsigned told_maps(const struct server *s)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *c;

    version_defaults(&ours);
    ours.present = VERSION_MAX_DMA_MAPS;
    ours.max_dma_maps = 65535;
    ck_assert_int_eq(client_connect(s->socket, &c), 0);
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), 0);
    client_free(c);
    return (unsigned)theirs.max_dma_maps;
}

static int map(struct client *c, uint64_t page)
{
    return client_dma_map(c, page * 4096, 4096, RW, -1, 0);
}

START_TEST(test_limits_hold_for_the_next_client)
{
    struct server s;
    struct client *c;

    server_start(&s, MAPS(3));
    c = server_connect(&s);
    ck_assert_int_eq(map(c, 0), 0);
    server_describe(&s, MAPS(1));
    expect_changed(&s, "{\"changed\":[\"limits.max_dma_maps\"]}");
    expect_changed(&s, "{\"changed\":[]}");
    ck_assert_int_eq(map(c, 1), 0);
    ck_assert_int_eq(map(c, 2), 0);
    ck_assert_int_eq(map(c, 3), -ENOSPC);
    client_free(c);
    ck_assert_uint_eq(told_maps(&s), 1);
    c = server_connect(&s);
    ck_assert_int_eq(map(c, 0), 0);
    ck_assert_int_eq(map(c, 1), -ENOSPC);
    client_free(c);
    server_stop(&s);
}
END_TEST

START_TEST(test_refused_as_a_whole)
{
    struct server s;

    server_start(&s, MAPS(3));
    server_describe(&s, FIXED(5));
    expect_refused(&s, "bar1.size: changes only with a stop and a start");
    ck_assert_uint_eq(told_maps(&s), 3);
    server_describe(&s, "{\"limits\": {\"max_dma_maps\": 5}, \"log_level\": \"loud\"}");
    expect_refused(&s, "log_level: must be one of err, warning, info, debug");
    ck_assert_int_eq(unlink(s.config), 0); /* given with --config, it must be there */
    expect_refused(&s, "No such file or directory");
    ck_assert_uint_eq(told_maps(&s), 3);
    server_describe(&s, MAPS(5));
    expect_changed(&s, "{\"changed\":[\"limits.max_dma_maps\"]}");
    ck_assert_uint_eq(told_maps(&s), 5);
    server_stop(&s);
}
END_TEST

static void wait_for_log(const struct server *s, const char *text)
{
    int64_t until = now_ms() + WAIT_MS;

    while (!server_log_has(s, text) && now_ms() < until)
        poll(NULL, 0, 5);
    ck_assert_msg(server_log_has(s, text), "the log does not say: %s", text);
}

START_TEST(test_sighup)
{
    int64_t until = now_ms() + WAIT_MS;
    struct server s;

    server_start(&s, MAPS(3));
    server_describe(&s, MAPS(7));
    ck_assert_int_eq(kill(s.pid, SIGHUP), 0);
    while (told_maps(&s) != 7)
        ck_assert_int_lt(now_ms(), until);
    server_describe(&s, FIXED(9));
    ck_assert_int_eq(kill(s.pid, SIGHUP), 0);
    wait_for_log(&s, "bar1.size: changes only with a stop and a start");
    ck_assert_uint_eq(told_maps(&s), 7);
    server_stop(&s);
}
END_TEST

/* The default device has nothing to read: a reload says so, and SIGHUP is no reason to end. */
START_TEST(test_without_a_description)
{
    struct server s;

    server_start(&s, NULL);
    ck_assert_int_eq(kill(s.pid, SIGHUP), 0);
    expect_changed(&s, "{\"changed\":[]}");
    server_stop(&s);
}
END_TEST

/* The server is started with --log-level debug. */
START_TEST(test_the_command_line_wins)
{
    struct server s;

    server_start(&s, MAPS(3));
    server_describe(&s, "{\"limits\": {\"max_dma_maps\": 3}, \"log_level\": \"err\"}");
    expect_changed(&s, "{\"changed\":[]}");
    client_free(server_connect(&s));
    wait_for_log(&s, "attached");
    server_stop(&s);
}
END_TEST

START_TEST(test_reloads_leave_nothing)
{
    static const char kept[] =
        "{\"pci\": {\"capabilities\": [{\"kind\": \"vendor\", \"data\": \"00\"}]}}";
    static const char changed[] =
        "{\"pci\": {\"capabilities\": [{\"kind\": \"vendor\", \"data\": \"01\"}]}}";
    struct server s;
    unsigned fds;

    server_start(&s, kept);
    expect_changed(&s, "{\"changed\":[]}");
    fds = server_fds(&s);
    for (int i = 0; i < 20; i++) {
        server_describe(&s, changed);
        expect_refused(&s, "pci.capabilities[0].data: changes only with a stop and a start");
        server_describe(&s, kept);
        expect_changed(&s, "{\"changed\":[]}");
    }
    server_wait_fds(&s, fds);
    server_stop(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reload");
    TCase *tcase = tcase_create("reload");

    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_limits_hold_for_the_next_client);
    tcase_add_test(tcase, test_refused_as_a_whole);
    tcase_add_test(tcase, test_sighup);
    tcase_add_test(tcase, test_without_a_description);
    tcase_add_test(tcase, test_the_command_line_wins);
    tcase_add_test(tcase, test_reloads_leave_nothing);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
