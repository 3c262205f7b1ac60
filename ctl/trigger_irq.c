/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"

enum { INDEX, VECTOR };

static const struct ctl_option options[] = {
    [INDEX] = { .name = "index",
                .value = "WHICH",
                .choices = "intx|msi|msix|err|req",
                .help = "which interrupt; intx when not given\n"
                        "intx: sets SOFTWARE in IRQ_STATUS, and goes out as the guest has set\n"
                        "interrupts up; msi, msix, err, req: raises a vector of these\n"
                        "directly; req asks the VMM to give the device back" },
    [VECTOR] = { .name = "vector",
                 .value = "N",
                 .max = 65535,
                 .help = "which vector; 0 when not given" },
    { 0 },
};

static struct json_object *parameters(const struct ctl_args *args)
{
    const char *index = args->options[INDEX];
    const char *vector = args->options[VECTOR];
    struct json_object *o = json_object_new_object();

    if (index != NULL)
        json_object_object_add(o, "index", json_object_new_string(index));
    if (vector != NULL)
        json_object_object_add(o, "vector", json_object_new_int64(strtol(vector, NULL, 10)));
    return o;
}

static void print(struct json_object *reply)
{
    if (ctl_get(reply, "reason") != NULL)
        printf("%s: %s\n", ctl_string(reply, "delivered"), ctl_string(reply, "reason"));
    else
        printf("delivered by %s\n", ctl_delivery(reply));
}

const struct ctl_command ctl_trigger_irq = {
    .name = "trigger-irq",
    .summary = "raise an interrupt, and say how it was delivered",
    .options = options,
    .method = "TriggerIrq",
    .parameters = parameters,
    .print = print,
};
