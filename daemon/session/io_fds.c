/* SPDX-License-Identifier: BSD-3-Clause */
#include "io_fds.h"

#include <errno.h>
#include <string.h>

/* The index of fd among those to be sent, to which it is added when it is not there. */
static uint32_t index_of(int fd, int *fds, unsigned *n)
{
    unsigned i = 0;

    while (i < *n && fds[i] != fd)
        i++;
    if (i == *n)
        fds[(*n)++] = fd;
    return i;
}

unsigned io_fds_write(const struct device_io_fd *list, unsigned n, struct vfio_user_io_fd *entries,
                      int fds[2 * DEVICE_IO_FDS_MAX])
{
    unsigned nfds = 0;

    for (unsigned i = 0; i < n; i++) {
        entries[i] = (struct vfio_user_io_fd) { .offset = list[i].offset,
                                                .size = list[i].size,
                                                .fd_index = index_of(list[i].fd, fds, &nfds),
                                                .type = list[i].type };
        if (list[i].type == VFIO_USER_IO_FD_IOEVENTFD_SHADOW) {
            entries[i].shadow_fd_index = index_of(list[i].shadow_fd, fds, &nfds);
            entries[i].shadow_offset = list[i].shadow_offset;
        }
    }
    return nfds;
}

/* One that cannot take all fds in a message is told of none. */
static void say_too_few(struct command_context *c, unsigned nfds)
{
    if (c->io_fds_said)
        return;
    c->io_fds_said = true;
    log_limited(c->listener_limit, LOG_LEVEL_INFO, "session",
                "the doorbell takes %u file descriptors in a message, and the client (max_msg_fds) "
                "takes %u: it rings by message",
                nfds, c->max_fds);
}

int io_fds_handle(struct command_context *c, const struct message_request *request,
                  struct stream_message *m, struct reply *reply)
{
    struct vfio_user_region_io_fds head = { .index = request->query.index };
    struct device_io_fd list[DEVICE_IO_FDS_MAX];
    struct vfio_user_io_fd entries[DEVICE_IO_FDS_MAX];
    int fds[2 * DEVICE_IO_FDS_MAX];
    unsigned n;
    unsigned nfds;
    uint8_t *payload;
    int err = device_io_fds(c->dev, head.index, list, &n);

    (void)m;
    if (err != 0)
        return err;
    nfds = io_fds_write(list, n, entries, fds);
    if (nfds > c->max_fds) {
        say_too_few(c, nfds);
        n = nfds = 0;
    }
    head.count = n;
    head.argsz = (uint32_t)(sizeof(head) + n * sizeof(entries[0]));
    if (request->query.argsz < head.argsz) /* to be asked again with more room */
        n = nfds = 0;
    payload = reply_payload(reply, sizeof(head) + n * sizeof(entries[0]));
    if (payload == NULL)
        return -ENOMEM;
    memcpy(payload, &head, sizeof(head));
    memcpy(payload + sizeof(head), entries, n * sizeof(entries[0]));
    memcpy(reply->fds, fds, nfds * sizeof(fds[0]));
    reply->nfds = nfds;
    return 0;
}
