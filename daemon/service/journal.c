/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "journal.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peer.h"

#define MAX_FIELDS   16
#define RECORD_BYTES 8192 /* a line is at most a quarter of it */

struct journal {
    const struct library *library;
    char instance[64];
    /* Connected to journald like the library's own, which may block; this one tells whether it
     * would. */
    int probe;
    unsigned dropped;
};

/* A record under way: NAME=VALUE, each in its own part of text. */
struct fields {
    char text[RECORD_BYTES];
    size_t used;
    struct iovec iov[MAX_FIELDS];
    int n;
};

bool journal_is_stderr(void)
{
    const char *journal = getenv("JOURNAL_STREAM"); /* DEVICE:INODE */
    unsigned long long dev;
    unsigned long long ino;
    struct stat st;

    return journal != NULL && sscanf(journal, "%llu:%llu", &dev, &ino) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

int journal_new(const struct library *library, const char *instance, const char *socket_path,
                struct journal **out)
{
    struct sockaddr_un addr;
    struct journal *j = calloc(1, sizeof(*j));
    int err = j != NULL ? peer_address(socket_path, &addr) : -ENOMEM;

    if (err != 0)
        goto fail;
    j->library = library;
    snprintf(j->instance, sizeof(j->instance), "%s", instance);
    j->probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (j->probe < 0) {
        err = -errno;
        goto fail;
    }
    if (connect(j->probe, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
        err = -errno;
        close(j->probe);
        goto fail;
    }
    *out = j;
    return 0;
fail:
    free(j);
    return err;
}

void journal_free(struct journal *j)
{
    if (j == NULL)
        return;
    close(j->probe);
    free(j);
}

static void add(struct fields *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct fields *f, const char *format, ...)
{
    char *at = f->text + f->used;
    size_t room = sizeof(f->text) - f->used;
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(at, room, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= room || f->n == MAX_FIELDS)
        return; /* what does not fit is left out; the message is the first */
    f->iov[f->n++] = (struct iovec) { .iov_base = at, .iov_len = (size_t)len };
    f->used += (size_t)len;
}

static void add_event(struct fields *f, const struct log_record *record)
{
    const char *id = log_event_id(record->event);

    if (id != NULL)
        add(f, "MESSAGE_ID=%s", id);
    for (const struct log_field *field = record->fields; field != NULL && field->name != NULL;
         field++) {
        if (field->text != NULL)
            add(f, "VFIO_USERD_%s=%s", field->name, field->text);
        else
            add(f, "VFIO_USERD_%s=%lld", field->name, (long long)field->number);
    }
}

static void send_record(struct journal *j, const struct log_record *record)
{
    struct fields f;

    f.used = 0;
    f.n = 0;
    add(&f, "MESSAGE=%s: %s", record->module, record->text);
    add(&f, "PRIORITY=%d", record->level);
    add(&f, "SYSLOG_IDENTIFIER=vfio-userd");
    add(&f, "VFIO_USERD_INSTANCE=%s", j->instance);
    add(&f, "VFIO_USERD_MODULE=%s", record->module);
    add_event(&f, record);
    j->library->journal_sendv(f.iov, f.n);
}

static bool takes_more(const struct journal *j)
{
    struct pollfd p = { .fd = j->probe, .events = POLLOUT };

    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
}

void journal_write(void *opaque, const struct log_record *record)
{
    struct journal *j = opaque;
    char text[64];

    if (!takes_more(j)) {
        j->dropped++;
        return;
    }
    if (j->dropped > 0) {
        const struct log_record lost = { .level = LOG_LEVEL_WARNING,
                                         .module = "log",
                                         .text = text };

        snprintf(text, sizeof(text), "%u lines were lost: the journal took none", j->dropped);
        j->dropped = 0;
        send_record(j, &lost);
    }
    send_record(j, record);
}
