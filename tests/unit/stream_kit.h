/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For the tests of libproto/stream.c: a stream with the other end of its socketpair. A message's
 * payload follows from its id, and an eventfd sent with it holds a count that follows from its id
 * too, so a mix-up of either is seen.
 */
#ifndef VFIO_USERD_STREAM_KIT_H
#define VFIO_USERD_STREAM_KIT_H

#include <check.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "message.h"
#include "stream.h"

#define MAX_MESSAGE (1u << 20)
#define MANY_FDS    253

/* A stream and the other end of its socket. */
struct pair {
    struct stream *s;
    int peer;
};

static inline void pair_init(struct pair *p)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(stream_new(fds[0], MAX_MESSAGE, &p->s), 0);
    p->peer = fds[1];
}

static inline void pair_fini(struct pair *p)
{
    stream_free(p->s);
    if (p->peer >= 0)
        close(p->peer);
}

static inline uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Most sizes small, some as large as a page or two, few larger than a batch. */
static inline size_t random_size(uint32_t *state)
{
    uint32_t r = next_random(state);
    uint32_t kind = r % 32;
    uint32_t range = kind == 0 ? 100000 : kind < 4 ? 9000 : 300;

    return VFIO_USER_HEADER_SIZE + (r >> 8) % range;
}

static inline void fill_message(uint8_t *m, uint16_t id, size_t size)
{
    message_encode_header(m, id, VFIO_USER_REGION_WRITE, (uint32_t)size, 0, 0);
    for (size_t i = VFIO_USER_HEADER_SIZE; i < size; i++)
        m[i] = (uint8_t)(id * 7u + i);
}

static inline bool is_payload(const uint8_t *payload, uint16_t id, size_t size)
{
    for (size_t i = VFIO_USER_HEADER_SIZE; i < size; i++) {
        if (payload[i - VFIO_USER_HEADER_SIZE] != (uint8_t)(id * 7u + i))
            return false;
    }
    return true;
}

static inline int new_eventfd(unsigned value)
{
    int fd = eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static inline uint64_t eventfd_value(int fd)
{
    uint64_t value = 0;

    return read(fd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

/* The count of fd i of message id. */
static inline unsigned fd_mark(uint16_t id, unsigned i)
{
    return id * 1000u + i + 1;
}

static inline unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* One sendmsg of the peer, with nfds new eventfds of message id. */
static inline ssize_t put(int fd, const uint8_t *data, size_t len, uint16_t id, unsigned nfds)
{
    union {
        struct cmsghdr align;
        uint8_t space[CMSG_SPACE(MANY_FDS * sizeof(int))];
    } control = { .space = { 0 } };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    int fds[MANY_FDS];
    ssize_t n;

    for (unsigned i = 0; i < nfds; i++)
        fds[i] = new_eventfd(fd_mark(id, i));
    if (nfds > 0) {
        struct cmsghdr *c = &control.align;

        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    for (unsigned i = 0; i < nfds; i++)
        close(fds[i]);
    return n;
}

static inline void put_message(int fd, uint16_t id, size_t size, unsigned nfds)
{
    uint8_t *m = malloc(size);

    fill_message(m, id, size);
    ck_assert_int_eq(put(fd, m, size, id, nfds), (ssize_t)size);
    free(m);
}

/* Fills until a message is complete. Returns what stream_next or stream_fill said. */
static inline int receive(struct stream *s, struct stream_message *m)
{
    for (;;) {
        int n = stream_next(s, m);

        if (n != 0)
            return n;
        n = stream_fill(s);
        if (n <= 0)
            return n;
    }
}

static inline void check_message(struct stream *s, struct stream_message *m, uint16_t id,
                                 size_t size, unsigned nfds)
{
    ck_assert_uint_eq(m->hdr.id, id);
    ck_assert_uint_eq(m->hdr.size, size);
    ck_assert(is_payload(m->payload, id, size));
    ck_assert_msg(m->nfds == nfds, "message %u has %u fds, not %u", id, m->nfds, nfds);
    ck_assert(!m->fds_lost);
    for (unsigned i = 0; i < nfds; i++)
        ck_assert_uint_eq(eventfd_value(m->fds[i]), fd_mark(id, i));
    stream_message_fini(s, m);
}

static inline void expect(struct stream *s, uint16_t id, size_t size, unsigned nfds)
{
    struct stream_message m = { .nfds = 0 };

    ck_assert_msg(receive(s, &m) == 1, "message %u is missing", id);
    check_message(s, &m, id, size, nfds);
}

static inline void expect_nothing(struct stream *s)
{
    struct stream_message m = { .nfds = 0 };

    ck_assert_int_eq(receive(s, &m), 0);
}

static inline void queue(struct stream *s, uint16_t id, size_t size, unsigned nfds)
{
    uint8_t *m = stream_reserve(s, size);
    int fds[STREAM_MAX_FDS];

    ck_assert_ptr_nonnull(m);
    fill_message(m, id, size);
    for (unsigned i = 0; i < nfds; i++)
        fds[i] = new_eventfd(fd_mark(id, i));
    ck_assert_int_eq(stream_commit(s, size, fds, nfds), 0);
    for (unsigned i = 0; i < nfds; i++)
        close(fds[i]);
}

#endif
