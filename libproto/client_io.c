/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

#define HEAD sizeof(struct vfio_user_region_io_fds)

/* One request and its reply of at most size bytes; fds that came are closed on failure. */
static int ask(struct client *c, uint32_t index, void *reply, size_t size, int *fds, unsigned *nfds)
{
    const struct vfio_user_region_io_fds request = { .argsz = (uint32_t)size, .index = index };
    struct client_call call = { .command = VFIO_USER_DEVICE_GET_REGION_IO_FDS,
                                .fixed = &request,
                                .fixed_len = sizeof(request),
                                .reply = reply,
                                .reply_max = size,
                                .reply_fds = fds,
                                .reply_nfds = *nfds };
    struct vfio_user_region_io_fds head;
    int err = client_call(c, &call);

    *nfds = 0;
    if (err != 0)
        return err;
    if (call.reply_len >= HEAD && call.reply_len <= size) {
        memcpy(&head, reply, HEAD);
        if (head.index == index && head.flags == 0 &&
            head.argsz == HEAD + (uint64_t)head.count * sizeof(struct vfio_user_io_fd)) {
            *nfds = call.reply_nfds;
            return (int)call.reply_len;
        }
    }
    for (unsigned i = 0; i < call.reply_nfds; i++)
        close(fds[i]);
    return -EPROTO;
}

static bool entry_is_sound(const struct vfio_user_io_fd *entry, unsigned nfds)
{
    return entry->type <= VFIO_USER_IO_FD_IOEVENTFD_SHADOW && entry->fd_index < nfds &&
           (entry->type != VFIO_USER_IO_FD_IOEVENTFD_SHADOW || entry->shadow_fd_index < nfds);
}

/* The whole answer, whose length is known. */
static int fetch(struct client *c, uint32_t index, struct vfio_user_io_fd *entries, unsigned n,
                 int *fds, unsigned *nfds)
{
    size_t size = HEAD + n * sizeof(*entries);
    uint8_t *reply = malloc(size);
    int len = reply == NULL ? -ENOMEM : ask(c, index, reply, size, fds, nfds);
    int err = len < 0 ? len : (size_t)len != size ? -EPROTO : 0;

    if (err == 0)
        memcpy(entries, reply + HEAD, n * sizeof(*entries));
    for (unsigned i = 0; err == 0 && i < n; i++)
        err = entry_is_sound(&entries[i], *nfds) ? 0 : -EPROTO;
    if (err != 0 && len >= 0) {
        for (unsigned i = 0; i < *nfds; i++)
            close(fds[i]);
    }
    free(reply);
    return err;
}

int client_get_region_io_fds(struct client *c, uint32_t index, struct vfio_user_io_fd *entries,
                             unsigned max, unsigned *n, int *fds, unsigned *nfds)
{
    struct vfio_user_region_io_fds head;
    unsigned room = *nfds;
    unsigned none = 0;
    int len = ask(c, index, &head, sizeof(head), NULL, &none);
    int err;

    *n = 0;
    *nfds = 0;
    if (len < 0 || head.count == 0)
        return len < 0 ? len : 0;
    if (head.count > max)
        return -E2BIG;
    err = fetch(c, index, entries, head.count, fds, &room);
    if (err == 0) {
        *n = head.count;
        *nfds = room;
    }
    return err;
}
