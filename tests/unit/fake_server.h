/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For the tests of libproto/client.c: a server in a child that follows a script. It receives
 * messages, sends prepared ones, and exits with the number of the step that did not go as written.
 */
#ifndef VFIO_USERD_FAKE_SERVER_H
#define VFIO_USERD_FAKE_SERVER_H

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "message.h"

/* Changes to what a step would send of itself. */
enum {
    WRONG_ID = 1 << 0,
    WRONG_COMMAND = 1 << 1,
    WITH_FD = 1 << 2,
    BAD_SIZE = 1 << 3,
    WITH_TWIN = 1 << 4, /* the client's end of a twin socket comes along */
    ON_TWIN = 1 << 5,   /* this step is on the server's end */
    WITH_TWO_FDS = 1 << 6,
};

struct step {
    enum {
        END,
        REQUEST,    /* receive a command, of the given number when that is not 0 */
        REPLY,      /* answer the last command received, with payload */
        ERROR,      /* the same with the error bit */
        COMMAND,    /* send a command to the client */
        EXPECT,     /* receive the reply to it, with error and payload */
        QUIET,      /* nothing may come for 50 ms */
        HANG,       /* do nothing until killed */
        HALF_REPLY, /* half a header, then close */
        UNREAD,     /* wait until something has come, and leave it there */
        CLOSE_TWIN,
    } what;
    unsigned command;
    unsigned change;
    uint32_t error;
    size_t len;
    const void *payload;
    uint32_t flags;
};

struct server {
    pid_t pid;
    struct client *client;
};

/* A twin socket: the client's end, and the server's as *twin. */
static inline int server_make_twin(struct stream **twin)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0 ||
        stream_new(fds[0], 1u << 20, twin) != 0)
        _exit(98);
    return fds[1];
}

static inline bool server_send(struct stream *s, const struct step *step, uint16_t id,
                               uint32_t flags, struct stream **twin)
{
    uint32_t size = VFIO_USER_HEADER_SIZE + (uint32_t)step->len;
    uint8_t *out = stream_reserve(s, size);
    int fd = (step->change & WITH_TWIN) != 0 ? server_make_twin(twin) : eventfd(5, EFD_CLOEXEC);
    const int fds[] = { fd, fd };
    unsigned nfds =
        (step->change & WITH_TWO_FDS) != 0 ? 2 : (step->change & (WITH_FD | WITH_TWIN)) != 0;
    int err;

    if ((step->change & BAD_SIZE) != 0) { /* not a thing that a stream would send */
        close(fd);
        return write(stream_fd(s), "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16) == 16;
    }
    message_encode_header(out, id, (uint16_t)step->command, size, flags | step->flags, step->error);
    if (step->len > 0)
        memcpy(out + VFIO_USER_HEADER_SIZE, step->payload, step->len);
    err = stream_commit(s, size, fds, nfds);
    close(fd);
    while (err == 0 && (err = stream_flush(s)) == -EAGAIN)
        err = usleep(1000);
    return err == 0;
}

static inline bool server_receive(struct stream *s, struct stream_message *m)
{
    int n;

    while ((n = stream_next(s, m)) == 0) {
        struct pollfd p = { .fd = stream_fd(s), .events = POLLIN };

        if (poll(&p, 1, 2000) != 1 || stream_fill(s) < 0)
            return false;
    }
    return n == 1;
}

static inline bool server_expect(struct stream *s, const struct step *step)
{
    uint32_t flags = VFIO_USER_TYPE_REPLY | (step->error != 0 ? VFIO_USER_ERROR : 0);
    struct stream_message m;

    if (!server_receive(s, &m))
        return false;
    return m.hdr.flags == flags && m.hdr.error == step->error && m.hdr.id == 777 &&
           m.hdr.command == step->command && m.hdr.size == VFIO_USER_HEADER_SIZE + step->len &&
           (step->len == 0 || memcmp(m.payload, step->payload, step->len) == 0);
}

static inline bool server_step(struct stream *main, struct stream **twin, struct step *step,
                               struct vfio_user_header *last)
{
    struct stream *s = (step->change & ON_TWIN) != 0 ? *twin : main;
    struct pollfd p = { .fd = stream_fd(s), .events = POLLIN };
    struct stream_message m = { .nfds = 0 };

    switch (step->what) {
    case REQUEST:
        if (!server_receive(s, &m) || (step->command != 0 && m.hdr.command != step->command))
            return false;
        *last = m.hdr;
        stream_message_fini(s, &m);
        return step->payload == NULL || (m.hdr.size == VFIO_USER_HEADER_SIZE + step->len &&
                                         memcmp(m.payload, step->payload, step->len) == 0);
    case REPLY:
    case ERROR:
        step->command = last->command + ((step->change & WRONG_COMMAND) != 0);
        return server_send(s, step, (uint16_t)(last->id + ((step->change & WRONG_ID) != 0)),
                           VFIO_USER_TYPE_REPLY | (step->what == ERROR ? VFIO_USER_ERROR : 0),
                           twin);
    case COMMAND:
        return server_send(s, step, 777, VFIO_USER_TYPE_COMMAND, twin);
    case EXPECT:
        return server_expect(s, step);
    case QUIET:
        return poll(&p, 1, 50) == 0;
    case UNREAD:
        return poll(&p, 1, 2000) == 1;
    case HALF_REPLY:
        return write(stream_fd(s), last, 8) == 8;
    case CLOSE_TWIN:
        stream_free(*twin);
        *twin = NULL;
        return true;
    default:
        for (;;)
            pause();
    }
}

static inline void server_run(int fd, const struct step *steps)
{
    struct vfio_user_header last = { 0 };
    struct stream *twin = NULL;
    struct stream *s;
    int i = 0;

    if (stream_new(fd, 1u << 20, &s) != 0)
        _exit(99);
    for (; steps[i].what != END; i++) {
        struct step step = steps[i];

        if (!server_step(s, &twin, &step, &last))
            _exit(i + 1);
    }
    stream_free(s);
    stream_free(twin);
    _exit(0);
}

static inline void server_start(struct server *server, const struct step *steps)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    server->pid = fork();
    ck_assert_int_ge(server->pid, 0);
    if (server->pid == 0) {
        close(fds[0]);
        server_run(fds[1], steps);
    }
    close(fds[1]);
    ck_assert_int_eq(client_new(fds[0], &server->client), 0);
    client_set_timeout(server->client, 1500);
}

/* Ends the client, and checks that every step of the server went well. */
static inline void server_finish(struct server *server)
{
    int status;

    ck_assert_int_eq(waitpid(server->pid, &status, 0), server->pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "server: step %d went wrong",
                  WEXITSTATUS(status));
    client_free(server->client);
}

static inline void server_kill(struct server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    client_free(server->client);
}

#endif
