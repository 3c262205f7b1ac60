/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "ctl.h"

static void print(struct json_object *reply)
{
    struct json_object *changed = ctl_get(reply, "changed");
    size_t n = ctl_length(changed);

    if (n == 0) {
        puts("nothing has changed");
        return;
    }
    fputs("changed:", stdout);
    for (size_t i = 0; i < n; i++)
        printf("%s %s", i > 0 ? "," : "", json_object_get_string(ctl_at(changed, i)));
    putchar('\n');
}

const struct ctl_command ctl_reload = {
    .name = "reload",
    .summary = "read the device's description again, and say what has changed",
    .help =
        "log_level changes at once, limits change for the next client. A description that is\n"
        "not valid, or differs in anything else, is refused as a whole: that takes a restart.\n",
    .method = "Reload",
    .print = print,
};
