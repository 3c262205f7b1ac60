/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "fd_store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

#define ROLE_BYTES 16

/* What there may be besides guest memory: 69 eventfds, and as many on their way. */
#define OTHERS 140

struct held {
    uint32_t serial; /* 0: this place is free */
    char role[ROLE_BYTES];
    int fd; /* a duplicate, to compare others with */
    dev_t dev;
    ino_t ino;
    unsigned puts;
    bool inherited; /* and not put since */
};

struct fd_store {
    struct fd_store_host host;
    struct held *held;
    unsigned n; /* places in use, at most */
    unsigned room;
    unsigned count;
    uint32_t next;
    bool unused;      /* there is something to be dropped */
    unsigned full_at; /* it was said that no more than one less are held; 0: it was not */
};

int fd_store_new(const struct fd_store_host *host, struct fd_store **out)
{
    struct fd_store *st = calloc(1, sizeof(*st));

    if (st == NULL)
        return -ENOMEM;
    st->host = *host;
    st->next = 1;
    *out = st;
    return 0;
}

void fd_store_free(struct fd_store *st)
{
    if (st == NULL)
        return;
    for (unsigned i = 0; i < st->n; i++) {
        if (st->held[i].serial != 0)
            close(st->held[i].fd);
    }
    free(st->held);
    free(st);
}

static void make_name(const char *role, uint32_t serial, char name[FD_STORE_NAME_BYTES])
{
    snprintf(name, FD_STORE_NAME_BYTES, "%s-%u", role, serial);
}

static struct held *find(const struct fd_store *st, uint32_t serial)
{
    for (unsigned i = 0; serial != 0 && i < st->n; i++) {
        if (st->held[i].serial == serial)
            return &st->held[i];
    }
    return NULL;
}

/* A free place; NULL without memory. */
static struct held *find_place(struct fd_store *st)
{
    struct held *more;
    unsigned room;

    for (unsigned i = 0; i < st->n; i++) {
        if (st->held[i].serial == 0)
            return &st->held[i];
    }
    if (st->n == st->room) {
        room = st->room > 0 ? 2 * st->room : 32;
        more = realloc(st->held, room * sizeof(*more));
        if (more == NULL)
            return NULL;
        st->held = more;
        st->room = room;
    }
    return &st->held[st->n++];
}

/* fd is taken, also on failure. */
static struct held *add(struct fd_store *st, int fd, const char *role, uint32_t serial)
{
    struct held *h = find_place(st);
    struct stat stat;

    if (h == NULL || fstat(fd, &stat) != 0) {
        if (h != NULL)
            h->serial = 0;
        close(fd);
        return NULL;
    }
    *h = (struct held) { .serial = serial, .fd = fd, .dev = stat.st_dev, .ino = stat.st_ino };
    snprintf(h->role, sizeof(h->role), "%s", role);
    st->count++;
    return h;
}

/* "ROLE-SERIAL", no longer than ours are. */
static bool read_name(const char *name, char role[ROLE_BYTES], uint32_t *serial)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz");
    char again[FD_STORE_NAME_BYTES];
    unsigned long value;

    if (len == 0 || len >= ROLE_BYTES || name[len] != '-')
        return false;
    memcpy(role, name, len);
    role[len] = '\0';
    value = strtoul(name + len + 1, NULL, 10);
    if (value == 0 || value > UINT32_MAX)
        return false;
    *serial = (uint32_t)value;
    make_name(role, *serial, again);
    return strcmp(again, name) == 0;
}

int fd_store_inherit(struct fd_store *st, int fd, const char *name)
{
    char role[ROLE_BYTES];
    uint32_t serial;
    struct held *h;

    if (!read_name(name, role, &serial) || find(st, serial) != NULL) {
        close(fd);
        return -EINVAL;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    h = add(st, fd, role, serial);
    if (h == NULL)
        return -ENOMEM;
    h->inherited = true;
    if (serial >= st->next)
        st->next = serial + 1;
    return 0;
}

int fd_store_get(const struct fd_store *st, const char *role, uint32_t serial)
{
    const struct held *h = find(st, serial);

    if (h == NULL || (role != NULL && strcmp(h->role, role) != 0))
        return -1;
    return fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
}

uint32_t fd_store_latest(const struct fd_store *st, const char *role, uint32_t below)
{
    uint32_t latest = 0;

    for (unsigned i = 0; i < st->n; i++) {
        const struct held *h = &st->held[i];

        if (h->serial > latest && (below == 0 || h->serial < below) && strcmp(h->role, role) == 0)
            latest = h->serial;
    }
    return latest;
}

/* The same open file, which two fds may be of. */
static struct held *find_same(const struct fd_store *st, int fd)
{
    struct stat stat;
    pid_t self = getpid();

    if (fstat(fd, &stat) != 0)
        return NULL;
    for (unsigned i = 0; i < st->n; i++) {
        struct held *h = &st->held[i];

        if (h->serial != 0 && h->dev == stat.st_dev && h->ino == stat.st_ino &&
            syscall(SYS_kcmp, self, self, KCMP_FILE, h->fd, fd) == 0)
            return h;
    }
    return NULL;
}

/* It is full until a fair part of what it holds has gone: said once, not with each that comes. */
static void say_full(struct fd_store *st, const char *role, const char *why)
{
    if (st->full_at == 0)
        log_warning("keep",
                    "the service manager holds %u file descriptors for us, and no more (%s, for "
                    "\"%s\"): what has no place is lost in a crash. FileDescriptorStoreMax= of the "
                    "unit, and FDSTORE in its environment",
                    st->count, why, role);
    st->full_at = st->count + 1;
}

/* Whether one more may be held. */
static bool has_room(const struct fd_store *st, const char *role)
{
    unsigned max = st->host.max;
    unsigned others = 0;

    if (strcmp(role, "dma") == 0)
        others = max > 2 * OTHERS ? OTHERS : max / 2;
    else if (strcmp(role, "state") != 0)
        others = 1;
    return st->count + others < max;
}

static uint32_t new_serial(struct fd_store *st)
{
    while (st->next == 0 || find(st, st->next) != NULL) /* they have all been given once */
        st->next++;
    return st->next++;
}

uint32_t fd_store_put(struct fd_store *st, int fd, const char *role)
{
    struct held *h = find_same(st, fd);
    char name[FD_STORE_NAME_BYTES];
    int copy;
    int err;

    if (h != NULL) {
        h->puts++;
        h->inherited = false;
        return h->serial;
    }
    if (!has_room(st, role)) {
        say_full(st, role, "it is full");
        return 0;
    }
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    h = copy >= 0 ? add(st, copy, role, new_serial(st)) : NULL;
    if (h == NULL) {
        say_full(st, role, strerror(errno));
        return 0;
    }
    make_name(role, h->serial, name);
    err = st->host.put(st->host.opaque, fd, name);
    if (err != 0) {
        say_full(st, role, strerror(-err));
        close(h->fd);
        h->serial = 0;
        st->count--;
        return 0;
    }
    h->puts = 1;
    return h->serial;
}

void fd_store_unput(struct fd_store *st, uint32_t serial)
{
    struct held *h = find(st, serial);

    if (h != NULL && h->puts > 0 && --h->puts == 0)
        st->unused = true;
}

static int drop(struct fd_store *st, struct held *h)
{
    char name[FD_STORE_NAME_BYTES];
    int err;

    make_name(h->role, h->serial, name);
    err = st->host.drop(st->host.opaque, name);
    if (err != 0)
        return err;
    close(h->fd);
    h->serial = 0;
    st->count--;
    if (st->count < st->full_at - st->full_at / 4)
        st->full_at = 0;
    return 0;
}

void fd_store_drop_unused(struct fd_store *st, int inherited)
{
    bool told = true; /* else it has taken its time, and the rest is for the next time */

    if (!st->unused && !inherited)
        return;
    for (unsigned i = 0; i < st->n; i++) {
        struct held *h = &st->held[i];

        if (h->serial == 0 || h->puts > 0 || (h->inherited && !inherited))
            continue;
        h->inherited = false;
        told = told && drop(st, h) == 0;
    }
    st->unused = false;
}

void fd_store_clear(struct fd_store *st)
{
    for (unsigned i = 0; i < st->n; i++)
        st->held[i].puts = 0;
    fd_store_drop_unused(st, true);
}

unsigned fd_store_count(const struct fd_store *st)
{
    return st->count;
}

unsigned fd_store_count_of(const struct fd_store *st, const char *role)
{
    unsigned n = 0;

    for (unsigned i = 0; i < st->n; i++)
        n += st->held[i].serial != 0 && strcmp(st->held[i].role, role) == 0;
    return n;
}
