/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

enum option_code { OPT_INDEX = 256, OPT_VECTOR };

static const struct option options[] = {
    { "index", required_argument, NULL, OPT_INDEX },
    { "vector", required_argument, NULL, OPT_VECTOR },
    { NULL, 0, NULL, 0 },
};

static const char *const indexes[] = { "intx", "msi", "err", "req" };

static bool is_index(const char *word)
{
    for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
        if (strcmp(word, indexes[i]) == 0)
            return true;
    }
    return false;
}

static int parse(int argc, char **argv, struct json_object *parameters)
{
    int code;

    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        char *end;
        long vector;

        if (code == OPT_INDEX) {
            if (!is_index(optarg))
                return ctl_bad_usage(&ctl_trigger_irq,
                                     "--index takes intx, msi, err or req, not %s", optarg);
            json_object_object_add(parameters, "index", json_object_new_string(optarg));
        } else if (code == OPT_VECTOR) {
            vector = strtol(optarg, &end, 10);
            if (*optarg == '\0' || *end != '\0' || vector < 0 || vector > 65535)
                return ctl_bad_usage(&ctl_trigger_irq, "--vector takes a number, not %s", optarg);
            json_object_object_add(parameters, "vector", json_object_new_int64(vector));
        } else {
            return ctl_bad_usage(&ctl_trigger_irq, "unknown or incomplete option");
        }
    }
    if (optind < argc)
        return ctl_bad_usage(&ctl_trigger_irq, "takes options only, not %s", argv[optind]);
    return CTL_DONE;
}

static int run(const struct ctl *ctl, int argc, char **argv)
{
    struct json_object *parameters = json_object_new_object();
    struct json_object *reply;
    int status = parse(argc, argv, parameters);

    if (status != CTL_DONE) {
        json_object_put(parameters);
        return status;
    }
    status = ctl_call(ctl, "TriggerIrq", parameters, &reply);
    if (status != CTL_DONE)
        return status;
    if (ctl->json)
        ctl_print_json(reply);
    else if (!ctl->quiet && ctl_get(reply, "reason") != NULL)
        printf("%s: %s\n", ctl_string(reply, "delivered"), ctl_string(reply, "reason"));
    else if (!ctl->quiet)
        printf("delivered by %s\n", ctl_string(reply, "delivered"));
    json_object_put(reply);
    return CTL_DONE;
}

const struct ctl_command ctl_trigger_irq = {
    .name = "trigger-irq",
    .synopsis = "[--index intx|msi|err|req] [--vector N]",
    .summary = "raise an interrupt, and say how it was delivered",
    .help =
        "  --index WHICH  intx (the default): sets SOFTWARE in IRQ_STATUS, and the interrupt\n"
        "                 goes out as the guest has set interrupts up; msi, err or req: raises\n"
        "                 a vector of these directly. req asks the VMM to give the device back.\n"
        "  --vector N     the vector, from 0\n",
    .run = run,
};
