/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A service manager for tests, which holds file descriptors for a vfio-userd: it starts one with
 * its sockets and what was stored, takes what it stores, and starts it again when it has ended. A
 * thread of its own, so that the test can be the client meanwhile.
 */
#ifndef VFIO_USERD_TEST_KEEP_KIT_H
#define VFIO_USERD_TEST_KEEP_KIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client.h"

#define KEEP_STORE_MAX  512
#define KEEP_NAME_BYTES 64

struct keep;

/*
 * Starts program ($NAME of the environment; NULL: VFIO_USERD) with further options, NULL at the
 * end. store: how many fds are held. Returns when it is ready.
 */
struct keep *keep_start(const char *program, const char *const *options, unsigned store);

/* The same of $VFIO_USERD with a description in JSON; and the next one has another. */
struct keep *keep_start_described(const char *json, unsigned store);
void keep_describe(struct keep *k, const char *json);

/* A client that has said VERSION; it may be killed while it waits. */
struct client *keep_connect(struct keep *k);

/* Paths of the two sockets. */
const char *keep_socket(const struct keep *k);
const char *keep_control(const struct keep *k);

/* Sends the signal and starts the next one when it has ended; returns when that is ready, or not:
 * false when it has ended by itself. */
bool keep_restart(struct keep *k, int signum);

/* The halves of it; keep_launch waits for nothing. */
void keep_kill(struct keep *k, int signum);
void keep_launch(struct keep *k);
bool keep_go_on(struct keep *k);

/* How the next one is started: with these options, and room for as many; 0: there is no store. */
void keep_set(struct keep *k, const char *const *options, unsigned store);

/* Nothing that it is told is taken, or it is again. */
void keep_deafen(struct keep *k, bool deaf);

/* The same again and again, at random instants within max_us after it is ready, in a thread. */
void keep_restart_often(struct keep *k, int signum, unsigned times, unsigned max_us, unsigned seed);

/* The same with SIGKILL within max_us after it was started, whether it is ready by then or not. */
void keep_kill_early(struct keep *k, unsigned times, unsigned max_us, unsigned seed);

/* Starts the next one each time that it has died by itself, so often. */
void keep_follow(struct keep *k, unsigned times);

/* Whether that goes on. */
bool keep_restarting(struct keep *k);
void keep_restarted(struct keep *k); /* waits for its end */

/* What is held: how many, how many of this role; the one with this name (a duplicate), or -1. */
unsigned keep_held(struct keep *k);
unsigned keep_held_role(struct keep *k, const char *role);
int keep_get(struct keep *k, const char *role);

/* Holds fd, which is taken, under this name, for the next one. */
void keep_put(struct keep *k, const char *name, int fd);

/* The i-th that is held (a duplicate) with its name, or -1. */
int keep_nth(struct keep *k, unsigned i, char name[KEEP_NAME_BYTES]);

/* The one with this name is not held any more. */
void keep_drop(struct keep *k, const char *name);

/* Nothing is held any more. */
void keep_forget(struct keep *k);

/* What the log has, of all processes; and the last STATUS=. */
bool keep_log_has(struct keep *k, const char *text);
const char *keep_log(struct keep *k);
bool keep_status_has(struct keep *k, const char *text);

pid_t keep_pid(const struct keep *k);

/* Whether the present one has said that it is ready. */
bool keep_ready(struct keep *k);

/* Ends it for good: nothing is held any more. Its exit status is 0, and no sanitizer spoke. */
void keep_stop(struct keep *k);

#endif
