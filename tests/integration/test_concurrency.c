/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests, replies, and the server's own commands at the same time, in every order that a client
 * may think of: it sends ahead and reads later, answers late, in another order, wrong, or never.
 * Nothing waits for ever, and nothing but what it spoiled itself is lost. Each with commands on the
 * one socket, and on the twin.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/live_kit.h"
#include "integration/raw_peer.h"
#include "message.h"
#include "suite.h"

#define FAILED 0x80000000u
#define READS  1000
#define PIECE  4096u

static const char patient[] = "{ \"limits\": { \"client_timeout\": 60 } }";
static const char quick[] = "{ \"limits\": { \"client_timeout\": 0.2 } }";

static struct raw_peer peer; /* large */

static void begin(struct server *s, const char *description, int twin)
{
    server_start(s, description);
    raw_connect(&peer, s, twin ? RAW_TWIN : RAW_ONE);
    ck_assert_int_eq(peer.twin >= 0, twin);
    raw_map(&peer);
}

static void end(struct server *s)
{
    raw_close(&peer);
    server_stop(s);
}

static void wait_log(const struct server *s, const char *text)
{
    int64_t until = now_ms() + 2000;

    while (!server_log_has(s, text)) {
        ck_assert_msg(now_ms() < until, "not in the log: %s", text);
        poll(NULL, 0, 5);
    }
}

/* How often the log has the text. */
static unsigned count_log(const struct server *s, const char *text)
{
    char command[256];
    unsigned n = 0;
    FILE *f;

    snprintf(command, sizeof(command), "grep -c '%s' %s", text, s->log);
    f = popen(command, "r");
    ck_assert_int_eq(fscanf(f, "%u", &n), 1);
    pclose(f);
    return n;
}

/* What a transfer from the guest brought to BAR1. */
static void expect_bar1(uint64_t iova, uint32_t len)
{
    raw_send_read(&peer, 1, 0, len);
    raw_settle(&peer);
    ck_assert_mem_eq(peer.payload + 16, peer.guest + iova, len);
}

/*
 * Ahead
 */

static void send_reads(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        raw_send_read(&peer, 1, (i % 4) * PIECE, PIECE);
}

/* Replies of 4 MB are not read when the DMA message is answered: before them, or behind all. */
START_TEST(requests_around_a_dma_message)
{
    bool twin = (_i & 1) != 0;
    bool answer_first = (_i & 2) != 0;
    struct raw_command c;
    struct server s;

    begin(&s, NULL, twin);
    raw_start_dma(&peer, 1, 0x1000, PIECE);
    send_reads(READS);
    c = raw_next(&peer); /* of the replies only those that came before it are read */
    ck_assert_uint_eq(c.hdr.command, VFIO_USER_DMA_READ);
    if (!answer_first)
        send_reads(READS / 10);
    raw_answer(&peer, raw_commands_socket(&peer), &c, 0);
    if (answer_first)
        send_reads(READS / 10);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    expect_bar1(0x1000, PIECE);
    end(&s);
}
END_TEST

/* The same with what the device sends: data is queued among the replies. */
START_TEST(dma_writes_among_replies)
{
    struct raw_command c;
    struct server s;

    begin(&s, NULL, _i);
    raw_put(&peer, REG_IRQ_ENABLE, 0, 4);
    for (unsigned round = 0; round < 20; round++) {
        raw_start_dma(&peer, 2, 0x2000, PIECE);
        send_reads(50);
        c = raw_next(&peer);
        ck_assert_uint_eq(c.hdr.command, VFIO_USER_DMA_WRITE);
        send_reads(50);
        raw_answer(&peer, raw_commands_socket(&peer), &c, 0);
        raw_settle(&peer);
        ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    }
    end(&s);
}
END_TEST

static void *send_many(void *arg)
{
    (void)arg;
    send_reads(10 * READS);
    return NULL;
}

/* More than may wait unread: the server stops reading, and goes on when the client reads. */
START_TEST(more_than_may_be_unread)
{
    struct pollfd p;
    struct raw_command c;
    struct server s;
    pthread_t thread;
    int64_t until;
    uint16_t last;

    begin(&s, patient, _i);
    raw_start_dma(&peer, 1, 0, PIECE);
    last = (uint16_t)(peer.next_id + 10 * READS);
    ck_assert_int_eq(pthread_create(&thread, NULL, send_many, NULL), 0);
    /* Until the sender is stuck: there is no room in its socket for 200 ms. */
    p = (struct pollfd) { .fd = peer.main, .events = POLLOUT };
    for (until = now_ms() + 4000; poll(&p, 1, 0) == 1 && now_ms() < until;)
        poll(NULL, 0, 200);
    ck_assert_int_lt(server_status_call(&s), 1000);
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    c = raw_next(&peer);
    /* On the one socket there is room for the answer only when the replies are read. */
    if (_i == 1)
        raw_answer(&peer, peer.twin, &c, 0);
    raw_settle_until(&peer, last);
    pthread_join(thread, NULL);
    if (_i == 0)
        raw_answer(&peer, peer.main, &c, 0);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    end(&s);
}
END_TEST

/* What was asked for before the client closed its half is answered. */
START_TEST(half_closed_with_replies_unread)
{
    struct server s;
    char byte;

    begin(&s, NULL, _i);
    send_reads(READS);
    ck_assert_int_eq(shutdown(peer.main, SHUT_WR), 0);
    raw_settle(&peer);
    ck_assert_int_eq(recv(peer.main, &byte, 1, 0), 0);
    raw_close(&peer);
    raw_connect(&peer, &s, RAW_ONE); /* the next one is welcome */
    end(&s);
}
END_TEST

/*
 * In another order, and wrong
 */

static struct raw_command next_of(uint16_t command)
{
    struct raw_command c = raw_next(&peer);

    ck_assert_uint_eq(c.hdr.command, command);
    return c;
}

START_TEST(answers_in_another_order)
{
    int sock;
    struct raw_command interrupt;
    struct raw_command read;
    struct server s;

    begin(&s, NULL, _i);
    sock = raw_commands_socket(&peer);
    raw_put(&peer, REG_TIMER_SEC, 1, 8); /* the past: fires at once, and there is no eventfd */
    interrupt = next_of(VFIO_USER_VM_INTERRUPT);
    ck_assert_uint_eq(interrupt.index, VFIO_PCI_INTX_IRQ_INDEX);
    raw_start_dma(&peer, 1, 0x1000, 2 * PIECE);
    read = next_of(VFIO_USER_DMA_READ);
    send_reads(10);
    raw_answer(&peer, sock, &read, 0);
    raw_answer(&peer, sock, &interrupt, 0);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    expect_bar1(0x1000, PIECE);
    /* With errors, the interrupt's first: each is its own. */
    raw_put(&peer, REG_IRQ_STATUS, ~0u, 4);
    raw_put(&peer, REG_TIMER_SEC, 1, 8);
    raw_start_dma(&peer, 1, 0x1000, PIECE);
    interrupt = next_of(VFIO_USER_VM_INTERRUPT);
    read = next_of(VFIO_USER_DMA_READ);
    raw_answer(&peer, sock, &interrupt, ENOMEM);
    raw_answer(&peer, sock, &read, EIO);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_dma_outcome(&peer), FAILED + EIO);
    wait_log(&s, "VM_INTERRUPT of index 0, vector 0, id 2: the client replied: Cannot allocate");
    wait_log(&s, "DMA_READ of 0x1000, 4096 bytes, id 3: the client replied: Input/output error");
    ck_assert(!server_log_has(&s, "not asked for"));
    end(&s);
}
END_TEST

START_TEST(answers_of_a_wrong_size)
{
    struct raw_command c;
    struct server s;
    int sock;

    begin(&s, NULL, _i);
    sock = raw_commands_socket(&peer);
    raw_start_dma(&peer, 1, 0, PIECE);
    c = next_of(VFIO_USER_DMA_READ);
    raw_reply(sock, &c.hdr, 0, peer.guest, 100);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_dma_outcome(&peer), FAILED + EINVAL);
    wait_log(&s, "DMA_READ of 0x0, 4096 bytes, id 0: its reply of 116 bytes does not fit, or");
    c = next_of(VFIO_USER_VM_INTERRUPT); /* that DMA has failed */
    raw_reply(sock, &c.hdr, 0, peer.guest, 8);
    wait_log(&s, "VM_INTERRUPT of index 0, vector 0, id 1: its reply of 24 bytes is more than a "
                 "header: dropped");
    c.hdr.id = 4711;
    raw_reply(sock, &c.hdr, 0, NULL, 0);
    wait_log(&s, "a reply to VM_INTERRUPT, id 4711, that was not asked for: ignored");
    raw_start_dma(&peer, 1, 0, PIECE);
    c = next_of(VFIO_USER_DMA_READ);
    raw_answer(&peer, sock, &c, 0);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    expect_bar1(0, PIECE);
    end(&s);
}
END_TEST

/*
 * Late, or never
 */

START_TEST(no_answer_in_time)
{
    struct raw_command first;
    struct raw_command second;
    struct server s;
    int64_t since;
    int sock;

    begin(&s, quick, _i);
    sock = raw_commands_socket(&peer);
    raw_put(&peer, REG_IRQ_ENABLE, 0, 4); /* no interrupts here */
    since = now_ms();
    raw_start_dma(&peer, 1, 0, PIECE);
    first = next_of(VFIO_USER_DMA_READ);
    ck_assert_uint_eq(raw_dma_outcome(&peer), FAILED + ETIMEDOUT);
    ck_assert_int_ge(now_ms() - since, 200);
    wait_log(&s, "DMA_READ of 0x0, 4096 bytes, id 0: no reply within 200 ms");
    raw_start_dma(&peer, 1, 0x3000, PIECE);
    second = next_of(VFIO_USER_DMA_READ);
    memset(peer.guest, 0xee, PIECE);
    raw_answer(&peer, sock, &first, 0); /* to the one that is over */
    raw_settle(&peer);
    ck_assert_uint_eq(raw_get(&peer, REG_DMA_CONTROL, 4), 1);
    raw_answer(&peer, sock, &second, 0);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    expect_bar1(0x3000, PIECE);
    wait_log(&s, "a reply to DMA_READ, id 0, came");
    ck_assert(!server_log_has(&s, "not asked for"));
    end(&s);
}
END_TEST

/* The process did not run while the answer came: that is not the client's fault. */
START_TEST(the_server_was_late_itself)
{
    struct raw_command c;
    struct server s;

    begin(&s, quick, _i);
    raw_start_dma(&peer, 1, 0x1000, PIECE);
    c = next_of(VFIO_USER_DMA_READ);
    ck_assert_int_eq(kill(s.pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(s.pid, NULL, WUNTRACED), s.pid);
    send_reads(READS / 10);
    raw_answer(&peer, raw_commands_socket(&peer), &c, 0);
    poll(NULL, 0, 400); /* twice its time */
    ck_assert_int_eq(kill(s.pid, SIGCONT), 0);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    expect_bar1(0x1000, PIECE);
    ck_assert(!server_log_has(&s, "no reply"));
    end(&s);
}
END_TEST

START_TEST(reset_with_a_message_unanswered)
{
    struct raw_command before;
    struct raw_command after;
    struct server s;
    int sock;

    begin(&s, NULL, _i);
    sock = raw_commands_socket(&peer);
    raw_start_dma(&peer, 1, 0, PIECE);
    before = next_of(VFIO_USER_DMA_READ);
    raw_send(&peer, VFIO_USER_DEVICE_RESET, NULL, 0);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_get(&peer, REG_DMA_CONTROL, 4), 0);
    raw_send_write(&peer, CONFIG, 4, 6, 2); /* Bus Master */
    raw_start_dma(&peer, 1, 0x3000, PIECE);
    after = next_of(VFIO_USER_DMA_READ);
    raw_answer(&peer, sock, &after, 0);
    raw_answer(&peer, sock, &before, 0);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    expect_bar1(0x3000, PIECE);
    end(&s);
}
END_TEST

static void trigger(const struct server *s, unsigned vector)
{
    char command[256];

    snprintf(command, sizeof(command), "\"$VFUCTL\" -S %s -q trigger-irq --index msi --vector %u",
             s->control, vector);
    ck_assert_int_eq(system(command), 0);
}

/* Interrupts that the client does not answer: at some point more wait, but DMA does not. */
START_TEST(interrupts_without_answers)
{
    static const char msi[] =
        "{ \"pci\": { \"capabilities\": [ { \"kind\": \"msi\", \"vectors\": 32 } ] } }";
    struct raw_command waiting[16];
    struct raw_command c;
    struct server s;
    int sock;

    begin(&s, msi, _i);
    sock = raw_commands_socket(&peer);
    raw_send_write(&peer, CONFIG, 0x42, 0x51, 2); /* MSI Enable, 32 vectors */
    raw_settle(&peer);
    for (unsigned i = 0; i < 16; i++) {
        trigger(&s, i);
        waiting[i] = next_of(VFIO_USER_VM_INTERRUPT);
        ck_assert_uint_eq(waiting[i].index, VFIO_PCI_MSI_IRQ_INDEX);
        ck_assert_uint_eq(waiting[i].subindex, i);
    }
    trigger(&s, 20);
    wait_log(&s, "VM_INTERRUPT of index 1, vector 20 is not sent now: the client has");
    raw_put(&peer, REG_IRQ_ENABLE, 0, 4); /* no interrupt when it is done */
    raw_start_dma(&peer, 1, 0, PIECE);
    c = next_of(VFIO_USER_DMA_READ); /* and not vector 20 */
    raw_answer(&peer, sock, &c, 0);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    ck_assert_uint_eq(peer.n_commands, 0);
    raw_answer(&peer, sock, &waiting[3], 0);
    c = next_of(VFIO_USER_VM_INTERRUPT);
    ck_assert_uint_eq(c.subindex, 20);
    end(&s);
}
END_TEST

/*
 * The twin
 */

static bool ends(int sock)
{
    char byte;

    return recv(sock, &byte, 1, 0) <= 0;
}

/* SET_IRQS: an eventfd for INTx. */
static void give_line(int fd)
{
    struct vfio_irq_set set = {
        .argsz = sizeof(set), .flags = TRIGGER_EVENTFD, .index = VFIO_PCI_INTX_IRQ_INDEX, .count = 1
    };
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { .align = { .cmsg_level = SOL_SOCKET,
                             .cmsg_type = SCM_RIGHTS,
                             .cmsg_len = CMSG_LEN(sizeof(int)) } };
    struct vfio_user_header hdr = { .id = peer.next_id++,
                                    .command = VFIO_USER_DEVICE_SET_IRQS,
                                    .size = sizeof(hdr) + sizeof(set) };
    struct iovec iov[2] = { { &hdr, sizeof(hdr) }, { &set, sizeof(set) } };
    struct msghdr msg = { .msg_iov = iov,
                          .msg_iovlen = 2,
                          .msg_control = control.space,
                          .msg_controllen = sizeof(control.space) };

    memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
    ck_assert_int_gt(sendmsg(peer.main, &msg, MSG_NOSIGNAL), 0);
    raw_settle(&peer);
    ck_assert_uint_eq(peer.reply.flags, VFIO_USER_TYPE_REPLY);
}

/* The client closes the twin, or sends nonsense on it: what needs it fails, the rest goes on. */
START_TEST(a_twin_that_is_lost)
{
    struct server s;
    int fd;

    begin(&s, NULL, 1);
    raw_start_dma(&peer, 1, 0, PIECE);
    next_of(VFIO_USER_DMA_READ);
    if (_i == 0) {
        close(peer.twin);
    } else {
        ck_assert_int_eq(send(peer.twin, "this is no message at all", 24, MSG_NOSIGNAL), 24);
        ck_assert(ends(peer.twin));
        close(peer.twin);
    }
    peer.twin = -1;
    ck_assert_uint_eq(raw_dma_outcome(&peer), FAILED + ENOTCONN);
    for (int i = 0; i < 3; i++) {
        raw_start_dma(&peer, 2, 0, PIECE);
        ck_assert_uint_eq(raw_dma_outcome(&peer), FAILED + ENOTCONN);
    }
    ck_assert_uint_eq(peer.n_commands, 0);
    wait_log(&s, _i == 0 ? "the twin socket is closed: by the client"
                         : "the twin socket is closed: what came on it is no message");
    ck_assert_uint_eq(count_log(&s, "the twin socket is closed"), 1);
    /* The interrupts of these are pending: an eventfd brings them. */
    fd = eventfd(0, EFD_CLOEXEC);
    give_line(fd);
    ck_assert_uint_eq(eventfd_wait(fd, 2000), 1);
    close(fd);
    end(&s);
}
END_TEST

/* Commands do not belong on the twin, nor replies to the other socket; both are told, no more. */
START_TEST(the_wrong_socket)
{
    struct vfio_user_header hdr = { .id = 77, .command = VFIO_USER_DEVICE_RESET, .size = 16 };
    const struct vfio_user_header posted = {
        .id = 76, .command = VFIO_USER_DEVICE_RESET, .size = 16, .flags = VFIO_USER_NO_REPLY
    };
    struct raw_command c;
    struct server s;

    begin(&s, NULL, 1);
    raw_put(&peer, REG_TIMER_SEC, (uint64_t)(now_ns() / 1000 / MS) + 3600, 8);
    ck_assert_int_eq(send(peer.twin, &posted, sizeof(posted), MSG_NOSIGNAL), sizeof(posted));
    ck_assert_int_eq(send(peer.twin, &hdr, sizeof(hdr), MSG_NOSIGNAL), sizeof(hdr));
    ck_assert_int_eq(recv(peer.twin, &hdr, sizeof(hdr), MSG_WAITALL), sizeof(hdr));
    ck_assert_uint_eq(hdr.id, 77); /* the first reply: the other asked for none */
    ck_assert_uint_eq(hdr.flags, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR);
    ck_assert_uint_eq(hdr.error, EINVAL);
    wait_log(&s, "DEVICE_RESET, id 77, on the twin socket: refused");
    raw_start_dma(&peer, 1, 0, PIECE);
    c = next_of(VFIO_USER_DMA_READ);
    raw_answer(&peer, peer.main, &c, 0);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_get(&peer, REG_DMA_CONTROL, 4), 1); /* still busy */
    wait_log(&s, "a reply to DMA_READ, id 0, that was not asked for here, but on the twin");
    raw_answer(&peer, peer.twin, &c, 0);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    end(&s);
}
END_TEST

/* One that takes no fds has none; it is told so, and commands share its socket. */
START_TEST(no_twin_without_fds)
{
    struct raw_command c;
    struct server s;

    server_start(&s, NULL);
    raw_connect(&peer, &s, "\"max_msg_fds\":0," RAW_TWIN);
    ck_assert_int_eq(peer.twin, -1);
    ck_assert_ptr_nonnull(strstr(peer.version, "\"twin_socket\":{\"supported\":false}"));
    raw_map(&peer);
    raw_start_dma(&peer, 1, 0, PIECE);
    c = next_of(VFIO_USER_DMA_READ);
    raw_answer(&peer, peer.main, &c, 0);
    raw_settle(&peer);
    ck_assert_uint_eq(raw_dma_outcome(&peer), 0);
    end(&s);
}
END_TEST

/* With the one socket goes the other, and with them all fds. */
START_TEST(both_sockets_go)
{
    struct server s;
    unsigned fds;

    server_start(&s, NULL);
    fds = server_fds(&s);
    for (int i = 0; i < 20; i++) {
        raw_connect(&peer, &s, RAW_TWIN);
        ck_assert_ptr_nonnull(
            strstr(peer.version, "\"twin_socket\":{\"supported\":true,\"fd_index\":0}"));
        ck_assert_ptr_nonnull(strstr(peer.version, "\"vm_interrupt\":true"));
        close(peer.main);
        ck_assert(ends(peer.twin));
        close(peer.twin);
    }
    server_wait_fds(&s, fds);
    ck_assert(!server_log_has(&s, "the twin socket")); /* it is no news that it is gone too */
    server_stop(&s);
}
END_TEST

/* Each a case of its own, so that one can be run by itself. */
static void add(Suite *suite, const char *name, const TTest *test, int rows)
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test, 0, rows);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("concurrency");

    add(suite, "around", requests_around_a_dma_message, 4);
    add(suite, "among", dma_writes_among_replies, 2);
    add(suite, "more", more_than_may_be_unread, 2);
    add(suite, "half", half_closed_with_replies_unread, 2);
    add(suite, "order", answers_in_another_order, 2);
    add(suite, "size", answers_of_a_wrong_size, 2);
    add(suite, "late", no_answer_in_time, 2);
    add(suite, "stopped", the_server_was_late_itself, 2);
    add(suite, "reset", reset_with_a_message_unanswered, 2);
    add(suite, "interrupts", interrupts_without_answers, 2);
    add(suite, "lost", a_twin_that_is_lost, 2);
    add(suite, "wrong", the_wrong_socket, 1);
    add(suite, "none", no_twin_without_fds, 1);
    add(suite, "both", both_sockets_go, 1);
    return run_suite(suite);
}
