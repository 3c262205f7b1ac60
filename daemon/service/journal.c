/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "journal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datagram.h"

/* A line is at most a quarter of it. */
#define RECORD_BYTES 8192

/* A field's value is cut here. */
#define VALUE_BYTES 1024

struct journal {
    char instance[64];
    char socket_path[128];
    int fd;
    unsigned dropped;
};

/* A record under way: lines of NAME=VALUE, none of which holds a newline. */
struct record {
    char text[RECORD_BYTES];
    size_t len;
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

int journal_new(const char *instance, const char *socket_path, struct journal **out)
{
    struct journal *j = calloc(1, sizeof(*j));

    if (j == NULL)
        return -ENOMEM;
    snprintf(j->instance, sizeof(j->instance), "%s", instance);
    snprintf(j->socket_path, sizeof(j->socket_path), "%s", socket_path);
    j->fd = datagram_open();
    if (j->fd < 0) {
        int err = j->fd;

        free(j);
        return err;
    }
    *out = j;
    return 0;
}

void journal_free(struct journal *j)
{
    if (j == NULL)
        return;
    close(j->fd);
    free(j);
}

static void add(struct record *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What does not fit is left out; the message is the first. */
static void add(struct record *r, const char *format, ...)
{
    size_t room = sizeof(r->text) - r->len;
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(r->text + r->len, room, format, args);
    va_end(args);
    if (len < 0 || (size_t)len + 1 >= room)
        return;
    r->len += (size_t)len;
    r->text[r->len++] = '\n';
}

static void add_event(struct record *r, const struct log_record *record)
{
    const char *id = log_event_id(record->event);
    char value[VALUE_BYTES];

    if (id != NULL)
        add(r, "MESSAGE_ID=%s", id);
    for (const struct log_field *f = record->fields; f != NULL && f->name != NULL; f++) {
        if (f->text != NULL) {
            log_escape(f->text, value, sizeof(value));
            add(r, "VFIO_USERD_%s=%s", f->name, value);
        } else {
            add(r, "VFIO_USERD_%s=%lld", f->name, (long long)f->number);
        }
    }
}

static int send_record(const struct journal *j, const struct log_record *record)
{
    struct record r;

    r.len = 0;
    add(&r, "MESSAGE=%s: %s", record->module, record->text);
    add(&r, "PRIORITY=%d", record->level);
    add(&r, "SYSLOG_IDENTIFIER=vfio-userd");
    add(&r, "VFIO_USERD_INSTANCE=%s", j->instance);
    add(&r, "VFIO_USERD_MODULE=%s", record->module);
    add_event(&r, record);
    return datagram_send(j->fd, j->socket_path, r.text, r.len);
}

/* Says how many lines were lost before this one. */
static int tell_dropped(struct journal *j)
{
    char text[64];
    const struct log_record lost = { .level = LOG_LEVEL_WARNING, .module = "log", .text = text };
    int err;

    if (j->dropped == 0)
        return 0;
    snprintf(text, sizeof(text), "%u lines were lost: the journal took none", j->dropped);
    err = send_record(j, &lost);
    if (err == 0)
        j->dropped = 0;
    return err;
}

bool journal_write(void *opaque, const struct log_record *record)
{
    struct journal *j = opaque;
    int err = tell_dropped(j);

    if (err == 0)
        err = send_record(j, record);
    if (err == -EAGAIN || err == -ENOBUFS)
        j->dropped++;
    return err == 0 || err == -EAGAIN || err == -ENOBUFS;
}
