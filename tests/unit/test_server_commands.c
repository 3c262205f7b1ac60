/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon/session/server_commands.c: answers of every kind, in any order, too late or never. Time is
 * what the test says.
 */
#define _GNU_SOURCE
#include "session/server_commands.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "message.h"
#include "unit/fakes.h"
#include "vfio_user.h"

#define TIMEOUT 100u
#define PAGE    4096u

struct world {
    struct server_commands c;
    struct log_limit limit;
    struct dma *dma;
    struct stream *ours;
    struct stream *client;
    uint64_t now;
    uint8_t buffer[PAGE];
    char log[2048];
};

struct counted {
    struct dma_transfer t; /* first */
    int ends;
    int err;
};

static bool keep_line(void *opaque, const struct log_record *record)
{
    struct world *w = opaque;
    size_t len = strlen(w->log);

    snprintf(w->log + len, sizeof(w->log) - len, "%d %s\n", (int)record->level, record->text);
    return true;
}

static int send_dma(void *opaque, uint32_t tag, uint64_t iova, const void *data, uint32_t len)
{
    struct world *w = opaque;

    return server_commands_dma(&w->c, w->now, tag, iova, data, len);
}

static uint32_t max_len(void *opaque)
{
    (void)opaque;
    return PAGE;
}

static void world_init(struct world *w)
{
    const struct dma_messenger messenger = { .opaque = w, .send = send_dma, .max_len = max_len };
    int none = -1;
    int fds[2];

    *w = (struct world) { .now = 1000 };
    log_set_level(LOG_LEVEL_INFO);
    log_set_writer(keep_line, w);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(stream_new(fds[0], 1 << 20, &w->ours), 0);
    ck_assert_int_eq(stream_new(fds[1], 1 << 20, &w->client), 0);
    ck_assert_int_eq(dma_new(10, &messenger, &w->dma), 0);
    ck_assert_int_eq(dma_map(w->dma, 0, 1 << 20, 3, &none, 0), 0);
    server_commands_init(&w->c, w->dma, &w->limit);
    w->c.stream = w->ours;
    w->c.timeout_ms = TIMEOUT;
}

static void world_fini(struct world *w)
{
    log_set_writer(NULL, NULL);
    server_commands_abandon(&w->c);
    dma_free(w->dma);
    stream_free(w->ours);
    stream_free(w->client);
}

static void on_done(struct dma_transfer *t, int err)
{
    struct counted *c = (struct counted *)t;

    c->ends++;
    c->err = err;
}

static void start(struct world *w, struct counted *c, enum dma_direction direction, uint32_t length)
{
    *c = (struct counted) { .t = { .direction = direction,
                                   .way = DMA_ANY,
                                   .iova = 0x1000,
                                   .buffer = w->buffer,
                                   .length = length,
                                   .done = on_done } };
    dma_start(w->dma, &c->t);
}

/* The next command that the client gets, and its payload. */
static struct vfio_user_header hear(struct world *w, void *payload, size_t size)
{
    struct stream_message m;

    ck_assert_int_eq(stream_flush(w->ours), 0);
    if (stream_next(w->client, &m) == 0) {
        ck_assert_int_gt(stream_fill(w->client), 0);
        ck_assert_int_eq(stream_next(w->client, &m), 1);
    }
    ck_assert_uint_eq(m.hdr.flags, VFIO_USER_TYPE_COMMAND);
    if (payload != NULL) {
        ck_assert_uint_eq(m.hdr.size, VFIO_USER_HEADER_SIZE + size);
        memcpy(payload, m.payload, size);
    }
    return m.hdr;
}

static void answer(struct world *w, const struct vfio_user_header *hdr, uint32_t error,
                   const void *payload, size_t len)
{
    struct stream_message m = {
        .hdr = { .id = hdr->id,
                 .command = hdr->command,
                 .size = (uint32_t)(VFIO_USER_HEADER_SIZE + len),
                 .flags = VFIO_USER_TYPE_REPLY | (error != 0 ? VFIO_USER_ERROR : 0),
                 .error = error },
        .payload = payload,
    };

    server_commands_reply(&w->c, w->now, &m);
}

/* The right answer to a DMA_READ of len bytes, all of one value. */
static void answer_read(struct world *w, const struct vfio_user_header *hdr, uint32_t len,
                        uint8_t value)
{
    uint8_t payload[sizeof(struct vfio_user_dma_access) + PAGE];
    const struct vfio_user_dma_access access = { .address = 0x1000, .count = len };

    memcpy(payload, &access, sizeof(access));
    memset(payload + sizeof(access), value, len);
    answer(w, hdr, 0, payload, sizeof(access) + len);
}

static void expect_log(const struct world *w, const char *line)
{
    ck_assert_msg(strstr(w->log, line) != NULL, "\"%s\" is not in \"%s\"", line, w->log);
}

static int interrupt(struct world *w, uint32_t vector)
{
    return server_commands_interrupt(&w->c, w->now, VFIO_PCI_MSI_IRQ_INDEX, vector);
}

START_TEST(answers_in_any_order)
{
    struct vfio_user_vm_interrupt what;
    struct vfio_user_header hdr[3];
    struct counted c;
    struct world w;

    world_init(&w);
    ck_assert_int_eq(interrupt(&w, 7), 0);
    start(&w, &c, DMA_FROM_GUEST, 64);
    ck_assert_int_eq(interrupt(&w, 8), 0);
    hdr[0] = hear(&w, &what, sizeof(what));
    ck_assert_uint_eq(hdr[0].command, VFIO_USER_VM_INTERRUPT);
    ck_assert_uint_eq(what.index, VFIO_PCI_MSI_IRQ_INDEX);
    ck_assert_uint_eq(what.subindex, 7);
    hdr[1] = hear(&w, NULL, 0);
    ck_assert_uint_eq(hdr[1].command, VFIO_USER_DMA_READ);
    hdr[2] = hear(&w, &what, sizeof(what));
    ck_assert_uint_eq(what.subindex, 8);
    answer(&w, &hdr[2], 0, NULL, 0);
    answer_read(&w, &hdr[1], 64, 0x5a);
    ck_assert_int_eq(c.ends, 1);
    ck_assert_int_eq(c.err, 0);
    ck_assert_uint_eq(w.buffer[63], 0x5a);
    ck_assert(!server_commands_quiet(&w.c));
    answer(&w, &hdr[0], 0, NULL, 0);
    ck_assert(server_commands_quiet(&w.c));
    ck_assert_str_eq(w.log, "");
    world_fini(&w);
}
END_TEST

/* An interrupt was raised whatever the client says to it: it is told to the log, and done. */
START_TEST(odd_answers_to_interrupts)
{
    struct vfio_user_header hdr;
    struct world w;

    world_init(&w);
    ck_assert_int_eq(interrupt(&w, 3), 0);
    hdr = hear(&w, NULL, 0);
    answer(&w, &hdr, EPERM, NULL, 0);
    expect_log(&w, "4 VM_INTERRUPT of index 1, vector 3, id 0: the client replied: Operation not "
                   "permitted");
    ck_assert(server_commands_quiet(&w.c));
    ck_assert_int_eq(interrupt(&w, 3), 0);
    hdr = hear(&w, NULL, 0);
    answer(&w, &hdr, 0, "12345678", 8);
    expect_log(&w,
               "4 VM_INTERRUPT of index 1, vector 3, id 1: its reply of 24 bytes is more than a "
               "header: dropped");
    ck_assert(server_commands_quiet(&w.c));
    world_fini(&w);
}
END_TEST

/* The rows are sizes of a reply to a DMA_READ of 64 bytes, none of which is right. */
START_TEST(dma_replies_of_a_wrong_size)
{
    static const size_t sizes[] = { 0, 1, 15, 16, 16 + 63, 16 + 65, 16 + 128 };
    uint8_t payload[256] = { 0 };
    const struct vfio_user_dma_access access = { .address = 0x1000, .count = 64 };
    struct vfio_user_header hdr;
    char line[160];
    struct counted c;
    struct world w;

    world_init(&w);
    memcpy(payload, &access, sizeof(access));
    start(&w, &c, DMA_FROM_GUEST, 64);
    hdr = hear(&w, NULL, 0);
    answer(&w, &hdr, 0, payload, sizes[_i]);
    ck_assert_int_eq(c.ends, 1);
    ck_assert_int_eq(c.err, -EINVAL);
    snprintf(line, sizeof(line),
             "4 DMA_READ of 0x1000, 64 bytes, id 0: its reply of %zu bytes does not fit, or speaks "
             "of another transfer",
             16 + sizes[_i]);
    expect_log(&w, line);
    start(&w, &c, DMA_FROM_GUEST, 64);
    hdr = hear(&w, NULL, 0);
    answer(&w, &hdr, EINVAL, payload, sizes[_i]); /* its own word, and no other */
    ck_assert_int_eq(c.err, -EINVAL);
    expect_log(&w, "4 DMA_READ of 0x1000, 64 bytes, id 1: the client replied: Invalid argument");
    start(&w, &c, DMA_FROM_GUEST, 64); /* and it goes on */
    hdr = hear(&w, NULL, 0);
    answer_read(&w, &hdr, 64, 1);
    ck_assert_int_eq(c.err, 0);
    world_fini(&w);
}
END_TEST

START_TEST(answers_to_nothing)
{
    struct vfio_user_header hdr;
    struct vfio_user_header other;
    struct counted c;
    struct world w;

    world_init(&w);
    start(&w, &c, DMA_FROM_GUEST, 64);
    hdr = hear(&w, NULL, 0);
    other = hdr;
    other.id++;
    answer_read(&w, &other, 64, 1);
    expect_log(&w, "a reply to DMA_READ, id 1, that was not asked for: ignored");
    other = hdr;
    other.command = VFIO_USER_VM_INTERRUPT; /* the id is right, and the command is not */
    answer(&w, &other, 0, NULL, 0);
    expect_log(&w, "a reply to VM_INTERRUPT, id 0, that was not asked for: ignored");
    other.command = 4711;
    answer(&w, &other, ENOENT, NULL, 0);
    expect_log(&w, "a reply to UNKNOWN, id 0, that was not asked for: ignored");
    ck_assert_int_eq(c.ends, 0);
    answer_read(&w, &hdr, 64, 1);
    ck_assert_int_eq(c.err, 0);
    answer_read(&w, &hdr, 64, 1); /* once is enough */
    expect_log(&w, "a reply to DMA_READ, id 0, that was not asked for: ignored");
    ck_assert_int_eq(c.ends, 1);
    world_fini(&w);
}
END_TEST

START_TEST(too_late)
{
    struct vfio_user_header first;
    struct vfio_user_header second;
    struct counted c[2];
    struct world w;

    world_init(&w);
    ck_assert_uint_eq(server_commands_deadline(&w.c), SERVER_COMMANDS_NEVER);
    start(&w, &c[0], DMA_FROM_GUEST, 64);
    start(&w, &c[1], DMA_FROM_GUEST, 32); /* waits for the first */
    first = hear(&w, NULL, 0);
    ck_assert_uint_eq(server_commands_deadline(&w.c), 1000 + TIMEOUT);
    w.now += TIMEOUT - 1;
    server_commands_expire(&w.c, w.now);
    ck_assert_int_eq(c[0].ends, 0);
    w.now++;
    server_commands_expire(&w.c, w.now);
    ck_assert_int_eq(c[0].ends, 1);
    ck_assert_int_eq(c[0].err, -ETIMEDOUT);
    expect_log(&w, "DMA_READ of 0x1000, 64 bytes, id 0: no reply within 100 ms");
    /* The next one is under way already, with its own time. */
    second = hear(&w, NULL, 0);
    ck_assert_uint_eq(server_commands_deadline(&w.c), 1000 + 2 * TIMEOUT);
    w.now += 23;
    memset(w.buffer, 0, sizeof(w.buffer));
    answer_read(&w, &first, 64, 0xee);
    expect_log(&w, "6 a reply to DMA_READ, id 0, came 23 ms late: dropped");
    ck_assert_uint_eq(w.buffer[0], 0);
    ck_assert_int_eq(c[1].ends, 0);
    answer_read(&w, &second, 32, 0x11);
    ck_assert_int_eq(c[1].err, 0);
    ck_assert(server_commands_quiet(&w.c));
    ck_assert_ptr_null(strstr(w.log, "not asked for"));
    answer_read(&w, &first, 64, 0xee); /* twice is once too often */
    expect_log(&w, "a reply to DMA_READ, id 0, that was not asked for: ignored");
    world_fini(&w);
}
END_TEST

/* 33 are late: the oldest of them is forgotten, and ids come round without meeting the others. */
START_TEST(as_many_as_are_remembered)
{
    const unsigned n = SERVER_COMMANDS_LATE + 1;
    struct vfio_user_header hdr = { .command = VFIO_USER_VM_INTERRUPT };
    struct world w;

    world_init(&w);
    for (unsigned i = 0; i < n; i++) {
        ck_assert_int_eq(interrupt(&w, i), 0);
        hear(&w, NULL, 0);
        w.now += TIMEOUT;
        server_commands_expire(&w.c, w.now);
        ck_assert(server_commands_quiet(&w.c));
    }
    for (unsigned i = n; i < 65536 + 1; i++) {
        ck_assert_int_eq(interrupt(&w, i), 0);
        hdr = hear(&w, NULL, 0);
        answer(&w, &hdr, 0, NULL, 0);
        ck_assert(hdr.id == 0 || hdr.id >= n); /* 0 is free again, 1 to 32 are not */
    }
    ck_assert_uint_eq(hdr.id, 0);
    ck_assert_int_eq(interrupt(&w, 0), 0);
    hdr = hear(&w, NULL, 0);
    ck_assert_uint_eq(hdr.id, n);
    answer(&w, &hdr, 0, NULL, 0);
    for (unsigned i = 0; i < n; i++) {
        w.log[0] = '\0';
        memset(&w.limit, 0, sizeof(w.limit));
        hdr.id = (uint16_t)i;
        answer(&w, &hdr, 0, NULL, 0);
        expect_log(&w, i == 0 ? "that was not asked for" : "ms late: dropped");
    }
    world_fini(&w);
}
END_TEST

/* A client that lets interrupts wait does not keep DMA out, and is given them again later. */
START_TEST(interrupts_leave_room)
{
    struct vfio_user_header hdr[SERVER_COMMANDS_MAX_INTERRUPTS];
    struct vfio_user_header read;
    struct counted c;
    struct world w;

    world_init(&w);
    for (unsigned i = 0; i < SERVER_COMMANDS_MAX_INTERRUPTS; i++) {
        ck_assert_int_eq(interrupt(&w, i), 0);
        hdr[i] = hear(&w, NULL, 0);
    }
    ck_assert(!server_commands_has_room(&w.c));
    ck_assert_int_eq(interrupt(&w, 99), -EBUSY);
    expect_log(&w, "VM_INTERRUPT of index 1, vector 99 is not sent now: the client has");
    ck_assert(!server_commands_has_room(&w.c));
    start(&w, &c, DMA_FROM_GUEST, 64);
    read = hear(&w, NULL, 0);
    answer_read(&w, &read, 64, 1);
    ck_assert_int_eq(c.err, 0);
    ck_assert(!server_commands_has_room(&w.c));
    answer(&w, &hdr[5], 0, NULL, 0);
    ck_assert(server_commands_has_room(&w.c));
    ck_assert(!server_commands_has_room(&w.c)); /* said once */
    ck_assert_int_eq(interrupt(&w, 99), 0);
    ck_assert_int_eq(interrupt(&w, 100), -EBUSY);
    w.now += TIMEOUT;
    server_commands_expire(&w.c, w.now);
    ck_assert(server_commands_has_room(&w.c));
    world_fini(&w);
}
END_TEST

/* Transfers that nobody waits for any more still have their slot, until their time is over. */
START_TEST(all_slots_are_taken)
{
    struct counted c;
    struct world w;

    world_init(&w);
    for (unsigned i = 0; i < SERVER_COMMANDS_MAX; i++) {
        start(&w, &c, DMA_FROM_GUEST, 8);
        dma_cancel(w.dma, &c.t);
        ck_assert_int_eq(c.err, -ECANCELED);
    }
    start(&w, &c, DMA_FROM_GUEST, 8);
    ck_assert_int_eq(c.err, -EBUSY);
    expect_log(&w, "DMA_READ is not sent: 32 commands are unanswered");
    ck_assert_int_eq(interrupt(&w, 0), -EBUSY);
    w.now += TIMEOUT;
    server_commands_expire(&w.c, w.now);
    ck_assert(server_commands_quiet(&w.c));
    start(&w, &c, DMA_FROM_GUEST, 8);
    ck_assert_int_eq(c.ends, 0);
    ck_assert(server_commands_has_room(&w.c));
    world_fini(&w);
}
END_TEST

/* A client that does not read makes no queue that grows and grows. */
START_TEST(what_is_not_read_is_bounded)
{
    struct counted c;
    struct world w;
    unsigned sent = 0;

    world_init(&w);
    w.c.max_queued = 10 * PAGE;
    do {
        start(&w, &c, DMA_TO_GUEST, PAGE);
        sent += c.ends == 0;
        dma_cancel(w.dma, &c.t);
        w.now += TIMEOUT;
        server_commands_expire(&w.c, w.now);
        memset(&w.limit, 0, sizeof(w.limit));
    } while (c.err == -ECANCELED && sent < 100);
    ck_assert_int_eq(c.err, -EBUSY);
    ck_assert_uint_eq(sent, 10);
    expect_log(&w, "DMA_WRITE is not sent: the client has left");
    ck_assert_int_eq(interrupt(&w, 0), -EBUSY);
    ck_assert(!server_commands_has_room(&w.c));
    for (unsigned i = 0; i < sent; i++)
        hear(&w, NULL, 0);
    ck_assert(server_commands_has_room(&w.c));
    world_fini(&w);
}
END_TEST

/* QEMU's question has its time as well; it is asked again with the next transfer. */
START_TEST(a_question_without_an_answer)
{
    struct vfio_user_dma_access access;
    struct vfio_user_header hdr;
    struct counted c;
    struct world w;

    world_init(&w);
    w.c.shape = DMA_SHAPE_UNKNOWN;
    for (int i = 0; i < 2; i++) {
        start(&w, &c, DMA_FROM_GUEST, 64);
        hdr = hear(&w, &access, sizeof(access));
        ck_assert_uint_eq(hdr.command, VFIO_USER_DMA_WRITE);
        ck_assert_uint_eq(access.count, 0);
        w.now += TIMEOUT;
        server_commands_expire(&w.c, w.now);
        ck_assert_int_eq(c.err, -ETIMEDOUT);
        answer(&w, &hdr, 0, NULL, 0);
        ck_assert_int_eq(w.c.shape, DMA_SHAPE_UNKNOWN);
    }
    expect_log(&w, "a reply to DMA_WRITE, id 1, came 0 ms late: dropped");
    world_fini(&w);
}
END_TEST

START_TEST(no_way_any_more)
{
    struct vfio_user_header hdr;
    struct counted c[2];
    struct world w;

    world_init(&w);
    start(&w, &c[0], DMA_FROM_GUEST, 64);
    start(&w, &c[1], DMA_FROM_GUEST, 64);
    hdr = hear(&w, NULL, 0);
    ck_assert_int_eq(interrupt(&w, 0), 0);
    server_commands_abandon(&w.c);
    ck_assert_int_eq(c[0].err, -ENOTCONN);
    ck_assert_int_eq(c[1].err, -ENOTCONN);
    ck_assert(server_commands_quiet(&w.c));
    ck_assert_int_eq(interrupt(&w, 0), -ENOTCONN);
    ck_assert(!server_commands_has_room(&w.c));
    start(&w, &c[0], DMA_FROM_GUEST, 64);
    ck_assert_int_eq(c[0].err, -ENOTCONN);
    answer_read(&w, &hdr, 64, 1);
    expect_log(&w, "that was not asked for");
    world_fini(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        answers_in_any_order,         odd_answers_to_interrupts,
        answers_to_nothing,           too_late,
        as_many_as_are_remembered,    interrupts_leave_room,
        all_slots_are_taken,          what_is_not_read_is_bounded,
        a_question_without_an_answer, no_way_any_more,
    };
    const struct fake_loop_test loops[] = { { dma_replies_of_a_wrong_size, 7 } };

    return fake_run("server_commands", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}
