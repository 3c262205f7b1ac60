/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "handover_wire.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "message.h"
#include "state_stream.h"

#define MAX_FIELDS 32

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "values are on the wire as they are in memory");

/* A field of a flat structure of integers. */
struct field {
    uint16_t id;
    uint16_t size;
    size_t at;
    const char *name;
};

#define FIELD(type, number, member)                                            \
    {                                                                          \
        (number), sizeof(((type *)0)->member), offsetof(type, member), #member \
    }

const char *handover_command_name(uint32_t command)
{
    static const char *const names[] = { "PLAN",   "STATE",   "CONFIG", "SESSION",
                                         "RANGES", "UNREAD",  "LOG",    "FDS",
                                         "END",    "READY",   "COMMIT", "ABORT",
                                         "FAILED", "RUNNING", "MSIX",   "TWIN" };

    _Static_assert(sizeof(names) / sizeof(names[0]) == HANDOVER_COMMAND_COUNT - HANDOVER_PLAN,
                   "a name for each");
    return command >= HANDOVER_PLAN && command < HANDOVER_COMMAND_COUNT
               ? names[command - HANDOVER_PLAN]
               : "an unknown message";
}

/*
 * Fields
 */

static size_t write_fields(const struct field *table, size_t n, const void *base, uint8_t *out)
{
    struct state_fields f = { .at = out, .left = HANDOVER_FIELDS_MAX };

    for (size_t i = 0; i < n; i++) {
        uint8_t *room = state_field_add(&f, table[i].id, table[i].size);

        if (room != NULL)
            memcpy(room, (const uint8_t *)base + table[i].at, table[i].size);
    }
    return HANDOVER_FIELDS_MAX - f.left;
}

static size_t find_field(const struct field *table, size_t n, uint16_t id)
{
    size_t i = 0;

    while (i < n && table[i].id != id)
        i++;
    return i;
}

static int read_fields(const struct field *table, size_t n, const uint8_t *data, size_t len,
                       void *base, const char **bad)
{
    struct wire w = wire_init(data, len);
    bool seen[MAX_FIELDS] = { false };
    struct state_field f;

    while (state_field_next(&w, &f)) {
        size_t i = find_field(table, n, f.id);

        if (i == n && f.id >= STATE_FIELD_OPTIONAL)
            continue;
        *bad = i < n ? table[i].name : "a field that is not known here";
        if (i == n || seen[i] || f.size != table[i].size)
            return -EINVAL;
        seen[i] = true;
        memcpy((uint8_t *)base + table[i].at, f.data, f.size);
    }
    *bad = "a field that is cut short";
    if (w.bad)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        *bad = table[i].name;
        if (!seen[i])
            return -EINVAL;
    }
    return 0;
}

/*
 * The plan
 */

static const struct field plan_fields[] = {
    FIELD(struct handover_plan, 1, version),      FIELD(struct handover_plan, 2, client),
    FIELD(struct handover_plan, 3, ranges),       FIELD(struct handover_plan, 4, files),
    FIELD(struct handover_plan, 5, unread),       FIELD(struct handover_plan, 6, unread_fds),
    FIELD(struct handover_plan, 7, log),          FIELD(struct handover_plan, 8, irq_fds),
    FIELD(struct handover_plan, 9, frozen_at),    FIELD(struct handover_plan, 10, doorbell),
    FIELD(struct handover_plan, 11, twin_unread),
};

#define N_PLAN_FIELDS (sizeof(plan_fields) / sizeof(plan_fields[0]))

size_t handover_write_plan(const struct handover_plan *plan, uint8_t *out)
{
    return write_fields(plan_fields, N_PLAN_FIELDS, plan, out);
}

uint32_t handover_plan_version(const uint8_t *data, size_t len)
{
    struct wire w = wire_init(data, len);
    uint32_t version = 0;
    struct state_field f;

    while (version == 0 && state_field_next(&w, &f)) {
        if (f.id == 1 && f.size == sizeof(version))
            memcpy(&version, f.data, sizeof(version));
    }
    return version;
}

/* The name of a number that is too large, or NULL. */
static const char *excess(const struct handover_plan *p)
{
    if (p->client > 1)
        return "client";
    if (p->ranges > HANDOVER_MAX_RANGES)
        return "ranges";
    if (p->files > HANDOVER_MAX_FILES || p->files > p->ranges)
        return "files";
    if (p->unread > HANDOVER_MAX_UNREAD)
        return "unread";
    if (p->unread_fds > STREAM_REST_FDS)
        return "unread_fds";
    if (p->twin_unread > HANDOVER_MAX_UNREAD)
        return "twin_unread";
    if (p->log > HANDOVER_MAX_LOG)
        return "log";
    if (p->doorbell > 2)
        return "doorbell";
    if (p->client == 0 && (p->ranges | p->unread | p->unread_fds | p->log | p->irq_fds |
                           p->doorbell | p->twin_unread) != 0)
        return "client";
    return p->irq_fds > sizeof(struct irq_fds) / sizeof(int) ? "irq_fds" : NULL;
}

int handover_read_plan(const uint8_t *data, size_t len, struct handover_plan *out,
                       const char **field)
{
    struct handover_plan plan = { 0 };
    int err = read_fields(plan_fields, N_PLAN_FIELDS, data, len, &plan, field);

    if (err != 0)
        return err;
    *field = plan.version != HANDOVER_VERSION ? "version" : excess(&plan);
    if (*field != NULL)
        return -EINVAL;
    *out = plan;
    return 0;
}

/*
 * The session
 */

/* struct session_snapshot in integers only. */
struct flat_session {
    int64_t since;
    uint64_t max_msg_fds;
    uint64_t max_data_xfer_size;
    uint64_t max_dma_maps;
    uint64_t pgsizes;
    uint64_t migration_pgsize;
    uint64_t migration_max_bitmap_size;
    uint64_t requests;
    uint64_t errors;
    uint32_t profile;
    uint32_t present;
    uint32_t told_max_dma_maps;
    uint32_t told_max_msg_fds;
    uint32_t told_max_data_xfer_size;
    uint32_t client_timeout;
    uint32_t client_fds;
    uint32_t twin;
    uint32_t dma_shape;
    uint16_t dma_next_id;
    uint16_t major;
    uint16_t minor;
    uint8_t write_multiple;
    uint8_t vm_interrupt;
    uint8_t shared_seen;
    uint8_t by_message_said;
    uint8_t irq_masked;
};

#define SESSION_FIELD(number, member) FIELD(struct flat_session, number, member)

static const struct field session_fields[] = {
    SESSION_FIELD(1, since),
    SESSION_FIELD(2, max_msg_fds),
    SESSION_FIELD(3, max_data_xfer_size),
    SESSION_FIELD(4, max_dma_maps),
    SESSION_FIELD(5, pgsizes),
    SESSION_FIELD(6, migration_pgsize),
    SESSION_FIELD(7, migration_max_bitmap_size),
    SESSION_FIELD(8, requests),
    SESSION_FIELD(9, errors),
    SESSION_FIELD(10, profile),
    SESSION_FIELD(11, present),
    SESSION_FIELD(12, told_max_dma_maps),
    SESSION_FIELD(13, told_max_msg_fds),
    SESSION_FIELD(14, told_max_data_xfer_size),
    SESSION_FIELD(15, dma_shape),
    SESSION_FIELD(16, dma_next_id),
    SESSION_FIELD(17, major),
    SESSION_FIELD(18, minor),
    SESSION_FIELD(19, write_multiple),
    SESSION_FIELD(20, shared_seen),
    SESSION_FIELD(21, by_message_said),
    SESSION_FIELD(22, irq_masked),
    SESSION_FIELD(23, client_timeout),
    SESSION_FIELD(24, client_fds),
    SESSION_FIELD(25, twin),
    SESSION_FIELD(26, vm_interrupt),
};

#define N_SESSION_FIELDS (sizeof(session_fields) / sizeof(session_fields[0]))

_Static_assert(N_SESSION_FIELDS <= MAX_FIELDS && N_PLAN_FIELDS <= MAX_FIELDS, "room");
_Static_assert(sizeof(struct flat_session) + 4 * N_SESSION_FIELDS <= HANDOVER_FIELDS_MAX, "room");

size_t handover_write_session(const struct session_snapshot *s, uint8_t irq_masked, uint8_t *out)
{
    const struct version_caps *caps = &s->info.caps;
    const struct flat_session flat = {
        .since = s->info.since,
        .max_msg_fds = caps->max_msg_fds,
        .max_data_xfer_size = caps->max_data_xfer_size,
        .max_dma_maps = caps->max_dma_maps,
        .pgsizes = caps->pgsizes,
        .migration_pgsize = caps->migration_pgsize,
        .migration_max_bitmap_size = caps->migration_max_bitmap_size,
        .requests = s->info.requests,
        .errors = s->info.errors,
        .profile = s->info.profile,
        .present = caps->present,
        .told_max_dma_maps = s->limits.max_dma_maps,
        .told_max_msg_fds = s->limits.max_msg_fds,
        .told_max_data_xfer_size = s->limits.max_data_xfer_size,
        .client_timeout = s->limits.client_timeout_ms,
        .client_fds = s->client_fds,
        .twin = (uint32_t)s->info.twin,
        .dma_shape = s->dma_shape,
        .dma_next_id = s->dma_next_id,
        .major = caps->major,
        .minor = caps->minor,
        .write_multiple = caps->write_multiple,
        .vm_interrupt = caps->vm_interrupt,
        .shared_seen = s->shared_seen,
        .by_message_said = s->by_message_said,
        .irq_masked = irq_masked,
    };

    return write_fields(session_fields, N_SESSION_FIELDS, &flat, out);
}

static const char *impossible(const struct flat_session *flat)
{
    if (flat->profile >= PROFILE_COUNT)
        return "profile";
    if (flat->write_multiple > 1)
        return "write_multiple";
    if (flat->vm_interrupt > 1)
        return "vm_interrupt";
    if (flat->client_timeout == 0)
        return "client_timeout";
    if (flat->twin > TWIN_LOST)
        return "twin";
    if (flat->shared_seen > 1)
        return "shared_seen";
    if (flat->by_message_said > 1)
        return "by_message_said";
    return flat->irq_masked > 1 ? "irq_masked" : NULL;
}

int handover_read_session(const uint8_t *data, size_t len, struct session_snapshot *out,
                          uint8_t *irq_masked, const char **field)
{
    struct flat_session flat = { 0 };
    struct version_caps caps;
    int err = read_fields(session_fields, N_SESSION_FIELDS, data, len, &flat, field);

    if (err != 0)
        return err;
    *field = impossible(&flat);
    if (*field != NULL)
        return -EINVAL;
    version_defaults(&caps);
    caps.present = flat.present;
    caps.major = flat.major;
    caps.minor = flat.minor;
    caps.max_msg_fds = flat.max_msg_fds;
    caps.max_data_xfer_size = flat.max_data_xfer_size;
    caps.max_dma_maps = flat.max_dma_maps;
    caps.pgsizes = flat.pgsizes;
    caps.migration_pgsize = flat.migration_pgsize;
    caps.migration_max_bitmap_size = flat.migration_max_bitmap_size;
    caps.write_multiple = flat.write_multiple != 0;
    caps.vm_interrupt = flat.vm_interrupt != 0;
    caps.twin_socket = flat.twin == TWIN_OPEN;
    *irq_masked = flat.irq_masked;
    *out = (struct session_snapshot) {
        .info = { .since = flat.since,
                  .profile = (enum client_profile)flat.profile,
                  .caps = caps,
                  .twin = (enum twin_state)flat.twin,
                  .requests = flat.requests,
                  .errors = flat.errors },
        .limits = { .max_dma_maps = flat.told_max_dma_maps,
                    .max_msg_fds = flat.told_max_msg_fds,
                    .max_data_xfer_size = flat.told_max_data_xfer_size,
                    .client_timeout_ms = flat.client_timeout },
        .dma_shape = flat.dma_shape,
        .dma_next_id = flat.dma_next_id,
        .client_fds = flat.client_fds,
        .shared_seen = flat.shared_seen != 0,
        .by_message_said = flat.by_message_said != 0,
    };
    return 0;
}

/*
 * The rest
 */

int *handover_irq_slot(struct irq_fds *fds, uint32_t n)
{
    int *single[] = { &fds->intx, &fds->intx_mask, &fds->intx_unmask, &fds->err, &fds->req };
    const uint32_t n_single = sizeof(single) / sizeof(single[0]);

    if (n < n_single)
        return single[n];
    n -= n_single;
    if (n < IRQ_MSI_MAX)
        return &fds->msi[n];
    return n < 2 * IRQ_MSI_MAX ? &fds->msix[n - IRQ_MSI_MAX] : NULL;
}

int handover_send(struct stream *s, enum handover_command command, const void *data, size_t len,
                  const int *fds, unsigned nfds)
{
    size_t size = VFIO_USER_HEADER_SIZE + len;
    uint8_t *message = stream_reserve(s, size);

    if (message == NULL)
        return -ENOMEM;
    message_encode_header(message, 0, (uint16_t)command, (uint32_t)size, VFIO_USER_TYPE_COMMAND, 0);
    if (len > 0)
        memcpy(message + VFIO_USER_HEADER_SIZE, data, len);
    return stream_commit(s, size, fds, nfds);
}

int64_t handover_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}
