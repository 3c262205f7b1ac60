/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The methods on a device of fakes. Each reply that is got here has been checked against the
 * interfaces' text: its members, their types, and which may be missing.
 */
#ifndef VFIO_USERD_TEST_METHODS_KIT_H
#define VFIO_USERD_TEST_METHODS_KIT_H

#include <json-c/json.h>
#include <stdbool.h>

#include "control/methods.h"
#include "moving.h"
#include "stats.h"
#include "unit/fakes.h"

#define DEVICE  "io.vfiouserd.Device"
#define SERVICE "org.varlink.service"
#define CONFIG  VFIO_PCI_CONFIG_REGION_INDEX

/* The daemon, as methods see it. */
struct daemon_parts {
    struct fake_host host;
    struct device_description d;
    struct control_host control;
    struct stats stats;
    struct migration *migration;
    struct client_info client;
    bool attached;
    uv_loop_t loop; /* only there for the next two */
    struct listener *listener;
    struct moving *moving;
    bool capturing;
    const char *busy;           /* why nothing can be saved or loaded; NULL: it can */
    const char *reload_refused; /* the reason; NULL: it is not */
    unsigned n_changed;
    int line; /* an eventfd */
};

void parts_init(struct daemon_parts *p);
void parts_fini(struct daemon_parts *p);

/* A call of Receive with the offer of p's own device, or of one with a larger BAR1. */
void parts_receive_call(struct daemon_parts *p, bool larger, char *out, size_t size);

/* A client that has set much up, on a device that has done much. */
void parts_use(struct daemon_parts *p);

/* The whole answer to a call in text, as root's or a group member's; reply is to be put. */
struct methods_answer parts_ask(struct daemon_parts *p, bool owner, const char *text);

/* The reply to method (with its interface) with parameters, JSON text or NULL, as root calls it. */
struct json_object *parts_call(struct daemon_parts *p, const char *method, const char *parameters);

/* What is at path, names with dots between, in the reply's parameters. */
struct json_object *reply_at(struct json_object *reply, const char *path);
void expect_int(struct json_object *reply, const char *path, int64_t value);
void expect_string(struct json_object *reply, const char *path, const char *value);
void expect_bool(struct json_object *reply, const char *path, bool value);

/* The error's name, or NULL. */
const char *reply_error(struct json_object *reply);

#endif
