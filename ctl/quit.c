/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "ctl.h"

static void print(struct json_object *reply)
{
    (void)reply;
    puts("the daemon ends");
}

/* The daemon closes its connections when it has answered the client's requests. */
static int run(const struct ctl *ctl, const struct ctl_args *args)
{
    struct json_object *reply;
    struct ctl_link *link;
    int status = ctl_connect(ctl, &link);

    (void)args;
    if (status != CTL_DONE)
        return status;
    status = ctl_ask(link, "Quit", NULL, &reply);
    if (status == CTL_DONE) {
        if (ctl_wait_closed(link)) {
            ctl_print_reply(ctl, reply, print);
        } else {
            fputs("vfuctl: the daemon has not ended within 5 s\n", stderr);
            status = CTL_REFUSED;
        }
        json_object_put(reply);
    }
    ctl_disconnect(link);
    return status;
}

const struct ctl_command ctl_quit = {
    .name = "quit",
    .summary = "end the daemon, as SIGTERM does",
    .help = "The client's requests that are under way are answered, then it is disconnected.\n"
            "Where the service manager holds the sockets, the next connection starts the\n"
            "daemon again.\n",
    .run = run,
};
