/* SPDX-License-Identifier: BSD-3-Clause */
#include "stream_rest.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "stream_private.h"

_Static_assert(STREAM_REST_FDS == STREAM_CONTROL_MAX_FDS + 1, "all that a stream keeps");

int stream_get_rest(const struct stream *s, struct stream_rest *out)
{
    if (s->out_tail > s->out_head)
        return -EBUSY;
    out->bytes = s->in + s->in_head;
    out->len = s->in_tail - s->in_head;
    out->nfds = s->n_in_fds;
    for (unsigned i = 0; i < s->n_in_fds; i++)
        out->fds[i] = (struct stream_rest_fd) { .owner = (uint32_t)(s->in_fds[i].owner - s->in_pos),
                                                .fd = s->in_fds[i].fd };
    return 0;
}

/* Where the message begins that follows the one at this place; len when that is not complete. */
static size_t next_message(const struct stream_rest *rest, size_t at)
{
    struct vfio_user_header hdr;

    if (rest->len - at < sizeof(hdr))
        return rest->len;
    memcpy(&hdr, rest->bytes + at, sizeof(hdr));
    return hdr.size < sizeof(hdr) || hdr.size > rest->len - at ? rest->len : at + hdr.size;
}

/* Whether each fd belongs to a message, in their order. */
static bool has_owners(const struct stream_rest *rest)
{
    size_t at = 0;

    if (rest->nfds > STREAM_REST_FDS)
        return false;
    for (unsigned i = 0; i < rest->nfds; i++) {
        while (at < rest->fds[i].owner && at < rest->len)
            at = next_message(rest, at);
        if (at != rest->fds[i].owner || at >= rest->len)
            return false;
    }
    return true;
}

int stream_put_rest(struct stream *s, struct stream_rest *rest)
{
    size_t most = s->max_message + STREAM_IN_SIZE; /* one, and what was taken with its end */

    if (s->in_tail > 0 || s->in_pos > 0 || s->n_in_fds > 0)
        return -EBUSY;
    if (rest->len > most || !has_owners(rest))
        return -EINVAL;
    if (rest->len > s->in_size) {
        uint8_t *bigger = realloc(s->in, rest->len);

        if (bigger == NULL)
            return -ENOMEM;
        s->in = bigger;
        s->in_size = rest->len;
    }
    if (rest->len > 0)
        memcpy(s->in, rest->bytes, rest->len);
    s->in_tail = rest->len;
    for (unsigned i = 0; i < rest->nfds; i++) {
        s->in_fds[i] = (struct stream_in_fd) { .owner = rest->fds[i].owner, .fd = rest->fds[i].fd };
        rest->fds[i].fd = -1;
    }
    s->n_in_fds = rest->nfds;
    return 0;
}
