/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "ctl.h"

static struct json_object *parameters(const struct ctl_args *args)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "level", json_object_new_string(args->argument));
    return o;
}

static void print(struct json_object *reply)
{
    printf("changed; it was %s\n", ctl_string(reply, "previous"));
}

const struct ctl_command ctl_log_level = {
    .name = "log-level",
    .summary = "set what the daemon logs, and say what it was",
    .help = "A reload sets it to what the description says again.\n",
    .argument = { .name = "LEVEL",
                  .value = "LEVEL",
                  .choices = "err|warning|info|debug",
                  .help = "err: what an operator must act on; warning: and peers that misbehave;\n"
                          "info: and who connects, and what changes; debug: and each message" },
    .method = "SetLogLevel",
    .parameters = parameters,
    .print = print,
};
