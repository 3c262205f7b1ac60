/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/methods.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reload.h"
#include "unit/fakes.h"

#define DEVICE  "io.vfiouserd.Device"
#define SERVICE "org.varlink.service"
#define CONFIG  VFIO_PCI_CONFIG_REGION_INDEX

struct daemon_parts {
    struct fake_host host;
    struct device_description d;
    struct control_host control;
    struct client_info client;
    bool attached;
    const char *reload_refused; /* the reason; NULL: it is not */
    unsigned n_changed;
    int line;
};

static bool get_client(void *opaque, struct client_info *out)
{
    const struct daemon_parts *p = opaque;

    *out = p->client;
    return p->attached;
}

static int fake_reload(void *opaque, struct reload_outcome *out)
{
    static const char *const keys[] = { "limits.max_dma_maps", "log_level" };
    const struct daemon_parts *p = opaque;

    *out = (struct reload_outcome) { .n_changed = p->n_changed };
    for (unsigned i = 0; i < p->n_changed; i++)
        strcpy(out->changed[i].key, keys[i]);
    if (p->reload_refused == NULL)
        return 0;
    strcpy(out->reason, p->reload_refused);
    return -EINVAL;
}

static void parts_init(struct daemon_parts *p)
{
    *p = (struct daemon_parts) { .line = fake_eventfd() };
    fake_host_init(&p->host);
    description_default(&p->d);
    p->d.pci.caps[1] = (struct pci_cap_description) { .kind = PCI_CAP_KIND_MSI, .vectors = 2 };
    p->d.pci.n_caps = 2;
    p->control = (struct control_host) { .opaque = p,
                                         .dev = fake_device(&p->host, &p->d),
                                         .name = "dev0",
                                         .client = get_client,
                                         .reload = fake_reload };
}

static void parts_fini(struct daemon_parts *p)
{
    device_free(p->control.dev);
    description_fini(&p->d);
    fake_host_fini(&p->host);
    close(p->line);
}

/* Calls method (with its interface) with parameters, JSON text or NULL. */
static struct json_object *call(struct daemon_parts *p, const char *method, const char *parameters)
{
    struct json_object *message = json_object_new_object();
    struct json_object *reply;

    json_object_object_add(message, "method", json_object_new_string(method));
    if (parameters != NULL)
        json_object_object_add(message, "parameters", json_tokener_parse(parameters));
    reply = methods_call(&p->control, message);
    ck_assert_ptr_nonnull(reply);
    json_object_put(message);
    return reply;
}

/* What is at path, names with dots between, in the reply's parameters. */
static struct json_object *at(struct json_object *reply, const char *path)
{
    struct json_object *o = reply;
    char names[128];
    char *rest;

    snprintf(names, sizeof(names), "parameters.%s", path);
    for (char *name = strtok_r(names, ".", &rest); name != NULL; name = strtok_r(NULL, ".", &rest))
        ck_assert_msg(json_object_object_get_ex(o, name, &o), "%s is missing", path);
    return o;
}

static void expect_int(struct json_object *reply, const char *path, int64_t value)
{
    ck_assert_msg(json_object_is_type(at(reply, path), json_type_int), "%s is no int", path);
    ck_assert_int_eq(json_object_get_int64(at(reply, path)), value);
}

static void expect_string(struct json_object *reply, const char *path, const char *value)
{
    ck_assert_msg(json_object_is_type(at(reply, path), json_type_string), "%s", path);
    ck_assert_str_eq(json_object_get_string(at(reply, path)), value);
}

static void expect_bool(struct json_object *reply, const char *path, bool value)
{
    ck_assert_msg(json_object_is_type(at(reply, path), json_type_boolean), "%s", path);
    ck_assert_int_eq(json_object_get_boolean(at(reply, path)), value);
}

static const char *error_of(struct json_object *reply)
{
    struct json_object *error = NULL;

    return json_object_object_get_ex(reply, "error", &error) ? json_object_get_string(error) : NULL;
}

START_TEST(status_of_an_idle_device)
{
    struct daemon_parts p;
    struct json_object *reply;

    parts_init(&p);
    reply = call(&p, DEVICE ".GetStatus", NULL);
    ck_assert_ptr_null(error_of(reply));
    expect_string(reply, "name", "dev0");
    ck_assert_int_gt(json_object_get_string_len(at(reply, "version")), 0);
    expect_int(reply, "pid", getpid());
    ck_assert_int_ge(json_object_get_int64(at(reply, "uptime")), 0);
    expect_string(reply, "identity.model", "timer");
    expect_int(reply, "identity.vendor", 0xdead);
    expect_int(reply, "identity.device", 0xbeef);
    expect_int(reply, "identity.subsystem_vendor", 0xcafe);
    expect_int(reply, "identity.subsystem_device", 0xbabe);
    expect_string(reply, "power", "D0");
    expect_bool(reply, "bus_master", false);
    expect_int(reply, "bar1_size", 16384);
    ck_assert_ptr_null(at(reply, "client"));
    ck_assert_ptr_null(at(reply, "timer.deadline"));
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

static void use_device(struct daemon_parts *p)
{
    struct device *dev = p->control.dev;
    enum irq_delivery how;
    int none = -1;

    p->attached = true;
    p->client = (struct client_info) { .pid = 4321,
                                       .uid = 107,
                                       .uid_known = true,
                                       .since = FAKE_START_TIME,
                                       .profile = PROFILE_QEMU,
                                       .caps = { .minor = 1, .max_data_xfer_size = 1 << 20 },
                                       .requests = 99,
                                       .errors = 3 };
    fake_put(dev, CONFIG, 4, 2, 4);
    fake_put(dev, VFIO_PCI_BAR0_REGION_INDEX, 8, 8, FAKE_START_TIME + 1);
    fake_set_time(&p->host, dev, FAKE_START_TIME + 2);
    fake_put(dev, VFIO_PCI_BAR0_REGION_INDEX, 8, 8, FAKE_START_TIME + 9);
    ck_assert_int_eq(device_trigger_irq(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, &how), 0);
    ck_assert_int_eq(dma_map(device_dma(dev), 0, 4096, 3, &none, 0), 0);
}

START_TEST(status_of_a_device_in_use)
{
    struct daemon_parts p;
    struct json_object *reply;

    parts_init(&p);
    use_device(&p);
    reply = call(&p, DEVICE ".GetStatus", "{}");
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
    reply = call(&p, DEVICE ".GetStatus", "null");
    expect_string(reply, "power", "D3hot");
    expect_string(reply, "interrupts.mode", "msi");
    expect_bool(reply, "interrupts.level", false);
    json_object_put(reply);
    p.client.uid_known = false;
    reply = call(&p, DEVICE ".GetStatus", NULL);
    ck_assert_ptr_null(at(reply, "client.uid"));
    expect_int(reply, "client.pid", 4321);
    json_object_put(reply);
    parts_fini(&p);
}
END_TEST

static void expect_delivery(struct daemon_parts *p, const char *parameters, const char *delivered,
                            const char *reason)
{
    struct json_object *reply = call(p, DEVICE ".TriggerIrq", parameters);

    ck_assert_ptr_null(error_of(reply));
    expect_string(reply, "delivered", delivered);
    if (reason != NULL)
        ck_assert_ptr_nonnull(strstr(json_object_get_string(at(reply, "reason")), reason));
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
    reply = call(&p, DEVICE ".DumpConfig", NULL);
    ck_assert_ptr_null(error_of(reply));
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
        struct json_object *reply = call(&p, DEVICE ".Reload", NULL);
        struct json_object *changed = at(reply, "changed");

        ck_assert_ptr_null(error_of(reply));
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
    { DEVICE ".TriggerIrq", "{\"index\": \"msix\"}", SERVICE ".InvalidParameter", "parameter",
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
    reply = call(&p, errors[_i].method, errors[_i].parameters);
    ck_assert_pstr_eq(error_of(reply), errors[_i].error);
    ck_assert_str_eq(json_object_get_string(at(reply, errors[_i].key)), errors[_i].value);
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
        struct json_object *message = json_tokener_parse(calls[i]);
        struct json_object *reply = methods_call(&p.control, message);

        ck_assert_str_eq(error_of(reply), SERVICE ".InvalidParameter");
        expect_string(reply, "parameter", "method");
        json_object_put(reply);
        json_object_put(message);
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
    reply = call(&p, SERVICE ".GetInfo", NULL);
    expect_string(reply, "product", "vfio-userd");
    ck_assert_int_gt(json_object_get_string_len(at(reply, "vendor")), 0);
    ck_assert_int_gt(json_object_get_string_len(at(reply, "version")), 0);
    ck_assert_int_gt(json_object_get_string_len(at(reply, "url")), 0);
    interfaces = at(reply, "interfaces");
    ck_assert_uint_eq(json_object_array_length(interfaces), 2);
    ck_assert_str_eq(json_object_get_string(json_object_array_get_idx(interfaces, 0)), SERVICE);
    ck_assert_str_eq(json_object_get_string(json_object_array_get_idx(interfaces, 1)), DEVICE);
    json_object_put(reply);
    reply = call(&p, SERVICE ".GetInterfaceDescription", "{\"interface\": \"" DEVICE "\"}");
    expect_string(reply, "description", file);
    json_object_put(reply);
    reply = call(&p, SERVICE ".GetInterfaceDescription", "{\"interface\": \"" SERVICE "\"}");
    ck_assert_ptr_nonnull(
        strstr(json_object_get_string(at(reply, "description")), "interface " SERVICE "\n"));
    json_object_put(reply);
    parts_fini(&p);
}
END_TEST

typedef void (*check_name)(struct daemon_parts *p, const char *name);

/* Calls check with each name that stands behind prefix in text; returns how many there are. */
static unsigned for_each(const char *file_text, const char *prefix, check_name check,
                         struct daemon_parts *p)
{
    unsigned n = 0;

    for (const char *found = strstr(file_text, prefix); found != NULL;
         found = strstr(found + 1, prefix)) {
        char name[64];

        snprintf(name, sizeof(name), "%.*s", (int)strcspn(found + strlen(prefix), " (\""),
                 found + strlen(prefix));
        check(p, name);
        n++;
    }
    return n;
}

static void method_is_implemented(struct daemon_parts *p, const char *name)
{
    char method[128];
    struct json_object *reply;

    snprintf(method, sizeof(method), DEVICE ".%s", name);
    reply = call(p, method, NULL);
    ck_assert_msg(error_of(reply) == NULL, "%s: %s", method, error_of(reply));
    json_object_put(reply);
}

/* The table of bad calls above has met each error that is described. */
static void error_is_met(struct daemon_parts *p, const char *name)
{
    bool met = false;

    (void)p;
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
        met = met || (strncmp(errors[i].error, DEVICE ".", sizeof(DEVICE)) == 0 &&
                      strcmp(errors[i].error + sizeof(DEVICE), name) == 0);
    ck_assert_msg(met, "error %s is described, and no call makes it", name);
}

static char description[65536];

static void name_is_described(struct daemon_parts *p, const char *name)
{
    char method[128];
    char error[128];

    (void)p;
    if (name[0] == '\0')
        return; /* the bare prefix, where names are compared */
    snprintf(method, sizeof(method), "\nmethod %s(", name);
    snprintf(error, sizeof(error), "\nerror %s (", name);
    ck_assert_msg(strstr(description, method) != NULL || strstr(description, error) != NULL,
                  "%s is implemented and not described", name);
}

START_TEST(what_is_described_is_implemented_and_the_reverse)
{
    static char source[65536];
    struct daemon_parts p;
    unsigned described;

    parts_init(&p);
    read_file("io.vfiouserd.Device.varlink", description, sizeof(description));
    described = for_each(description, "\nmethod ", method_is_implemented, &p);
    ck_assert_uint_ge(described, 3);
    described += for_each(description, "\nerror ", error_is_met, &p);
    ck_assert_uint_ge(described, 4);
    read_file("methods.c", source, sizeof(source));
    ck_assert_uint_ge(for_each(source, "INTERFACE \".", name_is_described, &p), described);
    parts_fini(&p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        status_of_an_idle_device,       status_of_a_device_in_use,
        interrupts_say_how_they_went,   the_dump_is_what_the_guest_reads,
        a_reload_says_what_has_changed, a_call_without_a_method_is_refused,
        the_service_describes_itself,   what_is_described_is_implemented_and_the_reverse,
    };
    const struct fake_loop_test loops[] = { { bad_calls_have_named_errors, ARRAY_SIZE(errors) } };

    return fake_run("methods", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
