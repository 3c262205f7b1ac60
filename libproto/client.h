/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's side of vfio-user, synchronous: connect, negotiate, one call a command. While a call
 * waits for its reply, commands of the server (DMA_READ, DMA_WRITE, VM_INTERRUPT) are served
 * through the owner's functions, from the twin socket when there is one. For vfu-client, the tests
 * and the benchmarks; a VMM would want it asynchronous.
 *
 * Functions return 0 or -errno: the server's own errno for an error reply, -ETIMEDOUT when nothing
 * came in time, -ENOTCONN when the server closed, -EPROTO for a reply that does not fit its
 * request.
 */
#ifndef VFIO_USERD_CLIENT_H
#define VFIO_USERD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream.h"
#include "version.h"
#include "vfio_user.h"

struct client;

/*
 * The client's memory, for DMA by message: copies count bytes at IOVA address to or from data.
 * Return 0 or -errno, which becomes the error reply. Either may be NULL: ENOTSUP.
 */
struct client_memory {
    void *opaque;
    int (*read)(void *opaque, uint64_t address, void *data, uint64_t count);
    int (*write)(void *opaque, uint64_t address, const void *data, uint64_t count);
};

/* The server's VM_INTERRUPT: vector subindex of an index of interrupts is raised. */
typedef void (*client_interrupt)(void *opaque, uint32_t index, uint32_t subindex);

/* A command to send and where its reply goes. */
struct client_call {
    uint16_t command;
    uint32_t flags;    /* VFIO_USER_NO_REPLY or 0 */
    const void *fixed; /* first part of the payload */
    size_t fixed_len;
    const void *data; /* second part, may be NULL */
    size_t data_len;
    const int *fds; /* stay the caller's */
    unsigned nfds;
    void *reply; /* receives the reply's payload, at most reply_max bytes */
    size_t reply_max;
    size_t reply_len;    /* out: the payload's full length, which may be more than reply_max */
    int *reply_fds;      /* receives up to reply_nfds fds, the caller's from then on */
    unsigned reply_nfds; /* in: room; out: how many came */
};

/* Connects to the UNIX socket at path. */
int client_connect(const char *path, struct client **out);

/* Makes a client of a connected socket, which it owns from now on, also on failure. */
int client_new(int fd, struct client **out);

void client_free(struct client *c);

/* For code that needs the bytes themselves. The twin: NULL when there is none (any more). */
struct stream *client_stream(struct client *c);
struct stream *client_twin(struct client *c);

void client_set_memory(struct client *c, const struct client_memory *memory);

/* Who is told of interrupts that come by message; NULL: they are answered with ENOTSUP. */
void client_set_interrupt(struct client *c, client_interrupt fn, void *opaque);

/* How long a call waits for its reply, in ms; 5000 when not set. */
void client_set_timeout(struct client *c, int ms);

/*
 * Sends VERSION with the given capabilities and reads the answer into *theirs. When both have a
 * twin socket, the server's commands are taken from it, and from nowhere else, from now on.
 * -EPROTO for an answer that breaks the rules of section "VFIO_USER_VERSION": it agrees to what was
 * not offered, say, or to a twin socket that did not come along.
 */
int client_negotiate(struct client *c, const struct version_caps *ours,
                     struct version_caps *theirs);

/* Sends a command and, unless it is NO_REPLY, waits for its reply. */
int client_call(struct client *c, struct client_call *call);

/* Only sends; returns the message's id, or -errno. The reply is fetched by client_wait. */
int client_send(struct client *c, const struct client_call *call);
int client_wait(struct client *c, uint16_t id, struct client_call *call);

/* Serves commands of the server until fd is readable (fd >= 0) or ms have passed. */
int client_serve(struct client *c, int fd, int ms);

int client_get_info(struct client *c, struct vfio_user_device_info *out);

/*
 * Region info with its capabilities, fetched in as many steps as it takes. *out is allocated, the
 * caller frees it; *fd is the caller's, -1 when none came.
 */
int client_get_region_info(struct client *c, uint32_t index, struct vfio_region_info **out,
                           int *fd);

int client_get_irq_info(struct client *c, uint32_t index, struct vfio_irq_info *out);

/*
 * SET_IRQS for count interrupts of an index from start. bools: count bytes with DATA_BOOL, else
 * NULL. fds: nfds eventfds with DATA_EVENTFD.
 */
int client_set_irqs(struct client *c, uint32_t flags, uint32_t index, uint32_t start,
                    uint32_t count, const uint8_t *bools, const int *fds, unsigned nfds);

int client_region_read(struct client *c, uint32_t region, uint64_t offset, void *data,
                       uint32_t count);
int client_region_write(struct client *c, uint32_t region, uint64_t offset, const void *data,
                        uint32_t count);

/* The same without waiting: NO_REPLY. */
int client_region_post(struct client *c, uint32_t region, uint64_t offset, const void *data,
                       uint32_t count);

/* *done is the number of writes that the server says it did. */
int client_write_multi(struct client *c, const struct vfio_user_write_single *writes,
                       uint64_t count, uint64_t *done);

/* fd: -1 for memory that is not shared. flags: VFIO_DMA_MAP_FLAG_*. */
int client_dma_map(struct client *c, uint64_t address, uint64_t size, uint32_t flags, int fd,
                   uint64_t offset);
int client_dma_unmap(struct client *c, uint64_t address, uint64_t size, uint32_t flags);

int client_reset(struct client *c);

/*
 * GET_REGION_IO_FDS in two steps: client_io.c. At most max entries are written to entries, *n is
 * how many. *nfds is how many fds there is room for, and then how many came; they are the caller's,
 * and each entry's indexes are among them. -E2BIG when there are more than max entries.
 */
int client_get_region_io_fds(struct client *c, uint32_t index, struct vfio_user_io_fd *entries,
                             unsigned max, unsigned *n, int *fds, unsigned *nfds);

/* How many fds have been sent to the server so far, and have come from it, asked for or not. */
void client_count_fds(const struct client *c, uint64_t *sent, uint64_t *received);

/*
 * Migration: client_migration.c. flags: a feature's number, and with client_feature_probe the
 * VFIO_DEVICE_FEATURE_GET and _SET to ask for.
 */
int client_feature_probe(struct client *c, uint32_t flags);

/*
 * Sends request_len bytes of data with a GET, and receives at most len bytes; *got, which may be
 * NULL, is how many came.
 */
int client_feature_get(struct client *c, uint32_t feature, const void *request, size_t request_len,
                       void *data, size_t len, size_t *got);

/* Sets a feature to the len bytes of data, which become those of the reply. */
int client_feature_set(struct client *c, uint32_t feature, void *data, size_t len);

/* VFIO_DEVICE_STATE_…. */
int client_mig_get_state(struct client *c, uint32_t *state);
int client_mig_set_state(struct client *c, uint32_t state);

/* At most size bytes; returns how many came, fewer than size: there are no more (now). */
int client_mig_read(struct client *c, void *data, uint32_t size);
int client_mig_write(struct client *c, const void *data, uint32_t size);

#endif
