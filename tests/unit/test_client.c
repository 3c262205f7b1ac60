/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/client.c against a server that follows a script. */
#define _GNU_SOURCE
#include "client.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fake_server.h"
#include "suite.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * One call of each kind, as a function of the client alone.
 */

static int call_info(struct client *c)
{
    struct vfio_user_device_info info;

    return client_get_info(c, &info);
}

static int call_region(struct client *c)
{
    struct vfio_region_info *info = NULL;
    int fd = -1;
    int err = client_get_region_info(c, 1, &info, &fd);

    free(info);
    if (fd >= 0)
        close(fd);
    return err;
}

static int call_irq(struct client *c)
{
    struct vfio_irq_info info;

    return client_get_irq_info(c, 2, &info);
}

static int call_set_irqs(struct client *c)
{
    return client_set_irqs(c, 0x21, 0, 0, 0, NULL, NULL, 0);
}

static int call_read(struct client *c)
{
    uint32_t data;

    return client_region_read(c, 0, 16, &data, sizeof(data));
}

static int call_write(struct client *c)
{
    return client_region_write(c, 0, 16, "abc", 4);
}

static int call_multi(struct client *c)
{
    struct vfio_user_write_single write = { .count = 4 };
    uint64_t done;

    return client_write_multi(c, &write, 1, &done);
}

static int call_map(struct client *c)
{
    return client_dma_map(c, 0x1000, 0x1000, 3, -1, 0);
}

static int call_unmap(struct client *c)
{
    return client_dma_unmap(c, 0x1000, 0x1000, 0);
}

static int call_negotiate(struct client *c)
{
    struct version_caps ours, theirs;

    version_defaults(&ours);
    ours.present = VERSION_TWIN_SOCKET | VERSION_MAX_MSG_FDS;
    ours.twin_socket = true;
    return client_negotiate(c, &ours, &theirs);
}

static const struct call {
    const char *name;
    int (*call)(struct client *c);
    size_t len; /* of a right reply's payload */
} calls[] = {
    { "info", call_info, 16 },    { "region", call_region, 32 },    { "irq", call_irq, 16 },
    { "set", call_set_irqs, 0 },  { "read", call_read, 20 },        { "write", call_write, 16 },
    { "multi", call_multi, 8 },   { "map", call_map, 0 },           { "unmap", call_unmap, 24 },
    { "reset", client_reset, 0 }, { "version", call_negotiate, 4 },
};

/* What every call does with these answers. */
static const struct answer {
    struct step step;
    int err;
} answers[] = {
    { { .what = ERROR, .error = EINVAL }, -EINVAL },
    { { .what = ERROR, .error = ENOSPC }, -ENOSPC },
    { { .what = ERROR, .error = 0 }, -EPROTO },
    { { .what = ERROR, .error = 4096 }, -EPROTO },
    { { .what = ERROR, .error = UINT32_MAX }, -EPROTO },
    { { .what = ERROR, .error = EINVAL, .len = 1, .payload = "" }, -EPROTO },
    { { .what = ERROR, .error = EINVAL, .change = WITH_FD }, -EINVAL },
    { { .what = REPLY, .change = WRONG_ID }, -EPROTO },
    { { .what = REPLY, .change = WRONG_COMMAND }, -EPROTO },
    { { .what = REPLY, .change = BAD_SIZE }, -EPROTO },
    { { .what = HALF_REPLY }, -ENOTCONN },
};

START_TEST(test_answers)
{
    const struct answer *answer = &answers[_i];

    for (unsigned i = 0; i < COUNT(calls); i++) {
        const struct step steps[] = { { .what = REQUEST }, answer->step, { .what = END } };
        unsigned before = count_fds();
        struct server server;
        int err;

        server_start(&server, steps);
        err = calls[i].call(server.client);
        ck_assert_msg(err == answer->err, "%s: %d, not %d", calls[i].name, err, answer->err);
        server_finish(&server);
        ck_assert_msg(count_fds() == before, "%s keeps an fd", calls[i].name);
    }
}
END_TEST

/* One byte less and one more than a right reply's length, the second with an fd. */
START_TEST(test_wrong_length)
{
    static const uint8_t zeros[64];
    const struct call *call = &calls[_i];

    for (unsigned i = 0; i < 2; i++) {
        size_t len = i == 0 ? call->len - 1 : call->len + 1;
        const struct step steps[] = {
            { .what = REQUEST },
            { .what = REPLY, .len = len, .payload = zeros, .change = i * WITH_FD },
            { .what = END },
        };
        unsigned before = count_fds();
        struct server server;

        if (len > sizeof(zeros))
            continue;
        server_start(&server, steps);
        ck_assert_msg(call->call(server.client) == -EPROTO, "%s, %zu bytes", call->name, len);
        server_finish(&server);
        ck_assert_msg(count_fds() == before, "%s, %zu bytes: keeps an fd", call->name, len);
    }
}
END_TEST

START_TEST(test_timeout)
{
    static const struct step steps[] = { { .what = HANG } };
    struct server server;
    int64_t begin;

    server_start(&server, steps);
    client_set_timeout(server.client, 50);
    begin = now_ms();
    ck_assert_int_eq(client_reset(server.client), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - begin, 50);
    ck_assert_int_lt(now_ms() - begin, 1000);
    server_kill(&server);
}
END_TEST

START_TEST(test_server_closes)
{
    static const struct step steps[] = { { .what = REQUEST }, { .what = END } };
    struct server server;
    int err;

    server_start(&server, steps);
    ck_assert_int_eq(client_reset(server.client), -ENOTCONN);
    err = client_reset(server.client);
    ck_assert(err == -EPIPE || err == -ENOTCONN);
    server_finish(&server);
}
END_TEST

START_TEST(test_connect)
{
    char path[200];
    struct client *c = NULL;

    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    ck_assert_int_eq(client_connect(path, &c), -ENAMETOOLONG);
    ck_assert_int_eq(client_connect("/nonexistent/socket", &c), -ENOENT);
    ck_assert_int_eq(client_new(-1, &c), -EBADF);
    ck_assert_ptr_null(c);
    client_free(NULL);
}
END_TEST

/*
 * Region info
 */

static const struct vfio_region_info needs_more = { .argsz = 64, .index = 1, .size = 4096 };
static const uint8_t whole_region[64] = { 64, 0, 0, 0, 4 };
static const uint8_t whole_region_larger[64] = { 80, 0, 0, 0, 4 };
static const uint8_t region_too_large[32] = { 1, 0, 1, 0 };
static const struct vfio_region_info ask_32 = { .argsz = 32, .index = 1 };
static const struct vfio_region_info ask_64 = { .argsz = 64, .index = 1 };

#define GET_REGION VFIO_USER_DEVICE_GET_REGION_INFO

static const struct step two_steps[] = {
    { .what = REQUEST, .command = GET_REGION, .len = 32, .payload = &ask_32 },
    { .what = REPLY, .len = 32, .payload = &needs_more },
    { .what = REQUEST, .command = GET_REGION, .len = 32, .payload = &ask_64 },
    { .what = REPLY, .len = 64, .payload = whole_region, .change = WITH_FD },
    { .what = END },
};

/* The first answer brings the fd as well, which must not be kept twice. */
static const struct step fd_twice[] = {
    { .what = REQUEST, .command = GET_REGION },
    { .what = REPLY, .len = 32, .payload = &needs_more, .change = WITH_FD },
    { .what = REQUEST, .command = GET_REGION },
    { .what = REPLY, .len = 64, .payload = whole_region, .change = WITH_FD },
    { .what = END },
};

static const struct step no_fd[] = {
    { .what = REQUEST }, { .what = REPLY, .len = 32, .payload = &needs_more, .change = WITH_FD },
    { .what = REQUEST }, { .what = REPLY, .len = 64, .payload = whole_region },
    { .what = END },
};

static const struct region_row {
    const struct step *steps;
    bool fd;
} region_rows[] = { { two_steps, true }, { fd_twice, true }, { no_fd, false } };

START_TEST(test_region_info)
{
    const struct region_row *row = &region_rows[_i];
    unsigned before = count_fds();
    struct vfio_region_info *info = NULL;
    struct server server;
    uint64_t value;
    int fd = -7;

    server_start(&server, row->steps);
    ck_assert_int_eq(client_get_region_info(server.client, 1, &info, &fd), 0);
    ck_assert_mem_eq(info, whole_region, sizeof(whole_region));
    if (row->fd) {
        ck_assert_int_eq(read(fd, &value, sizeof(value)), sizeof(value));
        ck_assert_uint_eq(value, 5);
        close(fd);
    } else {
        ck_assert_int_eq(fd, -1);
    }
    free(info);
    server_finish(&server);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/* A second answer that wants more again, up to one that wants more than is sane. */
START_TEST(test_region_info_grows)
{
    static const struct step steps[] = {
        { .what = REQUEST },
        { .what = REPLY, .len = 32, .payload = &needs_more, .change = WITH_FD },
        { .what = REQUEST },
        { .what = REPLY, .len = 64, .payload = whole_region_larger, .change = WITH_FD },
        { .what = REQUEST },
        { .what = REPLY, .len = 32, .payload = region_too_large, .change = WITH_FD },
        { .what = END },
    };
    unsigned before = count_fds();
    struct vfio_region_info *info = NULL;
    struct server server;
    int fd = -7;

    server_start(&server, steps);
    ck_assert_int_eq(client_get_region_info(server.client, 1, &info, &fd), -EPROTO);
    ck_assert_ptr_null(info);
    server_finish(&server);
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/*
 * Commands of the server
 */

static uint8_t guest[64];

static int guest_read(void *opaque, uint64_t address, void *data, uint64_t count)
{
    ck_assert_ptr_eq(opaque, guest);
    if (address > sizeof(guest) || count > sizeof(guest) - address)
        return -EFAULT;
    memcpy(data, guest + address, count);
    return 0;
}

static int guest_write(void *opaque, uint64_t address, const void *data, uint64_t count)
{
    ck_assert_ptr_eq(opaque, guest);
    if (address > sizeof(guest) || count > sizeof(guest) - address)
        return -EFAULT;
    memcpy(guest + address, data, count);
    return 0;
}

static const struct client_memory memory = { guest, guest_read, guest_write };

static const struct {
    struct vfio_user_dma_access head;
    uint8_t data[4];
} dma = { { 8, 4 }, { 1, 2, 3, 4 } }, dma_far = { { 62, 4 }, { 1, 2, 3, 4 } },
  dma_wide = { { 0, UINT64_MAX }, { 0 } };

#define DMA(cmd, bytes, from)                                          \
    {                                                                  \
        .what = COMMAND, .command = cmd, .len = bytes, .payload = from \
    }
#define DONE(cmd, bytes)                                              \
    {                                                                 \
        .what = EXPECT, .command = cmd, .len = bytes, .payload = &dma \
    }
#define FAILS(cmd, err)                              \
    {                                                \
        .what = EXPECT, .command = cmd, .error = err \
    }

START_TEST(test_server_commands)
{
    static const struct step steps[] = {
        { .what = REQUEST, .command = VFIO_USER_DEVICE_RESET },
        DMA(VFIO_USER_DMA_WRITE, 20, &dma),
        DONE(VFIO_USER_DMA_WRITE, 16),
        DMA(VFIO_USER_DMA_READ, 16, &dma),
        DONE(VFIO_USER_DMA_READ, 20),
        DMA(VFIO_USER_DMA_READ, 16, &dma_far),
        FAILS(VFIO_USER_DMA_READ, EFAULT),
        DMA(VFIO_USER_DMA_WRITE, 20, &dma_far),
        FAILS(VFIO_USER_DMA_WRITE, EFAULT),
        DMA(VFIO_USER_DMA_READ, 16, &dma_wide),
        FAILS(VFIO_USER_DMA_READ, EINVAL),
        DMA(VFIO_USER_DMA_WRITE, 20, &dma_wide),
        FAILS(VFIO_USER_DMA_WRITE, EINVAL),
        DMA(VFIO_USER_DMA_WRITE, 19, &dma),
        FAILS(VFIO_USER_DMA_WRITE, EINVAL),
        DMA(VFIO_USER_DMA_READ, 17, &dma),
        FAILS(VFIO_USER_DMA_READ, EINVAL),
        DMA(VFIO_USER_DMA_READ, 15, &dma),
        FAILS(VFIO_USER_DMA_READ, EINVAL),
        DMA(VFIO_USER_REGION_READ, 16, &dma),
        FAILS(VFIO_USER_REGION_READ, EINVAL),
        { .what = REPLY },
        { .what = END },
    };
    struct server server;

    server_start(&server, steps);
    client_set_memory(server.client, &memory);
    ck_assert_int_eq(client_reset(server.client), 0);
    server_finish(&server);
    ck_assert_mem_eq(guest + 8, dma.data, 4);
    ck_assert_uint_eq(guest[62], 0);
}
END_TEST

START_TEST(test_no_memory)
{
    static const struct step steps[] = {
        DMA(VFIO_USER_DMA_WRITE, 20, &dma),
        FAILS(VFIO_USER_DMA_WRITE, ENOTSUP),
        DMA(VFIO_USER_DMA_READ, 16, &dma),
        FAILS(VFIO_USER_DMA_READ, ENOTSUP),
        { .what = END },
    };
    struct server server;

    server_start(&server, steps);
    ck_assert_int_eq(client_serve(server.client, -1, 1000), -ENOTCONN);
    server_finish(&server);
}
END_TEST

/* Section "Header": a command with No_reply gets none. */
START_TEST(test_no_reply_of_client)
{
    static const struct step steps[] = {
        { .what = COMMAND,
          .command = VFIO_USER_DMA_WRITE,
          .len = 20,
          .payload = &dma,
          .flags = VFIO_USER_NO_REPLY },
        { .what = QUIET },
        { .what = END },
    };
    struct server server;
    int err;

    guest[8] = 0;
    server_start(&server, steps);
    client_set_memory(server.client, &memory);
    err = client_serve(server.client, -1, 1000);
    server_finish(&server);
    ck_assert_int_eq(err, -ENOTCONN);
    ck_assert_uint_eq(guest[8], 1);
}
END_TEST

START_TEST(test_post)
{
    static const struct step steps[] = {
        { .what = REQUEST, .command = VFIO_USER_REGION_WRITE },
        { .what = REQUEST, .command = VFIO_USER_DEVICE_RESET },
        { .what = REPLY },
        { .what = END },
    };
    struct server server;

    server_start(&server, steps);
    ck_assert_int_eq(client_region_post(server.client, 0, 0, "abc", 4), 0);
    ck_assert_int_eq(client_reset(server.client), 0);
    server_finish(&server);
}
END_TEST

/* Two commands on their way at once; the replies come in order, each to be waited for. */
START_TEST(test_send_and_wait)
{
    static const struct step steps[] = {
        { .what = REQUEST }, { .what = REPLY, .len = 3, .payload = "abc", .change = WITH_FD },
        { .what = REQUEST }, { .what = REPLY, .len = 3, .payload = "xyz" },
        { .what = END },
    };
    char data[2];
    int fds[2] = { -1, -1 };
    struct client_call call = { .command = VFIO_USER_DEVICE_FEATURE,
                                .reply = data,
                                .reply_max = 2,
                                .reply_fds = fds,
                                .reply_nfds = 2 };
    struct server server;
    int ids[2];

    server_start(&server, steps);
    ids[0] = client_send(server.client, &call);
    ids[1] = client_send(server.client, &call);
    ck_assert(ids[0] >= 0 && ids[1] >= 0 && ids[0] != ids[1]);
    ck_assert_int_eq(client_wait(server.client, (uint16_t)ids[0], &call), 0);
    ck_assert_uint_eq(call.reply_len, 3);
    ck_assert_mem_eq(data, "ab", 2);
    ck_assert_uint_eq(call.reply_nfds, 1);
    close(fds[0]);
    ck_assert_int_eq(client_wait(server.client, (uint16_t)ids[1], &call), 0);
    ck_assert_mem_eq(data, "xy", 2);
    ck_assert_uint_eq(call.reply_nfds, 0);
    server_finish(&server);
}
END_TEST

START_TEST(test_serve)
{
    static const struct step steps[] = { { .what = HANG } };
    int event = eventfd(0, EFD_CLOEXEC);
    uint64_t one = 1;
    struct server server;
    int pipes[2];

    server_start(&server, steps);
    ck_assert_int_eq(client_serve(server.client, event, 20), -ETIMEDOUT);
    ck_assert_int_eq(write(event, &one, sizeof(one)), sizeof(one));
    ck_assert_int_eq(client_serve(server.client, event, 1000), 0);
    close(event);
    /* A pipe without a writer would not block a reader either. */
    ck_assert_int_eq(pipe(pipes), 0);
    close(pipes[1]);
    ck_assert(client_serve(server.client, pipes[0], 20) <= 0);
    close(pipes[0]);
    server_kill(&server);
}
END_TEST

START_TEST(test_serve_stray_reply)
{
    static const struct step steps[] = { { .what = REPLY }, { .what = END } };
    struct server server;

    server_start(&server, steps);
    ck_assert_int_eq(client_serve(server.client, -1, 1000), -EPROTO);
    server_finish(&server);
}
END_TEST

#define VERSION_REPLY(minor, json) "\0\0" minor "\0" json, sizeof("\0\0" minor "\0" json)

static const struct version_row {
    const char *payload;
    size_t len;
    int err;
} version_rows[] = {
    { VERSION_REPLY("\1", "{\"capabilities\":{}}"), 0 },
    { VERSION_REPLY("\0", "{\"capabilities\":{\"max_msg_fds\":1}}"), 0 },
    { "\0\0\1\0", 4, 0 },
    { VERSION_REPLY("\2", "{}"), -EPROTO },
    { "\1\0\1\0", 4, -EPROTO },
    { "\0\0\1", 3, -EPROTO },
    { "", 0, -EPROTO },
    { "\0\0\1\0{}", 6, -EPROTO },
    { VERSION_REPLY("\1", "[]"), -EPROTO },
    { VERSION_REPLY("\1", "{}\0{}"), -EPROTO },
    { VERSION_REPLY("\1", "{\"capabilities\":{\"max_msg_fds\":-1}}"), -EPROTO },
    /* Section "VFIO_USER_VERSION", "Reply": supported, and no fd to be found: inconsistent. */
    { VERSION_REPLY("\1", "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}"), -EPROTO },
};

START_TEST(test_negotiate)
{
    const struct version_row *row = &version_rows[_i];
    const struct step steps[] = {
        { .what = REQUEST, .command = VFIO_USER_VERSION },
        { .what = REPLY, .len = row->len, .payload = row->payload },
        { .what = END },
    };
    struct server server;

    server_start(&server, steps);
    ck_assert_int_eq(call_negotiate(server.client), row->err);
    server_finish(&server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *tc = tcase_create("client");

    tcase_set_timeout(tc, 2);
    tcase_add_loop_test(tc, test_answers, 0, COUNT(answers));
    tcase_add_loop_test(tc, test_wrong_length, 0, COUNT(calls));
    tcase_add_test(tc, test_timeout);
    tcase_add_test(tc, test_server_closes);
    tcase_add_test(tc, test_connect);
    tcase_add_loop_test(tc, test_region_info, 0, COUNT(region_rows));
    tcase_add_test(tc, test_region_info_grows);
    tcase_add_test(tc, test_server_commands);
    tcase_add_test(tc, test_no_memory);
    tcase_add_test(tc, test_no_reply_of_client);
    tcase_add_test(tc, test_post);
    tcase_add_test(tc, test_send_and_wait);
    tcase_add_test(tc, test_serve);
    tcase_add_test(tc, test_serve_stray_reply);
    tcase_add_loop_test(tc, test_negotiate, 0, COUNT(version_rows));
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
