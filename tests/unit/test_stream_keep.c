/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process leaves of a stream when it dies inside of stream_fill: each system call that it
 * makes is a place to die at, and what is read there must be what was received.
 */
#define _GNU_SOURCE
#include "stream_keep.h"

#include <sys/syscall.h>

#include "suite.h"
#include "unit/stream_kit.h"

#define IN_SIZE  (4u << 20)
#define OUT_SIZE (1u << 20)

/* Memory that outlives the stream. */
struct kept {
    struct stream_journal journal;
    struct stream_fd_table fds;
    struct stream_mark mark;
    struct stream_memory memory;
};

/* While it is set, what would be left is checked behind each call that receives. */
static void (*behind_call)(void);

static ssize_t counted(ssize_t n)
{
    if (behind_call != NULL)
        behind_call();
    return n;
}

/* In the place of libc's. */
ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    return counted(syscall(SYS_recvmsg, fd, msg, flags));
}

int recvmmsg(int fd, struct mmsghdr *msg, unsigned n, int flags, struct timespec *timeout)
{
    return (int)counted(syscall(SYS_recvmmsg, fd, msg, n, flags, timeout));
}

static uint32_t store(void *opaque, int fd, const char *role)
{
    (void)opaque;
    (void)fd;
    (void)role;
    return 1;
}

static void forget(void *opaque, uint32_t serial)
{
    (void)opaque;
    (void)serial;
}

static void no_mark(void *opaque)
{
    (void)opaque;
}

static void keep(struct stream *s, struct kept *k)
{
    const struct stream_keeper keeper = { .store = store, .forget = forget, .mark = no_mark };

    *k = (struct kept) { 0 };
    k->memory = (struct stream_memory) { .journal = &k->journal,
                                         .fds = &k->fds,
                                         .in = calloc(1, IN_SIZE),
                                         .in_size = IN_SIZE,
                                         .out = calloc(1, OUT_SIZE),
                                         .out_size = OUT_SIZE };
    ck_assert_int_eq(stream_keep(s, &k->memory, &keeper), 0);
    stream_get_mark(s, &k->mark);
}

static void kept_fini(struct kept *k)
{
    free(k->memory.in);
    free(k->memory.out);
}

/* What was sent, and how much of it was handled. */
static struct {
    struct kept k;
    uint8_t *sent;
    size_t handled;
    unsigned calls;
} now;

static void check_left(void)
{
    struct stream_kept left;

    now.calls++;
    ck_assert_int_eq(stream_read_kept(&now.k.memory, &now.k.mark, &left), 0);
    ck_assert_mem_eq(left.in, now.sent + now.handled, left.in_len);
}

static size_t encode(uint8_t *to, uint16_t id, size_t len)
{
    message_encode_header(to, id, VFIO_USER_REGION_WRITE, (uint32_t)len, VFIO_USER_TYPE_COMMAND, 0);
    for (size_t i = VFIO_USER_HEADER_SIZE; i < len; i++)
        to[i] = (uint8_t)(id + i);
    return len;
}

static void check_next(struct stream *s)
{
    struct stream_message m;

    ck_assert_int_eq(stream_next(s, &m), 1);
    now.handled += m.hdr.size;
    stream_message_fini(s, &m);
    stream_get_mark(s, &now.k.mark);
}

/* Three messages, of which the second comes in two pieces: its begin is moved to the front. */
START_TEST(received_in_pieces)
{
    const size_t sizes[] = { 200, 100, 5000 };
    uint8_t *bytes = calloc(1, 8192);
    size_t len = 0;
    struct pair p;

    for (uint16_t i = 0; i < 3; i++)
        len += encode(bytes + len, i, sizes[i]);
    now.sent = bytes;
    now.handled = 0;
    now.calls = 0;
    pair_init(&p);
    keep(p.s, &now.k);
    behind_call = check_left;
    ck_assert_int_eq(send(p.peer, bytes, 250, 0), 250);
    ck_assert_int_gt(stream_fill(p.s), 0);
    check_next(p.s);
    ck_assert_int_eq(send(p.peer, bytes + 250, len - 250, 0), (int)(len - 250));
    ck_assert_int_gt(stream_fill(p.s), 0);
    check_next(p.s);
    check_next(p.s);
    ck_assert_uint_eq(now.handled, len);
    ck_assert_uint_ge(now.calls, 4);
    behind_call = NULL;
    pair_fini(&p);
    kept_fini(&now.k);
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream: keep");
    TCase *tc = tcase_create("keep");

    tcase_add_test(tc, received_in_pieces);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
