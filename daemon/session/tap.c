/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap.h"

#include <stdio.h>
#include <string.h>

#include "vfio_user.h"

#define COMMENT_MAX 320

void tap_init(struct tap *t, struct stream *stream, const struct client_info *client,
              uint32_t connection)
{
    *t = (struct tap) { .stream = stream, .client = client, .connection = connection };
}

static int describe_peer(const struct tap *t, char *text, size_t size)
{
    const struct client_info *client = t->client;
    int len = snprintf(text, size, "connection %u, client pid %d", t->connection, (int)client->pid);

    if (client->uid_known)
        len += snprintf(text + len, size - (size_t)len, ", uid %u", client->uid);
    return len;
}

/* What holds from now on, as the session understands it. */
static int describe_agreement(const struct tap *t, char *text, size_t size)
{
    const struct version_caps *caps = &t->client->caps;
    int len = describe_peer(t, text, size);

    len += snprintf(text + len, size - (size_t)len,
                    ", protocol %u.%u, profile %s, max_msg_fds %llu, max_data_xfer_size %llu, "
                    "max_dma_maps %llu, write_multiple %s",
                    caps->major, caps->minor, client_profile_name(t->client->profile),
                    (unsigned long long)caps->max_msg_fds,
                    (unsigned long long)caps->max_data_xfer_size,
                    (unsigned long long)caps->max_dma_maps, caps->write_multiple ? "yes" : "no");
    if (caps->twin_socket)
        len += snprintf(text + len, size - (size_t)len, ", twin socket");
    if (caps->vm_interrupt)
        len += snprintf(text + len, size - (size_t)len, ", interrupts by message");
    return len;
}

/* Returns text, or NULL when there is nothing to say. */
static const char *comment(const struct tap *t, const struct stream_tapped *m, char *text,
                           size_t size)
{
    struct vfio_user_header hdr = { 0 };
    int len = 0;

    if (m->len >= sizeof(hdr))
        memcpy(&hdr, m->wire, sizeof(hdr));
    if (t->twin)
        len = snprintf(text, size, "twin socket");
    else if (hdr.command == VFIO_USER_VERSION)
        len = m->sent && (hdr.flags & VFIO_USER_ERROR) == 0 ? describe_agreement(t, text, size)
                                                            : describe_peer(t, text, size);
    if (m->nfds > 0)
        len += snprintf(text + len, size - (size_t)len, "%s%u fd%s", len > 0 ? ", " : "", m->nfds,
                        m->nfds > 1 ? "s" : "");
    return len > 0 ? text : NULL;
}

static void on_message(void *opaque, const struct stream_tapped *m)
{
    const struct tap *t = opaque;
    char text[COMMENT_MAX];
    const struct capture_message message = {
        .connection = t->connection,
        .sent = m->sent,
        .together = m->together,
        .wire = m->wire,
        .len = m->len,
        .comment = comment(t, m, text, sizeof(text)),
    };

    capture_message(t->capture, &message);
}

void tap_set(struct tap *t, struct capture *capture)
{
    t->capture = capture;
    stream_set_tap(t->stream, capture != NULL ? on_message : NULL, t);
}
