/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's commands to a client, served while it waits for something else. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "client_private.h"
#include "message.h"
#include "peer.h"

int client_flush(struct stream *s, int64_t deadline)
{
    int err;

    while ((err = stream_flush(s)) == -EAGAIN) {
        err = peer_wait(stream_fd(s), POLLOUT, -1, deadline);
        if (err < 0)
            return err;
    }
    return err;
}

/* Answers a command of the server with head, and room for data_len bytes behind it at *data. */
static int reply_to_server(struct stream *s, const struct vfio_user_header *hdr, int error,
                           const struct vfio_user_dma_access *head, uint64_t data_len,
                           uint8_t **data)
{
    size_t len = VFIO_USER_HEADER_SIZE + (error == 0 ? sizeof(*head) + data_len : 0);
    uint8_t *out = stream_reserve(s, len);

    if (out == NULL)
        return -ENOMEM;
    message_encode_header(out, hdr->id, hdr->command, (uint32_t)len,
                          VFIO_USER_TYPE_REPLY | (error != 0 ? VFIO_USER_ERROR : 0),
                          (uint32_t)-error);
    if (error == 0)
        memcpy(out + VFIO_USER_HEADER_SIZE, head, sizeof(*head));
    *data = out + VFIO_USER_HEADER_SIZE + sizeof(*head);
    return (int)len;
}

/* Queues the reply of len bytes just written, if one is wanted; an error in place of len stays one.
 */
static int send_to_server(struct stream *s, const struct vfio_user_header *hdr, int len)
{
    if (len < 0 || (hdr->flags & VFIO_USER_NO_REPLY) != 0)
        return len < 0 ? len : 0;
    return stream_commit(s, (size_t)len, NULL, 0);
}

/* A reply that is a header alone. */
static int send_bare(struct stream *s, const struct vfio_user_header *hdr, int error)
{
    uint8_t *out = stream_reserve(s, VFIO_USER_HEADER_SIZE);

    if (out == NULL)
        return -ENOMEM;
    message_encode_header(out, hdr->id, hdr->command, VFIO_USER_HEADER_SIZE,
                          VFIO_USER_TYPE_REPLY | (error != 0 ? VFIO_USER_ERROR : 0),
                          (uint32_t)-error);
    return send_to_server(s, hdr, VFIO_USER_HEADER_SIZE);
}

static int serve_dma(struct client *c, struct stream *s, const struct stream_message *m)
{
    const struct client_memory *memory = &c->memory;
    size_t left = m->hdr.size - VFIO_USER_HEADER_SIZE;
    struct vfio_user_dma_access access;
    uint8_t *data;
    int len;
    int err = -EINVAL;

    if (left < sizeof(access))
        return send_bare(s, &m->hdr, -EINVAL);
    memcpy(&access, m->payload, sizeof(access));
    left -= sizeof(access);
    if (m->hdr.command == VFIO_USER_DMA_WRITE) {
        if (left == access.count)
            err = memory->write != NULL ? memory->write(memory->opaque, access.address,
                                                        m->payload + sizeof(access), access.count)
                                        : -ENOTSUP;
        len = reply_to_server(s, &m->hdr, err, &access, 0, &data);
    } else if (access.count > CLIENT_MAX_DATA || left != 0) {
        return send_bare(s, &m->hdr, -EINVAL);
    } else {
        len = reply_to_server(s, &m->hdr, 0, &access, access.count, &data);
        if (len < 0)
            return len;
        err = memory->read != NULL
                  ? memory->read(memory->opaque, access.address, data, access.count)
                  : -ENOTSUP;
        if (err != 0) /* written over the reply just begun, which is not committed */
            len = reply_to_server(s, &m->hdr, err, &access, 0, &data);
    }
    return send_to_server(s, &m->hdr, len);
}

static int serve_interrupt(struct client *c, struct stream *s, const struct stream_message *m)
{
    struct vfio_user_vm_interrupt interrupt;

    if (m->hdr.size != VFIO_USER_HEADER_SIZE + sizeof(interrupt))
        return send_bare(s, &m->hdr, -EINVAL);
    if (c->interrupt == NULL)
        return send_bare(s, &m->hdr, -ENOTSUP);
    memcpy(&interrupt, m->payload, sizeof(interrupt));
    c->interrupt(c->interrupt_opaque, interrupt.index, interrupt.subindex);
    return send_bare(s, &m->hdr, 0);
}

/* Serves a command that came on s. */
static int serve_command(struct client *c, struct stream *s, const struct stream_message *m,
                         int64_t deadline)
{
    int err;

    if (c->had_twin && s == c->stream)
        return -EPROTO; /* this is not where they belong */
    if (m->hdr.command == VFIO_USER_DMA_READ || m->hdr.command == VFIO_USER_DMA_WRITE)
        err = serve_dma(c, s, m);
    else if (m->hdr.command == VFIO_USER_VM_INTERRUPT)
        err = serve_interrupt(c, s, m);
    else
        err = send_bare(s, &m->hdr, -EINVAL);
    return err != 0 ? err : client_flush(s, deadline);
}

/* Serves the commands that have come on the twin, on which there are no replies. */
static int serve_twin(struct client *c, int64_t deadline)
{
    struct stream_message m;
    int n = 0;

    while (c->twin != NULL && (n = stream_next(c->twin, &m)) == 1) {
        int err = -EPROTO;

        c->fds_received += m.nfds;
        if ((m.hdr.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_COMMAND)
            err = serve_command(c, c->twin, &m, deadline);
        stream_message_fini(c->twin, &m);
        if (err != 0)
            return err;
    }
    return n;
}

/*
 * Receives on the twin. Its end is no error, also when the server did not read all before it:
 * should the server have ended, the other socket tells.
 */
static int fill_twin(struct client *c)
{
    int n = stream_fill(c->twin);

    if (n == -ENOTCONN || n == -ECONNRESET) {
        stream_free(c->twin);
        c->twin = NULL;
        return 0;
    }
    return n < 0 ? n : 0;
}

/* Receives what comes first, on either socket. Returns 0, 1 when fd is readable, or -errno. */
static int receive(struct client *c, int fd, int64_t deadline)
{
    struct pollfd polls[] = {
        { .fd = stream_fd(c->stream), .events = POLLIN },
        { .fd = fd, .events = POLLIN },
        { .fd = c->twin != NULL ? stream_fd(c->twin) : -1, .events = POLLIN },
    };
    int err = peer_wait_any(polls, 3, deadline);

    if (err != 0)
        return err;
    if (polls[1].revents != 0)
        return 1;
    /* One at a time: what came on the twin is served before the other one's end is seen. */
    err = polls[2].revents != 0 ? fill_twin(c) : stream_fill(c->stream);
    return err < 0 ? err : 0;
}

int client_next_reply(struct client *c, struct stream_message *m, int fd, int64_t deadline)
{
    for (;;) {
        int err = serve_twin(c, deadline);

        if (err < 0)
            return err;
        err = stream_next(c->stream, m);
        if (err < 0)
            return err;
        if (err == 1) {
            c->fds_received += m->nfds;
            if ((m->hdr.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY)
                return 1;
            err = serve_command(c, c->stream, m, deadline);
            stream_message_fini(c->stream, m);
            if (err != 0)
                return err;
            continue;
        }
        err = receive(c, fd, deadline);
        if (err != 0)
            return err == 1 ? 0 : err;
    }
}
