/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interface's text and the code say the same: every method that is described is served and the
 * reverse, with the same parameters, types and optionality; every error is met, and every reply is
 * of the described type (which methods_kit.c checks for each that any test here or elsewhere gets).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/content.h"
#include "unit/interface_text.h"
#include "unit/methods_kit.h"

static void read_interface(struct daemon_parts *p, const char *name, struct interface_text *out)
{
    char parameters[128];
    struct json_object *reply;

    snprintf(parameters, sizeof(parameters), "{\"interface\": \"%s\"}", name);
    reply = parts_call(p, SERVICE ".GetInterfaceDescription", parameters);
    interface_read(json_object_get_string(reply_at(reply, "description")), out);
    ck_assert_str_eq(out->name, name);
    json_object_put(reply);
}

/* The method's parameters as the table has them, in the form of interface_text's types. */
static void expect_parameters(const struct method *method, struct json_object *fields)
{
    size_t n = 0;

    for (const struct method_parameter *p = method->parameters; p->name != NULL; p++) {
        struct json_object *type = NULL;
        bool optional;

        ck_assert_msg(json_object_object_get_ex(fields, p->name, &type),
                      "%s takes %s, which is not described", method->name, p->name);
        type = interface_optional(type, &optional);
        ck_assert_msg(optional == p->optional, "%s: %s", method->name, p->name);
        ck_assert_str_eq(json_object_get_string(type),
                         p->type == json_type_boolean ? "bool" : json_type_to_name(p->type));
        n++;
    }
    ck_assert_msg((size_t)json_object_object_length(fields) == n, "%s takes %zu parameters",
                  method->name, n);
}

/* Each served method of the interface is described, and there are as many. */
static void expect_same_methods(const struct interface_text *i)
{
    size_t len = strlen(i->name);
    int n = 0;

    for (size_t m = 0; methods_nth(m) != NULL; m++) {
        const struct method *method = methods_nth(m);
        struct json_object *input = NULL;

        if (strncmp(method->name, i->name, len) != 0 || method->name[len] != '.')
            continue;
        ck_assert_msg(json_object_object_get_ex(i->inputs, method->name + len + 1, &input),
                      "%s is served and not described", method->name);
        expect_parameters(method, json_object_object_get(input, "fields"));
        n++;
    }
    ck_assert_msg(json_object_object_length(i->inputs) == n,
                  "of %s, %d methods are described and %d served", i->name,
                  json_object_object_length(i->inputs), n);
}

START_TEST(methods_and_parameters_are_the_same)
{
    struct interface_text interface;
    struct daemon_parts p;

    parts_init(&p);
    read_interface(&p, DEVICE, &interface);
    ck_assert_int_ge(json_object_object_length(interface.inputs), 10);
    expect_same_methods(&interface);
    interface_free(&interface);
    read_interface(&p, SERVICE, &interface);
    expect_same_methods(&interface);
    interface_free(&interface);
    parts_fini(&p);
}
END_TEST

/* With the device's own offer, once call_all has made it. */
static char receive_call[4096] = "{\"method\": \"io.vfiouserd.Device.Receive\"";

/* A call of each method that succeeds. */
static const char *const calls[] = {
    "{\"method\": \"io.vfiouserd.Device.GetStatus\"}",
    "{\"method\": \"io.vfiouserd.Device.TriggerIrq\"}",
    "{\"method\": \"io.vfiouserd.Device.TriggerIrq\", \"parameters\": {\"index\": \"err\"}}",
    "{\"method\": \"io.vfiouserd.Device.DumpConfig\"}",
    "{\"method\": \"io.vfiouserd.Device.Reset\"}",
    "{\"method\": \"io.vfiouserd.Device.Reload\"}",
    "{\"method\": \"io.vfiouserd.Device.SetLogLevel\", \"parameters\": {\"level\": \"info\"}}",
    "{\"method\": \"io.vfiouserd.Device.Quit\"}",
    "{\"method\": \"io.vfiouserd.Device.GetStats\"}",
    "{\"method\": \"io.vfiouserd.Device.Monitor\", \"more\": true}",
    "{\"method\": \"io.vfiouserd.Device.Capture\", \"upgrade\": true}",
    "{\"method\": \"io.vfiouserd.Device.Save\", \"upgrade\": true}",
    "{\"method\": \"io.vfiouserd.Device.Load\", \"upgrade\": true}",
    "{\"method\": \"io.vfiouserd.Device.Migrate\", \"more\": true,"
    " \"parameters\": {\"to\": \"dev1\"}}",
    receive_call,
    "{\"method\": \"org.varlink.service.GetInfo\"}",
    "{\"method\": \"org.varlink.service.GetInterfaceDescription\","
    " \"parameters\": {\"interface\": \"org.varlink.service\"}}",
};

/* The kit checks each against the text. */
static void call_all(struct daemon_parts *p)
{
    parts_receive_call(p, false, receive_call, sizeof(receive_call));
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        struct methods_answer answer = parts_ask(p, true, calls[i]);

        ck_assert_msg(!answer.failed, "%s: %s", calls[i], json_object_get_string(answer.reply));
        json_object_put(answer.reply);
    }
}

START_TEST(replies_are_of_the_described_types)
{
    struct daemon_parts p;

    parts_init(&p);
    call_all(&p);
    parts_use(&p);
    p.n_changed = 2;
    p.client.uid_known = false;
    for (unsigned i = 0; i < VFIO_USER_COMMAND_COUNT; i++)
        p.stats.commands[i] = (struct stats_command) { .requests = 1, .latency = { 1 } };
    call_all(&p);
    parts_fini(&p);
}
END_TEST

START_TEST(each_method_is_called_here)
{
    for (size_t m = 0; methods_nth(m) != NULL; m++) {
        bool called = false;

        for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
            const char *name = strstr(calls[i], methods_nth(m)->name);

            called = called || (name != NULL && name[strlen(methods_nth(m)->name)] == '"');
        }
        ck_assert_msg(called, "%s", methods_nth(m)->name);
    }
}
END_TEST

static char larger_call[4096];

static const struct {
    const char *error;
    const char *call; /* NULL: it comes later than a method's reply */
} errors[] = {
    { "NoSuchIrq", "{\"method\": \"io.vfiouserd.Device.TriggerIrq\","
                   " \"parameters\": {\"vector\": 1}}" },
    { "ReloadRefused", "{\"method\": \"io.vfiouserd.Device.Reload\"}" },
    { "Incompatible", larger_call },
    { "Busy", "{\"method\": \"io.vfiouserd.Device.Capture\", \"upgrade\": true}" },
    { "Busy", "{\"method\": \"io.vfiouserd.Device.Save\", \"upgrade\": true}" },
    { "Busy", "{\"method\": \"io.vfiouserd.Device.Load\", \"upgrade\": true}" },
    { "BadStream", NULL },
    { "MigrationFailed", NULL },
};

START_TEST(errors_are_as_described)
{
    struct interface_text interface;
    struct daemon_parts p;

    parts_init(&p);
    p.reload_refused = "no";
    p.capturing = true;
    p.busy = "no";
    read_interface(&p, DEVICE, &interface);
    json_object_object_foreach (interface.errors, name, fields) {
        size_t i = 0;

        while (i < ARRAY_SIZE(errors) && strcmp(errors[i].error, name) != 0)
            i++;
        ck_assert_msg(i < ARRAY_SIZE(errors), "%s %s is not tried here", name,
                      json_object_get_string(fields));
    }
    parts_receive_call(&p, true, larger_call, sizeof(larger_call));
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        struct methods_answer answer;

        ck_assert(json_object_object_get_ex(interface.errors, errors[i].error, NULL));
        if (errors[i].call == NULL)
            continue;
        answer = parts_ask(&p, true, errors[i].call);
        ck_assert_str_eq(reply_error(answer.reply) + strlen(DEVICE "."), errors[i].error);
        json_object_put(answer.reply);
    }
    interface_free(&interface);
    parts_fini(&p);
}
END_TEST

/* The further replies to Migrate. */
START_TEST(later_replies_are_as_described)
{
    const struct content_difference difference = { "bar1.size", "1", "2" };
    const struct moving_progress progress = { .phase = "state", .bytes = 1, .remaining = 2 };
    const struct moving_outcome outcomes[] = {
        { .phase = "running", .bytes = 1, .fds = 2, .blackout = 3 },
        { .error = "MigrationFailed", .phase = "offer", .reason = "no" },
        { .error = "Busy", .phase = "offer", .reason = "no" },
        { .error = "Incompatible", .phase = "offer", .difference = &difference },
    };
    struct json_object *reply = method_migrate_progress(&progress);
    struct interface_text interface;
    struct daemon_parts p;

    parts_init(&p);
    read_interface(&p, DEVICE, &interface);
    interface_check_reply(&interface, "Migrate", reply);
    ck_assert(json_object_get_boolean(json_object_object_get(reply, "continues")));
    json_object_put(reply);
    for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
        reply = method_migrate_end(&outcomes[i]);
        ck_assert_int_eq(reply_error(reply) != NULL, outcomes[i].error != NULL);
        interface_check_reply(&interface, "Migrate", reply);
        ck_assert(!json_object_object_get_ex(reply, "continues", NULL));
        json_object_put(reply);
    }
    interface_free(&interface);
    parts_fini(&p);
}
END_TEST

/* Other errors in the source, that no test would meet. */
START_TEST(no_error_is_made_that_is_not_described)
{
    static const struct {
        const char *path;
        const char *before; /* the error's name */
    } files[] = {
        { "control/method.c", "error = METHOD_INTERFACE \"." },
        { "control/methods.c", "error = METHOD_INTERFACE \"." },
        { "control/methods_act.c", "error = METHOD_INTERFACE \"." },
        { "control/methods_migrate.c", "error = METHOD_INTERFACE \"." },
        { "control/methods_move.c", "error = METHOD_INTERFACE \"." },
        { "control/methods_stats.c", "error = METHOD_INTERFACE \"." },
        { "control/methods_status.c", "error = METHOD_INTERFACE \"." },
        { "control/monitor.c", "error = METHOD_INTERFACE \"." },
        { "migrate/transfers.c", "(x, INTERFACE \"" },
    };
    static char source[65536];
    struct interface_text interface;
    struct daemon_parts p;

    parts_init(&p);
    read_interface(&p, DEVICE, &interface);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        char path[512];
        FILE *f;

        snprintf(path, sizeof(path), "%s/daemon/%s", getenv("top_srcdir"), files[i].path);
        f = fopen(path, "r");
        ck_assert_msg(f != NULL, "%s", path);
        source[fread(source, 1, sizeof(source) - 1, f)] = '\0';
        fclose(f);
        for (const char *at = source; (at = strstr(at, files[i].before)) != NULL;) {
            char name[64];

            at += strlen(files[i].before);
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, "\""), at);
            ck_assert_msg(json_object_object_get_ex(interface.errors, name, NULL), "%s", name);
        }
    }
    interface_free(&interface);
    parts_fini(&p);
}
END_TEST

/*
 * The checker itself
 */

static const char small[] = "# A comment with (parentheses).\n"
                            "interface a.b\n"
                            "type T (x: ?int, y: []string)\n"
                            "method M(t: T, n: ?(z: bool)) -> (t: ?T, l: []T)\n"
                            "error E ()\n";

static const struct {
    const char *value; /* of M's reply */
    bool good;
} values[] = {
    { "{\"l\": []}", true },
    { "{\"l\": [], \"t\": null}", true },
    { "{\"l\": [{\"y\": []}, {\"y\": [\"a\"], \"x\": 1}]}", true },
    { "{}", false },
    { "{\"l\": null}", false },
    { "{\"l\": {}}", false },
    { "{\"l\": [], \"t\": 1}", false },
    { "{\"l\": [{}]}", false },
    { "{\"l\": [{\"y\": [1]}]}", false },
    { "{\"l\": [{\"y\": [], \"x\": 0.5}]}", false },
    { "{\"l\": [], \"m\": 1}", false },
    { "[]", false },
};

START_TEST(the_checker_checks)
{
    struct json_object *value = json_tokener_parse(values[_i].value);
    char why[INTERFACE_WHY_BYTES] = "";
    struct interface_text interface;
    bool good;

    interface_read(small, &interface);
    good = interface_matches(&interface, json_object_object_get(interface.outputs, "M"), value,
                             "value", why);
    ck_assert_msg(good == values[_i].good, "%s: %s", values[_i].value, why);
    ck_assert_int_eq(good, why[0] == '\0');
    interface_free(&interface);
    json_object_put(value);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        methods_and_parameters_are_the_same, replies_are_of_the_described_types,
        each_method_is_called_here,          errors_are_as_described,
        later_replies_are_as_described,      no_error_is_made_that_is_not_described,
    };
    const struct fake_loop_test loops[] = { { the_checker_checks, ARRAY_SIZE(values) } };

    return fake_run("interface", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
