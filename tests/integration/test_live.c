/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The running device: what survives a disconnect, pipelining, and the ways to start and to end the
 * daemon.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config-build.h"
#include "integration/harness.h"
#include "integration/live_kit.h"
#include "message.h"
#include "suite.h"

/*
 * Connections
 */

static int64_t client_number(struct json_object *status, const char *key)
{
    struct json_object *client = NULL;
    struct json_object *value = NULL;

    ck_assert(json_object_object_get_ex(status, "client", &client) && client != NULL);
    ck_assert(json_object_object_get_ex(client, key, &value));
    return json_object_get_int64(value);
}

START_TEST(test_client_in_status)
{
    struct json_object *status;
    struct json_object *client = NULL;
    struct server s;
    struct client *c;
    int64_t before = now_ns();

    server_start(&s, NULL);
    c = server_connect(&s);
    ck_assert_int_eq(client_reset(c), 0);
    ck_assert_int_eq(client_dma_unmap(c, 0, 4096, 0), -ENOENT);
    status = server_status(&s);
    ck_assert_int_eq(client_number(status, "pid"), getpid());
    ck_assert_int_eq(client_number(status, "uid"), getuid());
    ck_assert_int_ge(client_number(status, "since"), before);
    ck_assert_int_le(client_number(status, "since"), now_ns());
    ck_assert_int_eq(client_number(status, "requests"), 2);
    ck_assert_int_eq(client_number(status, "errors"), 1);
    json_object_put(status);
    client_free(c);
    poll(NULL, 0, 20);
    status = server_status(&s);
    ck_assert(json_object_object_get_ex(status, "client", &client) && client == NULL);
    json_object_put(status);
    server_stop(&s);
}
END_TEST

START_TEST(test_state_survives_disconnect)
{
    const uint64_t pattern = 0x0123456789abcdef;
    struct server s;
    struct client *c;
    uint64_t back;
    unsigned idle_fds;
    int memory = make_memory(4096);
    int fd;

    server_start(&s, NULL);
    idle_fds = server_fds(&s);
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, 4096, 3, memory, 0), 0);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    ck_assert_int_eq(client_region_write(c, 1, 5000, &pattern, 8), 0);
    write_reg(c, REG_DMA_IOVA, pattern, 8);
    write_reg(c, REG_TIMER_NSEC, (uint64_t)(now_ns() + 100 * MS), 8);
    client_free(c);
    server_wait_fds(&s, idle_fds);
    ck_assert_uint_eq(eventfd_wait(fd, 200), 0); /* fired, but this eventfd is forgotten */
    close(fd);
    c = server_connect(&s);
    ck_assert_int_eq(client_region_read(c, 1, 5000, &back, 8), 0);
    ck_assert_uint_eq(back, pattern);
    ck_assert_uint_eq(read_reg(c, REG_DMA_IOVA, 8), pattern);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_STATUS, 4), 1);
    ck_assert_int_eq(client_dma_map(c, 0, 4096, 3, memory, 0), 0); /* no EEXIST */
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd), 0);
    ck_assert_uint_eq(eventfd_wait(fd, 1000), 1); /* what was pending */
    close(fd);
    close(memory);
    client_free(c);
    server_stop(&s);
}
END_TEST

#define PIPELINED 500

/* The client's socket does not block, and one-byte packets fill its buffer fast. */
static void send_byte(int sock, const uint8_t *byte)
{
    struct pollfd p = { .fd = sock, .events = POLLOUT };

    while (send(sock, byte, 1, MSG_NOSIGNAL) != 1) {
        ck_assert_int_eq(errno, EAGAIN);
        ck_assert_int_eq(poll(&p, 1, 2000), 1);
    }
}

START_TEST(test_pipelining)
{
    struct server s;
    struct client *c;
    uint8_t *wire = calloc(PIPELINED, 40);
    uint8_t reply[64];
    int sock;

    server_start(&s, NULL);
    c = server_connect(&s);
    sock = stream_fd(client_stream(c));
    for (uint32_t i = 0; i < PIPELINED; i++) {
        const struct vfio_user_region_access access = { .offset = i * 8, .region = 1, .count = 8 };
        uint64_t value = i * 3;

        /* Every other one without a reply. */
        message_encode_header(wire + i * 40, (uint16_t)i, VFIO_USER_REGION_WRITE, 40,
                              i % 2 == 0 ? VFIO_USER_NO_REPLY : 0, 0);
        memcpy(wire + i * 40 + 16, &access, sizeof(access));
        memcpy(wire + i * 40 + 32, &value, sizeof(value));
    }
    ck_assert_int_eq(send(sock, wire, PIPELINED * 40, MSG_NOSIGNAL), PIPELINED * 40);
    for (uint32_t i = 1; i < PIPELINED; i += 2) {
        struct vfio_user_header hdr;

        ck_assert_uint_eq(receive(sock, reply), 32);
        memcpy(&hdr, reply, sizeof(hdr));
        ck_assert_uint_eq(hdr.id, i);
        ck_assert_uint_eq(hdr.flags, VFIO_USER_TYPE_REPLY);
    }
    for (uint32_t i = 0; i < PIPELINED; i++) {
        uint64_t value;

        ck_assert_int_eq(client_region_read(c, 1, i * 8, &value, 8), 0);
        ck_assert_uint_eq(value, i * 3);
    }
    /* The same bytes one at a time: a stream is no row of packets. */
    for (size_t i = 0; i < 10 * 40; i++)
        send_byte(sock, wire + i);
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(receive(sock, reply), 32);
    free(wire);
    client_free(c);
    server_stop(&s);
}
END_TEST

START_TEST(test_posted_and_bundled_writes)
{
    struct vfio_user_write_single writes[200];
    const uint64_t count = 200;
    struct client_call call = { .command = VFIO_USER_REGION_WRITE_MULTI,
                                .flags = VFIO_USER_NO_REPLY,
                                .fixed_len = sizeof(count),
                                .data_len = sizeof(writes) };
    struct server s;
    struct client *c;
    uint64_t done = 0;
    uint64_t value;

    server_start(&s, NULL);
    c = server_connect(&s);
    for (uint64_t i = 0; i < 1000; i++)
        ck_assert_int_eq(client_region_post(c, 1, i * 8, &i, 8), 0);
    ck_assert_int_eq(client_region_post(c, 9, 0, &done, 8), 0); /* fails, and nobody is told */
    ck_assert_int_eq(client_region_read(c, 1, 999 * 8, &value, 8), 0);
    ck_assert_uint_eq(value, 999);
    for (uint32_t i = 0; i < 200; i++) {
        value = i + 77;
        writes[i] = (struct vfio_user_write_single) { .offset = i * 16, .region = 1, .count = 8 };
        memcpy(writes[i].data, &value, 8);
    }
    ck_assert_int_eq(client_write_multi(c, writes, 200, &done), 0);
    ck_assert_uint_eq(done, 200);
    ck_assert_int_eq(client_region_read(c, 1, 199 * 16, &value, 8), 0);
    ck_assert_uint_eq(value, 199 + 77);
    writes[150].region = 6; /* there is no ROM */
    ck_assert_int_eq(client_write_multi(c, writes, 200, &done), 0);
    ck_assert_uint_eq(done, 150);
    writes[0].region = 6;
    ck_assert_int_eq(client_write_multi(c, writes, 200, &done), -EINVAL);
    /* Posted, each stands for itself: the others are done. */
    value = 4711;
    memcpy(writes[199].data, &value, 8);
    call.fixed = &count;
    call.data = writes;
    ck_assert_int_eq(client_call(c, &call), 0);
    ck_assert_int_eq(client_region_read(c, 1, 199 * 16, &value, 8), 0);
    ck_assert_uint_eq(value, 4711);
    client_free(c);
    server_stop(&s);
}
END_TEST

#define BLOCK       1000
#define LAST_BLOCKS 4
#define SLOW_WRITES 100

static void fill_post(uint8_t *wire, uint64_t offset, uint32_t value)
{
    const struct vfio_user_region_access access = { .offset = offset, .region = 0, .count = 4 };

    message_encode_header(wire, 1, VFIO_USER_REGION_WRITE, 36, VFIO_USER_NO_REPLY, 0);
    memcpy(wire + 16, &access, sizeof(access));
    memcpy(wire + 32, &value, sizeof(value));
}

/*
 * All that a client sent before it closed is done, also when the next one is faster than that, and
 * it takes longer than one turn: the first of its writes copy a MiB each, the others ring.
 */
START_TEST(test_last_words)
{
    static const uint8_t version[] = { 0, 0, 1, 0, '{', '}', 0 };
    struct client_call call = { .command = VFIO_USER_VERSION,
                                .fixed = version,
                                .fixed_len = sizeof(version) };
    uint8_t *wire = calloc(BLOCK, 36);
    struct server s;
    struct client *c;
    struct client *next;
    int memory = make_memory(1 << 20);
    int id;

    server_start(&s, "{ \"bar1\": { \"size\": \"1M\", \"mmap\": [] } }");
    c = server_connect(&s);
    ck_assert_int_eq(client_dma_map(c, 0, 1 << 20, 3, memory, 0), 0);
    set_bus_master(c);
    write_reg(c, REG_DMA_LENGTH, 1 << 20, 4);
    ck_assert_int_eq(client_connect(s.socket, &next), 0);
    server_status_call(&s); /* it is accepted by now */
    ck_assert_int_eq(kill(s.pid, SIGSTOP), 0);
    id = client_send(next, &call);
    ck_assert_int_ge(id, 0);
    for (int block = 0; block < LAST_BLOCKS; block++) {
        for (size_t i = 0; i < BLOCK; i++) {
            bool slow = block == 0 && i < SLOW_WRITES;

            fill_post(wire + i * 36, slow ? REG_DMA_CONTROL : 0x808, 1);
        }
        ck_assert_int_eq(send(stream_fd(client_stream(c)), wire, BLOCK * 36, MSG_NOSIGNAL),
                         BLOCK * 36);
    }
    client_free(c);
    ck_assert_int_eq(kill(s.pid, SIGCONT), 0);
    ck_assert_int_eq(client_wait(next, (uint16_t)id, &call), 0);
    ck_assert_uint_eq(read_reg(next, 0x804, 4), LAST_BLOCKS * BLOCK - SLOW_WRITES);
    free(wire);
    close(memory);
    client_free(next);
    server_stop(&s);
}
END_TEST

/*
 * The process
 */

static pid_t start_with_fd(int fd, int log)
{
    char number[16];
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int copy = dup(fd); /* without close-on-exec */

        snprintf(number, sizeof(number), "%d", copy);
        dup2(log, STDERR_FILENO);
        execl(getenv("VFIO_USERD"), "vfio-userd", "--fd", number, NULL);
        _exit(127);
    }
    return pid;
}

/* Started with a connected socket, it serves that one, and ends with it. */
START_TEST(test_connected_fd)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *c;
    int log = memfd_create("log", MFD_CLOEXEC);
    int socks[2];
    int status;
    pid_t pid;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
    pid = start_with_fd(socks[1], log);
    close(socks[1]);
    ck_assert_int_eq(client_new(socks[0], &c), 0);
    version_defaults(&ours);
    ck_assert_int_eq(client_negotiate(c, &ours, &theirs), 0);
    ck_assert_int_eq(client_reset(c), 0);
    client_free(c);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(log);
}
END_TEST

/* Nothing to do, nothing done: no wake-up, with and without a client. */
START_TEST(test_idle)
{
    struct server s;
    struct client *c;
    long before;

    server_start(&s, NULL);
    c = server_connect(&s);
    poll(NULL, 0, 50);
    before = server_status_value(&s, "voluntary_ctxt_switches");
    poll(NULL, 0, 500);
    ck_assert_int_eq(server_status_value(&s, "voluntary_ctxt_switches"), before);
    client_free(c);
    server_stop(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("live");
    TCase *tcase = tcase_create("device");

    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, test_client_in_status);
    tcase_add_test(tcase, test_state_survives_disconnect);
    tcase_add_test(tcase, test_pipelining);
    tcase_add_test(tcase, test_posted_and_bundled_writes);
    tcase_add_test(tcase, test_last_words);
    tcase_add_test(tcase, test_connected_fd);
    tcase_add_test(tcase, test_idle);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
