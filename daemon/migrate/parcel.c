/* SPDX-License-Identifier: BSD-3-Clause */
#include "parcel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "handover_wire.h"

/* What may wait in the stream before more is queued. */
#define QUEUE_BYTES (256u << 10)

#define RANGES_PER_MESSAGE (HANDOVER_PIECE / sizeof(struct handover_range))

enum step {
    STEP_PLAN,
    STEP_STATE,
    STEP_CONFIG,
    STEP_MSIX,
    STEP_SESSION,
    STEP_RANGES,
    STEP_UNREAD,
    STEP_TWIN,
    STEP_LOG,
    STEP_FDS,
    STEP_END,
    STEP_DONE
};

/* Bytes that go out in one kind of message, in as many as it takes. */
struct bytes {
    const uint8_t *at;
    size_t len;
};

struct parcel {
    struct handover_plan plan;
    uint8_t plan_fields[HANDOVER_FIELDS_MAX];
    uint8_t state[CONTENT_STATE_MAX];
    uint8_t session[HANDOVER_FIELDS_MAX];
    struct handover_range *ranges;
    uint8_t *log;
    struct handover_fd *what; /* the fds, and what they are; not ours */
    int *fds;
    uint32_t n_fds;
    struct bytes bytes[STEP_DONE]; /* of the steps that are only bytes */
    uint64_t total;
    uint64_t queued;
    enum step step;
    size_t at; /* how far the step is */
};

static const enum handover_command commands[STEP_DONE] = {
    [STEP_PLAN] = HANDOVER_PLAN,     [STEP_STATE] = HANDOVER_STATE,
    [STEP_CONFIG] = HANDOVER_CONFIG, [STEP_SESSION] = HANDOVER_SESSION,
    [STEP_MSIX] = HANDOVER_MSIX,     [STEP_RANGES] = HANDOVER_RANGES,
    [STEP_UNREAD] = HANDOVER_UNREAD, [STEP_TWIN] = HANDOVER_TWIN,
    [STEP_LOG] = HANDOVER_LOG,       [STEP_FDS] = HANDOVER_FDS,
    [STEP_END] = HANDOVER_END,
};

void parcel_free(struct parcel *p)
{
    if (p == NULL)
        return;
    free(p->ranges);
    free(p->log);
    free(p->what);
    free(p->fds);
    free(p);
}

/*
 * Collecting
 */

static void add_fd(struct parcel *p, enum handover_role role, uint32_t index, int fd)
{
    p->what[p->n_fds] = (struct handover_fd) { .role = role, .index = index };
    p->fds[p->n_fds++] = fd;
}

static void add_irq_fds(struct parcel *p, struct device *dev)
{
    struct irq_fds irq;
    const int *slot;

    irq_get_fds(device_irq(dev), &irq);
    for (uint32_t i = 0; (slot = handover_irq_slot(&irq, i)) != NULL; i++) {
        if (*slot < 0)
            continue;
        add_fd(p, HANDOVER_FD_IRQ, i, *slot);
        p->plan.irq_fds++;
    }
}

static void add_doorbell(struct parcel *p, const struct device *dev)
{
    int fds[2];

    device_get_doorbell(dev, &fds[0], &fds[1]);
    for (uint32_t i = 0; i < 2; i++) {
        if (fds[i] < 0)
            continue;
        add_fd(p, HANDOVER_FD_DOORBELL, i, fds[i]);
        p->plan.doorbell++;
    }
}

/* Those that were lost on their way to us come first: they have no fd, and so no message's room. */
static void add_unread_fds(struct parcel *p, const struct stream_rest *rest)
{
    for (uint32_t i = 0; i < rest->nfds; i++) {
        add_fd(p, HANDOVER_FD_UNREAD, i, rest->fds[i].fd);
        p->what[p->n_fds - 1].owner = rest->fds[i].owner;
        p->what[p->n_fds - 1].lost = rest->fds[i].fd < 0;
    }
    p->plan.unread_fds = rest->nfds;
}

static int add_ranges(struct parcel *p, const struct dma_range *ranges, unsigned n)
{
    p->ranges = calloc(n + 1, sizeof(*p->ranges));
    if (p->ranges == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < n; i++)
        p->ranges[i] = (struct handover_range) { .iova = ranges[i].iova,
                                                 .size = ranges[i].size,
                                                 .offset = ranges[i].offset,
                                                 .flags = ranges[i].flags,
                                                 .file = ranges[i].file };
    p->plan.ranges = n;
    p->bytes[STEP_RANGES] =
        (struct bytes) { (const uint8_t *)p->ranges, n * sizeof(struct handover_range) };
    return 0;
}

static int make_room_for_fds(struct parcel *p, size_t n)
{
    p->what = calloc(n, sizeof(*p->what));
    p->fds = calloc(n, sizeof(*p->fds));
    return p->what != NULL && p->fds != NULL ? 0 : -ENOMEM;
}

static int add_client(struct parcel *p, struct device *dev, const struct parcel_client *client,
                      const int *files, unsigned n_files)
{
    const struct session_sockets *sockets = &client->sockets;
    size_t len;
    int err;

    add_fd(p, HANDOVER_FD_CLIENT, 0, sockets->socket);
    if (client->snapshot.info.twin == TWIN_OPEN)
        add_fd(p, HANDOVER_FD_TWIN, 0, sockets->twin);
    add_irq_fds(p, dev);
    add_doorbell(p, dev);
    for (unsigned i = 0; i < n_files; i++)
        add_fd(p, HANDOVER_FD_FILE, i, files[i]);
    add_unread_fds(p, &sockets->rest);
    p->plan.client = 1;
    p->plan.files = n_files;
    p->plan.unread = (uint32_t)sockets->rest.len;
    p->bytes[STEP_UNREAD] = (struct bytes) { sockets->rest.bytes, sockets->rest.len };
    /* No message on the twin takes fds: those that came along stay here. */
    p->plan.twin_unread = (uint32_t)sockets->twin_rest.len;
    p->bytes[STEP_TWIN] = (struct bytes) { sockets->twin_rest.bytes, sockets->twin_rest.len };
    err = device_log_export(dev, &p->log, &len);
    if (err == 0 && len > HANDOVER_MAX_LOG)
        err = -E2BIG;
    if (err != 0)
        return err;
    p->plan.log = (uint32_t)len;
    p->bytes[STEP_LOG] = (struct bytes) { p->log, len };
    len = handover_write_session(&client->snapshot, device_state(dev)->irq.intx_masked, p->session);
    p->bytes[STEP_SESSION] = (struct bytes) { p->session, len };
    return 0;
}

static int collect_client(struct parcel *p, struct device *dev, const struct parcel_client *client)
{
    struct dma_range *ranges = NULL;
    int *files = NULL;
    unsigned n_ranges;
    unsigned n_files;
    int err = dma_export(device_dma(dev), &ranges, &n_ranges, &files, &n_files);

    if (err == 0)
        err = make_room_for_fds(p, 6 + sizeof(struct irq_fds) / sizeof(int) + n_files +
                                       client->sockets.rest.nfds);
    if (err == 0)
        err = add_ranges(p, ranges, n_ranges);
    if (err == 0)
        err = add_client(p, dev, client, files, n_files);
    free(ranges);
    free(files);
    return err;
}

static int collect(struct parcel *p, struct device *dev, const struct parcel_client *client,
                   int token)
{
    const struct device_state *state = device_state(dev);
    int len = content_state(state, p->state, sizeof(p->state));
    int err = len < 0 ? len : 0;

    if (err == 0)
        err = client != NULL ? collect_client(p, dev, client) : make_room_for_fds(p, 2);
    if (err != 0)
        return err;
    add_fd(p, HANDOVER_FD_BAR1, 0, device_bar1_fd(dev));
    add_fd(p, HANDOVER_FD_TOKEN, 0, token);
    p->bytes[STEP_STATE] = (struct bytes) { p->state, (size_t)len };
    p->bytes[STEP_CONFIG] = (struct bytes) { state->pci.config, device_config_size(dev) };
    p->bytes[STEP_MSIX] = (struct bytes) { state->msix.table, device_msix_table_size(dev) };
    p->bytes[STEP_PLAN].at = p->plan_fields;
    p->bytes[STEP_PLAN].len = handover_write_plan(&p->plan, p->plan_fields);
    for (int i = 0; i < STEP_DONE; i++)
        p->total += p->bytes[i].len;
    p->total += p->n_fds * sizeof(struct handover_fd);
    return 0;
}

int parcel_new(struct device *dev, const struct parcel_client *client, int token, int64_t frozen_at,
               struct parcel **out)
{
    struct parcel *p = calloc(1, sizeof(*p));
    int err;

    if (p == NULL)
        return -ENOMEM;
    p->plan.version = HANDOVER_VERSION;
    p->plan.frozen_at = frozen_at;
    err = collect(p, dev, client, token);
    if (err != 0) {
        parcel_free(p);
        return err;
    }
    *out = p;
    return 0;
}

/*
 * Sending
 */

/* Queues the step's next message. Returns the bytes of it, or -errno. */
static int queue_bytes(struct parcel *p, struct stream *s)
{
    const struct bytes *b = &p->bytes[p->step];
    size_t most = p->step == STEP_RANGES ? RANGES_PER_MESSAGE * sizeof(struct handover_range)
                                         : HANDOVER_PIECE;
    size_t len = b->len - p->at < most ? b->len - p->at : most;
    int err = handover_send(s, commands[p->step], len > 0 ? b->at + p->at : NULL, len, NULL, 0);

    return err != 0 ? err : (int)len;
}

/* The same for fds. Returns their number. */
static int queue_fds(struct parcel *p, struct stream *s)
{
    int fds[STREAM_MAX_FDS];
    unsigned nfds = 0;
    size_t n = 0;
    int err;

    while (p->at + n < p->n_fds && n < STREAM_MAX_FDS) {
        if (p->fds[p->at + n] >= 0)
            fds[nfds++] = p->fds[p->at + n];
        n++;
    }
    err = handover_send(s, HANDOVER_FDS, p->what + p->at, n * sizeof(*p->what), fds, nfds);
    p->queued += err == 0 ? n * sizeof(*p->what) : 0;
    return err != 0 ? err : (int)n;
}

/* Whether the step has nothing (more) to send. One message is sent of what has no bytes to it. */
static bool is_over(const struct parcel *p)
{
    size_t len = p->step == STEP_FDS ? p->n_fds : p->bytes[p->step].len;

    return p->at >= len && !(p->step == STEP_END && p->at == 0);
}

static int queue_one(struct parcel *p, struct stream *s)
{
    int n;

    if (p->step == STEP_FDS) {
        n = queue_fds(p, s);
    } else {
        n = queue_bytes(p, s);
        p->queued += n > 0 ? (uint64_t)n : 0;
    }
    if (n < 0)
        return n;
    p->at += n > 0 ? (size_t)n : 1;
    return 0;
}

int parcel_queue(struct parcel *p, struct stream *s)
{
    int err = 0;

    while (err == 0 && p->step < STEP_DONE) {
        if (is_over(p)) {
            p->step++;
            p->at = 0;
        } else if (stream_queued(s) > QUEUE_BYTES || stream_fds_full(s)) {
            return 1;
        } else {
            err = queue_one(p, s);
        }
    }
    return err;
}

bool parcel_is_queued(const struct parcel *p)
{
    return p->step == STEP_DONE;
}

uint64_t parcel_bytes(const struct parcel *p)
{
    return p->total;
}

uint64_t parcel_queued(const struct parcel *p)
{
    return p->queued;
}

uint32_t parcel_fds(const struct parcel *p)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < p->n_fds; i++)
        n += p->fds[i] >= 0 && p->what[i].role != HANDOVER_FD_TOKEN;
    return n;
}
