/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The methods of io.vfiouserd.Device and org.varlink.service in a table, and their dispatch: who
 * may call, with which parameters. A method takes its parameters, calls down into the device, and
 * makes its reply; it knows no socket.
 */
#ifndef VFIO_USERD_METHODS_H
#define VFIO_USERD_METHODS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "control.h"
#include "method.h"

/* What came of a call. */
struct methods_answer {
    struct json_object *reply;   /* the message, to be put; NULL: there is no memory for it */
    bool wanted;                 /* false: the call was "oneway", the reply is not to be sent */
    bool failed;                 /* it is an error */
    const struct method *method; /* NULL: there is none such */
    bool denied;                 /* the caller has no right to call it */
    enum method_then then;
    struct method_taker taker; /* METHOD_THEN_HAND_OVER */
};

/*
 * Executes a call: a Varlink message with "method" and "parameters". owner: the caller is root or
 * the daemon's own user.
 */
void methods_call(const struct control_host *host, bool owner, struct json_object *call,
                  struct methods_answer *out);

/* The nth method, NULL behind the last. */
const struct method *methods_nth(size_t n);

#endif
