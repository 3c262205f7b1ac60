/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps what outlives this process: writes the block (see block.h) in steps, and has copies of file
 * descriptors held elsewhere. A struct keeper that is NULL keeps nothing, and every function takes
 * it.
 *
 * Work is cut into steps. A step ends wholly or not at all, as whoever comes after us sees it;
 * nothing that it has queued for the client may be sent before it has ended. Knows what the block
 * holds; what there is to be known is told by its host, when something has been touched.
 */
#ifndef VFIO_USERD_KEEPER_H
#define VFIO_USERD_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "fd_store.h"

struct keeper;

/* What a step is, so that another process knows how to execute it again. */
enum keeper_step {
    KEEPER_NONE,
    KEEPER_MESSAGE, /* the client's next message */
    KEEPER_TWIN,    /* the same, of its twin socket */
    KEEPER_TIMER,   /* device_wake */
    KEEPER_RINGS,   /* device_take_rings */
    KEEPER_UNMASK,  /* irq_resample */
    KEEPER_RESUME,  /* device_start, after a recovery */
    KEEPER_OTHER,   /* is not: an operator's command, a deadline of ours */
    KEEPER_RETRY,   /* device_retry_interrupts */
    KEEPER_STEPS    /* how many there are */
};

/* File descriptors, which are whose they are; -1 where there is none. */
struct keeper_fds {
    int bar1;
    int streams[BLOCK_STREAMS];
    int doorbell[2];
    int resume;
    int token;
    struct irq_fds irq;
};

struct keeper_host {
    void *opaque;
    /*
     * Writes all that is known to *facts, which is zeros, but for what fds says; and to ranges what
     * is logged.
     */
    void (*collect)(void *opaque, struct block_facts *facts, struct keeper_fds *fds,
                    struct vfio_device_feature_dma_logging_range *ranges);
    /* A step has ended in which something could not be sent: it may be now. */
    void (*released)(void *opaque);
};

/*
 * A block of the first generation, and nothing in it; it holds when keeper_complete has been
 * called. store: what a process before this one has put is inherited in it already; it is the
 * keeper's from now on, on success. Returns 0 or -errno.
 */
int keeper_new(const struct keeper_host *host, struct fd_store *store, struct keeper **out);

/* The copies stay where they are. NULL is allowed. */
void keeper_free(struct keeper *k);

/* For the device that is to be kept: *out is valid as long as the keeper. */
void keeper_device_memory(struct keeper *k, struct device_memory *out);

/* The block, for recovery to write to. */
struct block *keeper_block(struct keeper *k);

/* A step that another process has died in. */
struct keeper_replay {
    enum keeper_step step;    /* KEEPER_NONE: there is none */
    struct evidence evidence; /* what it had sent and taken */
    uint32_t faults;          /* if it is the client's next message: see struct block_mark */
    uint32_t deaths;
};

/*
 * Collects, stores the block, and makes it the one that holds; what was inherited and is not known
 * any more is dropped. The step to be executed again counts as begun, and keeper_begin, which must
 * follow for it before any other, goes on with it. Returns 0, or -ENOSPC, the block before goes on
 * holding: there is no place for the block or BAR1.
 */
int keeper_complete(struct keeper *k, const struct keeper_replay *replay);

/* What is held elsewhere, what was inherited included. */
const struct fd_store *keeper_fds_stored(const struct keeper *k);

/*
 * Nothing is kept any more, and what others hold stays as it is: this is not the process for it.
 * With clear, it is dropped.
 */
void keeper_abandon(struct keeper *k, bool clear);

/* Whether anything is kept; and whether the client that there is would be lost. */
bool keeper_keeps(const struct keeper *k);
bool keeper_forgot_client(const struct keeper *k);

/* Steps nest: what is begun within one is part of it. */
void keeper_begin(struct keeper *k, enum keeper_step step);

/* The same, of a step that touches no more than the registers before DEVICE_STATE_NARROW. */
void keeper_begin_narrow(struct keeper *k, enum keeper_step step);
void keeper_end(struct keeper *k);

/* Whether a step is open: nothing is to be sent. host.released follows. */
bool keeper_holds_back(struct keeper *k);

/* Something has changed besides registers; outside of a step, it is noted with the next one. */
void keeper_touch(struct keeper *k);

/* Ends a step that consists of what has been touched outside of one. */
void keeper_settle(struct keeper *k);

/*
 * How often the message that is next has ended whoever executed it, when that is too often to try
 * it once more: two faults, or ten deaths of whatever kind. Else 0.
 */
uint32_t keeper_deadly(const struct keeper *k);

/*
 * Has a stream's bytes in the block from now on; NULL: no more. i: 0 the client's, 1 its twin's.
 * Returns 0 or -errno.
 */
int keeper_stream(struct keeper *k, unsigned i, struct stream *s);

/* Serials of what nobody collects: see fd_store_put. Taken back when the step has ended. */
uint32_t keeper_store(struct keeper *k, int fd, const char *role);
void keeper_forget(struct keeper *k, uint32_t serial);

/*
 * The process ends, and is to be followed: what happens from now on is not seen by anybody. After
 * this nothing is kept.
 */
void keeper_leave(struct keeper *k);

#endif
