/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients that do what they must not: each costs an error reply where the stream is still in step,
 * its own connection where it is not, and never anything else.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "integration/harness.h"
#include "message.h"
#include "suite.h"

#define CONTROL_MS 1000 /* what a control call may take beside a hostile client */

static void send_all(int sock, const void *data, size_t len)
{
    ck_assert_int_eq(send(sock, data, len, MSG_NOSIGNAL), (int)len);
}

static void send_header(int sock, uint16_t command, uint32_t size, uint32_t flags)
{
    uint8_t wire[16];

    message_encode_header(wire, 7, command, size, flags, 0);
    send_all(sock, wire, sizeof(wire));
}

static void send_fd_on(int sock, const void *data, size_t len, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.space,
                          .msg_controllen = sizeof(control.space) };

    control.align = (struct cmsghdr) { .cmsg_level = SOL_SOCKET,
                                       .cmsg_type = SCM_RIGHTS,
                                       .cmsg_len = CMSG_LEN(sizeof(int)) };
    memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
    ck_assert_int_eq(sendmsg(sock, &msg, MSG_NOSIGNAL), (int)len);
}

/* Whether the server closes the connection within 2 s; replies before that are read away. */
static bool is_closed(int sock)
{
    char data[4096];
    int64_t until = now_ms() + 2000;

    while (now_ms() < until) {
        struct pollfd p = { .fd = sock, .events = POLLIN };
        ssize_t n;

        if (poll(&p, 1, 100) != 1)
            continue;
        n = recv(sock, data, sizeof(data), 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return true;
    }
    return false;
}

static struct json_object *member(struct json_object *o, const char *key)
{
    struct json_object *value = NULL;

    json_object_object_get_ex(o, key, &value);
    return value;
}

/*
 * Error replies that leave the state as it was
 */

struct bad_request {
    const char *what;
    uint16_t command;
    uint32_t len; /* of the payload */
    uint32_t words[10];
    int err;
};

static const struct bad_request bad_requests[] = {
    { "command 0", 0, 0, { 0 }, ENOTSUP },
    { "command 14, which is no more", 14, 8, { 0 }, ENOTSUP },
    { "command 999", 999, 0, { 0 }, ENOTSUP },
    { "DMA_READ to a server", VFIO_USER_DMA_READ, 16, { 0 }, ENOTSUP },
    { "a second VERSION", VFIO_USER_VERSION, 4, { 0x10000 }, EINVAL },
    { "DMA_MAP short", VFIO_USER_DMA_MAP, 31, { 32, 3 }, EINVAL },
    { "DMA_MAP long", VFIO_USER_DMA_MAP, 36, { 32, 3, 0, 0, 0, 0, 4096 }, EINVAL },
    { "DMA_MAP of nothing", VFIO_USER_DMA_MAP, 32, { 32, 3 }, EINVAL },
    { "DMA_MAP that wraps", VFIO_USER_DMA_MAP, 32, { 32, 3, 0, 0, ~0u, ~0u, 4096 }, EINVAL },
    { "DMA_MAP with unknown flags", VFIO_USER_DMA_MAP, 32, { 32, 8, 0, 0, 0, 0, 4096 }, EINVAL },
    { "DMA_UNMAP unknown", VFIO_USER_DMA_UNMAP, 24, { 24, 0, 0x9000, 0, 4096 }, ENOENT },
    { "DMA_UNMAP all with a size", VFIO_USER_DMA_UNMAP, 24, { 24, 2, 0, 0, 4096 }, EINVAL },
    { "GET_INFO short", VFIO_USER_DEVICE_GET_INFO, 12, { 16 }, EINVAL },
    { "GET_INFO argsz", VFIO_USER_DEVICE_GET_INFO, 16, { 15 }, EINVAL },
    { "region 9", VFIO_USER_DEVICE_GET_REGION_INFO, 32, { 32, 0, 9 }, EINVAL },
    { "region 4294967295", VFIO_USER_DEVICE_GET_REGION_INFO, 32, { 32, 0, ~0u }, EINVAL },
    { "IRQ index 5", VFIO_USER_DEVICE_GET_IRQ_INFO, 16, { 16, 0, 5 }, EINVAL },
    { "SET_IRQS of two actions", VFIO_USER_DEVICE_SET_IRQS, 20, { 20, 0x31, 0, 0, 1 }, EINVAL },
    { "SET_IRQS of no data kind", VFIO_USER_DEVICE_SET_IRQS, 20, { 20, 0x20, 0, 0, 1 }, EINVAL },
    { "SET_IRQS beyond", VFIO_USER_DEVICE_SET_IRQS, 20, { 20, 0x21, 0, 1, 1 }, EINVAL },
    { "SET_IRQS overflow", VFIO_USER_DEVICE_SET_IRQS, 20, { 20, 0x21, 0, ~0u, 2 }, EINVAL },
    { "SET_IRQS index 5", VFIO_USER_DEVICE_SET_IRQS, 20, { 20, 0x21, 5, 0, 1 }, EINVAL },
    { "SET_IRQS without bools", VFIO_USER_DEVICE_SET_IRQS, 20, { 20, 0x22, 0, 0, 1 }, EINVAL },
    { "SET_IRQS masks ERR", VFIO_USER_DEVICE_SET_IRQS, 20, { 20, 0x09, 3, 0, 1 }, EINVAL },
    { "read of region 9", VFIO_USER_REGION_READ, 16, { 0, 0, 9, 4 }, EINVAL },
    { "read of an empty BAR", VFIO_USER_REGION_READ, 16, { 0, 0, 2, 4 }, EINVAL },
    { "read beyond BAR1", VFIO_USER_REGION_READ, 16, { 16380, 0, 1, 8 }, EINVAL },
    { "read at the end of space", VFIO_USER_REGION_READ, 16, { ~0u, ~0u, 1, 8 }, EINVAL },
    { "read of 2 GiB", VFIO_USER_REGION_READ, 16, { 0, 0, 1, 1u << 31 }, EINVAL },
    { "unaligned register", VFIO_USER_REGION_READ, 16, { 2, 0, 0, 4 }, EINVAL },
    { "write of less than its count", VFIO_USER_REGION_WRITE, 20, { 0, 0, 1, 8, 1 }, EINVAL },
    { "write of more than its count", VFIO_USER_REGION_WRITE, 28, { 0, 0, 1, 8, 1 }, EINVAL },
    { "write of 3 bytes to a register", VFIO_USER_REGION_WRITE, 19, { 0, 0, 0, 3, 1 }, EINVAL },
    { "RESET with a payload", VFIO_USER_DEVICE_RESET, 4, { 0 }, EINVAL },
    { "WRITE_MULTI short", VFIO_USER_REGION_WRITE_MULTI, 8, { 1 }, EINVAL },
    { "WRITE_MULTI of 2^63", VFIO_USER_REGION_WRITE_MULTI, 8, { 0, 1u << 31 }, EINVAL },
    { "WRITE_MULTI of 9 bytes", VFIO_USER_REGION_WRITE_MULTI, 32, { 1, 0, 0, 0, 1, 9 }, EINVAL },
    { "a feature that is none", VFIO_USER_DEVICE_FEATURE, 8, { 16, 0x10003 }, ENOTTY },
    { "a feature past all", VFIO_USER_DEVICE_FEATURE, 8, { 16, 0x1ffff }, ENOTTY },
    { "a probe of what is none", VFIO_USER_DEVICE_FEATURE, 8, { 8, 0x40000 }, ENOTTY },
    { "a feature that is not set", VFIO_USER_DEVICE_FEATURE, 16, { 16, 0x20001 }, EINVAL },
    { "a probe of that", VFIO_USER_DEVICE_FEATURE, 8, { 8, 0x70001 }, EINVAL },
    { "a feature that is not got", VFIO_USER_DEVICE_FEATURE, 8, { 64, 0x10006 }, EINVAL },
    { "a reply without room", VFIO_USER_DEVICE_FEATURE, 8, { 15, 0x10001 }, EINVAL },
    { "a state without one", VFIO_USER_DEVICE_FEATURE, 8, { 16, 0x20002 }, EINVAL },
    { "a state that is cut", VFIO_USER_DEVICE_FEATURE, 12, { 16, 0x20002, 1 }, EINVAL },
    { "a state that is long", VFIO_USER_DEVICE_FEATURE, 20, { 20, 0x20002, 1 }, EINVAL },
    { "a state without room", VFIO_USER_DEVICE_FEATURE, 16, { 15, 0x20002, 1 }, EINVAL },
    { "state ERROR", VFIO_USER_DEVICE_FEATURE, 16, { 16, 0x20002, 0 }, EINVAL },
    { "state RUNNING_P2P", VFIO_USER_DEVICE_FEATURE, 16, { 16, 0x20002, 5 }, EINVAL },
    { "state PRE_COPY_P2P", VFIO_USER_DEVICE_FEATURE, 16, { 16, 0x20002, 7 }, EINVAL },
    { "state 4294967295", VFIO_USER_DEVICE_FEATURE, 16, { 16, 0x20002, ~0u }, EINVAL },
    { "a log that is not", VFIO_USER_DEVICE_FEATURE, 8, { 8, 0x20007 }, EINVAL },
    { "a report of that",
      VFIO_USER_DEVICE_FEATURE,
      32,
      { 40, 0x10008, 0, 0, 4096, 0, 4096 },
      EINVAL },
    { "a report of nothing",
      VFIO_USER_DEVICE_FEATURE,
      32,
      { 40, 0x10008, 0, 0, 0, 0, 4096 },
      EINVAL },
    { "a report that wraps",
      VFIO_USER_DEVICE_FEATURE,
      32,
      { 40, 0x10008, ~0u, ~0u, 2, 0, 4096 },
      EINVAL },
    { "a report of no pages", VFIO_USER_DEVICE_FEATURE, 32, { 40, 0x10008, 0, 0, 4096 }, EINVAL },
    { "a report of odd pages",
      VFIO_USER_DEVICE_FEATURE,
      32,
      { 40, 0x10008, 0, 0, 4096, 0, 4097 },
      EINVAL },
    { "a report that is too large",
      VFIO_USER_DEVICE_FEATURE,
      32,
      { ~0u, 0x10008, 0, 0, 0, 1u << 31, 1 },
      E2BIG },
    { "a report that is cut", VFIO_USER_DEVICE_FEATURE, 24, { 40, 0x10008, 0, 0, 4096 }, EINVAL },
    { "a log of no pages", VFIO_USER_DEVICE_FEATURE, 24, { 24, 0x20006 }, EINVAL },
    { "a log of odd pages", VFIO_USER_DEVICE_FEATURE, 24, { 24, 0x20006, 4097 }, EINVAL },
    { "a log that is cut", VFIO_USER_DEVICE_FEATURE, 20, { 24, 0x20006, 4096 }, EINVAL },
    { "a log of ranges that are not",
      VFIO_USER_DEVICE_FEATURE,
      24,
      { 24, 0x20006, 4096, 0, ~0u },
      EINVAL },
    { "a log of more than its ranges",
      VFIO_USER_DEVICE_FEATURE,
      40,
      { 40, 0x20006, 4096, 0, 0 },
      EINVAL },
    { "a log without room", VFIO_USER_DEVICE_FEATURE, 24, { 23, 0x20006, 4096 }, EINVAL },
    { "a log of an empty range",
      VFIO_USER_DEVICE_FEATURE,
      40,
      { 40, 0x20006, 4096, 0, 1, 0, 4096 },
      EINVAL },
    { "a feature without a method", VFIO_USER_DEVICE_FEATURE, 8, { 8, 1 }, EINVAL },
    { "MIG_DATA_READ", VFIO_USER_MIG_DATA_READ, 8, { 1024, 512 }, EINVAL },
    { "MIG_DATA_READ of 0", VFIO_USER_MIG_DATA_READ, 8, { 8, 0 }, EINVAL },
    { "MIG_DATA_READ without room", VFIO_USER_MIG_DATA_READ, 8, { 519, 512 }, EINVAL },
    { "MIG_DATA_READ of 4 GiB", VFIO_USER_MIG_DATA_READ, 8, { ~0u, ~0u }, EINVAL },
    { "MIG_DATA_WRITE", VFIO_USER_MIG_DATA_WRITE, 12, { 12, 4, 1 }, EINVAL },
    { "MIG_DATA_WRITE short", VFIO_USER_MIG_DATA_WRITE, 12, { 16, 8, 1 }, EINVAL },
    { "MIG_DATA_WRITE long", VFIO_USER_MIG_DATA_WRITE, 16, { 16, 4, 1 }, EINVAL },
    { "GET_REGION_IO_FDS", VFIO_USER_DEVICE_GET_REGION_IO_FDS, 16, { 15 }, EINVAL },
};

#define N_BAD (sizeof(bad_requests) / sizeof(bad_requests[0]))

/* The device's own account of itself, without what moves by itself. */
static char *fingerprint(const struct server *s)
{
    struct json_object *status = server_status(s);
    char *text;

    json_object_object_del(status, "uptime");
    json_object_object_del(member(status, "client"), "requests");
    json_object_object_del(member(status, "client"), "errors");
    text = strdup(json_object_to_json_string(status));
    json_object_put(status);
    return text;
}

START_TEST(test_bad_requests)
{
    struct server s;
    struct client *c;
    uint64_t pattern = 0x1122334455667788;
    uint64_t back;
    char *before;

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(client_region_write(c, 1, 0, &pattern, sizeof(pattern)), 0);
    before = fingerprint(&s);
    for (size_t i = 0; i < N_BAD; i++) {
        const struct bad_request *bad = &bad_requests[i];
        struct client_call call = { .command = bad->command,
                                    .fixed = bad->words,
                                    .fixed_len = bad->len };
        char *after;
        int err = client_call(c, &call);

        ck_assert_msg(err == -bad->err, "%s: %s", bad->what, strerror(-err));
        after = fingerprint(&s);
        ck_assert_msg(strcmp(before, after) == 0, "%s: %s became %s", bad->what, before, after);
        free(after);
    }
    ck_assert_int_eq(client_region_read(c, 1, 0, &back, sizeof(back)), 0);
    ck_assert_uint_eq(back, pattern);
    free(before);
    client_free(c);
    server_stop(&s);
}
END_TEST

/*
 * What costs the connection, and only that
 */

struct bad_stream {
    const char *what;
    uint32_t size;
    uint32_t flags;
    bool after_version;
};

static const struct bad_stream bad_streams[] = {
    { "size 0", 0, 0, true },
    { "size 15", 15, 0, true },
    { "size over the limit", (1u << 20) + MESSAGE_OVERHEAD + 1, 0, true },
    { "size 4 GiB - 1", UINT32_MAX, 0, true },
    { "type 2", 16, 2, true },
    { "type 15", 16, 15, true },
    { "size 15 first", 15, 0, false },
    { "a large first message", MESSAGE_OVERHEAD + 1, 0, false },
};

START_TEST(test_bad_streams)
{
    struct server s;

    server_start(&s, NULL);
    for (size_t i = 0; i < sizeof(bad_streams) / sizeof(bad_streams[0]); i++) {
        const struct bad_stream *bad = &bad_streams[i];
        struct client *c = NULL;
        int sock;

        if (bad->after_version) {
            c = server_connect(&s);
            sock = stream_fd(client_stream(c));
        } else {
            sock = server_connect_raw(&s);
        }
        send_header(sock, VFIO_USER_DEVICE_RESET, bad->size, bad->flags);
        ck_assert_msg(is_closed(sock), "%s: still open", bad->what);
        client_free(c);
        if (c == NULL)
            close(sock);
        ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    }
    ck_assert(server_log_has(&s, "out of step"));
    server_stop(&s);
}
END_TEST

static const char *const bad_versions[] = {
    "",                                             /* no NUL */
    "{",                                            /* cut */
    "[]",                                           /* no object */
    "{\"capabilities\":[]}",                        /* no object in it */
    "{\"capabilities\":{\"max_msg_fds\":\"8\"}}",   /* no number */
    "{\"capabilities\":{\"max_msg_fds\":-1}}",      /* no such number */
    "{\"capabilities\":{\"twin_socket\":true}}",    /* no object */
    "{\"capabilities\":{\"write_multiple\":1}}",    /* no boolean */
    "{\"capabilities\":{\"migration\":4096}}",      /* no object */
    "{\"capabilities\":{\"max_msg_fds\":1}} trail", /* not the end */
};

static void send_version(int sock, uint16_t major, const char *json, bool nul)
{
    size_t len = strlen(json) + nul;
    uint16_t version[2] = { major, 1 };
    uint8_t wire[512];

    message_encode_header(wire, 1, VFIO_USER_VERSION, (uint32_t)(20 + len), 0, 0);
    memcpy(wire + 16, version, 4);
    memcpy(wire + 20, json, len);
    send_all(sock, wire, 20 + len);
}

/* The server's answer is a bare error header; returns its errno. */
static int read_error(int sock)
{
    struct vfio_user_header hdr = { 0 };
    struct pollfd p = { .fd = sock, .events = POLLIN };

    ck_assert_int_eq(poll(&p, 1, 2000), 1);
    ck_assert_int_eq(recv(sock, &hdr, sizeof(hdr), MSG_WAITALL), (int)sizeof(hdr));
    ck_assert_uint_eq(hdr.size, sizeof(hdr));
    ck_assert_uint_eq(hdr.flags, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR);
    ck_assert_uint_ne(hdr.error, 0);
    return (int)hdr.error;
}

START_TEST(test_bad_versions)
{
    struct server s;
    int sock;

    server_start(&s, NULL);
    for (size_t i = 0; i < sizeof(bad_versions) / sizeof(bad_versions[0]); i++) {
        sock = server_connect_raw(&s);
        send_version(sock, 0, i == 0 ? "{}" : bad_versions[i], i != 0);
        ck_assert_msg(read_error(sock) == EINVAL, "%s", bad_versions[i]);
        ck_assert_msg(is_closed(sock), "%s", bad_versions[i]);
        close(sock);
    }
    sock = server_connect_raw(&s);
    send_version(sock, 1, "{}", true);
    ck_assert_int_eq(read_error(sock), ENOTSUP);
    ck_assert(is_closed(sock));
    close(sock);
    sock = server_connect_raw(&s);
    send_header(sock, VFIO_USER_DEVICE_GET_INFO, 16, 0);
    ck_assert_int_eq(read_error(sock), EINVAL);
    ck_assert(is_closed(sock));
    close(sock);
    client_free(server_connect(&s)); /* and it still serves */
    server_stop(&s);
}
END_TEST

START_TEST(test_second_client)
{
    struct server s;
    struct client *first;
    struct vfio_user_device_info info;
    int idle;
    int sock;

    server_start(&s, NULL);
    idle = server_connect_raw(&s); /* says nothing: keeps nobody out */
    first = server_connect(&s);
    for (int i = 0; i < 50; i++) {
        sock = server_connect_raw(&s);
        send_version(sock, 0, "{}", true);
        ck_assert_int_eq(read_error(sock), EBUSY);
        ck_assert(is_closed(sock));
        close(sock);
    }
    ck_assert_int_eq(client_get_info(first, &info), 0);
    client_free(first);
    close(idle);
    first = server_connect(&s);
    ck_assert_int_eq(client_get_info(first, &info), 0);
    client_free(first);
    server_stop(&s);
}
END_TEST

START_TEST(test_many_connections)
{
    struct server s;
    struct client *c;
    int socks[40];
    unsigned fds;

    server_start(&s, NULL);
    fds = server_fds(&s);
    for (size_t i = 0; i < 40; i++)
        socks[i] = server_connect_raw(&s);
    c = server_connect(&s); /* at once, although 40 others hold their tongue */
    for (size_t i = 0; i < 40; i++)
        close(socks[i]);
    ck_assert_int_eq(client_reset(c), 0);
    client_free(c);
    server_wait_fds(&s, fds);
    server_stop(&s);
}
END_TEST

/*
 * Clients that die at any moment, with replies unread and half a message sent: the next one is
 * welcome at once, however fast it comes.
 */
START_TEST(test_sudden_ends)
{
    const struct vfio_user_region_access access = { .region = 1, .count = 8 };
    struct vfio_user_device_info info;
    struct server s;
    uint8_t wire[40] = { 0 };
    unsigned seed = 7;
    unsigned fds;

    server_start(&s, NULL);
    fds = server_fds(&s);
    for (int i = 0; i < 400; i++) {
        struct client *c = server_connect(&s);
        int sock = stream_fd(client_stream(c));
        int n = rand_r(&seed) % 50;

        ck_assert_int_eq(client_get_info(c, &info), 0);
        for (int j = 0; j < n; j++) {
            bool read = rand_r(&seed) % 2 == 0;
            size_t size = read ? 32 : 40;

            message_encode_header(wire, 1, read ? VFIO_USER_REGION_READ : VFIO_USER_REGION_WRITE,
                                  (uint32_t)size, read ? 0 : VFIO_USER_NO_REPLY, 0);
            memcpy(wire + 16, &access, sizeof(access));
            send_all(sock, wire, size);
        }
        if (i % 3 == 0)
            send_all(sock, wire, 1 + (size_t)rand_r(&seed) % 39);
        client_free(c);
    }
    server_wait_fds(&s, fds);
    server_stop(&s);
}
END_TEST

/*
 * Fds, and noise
 */

/* Fds where none belong are closed; the messages are handled. */
START_TEST(test_unwanted_fds)
{
    const uint16_t commands[] = { VFIO_USER_DEVICE_RESET, 999 };
    struct server s;
    struct client *c;
    unsigned fds;
    int memory = make_memory(4096);

    server_start(&s, NULL);
    c = server_connect(&s);
    fds = server_fds(&s);
    for (int i = 0; i < 200; i++) {
        struct client_call call = { .command = commands[i % 2], .fds = &memory, .nfds = 1 };

        ck_assert_int_eq(client_call(c, &call), i % 2 == 0 ? 0 : -ENOTSUP);
    }
    for (int i = 0; i < 100; i++) /* an fd with each byte of a message that is never complete */
        send_fd_on(stream_fd(client_stream(c)),
                   i < 16 ? "\1\0\15\0\377\377\0\0\0\0\0\0\0\0\0\0" + i : "x", 1, memory);
    client_free(c);
    server_wait_fds(&s, fds - 1);
    close(memory);
    server_stop(&s);
}
END_TEST

/* Random messages, most of them nearly right; the seed is fixed. */
START_TEST(test_random_messages)
{
    struct server s;
    unsigned seed = 20261122;
    int sock = -1;

    server_start(&s, NULL);
    for (int i = 0; i < 20000; i++) {
        uint32_t words[24];
        uint32_t size = 16 + (uint32_t)(rand_r(&seed) % 80);

        if (sock < 0) {
            sock = server_connect_raw(&s);
            send_version(sock, 0, "{}", true);
        }
        for (size_t w = 0; w < 24; w++)
            words[w] =
                rand_r(&seed) % 3 == 0 ? (uint32_t)rand_r(&seed) : (uint32_t)rand_r(&seed) % 40;
        message_encode_header((uint8_t *)words, (uint16_t)i, (uint16_t)(rand_r(&seed) % 20),
                              rand_r(&seed) % 500 == 0 ? (uint32_t)rand_r(&seed) % 64 : size,
                              rand_r(&seed) % 200 == 0 ? (uint32_t)rand_r(&seed) : 0, 0);
        if (send(sock, words, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (int)size ||
            rand_r(&seed) % 100 == 0) {
            close(sock);
            sock = -1;
        } else {
            char data[65536];

            while (recv(sock, data, sizeof(data), MSG_DONTWAIT) > 0)
                ;
        }
        if (i % 1000 == 0)
            ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    }
    if (sock >= 0)
        close(sock);
    client_free(server_connect(&s));
    server_stop(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hostile");
    TCase *tcase = tcase_create("clients");

    tcase_set_timeout(tcase, 40);
    tcase_add_test(tcase, test_bad_requests);
    tcase_add_test(tcase, test_bad_streams);
    tcase_add_test(tcase, test_bad_versions);
    tcase_add_test(tcase, test_second_client);
    tcase_add_test(tcase, test_many_connections);
    tcase_add_test(tcase, test_sudden_ends);
    tcase_add_test(tcase, test_unwanted_fds);
    tcase_add_test(tcase, test_random_messages);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
