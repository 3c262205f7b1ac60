/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "varlink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

#define CHUNK 4096u

/* Bytes [head, tail) of a growing buffer. */
struct bytes {
    char *data;
    size_t size;
    size_t head;
    size_t tail;
};

/* A received fd, and where in the stream the last byte stood that was read with it. */
struct in_fd {
    uint64_t at;
    int fd;
};

struct varlink {
    int fd;
    struct bytes in;
    struct bytes out;
    size_t searched; /* bytes of in, from its head, that are known to hold no NUL */
    uint64_t in_pos; /* position in the stream of in's head */

    bool allows_fds;
    struct in_fd in_fds[VARLINK_MAX_FDS];
    unsigned n_in_fds;
    int message_fds[VARLINK_MAX_FDS]; /* of the message taken last; -1: taken */
    unsigned n_message_fds;

    int out_fds[VARLINK_MAX_FDS];
    unsigned n_out_fds;
    size_t out_fds_after; /* bytes from out's head to the message that they go with */
    size_t out_fds_len;   /* its bytes: none of another goes along */
};

int varlink_new(int fd, struct varlink **out)
{
    struct varlink *v = calloc(1, sizeof(*v));
    int flags = fcntl(fd, F_GETFL);

    if (v == NULL || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        int err = v == NULL ? -ENOMEM : -errno;

        free(v);
        close(fd);
        return err;
    }
    v->fd = fd;
    *out = v;
    return 0;
}

int varlink_connect(const char *path, struct varlink **out)
{
    int fd = peer_connect(path, 0);

    return fd < 0 ? fd : varlink_new(fd, out);
}

static void close_all(const int *fds, unsigned nfds)
{
    for (unsigned i = 0; i < nfds; i++)
        peer_close_fd(fds[i]);
}

void varlink_free(struct varlink *v)
{
    if (v != NULL)
        close(varlink_take_fd(v));
}

int varlink_fd(const struct varlink *v)
{
    return v->fd;
}

size_t varlink_unread(const struct varlink *v)
{
    return v->in.tail - v->in.head;
}

int varlink_take_fd(struct varlink *v)
{
    int fd = v->fd;

    for (unsigned i = 0; i < v->n_in_fds; i++)
        peer_close_fd(v->in_fds[i].fd);
    close_all(v->message_fds, v->n_message_fds);
    close_all(v->out_fds, v->n_out_fds);
    free(v->in.data);
    free(v->out.data);
    free(v);
    return fd;
}

/* Room for len more bytes at the end of b. */
static int make_room(struct bytes *b, size_t len)
{
    size_t have = b->tail - b->head;

    if (b->head > 0) {
        memmove(b->data, b->data + b->head, have);
        b->head = 0;
        b->tail = have;
    }
    if (len > b->size - b->tail) {
        size_t size = b->size > 0 ? b->size : CHUNK;
        char *bigger;

        while (len > size - b->tail)
            size *= 2;
        bigger = realloc(b->data, size);
        if (bigger == NULL)
            return -ENOMEM;
        b->data = bigger;
        b->size = size;
    }
    return 0;
}

/*
 * Receiving
 */

void varlink_allow_fds(struct varlink *v)
{
    v->allows_fds = true;
}

/* Keeps the fds of one recvmsg; false when there are too many. */
static bool keep_fds(struct varlink *v, struct msghdr *msg, uint64_t at)
{
    bool all = (msg->msg_flags & MSG_CTRUNC) == 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (v->n_in_fds < VARLINK_MAX_FDS) {
                v->in_fds[v->n_in_fds++] = (struct in_fd) { .at = at, .fd = fd };
            } else {
                peer_close_fd(fd);
                all = false;
            }
        }
    }
    return all;
}

/*
 * Reads at most size bytes, and what fds come with them. The kernel ends a recvmsg behind the send
 * that carried fds, so they belong to the message that the last byte belongs to.
 */
static ssize_t receive(struct varlink *v, void *data, size_t size)
{
    union {
        struct cmsghdr align;
        uint8_t space[CMSG_SPACE(VARLINK_MAX_FDS * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = data, .iov_len = size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    if (!v->allows_fds)
        return recv(v->fd, data, size, MSG_DONTWAIT);
    msg.msg_control = control.space;
    msg.msg_controllen = sizeof(control.space);
    n = recvmsg(v->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n > 0 && !keep_fds(v, &msg, v->in_pos + (v->in.tail - v->in.head) + (uint64_t)n - 1)) {
        errno = ETOOMANYREFS;
        return -1;
    }
    return n;
}

int varlink_fill(struct varlink *v)
{
    size_t have = v->in.tail - v->in.head;
    size_t room;
    ssize_t n;

    if (have > VARLINK_MAX_MESSAGE) /* room for a message of the limit and its NUL, no more */
        return -EMSGSIZE;
    if (make_room(&v->in, CHUNK) != 0)
        return -ENOMEM;
    room = v->in.size - v->in.tail;
    if (room > VARLINK_MAX_MESSAGE + 1 - have)
        room = VARLINK_MAX_MESSAGE + 1 - have;
    if (room > VARLINK_MAX_READ)
        room = VARLINK_MAX_READ;
    n = receive(v, v->in.data + v->in.tail, room);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ENOTCONN;
    v->in.tail += (size_t)n;
    return (int)n;
}

/* The NUL that ends the first message, NULL when it is not complete. */
static const char *find_end(struct varlink *v)
{
    size_t have = v->in.tail - v->in.head;
    const char *begin = have > 0 ? v->in.data + v->in.head : NULL;
    const char *nul = NULL;

    if (have > v->searched)
        nul = memchr(begin + v->searched, '\0', have - v->searched);
    v->searched = nul != NULL ? (size_t)(nul - begin) : have;
    return nul;
}

bool varlink_pending(struct varlink *v)
{
    return find_end(v) != NULL;
}

/*
 * Whether a message has few enough values. An empty array takes two bytes of a message and hundreds
 * of ours, so this is looked at before any is made.
 */
static bool is_simple(const char *text, size_t len)
{
    unsigned values = 0;
    bool quoted = false;

    for (size_t i = 0; i < len && values <= VARLINK_MAX_VALUES; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted)
            values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    }
    return values <= VARLINK_MAX_VALUES;
}

/*
 * The length of the UTF-8 sequence at the start of text, 0 when there is none: also for what is
 * longer than it need be, surrogates, and what is beyond Unicode, all of which json-c lets pass.
 */
static size_t utf8_length(const unsigned char *text, size_t len)
{
    size_t n = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    unsigned char low = 0x80; /* bounds of the second byte */
    unsigned char high = 0xbf;

    if (n == 1)
        return 1;
    if (text[0] < 0xc2 || text[0] > 0xf4 || n > len)
        return 0;
    if (text[0] == 0xe0)
        low = 0xa0;
    else if (text[0] == 0xed)
        high = 0x9f;
    else if (text[0] == 0xf0)
        low = 0x90;
    else if (text[0] == 0xf4)
        high = 0x8f;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

static bool is_utf8(const char *text, size_t len)
{
    size_t n;

    for (size_t i = 0; i < len; i += n) {
        n = utf8_length((const unsigned char *)text + i, len - i);
        if (n == 0)
            return false;
    }
    return true;
}

/* The fds that were read with the next len bytes are those of the message taken now. */
static void hand_over_fds(struct varlink *v, size_t len)
{
    unsigned n = 0;

    close_all(v->message_fds, v->n_message_fds);
    while (n < v->n_in_fds && v->in_fds[n].at - v->in_pos < len) {
        v->message_fds[n] = v->in_fds[n].fd;
        n++;
    }
    v->n_message_fds = n;
    v->n_in_fds -= n;
    memmove(v->in_fds, v->in_fds + n, v->n_in_fds * sizeof(v->in_fds[0]));
}

int varlink_take_message_fd(struct varlink *v, unsigned i)
{
    int fd = i < v->n_message_fds ? v->message_fds[i] : -1;

    if (fd >= 0)
        v->message_fds[i] = -1;
    return fd;
}

int varlink_next(struct varlink *v, struct json_object **out)
{
    const char *nul = find_end(v);
    struct json_tokener *tokener;
    struct json_object *message;
    const char *begin;

    if (nul == NULL)
        return 0;
    begin = v->in.data + v->in.head;
    v->searched = 0;
    hand_over_fds(v, (size_t)(nul - begin) + 1);
    v->in.head += (size_t)(nul - begin) + 1;
    v->in_pos += (size_t)(nul - begin) + 1;
    if (!is_simple(begin, (size_t)(nul - begin)) || !is_utf8(begin, (size_t)(nul - begin)))
        return -EBADMSG;
    tokener = json_tokener_new_ex(VARLINK_MAX_DEPTH);
    if (tokener == NULL)
        return -ENOMEM;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    message = json_tokener_parse_ex(tokener, begin, (int)(nul - begin) + 1);
    json_tokener_free(tokener);
    if (!json_object_is_type(message, json_type_object)) {
        json_object_put(message);
        return -EBADMSG;
    }
    *out = message;
    return 1;
}

int varlink_send(struct varlink *v, struct json_object *message)
{
    size_t len;
    const char *text = json_object_to_json_string_length(message, JSON_C_TO_STRING_PLAIN, &len);

    return text != NULL ? varlink_send_text(v, text, len) : -ENOMEM;
}

int varlink_send_fds(struct varlink *v, struct json_object *message, const int *fds, unsigned nfds)
{
    size_t before = varlink_queued(v);
    int dups[VARLINK_MAX_FDS];
    int err = (v->n_out_fds > 0 && nfds > 0) || nfds > VARLINK_MAX_FDS ? -EBUSY : 0;
    unsigned n = 0;

    while (err == 0 && n < nfds) {
        dups[n] = fcntl(fds[n], F_DUPFD_CLOEXEC, 0);
        if (dups[n] < 0)
            err = -errno;
        else
            n++;
    }
    if (err == 0)
        err = varlink_send(v, message);
    if (err != 0 || n == 0) {
        close_all(dups, n);
        return err;
    }
    memcpy(v->out_fds, dups, n * sizeof(dups[0]));
    v->n_out_fds = n;
    v->out_fds_after = before;
    v->out_fds_len = varlink_queued(v) - before;
    return 0;
}

int varlink_send_text(struct varlink *v, const char *text, size_t len)
{
    if (varlink_queued(v) + len + 1 > VARLINK_MAX_QUEUE)
        return -ENOBUFS;
    if (make_room(&v->out, len + 1) != 0)
        return -ENOMEM;
    memcpy(v->out.data + v->out.tail, text, len);
    v->out.tail += len;
    v->out.data[v->out.tail++] = '\0';
    return 0;
}

/* Sends up to len bytes from the queue's head, with the fds that belong to the first of them. */
static ssize_t send_with_fds(struct varlink *v, size_t len)
{
    union {
        struct cmsghdr align;
        uint8_t space[CMSG_SPACE(VARLINK_MAX_FDS * sizeof(int))];
    } control;
    size_t size = v->n_out_fds * sizeof(int);
    struct iovec iov = { .iov_base = v->out.data + v->out.head, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.space,
                          .msg_controllen = CMSG_SPACE(size) };
    struct cmsghdr *c;
    ssize_t n;

    memset(&control, 0, sizeof(control));
    c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), v->out_fds, size);
    n = sendmsg(v->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        close_all(v->out_fds, v->n_out_fds);
        v->n_out_fds = 0;
    }
    return n;
}

/* Sends once. */
static ssize_t send_some(struct varlink *v)
{
    size_t len = varlink_queued(v);
    ssize_t n;

    if (v->n_out_fds > 0 && v->out_fds_after == 0)
        return send_with_fds(v, v->out_fds_len);
    if (v->n_out_fds > 0)
        len = v->out_fds_after;
    n = send(v->fd, v->out.data + v->out.head, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0 && v->n_out_fds > 0)
        v->out_fds_after -= (size_t)n;
    return n;
}

int varlink_flush(struct varlink *v)
{
    while (varlink_queued(v) > 0) {
        ssize_t n = send_some(v);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        v->out.head += (size_t)n;
    }
    return 0;
}

size_t varlink_queued(const struct varlink *v)
{
    return v->out.tail - v->out.head;
}

int varlink_read_raw(struct varlink *v, void *data, size_t size)
{
    size_t have = v->in.tail - v->in.head;
    ssize_t n;

    if (have > 0) {
        if (have > size)
            have = size;
        memcpy(data, v->in.data + v->in.head, have);
        v->in.head += have;
        v->in_pos += have;
        v->searched = 0;
        return (int)have;
    }
    n = recv(v->fd, data, size, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return n == 0 ? -ENOTCONN : (int)n;
}

int varlink_call(struct varlink *v, const char *method, struct json_object *parameters, int ms,
                 struct json_object **out)
{
    int64_t deadline = peer_deadline(ms);
    struct json_object *call = json_object_new_object();
    int err;

    json_object_object_add(call, "method", json_object_new_string(method));
    if (parameters != NULL)
        json_object_object_add(call, "parameters", json_object_get(parameters));
    err = varlink_send(v, call);
    json_object_put(call);
    while (err == 0 && (err = varlink_flush(v)) == -EAGAIN)
        err = peer_wait(v->fd, POLLOUT, -1, deadline);
    while (err == 0) {
        err = varlink_next(v, out);
        if (err != 0)
            return err < 0 ? err : 0;
        err = peer_wait(v->fd, POLLIN, -1, deadline);
        if (err == 0) {
            int n = varlink_fill(v);

            err = n < 0 ? n : 0;
        }
    }
    return err;
}
