/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A migration from the walk's server to another one that is started here: the interrupt that is
 * armed on the source comes from the destination. Its steps continue the walk's.
 */
#ifndef VFU_CLIENT_SCENARIO_H
#define VFU_CLIENT_SCENARIO_H

#include <stdbool.h>

#include "server.h"
#include "walk.h"

struct scenario_options {
    const char *command; /* the destination's, see server.h */
    unsigned deadline_ms;
    unsigned rounds;    /* of PRE_COPY at most; 0: none */
    bool drop_pre_copy; /* what is read in PRE_COPY is not written to the destination */
    bool late;          /* the deadline passes while neither runs */
};

/*
 * Plays it on w, whose walk is over and whose connection is closed at its end. source: the process
 * that serves w if it was started here, which is ended then; else its pid is 0.
 * Returns the number of steps done, or -1 after the first surprise, which is printed.
 */
int scenario_run(struct walk *w, struct server *source, const struct scenario_options *options);

#endif
