/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "stream_keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stream_private.h"

_Static_assert(sizeof(struct stream_call) == sizeof(struct mmsghdr) &&
                   offsetof(struct stream_call, len) == offsetof(struct mmsghdr, msg_len),
               "the kernel's structure");

/* The rest of a process's memory must see its stores in their order; that is the compiler's part.
 */
static void store_behind(uint32_t *to, uint32_t value)
{
    __atomic_store_n(to, value, __ATOMIC_RELEASE);
}

struct stream_note *stream_next_note(struct stream_notes *notes, uint64_t at, uint64_t base)
{
    uint32_t next = notes->current ^ 1u;
    struct stream_note *note = &notes->notes[next];

    note->at = at;
    note->base = base;
    note->kept = 0;
    note->call = (struct stream_call) { .len = 0 };
    store_behind(&notes->current, next);
    return note;
}

/*
 * Fds on their way
 */

void stream_forget(struct stream *s, uint32_t serial)
{
    if (serial != 0)
        s->keeper.forget(s->keeper.opaque, serial);
}

void stream_keep_received(struct stream *s, unsigned n, const char *role, uint64_t at)
{
    struct stream_fd_table *table = s->fd_table;

    for (; table != NULL && n < s->n_in_fds; n++) {
        struct stream_in_fd *in = &s->in_fds[n];

        if (in->fd >= 0)
            in->serial = s->keeper.store(s->keeper.opaque, in->fd, role);
        table->in[table->n_in % STREAM_KEPT_IN_FDS] =
            (struct stream_kept_in) { .at = at, .owner = in->owner, .serial = in->serial };
        __atomic_store_n(&table->n_in, table->n_in + 1, __ATOMIC_RELEASE);
    }
}

void stream_unkeep_received(struct stream *s, unsigned n)
{
    __atomic_store_n(&s->fd_table->n_in, s->fd_table->n_in - n, __ATOMIC_RELEASE);
}

void stream_keep_queued(struct stream *s, struct stream_out_fds *with)
{
    struct stream_fd_table *table = s->fd_table;
    struct stream_kept_out *kept;

    memset(with->serials, 0, sizeof(with->serials));
    if (table == NULL)
        return;
    kept = &table->out[table->n_out % STREAM_OUT_FDS_MAX];
    for (unsigned i = 0; i < with->nfds; i++)
        with->serials[i] = s->keeper.store(s->keeper.opaque, with->fds[i], "out");
    kept->owner = with->owner;
    kept->nfds = with->nfds;
    memcpy(kept->serials, with->serials, sizeof(kept->serials));
    __atomic_store_n(&table->n_out, table->n_out + 1, __ATOMIC_RELEASE);
}

/*
 * From our own memory to one that outlives us
 */

int stream_keep(struct stream *s, const struct stream_memory *memory,
                const struct stream_keeper *keeper)
{
    size_t in = s->in_tail - s->in_head;
    size_t out = s->out_tail - s->out_head;

    if (in > memory->in_size / 2 || out > memory->out_size / 2)
        return -ENOSPC;
    memcpy(memory->in, s->in + s->in_head, in);
    memcpy(memory->out, s->out + s->out_head, out);
    free(s->in);
    free(s->out);
    s->in = memory->in;
    s->in_size = memory->in_size;
    s->in_head = 0;
    s->in_tail = in;
    s->out = memory->out;
    s->out_size = memory->out_size;
    s->out_head = 0;
    s->out_tail = out;
    s->journal = memory->journal;
    stream_next_note(&s->journal->received, s->in_pos + in, s->in_pos);
    stream_next_note(&s->journal->sent, s->out_pos, s->out_pos);
    s->fd_table = memory->fds;
    s->fd_table->n_in = s->fd_table->n_out = 0;
    s->keeper = *keeper;
    stream_keep_received(s, 0, "in", s->in_pos);
    for (unsigned i = 0; i < s->n_out_fds; i++)
        stream_keep_queued(s, &s->out_fds[i]);
    return 0;
}

void stream_get_mark(const struct stream *s, struct stream_mark *out)
{
    out->in_head = s->in_pos;
    out->out_tail = s->out_pos + (s->out_tail - s->out_head);
    out->out_base = s->out_pos - s->out_head;
    out->out_next = s->out_pos + s->out_cut;
}

/*
 * What a process has left
 */

static const struct stream_note *current_note(const struct stream_notes *notes)
{
    return &notes->notes[notes->current & 1u];
}

static uint32_t size_at(const uint8_t *bytes, size_t at)
{
    struct vfio_user_header hdr;

    memcpy(&hdr, bytes + at, sizeof(hdr));
    return hdr.size;
}

/* Where the message begins that the last byte belongs to, counted from the first. */
static size_t last_message(const uint8_t *bytes, size_t len)
{
    size_t at = 0;

    for (;;) {
        uint32_t size = len - at < VFIO_USER_HEADER_SIZE ? 0 : size_at(bytes, at);

        if (size < VFIO_USER_HEADER_SIZE || size >= len - at)
            return at;
        at += size;
    }
}

/*
 * Fds came that nobody had looked at before, and the process died before they were kept: they are
 * lost, and their message is to know.
 */
static void add_lost(const struct stream_note *note, struct stream_kept *out)
{
    if (note->call.len == 0 || note->call.message.msg_controllen == 0 || note->kept != 0 ||
        out->in_len == 0 || out->n_in_fds == STREAM_REST_FDS)
        return;
    out->in_fds[out->n_in_fds].owner = (uint32_t)last_message(out->in, out->in_len);
    out->in_fds[out->n_in_fds++].serial = 0;
}

/* Whether they were looked at before the last call, and did not come with what that received. */
static bool came_not(const struct stream_note *note, const struct stream_kept_in *in)
{
    return in->at == note->at && note->kept == 0 &&
           (note->call.message.msg_flags & MSG_CTRUNC) == 0;
}

static int read_in(const struct stream_memory *memory, const struct stream_mark *mark,
                   struct stream_kept *out)
{
    const struct stream_note *note = current_note(&memory->journal->received);
    uint64_t tail = note->at + note->call.len;
    const struct stream_fd_table *table = memory->fds;
    uint64_t first = table->n_in > STREAM_KEPT_IN_FDS ? table->n_in - STREAM_KEPT_IN_FDS : 0;

    if (mark->in_head < note->base || mark->in_head > tail || tail - note->base > memory->in_size)
        return -EINVAL;
    out->in = memory->in + (mark->in_head - note->base);
    out->in_len = tail - mark->in_head;
    for (uint64_t n = first; n < table->n_in; n++) {
        const struct stream_kept_in *in = &table->in[n % STREAM_KEPT_IN_FDS];

        if (in->owner < mark->in_head || in->owner >= tail || in->at >= tail || came_not(note, in))
            continue;
        if (out->n_in_fds == STREAM_REST_FDS)
            return -EINVAL;
        out->in_fds[out->n_in_fds].owner = (uint32_t)(in->owner - mark->in_head);
        out->in_fds[out->n_in_fds++].serial = in->serial;
    }
    add_lost(note, out);
    return 0;
}

/* How many bytes of the message that has been sent in part are left. */
static int find_cut(const struct stream_memory *memory, const struct stream_mark *mark,
                    uint64_t sent, size_t *cut)
{
    uint64_t next = mark->out_next;

    *cut = 0;
    if (sent == mark->out_tail) /* there the next step may have begun to write its messages */
        return 0;
    while (next < sent) {
        uint32_t size;

        if (mark->out_tail - next < VFIO_USER_HEADER_SIZE)
            return -EINVAL;
        size = size_at(memory->out, next - mark->out_base);
        if (size < VFIO_USER_HEADER_SIZE || size > mark->out_tail - next)
            return -EINVAL;
        next += size;
    }
    *cut = (size_t)(next - sent);
    return next <= mark->out_tail ? 0 : -EINVAL;
}

static int read_out(const struct stream_memory *memory, const struct stream_mark *mark,
                    struct stream_kept *out)
{
    const struct stream_note *note = current_note(&memory->journal->sent);
    uint64_t sent = note->at + note->call.len;
    const struct stream_fd_table *table = memory->fds;
    uint64_t first = table->n_out > STREAM_OUT_FDS_MAX ? table->n_out - STREAM_OUT_FDS_MAX : 0;

    if (sent < mark->out_base || sent > mark->out_tail ||
        mark->out_tail - mark->out_base > memory->out_size || mark->out_next < mark->out_base ||
        mark->out_next > mark->out_tail)
        return -EINVAL;
    out->out = memory->out + (sent - mark->out_base);
    out->out_len = mark->out_tail - sent;
    for (uint64_t n = first; n < table->n_out; n++) {
        const struct stream_kept_out *kept = &table->out[n % STREAM_OUT_FDS_MAX];

        if (kept->owner < sent || kept->owner >= mark->out_tail)
            continue;
        if (kept->nfds > STREAM_MAX_FDS)
            return -EINVAL;
        out->out_fds[out->n_out_fds].owner = (uint32_t)(kept->owner - sent);
        out->out_fds[out->n_out_fds].nfds = kept->nfds;
        memcpy(out->out_fds[out->n_out_fds++].serials, kept->serials, sizeof(kept->serials));
    }
    return find_cut(memory, mark, sent, &out->out_cut);
}

int stream_read_kept(const struct stream_memory *memory, const struct stream_mark *mark,
                     struct stream_kept *out)
{
    int err;

    out->n_in_fds = 0;
    out->n_out_fds = 0;
    err = read_in(memory, mark, out);
    return err == 0 ? read_out(memory, mark, out) : err;
}

int stream_put_unsent(struct stream *s, const uint8_t *bytes, size_t len, size_t cut)
{
    uint8_t *room;

    if (s->out_tail > s->out_head)
        return -EBUSY;
    for (size_t at = cut; at < len;) {
        uint32_t size = len - at < VFIO_USER_HEADER_SIZE ? 0 : size_at(bytes, at);

        if (size < VFIO_USER_HEADER_SIZE || size > len - at)
            return -EINVAL;
        at += size;
    }
    if (cut > len)
        return -EINVAL;
    room = len > 0 ? stream_reserve(s, len) : s->out;
    if (room == NULL)
        return -ENOMEM;
    memcpy(room, bytes, len);
    s->out_tail += len;
    s->out_cut = cut;
    return 0;
}

int stream_put_unsent_fds(struct stream *s, size_t owner, const int *fds, unsigned nfds)
{
    struct stream_out_fds *with = &s->out_fds[s->n_out_fds];

    if (s->n_out_fds == STREAM_OUT_FDS_MAX || nfds > STREAM_MAX_FDS ||
        owner >= s->out_tail - s->out_head)
        return -EINVAL;
    with->owner = s->out_pos + owner;
    for (with->nfds = 0; with->nfds < nfds; with->nfds++)
        with->fds[with->nfds] = fds[with->nfds];
    stream_keep_queued(s, with);
    s->n_out_fds++;
    return 0;
}
