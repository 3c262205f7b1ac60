/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a method of the control socket is, and what methods share: their parameters' types, their
 * outcome, and the pieces of JSON that several of them have. Knows no socket.
 */
#ifndef VFIO_USERD_METHOD_H
#define VFIO_USERD_METHOD_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "client_info.h"
#include "control.h"
#include "moving.h"

#define METHOD_INTERFACE "io.vfiouserd.Device"
#define METHOD_SERVICE   "org.varlink.service"

/* What it takes to call a method. */
enum method_right {
    METHOD_READ, /* to get through to the socket */
    METHOD_ACT,  /* that control.group_may_write is not false, or to be one of the next: */
    METHOD_OWN,  /* root, or the daemon's own user */
};

/* How it must be called. */
enum method_form {
    METHOD_PLAIN,
    METHOD_MORE,    /* with "more": further replies follow */
    METHOD_UPGRADE, /* with "upgrade": the connection is used for something else then */
};

/* What the connection does when the reply is on its way. */
enum method_then {
    METHOD_THEN_NOTHING,
    METHOD_THEN_MONITOR,
    METHOD_THEN_HAND_OVER,
    METHOD_THEN_QUIT,
    METHOD_THEN_MIGRATE, /* the connection gets more replies; see method_migrate_request */
};

/*
 * Who gets the connection of a call with "upgrade" when its reply is on its way. take owns fd from
 * then on, also on failure (-errno), and is called with control_host's opaque.
 */
struct method_taker {
    int (*take)(void *opaque, int fd, uint32_t argument);
    uint32_t argument;
    const char *what; /* it is: "the capture" */
};

/* What a method makes. */
struct method_outcome {
    const char *error;              /* its full name; NULL: success */
    struct json_object *parameters; /* of the result or the error: an object, to be filled in */
    enum method_then then;          /* on success */
    struct method_taker taker;      /* METHOD_THEN_HAND_OVER */
};

/* parameters has been checked: known names, their types, none missing that is not optional. */
typedef void (*method_fn)(const struct control_host *host, struct json_object *parameters,
                          struct method_outcome *out);

struct method_parameter {
    const char *name; /* NULL ends a list of them */
    enum json_type type;
    bool optional;
};

#define METHOD_MAX_PARAMETERS 4

struct method {
    const char *name; /* in full */
    method_fn call;
    enum method_right right;
    enum method_form form;
    struct method_parameter parameters[METHOD_MAX_PARAMETERS + 1];
};

/* Adds a member; to an object that there was no memory for, it is lost. */
void method_add(struct json_object *object, const char *key, struct json_object *value);
void method_add_int(struct json_object *object, const char *key, int64_t value);
void method_add_bool(struct json_object *object, const char *key, bool value);
void method_add_string(struct json_object *object, const char *key, const char *value);

/* The same for an array. */
void method_append(struct json_object *array, struct json_object *value);

/* The outcome that a parameter's value is not possible. */
void method_invalid_parameter(struct method_outcome *out, const char *parameter);

/* The outcome that the device, or what the method needs, is in use: why, in words. */
void method_busy(struct method_outcome *out, const char *reason);

/* A parameter that is there and not null; else NULL. */
struct json_object *method_parameter(struct json_object *parameters, const char *name);

/* Types Client and Dma of the interface. */
struct json_object *method_client(const struct client_info *client);
struct json_object *method_dma(struct device *dev);

/* "intx", "msi", "err", "req", or NULL for a VFIO index that has no interrupts of ours. */
const char *method_irq_name(uint32_t index);

/* Adds delivered, and reason to an interrupt that is pending. */
void method_add_delivery(struct json_object *object, enum irq_delivery how);

/* GetStatus and DumpConfig: methods_status.c. */
void method_get_status(const struct control_host *host, struct json_object *parameters,
                       struct method_outcome *out);
void method_dump_config(const struct control_host *host, struct json_object *parameters,
                        struct method_outcome *out);

/* GetStats: methods_stats.c. */
void method_get_stats(const struct control_host *host, struct json_object *parameters,
                      struct method_outcome *out);

/* Monitor: monitor.c. */
void method_monitor(const struct control_host *host, struct json_object *parameters,
                    struct method_outcome *out);

/* Migrate and Receive: methods_migrate.c. */
void method_migrate(const struct control_host *host, struct json_object *parameters,
                    struct method_outcome *out);
void method_receive(const struct control_host *host, struct json_object *parameters,
                    struct method_outcome *out);

/*
 * What a call of Migrate asks for, with fd -1, and which of the call's fds is the connection, -1
 * for none. Strings are the parameters'.
 */
void method_migrate_request(struct json_object *parameters, struct moving_request *out,
                            int *connection);

/* Replies to Migrate after the first, to be put; NULL without memory. */
struct json_object *method_migrate_progress(const struct moving_progress *progress);
struct json_object *method_migrate_end(const struct moving_outcome *outcome);

/* Adds Busy to *out, and returns true, when a handover is under way that must not be disturbed. */
bool method_is_busy(const struct control_host *host, struct method_outcome *out);

/* What changes something: methods_act.c. */
void method_trigger_irq(const struct control_host *host, struct json_object *parameters,
                        struct method_outcome *out);
void method_reset(const struct control_host *host, struct json_object *parameters,
                  struct method_outcome *out);
void method_reload(const struct control_host *host, struct json_object *parameters,
                   struct method_outcome *out);
void method_set_log_level(const struct control_host *host, struct json_object *parameters,
                          struct method_outcome *out);
void method_quit(const struct control_host *host, struct json_object *parameters,
                 struct method_outcome *out);
void method_capture(const struct control_host *host, struct json_object *parameters,
                    struct method_outcome *out);

/* The device's state, out and in: methods_move.c. */
void method_save(const struct control_host *host, struct json_object *parameters,
                 struct method_outcome *out);
void method_load(const struct control_host *host, struct json_object *parameters,
                 struct method_outcome *out);

#endif
