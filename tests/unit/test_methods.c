/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods that were always there: what they say, and calls that are not good. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit/methods_kit.h"

START_TEST(status_of_an_idle_device)
{
    struct daemon_parts p;
    struct json_object *reply;

    parts_init(&p);
    reply = parts_call(&p, DEVICE ".GetStatus", NULL);
    ck_assert_ptr_null(reply_error(reply));
    expect_string(reply, "name", "dev0");
    ck_assert_int_gt(json_object_get_string_len(reply_at(reply, "version")), 0);
    expect_int(reply, "pid", getpid());
    ck_assert_int_ge(json_object_get_int64(reply_at(reply, "uptime")), 0);
    expect_string(reply, "identity.model", "timer");
    expect_int(reply, "identity.vendor", 0xdead);
    expect_int(reply, "identity.device", 0xbeef);
    expect_int(reply, "identity.subsystem_vendor", 0xcafe);
    expect_int(reply, "identity.subsystem_device", 0xbabe);
    expect_string(reply, "power", "D0");
    expect_bool(reply, "bus_master", false);
    expect_int(reply, "bar1_size", 16384);
    ck_assert_ptr_null(reply_at(reply, "client"));
    ck_assert_ptr_null(reply_at(reply, "timer.deadline"));
    expect_int(reply, "timer.fired", 0);
    expect_string(reply, "interrupts.mode", "intx");
    expect_bool(reply, "interrupts.level", false);
    expect_int(reply, "interrupts.status", 0);
    expect_int(reply, "interrupts.enable", 0xffffffff);
    expect_int(reply, "interrupts.count", 0);
    expect_int(reply, "dma.maps", 0);
    expect_int(reply, "dma.bytes_message", 0);
    json_object_put(reply);
    parts_fini(&p);
}
END_TEST

START_TEST(status_of_a_device_in_use)
{
    struct daemon_parts p;
    struct json_object *reply;

    parts_init(&p);
    parts_use(&p);
    reply = parts_call(&p, DEVICE ".GetStatus", "{}");
    expect_int(reply, "client.pid", 4321);
    expect_int(reply, "client.uid", 107);
    expect_int(reply, "client.since", FAKE_START_TIME);
    expect_string(reply, "client.profile", "qemu");
    expect_string(reply, "client.protocol", "0.1");
    expect_int(reply, "client.max_data_xfer_size", 1 << 20);
    expect_int(reply, "client.requests", 99);
    expect_int(reply, "client.errors", 3);
    expect_bool(reply, "bus_master", true);
    expect_int(reply, "timer.deadline", FAKE_START_TIME + 9);
    expect_int(reply, "timer.fired", FAKE_START_TIME + 2);
    expect_int(reply, "interrupts.status", TIMER_IRQ_SOFTWARE);
    expect_bool(reply, "interrupts.level", true);
    expect_int(reply, "interrupts.count", 2);
    expect_int(reply, "dma.maps", 1);
    expect_int(reply, "dma.shared", 0);
    expect_int(reply, "dma.files", 0);
    expect_int(reply, "dma.bytes_direct", 0);
    json_object_put(reply);
    fake_put(p.control.dev, CONFIG, 0x4a, 2, 1);
    fake_put(p.control.dev, CONFIG, 0x44, 2, 3);
    reply = parts_call(&p, DEVICE ".GetStatus", "null");
    expect_string(reply, "power", "D3hot");
    expect_string(reply, "interrupts.mode", "msi");
    expect_bool(reply, "interrupts.level", false);
    json_object_put(reply);
    p.client.uid_known = false;
    reply = parts_call(&p, DEVICE ".GetStatus", NULL);
    ck_assert_ptr_null(reply_at(reply, "client.uid"));
    expect_int(reply, "client.pid", 4321);
    json_object_put(reply);
    parts_fini(&p);
}
END_TEST

static void expect_delivery(struct daemon_parts *p, const char *parameters, const char *delivered,
                            const char *reason)
{
    struct json_object *reply = parts_call(p, DEVICE ".TriggerIrq", parameters);

    ck_assert_ptr_null(reply_error(reply));
    expect_string(reply, "delivered", delivered);
    if (reason != NULL)
        ck_assert_ptr_nonnull(strstr(json_object_get_string(reply_at(reply, "reason")), reason));
    else
        ck_assert(!json_object_object_get_ex(json_object_object_get(reply, "parameters"), "reason",
                                             NULL));
    json_object_put(reply);
}

static void acknowledge(struct daemon_parts *p)
{
    fake_put(p->control.dev, VFIO_PCI_BAR0_REGION_INDEX, 0x10, 4, 7);
}

START_TEST(interrupts_say_how_they_went)
{
    struct daemon_parts p;
    struct irq *irq;

    parts_init(&p);
    irq = device_irq(p.control.dev);
    expect_delivery(&p, NULL, "pending", "eventfd");
    fake_give_eventfd(irq, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_INTX_IRQ_INDEX, 0, p.line);
    ck_assert_uint_eq(fake_signals(p.line), 1);
    expect_delivery(&p, "{}", "pending", "asserted");
    acknowledge(&p);
    expect_delivery(&p, "{\"index\": \"intx\", \"vector\": 0}", "eventfd", NULL);
    ck_assert_uint_eq(fake_signals(p.line), 1);
    acknowledge(&p);
    irq_set(irq, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 0, 1, NULL, NULL, 0);
    expect_delivery(&p, "{\"index\": null, \"vector\": null}", "pending", "mask");
    acknowledge(&p);
    fake_put(p.control.dev, CONFIG, 4, 2, 0x400);
    expect_delivery(&p, "{\"index\": \"intx\"}", "pending", "disabled");
    acknowledge(&p);
    fake_put(p.control.dev, CONFIG, 0x44, 2, 3);
    expect_delivery(&p, "{\"index\": \"intx\"}", "pending", "D3hot");
    expect_delivery(&p, "{\"index\": \"err\"}", "pending", "eventfd");
    fake_give_eventfd(irq, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_REQ_IRQ_INDEX, 0, p.line);
    expect_delivery(&p, "{\"index\": \"req\"}", "eventfd", NULL);
    expect_delivery(&p, "{\"index\": \"msi\", \"vector\": 1}", "pending", "D3hot");
    parts_fini(&p);
}
END_TEST

START_TEST(the_dump_is_what_the_guest_reads)
{
    uint8_t config[256];
    char text[2 * sizeof(config) + 1];
    struct daemon_parts p;
    struct json_object *reply;
    enum irq_delivery how;

    parts_init(&p);
    device_trigger_irq(p.control.dev, VFIO_PCI_INTX_IRQ_INDEX, 0, &how); /* Interrupt Status */
    fake_put(p.control.dev, CONFIG, 0x3c, 1, 0xab);
    ck_assert_int_eq(device_read(p.control.dev, CONFIG, 0, config, sizeof(config)), 0);
    for (size_t i = 0; i < sizeof(config); i++)
        snprintf(text + 2 * i, 3, "%02x", config[i]);
    reply = parts_call(&p, DEVICE ".DumpConfig", NULL);
    ck_assert_ptr_null(reply_error(reply));
    expect_string(reply, "config", text);
    json_object_put(reply);
    parts_fini(&p);
}
END_TEST

START_TEST(a_reload_says_what_has_changed)
{
    struct daemon_parts p;

    parts_init(&p);
    for (p.n_changed = 0; p.n_changed <= 2; p.n_changed++) {
        struct json_object *reply = parts_call(&p, DEVICE ".Reload", NULL);
        struct json_object *changed = reply_at(reply, "changed");

        ck_assert_ptr_null(reply_error(reply));
        ck_assert(json_object_is_type(changed, json_type_array));
        ck_assert_uint_eq(json_object_array_length(changed), p.n_changed);
        if (p.n_changed == 2)
            ck_assert_str_eq(json_object_to_json_string_ext(changed, JSON_C_TO_STRING_PLAIN),
                             "[\"limits.max_dma_maps\",\"log_level\"]");
        json_object_put(reply);
    }
    parts_fini(&p);
}
END_TEST

static const char refusal[] = "d.json: bar1.size: changes only with a restart";

static const struct {
    const char *method;
    const char *parameters;
    const char *error;
    const char *key; /* of the error's parameters */
    const char *value;
} errors[] = {
    { DEVICE ".TriggerIrq", "{\"index\": \"nmi\"}", SERVICE ".InvalidParameter", "parameter",
      "index" },
    { DEVICE ".TriggerIrq", "{\"index\": 0}", SERVICE ".InvalidParameter", "parameter", "index" },
    { DEVICE ".TriggerIrq", "{\"vector\": \"0\"}", SERVICE ".InvalidParameter", "parameter",
      "vector" },
    { DEVICE ".TriggerIrq", "{\"vector\": -1}", SERVICE ".InvalidParameter", "parameter",
      "vector" },
    { DEVICE ".TriggerIrq", "{\"vector\": 4294967296}", SERVICE ".InvalidParameter", "parameter",
      "vector" },
    { DEVICE ".TriggerIrq", "{\"vector\": 0.5}", SERVICE ".InvalidParameter", "parameter",
      "vector" },
    { DEVICE ".TriggerIrq", "{\"vectors\": 1}", SERVICE ".InvalidParameter", "parameter",
      "vectors" },
    { DEVICE ".TriggerIrq", "[1]", SERVICE ".InvalidParameter", "parameter", "parameters" },
    { DEVICE ".TriggerIrq", "\"intx\"", SERVICE ".InvalidParameter", "parameter", "parameters" },
    { DEVICE ".TriggerIrq", "{\"vector\": 1}", DEVICE ".NoSuchIrq", "index", "intx" },
    { DEVICE ".TriggerIrq", "{\"index\": \"msi\", \"vector\": 2}", DEVICE ".NoSuchIrq", "vector",
      "2" },
    { DEVICE ".TriggerIrq", "{\"index\": \"req\", \"vector\": 1}", DEVICE ".NoSuchIrq", "index",
      "req" },
    { DEVICE ".GetStatus", "{\"all\": true}", SERVICE ".InvalidParameter", "parameter", "all" },
    { DEVICE ".DumpConfig", "{\"format\": \"hex\"}", SERVICE ".InvalidParameter", "parameter",
      "format" },
    { DEVICE ".Reload", NULL, DEVICE ".ReloadRefused", "reason", refusal },
    { DEVICE ".Reload", "{\"file\": \"x\"}", SERVICE ".InvalidParameter", "parameter", "file" },
    { DEVICE ".Nothing", NULL, SERVICE ".MethodNotFound", "method", DEVICE ".Nothing" },
    { DEVICE ".getstatus", NULL, SERVICE ".MethodNotFound", "method", DEVICE ".getstatus" },
    { SERVICE ".Nothing", NULL, SERVICE ".MethodNotFound", "method", SERVICE ".Nothing" },
    { "GetStatus", NULL, SERVICE ".MethodNotFound", "method", "GetStatus" },
    { "", NULL, SERVICE ".MethodNotFound", "method", "" },
    { "io.vfiouserd.Other.GetStatus", NULL, SERVICE ".InterfaceNotFound", "interface",
      "io.vfiouserd.Other" },
    { DEVICE "s.GetStatus", NULL, SERVICE ".InterfaceNotFound", "interface", DEVICE "s" },
    { SERVICE ".GetInterfaceDescription", NULL, SERVICE ".InvalidParameter", "parameter",
      "interface" },
    { SERVICE ".GetInterfaceDescription", "{\"interface\": 1}", SERVICE ".InvalidParameter",
      "parameter", "interface" },
    { SERVICE ".GetInterfaceDescription", "{\"interface\": \"a.b\"}", SERVICE ".InterfaceNotFound",
      "interface", "a.b" },
};

START_TEST(bad_calls_have_named_errors)
{
    struct daemon_parts p;
    struct json_object *reply;

    parts_init(&p);
    p.reload_refused = refusal;
    reply = parts_call(&p, errors[_i].method, errors[_i].parameters);
    ck_assert_pstr_eq(reply_error(reply), errors[_i].error);
    ck_assert_str_eq(json_object_get_string(reply_at(reply, errors[_i].key)), errors[_i].value);
    ck_assert_uint_eq(device_state(p.control.dev)->timer.irq_status, 0); /* nothing was done */
    json_object_put(reply);
    parts_fini(&p);
}
END_TEST

START_TEST(a_call_without_a_method_is_refused)
{
    static const char *const calls[] = { "{}", "{\"method\": 5}", "{\"method\": null}",
                                         "{\"parameters\": {}}" };
    struct daemon_parts p;

    parts_init(&p);
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        struct json_object *reply = parts_ask(&p, true, calls[i]).reply;

        ck_assert_str_eq(reply_error(reply), SERVICE ".InvalidParameter");
        expect_string(reply, "parameter", "method");
        json_object_put(reply);
    }
    parts_fini(&p);
}
END_TEST

/*
 * The interface's description
 */

/* Reads a file of daemon/control. */
static void read_file(const char *name, char *out, size_t size)
{
    const char *top = getenv("top_srcdir");
    char path[512];
    FILE *file;
    size_t n;

    snprintf(path, sizeof(path), "%s/daemon/control/%s", top != NULL ? top : ".", name);
    file = fopen(path, "r");
    ck_assert_msg(file != NULL, "cannot read %s", path);
    n = fread(out, 1, size - 1, file);
    ck_assert_uint_lt(n, size - 1);
    out[n] = '\0';
    fclose(file);
}

START_TEST(the_service_describes_itself)
{
    static char file[65536];
    struct daemon_parts p;
    struct json_object *reply;
    struct json_object *interfaces;

    read_file(DEVICE ".varlink", file, sizeof(file));
    parts_init(&p);
    reply = parts_call(&p, SERVICE ".GetInfo", NULL);
    expect_string(reply, "product", "vfio-userd");
    ck_assert_int_gt(json_object_get_string_len(reply_at(reply, "vendor")), 0);
    ck_assert_int_gt(json_object_get_string_len(reply_at(reply, "version")), 0);
    ck_assert_int_gt(json_object_get_string_len(reply_at(reply, "url")), 0);
    interfaces = reply_at(reply, "interfaces");
    ck_assert_uint_eq(json_object_array_length(interfaces), 2);
    ck_assert_str_eq(json_object_get_string(json_object_array_get_idx(interfaces, 0)), SERVICE);
    ck_assert_str_eq(json_object_get_string(json_object_array_get_idx(interfaces, 1)), DEVICE);
    json_object_put(reply);
    reply = parts_call(&p, SERVICE ".GetInterfaceDescription", "{\"interface\": \"" DEVICE "\"}");
    expect_string(reply, "description", file);
    json_object_put(reply);
    reply = parts_call(&p, SERVICE ".GetInterfaceDescription", "{\"interface\": \"" SERVICE "\"}");
    ck_assert_ptr_nonnull(
        strstr(json_object_get_string(reply_at(reply, "description")), "interface " SERVICE "\n"));
    json_object_put(reply);
    parts_fini(&p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        status_of_an_idle_device,       status_of_a_device_in_use,
        interrupts_say_how_they_went,   the_dump_is_what_the_guest_reads,
        a_reload_says_what_has_changed, a_call_without_a_method_is_refused,
        the_service_describes_itself,
    };
    const struct fake_loop_test loops[] = { { bad_calls_have_named_errors, ARRAY_SIZE(errors) } };

    return fake_run("methods", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
