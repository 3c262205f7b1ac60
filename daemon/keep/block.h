/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The block: one memfd with all of a running daemon that outlives it, but for BAR1's bytes and what
 * only file descriptors can hold. Plain fixed-width fields, no pointers that mean anything to
 * another process; its layout is that of one version, which the header names. Made and written by
 * the keeper, read by recovery.
 *
 * The registers are written as things happen, in steps (one message, one wake of the timer, …).
 * Before a step begins they are copied to undo, and when it is done with, one store ends it:
 * committed. What a step brings about besides the registers is in the mark, of which two take
 * turns, so that the same store makes it hold: how far the client's messages have been handled and
 * which replies are to be sent. So a process that dies leaves the end of a step, or the begin of
 * one and what the kernel has noted of its calls: see device/evidence.h and stream_keep.h.
 */
#ifndef VFIO_USERD_BLOCK_H
#define VFIO_USERD_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "device/device.h"
#include "device/dirty_log.h"
#include "device/evidence.h"
#include "device/memory.h"
#include "migrate/content.h"
#include "migrate/migration.h"
#include "session/server_commands.h"
#include "session/snapshot.h"
#include "stream_keep.h"

#define BLOCK_MAGIC   0x6b6c6276u /* "vblk" */
#define BLOCK_VERSION 1u

/* The client's socket, and its twin. */
#define BLOCK_STREAMS 2

/* Eventfds of a client: struct irq_fds as an array. */
#define BLOCK_IRQ_FDS (sizeof(struct irq_fds) / sizeof(int))

/* Maps of guest memory at most: limits.max_dma_maps. */
#define BLOCK_MAPS 65535u

/* The largest message: the largest limits.max_data_xfer_size, and what is around its data. */
#define BLOCK_MESSAGE_MAX ((16u << 20) + (1u << 16))
#define BLOCK_IN_SIZE     (2u * BLOCK_MESSAGE_MAX)
#define BLOCK_OUT_SIZE    (2u * (3u * BLOCK_MESSAGE_MAX + (4u << 20)))

struct block_header {
    uint32_t magic;
    uint32_t version;
    uint32_t state_version; /* DEVICE_STATE_VERSION */
    uint32_t layout;        /* bytes of struct block */
    uint32_t generation;    /* the higher of two blocks holds, if it is complete */
    uint32_t complete;      /* all that it speaks of is stored */
    uint32_t begin_len;     /* what BEGIN of a saved state says of the device */
    uint32_t clean;         /* the process has ended as it was told to */
    uint8_t begin[CONTENT_BEGIN_MAX];
};

/* A command of ours that the client has not answered, or not in time. */
struct block_command {
    uint16_t id;
    uint16_t command;
};

#define BLOCK_COMMANDS (SERVER_COMMANDS_MAX + SERVER_COMMANDS_LATE)

/* What is known besides registers; fds by their serials, 0 where there is none. */
struct block_facts {
    uint32_t attached; /* a client is */
    uint32_t bar1;
    uint32_t streams[BLOCK_STREAMS];
    uint32_t doorbell[2];
    uint32_t irq[BLOCK_IRQ_FDS];
    uint32_t resume;      /* the state that is being loaded, as far as it has come */
    uint32_t token;       /* of a handover that is under way */
    uint32_t token_owner; /* enum token_owner: who we are in it */
    uint32_t n_commands;
    uint32_t logging; /* writes of guest memory are logged */
    uint32_t n_log_ranges;
    uint32_t reserved;
    uint64_t log_page;
    struct block_command commands[BLOCK_COMMANDS];
    struct session_snapshot session;
    struct device_held held;
    struct migration_kept migration;
};

struct block_mark {
    struct stream_mark streams[BLOCK_STREAMS];
    uint32_t facts;  /* which of the two holds */
    uint32_t faults; /* of the client's next message: processes that had a fault in it */
    uint32_t deaths; /* and that died in it, of whatever */
    uint32_t reserved;
};

struct block_steps {
    uint64_t committed; /* number of the last step that was ended */
    uint64_t open;      /* of the one under way: the next one; else the same */
    uint32_t kind;      /* enum keeper_step */
    uint32_t undo_len;  /* bytes of the registers that are in undo */
    uint32_t begun;     /* it is being executed; 0: it is another process's, and still to be */
    uint32_t fault;     /* 1: the process had one, and died of it */
    struct evidence evidence;   /* what the step has sent and taken */
    struct block_mark marks[2]; /* that of the last step ended: committed modulo 2 */
};

struct block {
    struct block_header header;
    struct block_steps steps;
    struct device_state state;
    struct device_state undo;
    struct block_facts facts[2];
    struct vfio_device_feature_dma_logging_range log_ranges[DIRTY_LOG_MAX_RANGES];
    struct stream_journal journals[BLOCK_STREAMS];
    struct stream_fd_table fd_tables[BLOCK_STREAMS];
    uint32_t maps_high; /* records that have ever been used */
    uint32_t reserved;
    struct dma_record maps[BLOCK_MAPS];
};

/* Bytes of the memfd: the structure and the streams' buffers, of which only what is used exists. */
uint64_t block_size(void);

/* A new one, zeros but for its header. Returns 0 or -errno. */
int block_new(struct memory *out);

/*
 * Maps another process's, for reading, and taking of notes: writes are seen by nobody else. fd
 * stays the caller's. -EINVAL: it is none.
 */
int block_map(int fd, struct memory *out);
void block_unmap(struct memory *m);

struct block *block_of(const struct memory *m);

/* Where the streams' memory is. */
void block_stream(const struct memory *m, unsigned i, struct stream_memory *out);

/* Gives back the memory of the streams' buffers. */
void block_forget_buffers(const struct memory *m);

#endif
