/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters in the text form that Prometheus reads, both as OpenMetrics and, for its textfile
 * collector and promtool, in its own older format. The two differ in what a counter's TYPE and HELP
 * name: the older format, and OpenMetrics 2.0, the sample's full name with _total, as here;
 * OpenMetrics 1.0 without it, which the older format's readers do not understand, while Prometheus
 * reads either.
 */
#ifndef VFIO_USERD_CTL_OPENMETRICS_H
#define VFIO_USERD_CTL_OPENMETRICS_H

#include <json-c/json.h>

/* Prints the replies of GetStats and GetStatus. */
void openmetrics_print(struct json_object *stats, struct json_object *status);

#endif
