/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "copier.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "message.h"
#include "traffic.h"

struct head {
    struct vfio_user_header header;
    struct vfio_user_mig_data mig;
};

static int give(int fd, const struct head *request, const uint8_t *data)
{
    struct head reply = { .mig = { request->mig.argsz, request->mig.size } };
    struct iovec iov[] = { { &reply, sizeof(reply) },
                           { (void *)(uintptr_t)data, request->mig.size } };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
    size_t sent;
    ssize_t n;

    message_encode_header((uint8_t *)&reply, request->header.id, request->header.command,
                          (uint32_t)sizeof(reply) + request->mig.size, VFIO_USER_TYPE_REPLY, 0);
    n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    if (n < (ssize_t)sizeof(reply))
        return -EIO;
    sent = (size_t)n - sizeof(reply);
    return traffic_send(fd, data + sent, request->mig.size - sent);
}

static int take(int fd, const struct head *request, uint8_t *data)
{
    uint8_t reply[VFIO_USER_HEADER_SIZE];
    int err = traffic_receive(fd, data, request->mig.size);

    message_encode_header(reply, request->header.id, request->header.command, sizeof(reply),
                          VFIO_USER_TYPE_REPLY, 0);
    return err != 0 ? err : traffic_send(fd, reply, sizeof(reply));
}

_Noreturn static void serve(int fd, uint8_t *data, size_t size)
{
    struct head request;
    size_t at = 0;
    int err = 0;

    while (err == 0 && traffic_receive(fd, &request, sizeof(request)) == 0) {
        if (request.mig.size > size)
            break;
        if (at + request.mig.size > size)
            at = 0;
        err = request.header.command == VFIO_USER_MIG_DATA_READ ? give(fd, &request, data + at)
                                                                : take(fd, &request, data + at);
        at += request.mig.size;
    }
    _exit(EXIT_SUCCESS);
}

_Noreturn static void run(int fd, size_t size)
{
    uint8_t *data = malloc(size);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (data == NULL)
        _exit(EXIT_FAILURE);
    memset(data, 0x5a, size);
    serve(fd, data, size);
}

int copier_start(size_t size, struct copier *out)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    out->pid = fork();
    if (out->pid == 0) {
        close(pair[0]);
        run(pair[1], size);
    }
    close(pair[1]);
    if (out->pid < 0) {
        int err = -errno;

        close(pair[0]);
        return err;
    }
    out->fd = pair[0];
    return 0;
}

void copier_stop(struct copier *c)
{
    close(c->fd);
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) {
    }
}
