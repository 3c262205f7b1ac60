/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "notifier.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RING_EVENTS 16

struct notifier {
    aio_context_t aio; /* 0 where there is none */
    int ready;         /* an eventfd of ours, always readable: what the AIO polls */
};

int notifier_new(struct notifier **out)
{
    struct notifier *n = calloc(1, sizeof(*n));

    if (n == NULL)
        return -ENOMEM;
    n->ready = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (n->ready < 0) {
        int err = -errno;

        free(n);
        return err;
    }
    if (syscall(SYS_io_setup, RING_EVENTS, &n->aio) != 0)
        n->aio = 0;
    *out = n;
    return 0;
}

void notifier_free(struct notifier *n)
{
    if (n == NULL)
        return;
    if (n->aio != 0)
        syscall(SYS_io_destroy, n->aio);
    close(n->ready);
    free(n);
}

/* The poll of a readable file completes within io_submit, and its completion signals eventfd. */
static int signal_by_aio(struct notifier *n, int eventfd)
{
    struct iocb cb = { .aio_lio_opcode = IOCB_CMD_POLL,
                       .aio_fildes = (uint32_t)n->ready,
                       .aio_buf = POLLIN,
                       .aio_flags = IOCB_FLAG_RESFD,
                       .aio_resfd = (uint32_t)eventfd };
    struct iocb *list[] = { &cb };
    struct io_event events[RING_EVENTS];
    struct timespec now = { 0, 0 };
    int err = syscall(SYS_io_submit, n->aio, 1, list) == 1 ? 0 : -errno;

    /* Makes room for the next completion. */
    syscall(SYS_io_getevents, n->aio, 0, RING_EVENTS, events, &now);
    return err;
}

static int signal_by_write(int eventfd)
{
    struct pollfd p = { .fd = eventfd, .events = POLLOUT };
    uint64_t one = 1;

    if (poll(&p, 1, 0) < 0)
        return -errno;
    if ((p.revents & POLLOUT) == 0)
        return 0; /* full: whoever reads it will see that something happened */
    return write(eventfd, &one, sizeof(one)) == sizeof(one) ? 0 : -errno;
}

int notifier_signal(struct notifier *n, int eventfd)
{
    return n->aio != 0 ? signal_by_aio(n, eventfd) : signal_by_write(eventfd);
}

bool notifier_accepts(int fd)
{
    static const char expected[] = "anon_inode:[eventfd]";
    char path[32];
    char target[64];
    ssize_t len;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    len = readlink(path, target, sizeof(target));
    if (len < 0)
        return errno == ENOENT && access("/proc/self", F_OK) != 0; /* no /proc: cannot tell */
    return (size_t)len == sizeof(expected) - 1 && memcmp(target, expected, (size_t)len) == 0;
}
