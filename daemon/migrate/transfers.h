/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device's state to a file or a pipe, and from one: over a connection of the control socket that
 * carries nothing else any more. At most one each way at a time. What the records are, is
 * saving.h's and loading.h's business.
 *
 * To a file: the state is copied at once, and the device goes on while the copy is sent. From a
 * file: all is taken and checked, up to the end of what the peer sends; then it replaces the
 * device's in one step. The outcome goes back as one more Varlink reply.
 */
#ifndef VFIO_USERD_TRANSFERS_H
#define VFIO_USERD_TRANSFERS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "device/device.h"

/* A peer that neither takes nor gives anything is not waited for longer. */
#define TRANSFERS_IDLE_MS 60000

struct token_keeper;
struct transfers;

struct transfers_host {
    void *opaque;
    bool (*has_client)(void *opaque);
    /* The state has been replaced by one that was loaded. */
    void (*loaded)(void *opaque);
    unsigned idle_ms;                  /* TRANSFERS_IDLE_MS, but for tests */
    const struct token_keeper *keeper; /* begin and end of a change; NULL: nothing is kept */
};

/* dev outlives it. Returns 0 or -errno. */
int transfers_new(uv_loop_t *loop, struct device *dev, const struct transfers_host *host,
                  struct transfers **out);

/* Ends what is under way. Memory goes in the loop's next turn. NULL is allowed. */
void transfers_free(struct transfers *t);

/* Why none can begin now, in words; NULL: it can. */
const char *transfers_refuse_save(const struct transfers *t);
const char *transfers_refuse_load(const struct transfers *t);

/* What is under way, either way, in words; NULL: nothing. */
const char *transfers_busy(const struct transfers *t);

/*
 * Sends the state over the connected socket fd, or takes it from there. fd is owned from now on,
 * also on failure, and non-blocking. Returns 0; -EBUSY when it is refused by now; or -errno.
 */
int transfers_save(struct transfers *t, int fd);
int transfers_load(struct transfers *t, int fd);

#endif
