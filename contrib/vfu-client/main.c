/* SPDX-License-Identifier: BSD-3-Clause */
/* Options. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config-build.h"
#include "scenario.h"
#include "speed.h"
#include "steps.h"

#define DEADLINE_MS  2000u
#define DEADLINE_MAX 3600.0
#define ROUNDS       8u
#define ROUNDS_MAX   1000u
#define RINGS        100000u
#define RINGS_MAX    10000000u

static const char usage[] =
    "Usage: vfu-client --socket-path PATH [--quiet] [--no-fds | --twin-socket]\n"
    "                  [--server COMMAND [OPTION]...]\n"
    "       vfu-client --socket-path PATH [--quiet] --doorbell-speed [N]\n"
    "Talks to the vfio-user server at PATH as a virtual machine would: walks through every "
    "command\n"
    "and every function of the device, tells what it did and got, and stops at the first answer\n"
    "that is not as expected. Overwrites BAR1. Resets the device at the start, and at the end too\n"
    "when there was no surprise.\n"
    "\n"
    "With --server it then arms an interrupt, starts another server, migrates the device to it\n"
    "while a thread writes BAR1, and receives the interrupt from there.\n"
    "\n"
    "With --doorbell-speed it does neither: it rings the doorbell through its eventfd, in KVM's\n"
    "place, and by message, and tells how fast each is. No ring may be lost. Stock KVM can do so\n"
    "for a device with \"doorbell\": \"ioeventfd\", and not store the value in shadow memory.\n"
    "\n"
    "  --socket-path PATH   the server's vfio-user socket\n"
    "  --server COMMAND     the destination's command line, without its socket, PATH.destination:\n"
    "                       that stands where {} is, or is put at the end as --socket-path PATH.\n"
    "                       Quotes and \\ as in a shell, but there is none\n"
    "  --start-source       starts the server at PATH too, with the same command line\n"
    "  --deadline SECONDS   how far ahead the interrupt is armed; default 2\n"
    "  --late               has the deadline pass while neither server runs the device\n"
    "  --rounds N           rounds of PRE_COPY at most; default 8; 0: none\n"
    "  --drop-pre-copy      throws away what PRE_COPY gives, as some clients do\n"
    "  --no-fds             passes no fd and takes none: BAR1, DMA and interrupts by message\n"
    "  --twin-socket        has the server's commands come on a socket of their own\n"
    "  --doorbell-speed [N] N rings in each way, at most 10000000; default 100000\n"
    "  --quiet              print only the last line, of --server the last two\n"
    "  --version            print the version, and exit\n"
    "  --help               print this, and exit\n"
    "\n"
    "Exit status: 0 all as expected, 1 a surprise or no server, 2 usage.\n";

enum option_code {
    OPT_SOCKET = 256,
    OPT_SERVER,
    OPT_START_SOURCE,
    OPT_DEADLINE,
    OPT_LATE,
    OPT_ROUNDS,
    OPT_DROP,
    OPT_NO_FDS,
    OPT_TWIN,
    OPT_SPEED,
    OPT_QUIET,
    OPT_VERSION,
    OPT_HELP
};

static const struct option long_options[] = {
    { "socket-path", required_argument, NULL, OPT_SOCKET },
    { "server", required_argument, NULL, OPT_SERVER },
    { "start-source", no_argument, NULL, OPT_START_SOURCE },
    { "deadline", required_argument, NULL, OPT_DEADLINE },
    { "late", no_argument, NULL, OPT_LATE },
    { "rounds", required_argument, NULL, OPT_ROUNDS },
    { "drop-pre-copy", no_argument, NULL, OPT_DROP },
    { "no-fds", no_argument, NULL, OPT_NO_FDS },
    { "twin-socket", no_argument, NULL, OPT_TWIN },
    { "doorbell-speed", optional_argument, NULL, OPT_SPEED },
    { "quiet", no_argument, NULL, OPT_QUIET },
    { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 },
};

struct options {
    struct scenario_options scenario;
    bool start_source;
    bool scenario_only; /* an option that needs --server was given */
    uint32_t rings;     /* of --doorbell-speed; 0: not given */
};

static int bad_usage(const char *text, const char *value)
{
    fprintf(stderr, "vfu-client: %s%s\nTry 'vfu-client --help'.\n", text, value);
    return 2;
}

static int parse_deadline(const char *text, unsigned *ms)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= DEADLINE_MAX))
        return bad_usage("--deadline takes seconds, 0 to 3600, not ", text);
    *ms = (unsigned)(seconds * 1000 + 0.5);
    return -1;
}

/* Returns whether it is a whole number of at most most. */
static bool parse_number(const char *text, unsigned long most, unsigned long *out)
{
    char *end;

    *out = strtoul(text, &end, 10);
    return end != text && *end == '\0' && strchr(text, '-') == NULL && *out <= most;
}

static int parse_rounds(const char *text, unsigned *rounds)
{
    unsigned long n;

    if (!parse_number(text, ROUNDS_MAX, &n))
        return bad_usage("--rounds takes a number, 0 to 1000, not ", text);
    *rounds = (unsigned)n;
    return -1;
}

/* N is the next word, if that is no option. */
static int parse_speed(int argc, char **argv, struct options *o)
{
    const char *text = optarg;
    unsigned long n = RINGS;

    if (text == NULL && optind < argc && argv[optind][0] != '-')
        text = argv[optind++];
    if (text != NULL && (!parse_number(text, RINGS_MAX, &n) || n == 0))
        return bad_usage("--doorbell-speed takes a number, 1 to 10000000, not ", text);
    o->rings = (uint32_t)n;
    return -1;
}

/* Those of the scenario. */
static int parse_scenario_option(int code, struct options *o)
{
    o->scenario_only = true;
    switch (code) {
    case OPT_START_SOURCE:
        o->start_source = true;
        return -1;
    case OPT_DEADLINE:
        return parse_deadline(optarg, &o->scenario.deadline_ms);
    case OPT_LATE:
        o->scenario.late = true;
        return -1;
    case OPT_ROUNDS:
        return parse_rounds(optarg, &o->scenario.rounds);
    case OPT_DROP:
        o->scenario.drop_pre_copy = true;
        return -1;
    default: /* getopt has said what is wrong */
        return bad_usage("unknown or incomplete option", "");
    }
}

/* Returns -1 to go on, or an exit status. */
static int parse_option(int code, struct walk *w, struct options *o)
{
    switch (code) {
    case OPT_SOCKET:
        w->socket_path = optarg;
        return -1;
    case OPT_SERVER:
        o->scenario.command = optarg;
        return -1;
    case OPT_NO_FDS:
        w->no_fds = true;
        w->messages = true;
        return -1;
    case OPT_TWIN:
        w->twin = true;
        return -1;
    case OPT_QUIET:
        w->quiet = true;
        return -1;
    case OPT_VERSION:
        printf("vfu-client %s\n", PACKAGE_VERSION);
        return 0;
    case OPT_HELP:
        fputs(usage, stdout);
        return 0;
    default:
        return parse_scenario_option(code, o);
    }
}

/* What does not go together. */
static int check_options(const struct walk *w, const struct options *o)
{
    if (w->socket_path == NULL)
        return bad_usage("--socket-path is needed", "");
    if (o->rings != 0 && (o->scenario_only || o->scenario.command != NULL))
        return bad_usage("--doorbell-speed does not go with --server and its options", "");
    if (o->rings != 0 && w->no_fds)
        return bad_usage("--doorbell-speed takes an fd, which --no-fds forbids", "");
    if (w->twin && w->no_fds)
        return bad_usage("--twin-socket takes an fd, which --no-fds forbids", "");
    if (o->scenario.command != NULL && server_check(o->scenario.command) == -EINVAL)
        return bad_usage("--server takes a program and its options, each quote closed, not: ",
                         o->scenario.command);
    if (o->scenario_only && o->scenario.command == NULL)
        return bad_usage("--server is needed for that", "");
    return -1;
}

static int parse(int argc, char **argv, struct walk *w, struct options *o)
{
    int status = -1;
    int code;

    while (status < 0 && (code = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        status = code == OPT_SPEED ? parse_speed(argc, argv, o) : parse_option(code, w, o);
    if (status >= 0)
        return status;
    if (optind < argc)
        return bad_usage("takes options only, not ", argv[optind]);
    return check_options(w, o);
}

/* Starts the source when it is to be, and connects as soon as it listens. */
static int start_source(struct walk *w, const struct options *o, struct server *source)
{
    int err;

    if (!o->start_source)
        return 0;
    err = server_start(o->scenario.command, w->socket_path, source);
    if (err == 0)
        err = server_connect(source, &w->client);
    if (err != 0)
        fprintf(stderr, "vfu-client: starting a server at %s: %s\n", w->socket_path,
                strerror(-err));
    return err;
}

/* The walk, and the scenario when it is wanted. Returns an exit status. */
static int walk_all(struct walk *w, const struct options *o)
{
    struct server source = { 0 };
    int n = start_source(w, o, &source) == 0 ? steps_run(w) : -1;
    int more = 0;

    if (n >= 0 && o->scenario.command != NULL)
        more = scenario_run(w, &source, &o->scenario);
    walk_fini(w);
    server_fini(&source);
    if (n < 0 || more < 0)
        return EXIT_FAILURE;
    printf("vfu-client: %d steps, all as expected\n", n + more);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = { .scenario = { .deadline_ms = DEADLINE_MS, .rounds = ROUNDS } };
    struct walk walk;
    int status;

    walk_init(&walk);
    status = parse(argc, argv, &walk, &options);
    if (status >= 0)
        return status;
    if (options.rings == 0) {
        status = walk_all(&walk, &options);
    } else {
        status = speed_run(&walk, options.rings) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        walk_fini(&walk);
    }
    return fflush(stdout) == 0 ? status : EXIT_FAILURE;
}
