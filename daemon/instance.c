/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "instance.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER_MODE 0755

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

static const char *folder(const char *variable, const char *otherwise)
{
    const char *value = getenv(variable);

    return value != NULL && value[0] != '\0' ? value : otherwise;
}

static int check_name(const char *name)
{
    if (name[0] == '\0' || name[0] == '.')
        return -EINVAL;
    if (strlen(name) >= INSTANCE_NAME_BYTES)
        return -ENAMETOOLONG;
    return name[strspn(name, NAME_CHARACTERS)] == '\0' ? 0 : -EINVAL;
}

/* Returns whether it fits. */
static bool join(char out[PATH_MAX], const char *dir, const char *name, const char *suffix)
{
    return snprintf(out, PATH_MAX, "%s/%s%s", dir, name, suffix) < PATH_MAX;
}

int instance_init(struct instance *i, const char *name)
{
    int err = check_name(name);

    if (err != 0)
        return err;
    strcpy(i->name, name);
    if (!join(i->config, folder("VFIO_USERD_CONFIG_DIR", CONFIG_DIR), name, ".json") ||
        !join(i->folder, folder("VFIO_USERD_RUN_DIR", RUN_DIR), name, "") ||
        !join(i->device_socket, i->folder, INSTANCE_DEVICE_SOCKET, "") ||
        !join(i->control_socket, i->folder, INSTANCE_CONTROL_SOCKET, ""))
        return -ENAMETOOLONG;
    return 0;
}

/* After the socket's folder when that holds the socket alone, else after the socket. */
void instance_name_from_path(const char *socket_path, char name[INSTANCE_NAME_BYTES])
{
    const char *path = socket_path != NULL ? socket_path : "vfio-userd";
    const char *end = path + strlen(path);
    const char *slash = strrchr(path, '/');
    const char *begin = slash != NULL ? slash + 1 : path;

    if (slash != NULL && slash != path && strcmp(begin, INSTANCE_DEVICE_SOCKET) == 0) {
        end = slash;
        for (begin = end; begin > path && begin[-1] != '/';)
            begin--;
    }
    snprintf(name, INSTANCE_NAME_BYTES, "%.*s", (int)(end - begin), begin);
}

/* With its mode, whatever the umask is: members of the sockets' group come through it. */
static int make_folder(const char *path)
{
    if (mkdir(path, FOLDER_MODE) != 0)
        return errno == EEXIST ? 0 : -errno;
    return chmod(path, FOLDER_MODE) == 0 ? 0 : -errno;
}

int instance_make_folder(const struct instance *i)
{
    char parent[PATH_MAX];
    char *slash;
    int err = 0;

    strcpy(parent, i->folder);
    slash = strrchr(parent, '/');
    if (slash != NULL && slash != parent) {
        *slash = '\0';
        err = make_folder(parent);
    }
    return err == 0 ? make_folder(i->folder) : err;
}
