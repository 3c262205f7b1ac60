/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "ctl.h"

static void print_changed(struct json_object *changed)
{
    size_t n =
        json_object_is_type(changed, json_type_array) ? json_object_array_length(changed) : 0;

    if (n == 0) {
        puts("nothing has changed");
        return;
    }
    fputs("changed:", stdout);
    for (size_t i = 0; i < n; i++)
        printf("%s %s", i > 0 ? "," : "",
               json_object_get_string(json_object_array_get_idx(changed, i)));
    putchar('\n');
}

static int run(const struct ctl *ctl, int argc, char **argv)
{
    struct json_object *reply;
    int status;

    if (argc > 1)
        return ctl_bad_usage(&ctl_reload, "takes no arguments, not %s", argv[1]);
    status = ctl_call(ctl, "Reload", NULL, &reply);
    if (status != CTL_DONE)
        return status;
    if (ctl->json)
        ctl_print_json(reply);
    else if (!ctl->quiet)
        print_changed(ctl_get(reply, "changed"));
    json_object_put(reply);
    return CTL_DONE;
}

const struct ctl_command ctl_reload = {
    .name = "reload",
    .synopsis = "",
    .summary = "read the device's description again, and say what has changed",
    .help =
        "log_level changes at once, limits change for the next client. A description that is\n"
        "not valid, or differs in anything else, is refused as a whole: that takes a restart.\n",
    .run = run,
};
