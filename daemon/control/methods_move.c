/* SPDX-License-Identifier: BSD-3-Clause */
#include "method.h"

/* Lets take have the connection, unless there is a reason against it. */
static void hand_over(struct method_outcome *out, const char *busy,
                      int (*take)(void *opaque, int fd, uint32_t unused), const char *what)
{
    if (busy != NULL) {
        method_busy(out, busy);
        return;
    }
    out->then = METHOD_THEN_HAND_OVER;
    out->taker = (struct method_taker) { .take = take, .what = what };
}

void method_save(const struct control_host *host, struct json_object *parameters,
                 struct method_outcome *out)
{
    (void)parameters;
    hand_over(out, host->refuse_save(host->opaque), host->save, "the save");
}

void method_load(const struct control_host *host, struct json_object *parameters,
                 struct method_outcome *out)
{
    (void)parameters;
    hand_over(out, host->refuse_load(host->opaque), host->load, "the load");
}
