/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfuctl save and load between real daemons: a device that was saved and loaded elsewhere shows the
 * same bytes in every region, has the same interrupts pending and fires at the same deadline.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/live_kit.h"
#include "suite.h"

#define S        1000000000ll
#define BAR1_MAX 16384u
#define WORDS    (BAR1_MAX / 4)
#define DISABLED 0x0402 /* Memory Space, INTx Disable */

#define REG_DOORBELL   0x800
#define REG_IRQ_ENABLE 0x14

/* Runs a shell command that may use "$VFUCTL"; returns its exit status. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int run(const char *format, ...)
{
    char command[1024];
    va_list args;
    int status;

    va_start(args, format);
    ck_assert_int_lt(vsnprintf(command, sizeof(command), format, args), (int)sizeof(command));
    va_end(args);
    status = system(command);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int save(const struct server *s, const char *file)
{
    return run("\"$VFUCTL\" -S %s -q save %s/%s", s->control, s->dir, file);
}

static int load(const struct server *s, const struct server *from, const char *file)
{
    return run("\"$VFUCTL\" -S %s -q load %s/%s", s->control, from->dir, file);
}

/* Removes the files that the tests make, and ends the server. */
static void stop(struct server *s)
{
    ck_assert_int_eq(run("cd %s && rm -f state whole cut out err", s->dir), 0);
    server_stop(s);
}

/* The word of BAR1 at index i. */
static uint32_t word(uint32_t seed, uint32_t i)
{
    return (i + seed) * 2654435761u;
}

static void fill_bar1(struct client *c, uint32_t seed)
{
    uint32_t words[WORDS];

    for (uint32_t i = 0; i < WORDS; i++)
        words[i] = word(seed, i);
    ck_assert_int_eq(client_region_write(c, 1, 0, words, sizeof(words)), 0);
}

static bool bar1_is(struct client *c, uint32_t seed)
{
    uint32_t words[WORDS];
    uint32_t i = 0;

    ck_assert_int_eq(client_region_read(c, 1, 0, words, sizeof(words)), 0);
    while (i < WORDS && words[i] == word(seed, i))
        i++;
    return i == WORDS;
}

/* Something of everything: registers, configuration space, BAR1, a pending interrupt, a deadline.
 */
static void use_device(const struct server *s, int64_t deadline)
{
    const uint16_t command = DISABLED;
    const uint8_t line = 11;
    struct client *c = server_connect(s);

    fill_bar1(c, 1);
    write_reg(c, REG_DOORBELL, 0x1234, 4);
    write_reg(c, REG_DMA_IOVA, 0x1122334455667788, 8);
    write_reg(c, REG_DMA_OFFSET, 0x99, 4); /* half of it */
    ck_assert_int_eq(client_region_write(c, CONFIG, 4, &command, sizeof(command)), 0);
    ck_assert_int_eq(client_region_write(c, CONFIG, 0x3c, &line, 1), 0);
    write_reg(c, REG_TIMER_NSEC, (uint64_t)deadline, 8);
    client_free(c);
    ck_assert_int_eq(run("\"$VFUCTL\" -S %s -q trigger-irq", s->control), 0);
}

/* A region as the device shows it now; the registers that count time are left out. */
static void read_region(struct client *c, uint32_t region, uint8_t *out, uint32_t size)
{
    memset(out, 0, size);
    if (region != 0) {
        ck_assert_int_eq(client_region_read(c, region, 0, out, size), 0);
        return;
    }
    for (uint32_t offset = REG_IRQ_STATUS; offset < size; offset += 4) {
        if (offset >= 0x40 && offset < REG_FIRED_NSEC)
            continue;                                            /* CLOCK_NSEC */
        (void)client_region_read(c, 0, offset, out + offset, 4); /* not all are registers */
    }
}

static void compare_regions(const struct server *a, const struct server *b)
{
    static const struct {
        uint32_t region;
        uint32_t size;
    } rows[] = { { 0, 4096 }, { 1, BAR1_MAX }, { CONFIG, 256 } };
    static uint8_t x[BAR1_MAX];
    static uint8_t y[BAR1_MAX];
    struct client *ca = server_connect(a);
    struct client *cb = server_connect(b);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        read_region(ca, rows[i].region, x, rows[i].size);
        read_region(cb, rows[i].region, y, rows[i].size);
        ck_assert_mem_eq(x, y, rows[i].size);
    }
    ck_assert_uint_eq(read_reg(cb, REG_IRQ_STATUS, 4), 2);
    client_free(ca);
    client_free(cb);
}

/* The pending interrupt comes when the guest lets it, and the deadline's once, at its time. */
static void check_interrupts(const struct server *s, int64_t deadline)
{
    const uint16_t command = 2;
    struct client *c = server_connect(s);
    int64_t fired;
    int fd;

    ck_assert_int_eq(set_eventfds(c, 0, 0, 1, &fd), 0);
    ck_assert_uint_eq(eventfd_wait(fd, 20), 0);
    ck_assert_int_eq(client_region_write(c, CONFIG, 4, &command, sizeof(command)), 0);
    ck_assert_uint_eq(eventfd_wait(fd, 2000), 1);
    write_reg(c, REG_IRQ_STATUS, 2, 4);
    ck_assert_uint_eq(eventfd_wait(fd, 5000), 1);
    fired = (int64_t)read_reg(c, REG_FIRED_NSEC, 8);
    ck_assert_int_ge(fired, deadline);
    ck_assert_int_lt(fired, deadline + S);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_STATUS, 4), 1);
    ck_assert_uint_eq(eventfd_wait(fd, 50), 0);
    close(fd);
    client_free(c);
}

START_TEST(a_loaded_device_is_the_saved_one)
{
    int64_t deadline = now_ns() + 3 * S / 2;
    struct server from;
    struct server to;

    server_start(&from, NULL);
    server_start(&to, NULL);
    use_device(&from, deadline);
    ck_assert_int_eq(save(&from, "state"), 0);
    ck_assert_int_eq(load(&to, &from, "state"), 0);
    compare_regions(&from, &to);
    check_interrupts(&to, deadline);
    stop(&from);
    stop(&to);
}
END_TEST

/* A deadline that passes between fires as soon as the state is loaded. */
START_TEST(a_deadline_that_has_passed_fires_at_once)
{
    struct server from;
    struct server to;
    struct client *c;
    int fd;

    server_start(&from, NULL);
    server_start(&to, NULL);
    c = server_connect(&from);
    write_reg(c, REG_TIMER_NSEC, (uint64_t)now_ns() + 100 * MS, 8);
    ck_assert_int_eq(save(&from, "state"), 0);
    client_free(c);
    usleep(150000);
    ck_assert_int_eq(load(&to, &from, "state"), 0);
    c = server_connect(&to);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 1);
    ck_assert_int_eq(set_eventfds(c, 0, 0, 1, &fd), 0);
    ck_assert_uint_eq(eventfd_wait(fd, 2000), 1);
    client_free(c);
    close(fd);
    stop(&from);
    stop(&to);
}
END_TEST

/* Through a pipe, while a client is attached to the source and goes on. */
START_TEST(through_a_pipe)
{
    struct server from;
    struct server to;
    struct client *c;
    struct client *other;

    server_start(&from, NULL);
    server_start(&to, NULL);
    c = server_connect(&from);
    fill_bar1(c, 7);
    ck_assert_int_eq(
        run("\"$VFUCTL\" -S %s -q save - | \"$VFUCTL\" -S %s -q load -", from.control, to.control),
        0);
    fill_bar1(c, 8);
    other = server_connect(&to);
    ck_assert(bar1_is(other, 7));
    ck_assert(bar1_is(c, 8));
    client_free(c);
    client_free(other);
    stop(&from);
    stop(&to);
}
END_TEST

/* Nothing changes, exit status 1, and one line that says why. */
static void expect_refused(const struct server *s, const char *path, const char *why)
{
    struct client *c;

    ck_assert_int_eq(run("\"$VFUCTL\" -S %s load %s > %s/out 2>&1", s->control, path, s->dir), 1);
    ck_assert_msg(run("grep -qxF '%s' %s/out", why, s->dir) == 0, "not said: %s", why);
    c = server_connect(s);
    ck_assert(bar1_is(c, 3));
    client_free(c);
}

START_TEST(what_is_no_state_of_this_device_is_refused)
{
    static const char *const others[] = {
        "{\"bar1\":{\"size\":\"32K\"}}",
        "{\"pci\":{\"vendor\":\"0x1234\"}}",
        "{\"pci\":{\"capabilities\":[{\"kind\":\"pm\",\"offset\":\"0x50\"}]}}",
        "{\"pci\":{\"capabilities\":[{\"kind\":\"pm\"},{\"kind\":\"msi\",\"vectors\":2}]}}",
    };
    char path[192];
    struct server s;
    struct client *c;

    server_start(&s, NULL);
    c = server_connect(&s);
    fill_bar1(c, 3);
    client_free(c);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct server other;

        server_start(&other, others[i]);
        ck_assert_int_eq(save(&other, "state"), 0);
        ck_assert_int_eq(
            run("\"$VFUCTL\" -S %s load %s/state 2> %s/err", s.control, other.dir, s.dir), 1);
        ck_assert_int_eq(run("grep -q '^vfuctl: Incompatible field=[][a-z0-9_.]* ours=.* theirs=' "
                             "%s/err",
                             s.dir),
                         0);
        stop(&other);
    }
    ck_assert_int_eq(save(&s, "whole"), 0);
    ck_assert_int_eq(run("head -c 5000 %s/whole > %s/cut", s.dir, s.dir), 0);
    snprintf(path, sizeof(path), "%s/cut", s.dir);
    expect_refused(&s, path, "vfuctl: BadStream reason=it ends in the middle");
    ck_assert_int_eq(run("(cat %s/whole; echo) > %s/cut", s.dir, s.dir), 0);
    expect_refused(&s, path, "vfuctl: BadStream reason=bytes behind the END");
    expect_refused(&s, "/dev/null", "vfuctl: BadStream reason=it is empty");
    expect_refused(&s, "/bin/sh",
                   "vfuctl: BadStream reason=it is not the state of a device: unknown flags in its "
                   "first record");
    ck_assert(server_log_has(&s, "refused: it ends in the middle"));
    stop(&s);
}
END_TEST

START_TEST(a_device_with_a_client_is_not_loaded)
{
    struct server s;
    struct client *c;

    server_start(&s, NULL);
    ck_assert_int_eq(save(&s, "state"), 0);
    c = server_connect(&s);
    fill_bar1(c, 4);
    ck_assert_int_eq(run("\"$VFUCTL\" -S %s load %s/state 2> %s/err", s.control, s.dir, s.dir), 1);
    ck_assert_int_eq(run("grep -qx 'vfuctl: Busy reason=a client is attached, and has not stopped "
                         "the device' %s/err",
                         s.dir),
                     0);
    ck_assert(bar1_is(c, 4));
    client_free(c);
    stop(&s);
}
END_TEST

/* What was there is kept when the new state does not come whole; and is nobody else's to read. */
START_TEST(a_file_is_replaced_as_a_whole)
{
    struct server s;

    server_start(&s, NULL);
    ck_assert_int_eq(run("echo old > %s/state", s.dir), 0);
    kill(s.pid, SIGSTOP);
    ck_assert_int_eq(
        run("timeout -s INT 1 \"$VFUCTL\" -S %s save %s/state 2> /dev/null", s.control, s.dir),
        124);
    kill(s.pid, SIGCONT);
    ck_assert_int_eq(
        run("test \"$(cat %s/state)\" = old && ! ls %s/state.* 2> /dev/null", s.dir, s.dir), 0);
    ck_assert_int_eq(save(&s, "state"), 0);
    ck_assert_int_eq(
        run("test \"$(stat -c %%a %s/state)\" = 600 && ! ls %s/state.* 2> /dev/null", s.dir, s.dir),
        0);
    ck_assert_int_eq(load(&s, &s, "state"), 0);
    ck_assert_int_eq(run("\"$VFUCTL\" -S %s -q save %s/none/x 2> /dev/null", s.control, s.dir), 1);
    ck_assert_int_eq(run("\"$VFUCTL\" -S %s -q save /dev/full 2> /dev/null", s.control), 1);
    stop(&s);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_loaded_device_is_the_saved_one,
        a_deadline_that_has_passed_fires_at_once,
        through_a_pipe,
        what_is_no_state_of_this_device_is_refused,
        a_device_with_a_client_is_not_loaded,
        a_file_is_replaced_as_a_whole,
    };
    Suite *suite = suite_create("save_load");
    TCase *tcase = tcase_create("all");

    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_set_timeout(tcase, 30);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
