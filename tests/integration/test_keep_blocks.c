/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks that other versions have left, and that this one must go on with: each is recorded in
 * tests/integration/blocks, as VERSION.STATE_VERSION-NAME.txt. A version that is new needs two:
 *
 *     RECORD=tests/integration/blocks VFIO_USERD=./vfio-userd tests/integration/test_keep_blocks
 *
 * writes what the vfio-userd that was built leaves, "idle" without a client and "client" with one.
 * Recordings of versions that were released are never made again.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "integration/block_file.h"
#include "integration/keep_kit.h"
#include "integration/live_kit.h"
#include "keep/block.h"
#include "suite.h"

#define BAR1        VFIO_PCI_BAR1_REGION_INDEX
#define CONFIG_SIZE 256u
#define PATH_BYTES  512

/* What is done to the device that is recorded, and to be found again. */
#define DEADLINE   4102444800000000000ull /* the year 2100 */
#define DMA_IOVA   0x100000ull
#define DMA_SIZE   65536u
#define DMA_OFFSET 0x2000u
#define DMA_LENGTH 0x300u
#define DEADLINES  2u
#define INTERRUPTS (DEADLINES + 1)
#define BAR0_AT    0xfebf0000u
#define INT_LINE   0x5au

static uint64_t bar1_value(uint64_t offset)
{
    return (offset + 1) * 0x9e3779b97f4a7c15ull;
}

static const uint64_t bar1_offsets[] = { 0, 0xff8, DMA_OFFSET, DMA_OFFSET + DMA_LENGTH - 8,
                                         0x3ff8 };

#define BAR1_OFFSETS (sizeof(bar1_offsets) / sizeof(bar1_offsets[0]))

/*
 * Recording
 */

static void expect_interrupt(int intx)
{
    uint64_t count = 0;

    ck_assert_int_eq(read(intx, &count, sizeof(count)), sizeof(count));
    ck_assert_uint_eq(count, 1);
}

/* Deadlines that have passed, and a DMA, whose status stays. */
static void raise_interrupts(struct client *c, int intx)
{
    for (unsigned i = 0; i < DEADLINES; i++) {
        write_reg(c, REG_TIMER_NSEC, 1 + i, 8);
        expect_interrupt(intx);
    }
    write_reg(c, REG_TIMER_NSEC, DEADLINE, 8);
    write_reg(c, REG_DMA_CONTROL, 2, 4);
    expect_interrupt(intx);
}

static void use_device(struct client *c, int memory)
{
    const uint32_t bar0 = BAR0_AT;
    const uint8_t line = INT_LINE;
    int intx;

    set_bus_master(c);
    ck_assert_int_eq(client_region_write(c, CONFIG, 0x10, &bar0, 4), 0);
    ck_assert_int_eq(client_region_write(c, CONFIG, 0x3c, &line, 1), 0);
    for (unsigned i = 0; i < BAR1_OFFSETS; i++) {
        uint64_t value = bar1_value(bar1_offsets[i]);

        ck_assert_int_eq(client_region_write(c, BAR1, bar1_offsets[i], &value, 8), 0);
    }
    ck_assert_int_eq(client_dma_map(c, DMA_IOVA, DMA_SIZE, 3, memory, 0), 0);
    ck_assert_int_eq(set_eventfds(c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &intx), 0);
    write_reg(c, REG_IRQ_ENABLE, 5, 4);
    write_reg(c, REG_DMA_IOVA, DMA_IOVA, 8);
    write_reg(c, REG_DMA_OFFSET, DMA_OFFSET, 8);
    write_reg(c, REG_DMA_LENGTH, DMA_LENGTH, 4);
    raise_interrupts(c, intx);
    close(intx);
}

static int config_seen(struct client *c)
{
    uint8_t config[CONFIG_SIZE];
    int fd = memfd_create("config", MFD_CLOEXEC);

    ck_assert_int_eq(client_region_read(c, CONFIG, 0, config, sizeof(config)), 0);
    ck_assert_int_eq(write(fd, config, sizeof(config)), sizeof(config));
    return fd;
}

static enum block_file_kind kind_of(const char *name)
{
    if (strncmp(name, "client-", 7) == 0)
        return BLOCK_FILE_SOCKET;
    if (strncmp(name, "irq-", 4) == 0)
        return BLOCK_FILE_EVENTFD;
    return strncmp(name, "dma-", 4) == 0 ? BLOCK_FILE_GUEST : BLOCK_FILE_MEMORY;
}

static void write_held(struct keep *k, FILE *out)
{
    char name[KEEP_NAME_BYTES];
    int fd;

    keep_held(k);
    for (unsigned i = 0; (fd = keep_nth(k, i, name)) >= 0; i++) {
        enum block_file_kind kind = kind_of(name);
        struct stat st;

        ck_assert_int_eq(fstat(fd, &st), 0);
        block_file_write(
            out, kind, name,
            kind == BLOCK_FILE_MEMORY || kind == BLOCK_FILE_GUEST ? (uint64_t)st.st_size : 0,
            kind == BLOCK_FILE_MEMORY ? fd : -1);
        close(fd);
    }
}

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Until the daemon knows that its client is gone. */
static void wait_idle(struct keep *k)
{
    for (unsigned i = 0; keep_held_role(k, "client") > 0; i++) {
        ck_assert_uint_lt(i, 1000);
        usleep(10000);
    }
}

static void record(const char *dir, bool idle)
{
    struct keep *k = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct client *c = keep_connect(k);
    int memory = memfd_create("guest", MFD_CLOEXEC);
    char path[PATH_BYTES];
    FILE *out;
    int config;

    snprintf(path, sizeof(path), "%s/%u.%u-%s.txt", dir, BLOCK_VERSION, DEVICE_STATE_VERSION,
             idle ? "idle" : "client");
    out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(ftruncate(memory, DMA_SIZE), 0);
    use_device(c, memory);
    config = config_seen(c);
    if (idle) {
        client_free(c);
        wait_idle(k);
    }
    write_held(k, out);
    block_file_write(out, BLOCK_FILE_SEEN, "config", CONFIG_SIZE, config);
    ck_assert_int_eq(fclose(out), 0);
    if (!idle)
        client_free(c);
    close(config);
    close(memory);
    keep_stop(k);
}

/*
 * Going on with one
 */

/* What the test has of what was stored. */
struct loaded {
    struct block_file file;
    int socket; /* the client's own end */
    int memory; /* the guest's */
    int intx;
};

static void put(struct keep *k, struct loaded *l, const struct block_file_entry *e)
{
    int pair[2];

    if (e->kind == BLOCK_FILE_MEMORY) {
        keep_put(k, e->name, dup(e->fd));
    } else if (e->kind == BLOCK_FILE_SOCKET) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        l->socket = pair[0];
        keep_put(k, e->name, pair[1]);
    } else if (e->kind == BLOCK_FILE_EVENTFD) {
        l->intx = eventfd(0, EFD_CLOEXEC);
        keep_put(k, e->name, dup(l->intx));
    } else if (e->kind == BLOCK_FILE_GUEST) {
        l->memory = memfd_create("guest", MFD_CLOEXEC);
        ck_assert_int_eq(ftruncate(l->memory, (off_t)e->size), 0);
        keep_put(k, e->name, dup(l->memory));
    }
}

/* A store that has what the file has, and nothing else. */
static struct keep *load(const char *path, struct loaded *l)
{
    struct keep *k = keep_start(NULL, NULL, KEEP_STORE_MAX);

    *l = (struct loaded) { .socket = -1, .memory = -1, .intx = -1 };
    block_file_read(path, &l->file);
    keep_forget(k);
    for (unsigned i = 0; i < l->file.n; i++)
        put(k, l, &l->file.entries[i]);
    return k;
}

static void unload(struct keep *k, struct loaded *l)
{
    keep_stop(k);
    block_file_free(&l->file);
    if (l->memory >= 0)
        close(l->memory);
    if (l->intx >= 0)
        close(l->intx);
}

/* What is read is how long ago the deadline that was written is. */
static void check_deadline(struct keep *k, struct client *c)
{
    uint64_t before = now();
    uint64_t since = read_reg(c, REG_TIMER_NSEC, 8);

    ck_assert_uint_ge(since + DEADLINE, before);
    ck_assert_uint_le(since + DEADLINE, now());
    for (unsigned i = 0; !keep_status_has(k, "timer armed"); i++) {
        ck_assert_msg(i < 1000, "the deadline is forgotten");
        usleep(10000);
    }
}

static void check_registers(struct client *c)
{
    ck_assert_uint_eq(read_reg(c, REG_IRQ_STATUS, 4), 4);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_ENABLE, 4), 5);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), INTERRUPTS);
    ck_assert_uint_eq(read_reg(c, REG_DMA_IOVA, 8), DMA_IOVA);
    ck_assert_uint_eq(read_reg(c, REG_DMA_OFFSET, 8), DMA_OFFSET);
    ck_assert_uint_eq(read_reg(c, REG_DMA_LENGTH, 4), DMA_LENGTH);
    for (unsigned i = 0; i < BAR1_OFFSETS; i++) {
        uint64_t value = 0;

        ck_assert_int_eq(client_region_read(c, BAR1, bar1_offsets[i], &value, 8), 0);
        ck_assert_uint_eq(value, bar1_value(bar1_offsets[i]));
    }
}

static void check_config(struct client *c, const struct block_file_entry *seen)
{
    uint8_t then[CONFIG_SIZE];
    uint8_t now[CONFIG_SIZE];

    ck_assert_int_eq(pread(seen->fd, then, sizeof(then), 0), sizeof(then));
    ck_assert_int_eq(client_region_read(c, CONFIG, 0, now, sizeof(now)), 0);
    ck_assert_mem_eq(now, then, sizeof(now));
    ck_assert_uint_eq(now[0x3c], INT_LINE);
}

/* Its memory and its eventfd are the client's still. */
static void check_ways(struct client *c, const struct loaded *l)
{
    uint64_t value = 0;

    write_reg(c, REG_IRQ_STATUS, 7, 4);
    write_reg(c, REG_DMA_CONTROL, 2, 4);
    ck_assert_uint_eq(read_reg(c, REG_DMA_CONTROL, 4), 0);
    ck_assert_int_eq(pread(l->memory, &value, 8, DMA_LENGTH - 8), 8);
    ck_assert_uint_eq(value, bar1_value(DMA_OFFSET + DMA_LENGTH - 8));
    expect_interrupt(l->intx);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), INTERRUPTS + 1);
}

static void check_device(struct keep *k, struct loaded *l)
{
    struct client *c;

    if (l->socket < 0)
        c = keep_connect(k);
    else
        ck_assert_int_eq(client_new(l->socket, &c), 0);
    ck_assert_uint_eq(keep_held_role(k, "state"), 1);
    check_config(c, block_file_find(&l->file, "config"));
    check_deadline(k, c);
    check_registers(c);
    if (l->socket >= 0)
        check_ways(c, l);
    client_free(c);
}

static void goes_on_with(const char *path)
{
    struct loaded l;
    struct keep *k = load(path, &l);

    ck_assert_msg(keep_restart(k, SIGKILL), "%s", keep_log(k));
    ck_assert_msg(keep_log_has(k, "goes on where the process before has died"), "%s: %s", path,
                  keep_log(k));
    check_device(k, &l);
    unload(k, &l);
}

static void path_of(const char *name, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/tests/integration/blocks/%s", getenv("top_srcdir"), name);
}

static int is_recording(const struct dirent *e)
{
    return strstr(e->d_name, ".txt") != NULL;
}

START_TEST(each_past_version)
{
    struct dirent **names;
    char path[PATH_BYTES];
    int n;

    path_of("", path);
    n = scandir(path, &names, is_recording, alphasort);
    ck_assert_int_ge(n, 2);
    for (int i = 0; i < n; i++) {
        path_of(names[i]->d_name, path);
        goes_on_with(path);
        free(names[i]);
    }
    free(names);
}
END_TEST

static void path_of_ours(const char *what, char path[PATH_BYTES])
{
    char name[64];

    snprintf(name, sizeof(name), "%u.%u-%s.txt", BLOCK_VERSION, DEVICE_STATE_VERSION, what);
    path_of(name, path);
}

/* Whoever makes a new version records it. */
START_TEST(this_version_is_recorded)
{
    char path[PATH_BYTES];

    path_of_ours("idle", path);
    ck_assert_msg(access(path, R_OK) == 0, "%s is to be recorded: see the begin of this file",
                  path);
    path_of_ours("client", path);
    ck_assert_msg(access(path, R_OK) == 0, "%s is to be recorded: see the begin of this file",
                  path);
}
END_TEST

/*
 * One from the future
 */

static void patch(const struct block_file_entry *state, size_t offset, uint32_t value)
{
    ck_assert_int_eq(pwrite(state->fd, &value, sizeof(value), (off_t)offset), sizeof(value));
}

static void check_untouched(struct keep *k, const struct loaded *l, char *const before[])
{
    unsigned stored = 0;

    for (unsigned i = 0; i < l->file.n; i++) {
        const struct block_file_entry *e = &l->file.entries[i];
        int fd = e->kind != BLOCK_FILE_SEEN ? keep_get(k, e->name) : -1;
        char *after;

        if (e->kind == BLOCK_FILE_SEEN)
            continue;
        ck_assert_msg(fd >= 0, "%s is not held any more", e->name);
        stored++;
        if (before[i] != NULL) {
            after = block_file_dump(fd);
            ck_assert_str_eq(after, before[i]);
            free(after);
        }
        close(fd);
    }
    ck_assert_uint_eq(keep_held(k), stored);
}

/* Refused, and as it was; and then whoever reads it goes on with it. */
static void refused_and_kept(const char *what, size_t offset, uint32_t ours)
{
    char *before[BLOCK_FILE_ENTRIES] = { NULL };
    const struct block_file_entry *state;
    char path[PATH_BYTES];
    struct loaded l;
    struct keep *k;

    path_of_ours(what, path);
    k = load(path, &l);
    state = block_file_find(&l.file, "state");
    patch(state, offset, ours + 1);
    for (unsigned i = 0; i < l.file.n; i++) {
        if (l.file.entries[i].kind == BLOCK_FILE_MEMORY)
            before[i] = block_file_dump(l.file.entries[i].fd);
    }
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_msg(keep_restart(k, SIGKILL), "%s", keep_log(k));
        ck_assert(keep_log_has(k, "which a newer vfio-userd has written"));
        ck_assert(!keep_log_has(k, "goes on where the process before"));
        ck_assert(keep_status_has(k, "a state is held that cannot be used"));
        check_untouched(k, &l, before);
    }
    patch(state, offset, ours);
    ck_assert_msg(keep_restart(k, SIGKILL), "%s", keep_log(k));
    check_device(k, &l);
    for (unsigned i = 0; i < l.file.n; i++)
        free(before[i]);
    unload(k, &l);
}

START_TEST(newer_version)
{
    refused_and_kept("idle", offsetof(struct block_header, version), BLOCK_VERSION);
    refused_and_kept("client", offsetof(struct block_header, version), BLOCK_VERSION);
}
END_TEST

START_TEST(newer_state_version)
{
    refused_and_kept("idle", offsetof(struct block_header, state_version), DEVICE_STATE_VERSION);
}
END_TEST

START_TEST(make_recordings)
{
    record(getenv("RECORD"), true);
    record(getenv("RECORD"), false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keep_blocks");
    TCase *tc = tcase_create("blocks");

    tcase_set_timeout(tc, 60);
    if (getenv("RECORD") != NULL) {
        tcase_add_test(tc, make_recordings);
    } else {
        tcase_add_test(tc, each_past_version);
        tcase_add_test(tc, this_version_is_recorded);
        tcase_add_test(tc, newer_version);
        tcase_add_test(tc, newer_state_version);
    }
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
