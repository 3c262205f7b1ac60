/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Input: steps of what a peer does. A step's first byte: bits 0 to 2 how many fds go with it, bit 3
 * whether the stream reads after it, bit 4 whether it takes what is complete; the second byte is
 * the number of bytes sent, which follow. Whatever comes, the messages are the bytes sent, in
 * order, and no fd is left when the stream is freed.
 */
#define _GNU_SOURCE
#include "stream.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

#define MAX_MESSAGE 70000u

struct world {
    struct stream *s;
    int peer;
    const uint8_t *data;
    size_t size;
    uint8_t *sent; /* everything that went into the socket */
    size_t n_sent;
    size_t n_taken;
    bool out_of_step;
};

static int send_step(struct world *w, const uint8_t *bytes, size_t len, unsigned nfds)
{
    union {
        struct cmsghdr align;
        uint8_t space[CMSG_SPACE(8 * sizeof(int))];
    } control = { .space = { 0 } };
    struct iovec iov = { .iov_base = w->sent + w->n_sent, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    memcpy(w->sent + w->n_sent, bytes, len);
    if (nfds > 0) {
        struct cmsghdr *c = &control.align;

        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        for (unsigned i = 0; i < nfds; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &w->peer, sizeof(int));
    }
    if (sendmsg(w->peer, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
        return -1;
    w->n_sent += len;
    return 0;
}

static void take_all(struct world *w)
{
    struct stream_message m = { .nfds = 0 };
    int n;

    while ((n = stream_next(w->s, &m)) == 1) {
        size_t len = m.hdr.size;
        int fd = stream_message_take_fd(&m, 1);

        FUZZ_REQUIRE(!w->out_of_step);
        FUZZ_REQUIRE(len >= VFIO_USER_HEADER_SIZE && len <= w->n_sent - w->n_taken);
        FUZZ_REQUIRE(memcmp(m.payload, w->sent + w->n_taken + VFIO_USER_HEADER_SIZE,
                            len - VFIO_USER_HEADER_SIZE) == 0);
        FUZZ_REQUIRE(m.nfds <= STREAM_MAX_FDS);
        if (fd >= 0)
            close(fd);
        stream_message_fini(w->s, &m);
        w->n_taken += len;
    }
    FUZZ_REQUIRE(n == 0 || n < 0);
    w->out_of_step = n < 0;
}

static void run(struct world *w)
{
    while (w->size >= 2) {
        uint8_t what = w->data[0];
        size_t len = w->data[1] < w->size - 2 ? w->data[1] : w->size - 2;

        if (len > 0 && send_step(w, w->data + 2, len, what & 7) != 0)
            break;
        w->data += 2 + len;
        w->size -= 2 + len;
        if ((what & 8) != 0)
            FUZZ_REQUIRE(stream_fill(w->s) >= 0);
        if ((what & 16) != 0)
            take_all(w);
    }
    for (;;) {
        int n = stream_fill(w->s);

        FUZZ_REQUIRE(n >= 0);
        take_all(w);
        if (n == 0)
            break;
    }
}

/* The lowest number that a new fd gets: the same before and after when none is left open. */
static int lowest_fd(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = { .data = data, .size = size };
    int before = lowest_fd();
    int fds[2];

    if (size == 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return 0;
    w.peer = fds[1];
    w.sent = malloc(size);
    if (stream_new(fds[0], MAX_MESSAGE, &w.s) == 0) {
        if (w.sent != NULL)
            run(&w);
        stream_free(w.s);
    }
    free(w.sent);
    close(w.peer);
    FUZZ_REQUIRE(lowest_fd() == before);
    return 0;
}
