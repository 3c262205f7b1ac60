/* SPDX-License-Identifier: BSD-3-Clause */
/* Attempts by path. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attempts.h"

#define PATH_BYTES 512

/* Makes a file and removes it. */
int try_write(const struct probe *p, const char *folder)
{
    char path[PATH_BYTES];
    int fd;

    snprintf(path, sizeof(path), "%s/vfut-probe-%s", folder, p->instance);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return unlink(path) == 0 ? 0 : -errno;
}

int try_read(const struct probe *p, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    (void)p;
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

int try_open_device(const struct probe *p, const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    (void)p;
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

int try_connect(const struct probe *p, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int err = 0;

    (void)p;
    if (fd < 0)
        return -errno;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        err = -errno;
    close(fd);
    return err;
}

static int connect_instance(const struct probe *p, const char *instance, const char *name)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "/run/vfio-userd/%s/%s", instance, name);
    return try_connect(p, path);
}

int try_connect_own(const struct probe *p, const char *name)
{
    return connect_instance(p, p->instance, name);
}

int try_connect_other(const struct probe *p, const char *name)
{
    return connect_instance(p, p->other, name);
}

int try_mount(const struct probe *p, const char *argument)
{
    (void)p;
    (void)argument;
    if (mount("tmpfs", "/mnt", "tmpfs", 0, NULL) != 0)
        return -errno;
    return umount("/mnt") == 0 ? 0 : -errno;
}

int try_chroot(const struct probe *p, const char *argument)
{
    (void)p;
    (void)argument;
    return chroot("/") == 0 ? 0 : -errno;
}
