/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "methods.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config-build.h"
#include "description.varlink.h"
#include "reload.h"

#define INTERFACE "io.vfiouserd.Device"
#define SERVICE   "org.varlink.service"
#define URL       "https://vfio-userd.invalid/"

#define NS_PER_S 1000000000ll

/* Errors: a name, and parameters that the method fills in. */
struct outcome {
    const char *error; /* NULL: success */
    struct json_object *parameters;
};

typedef void (*method_fn)(const struct control_host *host, struct json_object *parameters,
                          struct outcome *out);

static void add(struct json_object *object, const char *key, struct json_object *value)
{
    json_object_object_add(object, key, value);
}

static void add_int(struct json_object *object, const char *key, int64_t value)
{
    add(object, key, json_object_new_int64(value));
}

static void add_string(struct json_object *object, const char *key, const char *value)
{
    add(object, key, json_object_new_string(value));
}

static void invalid_parameter(struct outcome *out, const char *parameter)
{
    out->error = SERVICE ".InvalidParameter";
    add_string(out->parameters, "parameter", parameter);
}

/*
 * GetStatus
 */

static struct json_object *identity(const struct device_description *d)
{
    struct json_object *o = json_object_new_object();

    add_string(o, "model", "timer");
    add_int(o, "vendor", d->pci.vendor);
    add_int(o, "device", d->pci.device);
    add_int(o, "subsystem_vendor", d->pci.subsystem_vendor);
    add_int(o, "subsystem_device", d->pci.subsystem_device);
    return o;
}

static struct json_object *client(const struct control_host *host)
{
    struct client_info info;
    struct json_object *o;
    char protocol[16];

    if (!host->client(host->opaque, &info))
        return NULL;
    o = json_object_new_object();
    snprintf(protocol, sizeof(protocol), "%u.%u", info.caps.major, info.caps.minor);
    add_int(o, "pid", info.pid);
    add(o, "uid", info.uid_known ? json_object_new_int64(info.uid) : NULL);
    add_int(o, "since", info.since);
    add_string(o, "profile", client_profile_name(info.profile));
    add_string(o, "protocol", protocol);
    add_int(o, "max_data_xfer_size", (int64_t)info.caps.max_data_xfer_size);
    add_int(o, "requests", (int64_t)info.requests);
    add_int(o, "errors", (int64_t)info.errors);
    return o;
}

static struct json_object *timer(const struct timer_state *state)
{
    struct json_object *o = json_object_new_object();

    add(o, "deadline", state->deadline != 0 ? json_object_new_int64(state->deadline) : NULL);
    add_int(o, "fired", state->fired);
    return o;
}

static struct json_object *interrupts(struct device *dev)
{
    const struct device_state *state = device_state(dev);
    const struct irq *irq = device_irq(dev);
    struct json_object *o = json_object_new_object();

    add_string(o, "mode", irq_msi_in_use(irq) ? "msi" : "intx");
    add(o, "level", json_object_new_boolean(irq_level(irq)));
    add_int(o, "status", state->timer.irq_status);
    add_int(o, "enable", state->timer.irq_enable);
    add_int(o, "count", (int64_t)irq_count(irq));
    return o;
}

static struct json_object *dma(struct device *dev)
{
    struct json_object *o = json_object_new_object();
    struct dma_info info;

    dma_get_info(device_dma(dev), &info);
    add_int(o, "maps", info.maps);
    add_int(o, "shared", info.shared);
    add_int(o, "files", info.files);
    add_int(o, "bytes_direct", (int64_t)info.bytes_direct);
    add_int(o, "bytes_message", (int64_t)info.bytes_message);
    return o;
}

static void get_status(const struct control_host *host, struct json_object *parameters,
                       struct outcome *out)
{
    const struct device_description *d = device_description(host->dev);
    struct json_object *o = out->parameters;
    struct timespec now;

    (void)parameters;
    clock_gettime(CLOCK_MONOTONIC, &now);
    add_string(o, "name", host->name);
    add_string(o, "version", PACKAGE_VERSION);
    add_int(o, "pid", getpid());
    add_int(o, "uptime", (now.tv_sec * NS_PER_S + now.tv_nsec - host->started_ns) / NS_PER_S);
    add(o, "identity", identity(d));
    add_string(o, "power", device_in_d0(host->dev) ? "D0" : "D3hot");
    add(o, "bus_master", json_object_new_boolean(device_bus_master(host->dev)));
    add_int(o, "bar1_size", (int64_t)d->bar1.size);
    add(o, "client", client(host));
    add(o, "timer", timer(&device_state(host->dev)->timer));
    add(o, "interrupts", interrupts(host->dev));
    add(o, "dma", dma(host->dev));
}

/*
 * TriggerIrq
 */

static int find_index(const char *name, uint32_t *out)
{
    static const struct {
        const char *name;
        uint32_t index;
    } indexes[] = {
        { "intx", VFIO_PCI_INTX_IRQ_INDEX },
        { "msi", VFIO_PCI_MSI_IRQ_INDEX },
        { "err", VFIO_PCI_ERR_IRQ_INDEX },
        { "req", VFIO_PCI_REQ_IRQ_INDEX },
    };

    for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
        if (strcmp(name, indexes[i].name) == 0) {
            *out = indexes[i].index;
            return 0;
        }
    }
    return -EINVAL;
}

static const char *pending_reason(enum irq_delivery how)
{
    switch (how) {
    case IRQ_PENDING_NO_EVENTFD:
        return "no client has set an eventfd for it";
    case IRQ_PENDING_MASKED:
        return "the client has masked it";
    case IRQ_PENDING_DISABLED:
        return "the guest has disabled it: IRQ_ENABLE, INTx Disable or an MSI mask bit";
    case IRQ_PENDING_POWER:
        return "the device is in D3hot";
    case IRQ_ALREADY_ASSERTED:
        return "the line is asserted already and the guest has not acknowledged it";
    case IRQ_DELIVERED_EVENTFD:
        break;
    }
    return NULL;
}

/* An optional parameter: 1 present, 0 absent or null, -EINVAL of another type. */
static int optional(struct json_object *parameters, const char *key, enum json_type type,
                    struct json_object **out)
{
    if (!json_object_object_get_ex(parameters, key, out) || *out == NULL)
        return 0;
    return json_object_is_type(*out, type) ? 1 : -EINVAL;
}

static void trigger_irq(const struct control_host *host, struct json_object *parameters,
                        struct outcome *out)
{
    struct json_object *value;
    const char *name = "intx";
    enum irq_delivery how;
    uint32_t index;
    int64_t vector = 0;
    int found = optional(parameters, "index", json_type_string, &value);

    if (found == 1)
        name = json_object_get_string(value);
    if (found < 0 || find_index(name, &index) != 0) {
        invalid_parameter(out, "index");
        return;
    }
    found = optional(parameters, "vector", json_type_int, &value);
    if (found == 1)
        vector = json_object_get_int64(value);
    if (found < 0 || vector < 0 || vector > UINT16_MAX) {
        invalid_parameter(out, "vector");
        return;
    }
    if (device_trigger_irq(host->dev, index, (uint32_t)vector, &how) != 0) {
        out->error = INTERFACE ".NoSuchIrq";
        add_string(out->parameters, "index", name);
        add_int(out->parameters, "vector", vector);
        return;
    }
    add_string(out->parameters, "delivered", how == IRQ_DELIVERED_EVENTFD ? "eventfd" : "pending");
    if (how != IRQ_DELIVERED_EVENTFD)
        add_string(out->parameters, "reason", pending_reason(how));
}

/*
 * DumpConfig
 */

static void dump_config(const struct control_host *host, struct json_object *parameters,
                        struct outcome *out)
{
    static const char hex[] = "0123456789abcdef";
    size_t size = device_config_size(host->dev);
    uint8_t config[PCI_SPACE_EXP_SIZE];
    char text[2 * PCI_SPACE_EXP_SIZE];

    (void)parameters;
    device_read(host->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, config, (uint32_t)size);
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = hex[config[i] >> 4];
        text[2 * i + 1] = hex[config[i] & 15];
    }
    add(out->parameters, "config", json_object_new_string_len(text, (int)(2 * size)));
}

/*
 * Reload
 */

static void reload(const struct control_host *host, struct json_object *parameters,
                   struct outcome *out)
{
    struct reload_outcome outcome;
    struct json_object *changed;

    (void)parameters;
    if (host->reload(host->opaque, &outcome) != 0) {
        out->error = INTERFACE ".ReloadRefused";
        add_string(out->parameters, "reason", outcome.reason);
        return;
    }
    changed = json_object_new_array();
    for (unsigned i = 0; i < outcome.n_changed; i++)
        json_object_array_add(changed, json_object_new_string(outcome.changed[i].key));
    add(out->parameters, "changed", changed);
}

/*
 * org.varlink.service
 */

static void get_info(const struct control_host *host, struct json_object *parameters,
                     struct outcome *out)
{
    struct json_object *interfaces = json_object_new_array();

    (void)host;
    (void)parameters;
    add_string(out->parameters, "vendor", "vfio-userd");
    add_string(out->parameters, "product", "vfio-userd");
    add_string(out->parameters, "version", PACKAGE_VERSION);
    add_string(out->parameters, "url", URL);
    json_object_array_add(interfaces, json_object_new_string(SERVICE));
    json_object_array_add(interfaces, json_object_new_string(INTERFACE));
    add(out->parameters, "interfaces", interfaces);
}

/* The interface that every Varlink service has; <https://varlink.org/Service>. */
static const char service_description[] =
    "# The Varlink service that every service has.\n"
    "interface org.varlink.service\n"
    "method GetInfo() -> (vendor: string, product: string, version: string, url: string, "
    "interfaces: []string)\n"
    "method GetInterfaceDescription(interface: string) -> (description: string)\n"
    "error InterfaceNotFound (interface: string)\n"
    "error MethodNotFound (method: string)\n"
    "error MethodNotImplemented (method: string)\n"
    "error InvalidParameter (parameter: string)\n"
    "error PermissionDenied ()\n"
    "error ExpectedMore ()\n";

static void get_interface_description(const struct control_host *host,
                                      struct json_object *parameters, struct outcome *out)
{
    struct json_object *name;

    (void)host;
    if (!json_object_object_get_ex(parameters, "interface", &name) ||
        !json_object_is_type(name, json_type_string)) {
        invalid_parameter(out, "interface");
    } else if (strcmp(json_object_get_string(name), INTERFACE) == 0) {
        add_string(out->parameters, "description", description_varlink);
    } else if (strcmp(json_object_get_string(name), SERVICE) == 0) {
        add_string(out->parameters, "description", service_description);
    } else {
        out->error = SERVICE ".InterfaceNotFound";
        add_string(out->parameters, "interface", json_object_get_string(name));
    }
}

/*
 * Dispatch
 */

static const struct method {
    const char *name;
    method_fn call;
    const char *parameters[3]; /* the names that it takes */
} methods[] = {
    { INTERFACE ".GetStatus", get_status, { NULL } },
    { INTERFACE ".TriggerIrq", trigger_irq, { "index", "vector", NULL } },
    { INTERFACE ".DumpConfig", dump_config, { NULL } },
    { INTERFACE ".Reload", reload, { NULL } },
    { SERVICE ".GetInfo", get_info, { NULL } },
    { SERVICE ".GetInterfaceDescription", get_interface_description, { "interface", NULL } },
};

static const struct method *find_method(const char *name)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(name, methods[i].name) == 0)
            return &methods[i];
    }
    return NULL;
}

static bool has_interface(const char *method)
{
    return strncmp(method, INTERFACE ".", sizeof(INTERFACE)) == 0 ||
           strncmp(method, SERVICE ".", sizeof(SERVICE)) == 0;
}

static void no_such_method(const char *name, struct outcome *out)
{
    const char *dot = strrchr(name, '.');

    if (has_interface(name) || dot == NULL) {
        out->error = SERVICE ".MethodNotFound";
        add_string(out->parameters, "method", name);
    } else {
        out->error = SERVICE ".InterfaceNotFound";
        add(out->parameters, "interface", json_object_new_string_len(name, (int)(dot - name)));
    }
}

/* The first parameter that the method does not take, or NULL. */
static const char *unknown_parameter(const struct method *method, struct json_object *parameters)
{
    json_object_object_foreach (parameters, key, value) {
        bool known = false;

        (void)value;
        for (size_t i = 0; method->parameters[i] != NULL; i++)
            known = known || strcmp(method->parameters[i], key) == 0;
        if (!known)
            return key;
    }
    return NULL;
}

static void dispatch(const struct control_host *host, struct json_object *call, struct outcome *out)
{
    struct json_object *none = json_object_new_object();
    struct json_object *parameters = none;
    struct json_object *name;
    const struct method *method;
    const char *unknown;

    json_object_object_get_ex(call, "parameters", &parameters);
    if (parameters == NULL)
        parameters = none;
    if (!json_object_object_get_ex(call, "method", &name) ||
        !json_object_is_type(name, json_type_string)) {
        invalid_parameter(out, "method");
    } else if (!json_object_is_type(parameters, json_type_object)) {
        invalid_parameter(out, "parameters");
    } else if ((method = find_method(json_object_get_string(name))) == NULL) {
        no_such_method(json_object_get_string(name), out);
    } else if ((unknown = unknown_parameter(method, parameters)) != NULL) {
        invalid_parameter(out, unknown);
    } else {
        method->call(host, parameters, out);
    }
    json_object_put(none);
}

struct json_object *methods_call(const struct control_host *host, struct json_object *call)
{
    struct outcome out = { .parameters = json_object_new_object() };
    struct json_object *reply = json_object_new_object();

    if (out.parameters == NULL || reply == NULL) {
        json_object_put(out.parameters);
        json_object_put(reply);
        return NULL;
    }
    dispatch(host, call, &out);
    if (out.error != NULL)
        add_string(reply, "error", out.error);
    add(reply, "parameters", out.parameters);
    return reply;
}
