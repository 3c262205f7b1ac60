/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "datagram.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "peer.h"

int datagram_open(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 ? fd : -errno;
}

/* What sendto(2) needs of an address. */
static int find_address(const char *address, struct sockaddr_un *addr, socklen_t *len)
{
    int err = peer_address(address, addr);

    if (err != 0)
        return err;
    *len = sizeof(*addr);
    if (address[0] == '@') {
        addr->sun_path[0] = '\0';
        *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address));
    }
    return 0;
}

int datagram_send(int fd, const char *address, const void *data, size_t len)
{
    struct sockaddr_un addr;
    socklen_t addr_len;
    int err = find_address(address, &addr, &addr_len);

    if (err != 0)
        return err;
    /* By name each time: journald may have made its socket anew. */
    if (sendto(fd, data, len, MSG_NOSIGNAL, (const struct sockaddr *)&addr, addr_len) < 0)
        return -errno;
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until it is sent, or the limit is reached. A poll would not tell when the other side has room:
 * the socket is not connected. */
static int send_patiently(int fd, const struct msghdr *msg, int limit_ms)
{
    int64_t until = now_ms() + limit_ms;

    while (sendmsg(fd, msg, MSG_NOSIGNAL) < 0) {
        int err = -errno;

        if (err == -EINTR)
            continue;
        if (err != -EAGAIN || now_ms() >= until)
            return err;
        poll(NULL, 0, 1);
    }
    return 0;
}

int datagram_send_fd(int fd, const char *address, const void *data, size_t len, int pass,
                     int limit_ms)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .bytes = { 0 } };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
    struct sockaddr_un addr;
    struct msghdr msg = { .msg_name = &addr, .msg_iov = &iov, .msg_iovlen = 1 };
    int err = find_address(address, &addr, &msg.msg_namelen);

    if (err != 0)
        return err;
    if (pass >= 0) {
        struct cmsghdr *header;

        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        header = CMSG_FIRSTHDR(&msg);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &pass, sizeof(int));
    }
    return send_patiently(fd, &msg, limit_ms);
}
