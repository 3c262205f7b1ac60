/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "ctl.h"

static void print(struct json_object *reply)
{
    (void)reply;
    puts("the device is reset");
}

const struct ctl_command ctl_reset = {
    .name = "reset",
    .summary = "reset the device, as a bus reset does",
    .help = "Registers and configuration space are then as after power-on. BAR1, the client and\n"
            "the memory that it shares stay. A guest's driver does not expect this.\n",
    .method = "Reset",
    .print = print,
};
