/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The kernel's default for /proc/sys/kernel/overflowuid, which a sandbox does not let us read. */
#define OVERFLOW_UID 65534u

/* A map has at most 340 lines, but where it matters (a service's sandbox) two or three. */
#define MAP_BYTES 4096

bool peer_uid_is_mapped(const char *map, uid_t uid)
{
    unsigned first;
    unsigned count;
    int used;

    while (sscanf(map, "%u %*u %u%n", &first, &count, &used) == 2) {
        if (uid >= first && uid - first < count)
            return true;
        map += used;
    }
    return false;
}

static bool has_overflow_uid(void)
{
    int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
    char map[MAP_BYTES];
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, map, sizeof(map) - 1);
    close(fd);
    map[n > 0 ? n : 0] = '\0';
    return peer_uid_is_mapped(map, OVERFLOW_UID);
}

void peer_credentials(int fd, struct peer *out)
{
    struct ucred ucred;
    socklen_t len = sizeof(ucred);

    *out = (struct peer) { 0 };
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &len) != 0)
        return;
    out->pid = ucred.pid;
    out->uid = ucred.uid;
    out->uid_known = ucred.uid != OVERFLOW_UID || has_overflow_uid();
}

int peer_address(const char *path, struct sockaddr_un *out)
{
    if (path[0] == '\0')
        return -EINVAL; /* would be an address of the kernel's choice */
    if (strlen(path) >= sizeof(out->sun_path))
        return -ENAMETOOLONG;
    *out = (struct sockaddr_un) { .sun_family = AF_UNIX };
    strcpy(out->sun_path, path);
    return 0;
}

int peer_connect(const char *path, int flags)
{
    const struct timeval limit = { .tv_sec = PEER_CONNECT_SECONDS };
    const struct timeval none = { 0 };
    struct sockaddr_un addr;
    int err = peer_address(path, &addr);
    int fd;

    if (err != 0)
        return err;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* connect waits no longer */
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
        err = errno == EAGAIN && (flags & SOCK_NONBLOCK) == 0 ? -ETIMEDOUT : -errno;
        close(fd);
        return err;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
    return fd;
}

void peer_close_fd(int fd)
{
    const struct linger none = { 0 };

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    close(fd);
}

void peer_close_fds(const int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        peer_close_fd(fds[i]);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t peer_deadline(int ms)
{
    return now_ms() + ms;
}

int peer_wait_any(struct pollfd *polls, nfds_t n, int64_t deadline)
{
    int ready;

    do {
        int64_t left = deadline - now_ms();

        ready = poll(polls, n, left > 0 ? (int)left : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready < 0)
        return -errno;
    return ready == 0 ? -ETIMEDOUT : 0;
}

int peer_wait(int fd, short events, int other, int64_t deadline)
{
    struct pollfd polls[2] = { { .fd = fd, .events = events }, { .fd = other, .events = POLLIN } };
    int err = peer_wait_any(polls, 2, deadline);

    if (err != 0)
        return err;
    return polls[1].revents != 0 ? 1 : 0;
}
