/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static int run_command(const struct ctl *ctl, const struct ctl_args *args)
{
    const struct ctl_command *command = ctl->command;
    struct json_object *reply;
    int status;

    if (command->run != NULL)
        return command->run(ctl, args);
    status = ctl_call(ctl, command->method,
                      command->parameters != NULL ? command->parameters(args) : NULL, &reply);
    if (status != CTL_DONE)
        return status;
    ctl_print_reply(ctl, reply, command->print);
    json_object_put(reply);
    return CTL_DONE;
}

static int run(int argc, char **argv)
{
    struct ctl ctl = { 0 };
    struct ctl_args args = { 0 };
    int status = ctl_parse(&ctl, NULL, argc, argv, &args);

    if (status >= 0)
        return status;
    if (optind == argc)
        return ctl_bad_usage(NULL, "a command is needed");
    argc -= optind;
    argv += optind;
    ctl.command = ctl_find_command(argv[0]);
    if (ctl.command == NULL)
        return ctl_bad_usage(NULL, "unknown command: %s", argv[0]);
    status = ctl_parse(&ctl, ctl.command, argc, argv, &args);
    return status >= 0 ? status : run_command(&ctl, &args);
}

int main(int argc, char **argv)
{
    int status = CTL_DONE;

    if (argc == 2 && strcmp(argv[1], "--completion-data") == 0)
        ctl_print_completion_data();
    else
        status = run(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "vfuctl: standard output: %s\n", errno != 0 ? strerror(errno) : "lost");
    return CTL_REFUSED;
}
