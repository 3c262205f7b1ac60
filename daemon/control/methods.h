/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The methods of io.vfiouserd.Device and org.varlink.service, a function each in a table. A method
 * takes its parameters, calls down into the device, and makes its reply; it knows no socket.
 */
#ifndef VFIO_USERD_METHODS_H
#define VFIO_USERD_METHODS_H

#include <json-c/json.h>

#include "control.h"

/*
 * Executes a call (a Varlink message with "method" and "parameters") and returns the reply message,
 * a result or an error, that the caller puts; NULL without memory.
 */
struct json_object *methods_call(const struct control_host *host, struct json_object *call);

#endif
