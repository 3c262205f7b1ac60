/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "recovery.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peer.h"

/* What is being read, and why it cannot be. */
struct reader {
    const struct fd_store *store;
    struct recovered *r;
    const struct block *b;
    char *reason;
};

static int refuse(struct reader *rd, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct reader *rd, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(rd->reason, RECOVERY_REASON_BYTES, format, args);
    va_end(args);
    return -EINVAL;
}

void recovery_free(struct recovered *r)
{
    if (r == NULL)
        return;
    block_unmap(&r->memory);
    peer_close_fd(r->bar1);
    peer_close_fd(r->resume);
    peer_close_fd(r->token);
    peer_close_fd(r->sockets.socket);
    peer_close_fd(r->sockets.twin);
    peer_close_fds(r->doorbell, 2);
    peer_close_fds((int *)&r->irq, BLOCK_IRQ_FDS);
    if (r->files != NULL)
        peer_close_fds(r->files, r->n_files);
    for (unsigned i = 0; i < r->sockets.rest.nfds; i++)
        peer_close_fd(r->sockets.rest.fds[i].fd);
    for (unsigned i = 0; i < BLOCK_STREAMS; i++)
        peer_close_fds(&r->unsent.fds[i][0][0], STREAM_OUT_FDS_MAX * STREAM_MAX_FDS);
    free(r->ranges);
    free(r->files);
    free(r);
}

static struct recovered *new_recovered(void)
{
    struct recovered *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    r->memory.fd = r->bar1 = r->resume = r->token = -1;
    r->sockets.socket = r->sockets.twin = -1;
    r->doorbell[0] = r->doorbell[1] = -1;
    memset(&r->irq, 0xff, sizeof(r->irq));
    memset(r->unsent.fds, 0xff, sizeof(r->unsent.fds));
    return r;
}

/*
 * The block
 */

static int check_header(struct reader *rd, const struct block_header *h, uint64_t size)
{
    if (h->magic != BLOCK_MAGIC)
        return refuse(rd, "it is no state of vfio-userd");
    if (h->version > BLOCK_VERSION || h->state_version > DEVICE_STATE_VERSION)
        return refuse(
            rd,
            "it is of version %u.%u, which a newer vfio-userd has written; this one reads "
            "%u.%u",
            h->version, h->state_version, BLOCK_VERSION, DEVICE_STATE_VERSION);
    if (h->version != BLOCK_VERSION || h->state_version != DEVICE_STATE_VERSION)
        return refuse(rd, "it is of version %u.%u, which this vfio-userd does not read", h->version,
                      h->state_version);
    if (h->layout != sizeof(struct block) || size != block_size())
        return refuse(rd, "it is of version %u.%u, and of another layout", h->version,
                      h->state_version);
    return 0;
}

/* The newest block that is complete: its process had stored all that it speaks of. */
static int find_block(struct reader *rd)
{
    uint32_t serial = 0;
    bool found = false;

    while ((serial = fd_store_latest(rd->store, "state", serial)) > 0) {
        int fd = fd_store_get(rd->store, "state", serial);
        struct memory memory;
        const struct block_header *h;

        if (fd < 0)
            continue;
        if (block_map(fd, &memory) != 0) {
            close(fd);
            return refuse(rd, "what is stored as \"state-%u\" is no memory of vfio-userd", serial);
        }
        close(fd);
        h = &block_of(&memory)->header;
        /* One of another version is looked at too: it may be the one that counts. */
        if ((h->magic == BLOCK_MAGIC && h->complete == 0) ||
            (found && h->generation <= rd->r->generation)) {
            block_unmap(&memory);
            continue;
        }
        block_unmap(&rd->r->memory);
        rd->r->memory = memory;
        rd->r->generation = h->generation;
        found = true;
    }
    if (!found && fd_store_count(rd->store) ==
                      fd_store_count_of(rd->store, "state") + fd_store_count_of(rd->store, "bar"))
        return -ENOENT;
    if (!found)
        return refuse(rd, "among what is stored there is no state that is complete");
    rd->b = block_of(&rd->r->memory);
    return check_header(rd, &rd->b->header, rd->r->memory.size);
}

static int check_device(struct reader *rd, const struct device *dev)
{
    const struct block_header *h = &rd->b->header;
    struct content_difference d = { .ours = "" };

    if (h->begin_len <= sizeof(h->begin) &&
        content_check_begin(dev, h->begin, h->begin_len, &d) == 0)
        return 0;
    if (d.ours[0] != '\0')
        refuse(rd, "it is that of a device with another description: %s is %s here and %s there",
               d.field, d.ours, d.theirs);
    else
        refuse(rd, "it is that of a device with another description");
    return rd->r->facts->attached != 0 ? -EINVAL : -ESTALE;
}

/* The registers as they were when the step under way began, and what had been done of it. */
static int read_steps(struct reader *rd)
{
    const struct block_steps *steps = &rd->b->steps;
    const struct block_mark *mark = &steps->marks[steps->committed & 1];
    struct recovered *r = rd->r;

    if (steps->open != steps->committed && steps->open != steps->committed + 1)
        return refuse(rd, "its steps are out of order");
    if (mark->facts > 1 || steps->undo_len > sizeof(r->state) || steps->kind >= KEEPER_STEPS)
        return refuse(rd, "its last step cannot be");
    r->facts = &rd->b->facts[mark->facts];
    r->log_ranges = rd->b->log_ranges;
    r->clean = rd->b->header.clean != 0;
    r->state = rd->b->state;
    r->replay.faults = mark->faults;
    r->replay.deaths = mark->deaths;
    if (steps->open == steps->committed)
        return 0;
    memcpy(&r->state, &rd->b->undo, steps->undo_len);
    r->replay.step = (enum keeper_step)steps->kind;
    r->replay.evidence = steps->evidence;
    if ((r->replay.step == KEEPER_MESSAGE || r->replay.step == KEEPER_TWIN) && steps->begun != 0) {
        r->replay.faults += steps->fault != 0;
        r->replay.deaths++;
    }
    return 0;
}

/*
 * File descriptors
 */

/* The one that the facts name; -1 for none. */
static int get_fd(struct reader *rd, const char *what, uint32_t serial, int *out)
{
    if (serial == 0)
        return 0;
    *out = fd_store_get(rd->store, NULL, serial);
    return *out >= 0 ? 0 : refuse(rd, "its %s, %u, is not stored", what, serial);
}

static int read_fds(struct reader *rd)
{
    const struct block_facts *f = rd->r->facts;
    struct recovered *r = rd->r;
    int *irq = (int *)&r->irq;
    int err;

    if (f->bar1 == 0 || f->attached > 1 || f->n_commands > BLOCK_COMMANDS ||
        f->n_log_ranges > DIRTY_LOG_MAX_RANGES || (f->attached == 1 && f->streams[0] == 0))
        return refuse(rd, "its facts cannot be");
    err = get_fd(rd, "BAR1", f->bar1, &r->bar1);
    if (err == 0)
        err = get_fd(rd, "client's connection", f->streams[0], &r->sockets.socket);
    if (err == 0)
        err = get_fd(rd, "client's twin socket", f->streams[1], &r->sockets.twin);
    if (err == 0)
        err = get_fd(rd, "doorbell", f->doorbell[0], &r->doorbell[0]);
    if (err == 0)
        err = get_fd(rd, "doorbell's memory", f->doorbell[1], &r->doorbell[1]);
    if (err == 0)
        err = get_fd(rd, "state being loaded", f->resume, &r->resume);
    if (err == 0)
        err = get_fd(rd, "handover's token", f->token, &r->token);
    for (unsigned i = 0; err == 0 && i < BLOCK_IRQ_FDS; i++)
        err = get_fd(rd, "interrupt's eventfd", f->irq[i], &irq[i]);
    return err;
}

/* Gets the files that are stored, and gives those that are not the index -1. */
static void get_files(struct reader *rd, const uint32_t *serials, int32_t *indexes, unsigned n)
{
    struct recovered *r = rd->r;

    for (unsigned i = 0; i < n; i++) {
        int fd = fd_store_get(rd->store, NULL, serials[i]);

        indexes[i] = fd >= 0 ? (int32_t)r->n_files : -1;
        if (fd >= 0)
            r->files[r->n_files++] = fd;
    }
}

/* Ranges whose file could not be stored are reached by message from now on. */
static int read_maps(struct reader *rd)
{
    struct recovered *r = rd->r;
    uint32_t *serials = NULL;
    int32_t *indexes;
    unsigned n = 0;
    int err;

    if (rd->b->maps_high > BLOCK_MAPS)
        return refuse(rd, "its table of guest memory cannot be");
    err = dma_records_read(rd->b->maps, rd->b->maps_high, rd->b->steps.committed, &r->ranges,
                           &r->n_ranges, &serials, &n);
    if (err != 0)
        return err;
    r->files = malloc((n + 1) * sizeof(*r->files));
    indexes = malloc((n + 1) * sizeof(*indexes));
    if (r->files != NULL && indexes != NULL) {
        get_files(rd, serials, indexes, n);
        for (unsigned i = 0; i < r->n_ranges; i++) {
            if (r->ranges[i].file < 0)
                continue;
            r->ranges[i].file = indexes[r->ranges[i].file];
            r->lost_maps += r->ranges[i].file < 0;
        }
    } else {
        err = -ENOMEM;
    }
    free(indexes);
    free(serials);
    return err;
}

/*
 * The client's streams
 */

static int read_stream(struct reader *rd, unsigned i, struct stream_rest *rest)
{
    const struct block_steps *steps = &rd->b->steps;
    struct stream_kept *kept = &rd->r->unsent.streams[i];
    struct stream_memory memory;

    block_stream(&rd->r->memory, i, &memory);
    if (stream_read_kept(&memory, &steps->marks[steps->committed & 1].streams[i], kept) != 0)
        return refuse(rd, "the journal of its client's %s cannot be", i == 0 ? "socket" : "twin");
    rest->bytes = kept->in;
    rest->len = kept->in_len;
    rest->nfds = kept->n_in_fds;
    for (unsigned j = 0; j < kept->n_in_fds; j++)
        rest->fds[j] = (struct stream_rest_fd) {
            .owner = kept->in_fds[j].owner,
            .fd = fd_store_get(rd->store, NULL, kept->in_fds[j].serial),
        };
    for (unsigned j = 0; j < kept->n_out_fds; j++) {
        for (unsigned n = 0; n < kept->out_fds[j].nfds; n++) {
            int fd = fd_store_get(rd->store, NULL, kept->out_fds[j].serials[n]);

            if (fd < 0) /* there was no place for it */
                return -ENXIO;
            rd->r->unsent.fds[i][j][n] = fd;
        }
    }
    return 0;
}

static int read_client(struct reader *rd)
{
    int err = read_maps(rd);

    if (err == 0)
        err = read_stream(rd, 0, &rd->r->sockets.rest);
    if (err == 0 && rd->r->sockets.twin >= 0)
        err = read_stream(rd, 1, &rd->r->sockets.twin_rest);
    rd->r->attached = err == 0;
    return err == -ENXIO ? 0 : err; /* without what it was to get, the client is lost */
}

int recovery_read(const struct fd_store *store, const struct device *dev, struct recovered **out,
                  char reason[RECOVERY_REASON_BYTES])
{
    struct reader rd = { .store = store, .r = new_recovered(), .reason = reason };
    int err = rd.r != NULL ? 0 : -ENOMEM;

    snprintf(reason, RECOVERY_REASON_BYTES, "there is no memory for it");
    if (err == 0)
        err = find_block(&rd);
    if (err == 0)
        err = read_steps(&rd);
    if (err == 0)
        err = check_device(&rd, dev);
    if (err == 0)
        err = read_fds(&rd);
    if (err == 0 && rd.r->facts->attached == 1)
        err = read_client(&rd);
    if (err == 0 || err == -ESTALE)
        *out = rd.r;
    else
        recovery_free(rd.r);
    return err;
}
