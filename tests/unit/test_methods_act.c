/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods that change something or begin something, who may call which, and in which form: "more",
 * "oneway", "upgrade".
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "migrate/migration.h"
#include "unit/methods_kit.h"

#define CALL(name)          "{\"method\": \"" DEVICE "." name "\"}"
#define CALL_WITH(name, x)  "{\"method\": \"" DEVICE "." name "\", " x "}"
#define PARAMETERS(x)       "\"parameters\": {" x "}"
#define INVALID(answer, of) expect_error(&(answer), SERVICE ".InvalidParameter", of)

/* Fails unless the answer is this error about that parameter (NULL: one without); puts it. */
static void expect_error(struct methods_answer *answer, const char *error, const char *parameter)
{
    ck_assert_pstr_eq(reply_error(answer->reply), error);
    ck_assert_int_eq(answer->then, METHOD_THEN_NOTHING);
    if (parameter != NULL)
        expect_string(answer->reply, "parameter", parameter);
    json_object_put(answer->reply);
}

/* From wherever a client that is gone wrong has left it. */
START_TEST(a_reset_ends_migration)
{
    struct daemon_parts p;
    struct json_object *reply;

    parts_init(&p);
    ck_assert_int_eq(migration_set_state(p.migration, VFIO_DEVICE_STATE_RESUMING), 0);
    reply = parts_call(&p, DEVICE ".GetStatus", NULL);
    expect_string(reply, "migration.state", "resuming");
    json_object_put(reply);
    ck_assert_int_eq(migration_set_state(p.migration, VFIO_DEVICE_STATE_STOP), -EINVAL);
    reply = parts_call(&p, DEVICE ".GetStatus", NULL);
    expect_string(reply, "migration.state", "error");
    json_object_put(reply);
    json_object_put(parts_call(&p, DEVICE ".Reset", NULL));
    ck_assert(device_running(p.control.dev));
    reply = parts_call(&p, DEVICE ".GetStatus", NULL);
    expect_string(reply, "migration.state", "running");
    ck_assert_ptr_null(reply_at(reply, "migration.moved_to"));
    json_object_put(reply);
    parts_fini(&p);
}
END_TEST

START_TEST(a_reset_is_the_operators)
{
    struct daemon_parts p;

    parts_init(&p);
    parts_use(&p);
    ck_assert_uint_ne(device_state(p.control.dev)->timer.irq_status, 0);
    p.host.n_events = 0;
    json_object_put(parts_call(&p, DEVICE ".Reset", NULL));
    ck_assert_uint_eq(device_state(p.control.dev)->timer.irq_status, 0);
    ck_assert_uint_eq(p.host.n_events, 1);
    ck_assert_int_eq(p.host.events[0].by, DEVICE_RESET_BY_OPERATOR);
    parts_fini(&p);
}
END_TEST

static void set_level(struct daemon_parts *p, const char *level, const char *previous)
{
    char parameters[64];
    struct json_object *reply;

    snprintf(parameters, sizeof(parameters), "{\"level\": \"%s\"}", level);
    reply = parts_call(p, DEVICE ".SetLogLevel", parameters);
    expect_string(reply, "previous", previous);
    json_object_put(reply);
    reply = parts_call(p, DEVICE ".GetStatus", NULL);
    expect_string(reply, "log_level", level);
    json_object_put(reply);
}

START_TEST(the_log_level_changes)
{
    struct methods_answer answer;
    struct daemon_parts p;

    parts_init(&p);
    log_set_level(LOG_LEVEL_INFO);
    set_level(&p, "debug", "info");
    ck_assert(log_enabled(LOG_LEVEL_DEBUG));
    set_level(&p, "err", "debug");
    ck_assert(!log_enabled(LOG_LEVEL_WARNING));
    set_level(&p, "warning", "err");
    answer = parts_ask(&p, true, CALL_WITH("SetLogLevel", PARAMETERS("\"level\": \"loud\"")));
    INVALID(answer, "level");
    answer = parts_ask(&p, true, CALL_WITH("SetLogLevel", PARAMETERS("\"level\": null")));
    INVALID(answer, "level");
    answer = parts_ask(&p, true, CALL("SetLogLevel"));
    INVALID(answer, "level");
    ck_assert_int_eq(log_current_level(), LOG_LEVEL_WARNING);
    parts_fini(&p);
}
END_TEST

START_TEST(quit_is_up_to_the_connection)
{
    struct methods_answer answer;
    struct daemon_parts p;

    parts_init(&p);
    answer = parts_ask(&p, true, CALL("Quit"));
    ck_assert(!answer.failed && answer.wanted);
    ck_assert_int_eq(answer.then, METHOD_THEN_QUIT);
    json_object_put(answer.reply);
    answer = parts_ask(&p, true, CALL_WITH("Quit", "\"oneway\": true"));
    ck_assert(!answer.failed && !answer.wanted);
    ck_assert_int_eq(answer.then, METHOD_THEN_QUIT);
    json_object_put(answer.reply);
    parts_fini(&p);
}
END_TEST

static void expect_snaplen(struct daemon_parts *p, const char *text, uint32_t snaplen)
{
    struct methods_answer answer = parts_ask(p, true, text);

    ck_assert_int_eq(answer.then, METHOD_THEN_HAND_OVER);
    ck_assert_uint_eq(answer.taker.argument, snaplen);
    json_object_put(answer.reply);
}

#define CAPTURE(snaplen) \
    CALL_WITH("Capture", "\"upgrade\": true, " PARAMETERS("\"snaplen\": " snaplen))

START_TEST(captures_one_at_a_time)
{
    struct methods_answer answer;
    struct daemon_parts p;

    parts_init(&p);
    expect_snaplen(&p, CALL_WITH("Capture", "\"upgrade\": true"), 65535);
    expect_snaplen(&p, CAPTURE("null"), 65535);
    expect_snaplen(&p, CAPTURE("16"), 16);
    expect_snaplen(&p, CAPTURE("2147483647"), 2147483647);
    answer = parts_ask(&p, true, CAPTURE("15"));
    INVALID(answer, "snaplen");
    answer = parts_ask(&p, true, CAPTURE("2147483648"));
    INVALID(answer, "snaplen");
    answer = parts_ask(&p, true, CAPTURE("-1"));
    INVALID(answer, "snaplen");
    answer = parts_ask(&p, true, CALL("Capture"));
    expect_error(&answer, SERVICE ".ExpectedUpgrade", NULL);
    p.capturing = true;
    answer = parts_ask(&p, true, CAPTURE("16"));
    expect_error(&answer, DEVICE ".Busy", NULL);
    p.control.capture = NULL;
    answer = parts_ask(&p, true, CAPTURE("16"));
    expect_error(&answer, SERVICE ".MethodNotImplemented", NULL);
    parts_fini(&p);
}
END_TEST

/*
 * Who may
 */

static const struct {
    const char *call;
    bool acts;
} rights[] = {
    { CALL("GetStatus"), false },
    { CALL("DumpConfig"), false },
    { CALL("GetStats"), false },
    { CALL_WITH("Monitor", "\"more\": true"), false },
    { "{\"method\": \"" SERVICE ".GetInfo\"}", false },
    { "{\"method\": \"" SERVICE ".GetInterfaceDescription\", " PARAMETERS("\"interface\": "
                                                                          "\"" DEVICE "\"") "}",
      false },
    { CALL("TriggerIrq"), true },
    { CALL("Reset"), true },
    { CALL("Reload"), true },
    { CALL_WITH("SetLogLevel", PARAMETERS("\"level\": \"info\"")), true },
    { CALL("Quit"), true },
    { CALL_WITH("Capture", "\"upgrade\": true"), true },
};

static bool is_allowed(struct daemon_parts *p, bool owner, const char *call)
{
    struct methods_answer answer = parts_ask(p, owner, call);
    bool allowed = !answer.denied;

    ck_assert_int_eq(answer.failed, !allowed);
    if (!allowed) {
        ck_assert_str_eq(reply_error(answer.reply), SERVICE ".PermissionDenied");
        ck_assert_int_eq(answer.then, METHOD_THEN_NOTHING);
    }
    json_object_put(answer.reply);
    return allowed;
}

START_TEST(a_group_reads_and_may_be_kept_from_acting)
{
    struct daemon_parts p;

    parts_init(&p);
    ck_assert(is_allowed(&p, true, rights[_i].call));
    ck_assert(is_allowed(&p, false, rights[_i].call));
    p.d.control.group_may_write = false;
    ck_assert(is_allowed(&p, true, rights[_i].call));
    ck_assert_int_eq(is_allowed(&p, false, rights[_i].call), !rights[_i].acts);
    p.d.control.group_may_write = true;
    ck_assert(is_allowed(&p, false, rights[_i].call));
    parts_fini(&p);
}
END_TEST

START_TEST(what_is_denied_is_not_done)
{
    struct daemon_parts p;

    parts_init(&p);
    p.d.control.group_may_write = false;
    p.host.n_events = 0;
    ck_assert(!is_allowed(&p, false, CALL("Reset")));
    ck_assert(!is_allowed(&p, false, CALL("TriggerIrq")));
    ck_assert(!is_allowed(&p, false, CALL_WITH("TriggerIrq", "\"parameters\": 5")));
    ck_assert_uint_eq(p.host.n_events, 0);
    ck_assert_uint_eq(device_state(p.control.dev)->timer.irq_status, 0);
    parts_fini(&p);
}
END_TEST

/*
 * In which form
 */

static const struct {
    const char *call;
    const char *error; /* NULL: it is done */
    const char *parameter;
} forms[] = {
    { CALL("Monitor"), SERVICE ".ExpectedMore", NULL },
    { CALL_WITH("Monitor", "\"more\": false"), SERVICE ".ExpectedMore", NULL },
    { CALL_WITH("Monitor", "\"more\": true, \"oneway\": true"), SERVICE ".InvalidParameter",
      "oneway" },
    { CALL_WITH("Capture", "\"upgrade\": true, \"oneway\": true"), SERVICE ".InvalidParameter",
      "oneway" },
    { CALL_WITH("Monitor", "\"more\": \"true\""), SERVICE ".InvalidParameter", "more" },
    { CALL_WITH("GetStatus", "\"more\": 1"), SERVICE ".InvalidParameter", "more" },
    { CALL_WITH("GetStatus", "\"oneway\": 1"), SERVICE ".InvalidParameter", "oneway" },
    { CALL_WITH("GetStatus", "\"upgrade\": {}"), SERVICE ".InvalidParameter", "upgrade" },
    { CALL_WITH("GetStatus", "\"more\": true"), NULL, NULL }, /* one reply is all there is */
    { CALL_WITH("GetStatus", "\"more\": null, \"oneway\": null"), NULL, NULL },
    { CALL_WITH("GetStatus", "\"something\": \"else\""), NULL, NULL },
    { CALL_WITH("Monitor", "\"more\": true, " PARAMETERS("\"kind\": \"reset\"")),
      SERVICE ".InvalidParameter", "kind" },
};

START_TEST(calls_have_a_form)
{
    struct methods_answer answer;
    struct daemon_parts p;

    parts_init(&p);
    answer = parts_ask(&p, true, forms[_i].call);
    ck_assert(!json_object_object_get_ex(answer.reply, "continues", NULL));
    expect_error(&answer, forms[_i].error, forms[_i].parameter);
    parts_fini(&p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_reset_is_the_operators,     a_reset_ends_migration, the_log_level_changes,
        quit_is_up_to_the_connection, captures_one_at_a_time, what_is_denied_is_not_done,
    };
    const struct fake_loop_test loops[] = {
        { a_group_reads_and_may_be_kept_from_acting, ARRAY_SIZE(rights) },
        { calls_have_a_form, ARRAY_SIZE(forms) },
    };

    return fake_run("methods_act", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
