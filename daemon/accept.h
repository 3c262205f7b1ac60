/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listening UNIX sockets: making one at a path, and accepting from one without ever spinning or
 * giving up when the process is out of fds. Used for vfio-user clients and for the control socket.
 */
#ifndef VFIO_USERD_ACCEPT_H
#define VFIO_USERD_ACCEPT_H

#include <sys/types.h>
#include <uv.h>

struct acceptor;

/* A socket's name, and which file that was when it was made. */
struct accept_place {
    const char *path; /* the caller's; NULL: there is none */
    dev_t dev;
    ino_t ino;
};

/*
 * Makes a listening socket at path with mode. A socket that is left there by a process that is no
 * more is replaced; one that is served, or a file of another kind, is not. *place is written on
 * success.
 * Returns the fd, -EADDRINUSE, -ENAMETOOLONG or another -errno.
 */
int accept_listen(const char *path, mode_t mode, struct accept_place *place);

/* The same, saying what is wrong in the log as module's. */
int accept_listen_at(const char *module, const char *path, mode_t mode, struct accept_place *place);

/* Removes the socket at place, unless it is another by now. */
void accept_unlink(const struct accept_place *place);

/*
 * Calls fn with each connection, which fn owns. fd, the listening socket, is owned by the acceptor
 * from now on, also on failure. module: whose log lines these are.
 */
int acceptor_new(uv_loop_t *loop, int fd, const char *module, void (*fn)(void *arg, int fd),
                 void *arg, struct acceptor **out);
void acceptor_free(struct acceptor *a);

#endif
