/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls to the control socket of a real daemon, for tests that look closer than one call does. */
#ifndef VFIO_USERD_TEST_CONTROL_KIT_H
#define VFIO_USERD_TEST_CONTROL_KIT_H

#include <check.h>
#include <json-c/json.h>
#include <string.h>

#include "integration/harness.h"
#include "peer.h"
#include "varlink.h"

#define DEVICE   "io.vfiouserd.Device"
#define SERVICE  "org.varlink.service"
#define REPLY_MS 5000

static inline struct varlink *control_open(const struct server *s)
{
    struct varlink *v;

    ck_assert_int_eq(varlink_connect(s->control, &v), 0);
    return v;
}

/* Sends a whole message, JSON text. */
static inline void control_send(struct varlink *v, const char *text)
{
    ck_assert_int_eq(varlink_send_text(v, text, strlen(text)), 0);
    ck_assert_int_eq(varlink_flush(v), 0);
}

/* The next message, to be put; NULL when the daemon has closed the connection. */
static inline struct json_object *control_next(struct varlink *v)
{
    int64_t deadline = peer_deadline(REPLY_MS);
    struct json_object *message = NULL;
    int n;

    while ((n = varlink_next(v, &message)) == 0) {
        ck_assert_int_eq(peer_wait(varlink_fd(v), POLLIN, -1, deadline), 0);
        n = varlink_fill(v);
        if (n == -ENOTCONN || n == -ECONNRESET)
            return NULL;
        ck_assert_int_ge(n, 0);
    }
    ck_assert_int_eq(n, 1);
    return message;
}

/* The error of the only reply to a call in text, "" for none; of a static buffer. */
static inline const char *control_error(struct varlink *v, const char *text)
{
    static char error[128];
    struct json_object *value = NULL;
    struct json_object *reply;

    control_send(v, text);
    reply = control_next(v);
    ck_assert_ptr_nonnull(reply);
    error[0] = '\0';
    if (json_object_object_get_ex(reply, "error", &value))
        strncat(error, json_object_get_string(value), sizeof(error) - 1);
    json_object_put(reply);
    return error;
}

/* A member of a reply's parameters. */
static inline struct json_object *control_member(struct json_object *reply, const char *name)
{
    struct json_object *value = NULL;

    ck_assert_msg(
        json_object_object_get_ex(json_object_object_get(reply, "parameters"), name, &value),
        "no %s in %s", name, json_object_get_string(reply));
    return value;
}

#endif
