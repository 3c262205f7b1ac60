/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/peer.c: who is at the other end. The rest is what every client does. */
#define _GNU_SOURCE
#include "peer.h"

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

#define NOBODY 65534u

START_TEST(test_mapped_uids)
{
    static const struct {
        const char *map;
        uid_t uid;
        bool mapped;
    } rows[] = {
        { "         0          0 4294967295\n", NOBODY, true },
        { "         0          0 4294967295\n", 0, true },
        { "         0          0          1\n", NOBODY, false },
        { "0 0 1\n998 998 1\n", 998, true },
        { "0 0 1\n998 998 1\n", NOBODY, false },
        { "0 0 1\n998 998 1\n65534 65534 1\n", NOBODY, true },
        { "0 100000 65536\n", NOBODY, true },
        { "0 100000 65534\n", NOBODY, false },
        { "65533 0 1\n65535 1 4294901760\n", NOBODY, false },
        { "65535 1 4294901760\n", 4294967294u, true },
        { "", 0, false },
        { "\n", 0, false },
        { "0 0", 0, false },
        { "all of them\n", 0, false },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        ck_assert_msg(peer_uid_is_mapped(rows[i].map, rows[i].uid) == rows[i].mapped, "row %zu", i);
}
END_TEST

START_TEST(test_credentials)
{
    struct peer peer;
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer_credentials(fds[0], &peer);
    ck_assert_int_eq(peer.pid, getpid());
    ck_assert_uint_eq(peer.uid, getuid());
    ck_assert(peer.uid_known || getuid() == NOBODY);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(test_no_socket)
{
    struct peer peer = { .pid = 1, .uid_known = true };

    peer_credentials(-1, &peer);
    ck_assert_int_eq(peer.pid, 0);
    ck_assert(!peer.uid_known);
}
END_TEST

/* A server whose backlog is full has room in a moment: a client waits for that. */
START_TEST(test_full_backlog)
{
    char path[64];
    struct sockaddr_un addr;
    pid_t pid;
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int first;
    int second;

    snprintf(path, sizeof(path), "/tmp/vfio-userd-peer.%d", (int)getpid());
    ck_assert_int_eq(peer_address(path, &addr), 0);
    ck_assert_int_eq(bind(server, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(listen(server, 0), 0);
    first = peer_connect(path, 0);
    ck_assert_int_ge(first, 0);
    ck_assert_int_eq(peer_connect(path, SOCK_NONBLOCK), -EAGAIN);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        usleep(100000);
        _exit(accept(server, NULL, NULL) >= 0 ? 0 : 1);
    }
    second = peer_connect(path, 0);
    ck_assert_int_ge(second, 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    close(first);
    close(second);
    close(server);
    unlink(path);
}
END_TEST

/* What the child found: its exit status. */
enum { FOUND_UNKNOWN, FOUND_KNOWN, NO_NAMESPACE };

static int look_from_new_namespace(int fd)
{
    struct peer peer;

    if (unshare(CLONE_NEWUSER) != 0)
        return NO_NAMESPACE;
    peer_credentials(fd, &peer);
    return peer.uid == NOBODY && !peer.uid_known ? FOUND_UNKNOWN : FOUND_KNOWN;
}

/* Seen from a user namespace without any uid, whoever made the socket has none. */
START_TEST(test_uid_of_another_namespace)
{
    int fds[2];
    int status;
    pid_t child;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(look_from_new_namespace(fds[0]));
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_ne(WEXITSTATUS(status), FOUND_KNOWN);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("peer");
    TCase *tcase = tcase_create("peer");

    tcase_add_test(tcase, test_mapped_uids);
    tcase_add_test(tcase, test_credentials);
    tcase_add_test(tcase, test_no_socket);
    tcase_add_test(tcase, test_full_backlog);
    tcase_add_test(tcase, test_uid_of_another_namespace);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
