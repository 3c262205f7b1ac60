/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Real processes for tests: a vfio-userd in a temporary directory, started and waited for, and
 * ended with the checks that every test needs: it honours SIGTERM, exits 0, and no sanitizer spoke.
 * Made for check: failures are ck_assert failures.
 */
#ifndef VFIO_USERD_TEST_HARNESS_H
#define VFIO_USERD_TEST_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client.h"

struct server {
    pid_t pid;
    char dir[64];
    char socket[96];
    char control[96];
    char log[96];
    int log_fd;      /* -1: log is */
    char config[96]; /* the description, if it has one */
};

/*
 * Starts $VFIO_USERD with sockets in a new directory; description: its JSON, or NULL for the
 * default device. Returns when both sockets answer.
 */
void server_start(struct server *s, const char *description);

/* The same, with standard error going to log_fd. */
void server_start_logging(struct server *s, const char *description, int log_fd);

/*
 * For a server that is started in another way: makes the directory and forks. run, in the child,
 * does what is special and ends with server_exec. Nothing is waited for.
 */
void server_fork(struct server *s, void (*run)(const struct server *s, void *arg), void *arg);

/* In the child: becomes $VFIO_USERD with these arguments, NULL at the end; stderr is its log. */
_Noreturn void server_exec(const struct server *s, const char *const *argv);

/* The exit status of a server that ends within 2 s, with no sanitizer's word in its log. */
int server_wait(const struct server *s);

/* Removes the directory, and sockets in it that are the test's own. */
void server_remove(const struct server *s);

/* SIGTERM, exit status 0 within 2 s, a clean log; removes the directory. */
void server_stop(struct server *s);

/* Whether the log holds the text now. */
bool server_log_has(const struct server *s, const char *text);

/* Number of open fds of the server. */
unsigned server_fds(const struct server *s);

/* The value of a line of /proc/PID/status, in its own unit. */
long server_status_value(const struct server *s, const char *key);

/* Waits up to 2 s until it has at most n open fds. */
void server_wait_fds(const struct server *s, unsigned n);

/* A connected socket without VERSION. */
int server_connect_raw(const struct server *s);

/* A client that has said VERSION with generous capabilities. */
struct client *server_connect(const struct server *s);

/* One Varlink call on a connection of its own; returns how long it took in ms. */
int64_t server_status_call(const struct server *s);

/* The reply's parameters of GetStatus, to be put. */
struct json_object *server_status(const struct server *s);

/* The reply to a method of io.vfiouserd.Device without parameters, result or error, to be put. */
struct json_object *server_call(const struct server *s, const char *method);

/* Replaces the description that it was started with. */
void server_describe(const struct server *s, const char *description);

/* A memfd of size bytes. */
int make_memory(size_t size);

int64_t now_ms(void);
int64_t now_ns(void); /* CLOCK_REALTIME */

/* Reads an eventfd; 0 when nothing came in ms. */
uint64_t eventfd_wait(int fd, int ms);

#endif
