/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GET_REGION_IO_FDS of a running daemon, and rings that reach it through the eventfd: with the loop
 * alone, beside messages, and while the device moves between daemons.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "integration/handover_kit.h"
#include "integration/live_kit.h"
#include "suite.h"

#define BELL      0x800
#define COUNT     0x804
#define TRAPPED   0x808
#define IO_FDS    VFIO_USER_DEVICE_GET_REGION_IO_FDS
#define HANDOVERS 20
#define WAIT_MS   5000

struct answer {
    struct vfio_user_region_io_fds head;
    struct vfio_user_io_fd entries[4];
    size_t len;
    int fds[8];
    unsigned nfds;
};

static int ask_as(struct client *c, const struct vfio_user_region_io_fds *ask, size_t len,
                  struct answer *out)
{
    struct client_call call = { .command = IO_FDS,
                                .fixed = ask,
                                .fixed_len = len,
                                .reply = out,
                                .reply_max = offsetof(struct answer, len),
                                .reply_fds = out->fds,
                                .reply_nfds = 8 };
    int err;

    memset(out, 0, sizeof(*out));
    err = client_call(c, &call);
    out->len = call.reply_len;
    out->nfds = call.reply_nfds;
    return err;
}

static int ask(struct client *c, uint32_t argsz, uint32_t region, struct answer *out)
{
    const struct vfio_user_region_io_fds head = { .argsz = argsz, .index = region };

    return ask_as(c, &head, sizeof(head), out);
}

static void close_fds(const struct answer *a)
{
    for (unsigned i = 0; i < a->nfds; i++)
        close(a->fds[i]);
}

/* What a VMM keeps of it. */
struct bell {
    int event;
    uint32_t *shadow;
};

static void bell_get(struct client *c, struct bell *b)
{
    struct answer a;

    ck_assert_int_eq(ask(c, 4096, 0, &a), 0);
    ck_assert_uint_eq(a.head.count, 1);
    ck_assert_uint_eq(a.nfds, 2);
    b->event = a.fds[a.entries[0].fd_index];
    b->shadow = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
                     a.fds[a.entries[0].shadow_fd_index], (off_t)a.entries[0].shadow_offset);
    ck_assert_ptr_ne(b->shadow, MAP_FAILED);
    close(a.fds[a.entries[0].shadow_fd_index]);
}

static void bell_close(struct bell *b)
{
    munmap(b->shadow, 4096);
    close(b->event);
}

static void ring(const struct bell *b, uint32_t value)
{
    const uint64_t one = 1;

    __atomic_store_n(b->shadow, value, __ATOMIC_RELEASE);
    ck_assert_int_eq(write(b->event, &one, sizeof(one)), sizeof(one));
}

/* Until the daemon has taken all rings, without a message that would make it. */
static void wait_taken(const struct bell *b)
{
    int64_t end = now_ms() + WAIT_MS;
    struct pollfd p = { .fd = b->event, .events = POLLIN };

    while (poll(&p, 1, 0) != 0 && now_ms() < end)
        poll(NULL, 0, 1);
    ck_assert_int_eq(poll(&p, 1, 0), 0);
}

static struct client *connect_with(const struct server *s, uint64_t max_msg_fds)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *c;

    version_defaults(&ours);
    ours.present = VERSION_MAX_MSG_FDS;
    ours.max_msg_fds = max_msg_fds;
    ck_assert_int_eq(client_connect(s->socket, &c), 0);
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), 0);
    return c;
}

START_TEST(each_region_is_answered)
{
    struct server s;
    struct client *c;
    struct answer a;

    server_start(&s, NULL);
    c = server_connect(&s);
    for (uint32_t region = 1; region < VFIO_PCI_NUM_REGIONS; region++) {
        ck_assert_int_eq(ask(c, 4096, region, &a), 0);
        ck_assert_uint_eq(a.len, 16);
        ck_assert_uint_eq(a.head.argsz, 16);
        ck_assert_uint_eq(a.head.index, region);
        ck_assert_uint_eq(a.head.count, 0);
        ck_assert_uint_eq(a.nfds, 0);
    }
    /* In two steps: the size, and no fds yet. */
    for (uint32_t argsz = 16; argsz < 64; argsz += 47) {
        ck_assert_int_eq(ask(c, argsz, 0, &a), 0);
        ck_assert_uint_eq(a.len, 16);
        ck_assert_uint_eq(a.head.argsz, 64);
        ck_assert_uint_eq(a.head.count, 1);
        ck_assert_uint_eq(a.nfds, 0);
    }
    ck_assert_int_eq(ask(c, 64, 0, &a), 0);
    ck_assert_uint_eq(a.len, 64);
    ck_assert_uint_eq(a.head.flags, 0);
    ck_assert_uint_eq(a.nfds, 2);
    ck_assert_uint_eq(a.entries[0].offset, BELL);
    ck_assert_uint_eq(a.entries[0].size, 4);
    ck_assert_uint_eq(a.entries[0].type, VFIO_USER_IO_FD_IOEVENTFD_SHADOW);
    ck_assert_uint_eq(a.entries[0].flags, 0);
    ck_assert_uint_ne(a.entries[0].fd_index, a.entries[0].shadow_fd_index);
    close_fds(&a);
    ck_assert_int_eq(ask(c, UINT32_MAX, 0, &a), 0);
    ck_assert_uint_eq(a.len, 64);
    close_fds(&a);
    client_free(c);
    server_stop(&s);
}
END_TEST

START_TEST(bad_questions)
{
    static const struct {
        struct vfio_user_region_io_fds ask;
        size_t len;
    } rows[] = {
        { { .argsz = 64, .index = VFIO_PCI_NUM_REGIONS }, 16 },
        { { .argsz = 64, .index = 0xdeadbeef }, 16 },
        { { .argsz = 64, .index = UINT32_MAX }, 16 },
        { { .argsz = 15 }, 16 },
        { { .argsz = 0 }, 16 },
        { { .argsz = 64, .flags = 1 }, 16 },
        { { .argsz = 64, .count = 1 }, 16 },
        { { .argsz = UINT32_MAX, .count = UINT32_MAX }, 16 }, /* it would overflow */
        { { .argsz = 64 }, 12 },
        { { .argsz = 64 }, 0 },
    };
    struct server s;
    struct client *c;
    struct answer a;

    server_start(&s, NULL);
    c = server_connect(&s);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_msg(ask_as(c, &rows[i].ask, rows[i].len, &a) == -EINVAL, "row %zu", i);
        ck_assert_uint_eq(a.nfds, 0);
    }
    ck_assert_int_eq(ask(c, 64, 0, &a), 0);
    ck_assert_uint_eq(a.nfds, 2);
    close_fds(&a);
    client_free(c);
    server_stop(&s);
}
END_TEST

START_TEST(other_kinds)
{
    struct server s;
    struct client *c;
    struct answer a;

    server_start(&s, "{\"doorbell\": \"ioeventfd\"}");
    c = connect_with(&s, 1);
    ck_assert_int_eq(ask(c, 64, 0, &a), 0);
    ck_assert_uint_eq(a.head.count, 1);
    ck_assert_uint_eq(a.nfds, 1);
    ck_assert_uint_eq(a.entries[0].type, VFIO_USER_IO_FD_IOEVENTFD);
    ck_assert_uint_eq(a.entries[0].fd_index, 0);
    write_reg(c, BELL, 0x1234, 4);
    ring(&(struct bell) { .event = a.fds[0], .shadow = &(uint32_t) { 0 } }, 0);
    ck_assert_uint_eq(read_reg(c, COUNT, 4), 2);
    ck_assert_uint_eq(read_reg(c, BELL, 4), 0x1234);
    close_fds(&a);
    client_free(c);
    server_stop(&s);
    server_start(&s, "{\"doorbell\": \"none\"}");
    c = server_connect(&s);
    ck_assert_int_eq(ask(c, 64, 0, &a), 0);
    ck_assert_uint_eq(a.head.count, 0);
    ck_assert_uint_eq(a.len, 16);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* A client that cannot take the fds is given none, and one that takes none maps nothing. */
START_TEST(clients_that_take_few_fds)
{
    struct server s;
    struct vfio_region_info *info;
    struct answer a;
    int fd;

    server_start(&s, NULL);
    for (uint64_t max = 0; max < 3; max++) {
        struct client *c = connect_with(&s, max);

        ck_assert_int_eq(ask(c, 64, 0, &a), 0);
        ck_assert_uint_eq(a.head.count, max == 2);
        ck_assert_uint_eq(a.nfds, max == 2 ? 2 : 0);
        close_fds(&a);
        ck_assert_int_eq(client_get_region_info(c, 1, &info, &fd), 0);
        ck_assert_uint_eq(info->flags & VFIO_REGION_INFO_FLAG_MMAP,
                          max > 0 ? VFIO_REGION_INFO_FLAG_MMAP : 0);
        ck_assert_uint_eq(info->argsz == sizeof(*info), max == 0);
        ck_assert_int_eq(fd < 0, max == 0);
        if (fd >= 0)
            close(fd);
        free(info);
        client_free(c);
        while (server_has_client(&s))
            poll(NULL, 0, 1);
    }
    ck_assert(server_log_has(&s, "the doorbell takes 2 file descriptors in a message, and the "
                                 "client (max_msg_fds) takes 1: it rings by message"));
    server_stop(&s);
}
END_TEST

START_TEST(rings_need_no_message)
{
    struct server s;
    struct client *c;
    struct bell b;
    unsigned before;

    server_start(&s, NULL);
    c = server_connect(&s);
    before = server_fds(&s);
    bell_get(c, &b);
    for (uint32_t i = 1; i <= 100; i++) {
        ring(&b, i);
        wait_taken(&b);
    }
    ck_assert_uint_eq(read_reg(c, COUNT, 4), 100);
    ck_assert_uint_eq(read_reg(c, BELL, 4), 100);
    write_reg(c, TRAPPED, 7, 4);
    write_reg(c, BELL, 8, 4);
    ring(&b, 9); /* and is seen by the next message, at the latest */
    ck_assert_uint_eq(read_reg(c, COUNT, 4), 103);
    ck_assert_uint_eq(read_reg(c, BELL, 4), 9);
    client_free(c);
    server_wait_fds(&s, before - 1);
    /* The dead client still has its eventfd. */
    c = server_connect(&s);
    ring(&b, 10);
    ck_assert_uint_eq(read_reg(c, COUNT, 4), 103);
    bell_close(&b);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* One who rings without pause. */
struct ringer {
    struct bell bell;
    pthread_t thread;
    atomic_bool stop;
    uint32_t rings;
};

static void *ring_on(void *arg)
{
    struct ringer *r = arg;

    while (!atomic_load(&r->stop)) {
        ring(&r->bell, ++r->rings);
        if (r->rings % 64 == 0)
            poll(NULL, 0, 1);
    }
    return NULL;
}

START_TEST(no_ring_is_lost_on_the_way)
{
    struct server s[2];
    struct ringer r = { .rings = 0 };
    struct client *c;

    server_start(&s[0], NULL);
    server_start(&s[1], NULL);
    c = server_connect(&s[0]);
    bell_get(c, &r.bell);
    ck_assert_int_eq(pthread_create(&r.thread, NULL, ring_on, &r), 0);
    for (unsigned i = 0; i < HANDOVERS; i++) {
        handover_succeeds(&s[i % 2], &s[1 - i % 2], true);
        ck_assert_uint_eq(read_reg(c, TRAPPED, 4), 0); /* it is served */
    }
    atomic_store(&r.stop, true);
    pthread_join(r.thread, NULL);
    ck_assert_uint_gt(r.rings, HANDOVERS);
    ck_assert_uint_eq(read_reg(c, COUNT, 4), r.rings);
    ck_assert_uint_eq(read_reg(c, BELL, 4), r.rings);
    ring(&r.bell, 1); /* the loop of where it is now */
    wait_taken(&r.bell);
    bell_close(&r.bell);
    client_free(c);
    server_stop(&s[0]);
    server_stop(&s[1]);
}
END_TEST

/* The client has what the source gave it: a destination of another kind could not go on with it. */
START_TEST(another_kind_of_doorbell_refuses)
{
    const struct wish wish = { .keep = true };
    struct server from;
    struct server to;
    struct outcome o;
    struct client *c;
    struct bell b;

    server_start(&from, NULL);
    server_start(&to, "{\"doorbell\": \"ioeventfd\"}");
    c = server_connect(&from);
    bell_get(c, &b);
    handover_do(&from, &to, &wish, &o);
    ck_assert_str_eq(o.error, "MigrationFailed");
    ck_assert_ptr_nonnull(strstr(o.text, "doorbell"));
    ring(&b, 3);
    wait_taken(&b);
    ck_assert_uint_eq(read_reg(c, COUNT, 4), 1);
    bell_close(&b);
    client_free(c);
    server_stop(&from);
    server_stop(&to);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("doorbell");
    TCase *tcase = tcase_create("doorbell");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, each_region_is_answered);
    tcase_add_test(tcase, bad_questions);
    tcase_add_test(tcase, other_kinds);
    tcase_add_test(tcase, clients_that_take_few_fds);
    tcase_add_test(tcase, rings_need_no_message);
    tcase_add_test(tcase, no_ring_is_lost_on_the_way);
    tcase_add_test(tcase, another_kind_of_doorbell_refuses);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
