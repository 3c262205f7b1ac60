/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "capture.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config-build.h"
#include "log.h"
#include "pcapng.h"
#include "peer.h"
#include "wake.h"
#include "watch.h"

/*
 * Sent when this much waits, or after this long. By a timerfd: with a timer of libuv's, the kernel
 * would set one up at each turn of the loop, which costs as much as capturing a message.
 */
#define SEND_BYTES 131072u
#define SEND_NS    100000000ll

/* Numbers are written at most this often. */
#define STATISTICS_NS 1000000000ll

/* A peer that has asked for the end and does not read is not waited for longer. */
#define DRAIN_NS 5000000000ll

/* Section and interface, names included. */
#define PREFACE_MAX 1024u

/*
 * Whole blocks, written in one piece each, sent in any pieces. While it is wrapped, [head, end) is
 * followed by [0, tail); otherwise [head, tail) is all. Empty, it begins at 0 again: a reader that
 * keeps up lets us use the same few pages all the time.
 */
struct ring {
    uint8_t *data;
    size_t head;
    size_t tail;
    size_t end;
    bool wrapped;
};

struct capture {
    struct watch *watch;
    struct wake *wake;
    struct capture_host host;
    int fd;
    uint32_t snaplen;
    struct ring ring;
    struct pcapng_statistics numbers;
    int64_t told;                        /* when numbers were written the last time */
    uint64_t counted;                    /* received then */
    uint64_t lost;                       /* dropped since the last packet written */
    bool timed;                          /* it will wake */
    bool blocked;                        /* the rest is sent when the socket takes something */
    bool failed;                         /* and never will */
    bool ending;                         /* no more messages: the rest is being sent */
    uint8_t last[PCAPNG_STATISTICS_MAX]; /* the last numbers, which follow the ring's content */
    size_t last_len;
    size_t last_sent;
};

/*
 * The buffer
 */

/* Room for len bytes in one piece, NULL when there is none. */
static uint8_t *ring_room(struct ring *r, size_t len)
{
    if (r->wrapped)
        return r->head - r->tail > len ? r->data + r->tail : NULL;
    if (CAPTURE_BUFFER - r->tail >= len)
        return r->data + r->tail;
    if (r->head <= len)
        return NULL;
    r->end = r->tail;
    r->tail = 0;
    r->wrapped = true;
    return r->data;
}

static size_t ring_used(const struct ring *r)
{
    return r->wrapped ? r->end - r->head + r->tail : r->tail - r->head;
}

/* What can be sent at once. */
static size_t ring_piece(const struct ring *r)
{
    return r->wrapped ? r->end - r->head : r->tail - r->head;
}

static void ring_forget(struct ring *r, size_t len)
{
    r->head += len;
    if (r->wrapped && r->head == r->end) {
        r->head = 0;
        r->wrapped = false;
    }
    if (!r->wrapped && r->head == r->tail) {
        r->head = 0;
        r->tail = 0;
    }
}

/*
 * Sending
 */

static int send_some(struct capture *c, const uint8_t *data, size_t len, size_t *sent)
{
    ssize_t n;

    do
        n = send(c->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    *sent = (size_t)n;
    return 0;
}

/* Sends what there is. Returns 0 when that is all, -EAGAIN when the socket takes no more now. */
static int flush(struct capture *c)
{
    size_t sent = 0;
    int err = 0;

    while (err == 0 && ring_used(&c->ring) > 0) {
        err = send_some(c, c->ring.data + c->ring.head, ring_piece(&c->ring), &sent);
        if (err == 0)
            ring_forget(&c->ring, sent);
    }
    while (err == 0 && c->last_sent < c->last_len) {
        err = send_some(c, c->last + c->last_sent, c->last_len - c->last_sent, &sent);
        if (err == 0)
            c->last_sent += sent;
    }
    return err;
}

static void wake_after(struct capture *c, int64_t ns)
{
    wake_at(c->wake, wake_now() + ns);
    c->timed = true;
}

/* on_socket goes on when the socket takes something. */
static void await_socket(struct capture *c)
{
    c->blocked = true;
    watch_set(c->watch, c->ending ? UV_WRITABLE : UV_READABLE | UV_WRITABLE);
}

/* Sends, and sees to it that what is left is sent later. For any context: it closes nothing. */
static void push(struct capture *c)
{
    int err = c->failed ? 0 : flush(c);

    if (err == -EAGAIN && !c->blocked) {
        await_socket(c);
    } else if (err != 0 && err != -EAGAIN) {
        c->failed = true;
        wake_after(c, 0);
    }
}

/*
 * Life
 */

static void close_capture(struct capture *c, const char *reason)
{
    log_info("capture", "ended: %s; %llu messages, %llu dropped", reason,
             (unsigned long long)c->numbers.received, (unsigned long long)c->numbers.dropped);
    watch_free(c->watch);
    wake_free(c->wake);
    close(c->fd);
    free(c->ring.data);
    c->host.ended(c->host.opaque);
    free(c);
}

/* No more messages are taken; the last numbers are made. */
static void begin_end(struct capture *c)
{
    if (c->ending)
        return;
    c->ending = true;
    c->numbers.time = wake_now();
    c->numbers.ended = c->numbers.time;
    c->last_len = pcapng_write_statistics(c->last, sizeof(c->last), &c->numbers);
}

/* Numbers, when there are new ones and the last are old enough. */
static void tell_numbers(struct capture *c)
{
    int64_t now = wake_now();
    uint8_t *at;
    size_t len;

    if (c->numbers.received == c->counted || now - c->told < STATISTICS_NS)
        return;
    at = ring_room(&c->ring, PCAPNG_STATISTICS_MAX);
    if (at == NULL)
        return;
    c->numbers.time = now;
    len = pcapng_write_statistics(at, PCAPNG_STATISTICS_MAX, &c->numbers);
    c->ring.tail += len;
    c->told = now;
    c->counted = c->numbers.received;
}

static void on_wake(void *arg)
{
    struct capture *c = arg;

    c->timed = false;
    if (c->failed || c->ending) {
        close_capture(c, c->failed ? "the connection is lost" : "the reader does not read");
        return;
    }
    if (!c->blocked) {
        tell_numbers(c);
        push(c);
    }
    if (!c->timed && c->numbers.received != c->counted)
        wake_after(c, SEND_NS);
}

/* The peer says nothing in words; its end of the stream is the word. Returns whether that came. */
static bool peer_ended(struct capture *c)
{
    uint8_t ignored[512];
    ssize_t n = recv(c->fd, ignored, sizeof(ignored), MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void on_socket(void *arg, int events)
{
    struct capture *c = arg;

    if ((events & UV_READABLE) != 0 && !c->ending && peer_ended(c)) {
        begin_end(c);
        wake_after(c, DRAIN_NS);
    }
    if (c->blocked || c->ending) {
        c->blocked = false;
        push(c);
    }
    if (c->ending && !c->failed && !c->blocked)
        close_capture(c, "the reader asked for it");
    else if (!c->blocked)
        watch_set(c->watch, UV_READABLE);
}

/* Section and interface come first: also a capture without a packet is a file. */
static int begin(struct capture *c, const char *name)
{
    char description[256];
    const struct pcapng_interface interface = { .linktype = PCAPNG_LINKTYPE_USER0,
                                                .snaplen = c->snaplen,
                                                .name = name,
                                                .description = description };
    size_t len;

    c->ring.data = malloc(CAPTURE_BUFFER);
    if (c->ring.data == NULL)
        return -ENOMEM;
    snprintf(description, sizeof(description), "vfio-user socket of %s", name);
    len = pcapng_write_section(c->ring.data, PREFACE_MAX, "vfio-userd " PACKAGE_VERSION);
    len += pcapng_write_interface(c->ring.data + len, PREFACE_MAX - len, &interface);
    c->ring.tail = len;
    return 0;
}

int capture_new(uv_loop_t *loop, int fd, const char *name, uint32_t snaplen,
                const struct capture_host *host, struct capture **out)
{
    struct capture *c = calloc(1, sizeof(*c));
    struct peer peer;
    int err = -ENOMEM;

    if (c == NULL)
        goto fail;
    c->fd = fd;
    c->host = *host;
    c->snaplen = snaplen < CAPTURE_SNAPLEN_MAX ? snaplen : CAPTURE_SNAPLEN_MAX;
    c->numbers.began = wake_now();
    c->told = c->numbers.began;
    err = begin(c, name);
    if (err == 0)
        err = wake_new(loop, on_wake, c, &c->wake);
    if (err == 0)
        err = watch_new(loop, fd, on_socket, c, &c->watch);
    if (err != 0)
        goto fail;
    peer_credentials(fd, &peer);
    log_info("capture", "begun for pid %d, at most %u bytes of a message", (int)peer.pid,
             c->snaplen);
    push(c);
    *out = c;
    return 0;
fail:
    if (c != NULL) {
        wake_free(c->wake);
        free(c->ring.data);
    }
    free(c);
    close(fd);
    return err;
}

void capture_message(struct capture *c, const struct capture_message *m)
{
    struct pcapng_packet packet = {
        .time = m->together ? c->numbers.time : wake_now(),
        .data = m->wire,
        .len = (uint32_t)m->len,
        .kept = m->len < c->snaplen ? (uint32_t)m->len : c->snaplen,
        .direction = m->sent ? PCAPNG_OUTBOUND : PCAPNG_INBOUND,
        .queue = m->connection,
        .dropped = c->lost,
        .comment = m->comment,
    };
    size_t room = packet.kept + PCAPNG_PACKET_EXTRA + (m->comment != NULL ? strlen(m->comment) : 0);
    uint8_t *at;

    if (c->ending || c->failed)
        return;
    c->numbers.time = packet.time;
    c->numbers.received++;
    at = ring_room(&c->ring, room);
    if (at == NULL) {
        c->numbers.dropped++;
        c->lost++;
        return;
    }
    c->ring.tail += pcapng_write_packet(at, room, &packet);
    c->numbers.delivered++;
    c->lost = 0;
    /* Sent in the loop's next turn: the client gets its reply first. */
    if (!c->blocked && ring_used(&c->ring) >= SEND_BYTES)
        await_socket(c);
    if (!c->timed)
        wake_after(c, SEND_NS);
}

void capture_finish(struct capture *c, int ms, const char *reason)
{
    int64_t deadline = peer_deadline(ms);
    int err;

    if (c == NULL)
        return;
    begin_end(c);
    do
        err = c->failed ? -EPIPE : flush(c);
    while (err == -EAGAIN && peer_wait(c->fd, POLLOUT, -1, deadline) == 0);
    close_capture(c, reason);
}
