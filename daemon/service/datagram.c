/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "datagram.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "peer.h"

int datagram_open(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 ? fd : -errno;
}

int datagram_send(int fd, const char *address, const void *data, size_t len)
{
    struct sockaddr_un addr;
    socklen_t addr_len = sizeof(addr);
    int err = peer_address(address, &addr);

    if (err != 0)
        return err;
    if (address[0] == '@') {
        addr.sun_path[0] = '\0';
        addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address));
    }
    /* By name each time: journald may have made its socket anew. */
    if (sendto(fd, data, len, MSG_NOSIGNAL, (const struct sockaddr *)&addr, addr_len) < 0)
        return -errno;
    return 0;
}
