/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "keeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"
#include "log.h"

/*
 * A message is not executed again after as many faults, or deaths. A fault is the message's own; to
 * be killed may be anybody's doing, but for the kernel's when memory runs out.
 */
#define FAULTS_MAX 2
#define DEATHS_MAX 10

/* How often it is tried to have the block held; each may take its time. */
#define STORE_TRIES 5

/* A file descriptor of the facts, as it was when it was collected last. */
struct known {
    int fd;
    uint32_t serial;
};

struct keeper {
    struct keeper_host host;
    struct fd_store *store;
    struct memory memory;
    struct block *b;
    struct stream *streams[BLOCK_STREAMS];
    struct known bar1;
    struct known sockets[BLOCK_STREAMS];
    struct known doorbell[2];
    struct known resume;
    struct known token;
    struct known irq[BLOCK_IRQ_FDS];
    unsigned depth; /* of steps in one another */
    bool replays;   /* the open step is another process's, and not begun here yet */
    bool touched;   /* the facts are to be collected */
    bool held_back; /* something waits for the step's end to be sent */
    bool emptied;   /* a client has gone: the buffers' memory is to be given back */
    bool forgot;    /* that a client is not kept: said once */
    bool left;      /* nothing is kept any more */
};

/*
 * Life
 */

static void forget_known(struct keeper *k)
{
    const struct known none = { .fd = -1 };

    k->bar1 = k->resume = k->token = none;
    for (unsigned i = 0; i < BLOCK_STREAMS; i++)
        k->sockets[i] = none;
    k->doorbell[0] = k->doorbell[1] = none;
    for (unsigned i = 0; i < BLOCK_IRQ_FDS; i++)
        k->irq[i] = none;
}

int keeper_new(const struct keeper_host *host, struct fd_store *store, struct keeper **out)
{
    struct keeper *k = calloc(1, sizeof(*k));
    int err;

    if (k == NULL)
        return -ENOMEM;
    err = block_new(&k->memory);
    if (err != 0) {
        free(k);
        return err;
    }
    k->host = *host;
    k->store = store;
    k->b = block_of(&k->memory);
    k->b->header.generation = 1;
    forget_known(k);
    fault_note_at(&k->b->steps.fault);
    *out = k;
    return 0;
}

void keeper_free(struct keeper *k)
{
    if (k == NULL)
        return;
    fault_note_at(NULL);
    fd_store_free(k->store);
    memory_free(&k->memory);
    free(k);
}

struct block *keeper_block(struct keeper *k)
{
    return k->b;
}

const struct fd_store *keeper_fds_stored(const struct keeper *k)
{
    return k->store;
}

void keeper_abandon(struct keeper *k, bool clear)
{
    if (clear)
        fd_store_clear(k->store);
    k->left = true;
}

bool keeper_keeps(const struct keeper *k)
{
    return !k->left;
}

bool keeper_forgot_client(const struct keeper *k)
{
    return k->forgot;
}

/*
 * What is held elsewhere
 */

uint32_t keeper_store(struct keeper *k, int fd, const char *role)
{
    return k != NULL && !k->left ? fd_store_put(k->store, fd, role) : 0;
}

void keeper_forget(struct keeper *k, uint32_t serial)
{
    if (k == NULL || k->left)
        return;
    fd_store_unput(k->store, serial);
    if (k->depth == 0)
        keeper_touch(k);
}

static uint32_t dma_store(void *opaque, int fd)
{
    return keeper_store(opaque, fd, "dma");
}

static void forget(void *opaque, uint32_t serial)
{
    keeper_forget(opaque, serial);
}

static uint32_t stream_store(void *opaque, int fd, const char *role)
{
    return keeper_store(opaque, fd, role);
}

static void stream_mark(void *opaque)
{
    keeper_begin(opaque, KEEPER_OTHER);
    keeper_end(opaque);
}

static uint64_t dma_step(void *opaque)
{
    const struct keeper *k = opaque;

    return k->b->steps.committed + 1;
}

void keeper_device_memory(struct keeper *k, struct device_memory *out)
{
    *out = (struct device_memory) {
        .state = &k->b->state,
        .evidence = { .at = &k->b->steps.evidence,
                      .fd = k->memory.fd,
                      .offset = offsetof(struct block, steps.evidence) },
        .dma = { .opaque = k,
                 .records = k->b->maps,
                 .n_records = BLOCK_MAPS,
                 .high = &k->b->maps_high,
                 .step = dma_step,
                 .store = dma_store,
                 .forget = forget },
    };
}

/*
 * Facts
 */

/* The serial of fd, which is put when it is new; what was there before is not put any more. */
static uint32_t know(struct keeper *k, struct known *known, int fd, const char *role)
{
    uint32_t serial;

    if (fd == known->fd && (fd < 0 || known->serial != 0))
        return known->serial;
    serial = fd >= 0 ? fd_store_put(k->store, fd, role) : 0;
    fd_store_unput(k->store, known->serial);
    *known = (struct known) { .fd = fd, .serial = serial };
    return serial;
}

static void no_fds(struct keeper_fds *fds)
{
    int *irq = (int *)&fds->irq;

    *fds = (struct keeper_fds) {
        .bar1 = -1, .streams = { -1, -1 }, .doorbell = { -1, -1 }, .resume = -1, .token = -1
    };
    for (unsigned i = 0; i < BLOCK_IRQ_FDS; i++)
        irq[i] = -1;
}

static bool is_kept(const struct known *known)
{
    return known->fd < 0 || known->serial != 0;
}

/* Whether the client has a place for all that it needs, but for its memory. */
static bool is_whole(const struct keeper *k)
{
    bool whole = is_kept(&k->sockets[0]) && is_kept(&k->sockets[1]) && is_kept(&k->doorbell[0]) &&
                 is_kept(&k->doorbell[1]);

    for (unsigned i = 0; i < BLOCK_IRQ_FDS; i++)
        whole = whole && is_kept(&k->irq[i]);
    return whole;
}

/* One without its interrupts, say, would do harm: it is lost in a crash, and learns of it. */
static void forget_client(struct keeper *k, struct block_facts *facts)
{
    facts->attached = 0;
    if (!k->forgot)
        log_warning("keep", "the client, pid %d, will not survive a crash of this process",
                    (int)facts->session.info.pid);
    k->forgot = true;
}

/* Writes the facts that are not in use, and returns which they are. */
static uint32_t collect(struct keeper *k)
{
    const struct block_steps *steps = &k->b->steps;
    uint32_t which = steps->marks[steps->committed & 1].facts ^ 1;
    struct block_facts *facts = &k->b->facts[which];
    struct keeper_fds fds;
    const int *irq = (const int *)&fds.irq;

    memset(facts, 0, sizeof(*facts));
    no_fds(&fds);
    k->host.collect(k->host.opaque, facts, &fds, k->b->log_ranges);
    facts->bar1 = know(k, &k->bar1, fds.bar1, "bar");
    facts->streams[0] = know(k, &k->sockets[0], fds.streams[0], "client");
    facts->streams[1] = know(k, &k->sockets[1], fds.streams[1], "twin");
    facts->doorbell[0] = know(k, &k->doorbell[0], fds.doorbell[0], "doorbell");
    facts->doorbell[1] = know(k, &k->doorbell[1], fds.doorbell[1], "shadow");
    facts->resume = know(k, &k->resume, fds.resume, "resume");
    facts->token = know(k, &k->token, fds.token, "token");
    for (unsigned i = 0; i < BLOCK_IRQ_FDS; i++)
        facts->irq[i] = know(k, &k->irq[i], irq[i], "irq");
    if (facts->attached != 0 && !is_whole(k))
        forget_client(k, facts);
    else
        k->forgot = false;
    k->touched = false;
    return which;
}

/*
 * Steps
 */

static void open_step(struct keeper *k, enum keeper_step step, size_t undo_len, bool begun)
{
    struct block_steps *steps = &k->b->steps;

    memcpy(&k->b->undo, &k->b->state, undo_len);
    steps->kind = step;
    steps->undo_len = (uint32_t)undo_len;
    steps->begun = begun;
    steps->fault = 0;
    __atomic_store_n(&steps->open, steps->committed + 1, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* what the step does comes behind it */
}

static void begin(struct keeper *k, enum keeper_step step, size_t undo_len)
{
    if (k == NULL || k->left || k->depth++ > 0)
        return;
    if (k->replays) {
        k->replays = false;
        k->b->steps.begun = 1;
        return;
    }
    evidence_reset(&k->b->steps.evidence);
    open_step(k, step, undo_len, true);
}

void keeper_begin(struct keeper *k, enum keeper_step step)
{
    begin(k, step, sizeof(struct device_state));
}

void keeper_begin_narrow(struct keeper *k, enum keeper_step step)
{
    begin(k, step, DEVICE_STATE_NARROW);
}

/* Writes the mark that holds from the next step's end on. */
static void write_mark(struct keeper *k)
{
    struct block_steps *steps = &k->b->steps;
    const struct block_mark *before = &steps->marks[steps->committed & 1];
    struct block_mark *mark = &steps->marks[(steps->committed + 1) & 1];

    mark->facts = k->touched ? collect(k) : before->facts;
    mark->faults = mark->deaths = 0; /* a step that a process has died in comes before all others */
    for (unsigned i = 0; i < BLOCK_STREAMS; i++) {
        if (k->streams[i] != NULL)
            stream_get_mark(k->streams[i], &mark->streams[i]);
        else
            mark->streams[i] = (struct stream_mark) { 0 };
    }
}

static void end_step(struct keeper *k)
{
    struct block_steps *steps = &k->b->steps;

    write_mark(k);
    __atomic_store_n(&steps->committed, steps->committed + 1, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    fd_store_drop_unused(k->store, false);
    if (k->emptied && k->streams[0] == NULL && k->streams[1] == NULL)
        block_forget_buffers(&k->memory);
    k->emptied = false;
}

void keeper_end(struct keeper *k)
{
    if (k == NULL || k->left || --k->depth > 0)
        return;
    end_step(k);
    if (k->held_back) {
        k->held_back = false;
        k->host.released(k->host.opaque);
    }
}

bool keeper_holds_back(struct keeper *k)
{
    if (k == NULL || k->depth == 0 || k->left)
        return false;
    k->held_back = true;
    return true;
}

void keeper_touch(struct keeper *k)
{
    if (k != NULL)
        k->touched = true;
}

void keeper_settle(struct keeper *k)
{
    if (k == NULL || !k->touched || k->depth > 0 || k->left)
        return;
    keeper_begin(k, KEEPER_OTHER);
    keeper_end(k);
}

uint32_t keeper_deadly(const struct keeper *k)
{
    const struct block_mark *mark;

    if (k == NULL || k->left)
        return 0;
    mark = &k->b->steps.marks[k->b->steps.committed & 1];
    return mark->faults >= FAULTS_MAX || mark->deaths >= DEATHS_MAX ? mark->deaths : 0;
}

/* Whoever holds it may be busy for a moment: then the client waits, and is not lost. */
static bool store_block(struct keeper *k)
{
    bool stored = false;

    for (unsigned i = 0; i < STORE_TRIES && !stored; i++)
        stored = fd_store_put(k->store, k->memory.fd, "state") != 0;
    return stored;
}

int keeper_complete(struct keeper *k, const struct keeper_replay *replay)
{
    struct block_steps *steps = &k->b->steps;

    k->touched = true;
    keeper_settle(k);
    if (replay->step != KEEPER_NONE) {
        steps->evidence = replay->evidence;
        steps->marks[steps->committed & 1].faults = replay->faults;
        steps->marks[steps->committed & 1].deaths = replay->deaths;
        open_step(k, replay->step, sizeof(struct device_state), false);
        k->replays = true;
    }
    if (k->bar1.serial == 0 || !store_block(k))
        return -ENOSPC;
    __atomic_store_n(&k->b->header.complete, 1, __ATOMIC_RELEASE);
    fd_store_drop_unused(k->store, true);
    return 0;
}

int keeper_stream(struct keeper *k, unsigned i, struct stream *s)
{
    const struct stream_keeper keeper = {
        .opaque = k, .store = stream_store, .forget = forget, .mark = stream_mark
    };
    struct stream_memory memory;
    int err = 0;

    if (k == NULL || k->left)
        return 0;
    if (s != NULL) {
        block_stream(&k->memory, i, &memory);
        err = stream_keep(s, &memory, &keeper);
    }
    if (err != 0)
        return err;
    k->streams[i] = s;
    k->emptied = k->emptied || s == NULL;
    k->touched = true;
    return 0;
}

void keeper_leave(struct keeper *k)
{
    void *at;

    if (k == NULL || k->left)
        return;
    keeper_touch(k);
    keeper_settle(k);
    k->b->header.clean = 1;
    k->left = true;
    at = mmap(k->memory.at, k->memory.size, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, k->memory.fd, 0);
    if (at == MAP_FAILED)
        _exit(EXIT_SUCCESS); /* what would be taken apart is the block's */
}
