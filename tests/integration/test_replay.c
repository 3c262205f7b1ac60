/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replays the connect sequences of real clients and compares each reply byte by byte. A transcript
 * has a line a message: `>` sent by the client, `<` the server's whole answer; then `memfd`,
 * `eventfd` (sent along) or `fd` (must come along), or nothing; then the message in hexadecimal.
 * `#` begins a comment.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "integration/harness.h"
#include "suite.h"

#define MESSAGE_MAX 8192
#define MEMORY      (256u << 20)

static const char *const transcripts[] = { "qemu", "cloud-hypervisor", "libvfio-user" };

static size_t parse_hex(const char *text, uint8_t *out)
{
    size_t n = 0;
    unsigned byte;

    while (n < MESSAGE_MAX && sscanf(text + 2 * n, "%2x", &byte) == 1)
        out[n++] = (uint8_t)byte;
    return n;
}

static void send_message(int sock, const uint8_t *data, size_t len, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (fd >= 0) {
        struct cmsghdr *c = &control.align;

        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    ck_assert_int_eq(sendmsg(sock, &msg, MSG_NOSIGNAL), (int)len);
    if (fd >= 0)
        close(fd);
}

/* Receives len bytes; returns the fd that came along, or -1. */
static int receive(int sock, uint8_t *data, size_t len)
{
    size_t have = 0;
    int fd = -1;

    while (have < len) {
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(4 * sizeof(int))];
        } control;
        struct iovec iov = { .iov_base = data + have, .iov_len = len - have };
        struct msghdr msg = { .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = control.space,
                              .msg_controllen = sizeof(control.space) };
        struct pollfd p = { .fd = sock, .events = POLLIN };
        struct cmsghdr *c;
        ssize_t n;

        ck_assert_msg(poll(&p, 1, 2000) == 1, "only %zu of %zu bytes came", have, len);
        n = recvmsg(sock, &msg, 0);
        ck_assert_int_gt(n, 0);
        have += (size_t)n;
        c = CMSG_FIRSTHDR(&msg);
        if (c != NULL) {
            ck_assert_uint_eq(c->cmsg_len, CMSG_LEN(sizeof(int)));
            memcpy(&fd, CMSG_DATA(c), sizeof(fd));
        }
    }
    return fd;
}

static void check_reply(int sock, const char *where, const uint8_t *expected, size_t len,
                        bool with_fd)
{
    uint8_t reply[MESSAGE_MAX];
    struct stat st;
    int fd = receive(sock, reply, len);

    for (size_t i = 0; i < len; i++)
        ck_assert_msg(reply[i] == expected[i], "%s: byte %zu of the reply is %02x, expected %02x",
                      where, i, reply[i], expected[i]);
    ck_assert_msg((fd >= 0) == with_fd, "%s: fd: %d", where, fd);
    if (fd >= 0) {
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_int_eq(st.st_size, 16384); /* BAR1 */
        close(fd);
    }
}

static void check_silence(int sock, const char *where)
{
    struct pollfd p = { .fd = sock, .events = POLLIN };

    ck_assert_msg(poll(&p, 1, 0) == 0, "%s: more came than was expected", where);
}

static unsigned replay(int sock, const char *name, FILE *f)
{
    static char line[2 * MESSAGE_MAX + 64];
    uint8_t message[MESSAGE_MAX];
    char where[64];
    unsigned number = 0;
    unsigned replies = 0;

    while (fgets(line, sizeof(line), f) != NULL) {
        char direction = line[0];
        const char *text = line + 2;
        char kind[16] = "";
        size_t len;

        number++;
        snprintf(where, sizeof(where), "%s: line %u", name, number);
        if (direction != '>' && direction != '<')
            continue;
        if (sscanf(text, "%15[a-z] ", kind) == 1 && strchr(text, ' ') != NULL)
            text = strchr(text, ' ') + 1;
        else
            kind[0] = '\0';
        len = parse_hex(text, message);
        ck_assert_uint_ge(len, 16);
        if (direction == '<') {
            check_reply(sock, where, message, len, strcmp(kind, "fd") == 0);
            replies++;
        } else {
            int fd = strcmp(kind, "memfd") == 0     ? make_memory(MEMORY)
                     : strcmp(kind, "eventfd") == 0 ? eventfd(0, EFD_CLOEXEC)
                                                    : -1;

            check_silence(sock, where);
            send_message(sock, message, len, fd);
        }
    }
    return replies;
}

START_TEST(test_transcript)
{
    const char *name = transcripts[_i];
    struct server s;
    char path[512];
    unsigned fds;
    FILE *f;
    int sock;

    snprintf(path, sizeof(path), "%s/tests/integration/replay/%s.txt", getenv("top_srcdir"), name);
    f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
    server_start(&s, NULL);
    fds = server_fds(&s);
    sock = server_connect_raw(&s);
    ck_assert_uint_gt(replay(sock, name, f), 20);
    check_silence(sock, name);
    fclose(f);
    if (strcmp(name, "libvfio-user") != 0)
        ck_assert(server_log_has(&s, _i == 0 ? "profile qemu" : "profile cloud-hypervisor"));
    close(sock);
    server_wait_fds(&s, fds); /* no trace of the client's fds */
    server_stop(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("replay");
    TCase *tcase = tcase_create("transcripts");

    tcase_set_timeout(tcase, 20);
    tcase_add_loop_test(tcase, test_transcript, 0, 3);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
