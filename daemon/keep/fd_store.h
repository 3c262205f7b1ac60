/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File descriptors that outlive the process, because somebody else (the service manager) holds
 * copies of them. Each open file is held once, under a name "ROLE-SERIAL", however often it is put:
 * whoever holds them drops a second copy without a word, and would drop the only one with the first
 * name. So the same file, which kcmp tells, has the same serial, and puts are counted.
 *
 * Knows neither the service manager nor what the fds are for.
 */
#ifndef VFIO_USERD_FD_STORE_H
#define VFIO_USERD_FD_STORE_H

#include <stdint.h>

#define FD_STORE_NAME_BYTES 32

/* Who holds the copies. */
struct fd_store_host {
    void *opaque;
    /* Returns 0 or -errno. fd stays the caller's. */
    int (*put)(void *opaque, int fd, const char *name);
    int (*drop)(void *opaque, const char *name);
    unsigned max; /* copies that are held at most */
};

struct fd_store;

/* Returns 0 or -ENOMEM. */
int fd_store_new(const struct fd_store_host *host, struct fd_store **out);

/* Forgets it all; those who hold the copies go on doing so. NULL is allowed. */
void fd_store_free(struct fd_store *st);

/*
 * What a process before this one has put: fd, which is taken in any case, under its name. It is
 * dropped with fd_store_sweep unless it is put again before. Returns 0, -EINVAL: that is no name of
 * ours, or one that there is already; -ENOMEM.
 */
int fd_store_inherit(struct fd_store *st, int fd, const char *name);

/* A duplicate of what has this role and serial, the caller's; role NULL: any. -1: there is none. */
int fd_store_get(const struct fd_store *st, const char *role, uint32_t serial);

/* The largest serial below this one of what has the role, 0: of all; 0: there is none. */
uint32_t fd_store_latest(const struct fd_store *st, const char *role, uint32_t below);

/*
 * Puts a copy of fd, which stays the caller's; role: lower-case letters. Returns its serial; 0: it
 * could not be held, which is said when that begins. "dma", of which there may be any number,
 * leaves room for the others; all leave room for two of "state", the last one and the next.
 */
uint32_t fd_store_put(struct fd_store *st, int fd, const char *role);

/* Takes back one put. What nobody has put any more goes with the next fd_store_drop_unused. */
void fd_store_unput(struct fd_store *st, uint32_t serial);

/*
 * Drops what nobody has put any more; with inherited, also what was inherited and not put. What
 * whoever holds it could not be told of is still held, and tried again the next time that something
 * is to be dropped.
 */
void fd_store_drop_unused(struct fd_store *st, int inherited);

/* Drops all of it. */
void fd_store_clear(struct fd_store *st);

/* How many are held; and of a role. */
unsigned fd_store_count(const struct fd_store *st);
unsigned fd_store_count_of(const struct fd_store *st, const char *role);

#endif
