/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server program as a process of ours. Its command line is one string, taken apart into words as
 * a shell does (blanks, '…', "…", \), but by us: no shell stands between us and the process whose
 * id, signals and exit status matter, and nothing in the string is expanded. "{}" in a word stands
 * for the path of its socket; where no word has it, "--socket-path PATH" is put at the end.
 */
#ifndef VFU_CLIENT_SERVER_H
#define VFU_CLIENT_SERVER_H

#include <sys/types.h>

#include "client.h"

struct server {
    pid_t pid; /* 0: none runs */
    char *path;
};

/* -EINVAL for a command line without a program, or with a quote that is not closed; -ENOMEM. */
int server_check(const char *command);

/*
 * Starts the program; it is told to end (SIGTERM) when we go. Returns 0; -EEXIST when something is
 * at path already, or as server_check.
 */
int server_start(const char *command, const char *path, struct server *out);

/* Connects as soon as it listens. -ECHILD when it ends instead, -ETIMEDOUT after 10 s. */
int server_connect(struct server *s, struct client **out);

/* SIGTERM. Returns its exit status; -ETIMEDOUT after 5 s, then killed, -EINTR when a signal ended
 * it. Its socket is removed if it has not done so itself. */
int server_end(struct server *s);

/* The same without looking at how it ends; nothing where none runs. */
void server_fini(struct server *s);

#endif
