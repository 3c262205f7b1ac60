/* SPDX-License-Identifier: BSD-3-Clause */
#include "server_commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "message.h"
#include "vfio_user.h"

/* Where the data begins, from the end of the header. */
#define WIDE_HEAD   sizeof(struct vfio_user_dma_access)
#define NARROW_HEAD 12u

/* Bytes for what is said of a command in the log. */
#define DESCRIPTION 96

void server_commands_init(struct server_commands *c, struct dma *dma, struct log_limit *limit)
{
    *c = (struct server_commands) {
        .max_queued = SIZE_MAX, .shape = DMA_SHAPE_WIDE, .dma = dma, .limit = limit
    };
}

/*
 * Sending
 */

static void free_slot(struct server_commands *c, struct server_command *slot)
{
    slot->used = false;
    c->unanswered--;
}

static unsigned count_sent(const struct server_commands *c, uint16_t command)
{
    unsigned n = 0;

    for (unsigned i = 0; i < SERVER_COMMANDS_MAX; i++)
        n += c->sent[i].used && c->sent[i].command == command;
    return n;
}

static struct server_command *find_free(struct server_commands *c)
{
    for (unsigned i = 0; i < SERVER_COMMANDS_MAX; i++) {
        if (!c->sent[i].used)
            return &c->sent[i];
    }
    return NULL;
}

static bool id_is_taken(const struct server_commands *c, uint16_t id)
{
    bool taken = false;

    for (unsigned i = 0; i < SERVER_COMMANDS_MAX; i++)
        taken = taken || (c->sent[i].used && c->sent[i].id == id);
    for (unsigned i = 0; i < SERVER_COMMANDS_LATE; i++)
        taken = taken || (c->late[i].used && c->late[i].id == id);
    return taken;
}

/* Room for a message of size bytes and its slot; *err says why there is none. */
static uint8_t *make_room(struct server_commands *c, uint16_t command, size_t size,
                          struct server_command **slot, int *err)
{
    uint8_t *message = NULL;

    *slot = find_free(c);
    *err = -EBUSY;
    if (c->stream == NULL)
        *err = -ENOTCONN;
    else if (*slot == NULL)
        log_limited(c->limit, LOG_LEVEL_WARNING, "session",
                    "%s is not sent: %d commands are unanswered", message_command_name(command),
                    SERVER_COMMANDS_MAX);
    else if (stream_queued(c->stream) > c->max_queued)
        log_limited(c->limit, LOG_LEVEL_WARNING, "session",
                    "%s is not sent: the client has left %zu bytes unread",
                    message_command_name(command), stream_queued(c->stream));
    else if ((message = stream_reserve(c->stream, size)) == NULL)
        *err = -ENOMEM;
    return message;
}

/* Fills in the slot of a message that is written but for its header, and queues it. */
static int commit(struct server_commands *c, uint64_t now, uint8_t *message, size_t size,
                  struct server_command *slot, const struct server_command *what)
{
    while (id_is_taken(c, c->next_id))
        c->next_id++;
    *slot = *what;
    slot->used = true;
    c->unanswered++;
    slot->id = c->next_id++;
    slot->deadline = now + c->timeout_ms;
    message_encode_header(message, slot->id, slot->command, (uint32_t)size, VFIO_USER_TYPE_COMMAND,
                          0);
    return stream_commit(c->stream, size, NULL, 0);
}

/* Queues one DMA message: what, of which len bytes of data (NULL for a DMA_READ) go along. */
static int queue_dma(struct server_commands *c, uint64_t now, const struct server_command *what,
                     const void *data, uint32_t len)
{
    const struct vfio_user_dma_access access = { .address = what->iova, .count = len };
    size_t head = c->shape == DMA_SHAPE_NARROW ? NARROW_HEAD : WIDE_HEAD;
    /* A narrow message is as long as a wide one: QEMU 10 checks for its padded structure. */
    size_t size = VFIO_USER_HEADER_SIZE + WIDE_HEAD + (data != NULL ? len : 0);
    struct server_command *slot;
    int err;
    uint8_t *message = make_room(c, what->command, size, &slot, &err);

    if (message == NULL)
        return err;
    memset(message + size - sizeof(uint32_t), 0, sizeof(uint32_t));
    memcpy(message + VFIO_USER_HEADER_SIZE, &access, sizeof(access));
    if (data != NULL)
        memcpy(message + VFIO_USER_HEADER_SIZE + head, data, len);
    return commit(c, now, message, size, slot, what);
}

static int send_transfer(struct server_commands *c, uint64_t now, uint32_t tag, uint64_t iova,
                         const void *data, uint32_t len)
{
    const struct server_command what = { .command = data != NULL ? VFIO_USER_DMA_WRITE
                                                                 : VFIO_USER_DMA_READ,
                                         .tag = tag,
                                         .iova = iova,
                                         .len = len };

    return queue_dma(c, now, &what, data, len);
}

int server_commands_dma(struct server_commands *c, uint64_t now, uint32_t tag, uint64_t iova,
                        const void *data, uint32_t len)
{
    const struct server_command question = { .asks_shape = true,
                                             .command = VFIO_USER_DMA_WRITE,
                                             .tag = tag,
                                             .iova = iova,
                                             .data = data,
                                             .len = len };

    if (c->shape == DMA_SHAPE_UNKNOWN)
        return queue_dma(c, now, &question, "", 0);
    return send_transfer(c, now, tag, iova, data, len);
}

/* Whether an interrupt would be sent now, as far as that does not depend on memory. */
static bool takes_interrupts(const struct server_commands *c)
{
    return c->stream != NULL && c->unanswered < SERVER_COMMANDS_MAX &&
           stream_queued(c->stream) <= c->max_queued &&
           count_sent(c, VFIO_USER_VM_INTERRUPT) < SERVER_COMMANDS_MAX_INTERRUPTS;
}

int server_commands_interrupt(struct server_commands *c, uint64_t now, uint32_t index,
                              uint32_t subindex)
{
    const struct vfio_user_vm_interrupt interrupt = { .index = index, .subindex = subindex };
    const struct server_command what = { .command = VFIO_USER_VM_INTERRUPT,
                                         .index = index,
                                         .subindex = subindex };
    const size_t size = VFIO_USER_HEADER_SIZE + sizeof(interrupt);
    struct server_command *slot;
    uint8_t *message;
    int err;

    if (c->stream != NULL && !takes_interrupts(c)) {
        log_limited(
            c->limit, LOG_LEVEL_WARNING, "session",
            "VM_INTERRUPT of index %u, vector %u is not sent now: the client has not answered, or "
            "not read, what was sent before",
            index, subindex);
        c->refused = true;
        return -EBUSY;
    }
    message = make_room(c, what.command, size, &slot, &err);
    if (message == NULL)
        return err;
    memcpy(message + VFIO_USER_HEADER_SIZE, &interrupt, sizeof(interrupt));
    return commit(c, now, message, size, slot, &what);
}

bool server_commands_has_room(struct server_commands *c)
{
    if (!c->refused || !takes_interrupts(c))
        return false;
    c->refused = false;
    return true;
}

/*
 * Answers
 */

bool server_commands_quiet(const struct server_commands *c)
{
    return c->unanswered == 0;
}

static struct server_command *find(struct server_commands *c, const struct vfio_user_header *hdr)
{
    for (unsigned i = 0; i < SERVER_COMMANDS_MAX; i++) {
        struct server_command *sent = &c->sent[i];

        if (sent->used && sent->id == hdr->id && sent->command == hdr->command)
            return sent;
    }
    return NULL;
}

/* An errno that a peer sent, as one of ours; 0 is allowed on the wire and means nothing. */
static int peer_errno(uint32_t error)
{
    return error == 0 || error > 4095 ? -EIO : -(int)error;
}

/*
 * The answer to a write of nothing. One who refuses that is not QEMU 10; another error (Bus Master
 * is off, say) leaves the question open. The transfer that had to wait goes out now, unless nobody
 * waits for it any more.
 */
static void take_shape(struct server_commands *c, uint64_t now,
                       const struct server_command *question, int err, size_t len)
{
    if (err == 0 && len == 0) {
        c->shape = DMA_SHAPE_NARROW;
        log_info("session", "DMA messages have the shape of QEMU 10: a 32-bit count");
    } else if (err == 0 || err == -EINVAL) {
        c->shape = DMA_SHAPE_WIDE;
        err = 0;
    }
    if (err == 0 && dma_awaits(c->dma, question->tag))
        err = send_transfer(c, now, question->tag, question->iova, question->data, question->len);
    if (err != 0)
        dma_message_done(c->dma, question->tag, err, NULL, 0);
}

/* Begins a line on a command: what it was. */
static void describe(const struct server_command *sent, char out[DESCRIPTION])
{
    const char *name = message_command_name(sent->command);

    if (sent->command == VFIO_USER_VM_INTERRUPT)
        snprintf(out, DESCRIPTION, "%s of index %u, vector %u, id %u", name, sent->index,
                 sent->subindex, sent->id);
    else
        snprintf(out, DESCRIPTION, "%s of 0x%llx, %u bytes, id %u", name,
                 (unsigned long long)sent->iova, sent->len, sent->id);
}

/* The client's own word is told apart from what we find wrong with what it sent. */
static void log_refused(struct server_commands *c, const struct server_command *sent, int err)
{
    char what[DESCRIPTION];

    describe(sent, what);
    log_limited(c->limit, LOG_LEVEL_WARNING, "session", "%s: the client replied: %s", what,
                strerror(-err));
}

static void take_dma(struct server_commands *c, const struct server_command *sent, int err,
                     const uint8_t *payload, size_t len)
{
    struct message_dma_reply view = { 0 };
    char what[DESCRIPTION];

    if (err != 0) {
        log_refused(c, sent, err);
    } else {
        err = message_decode_dma_reply(sent->command, c->shape == DMA_SHAPE_NARROW, payload, len,
                                       sent->iova, sent->len, &view);
        if (err != 0) {
            describe(sent, what);
            log_limited(c->limit, LOG_LEVEL_WARNING, "session",
                        "%s: its reply of %zu bytes does not fit, or speaks of another transfer",
                        what, VFIO_USER_HEADER_SIZE + len);
        }
    }
    dma_message_done(c->dma, sent->tag, err, view.data, sent->len);
}

/* The interrupt has been raised, as far as we can; what the client thinks of it is its own. */
static void take_interrupt(struct server_commands *c, const struct server_command *sent, int err,
                           size_t len)
{
    char what[DESCRIPTION];

    if (err != 0) {
        log_refused(c, sent, err);
    } else if (len != 0) {
        describe(sent, what);
        log_limited(c->limit, LOG_LEVEL_WARNING, "session",
                    "%s: its reply of %zu bytes is more than a header: dropped", what,
                    VFIO_USER_HEADER_SIZE + len);
    }
}

/* What no command waits for. */
static void drop(struct server_commands *c, uint64_t now, const struct vfio_user_header *hdr)
{
    for (unsigned i = 0; i < SERVER_COMMANDS_LATE; i++) {
        struct late_command *late = &c->late[i];

        if (late->used && late->id == hdr->id && late->command == hdr->command) {
            late->used = false;
            log_limited(c->limit, LOG_LEVEL_INFO, "session",
                        "a reply to %s, id %u, came %llu ms late: dropped",
                        message_command_name(hdr->command), hdr->id,
                        (unsigned long long)(now - late->deadline));
            return;
        }
    }
    log_limited(c->limit, LOG_LEVEL_WARNING, "session",
                "a reply to %s, id %u, that was not asked for: ignored",
                message_command_name(hdr->command), hdr->id);
}

void server_commands_reply(struct server_commands *c, uint64_t now,
                           const struct stream_message *reply)
{
    struct server_command *slot = find(c, &reply->hdr);
    size_t len = reply->hdr.size - VFIO_USER_HEADER_SIZE;
    struct server_command sent;
    int err = 0;

    if (slot == NULL) {
        drop(c, now, &reply->hdr);
        return;
    }
    sent = *slot;
    free_slot(c, slot);
    if ((reply->hdr.flags & VFIO_USER_ERROR) != 0)
        err = peer_errno(reply->hdr.error);
    if (sent.asks_shape)
        take_shape(c, now, &sent, err, len);
    else if (sent.command == VFIO_USER_VM_INTERRUPT)
        take_interrupt(c, &sent, err, len);
    else
        take_dma(c, &sent, err, reply->payload, len);
}

/*
 * No answers
 */

uint64_t server_commands_deadline(const struct server_commands *c)
{
    uint64_t first = SERVER_COMMANDS_NEVER;

    for (unsigned i = 0; c->unanswered > 0 && i < SERVER_COMMANDS_MAX; i++) {
        if (c->sent[i].used && c->sent[i].deadline < first)
            first = c->sent[i].deadline;
    }
    return first;
}

static void remember(struct server_commands *c, const struct server_command *sent)
{
    c->late[c->next_late] = (struct late_command) {
        .used = true, .id = sent->id, .command = sent->command, .deadline = sent->deadline
    };
    c->next_late = (c->next_late + 1) % SERVER_COMMANDS_LATE;
}

void server_commands_put_late(struct server_commands *c, uint64_t now, uint16_t id,
                              uint16_t command)
{
    const struct server_command sent = { .id = id, .command = command, .deadline = now };

    remember(c, &sent);
}

/* Tells whoever waits. That may begin the next transfer, and so take a slot. */
static void fail(struct server_commands *c, struct server_command *slot, int err)
{
    struct server_command sent = *slot;

    free_slot(c, slot);
    if (sent.command != VFIO_USER_VM_INTERRUPT)
        dma_message_done(c->dma, sent.tag, err, NULL, 0);
}

static void log_expired(struct server_commands *c, const struct server_command *sent)
{
    char what[DESCRIPTION];

    describe(sent, what);
    log_limited(c->limit, LOG_LEVEL_WARNING, "session", "%s: no reply within %u ms", what,
                c->timeout_ms);
}

void server_commands_expire(struct server_commands *c, uint64_t now)
{
    for (unsigned i = 0; i < SERVER_COMMANDS_MAX; i++) {
        struct server_command *slot = &c->sent[i];

        if (!slot->used || slot->deadline > now)
            continue;
        log_expired(c, slot);
        remember(c, slot);
        fail(c, slot, -ETIMEDOUT);
    }
}

void server_commands_abandon(struct server_commands *c)
{
    c->stream = NULL;
    c->refused = false;
    memset(c->late, 0, sizeof(c->late));
    for (unsigned i = 0; i < SERVER_COMMANDS_MAX; i++) {
        if (c->sent[i].used)
            fail(c, &c->sent[i], -ENOTCONN);
    }
}
