/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagrams to the service manager and to journald, without waiting but where it is said how long:
 * libsystemd's own calls wait while the other side does not read, and a guest would wait with them.
 */
#ifndef VFIO_USERD_SERVICE_DATAGRAM_H
#define VFIO_USERD_SERVICE_DATAGRAM_H

#include <stddef.h>

/* A socket to send from; each other side has its own, so that one which is stuck hinders no other.
 * Returns the fd or -errno. */
int datagram_open(void);

/*
 * Sends len bytes to address: a path, or with '@' before it an abstract name. Returns 0; -EAGAIN
 * when the other side takes no more now; -ENOENT or -ECONNREFUSED when there is none; another
 * -errno.
 */
int datagram_send(int fd, const char *address, const void *data, size_t len);

/*
 * The same with a descriptor, of which the other side gets a copy; pass -1: without one. Waits up
 * to limit_ms for a side that takes no more now. Returns as datagram_send does.
 */
int datagram_send_fd(int fd, const char *address, const void *data, size_t len, int pass,
                     int limit_ms);

#endif
