/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "format.h"

#define PIECE (256u << 10)

/* Sends all that fd has. Returns 0; -EPIPE: the daemon takes no more; -EIO: fd cannot be read. */
static int send_file(struct ctl_link *link, int fd, const char *path, unsigned long long *bytes)
{
    uint8_t *piece = malloc(PIECE);
    int err = piece != NULL ? 0 : -ENOMEM;

    while (err == 0) {
        ssize_t n = read(fd, piece, PIECE);

        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            fprintf(stderr, "vfuctl: %s: %s\n", path, strerror(errno));
            err = -EIO;
        } else {
            err = ctl_write(link, piece, (size_t)n);
            *bytes += (unsigned long long)n;
        }
    }
    free(piece);
    return err;
}

static void print_outcome(const struct ctl *ctl, const char *path, unsigned long long bytes)
{
    char size[FORMAT_BYTES];

    if (ctl->quiet)
        return;
    if (ctl->json)
        printf("{\"bytes\":%llu}\n", bytes);
    else
        printf("loaded %s: %s\n", strcmp(path, "-") == 0 ? "standard input" : path,
               format_size((long long)bytes, size));
}

/* The stream, and what the daemon says of it. */
static int load(const struct ctl *ctl, struct ctl_link *link, int fd, const char *path)
{
    struct json_object *reply;
    unsigned long long bytes = 0;
    int status = ctl_send(link, "Load", NULL, "upgrade");
    int err;

    if (status == CTL_DONE)
        status = ctl_receive(link, &reply);
    if (status != CTL_DONE)
        return status;
    json_object_put(reply);
    err = send_file(link, fd, path, &bytes);
    if (err == -EIO)
        return CTL_REFUSED;
    if (err == 0)
        ctl_end_writing(link);
    /* It may have refused in the middle: the reason is there to be read. */
    status = ctl_receive(link, &reply);
    if (status != CTL_DONE)
        return status;
    json_object_put(reply);
    print_outcome(ctl, path, bytes);
    return CTL_DONE;
}

static int run(const struct ctl *ctl, const struct ctl_args *args)
{
    const char *path = args->argument;
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    struct ctl_link *link;
    int status;

    if (is_stdin && isatty(STDIN_FILENO))
        return ctl_bad_usage(&ctl_load, "standard input is a terminal: give a file");
    if (fd < 0) {
        fprintf(stderr, "vfuctl: %s: %s\n", path, strerror(errno));
        return CTL_REFUSED;
    }
    status = ctl_connect(ctl, &link);
    if (status == CTL_DONE) {
        status = load(ctl, link, fd, path);
        ctl_disconnect(link);
    }
    if (!is_stdin)
        close(fd);
    return status;
}

const struct ctl_command ctl_load = {
    .name = "load",
    .summary = "replace the device's state by one that was saved",
    .help =
        "All of FILE is checked before anything changes. The device must have no client, or one\n"
        "that has stopped it, and be described as the one that was saved. For root and\n"
        "vfio-userd's own user.\n",
    .argument = { .name = "FILE",
                  .value = "FILE",
                  .help = "a saved state, or - for standard input" },
    .owners_only = true,
    .run = run,
};
