/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads what a process before this one has left: its block and its file descriptors, as that of the
 * last step that it ended. Believes nothing: a block is checked for what its reader relies on, and
 * whether a device can be like this is the device's to say. Changes nothing of what was left.
 */
#ifndef VFIO_USERD_RECOVERY_H
#define VFIO_USERD_RECOVERY_H

#include <stdbool.h>

#include "fd_store.h"
#include "keeper.h"
#include "session/session_keep.h"
#include "session/snapshot.h"

#define RECOVERY_REASON_BYTES 256

/* Fds that are not -1 are the structure's, until their slot is set to -1. */
struct recovered {
    struct memory memory; /* the block: a copy that nobody else sees */
    struct device_state state;
    const struct block_facts *facts;
    const struct vfio_device_feature_dma_logging_range *log_ranges;
    struct keeper_replay replay;
    bool attached;       /* a client, of which all is here */
    bool clean;          /* the process had ended as it was told to */
    uint32_t generation; /* of its block */
    int bar1;
    int doorbell[2];
    int resume;
    int token;
    struct irq_fds irq;
    struct dma_range *ranges;
    unsigned n_ranges;
    int *files; /* behind the ranges; those whose file was not kept have none */
    unsigned n_files;
    unsigned lost_maps;
    struct session_sockets sockets; /* with what was received and not handled */
    struct session_unsent unsent;   /* and what was to be sent */
};

/*
 * dev: the device that is to be this one, of which only the description counts. Returns 0, the
 * caller to free *out; -ENOENT: the process had not come so far that it left anything; -ESTALE: it
 * is another device, which had no client, and *out, the caller's too, tells no more than its
 * generation; or another -errno: what was left cannot be used here. With the reason in words, but
 * for -ENOENT.
 */
int recovery_read(const struct fd_store *store, const struct device *dev, struct recovered **out,
                  char reason[RECOVERY_REASON_BYTES]);

/* NULL is allowed. */
void recovery_free(struct recovered *r);

#endif
