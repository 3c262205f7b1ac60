/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tries what a sandbox must deny, in place of vfio-userd, and prints a line for each attempt:
 * "denied NAME: ERRNO" or "ALLOWED NAME". Names that begin with "may-" are what the daemon needs.
 * Nothing is harmed where an attempt succeeds.
 *
 *   PROBE_INSTANCE   the instance's name
 *   PROBE_OTHER      the name of an instance that runs
 *   PROBE_PID        a process of the same user
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attempts.h"

static int number_of_process(void)
{
    const char *text = getenv("PROBE_PID");

    return text != NULL ? atoi(text) : 0;
}

int main(void)
{
    struct probe p = {
        .instance = getenv("PROBE_INSTANCE"),
        .other = getenv("PROBE_OTHER"),
        .pid = number_of_process(),
    };
    unsigned n = 0;

    if (p.instance == NULL || p.other == NULL || p.pid <= 0) {
        fputs("probe: PROBE_INSTANCE, PROBE_OTHER and PROBE_PID are needed\n", stderr);
        return EXIT_FAILURE;
    }
    /* Each line at once: an attempt may be the last. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (const struct attempt *a = attempts; a->name != NULL; a++, n++) {
        int err = a->run(&p, a->argument);

        if (err == 0)
            printf("ALLOWED %s\n", a->name);
        else
            printf("denied %s: %s\n", a->name, strerrorname_np(-err));
    }
    printf("probe: %u attempts\n", n);
    return EXIT_SUCCESS;
}
