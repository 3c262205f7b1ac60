/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a daemon makes of a state that it cannot use, or could not keep: it is held for an operator,
 * byte by byte as it was, or the daemon goes on without what is missing, and says so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/keep_kit.h"
#include "integration/live_kit.h"
#include "keep/block.h"
#include "suite.h"

#define BAR1        VFIO_PCI_BAR1_REGION_INDEX
#define INTX        VFIO_PCI_INTX_IRQ_INDEX
#define RW          (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define REG_TRAPPED 0x808
#define PAGE        4096u
#define OURS        "{\"bar1\":{\"size\":\"16K\"}}"
#define OTHER       "{\"bar1\":{\"size\":\"32K\"}}"
#define HELD        "is not used, and kept"
#define MAX_HELD    64

/*
 * A client with some of everything
 */

struct user {
    struct client *c;
    int intx;
    int memory;
    int ring[2];
    uint8_t page[PAGE]; /* of memory that is not shared */
    unsigned messages;
};

static int read_page(void *opaque, uint64_t address, void *data, uint64_t count)
{
    struct user *u = opaque;

    memcpy(data, u->page + address % PAGE, count);
    u->messages++;
    return 0;
}

static int write_page(void *opaque, uint64_t address, const void *data, uint64_t count)
{
    struct user *u = opaque;

    memcpy(u->page + address % PAGE, data, count);
    u->messages++;
    return 0;
}

static void attach(struct user *u, struct keep *k)
{
    const struct client_memory memory = { .opaque = u, .read = read_page, .write = write_page };
    struct vfio_user_io_fd entry;
    unsigned nfds = 2;
    unsigned n;

    *u = (struct user) { .c = keep_connect(k) };
    client_set_memory(u->c, &memory);
    set_bus_master(u->c);
    ck_assert_int_eq(set_eventfds(u->c, INTX, 0, 1, &u->intx), 0);
    u->memory = memfd_create("guest", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(u->memory, PAGE), 0);
    ck_assert_int_eq(client_dma_map(u->c, 0x10000, PAGE, RW, u->memory, 0), 0);
    ck_assert_int_eq(client_get_region_io_fds(u->c, 0, &entry, 1, &n, u->ring, &nfds), 0);
    write_reg(u->c, REG_TRAPPED, 0x1234, 4);
}

static void detach(struct user *u)
{
    client_free(u->c);
    close(u->intx);
    close(u->memory);
    close(u->ring[0]);
    close(u->ring[1]);
}

/* The device that it was, with its client. */
static void check_alive(struct user *u)
{
    uint64_t count = 0;

    ck_assert_uint_eq(read_reg(u->c, REG_TRAPPED, 4), 0x1234);
    write_reg(u->c, REG_IRQ_STATUS, 7, 4);
    write_reg(u->c, REG_TIMER_NSEC, 1, 8);
    ck_assert_int_eq(client_serve(u->c, u->intx, 2000), 0);
    ck_assert_int_eq(read(u->intx, &count, sizeof(count)), sizeof(count));
}

/* Returns DMA_CONTROL when a page of BAR1 has been transferred to iova, however that is done. */
static uint32_t transfer(struct user *u, uint64_t iova)
{
    uint64_t count = 0;

    write_reg(u->c, REG_IRQ_STATUS, 7, 4);
    write_reg(u->c, REG_DMA_IOVA, iova, 8);
    write_reg(u->c, REG_DMA_LENGTH, PAGE, 4);
    write_reg(u->c, REG_DMA_CONTROL, 2, 4);
    ck_assert_int_eq(client_serve(u->c, u->intx, 4000), 0);
    ck_assert_int_eq(read(u->intx, &count, sizeof(count)), sizeof(count));
    return (uint32_t)read_reg(u->c, REG_DMA_CONTROL, 4);
}

static unsigned count_lines(struct keep *k, const char *text)
{
    unsigned n = 0;

    for (const char *at = keep_log(k); (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

static bool is_alive(const struct keep *k)
{
    siginfo_t info = { 0 };

    return waitid(P_PID, (id_t)keep_pid(k), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

/*
 * What is held
 */

struct picture {
    char names[MAX_HELD][KEEP_NAME_BYTES];
    uint64_t sums[MAX_HELD];
    unsigned n;
};

/* Of all bytes that are not holes; 0 for what is no file. */
static uint64_t sum_of(int fd)
{
    static uint8_t bytes[65536];
    uint64_t sum = 0;
    off_t at = 0;

    while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
        ssize_t n = pread(fd, bytes, sizeof(bytes), at);

        for (ssize_t i = 0; i < n; i++)
            sum = (sum ^ bytes[i]) * 0x100000001b3ull + (uint64_t)at;
        at += n;
        if (n <= 0)
            break;
    }
    return sum;
}

static void take_picture(struct keep *k, struct picture *p)
{
    int fd;

    p->n = 0;
    while ((fd = keep_nth(k, p->n, p->names[p->n])) >= 0) {
        p->sums[p->n++] = sum_of(fd);
        close(fd);
    }
}

static void expect_picture(struct keep *k, const struct picture *p)
{
    struct picture now;

    ck_assert_uint_eq(keep_held(k), p->n);
    take_picture(k, &now);
    for (unsigned i = 0; i < p->n; i++) {
        unsigned j = 0;

        while (j < now.n && strcmp(now.names[j], p->names[i]) != 0)
            j++;
        ck_assert_msg(j < now.n, "%s is not held any more", p->names[i]);
        ck_assert_msg(now.sums[j] == p->sums[i], "%s has changed", p->names[i]);
    }
}

/* It is held: nobody is served, and nothing of it changes, however often. */
static void expect_held(struct keep *k, const char *why)
{
    struct version_caps caps;
    struct picture before;
    struct client *c;

    take_picture(k, &before);
    for (unsigned i = 0; i < 2; i++) {
        unsigned lines = count_lines(k, HELD);

        ck_assert_msg(keep_go_on(k), "%s", keep_log(k));
        ck_assert_uint_eq(count_lines(k, HELD), lines + 1);
        ck_assert_msg(keep_log_has(k, why), "no \"%s\" in %s", why, keep_log(k));
        ck_assert(keep_status_has(k, "a state is held that cannot be used"));
        ck_assert_int_eq(client_connect(keep_socket(k), &c), 0);
        version_defaults(&caps);
        ck_assert_int_eq(client_negotiate(c, &caps, &caps), -EBUSY);
        client_free(c);
        keep_kill(k, i == 0 ? SIGKILL : SIGTERM);
        expect_picture(k, &before);
    }
}

START_TEST(another_description)
{
    struct keep *k = keep_start_described(OURS, KEEP_STORE_MAX);
    struct user u;

    attach(&u, k);
    keep_kill(k, SIGKILL);
    keep_describe(k, OTHER);
    expect_held(k, "another description");
    keep_describe(k, OURS);
    ck_assert(keep_go_on(k));
    check_alive(&u);
    detach(&u);
    keep_kill(k, SIGTERM);
    keep_describe(k, OTHER); /* nobody loses anything by it without a client */
    ck_assert(keep_go_on(k));
    ck_assert(keep_log_has(k, "is dropped: it is that of a device with another description"));
    ck_assert_uint_eq(keep_held(k), 2);
    keep_stop(k);
}
END_TEST

/* A typing error must not cost a guest its device; without one, the start fails as ever. */
START_TEST(a_description_that_is_none)
{
    struct keep *k = keep_start_described(OURS, KEEP_STORE_MAX);
    struct user u;

    attach(&u, k);
    keep_kill(k, SIGTERM);
    keep_describe(k, "{ \"pci\": { \"vendor\": \"0x123456\" } }");
    expect_held(k, "pci.vendor");
    keep_describe(k, OURS);
    ck_assert(keep_go_on(k));
    check_alive(&u);
    detach(&u);
    keep_kill(k, SIGTERM);
    keep_describe(k, "{ \"pci\": { \"vendor\": \"0x123456\" } }");
    ck_assert(!keep_go_on(k));
    keep_describe(k, OURS);
    ck_assert(keep_go_on(k));
    keep_stop(k);
}
END_TEST

/* Without one that it cannot do without; with that again, it goes on. */
START_TEST(missing_fds)
{
    static const char *const roles[] = { "bar", "client", "irq", "doorbell", "shadow" };
    struct keep *k = keep_start_described(OURS, KEEP_STORE_MAX);
    char name[KEEP_NAME_BYTES];
    struct user u;

    attach(&u, k);
    for (unsigned i = 0; i < 5; i++) {
        unsigned at = 0;
        int fd;

        keep_kill(k, SIGKILL);
        while ((fd = keep_nth(k, at++, name)) >= 0 &&
               strncmp(name, roles[i], strlen(roles[i])) != 0)
            close(fd);
        ck_assert_int_ge(fd, 0);
        keep_drop(k, name);
        expect_held(k, "is not stored");
        keep_put(k, name, fd);
        ck_assert(keep_go_on(k));
        check_alive(&u);
    }
    detach(&u);
    keep_stop(k);
}
END_TEST

/* A process that died before it had stored its state has left nothing; another role is something.
 */
START_TEST(no_state)
{
    struct keep *k = keep_start_described(OURS, KEEP_STORE_MAX);
    struct user u;

    keep_kill(k, SIGKILL);
    keep_forget(k);
    keep_put(k, "bar-1", memfd_create("bar", MFD_CLOEXEC));
    ck_assert(keep_go_on(k));
    ck_assert(!keep_log_has(k, HELD));
    attach(&u, k);
    check_alive(&u);
    detach(&u);
    keep_kill(k, SIGKILL);
    keep_forget(k);
    keep_put(k, "bar-1", memfd_create("bar", MFD_CLOEXEC));
    keep_put(k, "dma-2", memfd_create("dma", MFD_CLOEXEC));
    expect_held(k, "there is no state that is complete");
    ck_assert(keep_go_on(k));
    keep_stop(k);
}
END_TEST

/* Its memory is reached by message then. */
START_TEST(missing_memory)
{
    struct keep *k = keep_start_described(OURS, KEEP_STORE_MAX);
    char name[KEEP_NAME_BYTES] = "";
    struct user u;

    attach(&u, k);
    ck_assert_uint_eq(transfer(&u, 0x10000), 0);
    ck_assert_uint_eq(u.messages, 0);
    keep_kill(k, SIGKILL);
    for (unsigned i = 0; strncmp(name, "dma", 3) != 0; i++)
        close(keep_nth(k, i, name));
    keep_drop(k, name);
    ck_assert(keep_go_on(k));
    ck_assert_msg(keep_log_has(k, "reached by messages from now on"), "%s", keep_log(k));
    check_alive(&u);
    ck_assert_uint_eq(transfer(&u, 0x10000), 0);
    ck_assert_uint_eq(u.messages, 1);
    detach(&u);
    keep_stop(k);
}
END_TEST

START_TEST(discarded)
{
    static const char *const discard[] = { "--discard-state", NULL };
    struct keep *k = keep_start_described(OURS, KEEP_STORE_MAX);
    uint32_t value = 0;
    struct user u;

    attach(&u, k);
    keep_kill(k, SIGKILL);
    keep_describe(k, OTHER);
    expect_held(k, "another description");
    keep_set(k, discard, KEEP_STORE_MAX);
    ck_assert(keep_go_on(k));
    ck_assert(keep_log_has(k, "is dropped"));
    ck_assert_uint_eq(keep_held(k), 2);
    ck_assert_int_lt(client_region_read(u.c, 0, REG_TRAPPED, &value, 4), 0);
    detach(&u);
    attach(&u, k);
    check_alive(&u);
    detach(&u);
    keep_stop(k);
}
END_TEST

/*
 * Garbage
 */

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Changes a few bytes of the block, more often where more depends on them. */
static void spoil(int fd, uint32_t *seed)
{
    static const struct {
        size_t offset;
        size_t size;
    } places[] = {
        { 0, sizeof(struct block_header) },
        { offsetof(struct block, steps), sizeof(struct block_steps) },
        { offsetof(struct block, state), sizeof(struct device_state) },
        { offsetof(struct block, facts), 2 * sizeof(struct block_facts) },
        { offsetof(struct block, journals), sizeof(struct stream_journal) },
        { offsetof(struct block, fd_tables), sizeof(struct stream_fd_table) },
        { offsetof(struct block, maps_high), 8 + 4 * sizeof(struct dma_record) },
    };
    unsigned place = next(seed) % 7;
    size_t at = places[place].offset + next(seed) % places[place].size;
    unsigned len = 1u << next(seed) % 4;
    uint64_t value = next(seed) % 4 == 0 ? UINT64_MAX : (uint64_t)next(seed) << next(seed) % 40;

    at -= at % len;
    ck_assert_int_eq(pwrite(fd, &value, len, (off_t)at), (ssize_t)len);
}

/* The daemon is there, and whoever connects gets an answer. */
static void expect_answer(struct keep *k)
{
    struct version_caps caps;
    struct client *c;
    int err;

    ck_assert_int_eq(client_connect(keep_socket(k), &c), 0);
    version_defaults(&caps);
    err = client_negotiate(c, &caps, &caps);
    ck_assert_msg(err == 0 || err == -EBUSY, "%d: %s", err, keep_log(k));
    client_free(c);
    ck_assert_msg(is_alive(k), "%s", keep_log(k));
}

START_TEST(garbage)
{
    unsigned times = getenv("TIMES") != NULL ? (unsigned)atoi(getenv("TIMES")) : 25;
    uint32_t seed = getenv("SEED") != NULL ? (uint32_t)atoi(getenv("SEED")) : 1;
    struct keep *k = keep_start_described(OURS, KEEP_STORE_MAX);
    unsigned held = 0;
    struct user u;

    for (unsigned i = 0; i < times; i++) {
        unsigned lines = count_lines(k, HELD);
        int fd;

        attach(&u, k);
        keep_kill(k, SIGKILL);
        fd = keep_get(k, "state");
        for (unsigned n = 0; n <= i % 3; n++)
            spoil(fd, &seed);
        close(fd);
        ck_assert_msg(keep_go_on(k), "%u: %s", i, keep_log(k));
        held += count_lines(k, HELD) > lines;
        expect_answer(k);
        keep_kill(k, SIGKILL);
        keep_forget(k);
        detach(&u);
        ck_assert(keep_go_on(k));
    }
    printf("garbage: held %u times of %u\n", held, times);
    ck_assert_uint_gt(held, 0);
    ck_assert_uint_lt(held, times);
    keep_stop(k);
}
END_TEST

/*
 * Stores that hold little, or nothing
 */

/* Too little for the client: the device outlives a crash, the client does not, and is told. */
START_TEST(room_for_four)
{
    struct keep *k = keep_start_described(OURS, 4);
    uint64_t value = 0x77;
    struct user u;

    attach(&u, k);
    ck_assert_int_eq(client_region_write(u.c, BAR1, 0, &value, 8), 0);
    check_alive(&u);
    ck_assert_uint_eq(count_lines(k, "holds"), 1);
    ck_assert_uint_eq(count_lines(k, "will not survive a crash"), 1);
    ck_assert_uint_le(keep_held(k), 3);
    ck_assert_msg(keep_restart(k, SIGKILL), "%s", keep_log(k));
    ck_assert(!keep_log_has(k, HELD));
    ck_assert_int_lt(client_region_read(u.c, BAR1, 0, &value, 8), 0);
    detach(&u);
    u.c = keep_connect(k);
    ck_assert_int_eq(client_region_read(u.c, BAR1, 0, &value, 8), 0);
    ck_assert_uint_eq(value, 0x77);
    client_free(u.c);
    keep_stop(k);
}
END_TEST

#define FILES 30

/* Too little for its memory: some of it is reached by message behind a crash. */
START_TEST(room_for_forty)
{
    struct keep *k = keep_start_described(OURS, 40);
    unsigned direct = 0;
    struct user u;

    attach(&u, k);
    for (unsigned i = 0; i < FILES; i++) {
        int fd = memfd_create("guest", MFD_CLOEXEC);

        ck_assert_int_eq(ftruncate(fd, PAGE), 0);
        ck_assert_int_eq(client_dma_map(u.c, 0x100000 + i * PAGE, PAGE, RW, fd, 0), 0);
        close(fd);
    }
    ck_assert_uint_eq(count_lines(k, "holds"), 1);
    ck_assert(!keep_log_has(k, "will not survive a crash"));
    ck_assert_uint_lt(keep_held(k), 40);
    for (unsigned i = 0; i < FILES; i++)
        ck_assert_uint_eq(transfer(&u, 0x100000 + i * PAGE), 0);
    ck_assert_uint_eq(u.messages, 0);
    for (unsigned i = 0; i < 10; i++) {
        int fd = eventfd(0, EFD_CLOEXEC);

        ck_assert_int_eq(client_set_irqs(u.c, TRIGGER_EVENTFD, INTX, 0, 1, NULL, &fd, 1), 0);
        ck_assert_int_eq(client_dma_unmap(u.c, 0x100000 + i * PAGE, PAGE, 0), 0);
        ck_assert_int_eq(client_dma_map(u.c, 0x100000 + i * PAGE, PAGE, RW, fd, 0), -EINVAL);
        close(fd);
        fd = memfd_create("guest", MFD_CLOEXEC);
        ck_assert_int_eq(ftruncate(fd, PAGE), 0);
        ck_assert_int_eq(client_dma_map(u.c, 0x100000 + i * PAGE, PAGE, RW, fd, 0), 0);
        close(fd);
    }
    ck_assert_int_eq(client_set_irqs(u.c, TRIGGER_EVENTFD, INTX, 0, 1, NULL, &u.intx, 1), 0);
    ck_assert_uint_eq(count_lines(k, "holds"), 1);
    for (unsigned round = 0; round < 3; round++) {
        ck_assert_msg(keep_restart(k, SIGKILL), "%s", keep_log(k));
        check_alive(&u);
        u.messages = 0;
        for (unsigned i = 0; i < FILES; i++)
            ck_assert_uint_eq(transfer(&u, 0x100000 + i * PAGE), 0);
        direct = round == 0 ? FILES - u.messages : direct;
        ck_assert_uint_eq(FILES - u.messages, direct); /* no fewer than after the first */
    }
    ck_assert_uint_gt(direct, 5);
    ck_assert_uint_lt(direct, FILES);
    detach(&u);
    keep_stop(k);
}
END_TEST

START_TEST(no_store)
{
    struct keep *k = keep_start_described(OURS, 0);
    struct user u;

    attach(&u, k);
    check_alive(&u);
    ck_assert_uint_eq(keep_held(k), 0);
    ck_assert(keep_restart(k, SIGKILL));
    detach(&u);
    u.c = keep_connect(k);
    ck_assert_uint_eq(read_reg(u.c, REG_TRAPPED, 4), 0);
    client_free(u.c);
    keep_stop(k);
    k = keep_start_described(OURS, 2); /* less than what it takes to follow */
    ck_assert(keep_log_has(k, "is too small"));
    ck_assert_uint_eq(keep_held(k), 0);
    keep_stop(k);
}
END_TEST

/* The manager takes nothing for a while: the client is served, and the device outlives a crash. */
START_TEST(a_store_that_does_not_answer)
{
    struct keep *k = keep_start_described(OURS, KEEP_STORE_MAX);
    uint64_t value = 0x99;
    struct user u;
    int fds[1];

    attach(&u, k);
    keep_deafen(k, true);
    for (unsigned i = 0; i < 20 || (i < 600 && !keep_log_has(k, "holds")); i++) {
        ck_assert_int_eq(set_eventfds(u.c, INTX, 0, 1, fds), 0);
        close(u.intx);
        u.intx = fds[0];
    }
    ck_assert_int_eq(client_region_write(u.c, BAR1, 0, &value, 8), 0);
    check_alive(&u);
    keep_deafen(k, false);
    ck_assert_msg(keep_restart(k, SIGKILL), "%s", keep_log(k));
    ck_assert(!keep_log_has(k, HELD));
    if (client_region_read(u.c, BAR1, 0, &value, 8) == 0)
        check_alive(&u);
    detach(&u);
    u.c = keep_connect(k);
    ck_assert_int_eq(client_region_read(u.c, BAR1, 0, &value, 8), 0);
    ck_assert_uint_eq(value, 0x99);
    client_free(u.c);
    keep_stop(k);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { another_description,
                                   a_description_that_is_none,
                                   missing_fds,
                                   no_state,
                                   missing_memory,
                                   discarded,
                                   garbage,
                                   room_for_four,
                                   room_for_forty,
                                   no_store,
                                   a_store_that_does_not_answer };
    Suite *suite = suite_create("keep_refusals");

    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        TCase *tc = tcase_create(tests[i]->name);

        tcase_set_timeout(tc, 120);
        tcase_add_test(tc, tests[i]);
        suite_add_tcase(suite, tc);
    }
    return run_suite(suite);
}
