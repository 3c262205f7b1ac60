/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of commands, and what is made from it: parsing, help, and the shells' completion. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config-build.h"
#include "ctl.h"

static const struct ctl_command *const commands[] = {
    &ctl_status,  &ctl_trigger_irq, &ctl_dump_config, &ctl_reset, &ctl_reload,
    &ctl_monitor, &ctl_stats,       &ctl_capture,     &ctl_save,  &ctl_load,
    &ctl_migrate, &ctl_log_level,   &ctl_quit,
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

enum common { DEVICE, SOCKET, JSON, QUIET, HELP, VERSION };

static const struct ctl_option common_options[] = {
    [DEVICE] = { .name = "device",
                 .letter = 'd',
                 .value = "NAME",
                 .help = "the instance NAME: " RUN_DIR "/NAME/control.sock" },
    [SOCKET] = { .name = "socket",
                 .letter = 'S',
                 .value = "PATH",
                 .help = "the control socket at PATH" },
    [JSON] = { .name = "json", .help = "print each reply as one JSON object a line" },
    [QUIET] = { .name = "quiet", .letter = 'q', .help = "print nothing but errors" },
    [HELP] = { .name = "help",
               .letter = 'h',
               .help = "print this, or with a command its own help" },
    [VERSION] = { .name = "version", .help = "print the version" },
    { 0 },
};

const struct ctl_command *ctl_find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i]->name) == 0)
            return commands[i];
    }
    return NULL;
}

/*
 * Help
 */

/* Makes "  -f, --format FORM" of an option, "  FORM" of an argument. */
static int help_term(const struct ctl_option *o, bool is_argument, char *out, size_t size)
{
    char letter[5] = "    ";

    if (is_argument)
        return snprintf(out, size, "  %s", o->value);
    if (o->letter != '\0')
        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    return snprintf(out, size, "  %s--%s%s%s", letter, o->name, o->value != NULL ? " " : "",
                    o->value != NULL ? o->value : "");
}

static void print_term(const struct ctl_option *o, bool is_argument, int width)
{
    const char *line = o->help;
    char term[80];

    help_term(o, is_argument, term, sizeof(term));
    while (line != NULL) {
        size_t len = strcspn(line, "\n");

        printf("%-*s  %.*s\n", width, line == o->help ? term : "", (int)len, line);
        line = line[len] != '\0' ? line + len + 1 : NULL;
    }
}

static void print_options(const struct ctl_option *options, const struct ctl_option *argument)
{
    char term[80];
    int width = 0;
    int len;

    if (argument != NULL && argument->name != NULL)
        width = help_term(argument, true, term, sizeof(term));
    for (const struct ctl_option *o = options; o != NULL && o->name != NULL; o++) {
        len = help_term(o, false, term, sizeof(term));
        width = len > width ? len : width;
    }
    if (argument != NULL && argument->name != NULL)
        print_term(argument, true, width);
    for (const struct ctl_option *o = options; o != NULL && o->name != NULL; o++)
        print_term(o, false, width);
}

static void print_usage(void)
{
    puts("Usage: vfuctl [-d NAME | -S PATH] [--json] [-q] COMMAND [OPTION]...\n"
         "Talks to a running vfio-userd over its control socket.\n");
    print_options(common_options, NULL);
    puts("\nThese options may also stand behind the command.\n"
         "Without -d and -S: the only instance that runs.\n"
         "\n"
         "Commands:");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-14s %s\n", commands[i]->name, commands[i]->summary);
    puts("\nExit status: 0 done, 1 the daemon refused, 2 usage, 3 no daemon answers.");
}

static void print_command_help(const struct ctl_command *command)
{
    const struct ctl_option *argument = &command->argument;

    printf("Usage: vfuctl [OPTION]... %s", command->name);
    for (const struct ctl_option *o = command->options; o != NULL && o->name != NULL; o++)
        printf(" [--%s%s%s]", o->name, o->value != NULL ? " " : "",
               o->choices != NULL ? o->choices
               : o->value != NULL ? o->value
                                  : "");
    if (argument->name != NULL)
        printf(" %s", argument->value);
    printf("\n%s\n", command->summary);
    if (argument->name != NULL || command->options != NULL)
        putchar('\n');
    print_options(command->options, argument);
    if (command->help != NULL)
        printf("\n%s", command->help);
    puts("\n'vfuctl --help' has the options that all commands take.");
}

int ctl_bad_usage(const struct ctl_command *command, const char *format, ...)
{
    va_list args;

    fputs("vfuctl: ", stderr);
    if (command != NULL)
        fprintf(stderr, "%s: ", command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry 'vfuctl %s%s--help'.\n", command != NULL ? command->name : "",
            command != NULL ? " " : "");
    return CTL_USAGE;
}

/*
 * Values
 */

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);

    for (const char *c = choices; *c != '\0';) {
        size_t n = strcspn(c, "|");

        if (n == len && strncmp(c, value, n) == 0)
            return true;
        c += n + (c[n] == '|' ? 1 : 0);
    }
    return false;
}

/* Makes "a, b or c" of "a|b|c". */
static const char *list_choices(const char *choices, char *out, size_t size)
{
    const char *last = strrchr(choices, '|');
    size_t len = 0;

    out[0] = '\0';
    for (const char *c = choices; *c != '\0' && len < size; c++) {
        if (*c == '|')
            len += (size_t)snprintf(out + len, size - len, c == last ? " or " : ", ");
        else
            len += (size_t)snprintf(out + len, size - len, "%c", *c);
    }
    return out;
}

/* Returns -1 when the option, or the command's argument, takes the value; else the exit status. */
static int check_value(const struct ctl_command *command, const struct ctl_option *o,
                       const char *value)
{
    const char *hyphens = command != NULL && o == &command->argument ? "" : "--";
    char list[128];
    char *end;
    long number;

    if (o->choices != NULL && !is_choice(o->choices, value))
        return ctl_bad_usage(command, "%s%s takes %s, not %s", hyphens, o->name,
                             list_choices(o->choices, list, sizeof(list)), value);
    if (o->max == 0)
        return -1;
    errno = 0;
    number = strtol(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number > o->max)
        return ctl_bad_usage(command, "%s%s takes a number from 0 to %ld, not %s", hyphens, o->name,
                             o->max, value);
    return -1;
}

static int apply_common(struct ctl *ctl, const struct ctl_command *command, enum common which,
                        const char *value)
{
    switch (which) {
    case DEVICE:
        ctl->instance = value;
        if (strchr(value, '/') != NULL || value[0] == '.' || value[0] == '\0')
            return ctl_bad_usage(command, "-d takes a name, not %s", value);
        break;
    case SOCKET:
        ctl->socket = value;
        break;
    case JSON:
        ctl->json = true;
        break;
    case QUIET:
        ctl->quiet = true;
        break;
    case HELP:
        if (command != NULL)
            print_command_help(command);
        else
            print_usage();
        return CTL_DONE;
    case VERSION:
        printf("vfuctl %s\n", PACKAGE_VERSION);
        return CTL_DONE;
    }
    if (ctl->instance != NULL && ctl->socket != NULL)
        return ctl_bad_usage(command, "-d and -S exclude each other");
    return -1;
}

/*
 * Parsing
 */

/* What getopt_long returns for an option: from here on, its place among all. */
#define FIRST_CODE 256

/* The options that hold at some place of the command line. */
struct options {
    const struct ctl_option *all[CTL_MAX_OPTIONS + VERSION + 1];
    size_t n;
    size_t n_own; /* the first of them are the command's */
    struct option longs[CTL_MAX_OPTIONS + VERSION + 2];
    char letters[2 * (CTL_MAX_OPTIONS + VERSION + 1) + 3];
};

static void add_options(struct options *s, const struct ctl_option *table)
{
    size_t len = strlen(s->letters);

    for (const struct ctl_option *o = table; o != NULL && o->name != NULL; o++) {
        s->longs[s->n] = (struct option) {
            .name = o->name,
            .has_arg = o->value != NULL ? required_argument : no_argument,
            .val = FIRST_CODE + (int)s->n,
        };
        if (o->letter != '\0')
            s->letters[len++] = o->letter;
        if (o->letter != '\0' && o->value != NULL)
            s->letters[len++] = ':';
        s->all[s->n++] = o;
    }
    s->letters[len] = '\0';
}

/* The place of the option that getopt_long's code is for, or s->n. */
static size_t find_option(const struct options *s, int code)
{
    size_t i;

    if (code >= FIRST_CODE)
        return (size_t)(code - FIRST_CODE);
    for (i = 0; i < s->n; i++) {
        if (code != 0 && s->all[i]->letter == code)
            break;
    }
    return i;
}

static int bad_option(const struct ctl_command *command, const struct options *s, int code,
                      const char *word)
{
    size_t i = find_option(s, optopt);

    if (code == ':' && i < s->n)
        return ctl_bad_usage(command, "--%s needs a value: %s", s->all[i]->name, s->all[i]->value);
    if (i < s->n)
        return ctl_bad_usage(command, "--%s takes no value", s->all[i]->name);
    if (optopt != 0)
        return ctl_bad_usage(command, "unknown option -%c", optopt);
    return ctl_bad_usage(command, "unknown or ambiguous option %s", word);
}

static int take_argument(const struct ctl_command *command, int n, char **words,
                         struct ctl_args *args)
{
    const struct ctl_option *argument = &command->argument;
    char list[128];

    if (n > 0 && argument->name == NULL)
        return ctl_bad_usage(command, "takes no argument, not %s", words[0]);
    if (n > 1)
        return ctl_bad_usage(command, "takes one argument, not also %s", words[1]);
    if (n == 0 && argument->name != NULL && argument->choices != NULL)
        return ctl_bad_usage(command, "needs a %s: %s", argument->name,
                             list_choices(argument->choices, list, sizeof(list)));
    if (n == 0 && argument->name != NULL)
        return ctl_bad_usage(command, "needs a %s", argument->name);
    args->argument = n > 0 ? words[0] : NULL;
    return n > 0 ? check_value(command, argument, words[0]) : -1;
}

int ctl_parse(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv,
              struct ctl_args *args)
{
    struct options s = { .letters = "" };
    int status = -1;
    int code;

    strcpy(s.letters, command != NULL ? ":" : "+:");
    if (command != NULL)
        add_options(&s, command->options);
    s.n_own = s.n;
    add_options(&s, common_options);
    opterr = 0;
    optind = 0; /* getopt begins anew */
    while (status < 0 && (code = getopt_long(argc, argv, s.letters, s.longs, NULL)) != -1) {
        size_t i = find_option(&s, code);

        if (code == '?' || code == ':') {
            status = bad_option(command, &s, code, argv[optind - 1]);
        } else if (i < s.n_own) {
            args->options[i] = optarg != NULL ? optarg : "";
            status = check_value(command, s.all[i], args->options[i]);
        } else {
            status = apply_common(ctl, command, (enum common)(i - s.n_own), optarg);
        }
    }
    if (status < 0 && command != NULL)
        status = take_argument(command, argc - optind, argv + optind, args);
    return status;
}

/*
 * Completion
 */

static const char *or_hyphen(const char *text)
{
    return text != NULL ? text : "-";
}

static void print_options_data(const char *of, const struct ctl_option *options)
{
    for (const struct ctl_option *o = options; o != NULL && o->name != NULL; o++) {
        char letter[3] = { '-', o->letter, '\0' };

        printf("option\t%s\t--%s\t%s\t%s\t%s\t%.*s\n", of, o->name, letter, or_hyphen(o->value),
               or_hyphen(o->choices), (int)strcspn(o->help, "\n"), o->help);
    }
}

/*
 * Fields are "-" where there is nothing:
 *   option COMMAND NAME LETTER VALUE CHOICES HELP (COMMAND is "-" for those that all commands take)
 *   command NAME SUMMARY
 *   argument COMMAND VALUE CHOICES
 *   instance NAME
 */
void ctl_print_completion_data(void)
{
    char **names;
    int n = ctl_list_instances(&names);

    print_options_data("-", common_options);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const struct ctl_command *c = commands[i];

        printf("command\t%s\t%s\n", c->name, c->summary);
        print_options_data(c->name, c->options);
        if (c->argument.name != NULL)
            printf("argument\t%s\t%s\t%s\n", c->name, c->argument.value,
                   or_hyphen(c->argument.choices));
    }
    for (int i = 0; i < n; i++)
        printf("instance\t%s\n", names[i]);
    if (n >= 0)
        ctl_free_instances(names, n);
}
