/* SPDX-License-Identifier: BSD-3-Clause */
#include "traffic.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio_user.h"

int traffic_send(int fd, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int traffic_receive(int fd, void *bytes, size_t len)
{
    uint8_t *at = bytes;

    while (len > 0) {
        ssize_t n = read(fd, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENOTCONN;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int traffic_exchange(int fd, const struct exchange *x)
{
    int err = traffic_send(fd, x->request, x->request_len);

    if (err == 0)
        err = traffic_receive(fd, x->received, x->reply_len);
    if (err == 0 && memcmp(x->received, x->reply, VFIO_USER_HEADER_SIZE) != 0)
        err = -EPROTO;
    return err;
}

int traffic_round_trips(int fd, const struct exchange *x, int64_t for_ns, struct samples *out)
{
    int64_t last = stats_now();
    int64_t until = last + for_ns;

    while (last < until) {
        int err = traffic_exchange(fd, x);
        int64_t now = stats_now();

        if (err != 0)
            return err;
        samples_add(out, now - last);
        last = now;
    }
    return 0;
}

int traffic_write(int fd, const struct stream_of_writes *w, int64_t *ns)
{
    uint8_t ack[TRAFFIC_ACK_MAX];
    int64_t start = stats_now();
    int err = 0;

    for (size_t at = 0; err == 0 && at < w->len; at += w->send_len) {
        size_t left = w->len - at;

        err = traffic_send(fd, w->bytes + at, left < w->send_len ? left : w->send_len);
    }
    if (err == 0)
        err = traffic_receive(fd, ack, w->reply_len);
    *ns = stats_now() - start;
    if (err == 0 && memcmp(ack, w->reply, w->reply_len) != 0)
        err = -EPROTO;
    return err;
}
