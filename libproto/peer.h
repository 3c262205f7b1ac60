/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For programs that call a server and wait: connecting to a UNIX socket, and waiting for it with a
 * deadline. Knows no protocol.
 */
#ifndef VFIO_USERD_PEER_H
#define VFIO_USERD_PEER_H

#include <stdint.h>
#include <sys/un.h>

/* Makes the address of path. Returns 0; -ENAMETOOLONG; -EINVAL: it is empty. */
int peer_address(const char *path, struct sockaddr_un *out);

/*
 * Connects to the UNIX stream socket at path. flags: 0, or SOCK_NONBLOCK, with which a server whose
 * backlog is full gives -EAGAIN. Returns the fd, or -errno.
 */
int peer_connect(const char *path, int flags);

/* The moment that is ms from now, for peer_wait. */
int64_t peer_deadline(int ms);

/*
 * Waits for events (POLLIN, POLLOUT) on fd, or for other to be readable when that is not -1.
 * Returns 0 for fd, 1 for other, -ETIMEDOUT or another -errno.
 */
int peer_wait(int fd, short events, int other, int64_t deadline);

#endif
