/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "format.h"
#include "peer.h"
#include "state_stream.h"

/* A daemon that sends nothing is not waited for longer. */
#define IDLE_MS 10000

/* Room for two of the longest records. */
#define BUFFER_BYTES (2u * (STATE_MAX_RECORD + STATE_HEADER_SIZE))

/* Where the stream goes, and how far it has come. */
struct output {
    const char *path;     /* as given */
    char final[PATH_MAX]; /* the file itself, where path is a link to it */
    int fd;
    bool temporary; /* it is written under another name first */
    uint8_t *buffer;
    size_t have; /* bytes in it: a record that is not complete */
    struct state_sum sum;
    unsigned long long bytes;
    bool complete; /* the END has come */
};

/* The name that a file has until it is complete, for the signal handler. */
static char temporary[PATH_MAX];

static void on_signal(int signum)
{
    unlink(temporary);
    signal(signum, SIG_DFL);
    raise(signum);
}

/*
 * The file
 */

/* Opens a name of its own beside path: what is there is replaced by a whole state or not at all. */
static int open_temporary(struct output *o)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    int len;

    if (realpath(o->path, o->final) == NULL)
        snprintf(o->final, sizeof(o->final), "%s", o->path);
    len = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", o->final);
    if (len < 0 || (size_t)len >= sizeof(temporary))
        return -ENAMETOOLONG;
    o->fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600: it holds a guest's data */
    if (o->fd < 0)
        return -errno;
    o->temporary = true;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], on_signal);
    return 0;
}

static int open_output(const char *path, struct output *o)
{
    struct stat st;

    *o = (struct output) { .path = path, .fd = STDOUT_FILENO };
    o->buffer = malloc(BUFFER_BYTES);
    if (o->buffer == NULL)
        return -ENOMEM;
    signal(SIGPIPE, SIG_IGN); /* a reader that goes is told of as an error */
    if (strcmp(path, "-") == 0)
        return 0;
    if (stat(path, &st) != 0 || S_ISREG(st.st_mode))
        return open_temporary(o);
    o->fd = open(path, O_WRONLY | O_CLOEXEC); /* a pipe or a device */
    return o->fd < 0 ? -errno : 0;
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR)
            return -errno;
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Removes what is not complete, or gives it its name. Returns 0 or -errno. */
static int close_output(struct output *o, bool good)
{
    int err = 0;

    free(o->buffer);
    if (!o->temporary) {
        if (o->fd > STDOUT_FILENO)
            close(o->fd);
        return 0;
    }
    if (good && fsync(o->fd) != 0)
        err = -errno;
    close(o->fd);
    if (good && err == 0 && rename(temporary, o->final) != 0)
        err = -errno;
    if (!good || err != 0)
        unlink(temporary);
    return err;
}

/*
 * The stream
 */

/* Looks at the records that are complete. Returns what is wrong with them, or NULL. */
static const char *check_records(struct output *o)
{
    struct state_record record;
    const char *wrong = NULL;
    size_t at = 0;

    while (wrong == NULL && o->have - at >= STATE_HEADER_SIZE) {
        const uint8_t *wire = o->buffer + at;
        struct state_sum before = o->sum;
        size_t size;

        wrong = o->complete ? "something follows the end" : state_record_decode(wire, &record);
        if (wrong != NULL)
            break;
        size = STATE_HEADER_SIZE + record.length;
        if (o->have - at < size)
            break;
        wrong = state_record_check(wire, &record, &o->sum);
        if (wrong == NULL && record.type == STATE_END) {
            o->complete = record.length - record.padding == STATE_END_SIZE &&
                          state_end_matches(wire + STATE_HEADER_SIZE, &before);
            wrong = o->complete ? NULL : "its end does not fit the rest";
        }
        at += size;
    }
    o->have -= at;
    memmove(o->buffer, o->buffer + at, o->have);
    return wrong;
}

/* Says why the output cannot be written. */
static int cannot_write(const char *path, int err)
{
    fprintf(stderr, "vfuctl: %s: %s\n", strcmp(path, "-") == 0 ? "standard output" : path,
            strerror(-err));
    return CTL_REFUSED;
}

/* Copies the stream until the daemon closes the connection. CTL_DONE when all of it came. */
static int copy(struct ctl_link *link, struct output *o)
{
    const char *wrong = NULL;
    int err = 0;

    while (err == 0 && wrong == NULL) {
        int n = ctl_read(link, o->buffer + o->have, BUFFER_BYTES - o->have);

        if (n == 0) {
            err = peer_wait(ctl_link_fd(link), POLLIN, -1, peer_deadline(IDLE_MS));
        } else if (n < 0) {
            err = n;
        } else {
            err = write_all(o->fd, o->buffer + o->have, (size_t)n);
            if (err != 0)
                return cannot_write(o->path, err);
            o->bytes += (unsigned)n;
            o->have += (size_t)n;
            wrong = check_records(o);
        }
    }
    if (wrong != NULL)
        fprintf(stderr, "vfuctl: the daemon's state is damaged: %s\n", wrong);
    else if (err != -ENOTCONN && err != -ECONNRESET)
        fprintf(stderr, "vfuctl: the daemon's state does not come: %s\n", strerror(-err));
    else if (!o->complete || o->have > 0)
        fprintf(stderr, "vfuctl: the daemon's state ends in the middle\n");
    else
        return CTL_DONE;
    return CTL_UNREACHABLE;
}

/* On standard error: standard output may be the file. */
static void print_outcome(const struct ctl *ctl, const struct output *o)
{
    char size[FORMAT_BYTES];

    if (ctl->quiet)
        return;
    if (ctl->json)
        fprintf(stderr, "{\"bytes\":%llu}\n", o->bytes);
    else
        fprintf(stderr, "vfuctl: saved: %s\n", format_size((long long)o->bytes, size));
}

static int run(const struct ctl *ctl, const struct ctl_args *args)
{
    struct json_object *reply;
    struct ctl_link *link;
    struct output o;
    bool good = false;
    int status;
    int err;

    if (strcmp(args->argument, "-") == 0 && isatty(STDOUT_FILENO))
        return ctl_bad_usage(&ctl_save, "standard output is a terminal: give a file");
    status = ctl_connect(ctl, &link);
    if (status != CTL_DONE)
        return status;
    err = open_output(args->argument, &o);
    if (err == 0) {
        status = ctl_send(link, "Save", NULL, "upgrade");
        if (status == CTL_DONE)
            status = ctl_receive(link, &reply);
        if (status == CTL_DONE) {
            json_object_put(reply);
            status = copy(link, &o);
            good = status == CTL_DONE;
        }
    }
    if (err == 0 || o.buffer != NULL) {
        int closing = close_output(&o, good);

        err = err != 0 ? err : closing;
    }
    if (err != 0) {
        status = cannot_write(args->argument, err);
    } else if (good) {
        print_outcome(ctl, &o);
    }
    ctl_disconnect(link);
    return status;
}

const struct ctl_command ctl_save = {
    .name = "save",
    .summary = "write the device's state to a file or a pipe",
    .help =
        "Registers, configuration space, pending interrupts, the deadline and all of BAR1, as\n"
        "they are now; the device goes on. FILE is replaced when all has come, \"-\" is standard\n"
        "output. To another host: vfuctl save - | ssh HOST vfuctl load -\n",
    .argument = { .name = "FILE", .value = "FILE", .help = "where to, or - for standard output" },
    .run = run,
};
