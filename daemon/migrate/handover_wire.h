/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the two daemons of a handover say to each other, over the connection that a Receive call was
 * accepted on. Messages have vfio-user's header, with command numbers of their own, and travel in
 * struct stream; integers are little endian.
 *
 *   source: PLAN STATE CONFIG [MSIX] [SESSION RANGES* UNREAD* TWIN* LOG*] FDS* END
 *                                                                      -> READY or FAILED
 *   source: COMMIT                                                     -> RUNNING
 *   source, before COMMIT: ABORT
 *
 * PLAN and SESSION are fields as in state_stream.h, so that another version can tell what it does
 * not know.
 */
#ifndef VFIO_USERD_HANDOVER_WIRE_H
#define VFIO_USERD_HANDOVER_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "device/device.h"
#include "session/snapshot.h"
#include "stream.h"
#include "stream_rest.h"

#define HANDOVER_VERSION 3u

/* The largest message; what may be longer comes in several. */
#define HANDOVER_MAX_MESSAGE (256u << 10)
#define HANDOVER_PIECE       (64u << 10)

/* More than this is no plan of ours. */
#define HANDOVER_MAX_RANGES (1u << 20)
#define HANDOVER_MAX_FILES  (1u << 16)
#define HANDOVER_MAX_UNREAD (256u << 20)
#define HANDOVER_MAX_LOG    (1u << 30)

enum handover_command {
    HANDOVER_PLAN = 0x5000, /* struct handover_plan, as fields */
    HANDOVER_STATE,         /* the state block: content_state */
    HANDOVER_CONFIG,        /* configuration space */
    HANDOVER_SESSION,       /* struct session_snapshot, as fields */
    HANDOVER_RANGES,        /* struct handover_range, each */
    HANDOVER_UNREAD,        /* bytes from the client that nobody has handled */
    HANDOVER_LOG,           /* bytes of the dirty log */
    HANDOVER_FDS,           /* struct handover_fd, one for each fd that comes along */
    HANDOVER_END,           /* all that was planned has been sent */
    HANDOVER_READY,         /* it is here, and checked; u8: 1: where it outlives the daemon */
    HANDOVER_COMMIT,        /* it is yours */
    HANDOVER_ABORT,         /* it stays here: text, why */
    HANDOVER_FAILED,        /* it cannot be taken: text, why */
    HANDOVER_RUNNING,       /* u64: ns since it was frozen */
    HANDOVER_MSIX,          /* MSI-X's table, of a device that has it */
    HANDOVER_TWIN,          /* as UNREAD, from its twin socket */
    HANDOVER_COMMAND_COUNT
};

/* What is to come. */
struct handover_plan {
    uint32_t version;
    uint32_t client; /* 1: one is attached */
    uint32_t ranges;
    uint32_t files; /* distinct files of guest memory */
    uint32_t unread;
    uint32_t unread_fds;
    uint32_t twin_unread;
    uint32_t log;
    uint32_t irq_fds;
    uint32_t doorbell; /* its fds */
    int64_t frozen_at; /* CLOCK_MONOTONIC, ns */
};

struct handover_range {
    uint64_t iova;
    uint64_t size;
    uint64_t offset;
    uint32_t flags;
    int32_t file;
};

enum handover_role {
    HANDOVER_FD_BAR1,
    HANDOVER_FD_CLIENT,
    HANDOVER_FD_IRQ,      /* index: see handover_irq_slot */
    HANDOVER_FD_FILE,     /* index: that of ranges */
    HANDOVER_FD_UNREAD,   /* index: in their order; owner: see struct stream_rest_fd */
    HANDOVER_FD_DOORBELL, /* index: 0 the eventfd, 1 the shadow */
    HANDOVER_FD_TWIN,
    HANDOVER_FD_TOKEN, /* see token.h */
};

struct handover_fd {
    uint32_t role;
    uint32_t index;
    uint32_t owner;
    uint32_t lost; /* HANDOVER_FD_UNREAD: 1: it could not be received, and none comes along */
};

/* The name of a command, for errors. */
const char *handover_command_name(uint32_t command);

/* Room for either of the two that follow. */
#define HANDOVER_FIELDS_MAX 512

/* Each returns the number of bytes written to out, which has room for HANDOVER_FIELDS_MAX. */
size_t handover_write_plan(const struct handover_plan *plan, uint8_t *out);
size_t handover_write_session(const struct session_snapshot *s, uint8_t irq_masked, uint8_t *out);

/* The version that a plan tells, whatever else it is; 0: none. */
uint32_t handover_plan_version(const uint8_t *data, size_t len);

/*
 * The reverse. Returns 0, or -EINVAL with *field the name of the first that is missing, unknown,
 * twice there or of a value that cannot be. *irq_masked: the client's MASK of INTx.
 */
int handover_read_plan(const uint8_t *data, size_t len, struct handover_plan *out,
                       const char **field);
int handover_read_session(const uint8_t *data, size_t len, struct session_snapshot *out,
                          uint8_t *irq_masked, const char **field);

/* The nth eventfd, NULL behind the last. */
int *handover_irq_slot(struct irq_fds *fds, uint32_t n);

/* Queues a message; fds are duplicated. Returns 0 or -errno. */
int handover_send(struct stream *s, enum handover_command command, const void *data, size_t len,
                  const int *fds, unsigned nfds);

/* CLOCK_MONOTONIC, ns. */
int64_t handover_now(void);

#endif
