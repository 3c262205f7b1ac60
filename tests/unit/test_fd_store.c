/* SPDX-License-Identifier: BSD-3-Clause */
/* What is held elsewhere, by somebody who does not always listen. */
#define _GNU_SOURCE
#include "keep/fd_store.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "suite.h"

/* Whoever holds the copies. */
struct manager {
    int err; /* of what he is told */
    unsigned puts;
    unsigned drops;
    char dropped[FD_STORE_NAME_BYTES];
};

static int put(void *opaque, int fd, const char *name)
{
    struct manager *m = opaque;

    (void)fd;
    (void)name;
    m->puts += m->err == 0;
    return m->err;
}

static int drop(void *opaque, const char *name)
{
    struct manager *m = opaque;

    if (m->err != 0)
        return m->err;
    m->drops++;
    strcpy(m->dropped, name);
    return 0;
}

static struct fd_store *make(struct manager *m)
{
    const struct fd_store_host host = { .opaque = m, .put = put, .drop = drop, .max = 16 };
    struct fd_store *st;

    *m = (struct manager) { 0 };
    ck_assert_int_eq(fd_store_new(&host, &st), 0);
    return st;
}

/* He would drop a second copy without a word: so the name that he has is the one that counts. */
START_TEST(not_told_of_a_drop)
{
    int fds[] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };
    struct manager m;
    struct fd_store *st = make(&m);
    uint32_t first = fd_store_put(st, fds[0], "irq");
    uint32_t second = fd_store_put(st, fds[1], "irq");

    m.err = -EAGAIN;
    fd_store_unput(st, first);
    fd_store_unput(st, second);
    fd_store_drop_unused(st, 0);
    ck_assert_uint_eq(fd_store_count(st), 2);
    m.err = 0;
    ck_assert_uint_eq(fd_store_put(st, fds[1], "irq"), second);
    ck_assert_uint_eq(m.puts, 2);
    fd_store_unput(st, second);
    fd_store_drop_unused(st, 0);
    ck_assert_uint_eq(m.drops, 2);
    ck_assert_uint_eq(fd_store_count(st), 0);
    fd_store_free(st);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(not_told_what_of_the_inherited_goes)
{
    struct manager m;
    struct fd_store *st = make(&m);
    int fd = eventfd(0, EFD_CLOEXEC);

    ck_assert_int_eq(fd_store_inherit(st, eventfd(0, EFD_CLOEXEC), "irq-3"), 0);
    ck_assert_int_eq(fd_store_inherit(st, eventfd(0, EFD_CLOEXEC), "irq-4"), 0);
    m.err = -EAGAIN;
    fd_store_drop_unused(st, 1);
    ck_assert_uint_eq(fd_store_count(st), 2);
    m.err = 0;
    fd_store_unput(st, fd_store_put(st, fd, "irq"));
    fd_store_drop_unused(st, 0);
    ck_assert_uint_eq(fd_store_count(st), 0);
    ck_assert_uint_eq(m.drops, 3);
    fd_store_free(st);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fd_store");
    TCase *tc = tcase_create("fd_store");

    tcase_add_test(tc, not_told_of_a_drop);
    tcase_add_test(tc, not_told_what_of_the_inherited_goes);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
