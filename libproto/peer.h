/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other end of a UNIX socket: who it is; and for programs that call a server and wait,
 * connecting to it, and waiting for it with a deadline. Knows no protocol.
 */
#ifndef VFIO_USERD_PEER_H
#define VFIO_USERD_PEER_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

/* A process, as it was when it connected. */
struct peer {
    pid_t pid;      /* 0: not one of our PID namespace, or unknown */
    uid_t uid;      /* in our user namespace */
    bool uid_known; /* false: it has no uid there */
};

/* Who is at the other end of the connected socket fd. All is unknown where that cannot be told. */
void peer_credentials(int fd, struct peer *out);

/*
 * Whether a user namespace has the uid; map: its /proc/PID/uid_map. A uid that a namespace does not
 * have reads as 65534 in it, which another process may have as its own.
 */
bool peer_uid_is_mapped(const char *map, uid_t uid);

/* Makes the address of path. Returns 0; -ENAMETOOLONG; -EINVAL: it is empty. */
int peer_address(const char *path, struct sockaddr_un *out);

/* How long a server whose backlog is full is waited for. */
#define PEER_CONNECT_SECONDS 5

/*
 * Connects to the UNIX stream socket at path. flags: 0, or SOCK_NONBLOCK, with which a server whose
 * backlog is full gives -EAGAIN at once; else that is -ETIMEDOUT after PEER_CONNECT_SECONDS.
 * Returns the fd, or -errno.
 */
int peer_connect(const char *path, int flags);

/*
 * Closes an fd that a peer has sent, without waiting: it may be a socket whose last close waits
 * until its data is sent. -1 is allowed.
 */
void peer_close_fd(int fd);

/* The same of each of n. */
void peer_close_fds(const int *fds, unsigned n);

/* The moment that is ms from now, for peer_wait. */
int64_t peer_deadline(int ms);

/*
 * Waits for events (POLLIN, POLLOUT) on fd, or for other to be readable when that is not -1.
 * Returns 0 for fd, 1 for other, -ETIMEDOUT or another -errno.
 */
int peer_wait(int fd, short events, int other, int64_t deadline);

/* The same for n of them, as poll has them: their revents tell. Returns 0 or -errno. */
int peer_wait_any(struct pollfd *polls, nfds_t n, int64_t deadline);

#endif
