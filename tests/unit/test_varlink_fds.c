/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/varlink.c: fds along messages: whose they are, who closes them, and how many there are.
 */
#define _GNU_SOURCE
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "suite.h"
#include "varlink.h"

struct pair {
    struct varlink *a;
    struct varlink *b;
};

static void pair_init(struct pair *p)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(varlink_new(fds[0], &p->a), 0);
    ck_assert_int_eq(varlink_new(fds[1], &p->b), 0);
    varlink_allow_fds(p->b);
}

static void pair_fini(struct pair *p)
{
    varlink_free(p->a);
    varlink_free(p->b);
}

static unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* Queues {"n": N} with nfds eventfds, whose counters are N * 10 + 1, + 2, .... */
static int queue(struct varlink *v, int n, unsigned nfds)
{
    struct json_object *o = json_object_new_object();
    int fds[VARLINK_MAX_FDS + 1];
    int err;

    json_object_object_add(o, "n", json_object_new_int(n));
    for (unsigned i = 0; i < nfds; i++)
        fds[i] = eventfd((unsigned)n * 10 + i + 1, EFD_CLOEXEC);
    err = varlink_send_fds(v, o, fds, nfds);
    for (unsigned i = 0; i < nfds; i++)
        close(fds[i]);
    json_object_put(o);
    return err;
}

static void take(struct varlink *v, int n)
{
    struct json_object *o;
    int got;

    while ((got = varlink_next(v, &o)) == 0)
        ck_assert_int_gt(varlink_fill(v), 0);
    ck_assert_int_eq(got, 1);
    ck_assert_int_eq(json_object_get_int(json_object_object_get(o, "n")), n);
    json_object_put(o);
}

/* Takes fd i of the last message, which must be number wanted; 0: none. */
static void take_fd(struct varlink *v, unsigned i, uint64_t wanted)
{
    int fd = varlink_take_message_fd(v, i);
    uint64_t count = 0;

    ck_assert_int_eq(fd >= 0, wanted != 0);
    if (fd < 0)
        return;
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(read(fd, &count, sizeof(count)), 8);
    ck_assert_uint_eq(count, wanted);
    close(fd);
}

START_TEST(fds_come_with_their_message)
{
    struct pair p;

    pair_init(&p);
    ck_assert_int_eq(queue(p.a, 1, 0), 0);
    ck_assert_int_eq(queue(p.a, 2, 2), 0);
    ck_assert_int_eq(queue(p.a, 3, 0), 0);
    ck_assert_int_eq(queue(p.a, 4, 1), -EBUSY);
    ck_assert_int_eq(varlink_flush(p.a), 0);
    ck_assert_int_eq(queue(p.a, 4, 1), 0);
    ck_assert_int_eq(varlink_flush(p.a), 0);
    take(p.b, 1);
    take_fd(p.b, 0, 0);
    take(p.b, 2);
    take_fd(p.b, 1, 22);
    take_fd(p.b, 0, 21);
    take_fd(p.b, 0, 0);
    take_fd(p.b, 2, 0);
    take(p.b, 3);
    take_fd(p.b, 0, 0);
    take(p.b, 4);
    take_fd(p.b, 0, 41);
    pair_fini(&p);
}
END_TEST

START_TEST(nobody_takes_them)
{
    unsigned before = open_fds();
    struct pair p;

    pair_init(&p);
    for (int i = 1; i < 20; i++) {
        ck_assert_int_eq(queue(p.a, i, VARLINK_MAX_FDS), 0);
        ck_assert_int_eq(varlink_flush(p.a), 0);
        take(p.b, i);
    }
    ck_assert_uint_eq(open_fds(), before + 2 + VARLINK_MAX_FDS);
    ck_assert_int_eq(queue(p.a, 20, 1), 0); /* never sent */
    pair_fini(&p);
    ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(too_many)
{
    unsigned before = open_fds();
    struct json_object *o;
    struct pair p;

    pair_init(&p);
    ck_assert_int_eq(queue(p.a, 1, VARLINK_MAX_FDS + 1), -EBUSY);
    ck_assert_uint_eq(varlink_queued(p.a), 0);
    /* Two messages' that are both not taken. */
    ck_assert_int_eq(queue(p.a, 1, VARLINK_MAX_FDS), 0);
    ck_assert_int_eq(varlink_flush(p.a), 0);
    ck_assert_int_eq(queue(p.a, 2, 1), 0);
    ck_assert_int_eq(varlink_flush(p.a), 0);
    ck_assert_int_gt(varlink_fill(p.b), 0);
    ck_assert_int_eq(varlink_fill(p.b), -ETOOMANYREFS);
    ck_assert_int_eq(varlink_next(p.b, &o), 1);
    json_object_put(o);
    pair_fini(&p);
    ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(who_does_not_allow_them_has_none)
{
    unsigned before;
    struct pair p;

    pair_init(&p);
    before = open_fds();
    ck_assert_int_eq(queue(p.b, 1, 3), 0);
    ck_assert_int_eq(varlink_flush(p.b), 0);
    take(p.a, 1);
    take_fd(p.a, 0, 0);
    ck_assert_uint_eq(open_fds(), before);
    pair_fini(&p);
}
END_TEST

/* A message that is read in many pieces, and the socket full in between. */
START_TEST(fds_of_a_long_message)
{
    struct json_object *o = json_object_new_object();
    char text[300001];
    struct pair p;
    int fd = eventfd(7, EFD_CLOEXEC);

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    json_object_object_add(o, "n", json_object_new_int(1));
    json_object_object_add(o, "text", json_object_new_string(text));
    pair_init(&p);
    ck_assert_int_eq(varlink_send(p.a, o), 0);
    ck_assert_int_eq(varlink_send_fds(p.a, o, &fd, 1), 0);
    close(fd);
    for (int i = 0; i < 2; i++) {
        struct json_object *got;

        while (varlink_next(p.b, &got) == 0) {
            int err = varlink_flush(p.a);

            ck_assert(err == 0 || err == -EAGAIN);
            ck_assert_int_ge(varlink_fill(p.b), 0);
        }
        json_object_put(got);
        take_fd(p.b, 0, i == 0 ? 0 : 7);
    }
    json_object_put(o);
    pair_fini(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("varlink_fds");
    TCase *tcase = tcase_create("fds");

    tcase_add_test(tcase, fds_come_with_their_message);
    tcase_add_test(tcase, nobody_takes_them);
    tcase_add_test(tcase, too_many);
    tcase_add_test(tcase, who_does_not_allow_them_has_none);
    tcase_add_test(tcase, fds_of_a_long_message);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
