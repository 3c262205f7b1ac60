/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events as those who monitor get them: what has happened, as replies to Monitor. Knows no socket;
 * who gets them, and when, is control.c's business.
 */
#ifndef VFIO_USERD_MONITOR_H
#define VFIO_USERD_MONITOR_H

#include <json-c/json.h>
#include <stdint.h>

#include "event.h"

/* The whole reply message, to be put; NULL without memory. */
struct json_object *monitor_event(const struct event *event);

/* That a reader was too slow for count events. */
struct json_object *monitor_lost(uint64_t count);

#endif
