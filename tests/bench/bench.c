/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the daemon costs, beside the least that the same traffic can cost. It prints a table and
 * judges nothing: the exit status is 0 unless something did not work.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "handover.h"
#include "keep.h"
#include "measure.h"
#include "message.h"
#include "migration.h"
#include "reader.h"
#include "rings.h"
#include "stats.h"
#include "table.h"
#include "target.h"

#define PAGE_SIZE    4096u
#define PAGE_OFFSET  4096u /* BAR1's second page: only reached by message */
#define POSTED       4000u
#define BUNDLE       200u
#define BUNDLES      500u
#define SMALL        8u
#define PSS_AIM_KIB  1536.0
#define ACCESS_LEN   (VFIO_USER_HEADER_SIZE + sizeof(struct vfio_user_region_access))
#define WRITE_LEN    (ACCESS_LEN + SMALL)
#define BUNDLE_FIXED (VFIO_USER_HEADER_SIZE + sizeof(uint64_t))
#define BUNDLE_LEN   (BUNDLE_FIXED + BUNDLE * sizeof(struct vfio_user_write_single))

struct bench {
    const char *program;
    const char *vfuctl;
    unsigned rounds;
    unsigned idle_s;
    int cpu;
    struct target target;
    struct client *client;
    int fd; /* the client's socket, blocking */
    uint8_t pattern[PAGE_SIZE];
    double posted_rate; /* of case c, for d */
};

/*
 * Round trips
 */

/* The bytes of a REGION_READ or REGION_WRITE, and of their reply, up to the data. */
static void encode_access(uint8_t *at, uint16_t command, uint32_t flags, size_t size, uint16_t id,
                          uint64_t offset, uint32_t count)
{
    const struct vfio_user_region_access access = { .offset = offset,
                                                    .region = VFIO_PCI_BAR1_REGION_INDEX,
                                                    .count = count };

    message_encode_header(at, id, command, (uint32_t)size, flags, 0);
    memcpy(at + VFIO_USER_HEADER_SIZE, &access, sizeof(access));
}

/* Against the floor; with other_fd not -1, against the daemon that it is connected to. */
static int read_case(struct bench *b, uint32_t count, int other_fd, struct comparison *out)
{
    uint8_t request[ACCESS_LEN];
    static uint8_t reply[ACCESS_LEN + PAGE_SIZE];
    static uint8_t received[sizeof(reply)];
    const struct exchange x = { .request = request,
                                .request_len = sizeof(request),
                                .reply = reply,
                                .reply_len = ACCESS_LEN + count,
                                .received = received };
    int err;

    encode_access(request, VFIO_USER_REGION_READ, VFIO_USER_TYPE_COMMAND, sizeof(request), 7,
                  PAGE_OFFSET, count);
    encode_access(reply, VFIO_USER_REGION_READ, VFIO_USER_TYPE_REPLY, x.reply_len, 7, PAGE_OFFSET,
                  count);
    memcpy(reply + ACCESS_LEN, b->pattern, count);
    err = other_fd >= 0 ? measure_round_trips_of_two(other_fd, b->fd, &x, b->rounds, out)
                        : measure_round_trips(b->fd, &x, b->rounds, out);
    if (err == 0)
        err = traffic_exchange(other_fd >= 0 ? other_fd : b->fd, &x);
    return err == 0 && memcmp(received, reply, x.reply_len) != 0 ? -EPROTO : err;
}

static void print_read(const struct comparison *c, const char *name, double bound)
{
    table_print(
        &(struct result) { name, UNIT_US, c->ours, c->floor, c->ratio, AIM_AT_MOST, bound });
    table_print(&(struct result) { "   the same, 99 %", UNIT_US, c->ours_p99, c->floor_p99,
                                   c->ours_p99 / c->floor_p99, AIM_NONE, 0 });
}

static int bench_read(struct bench *b, uint32_t count, const char *name, double bound)
{
    struct comparison c;
    int err = read_case(b, count, -1, &c);

    if (err == 0)
        print_read(&c, name, bound);
    return err;
}

static int bench_read_page(struct bench *b)
{
    return bench_read(b, PAGE_SIZE, "a  read 4 KiB of BAR1, round trip, median", 1.10);
}

static int bench_read_small(struct bench *b)
{
    return bench_read(b, SMALL, "b  read 8 bytes of BAR1, round trip, median", 1.15);
}

/*
 * Writes
 */

/* What is written n-th to the page, where, and so what must be there in the end. */
static uint64_t nth_value(unsigned n)
{
    return n * 0x9e3779b97f4a7c15u;
}

static uint64_t nth_offset(unsigned n)
{
    return PAGE_OFFSET + n * SMALL % PAGE_SIZE;
}

static int check_written(struct bench *b, unsigned count)
{
    uint64_t page[PAGE_SIZE / SMALL];
    struct exchange x = { 0 };
    uint8_t request[ACCESS_LEN];
    uint8_t reply[ACCESS_LEN];
    static uint8_t received[ACCESS_LEN + PAGE_SIZE];
    int err;

    encode_access(request, VFIO_USER_REGION_READ, VFIO_USER_TYPE_COMMAND, sizeof(request), 9,
                  PAGE_OFFSET, PAGE_SIZE);
    encode_access(reply, VFIO_USER_REGION_READ, VFIO_USER_TYPE_REPLY, sizeof(received), 9,
                  PAGE_OFFSET, PAGE_SIZE);
    x = (struct exchange) { request, sizeof(request), reply, sizeof(received), received };
    err = traffic_exchange(b->fd, &x);
    if (err != 0)
        return err;
    memcpy(page, received + ACCESS_LEN, sizeof(page));
    for (unsigned n = count - PAGE_SIZE / SMALL; n < count; n++) {
        if (page[(nth_offset(n) - PAGE_OFFSET) / SMALL] != nth_value(n))
            return -EPROTO;
    }
    return 0;
}

static int compare_writes(struct bench *b, const struct stream_of_writes *w, unsigned count,
                          struct comparison *out)
{
    int err = measure_writes(b->fd, w, count, b->rounds, out);

    return err == 0 ? check_written(b, count) : err;
}

/* POSTED writes, of which the last has the reply. */
static void encode_posted(uint8_t bytes[POSTED * WRITE_LEN], uint8_t reply[ACCESS_LEN])
{
    for (unsigned n = 0; n < POSTED; n++) {
        uint32_t flags = n < POSTED - 1 ? VFIO_USER_NO_REPLY : 0;
        uint64_t value = nth_value(n);

        encode_access(bytes + n * WRITE_LEN, VFIO_USER_REGION_WRITE, flags, WRITE_LEN, (uint16_t)n,
                      nth_offset(n), SMALL);
        memcpy(bytes + n * WRITE_LEN + ACCESS_LEN, &value, sizeof(value));
    }
    encode_access(reply, VFIO_USER_REGION_WRITE, VFIO_USER_TYPE_REPLY, ACCESS_LEN,
                  (uint16_t)(POSTED - 1), nth_offset(POSTED - 1), SMALL);
}

static int bench_posted(struct bench *b)
{
    static const struct {
        const char *name;
        size_t send_len;
        enum table_aim aim; /* none where the floor, which looks at no message, says little */
    } ways[] = {
        { "c  posted 8-byte writes, one send() each", WRITE_LEN, AIM_AT_LEAST },
        { "   the same, 200 in a send()", BUNDLE * WRITE_LEN, AIM_NONE },
    };
    static uint8_t bytes[POSTED * WRITE_LEN];
    uint8_t reply[ACCESS_LEN];
    struct comparison c;

    encode_posted(bytes, reply);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        const struct stream_of_writes w = { bytes, sizeof(bytes), ways[i].send_len, reply,
                                            sizeof(reply) };
        int err = compare_writes(b, &w, POSTED, &c);

        if (err != 0)
            return err;
        if (i == 0)
            b->posted_rate = c.ours;
        table_print(&(struct result) { ways[i].name, UNIT_RATE, c.ours, c.floor, c.ratio,
                                       ways[i].aim, 0.85 });
    }
    return 0;
}

static void encode_bundle(uint8_t *at, unsigned bundle)
{
    const uint64_t count = BUNDLE;
    uint32_t flags = bundle < BUNDLES - 1 ? VFIO_USER_NO_REPLY : 0;

    message_encode_header(at, (uint16_t)bundle, VFIO_USER_REGION_WRITE_MULTI, BUNDLE_LEN, flags, 0);
    memcpy(at + VFIO_USER_HEADER_SIZE, &count, sizeof(count));
    at += BUNDLE_FIXED;
    for (unsigned n = bundle * BUNDLE; n < (bundle + 1) * BUNDLE; n++) {
        struct vfio_user_write_single w = { .offset = nth_offset(n),
                                            .region = VFIO_PCI_BAR1_REGION_INDEX,
                                            .count = SMALL };
        uint64_t value = nth_value(n);

        memcpy(w.data, &value, sizeof(value));
        memcpy(at, &w, sizeof(w));
        at += sizeof(w);
    }
}

static int bench_bundles(struct bench *b)
{
    static uint8_t bytes[BUNDLES * BUNDLE_LEN];
    const uint64_t count = BUNDLE;
    uint8_t reply[BUNDLE_FIXED];
    const struct stream_of_writes w = { bytes, sizeof(bytes), BUNDLE_LEN, reply, sizeof(reply) };
    struct comparison c;
    int err;

    for (unsigned i = 0; i < BUNDLES; i++)
        encode_bundle(bytes + i * BUNDLE_LEN, i);
    message_encode_header(reply, BUNDLES - 1, VFIO_USER_REGION_WRITE_MULTI, sizeof(reply),
                          VFIO_USER_TYPE_REPLY, 0);
    memcpy(reply + VFIO_USER_HEADER_SIZE, &count, sizeof(count));
    err = compare_writes(b, &w, BUNDLES * BUNDLE, &c);
    if (err != 0)
        return err;
    table_print(&(struct result) { "d  the same in WRITE_MULTI of 200; floor: ours of c", UNIT_RATE,
                                   c.ours, b->posted_rate, c.ours / b->posted_rate, AIM_AT_LEAST,
                                   10 });
    table_print(&(struct result) { "   the same against its own bytes", UNIT_RATE, c.ours, c.floor,
                                   c.ratio, AIM_NONE, 0 });
    return 0;
}

/*
 * A capture
 */

/* A client of t with a blocking socket, and the pattern in BAR1. */
static int attach_to(struct bench *b, const struct target *t, struct client **out)
{
    int err = target_connect(t, out);
    int flags;
    int fd;

    if (err != 0)
        return err;
    err = client_region_write(*out, VFIO_PCI_BAR1_REGION_INDEX, PAGE_OFFSET, b->pattern,
                              sizeof(b->pattern));
    if (err != 0)
        return err;
    fd = stream_fd(client_stream(*out));
    flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0 ? -errno : 0;
}

static int compare_captured(struct bench *b, int fd)
{
    static const char *const names[] = { "g  read 4 KiB while captured; floor: while not",
                                         "   read 8 bytes" };
    static uint8_t bytes[POSTED * WRITE_LEN];
    uint8_t reply[ACCESS_LEN];
    const struct stream_of_writes w = { bytes, sizeof(bytes), WRITE_LEN, reply, sizeof(reply) };
    struct comparison c;
    int err = read_case(b, PAGE_SIZE, fd, &c);

    if (err == 0)
        print_read(&c, names[0], 1.10);
    if (err == 0)
        err = read_case(b, SMALL, fd, &c);
    if (err != 0)
        return err;
    print_read(&c, names[1], 1.10);
    encode_posted(bytes, reply);
    err = measure_writes_of_two(fd, b->fd, &w, POSTED, b->rounds, &c);
    if (err == 0)
        table_print(&(struct result) { "   posted 8-byte writes, one send() each", UNIT_RATE,
                                       c.ours, c.floor, c.ratio, AIM_NONE, 0 });
    return err;
}

/* Two daemons, of which one is captured. */
static int bench_capture(struct bench *b)
{
    struct client *client = NULL;
    struct reader_counts counts;
    struct reader reader;
    struct target captured;
    int stopped;
    int err = target_start(b->program, NULL, &captured);

    if (err != 0)
        return err;
    err = attach_to(b, &captured, &client);
    if (err == 0)
        err = reader_start(b->vfuctl, captured.control, b->cpu, &reader);
    if (err == 0) {
        err = compare_captured(b, stream_fd(client_stream(client)));
        stopped = reader_stop(&reader, &counts);
        err = err != 0 ? err : stopped;
    }
    if (err == 0)
        table_print(&(struct result) {
            "   messages dropped of them all", UNIT_COUNT, (double)counts.dropped,
            (double)(counts.packets + counts.dropped), NAN, AIM_NONE, 0 });
    client_free(client);
    stopped = target_stop(&captured);
    return err != 0 ? err : stopped;
}

static int bench_handover(struct bench *b)
{
    return handover_bench(b->program);
}

static int bench_rings(struct bench *b)
{
    return rings_bench(b->program, b->rounds);
}

static int bench_keep(struct bench *b)
{
    return keep_bench(b->program, b->rounds);
}

/* A state is large: a few rounds take as long as all of the others do. */
static int bench_migration(struct bench *b)
{
    return migration_bench(b->program, b->rounds / 9 + 1);
}

/*
 * Memory and idleness
 */

static int print_memory(struct bench *b, const char *pss_name, const char *private_name)
{
    struct target_memory m;
    int err = target_memory(&b->target, &m);

    if (err != 0)
        return err;
    table_print(
        &(struct result) { pss_name, UNIT_KIB, (double)m.pss, NAN, NAN, AIM_AT_MOST, PSS_AIM_KIB });
    table_print(&(struct result) { private_name, UNIT_KIB,
                                   (double)(m.private_clean + m.private_dirty), NAN, NAN, AIM_NONE,
                                   0 });
    return 0;
}

static int memory_at_start(struct bench *b)
{
    return print_memory(b, "f  memory after start (Pss)", "   of it in no other process");
}

static int memory_attached(struct bench *b)
{
    return print_memory(b, "f  memory with a client (Pss)", "   of it in no other process");
}

static int memory_after(struct bench *b)
{
    return print_memory(b, "f  memory after the traffic (Pss)", "   of it in no other process");
}

/* Two daemons at once, with and without a client: the time is waited for once. */
static int bench_idle(struct bench *b)
{
    static const char *const names[] = { "e  wake-ups while idle with a client",
                                         "e  wake-ups while idle without" };
    struct target alone;
    uint64_t before[2];
    uint64_t after[2];
    int err = target_start(b->program, NULL, &alone);

    if (err != 0)
        return err;
    sleep(1); /* what starting up leaves to do is no idleness */
    err = target_switches(&b->target, &before[0]);
    if (err == 0)
        err = target_switches(&alone, &before[1]);
    sleep(b->idle_s);
    if (err == 0)
        err = target_switches(&b->target, &after[0]);
    if (err == 0)
        err = target_switches(&alone, &after[1]);
    for (int i = 0; err == 0 && i < 2; i++)
        table_print(&(struct result) { names[i], UNIT_COUNT, (double)(after[i] - before[i]), NAN,
                                       NAN, AIM_AT_MOST, 0 });
    if (err != 0) {
        target_stop(&alone);
        return err;
    }
    return target_stop(&alone);
}

/*
 * The run
 */

static int attach(struct bench *b)
{
    int err = attach_to(b, &b->target, &b->client);

    if (err == 0)
        b->fd = stream_fd(client_stream(b->client));
    return err;
}

static int check_cpu(struct bench *b)
{
    return target_on_cpu(&b->target, b->cpu) ? 0 : -EXDEV;
}

static const struct {
    const char *name;
    int (*run)(struct bench *b);
} steps[] = {
    { "CPU affinity of the daemon", check_cpu },
    { "memory", memory_at_start },
    { "connecting", attach },
    { "memory", memory_attached },
    { "reads of 4 KiB", bench_read_page },
    { "reads of 8 bytes", bench_read_small },
    { "posted writes", bench_posted },
    { "WRITE_MULTI", bench_bundles },
    { "memory", memory_after },
    { "the doorbell", bench_rings },
    { "a capture", bench_capture },
    { "migration", bench_migration },
    { "handovers", bench_handover },
    { "what is kept", bench_keep },
    { "idleness", bench_idle },
};

static int run_steps(struct bench *b)
{
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int err = steps[i].run(b);

        if (err != 0) {
            fprintf(stderr, "bench: %s: %s\n", steps[i].name, strerror(-err));
            return err;
        }
    }
    return 0;
}

static int run(struct bench *b)
{
    int err = target_pin(&b->cpu);
    int stopped;

    for (size_t i = 0; i < sizeof(b->pattern); i++)
        b->pattern[i] = (uint8_t)(i * 31 >> 3);
    if (err == 0)
        err = target_start(b->program, NULL, &b->target);
    if (err != 0) {
        fprintf(stderr, "bench: %s: %s\n", b->program, strerror(-err));
        return err;
    }
    table_heading(b->cpu, b->rounds);
    err = run_steps(b);
    client_free(b->client);
    stopped = target_stop(&b->target);
    if (stopped != 0)
        fprintf(stderr, "bench: the daemon did not end cleanly\n");
    return err != 0 ? err : stopped;
}

static int parse(int argc, char **argv, struct bench *b)
{
    int c;

    *b = (struct bench) { .program = getenv("VFIO_USERD"),
                          .vfuctl = getenv("VFUCTL"),
                          .rounds = 45,
                          .idle_s = 5,
                          .fd = -1 };
    while ((c = getopt(argc, argv, "r:i:")) != -1) {
        if (c == 'r')
            b->rounds = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'i')
            b->idle_s = (unsigned)strtoul(optarg, NULL, 10);
        else
            return -EINVAL;
    }
    if (optind < argc)
        b->program = argv[optind];
    if (b->program == NULL || b->vfuctl == NULL || b->rounds == 0 || b->rounds > MEASURE_ROUNDS_MAX)
        return -EINVAL;
    return 0;
}

int main(int argc, char **argv)
{
    static struct bench b;

    if (parse(argc, argv, &b) != 0) {
        fprintf(stderr, "Usage: bench [-r ROUNDS] [-i IDLE_SECONDS] VFIO-USERD\n"
                        "VFIO-USERD, the daemon's program, may come in the variable VFIO_USERD;\n"
                        "the variable VFUCTL names vfuctl.\n");
        return 2;
    }
    return run(&b) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
