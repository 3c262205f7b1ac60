/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/varlink.c: what a connection carries behind the reply to a call with "upgrade". */
#define _GNU_SOURCE
#include "varlink.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "suite.h"

/* What came with the reply comes first, in pieces as they are asked for, then what comes later. */
START_TEST(test_behind_a_reply)
{
    static const char sent[] = "{\"parameters\":{}}\0stream\0with NULs";
    struct json_object *reply;
    struct varlink *v;
    char got[32];
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(varlink_new(fds[0], &v), 0);
    ck_assert_int_eq(send(fds[1], sent, sizeof(sent) - 1, 0), sizeof(sent) - 1);
    ck_assert_int_eq(varlink_fill(v), sizeof(sent) - 1);
    ck_assert_int_eq(varlink_next(v, &reply), 1);
    json_object_put(reply);
    ck_assert_int_eq(varlink_read_raw(v, got, 8), 8);
    ck_assert_mem_eq(got, "stream\0w", 8);
    ck_assert_int_eq(varlink_read_raw(v, got, sizeof(got)), 8);
    ck_assert_mem_eq(got, "ith NULs", 8);
    ck_assert_int_eq(varlink_read_raw(v, got, sizeof(got)), 0);
    ck_assert_int_eq(send(fds[1], "more", 4, 0), 4);
    close(fds[1]);
    ck_assert_int_eq(varlink_read_raw(v, got, sizeof(got)), 4);
    ck_assert_mem_eq(got, "more", 4);
    ck_assert_int_eq(varlink_read_raw(v, got, sizeof(got)), -ENOTCONN);
    varlink_free(v);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("varlink raw");
    TCase *tcase = tcase_create("raw");

    tcase_add_test(tcase, test_behind_a_reply);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
