/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "accept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "peer.h"
#include "watch.h"

#define BACKLOG  64
#define PER_TURN 16

struct acceptor {
    int fd;
    int spare; /* an fd in reserve, given up to accept and close when there is no other */
    const char *module;
    void (*fn)(void *arg, int fd);
    void *arg;
    struct watch *watch;
    struct log_limit limit;
};

/* Whether a process answers at the socket. */
static bool is_served(const char *path)
{
    int fd = peer_connect(path, SOCK_NONBLOCK);

    if (fd >= 0)
        close(fd);
    return fd != -ECONNREFUSED;
}

static int make_way(const struct sockaddr_un *addr)
{
    struct stat st;

    if (lstat(addr->sun_path, &st) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode) || is_served(addr->sun_path))
        return -EADDRINUSE;
    return unlink(addr->sun_path) == 0 ? 0 : -errno;
}

int accept_listen(const char *path, mode_t mode, struct accept_place *place)
{
    struct stat st;
    struct sockaddr_un addr;
    mode_t umask_before;
    int err = peer_address(path, &addr);
    int fd;

    if (err == 0)
        err = make_way(&addr);
    if (err != 0)
        return err;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* The mode must hold from the socket's first moment on. */
    umask_before = umask(0777 & ~mode);
    err = bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 ? 0 : -errno;
    umask(umask_before);
    if (err == 0 && listen(fd, BACKLOG) != 0)
        err = -errno;
    if (err == 0 && lstat(path, &st) != 0)
        err = -errno;
    if (err != 0) {
        close(fd);
        return err;
    }
    *place = (struct accept_place) { .path = path, .dev = st.st_dev, .ino = st.st_ino };
    return fd;
}

int accept_listen_at(const char *module, const char *path, mode_t mode, struct accept_place *place)
{
    int fd = accept_listen(path, mode, place);

    if (fd == -EADDRINUSE)
        log_err(module, "%s: another process serves this socket, or it is no socket", path);
    else if (fd < 0)
        log_err(module, "%s: %s", path, strerror(-fd));
    return fd;
}

void accept_unlink(const struct accept_place *place)
{
    struct stat st;

    if (place->path != NULL && lstat(place->path, &st) == 0 && st.st_dev == place->dev &&
        st.st_ino == place->ino)
        unlink(place->path);
}

static int out_of_fds(struct acceptor *a)
{
    int fd;

    close(a->spare);
    fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    a->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && log_limit_pass(&a->limit, a->module))
        log_event(LOG_EVENT_OUT_OF_FDS, NULL, LOG_LEVEL_ERR, a->module,
                  "a connection was turned away: the process is out of file descriptors");
    return fd >= 0 ? 0 : -1;
}

static void on_readable(void *arg, int events)
{
    struct acceptor *a = arg;

    (void)events;
    for (int i = 0; i < PER_TURN; i++) {
        int fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0)
            a->fn(a->arg, fd);
        else if (errno == EMFILE || errno == ENFILE) {
            if (out_of_fds(a) != 0)
                return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

int acceptor_new(uv_loop_t *loop, int fd, const char *module, void (*fn)(void *arg, int fd),
                 void *arg, struct acceptor **out)
{
    struct acceptor *a = calloc(1, sizeof(*a));
    int err = -ENOMEM;

    if (a == NULL)
        goto fail;
    *a = (struct acceptor) { .fd = fd, .module = module, .fn = fn, .arg = arg };
    a->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (a->spare < 0) {
        err = -errno;
        goto fail;
    }
    err = watch_new(loop, fd, on_readable, a, &a->watch);
    if (err != 0) {
        close(a->spare);
        goto fail;
    }
    *out = a;
    return 0;
fail:
    free(a);
    close(fd);
    return err;
}

void acceptor_free(struct acceptor *a)
{
    if (a == NULL)
        return;
    watch_free(a->watch);
    close(a->spare);
    close(a->fd);
    free(a);
}
