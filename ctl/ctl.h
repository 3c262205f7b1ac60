/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What vfuctl's commands share: the options that stand before a command, the call to the daemon,
 * and the table of commands that dispatch and --help are made from.
 */
#ifndef VFIO_USERD_CTL_H
#define VFIO_USERD_CTL_H

#include <json-c/json.h>
#include <stdbool.h>

/* Exit status of vfuctl. */
enum ctl_exit {
    CTL_DONE = 0,
    CTL_REFUSED = 1, /* the daemon said no */
    CTL_USAGE = 2,
    CTL_UNREACHABLE = 3, /* no daemon answers */
};

/* The options before the command. */
struct ctl {
    const char *instance; /* -d */
    const char *socket;   /* -S */
    bool json;
    bool quiet;
};

struct ctl_command {
    const char *name;
    const char *synopsis;                                     /* its own options, for help */
    const char *summary;                                      /* one line */
    const char *help;                                         /* the rest, complete lines */
    int (*run)(const struct ctl *ctl, int argc, char **argv); /* argv[0] is the command */
};

extern const struct ctl_command ctl_status;
extern const struct ctl_command ctl_trigger_irq;
extern const struct ctl_command ctl_dump_config;
extern const struct ctl_command ctl_reload;

/*
 * Calls method with parameters (which are put; may be NULL). Returns CTL_DONE with *out the reply's
 * parameters, which the caller puts; else the exit status, with the reason printed in one line.
 */
int ctl_call(const struct ctl *ctl, const char *method, struct json_object *parameters,
             struct json_object **out);

/* Prints an object as one line, for --json. Returns CTL_DONE. */
int ctl_print_json(struct json_object *object);

/* Says what is wrong with a command's usage; returns CTL_USAGE. */
int ctl_bad_usage(const struct ctl_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints a command's help and returns CTL_DONE. */
int ctl_help(const struct ctl_command *command);

/* Members of a reply; 0, false or "" where there is none of that type. */
struct json_object *ctl_get(struct json_object *object, const char *key);
long long ctl_int(struct json_object *object, const char *key);
bool ctl_bool(struct json_object *object, const char *key);
const char *ctl_string(struct json_object *object, const char *key);

#endif
