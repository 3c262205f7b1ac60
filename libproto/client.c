/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client_private.h"
#include "message.h"
#include "peer.h"

#define TIMEOUT_MS      5000
#define REGION_INFO_MAX 65536u

int client_new(int fd, struct client **out)
{
    struct client *c = calloc(1, sizeof(*c));
    int err;

    if (c == NULL) {
        close(fd);
        return -ENOMEM;
    }
    err = stream_new(fd, CLIENT_MAX_DATA + MESSAGE_OVERHEAD, &c->stream);
    if (err != 0) {
        free(c);
        return err;
    }
    c->timeout_ms = TIMEOUT_MS;
    *out = c;
    return 0;
}

int client_connect(const char *path, struct client **out)
{
    int fd = peer_connect(path, 0);

    return fd < 0 ? fd : client_new(fd, out);
}

void client_free(struct client *c)
{
    if (c == NULL)
        return;
    stream_free(c->stream);
    stream_free(c->twin);
    free(c);
}

struct stream *client_stream(struct client *c)
{
    return c->stream;
}

struct stream *client_twin(struct client *c)
{
    return c->twin;
}

void client_set_memory(struct client *c, const struct client_memory *memory)
{
    c->memory = *memory;
}

void client_set_interrupt(struct client *c, client_interrupt fn, void *opaque)
{
    c->interrupt = fn;
    c->interrupt_opaque = opaque;
}

void client_count_fds(const struct client *c, uint64_t *sent, uint64_t *received)
{
    *sent = c->fds_sent;
    *received = c->fds_received;
}

void client_set_timeout(struct client *c, int ms)
{
    c->timeout_ms = ms;
}

int client_send(struct client *c, const struct client_call *call)
{
    size_t len = VFIO_USER_HEADER_SIZE + call->fixed_len + call->data_len;
    uint8_t *out = stream_reserve(c->stream, len);
    uint16_t id = c->next_id++;
    int err;

    if (out == NULL)
        return -ENOMEM;
    message_encode_header(out, id, call->command, (uint32_t)len, call->flags, 0);
    if (call->fixed_len > 0)
        memcpy(out + VFIO_USER_HEADER_SIZE, call->fixed, call->fixed_len);
    if (call->data_len > 0)
        memcpy(out + VFIO_USER_HEADER_SIZE + call->fixed_len, call->data, call->data_len);
    err = stream_commit(c->stream, len, call->fds, call->nfds);
    c->fds_sent += call->nfds;
    if (err == 0)
        err = client_flush(c->stream, peer_deadline(c->timeout_ms));
    return err != 0 ? err : id;
}

static int take_reply(struct stream_message *m, uint16_t id, struct client_call *call)
{
    size_t len = m->hdr.size - VFIO_USER_HEADER_SIZE;
    unsigned room = call->reply_nfds;

    call->reply_len = 0;
    call->reply_nfds = 0;
    if (m->hdr.id != id || m->hdr.command != call->command)
        return -EPROTO;
    if ((m->hdr.flags & VFIO_USER_ERROR) != 0)
        return len == 0 && m->hdr.error != 0 && m->hdr.error < 4096 ? -(int)m->hdr.error : -EPROTO;
    call->reply_len = len;
    if (len > 0 && call->reply_max > 0)
        memcpy(call->reply, m->payload, len < call->reply_max ? len : call->reply_max);
    while (call->reply_nfds < room && call->reply_nfds < m->nfds) {
        call->reply_fds[call->reply_nfds] = stream_message_take_fd(m, call->reply_nfds);
        call->reply_nfds++;
    }
    return 0;
}

int client_wait(struct client *c, uint16_t id, struct client_call *call)
{
    struct stream_message m;
    int err = client_next_reply(c, &m, -1, peer_deadline(c->timeout_ms));

    if (err < 0)
        return err;
    err = take_reply(&m, id, call);
    stream_message_fini(c->stream, &m);
    return err;
}

int client_call(struct client *c, struct client_call *call)
{
    int id = client_send(c, call);

    if (id < 0)
        return id;
    return (call->flags & VFIO_USER_NO_REPLY) != 0 ? 0 : client_wait(c, (uint16_t)id, call);
}

int client_serve(struct client *c, int fd, int ms)
{
    struct stream_message m;
    int err = client_next_reply(c, &m, fd, peer_deadline(ms));

    if (err == 1) { /* a reply that nobody waits for */
        stream_message_fini(c->stream, &m);
        return -EPROTO;
    }
    return err;
}

/* A call whose reply must have exactly len bytes. */
static int call_exact(struct client *c, struct client_call *call, size_t len)
{
    int err = client_call(c, call);

    return err != 0 ? err : call->reply_len == len ? 0 : -EPROTO;
}

static int check_version(const struct version_caps *ours, const struct version_caps *theirs)
{
    if (theirs->major != ours->major || theirs->minor > ours->minor)
        return -EPROTO;
    if (theirs->twin_socket && (!ours->twin_socket || theirs->twin_socket_fd_index < 0))
        return -EPROTO;
    return theirs->vm_interrupt && !ours->vm_interrupt ? -EPROTO : 0;
}

static int read_version(const struct client_call *call, const struct version_caps *ours,
                        struct version_caps *theirs)
{
    const uint8_t *reply = call->reply;
    struct vfio_user_version version;
    const char *field;
    size_t json_len;
    int err;

    if (call->reply_len < sizeof(version) || call->reply_len > call->reply_max)
        return -EPROTO;
    memcpy(&version, reply, sizeof(version));
    json_len = call->reply_len - sizeof(version);
    if (json_len > 0 && reply[call->reply_len - 1] != '\0')
        return -EPROTO;
    err = version_parse(version.major, version.minor,
                        json_len > 0 ? (const char *)reply + sizeof(version) : NULL,
                        json_len > 0 ? json_len - 1 : 0, theirs, &field);
    return err != 0 ? -EPROTO : check_version(ours, theirs);
}

/* Takes the twin socket out of the fds that came with the reply. */
static int take_twin(struct client *c, const struct version_caps *theirs, int *fds, unsigned nfds)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    unsigned i = (unsigned)theirs->twin_socket_fd_index;
    int fd;
    int err;

    if (i >= nfds || getpeername(fds[i], (struct sockaddr *)&peer, &len) != 0)
        return -EPROTO;
    fd = fds[i];
    fds[i] = -1;
    err = stream_new(fd, CLIENT_MAX_DATA + MESSAGE_OVERHEAD, &c->twin);
    c->had_twin = err == 0;
    return err;
}

int client_negotiate(struct client *c, const struct version_caps *ours, struct version_caps *theirs)
{
    const struct vfio_user_version version = { .major = ours->major, .minor = ours->minor };
    char *json = version_format(ours);
    int fds[STREAM_MAX_FDS];
    uint8_t reply[8192];
    struct client_call call = { .command = VFIO_USER_VERSION,
                                .fixed = &version,
                                .fixed_len = sizeof(version),
                                .data = json,
                                .reply = reply,
                                .reply_max = sizeof(reply),
                                .reply_fds = fds,
                                .reply_nfds = STREAM_MAX_FDS };
    int err = -ENOMEM;

    if (json == NULL)
        return err;
    call.data_len = strlen(json) + 1;
    err = client_call(c, &call);
    free(json);
    if (err != 0)
        return err;
    err = read_version(&call, ours, theirs);
    if (err == 0 && theirs->twin_socket)
        err = take_twin(c, theirs, fds, call.reply_nfds);
    for (unsigned i = 0; i < call.reply_nfds; i++)
        peer_close_fd(fds[i]);
    return err;
}

int client_get_info(struct client *c, struct vfio_user_device_info *out)
{
    struct vfio_user_device_info info = { .argsz = sizeof(info) };
    struct client_call call = { .command = VFIO_USER_DEVICE_GET_INFO,
                                .fixed = &info,
                                .fixed_len = sizeof(info),
                                .reply = out,
                                .reply_max = sizeof(*out) };

    return call_exact(c, &call, sizeof(*out));
}

int client_get_region_info(struct client *c, uint32_t index, struct vfio_region_info **out, int *fd)
{
    size_t size = sizeof(struct vfio_region_info);

    for (;;) {
        struct vfio_region_info ask = { .argsz = (uint32_t)size, .index = index };
        struct vfio_region_info *info = calloc(1, size);
        struct client_call call = { .command = VFIO_USER_DEVICE_GET_REGION_INFO,
                                    .fixed = &ask,
                                    .fixed_len = sizeof(ask),
                                    .reply = info,
                                    .reply_max = size,
                                    .reply_fds = fd,
                                    .reply_nfds = 1 };
        int err = -ENOMEM;

        *fd = -1;
        if (info != NULL)
            err = client_call(c, &call);
        if (err == 0 && (call.reply_len < sizeof(ask) || call.reply_len > size ||
                         info->argsz > REGION_INFO_MAX))
            err = -EPROTO;
        if (err == 0 && info->argsz <= size) {
            *out = info;
            return 0;
        }
        if (err == 0)
            size = info->argsz;
        if (*fd >= 0)
            close(*fd);
        free(info);
        if (err != 0)
            return err;
    }
}

int client_get_irq_info(struct client *c, uint32_t index, struct vfio_irq_info *out)
{
    struct vfio_irq_info ask = { .argsz = sizeof(ask), .index = index };
    struct client_call call = { .command = VFIO_USER_DEVICE_GET_IRQ_INFO,
                                .fixed = &ask,
                                .fixed_len = sizeof(ask),
                                .reply = out,
                                .reply_max = sizeof(*out) };

    return call_exact(c, &call, sizeof(*out));
}

int client_set_irqs(struct client *c, uint32_t flags, uint32_t index, uint32_t start,
                    uint32_t count, const uint8_t *bools, const int *fds, unsigned nfds)
{
    size_t data_len = bools != NULL ? count : 0;
    struct vfio_irq_set set = { .argsz = (uint32_t)(sizeof(set) + data_len),
                                .flags = flags,
                                .index = index,
                                .start = start,
                                .count = count };
    struct client_call call = { .command = VFIO_USER_DEVICE_SET_IRQS,
                                .fixed = &set,
                                .fixed_len = sizeof(set),
                                .data = bools,
                                .data_len = data_len,
                                .fds = fds,
                                .nfds = nfds };

    return call_exact(c, &call, 0);
}

int client_region_read(struct client *c, uint32_t region, uint64_t offset, void *data,
                       uint32_t count)
{
    struct vfio_user_region_access access = { .offset = offset, .region = region, .count = count };
    struct client_call call = { .command = VFIO_USER_REGION_READ,
                                .fixed = &access,
                                .fixed_len = sizeof(access),
                                .reply_max = sizeof(access) + count };
    int err = -ENOMEM;

    call.reply = malloc(call.reply_max);
    if (call.reply != NULL)
        err = call_exact(c, &call, call.reply_max);
    if (err == 0 && memcmp(call.reply, &access, sizeof(access)) != 0)
        err = -EPROTO;
    if (err == 0)
        memcpy(data, (uint8_t *)call.reply + sizeof(access), count);
    free(call.reply);
    return err;
}

static struct client_call write_call(const struct vfio_user_region_access *access, const void *data)
{
    return (struct client_call) { .command = VFIO_USER_REGION_WRITE,
                                  .fixed = access,
                                  .fixed_len = sizeof(*access),
                                  .data = data,
                                  .data_len = access->count };
}

int client_region_write(struct client *c, uint32_t region, uint64_t offset, const void *data,
                        uint32_t count)
{
    struct vfio_user_region_access access = { .offset = offset, .region = region, .count = count };
    struct vfio_user_region_access reply;
    struct client_call call = write_call(&access, data);
    int err;

    call.reply = &reply;
    call.reply_max = sizeof(reply);
    err = call_exact(c, &call, sizeof(reply));
    return err != 0 ? err : memcmp(&access, &reply, sizeof(reply)) == 0 ? 0 : -EPROTO;
}

int client_region_post(struct client *c, uint32_t region, uint64_t offset, const void *data,
                       uint32_t count)
{
    struct vfio_user_region_access access = { .offset = offset, .region = region, .count = count };
    struct client_call call = write_call(&access, data);

    call.flags = VFIO_USER_NO_REPLY;
    return client_call(c, &call);
}

int client_write_multi(struct client *c, const struct vfio_user_write_single *writes,
                       uint64_t count, uint64_t *done)
{
    struct client_call call = { .command = VFIO_USER_REGION_WRITE_MULTI,
                                .fixed = &count,
                                .fixed_len = sizeof(count),
                                .data = writes,
                                .data_len = count * sizeof(*writes),
                                .reply = done,
                                .reply_max = sizeof(*done) };

    return call_exact(c, &call, sizeof(*done));
}

int client_dma_map(struct client *c, uint64_t address, uint64_t size, uint32_t flags, int fd,
                   uint64_t offset)
{
    struct vfio_user_dma_map map = {
        .argsz = sizeof(map), .flags = flags, .offset = offset, .address = address, .size = size
    };
    struct client_call call = { .command = VFIO_USER_DMA_MAP,
                                .fixed = &map,
                                .fixed_len = sizeof(map),
                                .fds = &fd,
                                .nfds = fd >= 0 ? 1 : 0 };

    return call_exact(c, &call, 0);
}

int client_dma_unmap(struct client *c, uint64_t address, uint64_t size, uint32_t flags)
{
    struct vfio_user_dma_unmap unmap = {
        .argsz = sizeof(unmap), .flags = flags, .address = address, .size = size
    };
    struct vfio_user_dma_unmap reply;
    struct client_call call = { .command = VFIO_USER_DMA_UNMAP,
                                .fixed = &unmap,
                                .fixed_len = sizeof(unmap),
                                .reply = &reply,
                                .reply_max = sizeof(reply) };
    int err = call_exact(c, &call, sizeof(reply));

    return err != 0 ? err : memcmp(&unmap, &reply, sizeof(reply)) == 0 ? 0 : -EPROTO;
}

int client_reset(struct client *c)
{
    struct client_call call = { .command = VFIO_USER_DEVICE_RESET };

    return call_exact(c, &call, 0);
}
