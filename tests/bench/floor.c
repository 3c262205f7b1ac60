/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "traffic.h"

#define READ_SIZE 65536u

static void serve(int fd, size_t request_len, const uint8_t *reply, size_t reply_len)
{
    static uint8_t buffer[READ_SIZE];
    size_t have = 0;

    for (;;) {
        ssize_t n = read(fd, buffer, sizeof(buffer));

        if (n <= 0)
            _exit(EXIT_SUCCESS);
        have += (size_t)n;
        if (have < request_len)
            continue;
        have -= request_len;
        if (traffic_send(fd, reply, reply_len) != 0)
            _exit(EXIT_FAILURE);
    }
}

int floor_start(size_t request_len, const uint8_t *reply, size_t reply_len,
                struct floor_process *out)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    out->pid = fork();
    if (out->pid == 0) {
        close(pair[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(pair[1], request_len, reply, reply_len);
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

void floor_stop(struct floor_process *f)
{
    close(f->fd);
    kill(f->pid, SIGKILL);
    while (waitpid(f->pid, NULL, 0) < 0 && errno == EINTR) {
    }
}
