/* SPDX-License-Identifier: BSD-3-Clause */
#include "methods.h"

#include <string.h>

#include "config-build.h"
#include "description.varlink.h"

/* Names are echoed in errors; none of ours is long. */
#define MAX_NAME 255

#define URL "https://vfio-userd.invalid/"

/*
 * org.varlink.service
 */

static void get_info(const struct control_host *host, struct json_object *parameters,
                     struct method_outcome *out)
{
    struct json_object *interfaces = json_object_new_array();

    (void)host;
    (void)parameters;
    method_add_string(out->parameters, "vendor", "vfio-userd");
    method_add_string(out->parameters, "product", "vfio-userd");
    method_add_string(out->parameters, "version", PACKAGE_VERSION);
    method_add_string(out->parameters, "url", URL);
    method_append(interfaces, json_object_new_string(METHOD_SERVICE));
    method_append(interfaces, json_object_new_string(METHOD_INTERFACE));
    method_add(out->parameters, "interfaces", interfaces);
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
    "error ExpectedMore ()\n"
    "error ExpectedUpgrade ()\n";

static void get_interface_description(const struct control_host *host,
                                      struct json_object *parameters, struct method_outcome *out)
{
    const char *name = json_object_get_string(method_parameter(parameters, "interface"));

    (void)host;
    if (strlen(name) > MAX_NAME) {
        method_invalid_parameter(out, "interface");
    } else if (strcmp(name, METHOD_INTERFACE) == 0) {
        method_add_string(out->parameters, "description", description_varlink);
    } else if (strcmp(name, METHOD_SERVICE) == 0) {
        method_add_string(out->parameters, "description", service_description);
    } else {
        out->error = METHOD_SERVICE ".InterfaceNotFound";
        method_add_string(out->parameters, "interface", name);
    }
}

/*
 * Dispatch
 */

#define OURS(name)     METHOD_INTERFACE "." name
#define SERVICE(name)  METHOD_SERVICE "." name
#define OPTIONAL(type) json_type_##type, true
#define REQUIRED(type) json_type_##type, false
#define NO_PARAMETERS                   \
    {                                   \
        {                               \
            NULL, json_type_null, false \
        }                               \
    }
#define PARAMETERS_END              \
    {                               \
        NULL, json_type_null, false \
    }

static const struct method methods[] = {
    { OURS("GetStatus"), method_get_status, METHOD_READ, METHOD_PLAIN, NO_PARAMETERS },
    { OURS("TriggerIrq"),
      method_trigger_irq,
      METHOD_ACT,
      METHOD_PLAIN,
      { { "index", OPTIONAL(string) }, { "vector", OPTIONAL(int) }, PARAMETERS_END } },
    { OURS("DumpConfig"), method_dump_config, METHOD_READ, METHOD_PLAIN, NO_PARAMETERS },
    { OURS("Reset"), method_reset, METHOD_ACT, METHOD_PLAIN, NO_PARAMETERS },
    { OURS("Reload"), method_reload, METHOD_ACT, METHOD_PLAIN, NO_PARAMETERS },
    { OURS("SetLogLevel"),
      method_set_log_level,
      METHOD_ACT,
      METHOD_PLAIN,
      { { "level", REQUIRED(string) }, PARAMETERS_END } },
    { OURS("Quit"), method_quit, METHOD_ACT, METHOD_PLAIN, NO_PARAMETERS },
    { OURS("GetStats"), method_get_stats, METHOD_READ, METHOD_PLAIN, NO_PARAMETERS },
    { OURS("Monitor"), method_monitor, METHOD_READ, METHOD_MORE, NO_PARAMETERS },
    { OURS("Capture"),
      method_capture,
      METHOD_ACT,
      METHOD_UPGRADE,
      { { "snaplen", OPTIONAL(int) }, PARAMETERS_END } },
    { OURS("Save"), method_save, METHOD_ACT, METHOD_UPGRADE, NO_PARAMETERS },
    { OURS("Load"), method_load, METHOD_OWN, METHOD_UPGRADE, NO_PARAMETERS },
    { OURS("Migrate"),
      method_migrate,
      METHOD_OWN,
      METHOD_MORE,
      { { "to", REQUIRED(string) },
        { "connection", OPTIONAL(int) },
        { "keep", OPTIONAL(boolean) },
        { "timeout", OPTIONAL(int) },
        PARAMETERS_END } },
    { OURS("Receive"),
      method_receive,
      METHOD_OWN,
      METHOD_UPGRADE,
      { { "offer", REQUIRED(string) },
        { "from", OPTIONAL(string) },
        { "timeout", OPTIONAL(int) },
        PARAMETERS_END } },
    { SERVICE("GetInfo"), get_info, METHOD_READ, METHOD_PLAIN, NO_PARAMETERS },
    { SERVICE("GetInterfaceDescription"),
      get_interface_description,
      METHOD_READ,
      METHOD_PLAIN,
      { { "interface", REQUIRED(string) }, PARAMETERS_END } },
};

#define N_METHODS (sizeof(methods) / sizeof(methods[0]))

const struct method *methods_nth(size_t n)
{
    return n < N_METHODS ? &methods[n] : NULL;
}

static bool is_name(struct json_object *value)
{
    return json_object_is_type(value, json_type_string) &&
           json_object_get_string_len(value) <= MAX_NAME;
}

static const struct method *find_method(const char *name)
{
    for (size_t i = 0; i < N_METHODS; i++) {
        if (strcmp(name, methods[i].name) == 0)
            return &methods[i];
    }
    return NULL;
}

static bool has_interface(const char *method)
{
    return strncmp(method, OURS(""), sizeof(METHOD_INTERFACE)) == 0 ||
           strncmp(method, SERVICE(""), sizeof(METHOD_SERVICE)) == 0;
}

static void no_such_method(const char *name, struct method_outcome *out)
{
    const char *dot = strrchr(name, '.');

    if (has_interface(name) || dot == NULL) {
        out->error = METHOD_SERVICE ".MethodNotFound";
        method_add_string(out->parameters, "method", name);
    } else {
        out->error = METHOD_SERVICE ".InterfaceNotFound";
        method_add(out->parameters, "interface",
                   json_object_new_string_len(name, (int)(dot - name)));
    }
}

static const struct method_parameter *find_parameter(const struct method *method, const char *name)
{
    for (const struct method_parameter *p = method->parameters; p->name != NULL; p++) {
        if (strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

/* The first parameter that is not as the method wants it, or NULL. */
static const char *bad_parameter(const struct method *method, struct json_object *parameters)
{
    json_object_object_foreach (parameters, key, value) {
        const struct method_parameter *p = find_parameter(method, key);

        if (p == NULL || (value != NULL && !json_object_is_type(value, p->type)))
            return strlen(key) <= MAX_NAME ? key : "parameters";
    }
    for (const struct method_parameter *p = method->parameters; p->name != NULL; p++) {
        if (!p->optional && method_parameter(parameters, p->name) == NULL)
            return p->name;
    }
    return NULL;
}

static bool may_call(const struct control_host *host, bool owner, const struct method *method)
{
    if (owner)
        return true;
    return method->right == METHOD_READ ||
           (method->right == METHOD_ACT && device_description(host->dev)->control.group_may_write);
}

/* The ways in which a call may be made. */
struct flags {
    bool more;
    bool oneway;
    bool upgrade;
};

/* Returns the flag that is none, or NULL. */
static const char *read_flags(struct json_object *call, struct flags *out)
{
    struct {
        const char *name;
        bool *flag;
    } flags[] = {
        { "oneway", &out->oneway },
        { "more", &out->more },
        { "upgrade", &out->upgrade },
    };
    const char *bad = NULL;

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        struct json_object *value = method_parameter(call, flags[i].name);

        *flags[i].flag =
            json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
        if (value != NULL && !json_object_is_type(value, json_type_boolean))
            bad = flags[i].name;
    }
    return bad;
}

/* Whether the call has the form that the method needs; else the outcome says so. */
static bool has_form(const struct method *method, const struct flags *flags,
                     struct method_outcome *out)
{
    if (method->form == METHOD_MORE && !flags->more)
        out->error = METHOD_SERVICE ".ExpectedMore";
    else if (method->form == METHOD_UPGRADE && !flags->upgrade)
        out->error = METHOD_SERVICE ".ExpectedUpgrade";
    else if (method->form != METHOD_PLAIN && flags->oneway)
        method_invalid_parameter(out, "oneway"); /* what follows a reply needs one */
    return out->error == NULL;
}

static void call_method(const struct control_host *host, const struct method *method,
                        const struct flags *flags, struct json_object *parameters,
                        struct method_outcome *out)
{
    struct json_object *none = NULL;
    const char *bad;

    if (parameters == NULL)
        parameters = none = json_object_new_object();
    if (!json_object_is_type(parameters, json_type_object))
        method_invalid_parameter(out, "parameters");
    else if ((bad = bad_parameter(method, parameters)) != NULL)
        method_invalid_parameter(out, bad);
    else if (has_form(method, flags, out))
        method->call(host, parameters, out);
    json_object_put(none);
}

static void dispatch(const struct control_host *host, bool owner, struct json_object *call,
                     struct methods_answer *answer, struct method_outcome *out)
{
    struct json_object *name = method_parameter(call, "method");
    struct flags flags;
    const char *bad = read_flags(call, &flags);

    answer->wanted = !flags.oneway;
    if (!is_name(name)) {
        method_invalid_parameter(out, "method");
    } else if (bad != NULL) {
        method_invalid_parameter(out, bad);
    } else if ((answer->method = find_method(json_object_get_string(name))) == NULL) {
        no_such_method(json_object_get_string(name), out);
    } else if (!may_call(host, owner, answer->method)) {
        answer->denied = true;
        out->error = METHOD_SERVICE ".PermissionDenied";
    } else {
        call_method(host, answer->method, &flags, method_parameter(call, "parameters"), out);
    }
}

void methods_call(const struct control_host *host, bool owner, struct json_object *call,
                  struct methods_answer *out)
{
    struct method_outcome outcome = { .parameters = json_object_new_object() };
    struct json_object *reply = json_object_new_object();

    *out = (struct methods_answer) { .wanted = true };
    if (outcome.parameters == NULL || reply == NULL) {
        json_object_put(outcome.parameters);
        json_object_put(reply);
        return;
    }
    dispatch(host, owner, call, out, &outcome);
    if (outcome.error != NULL)
        method_add_string(reply, "error", outcome.error);
    method_add(reply, "parameters", outcome.parameters);
    if (outcome.then == METHOD_THEN_MONITOR || outcome.then == METHOD_THEN_MIGRATE)
        method_add_bool(reply, "continues", true);
    out->reply = reply;
    out->failed = outcome.error != NULL;
    out->then = outcome.then;
    out->taker = outcome.taker;
}
