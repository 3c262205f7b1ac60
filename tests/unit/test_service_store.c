/* SPDX-License-Identifier: BSD-3-Clause */
/* What the service manager keeps for the next process; this test is the manager. */
#define _GNU_SOURCE
#include "service/service.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "unit/fakes.h"

#define FIRST_PASSED_FD 3

static char address[64];

static int manager_open(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address, sizeof(address), "/tmp/vfio-userd-store.%d", (int)getpid());
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", address);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    setenv("NOTIFY_SOCKET", address, 1);
    return fd;
}

static void manager_close(int manager)
{
    close(manager);
    unlink(address);
}

static struct service *service_with(const char *fdstore)
{
    struct service *s;

    if (fdstore != NULL)
        setenv("FDSTORE", fdstore, 1);
    else
        unsetenv("FDSTORE");
    ck_assert_int_eq(service_new("test", &s), 0);
    return s;
}

/* The next message, with the descriptor that came with it in *fd; -1: none did. */
static const char *told(int manager, int *fd)
{
    static char text[256];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes) };
    ssize_t n = recvmsg(manager, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;

    text[n > 0 ? n : 0] = '\0';
    *fd = -1;
    if (header != NULL) {
        ck_assert_int_eq(header->cmsg_type, SCM_RIGHTS);
        ck_assert_uint_eq(header->cmsg_len, CMSG_LEN(sizeof(int)));
        memcpy(fd, CMSG_DATA(header), sizeof(int));
    }
    return text;
}

static bool same_file(int a, int b)
{
    struct stat first;
    struct stat second;

    return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_ino == second.st_ino &&
           first.st_dev == second.st_dev;
}

START_TEST(stored_and_dropped)
{
    int manager = manager_open();
    struct service *s = service_with("512");
    int file = memfd_create("store", MFD_CLOEXEC);
    int fd;

    ck_assert_uint_eq(service_store_max(s), 512);
    ck_assert_int_eq(service_store(s, file, "state-1"), 0);
    ck_assert_str_eq(told(manager, &fd), "FDSTORE=1\nFDPOLL=0\nFDNAME=state-1");
    ck_assert(same_file(fd, file));
    close(fd);
    ck_assert_int_eq(service_unstore(s, "state-1"), 0);
    ck_assert_str_eq(told(manager, &fd), "FDSTOREREMOVE=1\nFDNAME=state-1");
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(service_store(s, -1, "state-1"), -EBADF);
    ck_assert_int_eq(service_store(s, file, "state-1\nREADY=1"), -EINVAL);
    ck_assert_int_eq(service_store(s, file, "device"), -EINVAL);
    ck_assert_int_eq(service_store(s, file, "a-1111111111111111111111111111111"), -EINVAL);
    ck_assert_str_eq(told(manager, &fd), "");
    close(file);
    service_free(s);
    manager_close(manager);
}
END_TEST

START_TEST(without_a_store)
{
    static const char *const values[] = { NULL, "", "0", "x", "-1", "5 ", "99999999999" };
    int manager = manager_open();
    int fd;

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        struct service *s = service_with(values[i]);

        ck_assert_uint_eq(service_store_max(s), 0);
        ck_assert_int_eq(service_store(s, manager, "state-1"), -ENOTSUP);
        ck_assert_int_eq(service_unstore(s, "state-1"), -ENOTSUP);
        ck_assert_str_eq(told(manager, &fd), "");
        service_free(s);
    }
    unsetenv("NOTIFY_SOCKET");
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        struct service *s = service_with("512");

        ck_assert_uint_eq(service_store_max(s), 0);
        service_free(s);
    }
    manager_close(manager);
}
END_TEST

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Takes one message after a while. */
static pid_t fork_reader(int manager)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char text[64];
        const struct timespec pause = { .tv_nsec = 50 * 1000000 };

        nanosleep(&pause, NULL);
        _exit(recv(manager, text, sizeof(text), 0) > 0 ? 0 : 1);
    }
    return pid;
}

START_TEST(a_busy_manager_is_waited_for)
{
    int manager = manager_open();
    struct service *s = service_with("512");
    int64_t began;
    int status;
    pid_t reader;

    while (service_status(s, "full") == 0)
        ;
    began = now_ms();
    ck_assert_int_eq(service_store(s, manager, "state-1"), -EAGAIN);
    ck_assert_int_ge(now_ms() - began, SERVICE_STORE_LIMIT_MS - 1);
    reader = fork_reader(manager);
    ck_assert_int_eq(service_store(s, manager, "state-1"), 0);
    ck_assert_int_eq(waitpid(reader, &status, 0), reader);
    ck_assert_int_eq(status, 0);
    service_free(s);
    manager_close(manager);
    s = service_with("512");
    ck_assert_int_eq(service_store(s, STDIN_FILENO, "state-1"), -ENOENT);
    service_free(s);
}
END_TEST

/* fds[] passed under names, as a service manager does, in a process of its own: check(s) with what
 * service_new made of it, NULL for -EINVAL. */
static void pass(const int *fds, unsigned n, const char *names, void (*check)(struct service *s))
{
    pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct service *s = NULL;
        char number[16];
        int copies[8];

        for (unsigned i = 0; i < n; i++)
            copies[i] = fcntl(fds[i], F_DUPFD, 100);
        for (unsigned i = 0; i < n; i++)
            dup2(copies[i], FIRST_PASSED_FD + (int)i);
        snprintf(number, sizeof(number), "%u", n);
        setenv("LISTEN_FDS", number, 1);
        snprintf(number, sizeof(number), "%d", (int)getpid());
        setenv("LISTEN_PID", number, 1);
        setenv("LISTEN_FDNAMES", names, 1);
        status = service_new("test", &s);
        assert(s != NULL ? status == 0 : status == -EINVAL);
        check(s);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

static void check_taken(struct service *s)
{
    static const char *const names[] = { "state-1", "client-23" };
    char name[SERVICE_NAME_BYTES];

    assert(s != NULL);
    assert(service_stored(s) == ARRAY_SIZE(names));
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        assert(service_take_stored(s, i, name) == FIRST_PASSED_FD + 1 + (int)i);
        assert(strcmp(name, names[i]) == 0);
        assert(service_take_stored(s, i, name) == -1);
        assert((fcntl(FIRST_PASSED_FD + 1 + (int)i, F_GETFD) & FD_CLOEXEC) != 0);
    }
    assert(service_take_stored(s, 2, name) == -1);
    assert(service_take_fd(s, SERVICE_FD_DEVICE) == FIRST_PASSED_FD);
    service_free(s);
    assert(fcntl(FIRST_PASSED_FD + 1, F_GETFD) >= 0);
}

static void check_left(struct service *s)
{
    assert(service_stored(s) == 2);
    service_free(s);
    assert(fcntl(FIRST_PASSED_FD, F_GETFD) < 0);
    assert(fcntl(FIRST_PASSED_FD + 1, F_GETFD) < 0);
}

static void check_refused(struct service *s)
{
    assert(s == NULL);
}

START_TEST(stored_ones_are_passed)
{
    const struct sockaddr_un any = { .sun_family = AF_UNIX };
    int file = memfd_create("store", MFD_CLOEXEC);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int fds[] = { sock, file, file };

    ck_assert_int_eq(bind(sock, (const struct sockaddr *)&any, sizeof(sa_family_t)), 0);
    ck_assert_int_eq(listen(sock, 1), 0);
    pass(fds, 3, "device:state-1:client-23", check_taken);
    pass(fds + 1, 2, "state-1:client-23", check_left);
    pass(fds, 2, "device:stored", check_refused);
    pass(fds, 2, "device:state-", check_refused);
    pass(fds, 2, "device:-1", check_refused);
    pass(fds, 2, "device:state-1x", check_refused);
    pass(fds, 2, "device:State-1", check_refused);
    pass(fds, 2, "device:device", check_refused);
    close(file);
    close(sock);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        stored_and_dropped,
        without_a_store,
        a_busy_manager_is_waited_for,
        stored_ones_are_passed,
    };

    /* In a build without libsystemd nothing can be passed. */
    return fake_run("service store", tests, ARRAY_SIZE(tests) - !service_available(), NULL, 0);
}
