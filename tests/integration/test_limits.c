/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where something runs out or waits: logs that nobody reads, file descriptors, files that block,
 * replies that do not fit, sockets of two daemons at one path. The control socket answers, SIGTERM
 * is honoured, and every request has its reply.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/harness.h"
#include "message.h"
#include "suite.h"

#define CONTROL_MS 1000
#define RW         (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/* Writes as much as fits. */
static void fill_pipe(int fd)
{
    char zeros[4096] = { 0 };

    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while (write(fd, zeros, sizeof(zeros)) > 0)
        ;
    ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);
}

START_TEST(test_log_that_nobody_reads)
{
    struct server s;
    int pipes[2];

    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    server_start_logging(&s, NULL, pipes[1]);
    fill_pipe(pipes[1]);
    for (int i = 0; i < 5; i++) {
        client_free(server_connect(&s));
        ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    }
    server_stop(&s);
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

#define PIPELINED 300

/* Each reply brings an fd: more than may wait to be sent. */
START_TEST(test_pipelined_region_infos)
{
    struct vfio_region_info ask = { .argsz = 80, .index = 1 };
    struct server s;
    struct client *c;
    int ids[PIPELINED];

    server_start(&s, NULL);
    c = server_connect(&s);
    for (int i = 0; i < PIPELINED; i++) {
        struct client_call call = { .command = VFIO_USER_DEVICE_GET_REGION_INFO,
                                    .fixed = &ask,
                                    .fixed_len = sizeof(ask) };

        ids[i] = client_send(c, &call);
        ck_assert_int_ge(ids[i], 0);
    }
    for (int i = 0; i < PIPELINED; i++) {
        int fd = -1;
        struct client_call call = { .command = VFIO_USER_DEVICE_GET_REGION_INFO,
                                    .reply_fds = &fd,
                                    .reply_nfds = 1 };

        ck_assert_int_eq(client_wait(c, (uint16_t)ids[i], &call), 0);
        ck_assert_uint_eq(call.reply_len, 80);
        ck_assert_int_ge(fd, 0);
        close(fd);
    }
    client_free(c);
    server_stop(&s);
}
END_TEST

/* A client that shares more files than the process may open does not lock the operator out. */
START_TEST(test_client_takes_all_fds)
{
    const struct rlimit limit = { 400, 400 };
    struct vfio_region_info *info;
    struct server s;
    struct client *c;
    uint64_t maps = 0;
    int err = 0;
    int fd;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0); /* of this test's process, and on */
    server_start(&s, NULL);
    c = server_connect(&s);
    while (err == 0 && maps < 500) {
        int memory = make_memory(4096);

        err = client_dma_map(c, maps * 4096, 4096, RW, memory, 0);
        close(memory);
        maps += err == 0;
    }
    ck_assert_int_eq(err, -EMFILE);
    ck_assert_uint_gt(maps, 100);
    ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    ck_assert_int_eq(client_get_region_info(c, 1, &info, &fd), 0);
    close(fd);
    free(info);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* A reply that wants an fd when there is none left is an error, not silence. */
START_TEST(test_reply_without_fds_left)
{
    struct rlimit none = { .rlim_cur = 3 }; /* 0, 1 and 2 are taken */
    struct vfio_region_info *info;
    struct rlimit limit;
    struct server s;
    struct client *c;
    int fd;

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(prlimit(s.pid, RLIMIT_NOFILE, NULL, &limit), 0);
    none.rlim_max = limit.rlim_max;
    ck_assert_int_eq(prlimit(s.pid, RLIMIT_NOFILE, &none, NULL), 0);
    ck_assert_int_eq(client_get_region_info(c, 1, &info, &fd), -EMFILE);
    ck_assert_int_eq(client_reset(c), 0);
    ck_assert_int_eq(prlimit(s.pid, RLIMIT_NOFILE, &limit, NULL), 0);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* Guest memory in a file whose reading waits until the kernel has something to say. */
START_TEST(test_file_that_blocks)
{
    struct server s;
    struct client *c;
    int file = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

    ck_assert_int_ge(file, 0);
    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, 4096, RW, file, 0), 0);
    ck_assert(server_log_has(&s, "of a kind that could block us"));
    client_free(c);
    close(file);
    server_stop(&s);
}
END_TEST

/* Memory beyond what the process may write of a file: an error in the register, no signal. */
START_TEST(test_file_size_limit)
{
    const struct rlimit limit = { 1 << 20, 1 << 20 };
    const uint16_t command = 6;
    const uint64_t iova = 2 << 20;
    const uint32_t length = 4096;
    const uint32_t to_guest = 2;
    struct server s;
    struct client *c;
    uint32_t result;
    int memory = make_memory(4 << 20);

    server_start(&s, NULL);
    ck_assert_int_eq(prlimit(s.pid, RLIMIT_FSIZE, &limit, NULL), 0);
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, 4 << 20, RW, memory, 0), 0);
    ck_assert_int_eq(client_region_write(c, 7, 4, &command, 2), 0);
    ck_assert_int_eq(client_region_write(c, 0, 0x20, &iova, 8), 0);
    ck_assert_int_eq(client_region_write(c, 0, 0x30, &length, 4), 0);
    ck_assert_int_eq(client_region_write(c, 0, 0x34, &to_guest, 4), 0);
    ck_assert_int_eq(client_region_read(c, 0, 0x34, &result, 4), 0);
    ck_assert_uint_eq(result, 0x80000000u + EFAULT);
    client_free(c);
    close(memory);
    server_stop(&s);
}
END_TEST

/* A TCP socket with data unsent, whose last close would wait 20 s for it. */
static int lingering_socket(int *peer)
{
    const struct linger linger = { 1, 20 };
    struct sockaddr_in addr = { .sin_family = AF_INET };
    socklen_t len = sizeof(addr);
    char data[65536] = { 0 };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(listener, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    *peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    while (send(fd, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ;
    close(listener);
    return fd;
}

START_TEST(test_fd_that_lingers)
{
    struct vfio_user_device_info ask = { .argsz = sizeof(ask) };
    struct client_call call = {
        .command = VFIO_USER_DEVICE_GET_INFO, .fixed = &ask, .fixed_len = sizeof(ask), .nfds = 1
    };
    struct server s;
    struct client *c;
    int peer;
    int fd = lingering_socket(&peer);
    int id;

    server_start(&s, NULL);
    c = server_connect(&s);
    call.fds = &fd;
    id = client_send(c, &call);
    ck_assert_int_ge(id, 0);
    close(fd); /* the server's is the last one now */
    ck_assert_int_eq(client_wait(c, (uint16_t)id, &call), 0);
    ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    client_free(c);
    close(peer);
    server_stop(&s);
}
END_TEST

/* Stopping the first of two daemons at one path leaves the second its sockets. */
START_TEST(test_two_daemons_at_one_path)
{
    struct server first;
    struct server second;
    int status;

    server_start(&first, NULL);
    second = first;
    ck_assert_int_eq(unlink(first.socket), 0);
    ck_assert_int_eq(unlink(first.control), 0);
    second.pid = fork();
    if (second.pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        dup2(null, STDERR_FILENO);
        execl(getenv("VFIO_USERD"), "vfio-userd", "--socket-path", first.socket, "--control-path",
              first.control, NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000 && access(second.control, F_OK) != 0; i++)
        poll(NULL, 0, 5);
    ck_assert_int_eq(kill(first.pid, SIGTERM), 0);
    ck_assert_int_eq(waitpid(first.pid, &status, 0), first.pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    client_free(server_connect(&second));
    ck_assert_int_lt(server_status_call(&second), CONTROL_MS);
    server_stop(&second);
}
END_TEST

static int control_connect(const struct server *s)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(addr.sun_path, s->control);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

/* Calls sent before the sending half is closed are all answered. */
START_TEST(test_control_half_closed)
{
    static const char call[] = "{\"method\":\"org.varlink.service.GetInfo\"}";
    struct server s;
    char data[65536];
    size_t len = 0;
    unsigned replies = 0;
    ssize_t n;
    int fd;

    server_start(&s, NULL);
    fd = control_connect(&s);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(send(fd, call, sizeof(call), MSG_NOSIGNAL), (int)sizeof(call));
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    while ((n = recv(fd, data + len, sizeof(data) - len, 0)) > 0)
        len += (size_t)n;
    for (size_t i = 0; i < len; i++)
        replies += data[i] == '\0';
    ck_assert_uint_eq(replies, 20);
    close(fd);
    server_stop(&s);
}
END_TEST

START_TEST(test_silent_control_connections)
{
    struct server s;
    int fds[70];

    server_start(&s, NULL);
    for (size_t i = 0; i < 70; i++)
        fds[i] = control_connect(&s);
    ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    for (size_t i = 0; i < 70; i++)
        close(fds[i]);
    server_stop(&s);
}
END_TEST

/* Much work in one read: the control socket has its turns between. */
START_TEST(test_long_work_in_one_read)
{
    static const char device[] = "{ \"bar1\": { \"size\": \"64M\", \"mmap\": [] } }";
    const uint16_t command = 6;
    const uint32_t length = 64u << 20;
    const uint32_t to_bar1 = 1;
    struct server s;
    struct client *c;
    int memory = make_memory(64u << 20);

    server_start(&s, device);
    c = server_connect(&s);
    client_set_timeout(c, 30000);
    ck_assert_int_eq(client_dma_map(c, 0, length, RW, memory, 0), 0);
    ck_assert_int_eq(client_region_write(c, 7, 4, &command, 2), 0);
    ck_assert_int_eq(client_region_write(c, 0, 0x30, &length, 4), 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(client_region_post(c, 0, 0x34, &to_bar1, 4), 0);
    ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    ck_assert_int_eq(client_reset(c), 0);
    client_free(c);
    close(memory);
    server_stop(&s);
}
END_TEST

/* Asks for the whole of BAR1 again and again and never reads. */
START_TEST(test_client_that_never_reads)
{
    const struct vfio_user_region_access access = { .region = 1, .count = 16384 };
    struct server s;
    struct client *c;
    uint8_t wire[32];
    long before;
    int sock;

    server_start(&s, NULL);
    c = server_connect(&s);
    sock = stream_fd(client_stream(c));
    before = server_status_value(&s, "VmRSS");
    message_encode_header(wire, 1, VFIO_USER_REGION_READ, sizeof(wire), 0, 0);
    memcpy(wire + 16, &access, sizeof(access));
    for (int i = 0; i < 100000; i++) {
        if (send(sock, wire, sizeof(wire), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            break;
    }
    for (int i = 0; i < 10; i++)
        ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    /* ASan's shadow and quarantine count too: the bound is for a buffer that grows and grows. */
    ck_assert_int_lt(server_status_value(&s, "VmRSS") - before, 40000);
    client_free(c);
    client_free(server_connect(&s));
    server_stop(&s);
}
END_TEST

START_TEST(test_65535_maps)
{
    const uint32_t flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    struct server s;
    struct client *c;
    unsigned fds;
    int64_t begin;
    int memory = make_memory(1u << 28);

    server_start(&s, NULL);
    c = server_connect(&s);
    fds = server_fds(&s);
    begin = now_ms();
    for (uint64_t i = 0; i < 65535; i++)
        ck_assert_int_eq(client_dma_map(c, i * 8192, 4096, flags, memory, i * 4096), 0);
    ck_assert_int_lt(now_ms() - begin, 20000);
    ck_assert_int_eq(client_dma_map(c, 1ull << 40, 4096, flags, memory, 0), -ENOSPC);
    ck_assert_uint_le(server_fds(&s), fds + 1); /* one file, one fd */
    ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    ck_assert_int_eq(client_dma_unmap(c, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL), 0);
    server_wait_fds(&s, fds);
    ck_assert_int_eq(client_dma_map(c, 0, 4096, flags, memory, 0), 0);
    client_free(c);
    server_wait_fds(&s, fds - 1);
    close(memory);
    server_stop(&s);
}
END_TEST

/* Each map a file of its own: the process runs out of fds, and says so. */
START_TEST(test_too_many_files)
{
    const uint32_t flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    struct server s;
    struct client *c;
    char command[64];
    uint64_t maps = 0;
    int err = 0;

    server_start(&s, NULL);
    snprintf(command, sizeof(command), "prlimit --pid %d --nofile=64:64", (int)s.pid);
    ck_assert_int_eq(system(command), 0);
    c = server_connect(&s);
    while (err == 0 && maps < 200) {
        int memory = make_memory(4096);

        err = client_dma_map(c, maps * 4096, 4096, flags, memory, 0);
        close(memory);
        maps += err == 0;
    }
    ck_assert_int_eq(err, -EMFILE);
    ck_assert_uint_gt(maps, 20);
    /* The vfio-user session goes on; with an fd free again the control socket answers. */
    ck_assert_int_eq(client_dma_unmap(c, 0, 4096, 0), 0);
    ck_assert_int_eq(client_dma_unmap(c, 4096, 4096, 0), 0);
    ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* Guest memory that is shorter than it says, and shorter still later. */
START_TEST(test_short_file)
{
    const uint32_t flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    const uint16_t command = 6; /* Memory, Bus Master */
    struct server s;
    struct client *c;
    int memory = make_memory(4096);

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, 1 << 20, flags, memory, 0), 0);
    ck_assert_int_eq(client_region_write(c, 7, 4, &command, 2), 0);
    for (uint32_t direction = 1; direction <= 2; direction++) {
        for (uint64_t iova = 2048; iova <= 65536; iova *= 32) {
            uint32_t length = 4096;
            uint32_t result = 0;

            ck_assert_int_eq(client_region_write(c, 0, 0x20, &iova, 8), 0);
            ck_assert_int_eq(client_region_write(c, 0, 0x30, &length, 4), 0);
            ck_assert_int_eq(client_region_write(c, 0, 0x34, &direction, 4), 0);
            ck_assert_int_eq(client_region_read(c, 0, 0x34, &result, 4), 0);
            ck_assert_uint_eq(result, 0x80000000u + EFAULT);
        }
        ck_assert_int_eq(ftruncate(memory, 0), 0);
    }
    client_free(c);
    close(memory);
    server_stop(&s);
}
END_TEST

/* An eventfd whose counter is full must not stop the daemon when it raises the interrupt. */
START_TEST(test_full_eventfd)
{
    const uint64_t full = UINT64_MAX - 1;
    const uint64_t past = 1;
    struct server s;
    struct client *c;
    int fd = eventfd(0, EFD_CLOEXEC);
    int pipes[2];

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(write(fd, &full, sizeof(full)), (int)sizeof(full));
    ck_assert_int_eq(client_set_irqs(c, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 0,
                                     0, 1, NULL, &fd, 1),
                     0);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(client_region_write(c, 0, 0, &past, sizeof(past)), 0);
    ck_assert_int_lt(server_status_call(&s), CONTROL_MS);
    /* And what is no eventfd is refused: a write to it could block. */
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    ck_assert_int_eq(client_set_irqs(c, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 0,
                                     0, 1, NULL, &pipes[1], 1),
                     -EINVAL);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
    client_free(c);
    server_stop(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits");
    TCase *tcase = tcase_create("resources");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_log_that_nobody_reads);
    tcase_add_test(tcase, test_pipelined_region_infos);
    tcase_add_test(tcase, test_client_takes_all_fds);
    tcase_add_test(tcase, test_reply_without_fds_left);
    tcase_add_test(tcase, test_file_that_blocks);
    tcase_add_test(tcase, test_file_size_limit);
    tcase_add_test(tcase, test_fd_that_lingers);
    tcase_add_test(tcase, test_two_daemons_at_one_path);
    tcase_add_test(tcase, test_control_half_closed);
    tcase_add_test(tcase, test_silent_control_connections);
    tcase_add_test(tcase, test_long_work_in_one_read);
    tcase_add_test(tcase, test_client_that_never_reads);
    tcase_add_test(tcase, test_65535_maps);
    tcase_add_test(tcase, test_too_many_files);
    tcase_add_test(tcase, test_short_file);
    tcase_add_test(tcase, test_full_eventfd);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
