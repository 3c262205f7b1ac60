/* SPDX-License-Identifier: BSD-3-Clause */
/* Options, the table of commands, and finding the daemon. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config-build.h"
#include "ctl.h"
#include "varlink.h"

#define CALL_TIMEOUT_MS 5000
#define INTERFACE       "io.vfiouserd.Device."

static const struct ctl_command *const commands[] = {
    &ctl_status,
    &ctl_trigger_irq,
    &ctl_dump_config,
    &ctl_reload,
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/*
 * Help
 */

static void print_usage(FILE *out)
{
    fputs("Usage: vfuctl [-d NAME | -S PATH] [--json] [-q] COMMAND [OPTION]...\n"
          "Talks to a running vfio-userd over its control socket.\n"
          "\n"
          "  -d, --device NAME   the instance NAME: /run/vfio-userd/NAME/control.sock\n"
          "  -S, --socket PATH   the control socket at PATH\n"
          "      --json          print each reply as one JSON object a line\n"
          "  -q, --quiet         print nothing but errors\n"
          "  -h, --help          print this, or with a command its own help\n"
          "      --version       print the version\n"
          "\n"
          "Without -d and -S: the only instance that there is.\n"
          "\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-14s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\nExit status: 0 done, 1 the daemon refused, 2 usage, 3 no daemon answers.\n", out);
}

int ctl_help(const struct ctl_command *command)
{
    printf("Usage: vfuctl [OPTION]... %s%s%s\n%s\n\n%s", command->name,
           command->synopsis[0] != '\0' ? " " : "", command->synopsis, command->summary,
           command->help);
    return CTL_DONE;
}

int ctl_bad_usage(const struct ctl_command *command, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "vfuctl: %s: ", command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry 'vfuctl %s --help'.\n", command->name);
    return CTL_USAGE;
}

/*
 * Replies
 */

struct json_object *ctl_get(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;

    json_object_object_get_ex(object, key, &value);
    return value;
}

long long ctl_int(struct json_object *object, const char *key)
{
    return json_object_get_int64(ctl_get(object, key));
}

bool ctl_bool(struct json_object *object, const char *key)
{
    return json_object_get_boolean(ctl_get(object, key));
}

const char *ctl_string(struct json_object *object, const char *key)
{
    const char *text = json_object_get_string(ctl_get(object, key));

    return text != NULL ? text : "";
}

int ctl_print_json(struct json_object *object)
{
    puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
    return CTL_DONE;
}

/*
 * Finding the daemon
 */

static const char *run_dir(void)
{
    const char *dir = getenv("VFIO_USERD_RUN_DIR");

    return dir != NULL && dir[0] != '\0' ? dir : RUN_DIR;
}

static bool has_control_socket(const char *name, char *path, size_t size)
{
    struct stat st;

    snprintf(path, size, "%s/%s/control.sock", run_dir(), name);
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* The only instance, else a list of them. */
static int find_only(char *path, size_t size)
{
    DIR *dir = opendir(run_dir());
    struct dirent *entry;
    char names[1024] = "";
    char candidate[PATH_MAX];
    size_t len = 0;
    unsigned found = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' ||
            !has_control_socket(entry->d_name, candidate, sizeof(candidate)))
            continue;
        if (++found == 1)
            snprintf(path, size, "%s", candidate);
        if (len < sizeof(names))
            len += (size_t)snprintf(names + len, sizeof(names) - len, " %s", entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    if (found == 1)
        return CTL_DONE;
    if (found == 0)
        fprintf(stderr, "vfuctl: no instance runs under %s: say which with -d NAME or -S PATH\n",
                run_dir());
    else
        fprintf(stderr, "vfuctl: %u instances run: say which with -d:%s\n", found, names);
    return CTL_USAGE;
}

static int find_socket(const struct ctl *ctl, char *path, size_t size)
{
    if (ctl->socket != NULL) {
        snprintf(path, size, "%s", ctl->socket);
        return CTL_DONE;
    }
    if (ctl->instance != NULL) {
        snprintf(path, size, "%s/%s/control.sock", run_dir(), ctl->instance);
        return CTL_DONE;
    }
    return find_only(path, size);
}

/*
 * Calls
 */

/* One line: the error's name and its fields. */
static void print_error(struct json_object *reply, const char *error)
{
    struct json_object *parameters = ctl_get(reply, "parameters");
    const char *dot = strrchr(error, '.');

    fprintf(stderr, "vfuctl: %s", dot != NULL ? dot + 1 : error);
    if (json_object_is_type(parameters, json_type_object)) {
        json_object_object_foreach (parameters, key, value)
            fprintf(stderr, " %s=%s", key, json_object_get_string(value));
    }
    fputc('\n', stderr);
}

static int take_reply(struct json_object *reply, struct json_object **out)
{
    const char *error = json_object_get_string(ctl_get(reply, "error"));
    struct json_object *parameters = ctl_get(reply, "parameters");

    if (error != NULL) {
        print_error(reply, error);
        return CTL_REFUSED;
    }
    *out = parameters != NULL ? json_object_get(parameters) : json_object_new_object();
    return CTL_DONE;
}

/* Who may: the socket's mode says so, as far as we may see it. */
static void print_denied(const char *path)
{
    const struct group *group;
    struct stat st;

    fprintf(stderr, "vfuctl: %s: permission denied", path);
    if (stat(path, &st) == 0 && (st.st_mode & S_IWGRP) != 0) {
        group = getgrgid(st.st_gid);
        fputs(": only root and members of group ", stderr);
        if (group != NULL)
            fputs(group->gr_name, stderr);
        else
            fprintf(stderr, "%u", st.st_gid);
        fputs(" may connect", stderr);
    }
    fputc('\n', stderr);
}

static int unreachable(const char *path, int err)
{
    const char *why = err == -ENOENT         ? "there is no such socket: does the daemon run?"
                      : err == -ECONNREFUSED ? "nobody serves this socket: does the daemon run?"
                                             : strerror(-err);

    if (err == -EACCES)
        print_denied(path);
    else
        fprintf(stderr, "vfuctl: %s: %s\n", path, why);
    return CTL_UNREACHABLE;
}

int ctl_call(const struct ctl *ctl, const char *method, struct json_object *parameters,
             struct json_object **out)
{
    char path[PATH_MAX];
    char name[128];
    struct varlink *v;
    struct json_object *reply;
    int status = find_socket(ctl, path, sizeof(path));
    int err = 0;

    if (status == CTL_DONE) {
        err = varlink_connect(path, &v);
        if (err != 0)
            status = unreachable(path, err);
    }
    if (status == CTL_DONE) {
        snprintf(name, sizeof(name), INTERFACE "%s", method);
        err = varlink_call(v, name, parameters, CALL_TIMEOUT_MS, &reply);
        status = err == 0 ? take_reply(reply, out) : unreachable(path, err);
        if (err == 0)
            json_object_put(reply);
        varlink_free(v);
    }
    json_object_put(parameters);
    return status;
}

/*
 * Options
 */

enum option_code { OPT_JSON = 256, OPT_VERSION };

static const struct option long_options[] = {
    { "device", required_argument, NULL, 'd' },
    { "socket", required_argument, NULL, 'S' },
    { "json", no_argument, NULL, OPT_JSON },
    { "quiet", no_argument, NULL, 'q' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, OPT_VERSION },
    { NULL, 0, NULL, 0 },
};

static int bad_usage(const char *text, const char *value)
{
    fprintf(stderr, "vfuctl: %s%s\nTry 'vfuctl --help'.\n", text, value);
    return CTL_USAGE;
}

/* Returns -1 to go on, or an exit status. */
static int parse_option(int code, struct ctl *ctl)
{
    switch (code) {
    case 'd':
        ctl->instance = optarg;
        return strchr(optarg, '/') == NULL && optarg[0] != '.' && optarg[0] != '\0'
                   ? -1
                   : bad_usage("-d takes a name, not ", optarg);
    case 'S':
        ctl->socket = optarg;
        return -1;
    case OPT_JSON:
        ctl->json = true;
        return -1;
    case 'q':
        ctl->quiet = true;
        return -1;
    case 'h':
        print_usage(stdout);
        return CTL_DONE;
    case OPT_VERSION:
        printf("vfuctl %s\n", PACKAGE_VERSION);
        return CTL_DONE;
    default:
        return bad_usage("unknown or incomplete option", "");
    }
}

static bool asks_for_help(int argc, char **argv)
{
    return argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
}

static int run_command(const struct ctl *ctl, int argc, char **argv)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[0], commands[i]->name) != 0)
            continue;
        return asks_for_help(argc, argv) ? ctl_help(commands[i])
                                         : commands[i]->run(ctl, argc, argv);
    }
    return bad_usage("unknown command: ", argv[0]);
}

int main(int argc, char **argv)
{
    struct ctl ctl = { 0 };
    int status;
    int code;

    /* "+": options behind the command are the command's. */
    while ((code = getopt_long(argc, argv, "+d:S:qh", long_options, NULL)) != -1) {
        status = parse_option(code, &ctl);
        if (status >= 0)
            return status;
    }
    if (ctl.instance != NULL && ctl.socket != NULL)
        return bad_usage("-d and -S exclude each other", "");
    if (optind == argc)
        return bad_usage("a command is needed", "");
    argc -= optind;
    argv += optind;
    optind = 0; /* for the command's own getopt */
    status = run_command(&ctl, argc, argv);
    if (fflush(stdout) != 0) {
        fprintf(stderr, "vfuctl: standard output: %s\n", strerror(errno));
        return CTL_REFUSED;
    }
    return status;
}
