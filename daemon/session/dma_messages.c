/* SPDX-License-Identifier: BSD-3-Clause */
#include "dma_messages.h"

#include <errno.h>
#include <string.h>

#include "message.h"

/* Where the data begins, from the end of the header. */
#define WIDE_HEAD   sizeof(struct vfio_user_dma_access)
#define NARROW_HEAD 12u

void dma_messages_init(struct dma_messages *m, struct stream *stream, struct dma *dma,
                       struct log_limit *limit)
{
    *m = (struct dma_messages) {
        .stream = stream, .dma = dma, .limit = limit, .shape = DMA_SHAPE_WIDE
    };
}

static struct dma_message *free_slot(struct dma_messages *m)
{
    for (unsigned i = 0; i < DMA_MESSAGES_MAX; i++) {
        if (!m->sent[i].used)
            return &m->sent[i];
    }
    log_limited(m->limit, LOG_LEVEL_WARNING, "session",
                "%d DMA messages are unanswered: no more are sent", DMA_MESSAGES_MAX);
    return NULL;
}

/* Queues one message: what, of which len bytes of data (NULL for a DMA_READ) go along. */
static int queue(struct dma_messages *m, const struct dma_message *what, const void *data,
                 uint32_t len)
{
    const struct vfio_user_dma_access access = { .address = what->iova, .count = len };
    size_t head = m->shape == DMA_SHAPE_NARROW ? NARROW_HEAD : WIDE_HEAD;
    /* A narrow message is as long as a wide one: QEMU 10 checks for its padded structure. */
    size_t size = VFIO_USER_HEADER_SIZE + WIDE_HEAD + (data != NULL ? len : 0);
    struct dma_message *slot = free_slot(m);
    uint8_t *message = slot != NULL ? stream_reserve(m->stream, size) : NULL;

    if (message == NULL)
        return slot == NULL ? -EBUSY : -ENOMEM;
    *slot = *what;
    slot->used = true;
    slot->id = m->next_id++;
    message_encode_header(message, slot->id, slot->command, (uint32_t)size, VFIO_USER_TYPE_COMMAND,
                          0);
    memset(message + size - sizeof(uint32_t), 0, sizeof(uint32_t));
    memcpy(message + VFIO_USER_HEADER_SIZE, &access, sizeof(access));
    if (data != NULL)
        memcpy(message + VFIO_USER_HEADER_SIZE + head, data, len);
    return stream_commit(m->stream, size, NULL, 0);
}

static int send_transfer(struct dma_messages *m, uint32_t tag, uint64_t iova, const void *data,
                         uint32_t len)
{
    const struct dma_message what = { .command =
                                          data != NULL ? VFIO_USER_DMA_WRITE : VFIO_USER_DMA_READ,
                                      .tag = tag,
                                      .iova = iova,
                                      .len = len };

    return queue(m, &what, data, len);
}

int dma_messages_send(struct dma_messages *m, uint32_t tag, uint64_t iova, const void *data,
                      uint32_t len)
{
    const struct dma_message question = { .asks_shape = true,
                                          .command = VFIO_USER_DMA_WRITE,
                                          .tag = tag,
                                          .iova = iova,
                                          .data = data,
                                          .len = len };

    if (m->shape == DMA_SHAPE_UNKNOWN)
        return queue(m, &question, "", 0);
    return send_transfer(m, tag, iova, data, len);
}

bool dma_messages_quiet(const struct dma_messages *m)
{
    bool quiet = true;

    for (unsigned i = 0; i < DMA_MESSAGES_MAX; i++)
        quiet = quiet && !m->sent[i].used;
    return quiet;
}

static struct dma_message *find(struct dma_messages *m, const struct vfio_user_header *hdr)
{
    for (unsigned i = 0; i < DMA_MESSAGES_MAX; i++) {
        struct dma_message *sent = &m->sent[i];

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
static void take_shape(struct dma_messages *m, const struct dma_message *question, int err,
                       size_t len)
{
    if (err == 0 && len == 0) {
        m->shape = DMA_SHAPE_NARROW;
        log_info("session", "DMA messages have the shape of QEMU 10: a 32-bit count");
    } else if (err == 0 || err == -EINVAL) {
        m->shape = DMA_SHAPE_WIDE;
        err = 0;
    }
    if (err == 0 && dma_awaits(m->dma, question->tag))
        err = send_transfer(m, question->tag, question->iova, question->data, question->len);
    if (err != 0)
        dma_message_done(m->dma, question->tag, err, NULL, 0);
}

void dma_messages_reply(struct dma_messages *m, const struct stream_message *reply)
{
    struct dma_message *sent = find(m, &reply->hdr);
    size_t len = reply->hdr.size - VFIO_USER_HEADER_SIZE;
    struct message_dma_reply view = { 0 };
    struct dma_message done;
    int err = 0;

    if (sent == NULL) {
        log_limited(m->limit, LOG_LEVEL_WARNING, "session",
                    "a reply to %s, id %u, that was not asked for: ignored",
                    message_command_name(reply->hdr.command), reply->hdr.id);
        return;
    }
    done = *sent;
    sent->used = false;
    if ((reply->hdr.flags & VFIO_USER_ERROR) != 0)
        err = peer_errno(reply->hdr.error);
    else if (!done.asks_shape)
        err = message_decode_dma_reply(done.command, m->shape == DMA_SHAPE_NARROW, reply->payload,
                                       len, done.iova, done.len, &view);
    if (err != 0 && !done.asks_shape)
        log_limited(m->limit, LOG_LEVEL_WARNING, "session", "%s of 0x%llx, %u bytes: %s",
                    message_command_name(done.command), (unsigned long long)done.iova, done.len,
                    strerror(-err));
    if (done.asks_shape)
        take_shape(m, &done, err, len);
    else
        dma_message_done(m->dma, done.tag, err, view.data, done.len);
}
