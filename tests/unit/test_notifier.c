/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "device/notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "unit/fakes.h"

START_TEST(signals_add_up)
{
    struct notifier *n;
    int fd = fake_eventfd();

    ck_assert_int_eq(notifier_new(&n), 0);
    ck_assert_uint_eq(fake_signals(fd), 0);
    ck_assert_int_eq(notifier_signal(n, fd), 0);
    ck_assert_uint_eq(fake_signals(fd), 1);
    for (int i = 0; i < 1000; i++) /* more than any queue of the notifier holds */
        ck_assert_int_eq(notifier_signal(n, fd), 0);
    ck_assert_uint_eq(fake_signals(fd), 1000);
    ck_assert_uint_eq(fake_signals(fd), 0);
    notifier_free(n);
    close(fd);
}
END_TEST

START_TEST(eventfds_do_not_mix)
{
    struct notifier *n;
    int fds[3];

    ck_assert_int_eq(notifier_new(&n), 0);
    for (int i = 0; i < 3; i++)
        fds[i] = fake_eventfd();
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j <= i; j++)
            ck_assert_int_eq(notifier_signal(n, fds[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(fake_signals(fds[i]), (unsigned)i + 1);
        close(fds[i]);
    }
    notifier_free(n);
}
END_TEST

START_TEST(a_full_counter_does_not_block)
{
    const uint64_t full = UINT64_MAX - 1;
    int fd = eventfd(0, EFD_CLOEXEC); /* blocking */
    struct notifier *n;
    uint64_t count = 0;

    alarm(2); /* a write would wait for ever */
    ck_assert_int_eq(notifier_new(&n), 0);
    ck_assert_int_eq(write(fd, &full, sizeof(full)), sizeof(full));
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(notifier_signal(n, fd), 0);
    ck_assert_int_eq(read(fd, &count, sizeof(count)), sizeof(count));
    ck_assert_uint_ge(count, full);
    /* It works again once it has been read, and the client's file is left as it was. */
    ck_assert_int_eq(notifier_signal(n, fd), 0);
    ck_assert_int_eq(read(fd, &count, sizeof(count)), sizeof(count));
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    alarm(0);
    notifier_free(n);
    close(fd);
}
END_TEST

START_TEST(a_semaphore_is_signalled_too)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    struct notifier *n;

    ck_assert_int_eq(notifier_new(&n), 0);
    ck_assert(notifier_accepts(fd));
    ck_assert_int_eq(notifier_signal(n, fd), 0);
    ck_assert_int_eq(notifier_signal(n, fd), 0);
    ck_assert_uint_eq(fake_signals(fd), 1);
    ck_assert_uint_eq(fake_signals(fd), 1);
    ck_assert_uint_eq(fake_signals(fd), 0);
    notifier_free(n);
    close(fd);
}
END_TEST

START_TEST(a_closed_eventfd_is_an_error)
{
    struct notifier *n;
    int fd = fake_eventfd();

    ck_assert_int_eq(notifier_new(&n), 0);
    close(fd);
    ck_assert_int_lt(notifier_signal(n, fd), 0);
    notifier_free(n);
}
END_TEST

START_TEST(only_eventfds_are_accepted)
{
    int fd = fake_eventfd();
    int others[6];
    int sockets[2];
    int pipes[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    ck_assert_int_eq(pipe(pipes), 0);
    others[0] = sockets[0];
    others[1] = pipes[1];
    others[2] = fake_memfd(4096, 0);
    others[3] = open("/dev/null", O_RDWR | O_CLOEXEC);
    others[4] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    others[5] = epoll_create1(EPOLL_CLOEXEC);
    ck_assert(notifier_accepts(fd));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        ck_assert_int_ge(others[i], 0);
        ck_assert_msg(!notifier_accepts(others[i]), "kind %zu is accepted", i);
        close(others[i]);
    }
    close(sockets[1]);
    close(pipes[0]);
    close(fd);
    ck_assert(!notifier_accepts(fd)); /* closed */
    ck_assert(!notifier_accepts(-1));
}
END_TEST

START_TEST(nothing_is_left_open)
{
    unsigned before = fake_open_fds();

    for (int i = 0; i < 8; i++) {
        struct notifier *n;

        ck_assert_int_eq(notifier_new(&n), 0);
        notifier_free(n);
    }
    notifier_free(NULL);
    ck_assert_uint_eq(fake_open_fds(), before);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        signals_add_up,
        eventfds_do_not_mix,
        a_full_counter_does_not_block,
        a_semaphore_is_signalled_too,
        a_closed_eventfd_is_an_error,
        only_eventfds_are_accepted,
        nothing_is_left_open,
    };

    return fake_run("notifier", tests, ARRAY_SIZE(tests), NULL, 0);
}
