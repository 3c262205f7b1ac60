/* SPDX-License-Identifier: BSD-3-Clause */
#include "unpack.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "peer.h"

#define IRQ_SLOTS (sizeof(struct irq_fds) / sizeof(int))

struct unpack {
    struct unpacked content;
    bool planned;
    bool has[HANDOVER_COMMAND_COUNT - HANDOVER_PLAN]; /* messages that come once */
    uint32_t ranges;
    uint32_t files;
    uint32_t unread;
    uint32_t unread_fds;
    uint32_t twin_unread;
    uint32_t log;
    uint32_t irq_fds;
    uint32_t doorbell;
    uint64_t bytes;
    uint32_t fds;
    char *reason;
};

int unpack_new(struct unpack **out)
{
    struct unpack *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return -ENOMEM;
    u->content.bar1 = -1;
    u->content.token = -1;
    u->content.doorbell[0] = u->content.doorbell[1] = -1;
    msix_reset(&u->content.state.msix);
    u->content.sockets.socket = -1;
    u->content.sockets.twin = -1;
    for (uint32_t i = 0; i < IRQ_SLOTS; i++)
        *handover_irq_slot(&u->content.irq, i) = -1;
    *out = u;
    return 0;
}

void unpack_free(struct unpack *u)
{
    struct unpacked *c;

    if (u == NULL)
        return;
    c = &u->content;
    peer_close_fd(c->bar1);
    peer_close_fd(c->token);
    peer_close_fd(c->doorbell[0]);
    peer_close_fd(c->doorbell[1]);
    peer_close_fd(c->sockets.socket);
    peer_close_fd(c->sockets.twin);
    for (uint32_t i = 0; i < IRQ_SLOTS; i++)
        peer_close_fd(*handover_irq_slot(&c->irq, i));
    for (uint32_t i = 0; c->files != NULL && i < c->plan.files; i++)
        peer_close_fd(c->files[i]);
    for (unsigned i = 0; i < c->sockets.rest.nfds; i++)
        peer_close_fd(c->sockets.rest.fds[i].fd);
    free(c->ranges);
    free(c->files);
    free(c->unread);
    free(c->twin_unread);
    free(c->log);
    free(u);
}

static int refuse(struct unpack *u, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct unpack *u, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(u->reason, UNPACK_REASON_BYTES, format, args);
    va_end(args);
    return -EINVAL;
}

/*
 * Messages
 */

static int take_plan(struct unpack *u, const uint8_t *data, size_t len)
{
    struct unpacked *c = &u->content;
    uint32_t version = handover_plan_version(data, len);
    const char *field;

    if (version != 0 && version != HANDOVER_VERSION)
        return refuse(u, "the source speaks version %u of the handover, this daemon version %u",
                      version, HANDOVER_VERSION);
    if (handover_read_plan(data, len, &c->plan, &field) != 0)
        return refuse(u, "PLAN: %s", field);
    u->planned = true;
    c->ranges = calloc(c->plan.ranges + 1, sizeof(*c->ranges));
    c->files = malloc((c->plan.files + 1) * sizeof(*c->files));
    c->unread = malloc(c->plan.unread + 1);
    c->twin_unread = malloc(c->plan.twin_unread + 1);
    c->log = malloc((size_t)c->plan.log + 1);
    if (c->files == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->plan.files; i++)
        c->files[i] = -1;
    return c->ranges != NULL && c->unread != NULL && c->twin_unread != NULL && c->log != NULL
               ? 0
               : -ENOMEM;
}

static int take_state(struct unpack *u, const uint8_t *data, size_t len)
{
    const char *field;

    if (content_read_state(data, len, &u->content.state, &field) != 0)
        return refuse(u, "STATE: %s", field);
    return 0;
}

/* Bytes that come in one message, as many as the device has. */
static int take_image(struct unpack *u, const char *what, uint8_t *to, size_t size,
                      const uint8_t *data, size_t len)
{
    if (len != size)
        return refuse(u, "%s: %zu bytes, not %zu", what, len, size);
    memcpy(to, data, len);
    return 0;
}

static int take_session(struct unpack *u, const uint8_t *data, size_t len)
{
    const char *field;

    if (handover_read_session(data, len, &u->content.session, &u->content.irq_masked, &field) != 0)
        return refuse(u, "SESSION: %s", field);
    return 0;
}

static int take_ranges(struct unpack *u, const uint8_t *data, size_t len)
{
    struct unpacked *c = &u->content;
    struct handover_range range;

    if (len % sizeof(range) != 0 || len / sizeof(range) > c->plan.ranges - u->ranges)
        return refuse(u, "RANGES: more than planned");
    for (size_t at = 0; at < len; at += sizeof(range)) {
        memcpy(&range, data + at, sizeof(range));
        if (range.file < -1 || range.file >= (int64_t)c->plan.files)
            return refuse(u, "RANGES: file %d of %u", (int)range.file, c->plan.files);
        c->ranges[u->ranges++] = (struct dma_range) { .iova = range.iova,
                                                      .size = range.size,
                                                      .offset = range.offset,
                                                      .flags = range.flags,
                                                      .file = range.file };
    }
    return 0;
}

/* A piece of bytes that come in several messages. */
static int take_piece(struct unpack *u, const char *what, uint8_t *to, uint32_t *have,
                      uint32_t planned, const uint8_t *data, size_t len)
{
    if (len > planned - *have)
        return refuse(u, "%s: more than planned", what);
    memcpy(to + *have, data, len);
    *have += (uint32_t)len;
    return 0;
}

/*
 * Fds
 */

/* Where an fd goes, NULL for none: unknown, or there is one already. */
static int *find_slot(struct unpack *u, const struct handover_fd *what)
{
    struct unpacked *c = &u->content;
    int *slot = NULL;

    if (what->role == HANDOVER_FD_BAR1)
        slot = &c->bar1;
    else if (what->role == HANDOVER_FD_TOKEN)
        slot = &c->token;
    else if (what->role == HANDOVER_FD_CLIENT && c->plan.client == 1)
        slot = &c->sockets.socket;
    else if (what->role == HANDOVER_FD_TWIN && c->plan.client == 1)
        slot = &c->sockets.twin;
    else if (what->role == HANDOVER_FD_IRQ && u->irq_fds < c->plan.irq_fds)
        slot = handover_irq_slot(&c->irq, what->index);
    else if (what->role == HANDOVER_FD_DOORBELL && what->index < c->plan.doorbell)
        slot = &c->doorbell[what->index];
    else if (what->role == HANDOVER_FD_FILE && what->index < c->plan.files)
        slot = &c->files[what->index];
    if (slot == NULL || *slot >= 0)
        return NULL;
    u->irq_fds += what->role == HANDOVER_FD_IRQ;
    u->files += what->role == HANDOVER_FD_FILE;
    u->doorbell += what->role == HANDOVER_FD_DOORBELL;
    return slot;
}

/* An fd that came for the client's unread bytes, or was to come. */
static int take_unread_fd(struct unpack *u, const struct handover_fd *what, int fd)
{
    struct unpacked *c = &u->content;

    if (what->index != u->unread_fds || u->unread_fds >= c->plan.unread_fds) {
        peer_close_fd(fd);
        return refuse(u, "FDS: UNREAD %u is not the next", what->index);
    }
    c->sockets.rest.fds[u->unread_fds++] =
        (struct stream_rest_fd) { .owner = what->owner, .fd = fd };
    c->sockets.rest.nfds = u->unread_fds;
    return 0;
}

static int take_fds(struct unpack *u, struct stream_message *m, const uint8_t *data, size_t len)
{
    struct handover_fd what;
    unsigned next = 0;
    int err = 0;

    if (m->fds_lost)
        return refuse(u, "FDS: no file descriptors are left for them");
    if (len % sizeof(what) != 0)
        return refuse(u, "FDS: %zu bytes", len);
    for (size_t at = 0; err == 0 && at < len; at += sizeof(what)) {
        bool lost;
        int *slot;

        memcpy(&what, data + at, sizeof(what));
        lost = what.role == HANDOVER_FD_UNREAD && what.lost != 0;
        if (!lost && next >= m->nfds)
            return refuse(u, "FDS: fewer came than were named");
        if (what.role == HANDOVER_FD_UNREAD) {
            err = take_unread_fd(u, &what, lost ? -1 : stream_message_take_fd(m, next));
        } else {
            slot = find_slot(u, &what);
            if (slot == NULL)
                return refuse(u, "FDS: role %u, index %u", what.role, what.index);
            *slot = stream_message_take_fd(m, next);
        }
        next += !lost;
    }
    u->fds += next;
    return err != 0 || next == m->nfds ? err : refuse(u, "FDS: more came than were named");
}

/*
 * The whole
 */

static int end(struct unpack *u, const struct unpack_sizes *sizes)
{
    struct unpacked *c = &u->content;
    const struct handover_plan *p = &c->plan;

    if (!u->has[HANDOVER_STATE - HANDOVER_PLAN] || !u->has[HANDOVER_CONFIG - HANDOVER_PLAN] ||
        (p->client == 1 && !u->has[HANDOVER_SESSION - HANDOVER_PLAN]))
        return refuse(u, "END: STATE, CONFIG or SESSION has not come");
    if (sizes->msix > 0 && !u->has[HANDOVER_MSIX - HANDOVER_PLAN])
        return refuse(u, "END: MSIX has not come");
    if (u->ranges != p->ranges || u->files != p->files || u->unread != p->unread ||
        u->unread_fds != p->unread_fds || u->log != p->log || u->irq_fds != p->irq_fds ||
        u->doorbell != p->doorbell || u->twin_unread != p->twin_unread)
        return refuse(u, "END: not all that was planned has come");
    if (c->token < 0)
        return refuse(u, "END: the token has not come");
    if (c->bar1 < 0 || (p->client == 1 && c->sockets.socket < 0))
        return refuse(u, "END: BAR1's or the client's file descriptor has not come");
    if (p->client == 1 && (c->session.info.twin == TWIN_OPEN) != (c->sockets.twin >= 0))
        return refuse(u, "END: the twin socket's file descriptor is missing, or one too many");
    c->sockets.rest.bytes = c->unread;
    c->sockets.rest.len = c->plan.unread;
    c->sockets.twin_rest =
        (struct stream_rest) { .bytes = c->twin_unread, .len = c->plan.twin_unread };
    return 1;
}

static int dispatch(struct unpack *u, struct stream_message *m, const struct unpack_sizes *sizes)
{
    const uint8_t *data = m->payload;
    size_t len = m->hdr.size - VFIO_USER_HEADER_SIZE;
    struct unpacked *c = &u->content;

    switch (m->hdr.command) {
    case HANDOVER_PLAN:
        return take_plan(u, data, len);
    case HANDOVER_STATE:
        return take_state(u, data, len);
    case HANDOVER_CONFIG:
        return take_image(u, "CONFIG", c->state.pci.config, sizes->config, data, len);
    case HANDOVER_MSIX:
        return take_image(u, "MSIX", c->state.msix.table, sizes->msix, data, len);
    case HANDOVER_SESSION:
        return take_session(u, data, len);
    case HANDOVER_RANGES:
        return take_ranges(u, data, len);
    case HANDOVER_UNREAD:
        return take_piece(u, "UNREAD", c->unread, &u->unread, c->plan.unread, data, len);
    case HANDOVER_TWIN:
        return take_piece(u, "TWIN", c->twin_unread, &u->twin_unread, c->plan.twin_unread, data,
                          len);
    case HANDOVER_LOG:
        return take_piece(u, "LOG", c->log, &u->log, c->plan.log, data, len);
    case HANDOVER_FDS:
        return take_fds(u, m, data, len);
    case HANDOVER_END:
        return end(u, sizes);
    default:
        return refuse(u, "%s is out of place", handover_command_name(m->hdr.command));
    }
}

static bool comes_once(uint32_t command)
{
    return command == HANDOVER_PLAN || command == HANDOVER_STATE || command == HANDOVER_CONFIG ||
           command == HANDOVER_MSIX || command == HANDOVER_SESSION;
}

int unpack_take(struct unpack *u, struct stream_message *m, const struct unpack_sizes *sizes,
                char reason[UNPACK_REASON_BYTES])
{
    uint32_t command = m->hdr.command;

    u->reason = reason;
    if (command < HANDOVER_PLAN || command >= HANDOVER_COMMAND_COUNT)
        return refuse(u, "a message of an unknown kind: 0x%x", command);
    if (!u->planned && command != HANDOVER_PLAN)
        return refuse(u, "%s before PLAN", handover_command_name(command));
    if (u->has[command - HANDOVER_PLAN] && comes_once(command))
        return refuse(u, "%s came twice", handover_command_name(command));
    u->has[command - HANDOVER_PLAN] = true;
    u->bytes += m->hdr.size - VFIO_USER_HEADER_SIZE;
    return dispatch(u, m, sizes);
}

struct unpacked *unpack_content(struct unpack *u)
{
    return &u->content;
}

uint64_t unpack_bytes(const struct unpack *u)
{
    return u->bytes;
}

uint32_t unpack_fds(const struct unpack *u)
{
    return u->fds;
}
