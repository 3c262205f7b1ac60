/* SPDX-License-Identifier: BSD-3-Clause */
/* Options. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "config-build.h"
#include "steps.h"

static const char usage[] =
    "Usage: vfu-client --socket-path PATH [--quiet]\n"
    "Talks to the vfio-user server at PATH as a virtual machine would: walks through every "
    "command\n"
    "and every function of the device, tells what it did and got, and stops at the first answer\n"
    "that is not as expected. Overwrites BAR1, and resets the device before and after.\n"
    "\n"
    "  --socket-path PATH   the server's vfio-user socket\n"
    "  --quiet              print only the last line\n"
    "  --version            print the version, and exit\n"
    "  --help               print this, and exit\n"
    "\n"
    "Exit status: 0 all as expected, 1 a surprise or no server, 2 usage.\n";

enum option_code { OPT_SOCKET = 256, OPT_QUIET, OPT_VERSION, OPT_HELP };

static const struct option long_options[] = {
    { "socket-path", required_argument, NULL, OPT_SOCKET },
    { "quiet", no_argument, NULL, OPT_QUIET },
    { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 },
};

static int bad_usage(const char *text, const char *value)
{
    fprintf(stderr, "vfu-client: %s%s\nTry 'vfu-client --help'.\n", text, value);
    return 2;
}

/* Returns -1 to go on, or an exit status. */
static int parse_option(int code, struct walk *w)
{
    switch (code) {
    case OPT_SOCKET:
        w->socket_path = optarg;
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
    default: /* getopt has said what is wrong */
        return bad_usage("unknown or incomplete option", "");
    }
}

int main(int argc, char **argv)
{
    struct walk walk = { .bar1_fd = -1, .intx = -1 };
    int status;
    int code;
    int n;

    while ((code = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        status = parse_option(code, &walk);
        if (status >= 0)
            return status;
    }
    if (optind < argc)
        return bad_usage("takes options only, not ", argv[optind]);
    if (walk.socket_path == NULL)
        return bad_usage("--socket-path is needed", "");
    n = steps_run(&walk);
    walk_fini(&walk);
    if (n < 0)
        return EXIT_FAILURE;
    printf("vfu-client: %d steps, all as expected\n", n);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
