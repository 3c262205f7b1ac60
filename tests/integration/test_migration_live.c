/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO migration between two daemons, with a client that drives both: all commands over the socket,
 * what a stopped device does and does not, and what arrives on the other side.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "integration/harness.h"
#include "integration/live_kit.h"
#include "suite.h"

#define STOP      VFIO_DEVICE_STATE_STOP
#define RUNNING   VFIO_DEVICE_STATE_RUNNING
#define STOP_COPY VFIO_DEVICE_STATE_STOP_COPY
#define RESUMING  VFIO_DEVICE_STATE_RESUMING
#define PRE_COPY  VFIO_USER_DEVICE_STATE_PRE_COPY
#define INTX      VFIO_PCI_INTX_IRQ_INDEX

#define LOG_START  VFIO_DEVICE_FEATURE_DMA_LOGGING_START
#define LOG_STOP   VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP
#define LOG_REPORT VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT

#define BAR1_SIZE  16384
#define GUEST_SIZE (8u << 20)

static uint8_t guest[GUEST_SIZE];
static unsigned served; /* DMA messages */

static int guest_read(void *opaque, uint64_t address, void *data, uint64_t count)
{
    (void)opaque;
    served++;
    if (address > GUEST_SIZE || count > GUEST_SIZE - address)
        return -EFAULT;
    memcpy(data, guest + address, count);
    return 0;
}

static int guest_write(void *opaque, uint64_t address, const void *data, uint64_t count)
{
    (void)opaque;
    served++;
    if (address > GUEST_SIZE || count > GUEST_SIZE - address)
        return -EFAULT;
    memcpy(guest + address, data, count);
    return 0;
}

static struct client *attach(const struct server *s)
{
    static const struct client_memory memory = { .read = guest_read, .write = guest_write };
    struct client *c = server_connect(s);

    client_set_memory(c, &memory);
    return c;
}

static void set_state(struct client *c, uint32_t state)
{
    uint32_t now = 77;

    ck_assert_int_eq(client_mig_set_state(c, state), 0);
    ck_assert_int_eq(client_mig_get_state(c, &now), 0);
    ck_assert_uint_eq(now, state);
}

/* What the operator sees. */
static void expect_status(const struct server *s, const char *state)
{
    struct json_object *status = server_status(s);
    struct json_object *migration = json_object_object_get(status, "migration");

    ck_assert_str_eq(json_object_get_string(json_object_object_get(migration, "state")), state);
    json_object_put(status);
}

/* Carries what there is to read, in pieces of size bytes. Returns the reads that were not empty. */
static unsigned carry(struct client *from, struct client *to, uint32_t size)
{
    uint8_t *piece = malloc(size);
    unsigned reads = 0;
    int n;

    ck_assert_ptr_nonnull(piece);
    while ((n = client_mig_read(from, piece, size)) > 0) {
        ck_assert_int_eq(client_mig_write(to, piece, (uint32_t)n), 0);
        reads++;
    }
    ck_assert_int_eq(n, 0);
    free(piece);
    return reads;
}

static void migrate(struct client *from, struct client *to)
{
    set_state(to, RESUMING);
    set_state(from, PRE_COPY);
    carry(from, to, 4096);
    set_state(from, STOP_COPY);
    carry(from, to, 4096);
    set_state(to, STOP);
}

static void start_dma(struct client *c, uint32_t command, uint64_t iova, uint64_t offset,
                      uint32_t length)
{
    write_reg(c, REG_DMA_IOVA, iova, 8);
    write_reg(c, REG_DMA_OFFSET, offset, 8);
    write_reg(c, REG_DMA_LENGTH, length, 4);
    ck_assert_int_eq(client_region_post(c, 0, REG_DMA_CONTROL, &command, sizeof(command)), 0);
}

static uint32_t wait_dma(struct client *c)
{
    int64_t until = now_ms() + 2000;
    uint32_t control;

    while ((control = (uint32_t)read_reg(c, REG_DMA_CONTROL, 4)) == 1)
        ck_assert_int_lt(now_ms(), until);
    return control;
}

/*
 * Features
 */

START_TEST(test_what_there_is)
{
    static const struct {
        uint32_t flags;
        int err;
    } probes[] = {
        { 1 | VFIO_DEVICE_FEATURE_GET, 0 },
        { 1, 0 },
        { 1 | VFIO_DEVICE_FEATURE_SET, -EINVAL },
        { 2 | VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET, 0 },
        { LOG_START | VFIO_DEVICE_FEATURE_SET, 0 },
        { LOG_START | VFIO_DEVICE_FEATURE_GET, -EINVAL },
        { LOG_STOP | VFIO_DEVICE_FEATURE_SET, 0 },
        { LOG_REPORT | VFIO_DEVICE_FEATURE_GET, 0 },
        { LOG_REPORT | VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET, -EINVAL },
        { 0, -ENOTTY },
        { 3 | VFIO_DEVICE_FEATURE_SET, -ENOTTY },
        { 9 | VFIO_DEVICE_FEATURE_GET, -ENOTTY },
        { 0xffff | VFIO_DEVICE_FEATURE_GET, -ENOTTY },
    };
    struct vfio_device_feature_migration migration = { .flags = 0 };
    struct vfio_device_feature_mig_state state = { .device_state = 77 };
    struct server s;
    struct client *c;
    size_t got;

    server_start(&s, NULL);
    c = attach(&s);
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
        ck_assert_int_eq(client_feature_probe(c, probes[i].flags), probes[i].err);
    ck_assert_int_eq(client_feature_get(c, VFIO_DEVICE_FEATURE_MIGRATION, NULL, 0, &migration,
                                        sizeof(migration), &got),
                     0);
    ck_assert_uint_eq(got, sizeof(migration));
    ck_assert_uint_eq(migration.flags, 5); /* STOP_COPY and PRE_COPY, no P2P */
    ck_assert_int_eq(client_feature_get(c, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, NULL, 0, &state,
                                        sizeof(state), &got),
                     0);
    ck_assert_uint_eq(state.device_state, RUNNING);
    ck_assert_int_eq(state.data_fd, -1);
    client_free(c);
    server_stop(&s);
}
END_TEST

/* As it is on the wire: a reply to GET counts its data in argsz, those to SET and PROBE repeat. */
START_TEST(test_replies)
{
    static const uint32_t requests[][4] = {
        { 4096, 1 | VFIO_DEVICE_FEATURE_GET },
        { 16, 2 | VFIO_DEVICE_FEATURE_SET, 1, 5 },
        { 4096, 2 | VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET },
    };
    static const uint32_t replies[][4] = {
        { 16, 1 | VFIO_DEVICE_FEATURE_GET, 5, 0 },
        { 16, 2 | VFIO_DEVICE_FEATURE_SET, 1, 5 },
        { 4096, 2 | VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET },
    };
    static const size_t request_len[] = { 8, 16, 8 };
    static const size_t reply_len[] = { 16, 16, 8 };
    struct server s;
    struct client *c;

    server_start(&s, NULL);
    c = attach(&s);
    for (size_t i = 0; i < 3; i++) {
        uint32_t reply[8] = { 0 };
        struct client_call call = { .command = VFIO_USER_DEVICE_FEATURE,
                                    .fixed = requests[i],
                                    .fixed_len = request_len[i],
                                    .reply = reply,
                                    .reply_max = sizeof(reply) };

        ck_assert_int_eq(client_call(c, &call), 0);
        ck_assert_uint_eq(call.reply_len, reply_len[i]);
        ck_assert_mem_eq(reply, replies[i], reply_len[i]);
    }
    client_free(c);
    server_stop(&s);
}
END_TEST

START_TEST(test_states_over_the_socket)
{
    const uint32_t value = 5;
    uint8_t piece[1024];
    struct server s;
    struct client *c;

    server_start(&s, NULL);
    c = attach(&s);
    expect_status(&s, "running");
    ck_assert_int_eq(client_mig_read(c, piece, sizeof(piece)), -EINVAL);
    set_state(c, PRE_COPY);
    expect_status(&s, "pre-copy");
    ck_assert_int_eq(client_mig_read(c, piece, 511), -EINVAL);
    ck_assert_int_eq(client_mig_read(c, piece, 0), 0);
    ck_assert_int_eq(client_mig_read(c, piece, sizeof(piece)), sizeof(piece));
    ck_assert_int_eq(client_region_write(c, 1, 0, &value, sizeof(value)), 0);
    set_state(c, STOP_COPY);
    expect_status(&s, "stop-copy");
    ck_assert_int_eq(client_region_write(c, 1, 0, &value, sizeof(value)), -EBUSY);
    ck_assert_int_eq(client_region_write(c, 0, REG_TIMER_NSEC, &value, sizeof(value)), -EBUSY);
    ck_assert_int_eq(client_region_write(c, CONFIG, 0x3c, &value, 1), 0);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
    ck_assert_int_eq(client_mig_set_state(c, PRE_COPY), -EINVAL);
    expect_status(&s, "stop-copy");
    set_state(c, RESUMING);
    expect_status(&s, "resuming");
    ck_assert_int_eq(client_mig_write(c, "no state at all, this", 21), -EINVAL);
    ck_assert_int_eq(client_mig_set_state(c, STOP), -EINVAL);
    expect_status(&s, "error");
    ck_assert_int_eq(client_mig_set_state(c, RUNNING), -EINVAL);
    ck_assert_int_eq(client_region_write(c, 1, 0, &value, sizeof(value)), -EBUSY);
    ck_assert_int_eq(client_reset(c), 0);
    expect_status(&s, "running");
    ck_assert_int_eq(client_region_write(c, 1, 0, &value, sizeof(value)), 0);
    ck_assert(server_log_has(&s, "migration: RUNNING -> PRE_COPY"));
    ck_assert(server_log_has(&s, "migration: PRE_COPY -> STOP_COPY"));
    ck_assert(server_log_has(&s, "migration: STOP_COPY -> RESUMING"));
    ck_assert(
        server_log_has(&s, "migration: the state is refused: it is not the state of a device: "));
    ck_assert(server_log_has(&s, "migration: RESUMING -> ERROR"));
    ck_assert(server_log_has(&s, "migration: ERROR -> RUNNING"));
    /* The next client finds a device that runs, whatever this one has left. */
    set_state(c, RESUMING);
    client_free(c);
    c = attach(&s);
    expect_status(&s, "running");
    ck_assert_int_eq(client_region_write(c, 1, 0, &value, sizeof(value)), 0);
    set_state(c, STOP);
    json_object_put(server_call(&s, "Reset"));
    expect_status(&s, "running");
    client_free(c);
    server_stop(&s);
}
END_TEST

/*
 * From one daemon to the other
 */

/* The bytes of a region, register by register where it is BAR0. */
static void read_region(struct client *c, uint32_t region, uint8_t *out, uint32_t size)
{
    static const uint32_t registers[] = { 0x10, 0x14, 0x18, 0x1c, 0x20,  0x24,  0x28, 0x2c,
                                          0x30, 0x34, 0x48, 0x4c, 0x800, 0x804, 0x808 };

    memset(out, 0, size);
    if (region != 0) {
        ck_assert_int_eq(client_region_read(c, region, 0, out, size), 0);
        return;
    }
    for (size_t i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
        ck_assert_int_eq(client_region_read(c, 0, registers[i], out + registers[i], 4), 0);
}

static void expect_same_regions(struct client *a, struct client *b)
{
    static const uint32_t sizes[] = { [0] = 4096, [1] = BAR1_SIZE, [CONFIG] = 256 };
    static const uint32_t regions[] = { 0, 1, CONFIG };
    static uint8_t bytes_a[BAR1_SIZE];
    static uint8_t bytes_b[BAR1_SIZE];

    for (size_t i = 0; i < 3; i++) {
        read_region(a, regions[i], bytes_a, sizes[regions[i]]);
        read_region(b, regions[i], bytes_b, sizes[regions[i]]);
        ck_assert_msg(memcmp(bytes_a, bytes_b, sizes[regions[i]]) == 0, "region %u differs",
                      regions[i]);
    }
}

START_TEST(test_everything_arrives)
{
    static uint8_t pattern[BAR1_SIZE];
    struct server s[2];
    struct client *c[2];
    uint64_t clock;
    int line;

    for (int i = 0; i < 2; i++) {
        server_start(&s[i], NULL);
        c[i] = attach(&s[i]);
    }
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 11 + i / 512);
    ck_assert_int_eq(client_region_write(c[0], 1, 0, pattern, sizeof(pattern)), 0);
    set_bus_master(c[0]);
    write_reg(c[0], 0x800, 0x1234, 4);
    write_reg(c[0], REG_DMA_IOVA, 0x123456789abcdef, 8);
    clock = (uint64_t)now_ns();
    write_reg(c[0], REG_TIMER_NSEC, clock + 100,
              8); /* fires at once: pending, there is no eventfd */
    while (read_reg(c[0], REG_IRQ_STATUS, 4) == 0)
        ck_assert_uint_lt((uint64_t)now_ns(), clock + 2000 * MS);
    migrate(c[0], c[1]);
    expect_same_regions(c[0], c[1]);
    /* The interrupt is pending over there: it goes out when the device runs, and once. */
    ck_assert_int_eq(set_eventfds(c[1], INTX, 0, 1, &line), 0);
    ck_assert_uint_eq(eventfd_wait(line, 50), 0);
    set_state(c[1], RUNNING);
    ck_assert_uint_eq(eventfd_wait(line, 2000), 1);
    ck_assert_uint_eq(eventfd_wait(line, 50), 0);
    ck_assert_uint_eq(read_reg(c[1], REG_IRQ_COUNT, 8), 1);
    close(line);
    for (int i = 0; i < 2; i++) {
        client_free(c[i]);
        server_stop(&s[i]);
    }
}
END_TEST

/* It comes while nobody runs, and fires where the device runs again: there and only there. */
START_TEST(test_a_deadline_is_carried)
{
    bool passes = _i == 1; /* while stopped */
    struct server s[2];
    struct client *c[2];
    int64_t deadline;
    int lines[2];

    for (int i = 0; i < 2; i++) {
        server_start(&s[i], NULL);
        c[i] = attach(&s[i]);
        ck_assert_int_eq(set_eventfds(c[i], INTX, 0, 1, &lines[i]), 0);
    }
    deadline = now_ns() + 700 * MS;
    write_reg(c[0], REG_TIMER_NSEC, (uint64_t)deadline, 8);
    migrate(c[0], c[1]);
    ck_assert_int_lt(now_ns(), deadline);
    if (passes) {
        ck_assert_uint_eq(eventfd_wait(lines[1], 800), 0);
        ck_assert_uint_eq(eventfd_wait(lines[0], 0), 0);
    }
    set_state(c[1], RUNNING);
    ck_assert_uint_eq(eventfd_wait(lines[1], 5000), 1);
    ck_assert_int_ge(now_ns(), deadline);
    ck_assert_int_ge((int64_t)read_reg(c[1], REG_FIRED_NSEC, 8), deadline);
    ck_assert_uint_eq(eventfd_wait(lines[1], 100), 0);
    ck_assert_uint_eq(eventfd_wait(lines[0], 0), 0);
    for (int i = 0; i < 2; i++) {
        close(lines[i]);
        client_free(c[i]);
        server_stop(&s[i]);
    }
}
END_TEST

/* The engine waits for an answer when the device is stopped: it asks again, here or there. */
START_TEST(test_dma_goes_on)
{
    bool there = _i == 1;
    static uint8_t back[8192];
    struct server s[2];
    struct client *c[2];
    struct client *on;

    for (int i = 0; i < 2; i++) {
        server_start(&s[i], NULL);
        c[i] = attach(&s[i]);
        ck_assert_int_eq(client_dma_map(c[i], 0, 65536, 3, -1, 0), 0);
    }
    for (size_t i = 0; i < sizeof(back); i++)
        guest[4096 + i] = (uint8_t)(i * 5 + i / 256);
    set_bus_master(c[0]);
    start_dma(c[0], 1, 4096, 1000, sizeof(back)); /* guest -> BAR1 */
    set_state(c[0], STOP);                        /* sent before the question is answered */
    ck_assert_uint_eq(read_reg(c[0], REG_DMA_CONTROL, 4), 1);
    on = c[0];
    if (there) {
        set_state(c[0], STOP_COPY); /* not by PRE_COPY, which runs */
        set_state(c[1], RESUMING);
        carry(c[0], c[1], 4096);
        set_state(c[1], STOP);
        on = c[1];
        ck_assert_uint_eq(read_reg(on, REG_DMA_CONTROL, 4), 1);
    }
    served = 0;
    set_state(on, RUNNING);
    ck_assert_uint_eq(wait_dma(on), 0);
    ck_assert_uint_eq(served, 1);
    ck_assert_int_eq(client_region_read(on, 1, 1000, back, sizeof(back)), 0);
    ck_assert_mem_eq(back, guest + 4096, sizeof(back));
    for (int i = 0; i < 2; i++) {
        client_free(c[i]);
        server_stop(&s[i]);
    }
}
END_TEST

/* With the sizes that libvfio-user's sample client reads and expects. */
START_TEST(test_reads_of_a_kilobyte)
{
    static const char description[] =
        "{ \"bar1\": { \"size\": \"12K\", \"mmap\": [[\"0\", \"4K\"]] }, \"dma_on_irq\": true }";
    static uint8_t pattern[12288];
    static uint8_t back[12288];
    uint8_t piece[1024];
    struct server s[2];
    struct client *c[2];

    for (int i = 0; i < 2; i++) {
        server_start(&s[i], description);
        c[i] = attach(&s[i]);
    }
    memset(pattern, 0xa7, sizeof(pattern));
    ck_assert_int_eq(client_region_write(c[0], 1, 0, pattern, sizeof(pattern)), 0);
    set_state(c[0], PRE_COPY);
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(client_mig_read(c[0], piece, sizeof(piece)), sizeof(piece));
    set_state(c[0], STOP_COPY);
    set_state(c[1], RESUMING);
    ck_assert_uint_eq(carry(c[0], c[1], 1024), 13);
    set_state(c[1], STOP);
    ck_assert_int_eq(client_region_read(c[1], 1, 0, back, sizeof(back)), 0);
    ck_assert_mem_eq(back, pattern, sizeof(back));
    set_state(c[1], RUNNING);
    for (int i = 0; i < 2; i++) {
        client_free(c[i]);
        server_stop(&s[i]);
    }
}
END_TEST

START_TEST(test_another_device)
{
    uint8_t piece[4096];
    struct server s[2];
    struct client *c[2];
    int n;

    server_start(&s[0], "{ \"bar1\": { \"size\": \"32K\", \"mmap\": [] } }");
    server_start(&s[1], NULL);
    for (int i = 0; i < 2; i++)
        c[i] = attach(&s[i]);
    set_state(c[0], STOP_COPY);
    set_state(c[1], RESUMING);
    n = client_mig_read(c[0], piece, sizeof(piece));
    ck_assert_int_eq(n, sizeof(piece));
    ck_assert_int_eq(client_mig_write(c[1], piece, (uint32_t)n), -EINVAL);
    ck_assert(server_log_has(&s[1], "migration: the state is refused: it is of another device: "
                                    "bar1.size is 32768 there, 16384 here"));
    ck_assert_int_eq(client_mig_set_state(c[1], RUNNING), -EINVAL);
    expect_status(&s[1], "error");
    for (int i = 0; i < 2; i++) {
        client_free(c[i]);
        server_stop(&s[i]);
    }
}
END_TEST

/*
 * The dirty log
 */

static int log_start(struct client *c, uint64_t *page_size, uint64_t iova, uint64_t length)
{
    struct {
        struct vfio_user_dma_logging_control control;
        struct vfio_device_feature_dma_logging_range range;
    } start = { { .page_size = *page_size, .num_ranges = length > 0 }, { iova, length } };
    int err = client_feature_set(c, LOG_START, &start,
                                 length > 0 ? sizeof(start) : sizeof(start.control));

    *page_size = start.control.page_size;
    return err;
}

/* The pages written, a bit each; of at most 64 pages. */
static uint64_t log_report(struct client *c, uint64_t iova, uint64_t length, uint64_t page_size)
{
    struct vfio_user_dma_logging_report ask = { iova, length, page_size };
    struct {
        struct vfio_user_dma_logging_report report;
        uint64_t bits;
    } reply;
    size_t got;

    ck_assert_int_eq(
        client_feature_get(c, LOG_REPORT, &ask, sizeof(ask), &reply, sizeof(reply), &got), 0);
    ck_assert_uint_eq(got, sizeof(reply));
    ck_assert_mem_eq(&reply.report, &ask, sizeof(ask));
    return reply.bits;
}

/* shared: writes go directly to the file, else by message. */
START_TEST(test_dirty_log)
{
    bool shared = _i == 1;
    uint64_t page_size = 4096;
    uint64_t again = 4096;
    struct server s;
    struct client *c;
    int fd = make_memory(GUEST_SIZE);

    server_start(&s, NULL);
    c = attach(&s);
    ck_assert_int_eq(client_dma_map(c, 0, GUEST_SIZE, 3, shared ? fd : -1, 0), 0);
    set_bus_master(c);
    ck_assert_int_eq(log_start(c, &page_size, 0, GUEST_SIZE), 0);
    ck_assert_uint_eq(page_size, 4096);
    ck_assert_int_eq(log_start(c, &again, 0, GUEST_SIZE), -EBUSY);
    ck_assert_uint_eq(log_report(c, 0, 64 * 4096, 4096), 0);
    start_dma(c, 2, 3 * 4096 + 4095, 0, 4098); /* BAR1 -> guest: pages 3 to 5 */
    ck_assert_uint_eq(wait_dma(c), 0);
    start_dma(c, 1, 9 * 4096, 0, 4096); /* a read marks nothing */
    ck_assert_uint_eq(wait_dma(c), 0);
    ck_assert_uint_eq(log_report(c, 0, 64 * 4096, 4096), 0x38);
    ck_assert_uint_eq(log_report(c, 0, 64 * 4096, 4096), 0);
    for (uint64_t size = 4096; size <= 1u << 20; size *= 2) { /* of the report */
        uint64_t length = 16 * size < 1u << 20 ? 16 * size : 1u << 20;

        start_dma(c, 2, (2u << 20) + 5, 0, 1);
        ck_assert_uint_eq(wait_dma(c), 0);
        ck_assert_uint_eq(log_report(c, 1u << 20, length, size), 0);
        ck_assert_uint_eq(log_report(c, 2u << 20, length, size), 1);
        ck_assert_uint_eq(log_report(c, 2u << 20, size, size), 0);
    }
    /* Bits behind the range are 0. */
    start_dma(c, 2, 0, 0, 8192);
    ck_assert_uint_eq(wait_dma(c), 0);
    ck_assert_uint_eq(log_report(c, 0, 4096, 4096), 1);
    ck_assert_uint_eq(log_report(c, 0, 8192, 4096), 2);
    {
        uint64_t none[1];

        ck_assert_int_eq(client_feature_set(c, LOG_STOP, none, 0), 0);
        ck_assert_int_eq(client_feature_set(c, LOG_STOP, none, 0), -EINVAL);
    }
    /* In larger pages, and all memory. */
    page_size = 65536;
    ck_assert_int_eq(log_start(c, &page_size, 0, 0), 0);
    ck_assert_uint_eq(page_size, 65536);
    start_dma(c, 2, 65536 + 4096, 0, 1);
    ck_assert_uint_eq(wait_dma(c), 0);
    ck_assert_uint_eq(log_report(c, 0, 48 * 4096, 4096), 0xffff0000);
    /* A log ends with its client. */
    client_free(c);
    c = attach(&s);
    page_size = 512;
    ck_assert_int_eq(log_start(c, &page_size, 0, 4096), 0);
    ck_assert_uint_eq(page_size, 4096);
    client_free(c);
    close(fd);
    server_stop(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("migration_live");
    TCase *tcase = tcase_create("migration_live");

    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_what_there_is);
    tcase_add_test(tcase, test_replies);
    tcase_add_test(tcase, test_states_over_the_socket);
    tcase_add_test(tcase, test_everything_arrives);
    tcase_add_loop_test(tcase, test_a_deadline_is_carried, 0, 2);
    tcase_add_loop_test(tcase, test_dma_goes_on, 0, 2);
    tcase_add_test(tcase, test_reads_of_a_kilobyte);
    tcase_add_test(tcase, test_another_device);
    tcase_add_loop_test(tcase, test_dirty_log, 0, 2);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
