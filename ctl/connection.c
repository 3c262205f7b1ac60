/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "ctl.h"
#include "peer.h"
#include "varlink.h"

#define TIMEOUT_MS 5000
#define INTERFACE  "io.vfiouserd.Device."
#define SERVICE    "org.varlink.service."

struct ctl_link {
    const struct ctl *ctl;
    struct varlink *varlink;
    bool has_replied;
    bool line_open; /* something stands on the terminal's line */
    char path[PATH_MAX];
};

/*
 * Errors, one line each
 */

/* Who may: the socket's mode says so, as far as we may see it. */
static void print_denied(const char *path)
{
    const struct group *group;
    struct stat st;

    fprintf(stderr, "vfuctl: %s: permission denied", path);
    if (stat(path, &st) == 0 && (st.st_mode & S_IWGRP) != 0) {
        group = getgrgid(st.st_gid);
        fputs(": only root and members of group ", stderr);
        if (group != NULL)
            fputs(group->gr_name, stderr);
        else
            fprintf(stderr, "%u", st.st_gid);
        fputs(" may connect", stderr);
    }
    fputc('\n', stderr);
}

static const char *why_no_connection(const char *path, int err)
{
    struct stat st;

    switch (err) {
    case -ENOENT:
        return "there is no such socket: does the daemon run?";
    case -ECONNREFUSED:
        return stat(path, &st) == 0 && !S_ISSOCK(st.st_mode)
                   ? "this is no socket"
                   : "nobody serves this socket: does the daemon run?";
    case -EAGAIN:
        return "too many wait for this socket: does the daemon hang?";
    case -EPROTOTYPE:
        return "this is no control socket";
    default:
        return strerror(-err);
    }
}

/* The name of the instance that the socket belongs to by its place, or "". */
static void instance_of(const struct ctl_link *link, char *name, size_t size)
{
    const char *dir = ctl_run_dir();
    size_t len = strlen(dir);
    const char *begin = link->path + len + 1;
    const char *end;

    name[0] = '\0';
    if (strncmp(link->path, dir, len) != 0 || link->path[len] != '/')
        return;
    end = strchr(begin, '/');
    if (end != NULL && strcmp(end, "/control.sock") == 0)
        snprintf(name, size, "%.*s", (int)(end - begin), begin);
}

/* An error has a line of its own. */
static void end_line(const struct ctl_link *link)
{
    if (!link->line_open)
        return;
    putchar('\n');
    fflush(stdout);
}

/* A connection that was made and then failed; returns CTL_UNREACHABLE. */
static int lost(const struct ctl_link *link, int err)
{
    bool ended = err == -ENOTCONN || err == -ECONNRESET || err == -EPIPE;
    char name[256];

    end_line(link);
    instance_of(link, name, sizeof(name));
    fprintf(stderr, "vfuctl: %s: ", link->path);
    if (err == -EBADMSG || err == -EMSGSIZE)
        fputs("the answer is not Varlink: is this a control socket?\n", stderr);
    else if (ended && link->has_replied)
        fputs("the daemon has closed the connection\n", stderr);
    else if (!ended && err != -ETIMEDOUT)
        fprintf(stderr, "%s\n", strerror(-err));
    else if (name[0] != '\0')
        fprintf(stderr, "%s: did it start? see: systemctl status vfio-userd@%s\n",
                ended ? "the daemon closed the connection without a reply"
                      : "the daemon does not reply",
                name);
    else
        fprintf(stderr, "%s: is this a control socket?\n",
                ended ? "the connection was closed without a reply" : "no reply within 5 s");
    return CTL_UNREACHABLE;
}

/* The daemon said no: the error's name and its fields; or what they mean, where that is known. */
static int refused(const struct ctl_link *link, const char *error, struct json_object *parameters)
{
    const char *dot = strrchr(error, '.');

    end_line(link);
    if (strcmp(error, SERVICE "PermissionDenied") == 0) {
        fprintf(stderr, "vfuctl: permission denied: %s is for root and vfio-userd's own user%s\n",
                link->ctl->command->name,
                link->ctl->command->owners_only ? "" : " (control.group_may_write is false)");
        return CTL_REFUSED;
    }
    fprintf(stderr, "vfuctl: %s", dot != NULL ? dot + 1 : error);
    if (json_object_is_type(parameters, json_type_object)) {
        json_object_object_foreach (parameters, key, value)
            fprintf(stderr, " %s=%s", key, json_object_get_string(value));
    }
    if (strcmp(error, SERVICE "MethodNotFound") == 0)
        fputs(": is the daemon older than vfuctl?", stderr);
    fputc('\n', stderr);
    return CTL_REFUSED;
}

/*
 * Links
 */

static void print_unreachable(const char *path, int err)
{
    if (err == -EACCES)
        print_denied(path);
    else
        fprintf(stderr, "vfuctl: %s: %s\n", path, why_no_connection(path, err));
}

int ctl_open(const char *name)
{
    char path[PATH_MAX];
    int fd;

    if (strchr(name, '/') != NULL)
        snprintf(path, sizeof(path), "%s", name);
    else if (ctl_instance_socket(name, path) != 0)
        path[0] = '\0';
    fd = peer_connect(path, 0);
    if (fd < 0)
        print_unreachable(path[0] != '\0' ? path : name, fd);
    return fd < 0 ? -1 : fd;
}

int ctl_connect(const struct ctl *ctl, struct ctl_link **out)
{
    struct ctl_link *link = calloc(1, sizeof(*link));
    int status = CTL_UNREACHABLE;
    int err = -ENOMEM;

    if (link != NULL) {
        link->ctl = ctl;
        status = ctl_find_socket(ctl, link->path);
        err = status == CTL_DONE ? varlink_connect(link->path, &link->varlink) : 0;
    }
    if (status == CTL_DONE && err == 0) {
        *out = link;
        return CTL_DONE;
    }
    if (err != 0)
        print_unreachable(link != NULL ? link->path : "connection", err);
    free(link);
    return err != 0 ? CTL_UNREACHABLE : status;
}

void ctl_disconnect(struct ctl_link *link)
{
    if (link == NULL)
        return;
    varlink_free(link->varlink);
    free(link);
}

int ctl_link_fd(const struct ctl_link *link)
{
    return varlink_fd(link->varlink);
}

int ctl_send(struct ctl_link *link, const char *method, struct json_object *parameters,
             const char *flag)
{
    return ctl_send_fd(link, method, parameters, flag, -1);
}

int ctl_send_fd(struct ctl_link *link, const char *method, struct json_object *parameters,
                const char *flag, int fd)
{
    int64_t deadline = peer_deadline(TIMEOUT_MS);
    struct json_object *call = json_object_new_object();
    char name[128];
    int err;

    snprintf(name, sizeof(name), INTERFACE "%s", method);
    json_object_object_add(call, "method", json_object_new_string(name));
    if (parameters != NULL)
        json_object_object_add(call, "parameters", parameters);
    if (flag != NULL)
        json_object_object_add(call, flag, json_object_new_boolean(true));
    err = varlink_send_fds(link->varlink, call, &fd, fd >= 0 ? 1 : 0);
    json_object_put(call);
    while (err == 0 && (err = varlink_flush(link->varlink)) == -EAGAIN)
        err = peer_wait(varlink_fd(link->varlink), POLLOUT, -1, deadline);
    return err == 0 ? CTL_DONE : lost(link, err);
}

static int open_reply(struct ctl_link *link, struct json_object *message, struct json_object **out)
{
    struct json_object *parameters = ctl_get(message, "parameters");
    const char *error = json_object_get_string(ctl_get(message, "error"));
    int status = CTL_DONE;

    link->has_replied = true;
    if (error != NULL)
        status = refused(link, error, parameters);
    else
        *out = parameters != NULL ? json_object_get(parameters) : json_object_new_object();
    json_object_put(message);
    return status;
}

int ctl_take(struct ctl_link *link, struct json_object **out)
{
    struct json_object *message;
    int filled = 0;
    int n = varlink_next(link->varlink, &message);

    *out = NULL;
    if (n == 0) {
        filled = varlink_fill(link->varlink);
        n = filled > 0 ? varlink_next(link->varlink, &message) : filled;
    }
    if (n < 0)
        return lost(link, n);
    return n > 0 ? open_reply(link, message, out) : CTL_DONE;
}

int ctl_receive(struct ctl_link *link, struct json_object **out)
{
    return ctl_wait(link, TIMEOUT_MS, out);
}

int ctl_wait(struct ctl_link *link, int ms, struct json_object **out)
{
    int64_t deadline = peer_deadline(ms);
    int status = ctl_take(link, out);

    while (status == CTL_DONE && *out == NULL) {
        int err = peer_wait(varlink_fd(link->varlink), POLLIN, -1, deadline);

        status = err == 0 ? ctl_take(link, out) : lost(link, err);
    }
    return status;
}

int ctl_read(struct ctl_link *link, void *data, size_t size)
{
    return varlink_read_raw(link->varlink, data, size);
}

void ctl_set_line_open(struct ctl_link *link, bool open)
{
    link->line_open = open;
}

int ctl_write(struct ctl_link *link, const void *data, size_t size)
{
    int fd = varlink_fd(link->varlink);
    const uint8_t *at = data;
    int err = 0;

    while (err == 0 && size > 0) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            at += n;
            size -= (size_t)n;
        } else if (errno == EAGAIN || errno == EINTR) {
            err = peer_wait(fd, POLLOUT, -1, peer_deadline(TIMEOUT_MS));
        } else {
            err = errno == ECONNRESET ? -EPIPE : -errno;
        }
    }
    return err;
}

void ctl_end_writing(struct ctl_link *link)
{
    shutdown(varlink_fd(link->varlink), SHUT_WR);
}

bool ctl_wait_closed(struct ctl_link *link)
{
    int64_t deadline = peer_deadline(TIMEOUT_MS);
    int n = 0;

    while (n >= 0 && peer_wait(varlink_fd(link->varlink), POLLIN, -1, deadline) == 0)
        n = varlink_fill(link->varlink);
    return n < 0;
}

int ctl_ask(struct ctl_link *link, const char *method, struct json_object *parameters,
            struct json_object **out)
{
    int status = ctl_send(link, method, parameters, NULL);

    return status == CTL_DONE ? ctl_receive(link, out) : status;
}

int ctl_call(const struct ctl *ctl, const char *method, struct json_object *parameters,
             struct json_object **out)
{
    struct ctl_link *link;
    int status = ctl_connect(ctl, &link);

    if (status != CTL_DONE) {
        json_object_put(parameters);
        return status;
    }
    status = ctl_ask(link, method, parameters, out);
    ctl_disconnect(link);
    return status;
}
