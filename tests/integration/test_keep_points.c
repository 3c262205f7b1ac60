/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A daemon that is killed at each of its system calls, before and behind it, while a client uses it
 * and while it recovers: what chance seldom hits. Of the environment: STEP, every how manieth point
 * it is; CHECK, the only one of keep_load.h's checks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "integration/keep_kit.h"
#include "integration/keep_load.h"
#include "integration/live_kit.h"
#include "suite.h"

/* How often it is looked, at what distance, before it is asked whether that was all. */
#define IDLE_TIMES 100
#define IDLE_US    20

#define INTX VFIO_PCI_INTX_IRQ_INDEX

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? (unsigned)atoi(text) : otherwise;
}

/*
 * Tracing
 */

static bool seize(pid_t pid)
{
    if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0)
        return false;
    return ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0 && waitpid(pid, NULL, __WALL) == pid;
}

/* Whether we may. */
static bool may_trace(void)
{
    pid_t pid = fork();
    bool may;

    if (pid == 0) {
        pause();
        _exit(0);
    }
    may = pid > 0 && seize(pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return may;
}

/*
 * Lets a process that was seized go on until it has entered or left so many system calls: true.
 * False when it is done before, and it is let go.
 */
static bool run_until(pid_t pid, unsigned points, bool (*done)(void *arg), void *arg)
{
    int status = 0;

    while (points > 0) {
        unsigned idle = 0;
        int signum = 0;
        pid_t got;

        if (WIFSTOPPED(status) && status >> 16 == 0 && WSTOPSIG(status) != (SIGTRAP | 0x80))
            signum = WSTOPSIG(status);
        ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, 0, signum), 0);
        while ((got = waitpid(pid, &status, WNOHANG | __WALL)) == 0) {
            if (++idle % IDLE_TIMES == 0 && done(arg)) {
                ptrace(PTRACE_INTERRUPT, pid, 0, 0);
                waitpid(pid, &status, __WALL);
                ptrace(PTRACE_DETACH, pid, 0, 0);
                return false;
            }
            usleep(IDLE_US);
        }
        ck_assert_int_eq(got, pid);
        ck_assert_msg(WIFSTOPPED(status), "it has ended: 0x%x", (unsigned)status);
        points -= WSTOPSIG(status) == (SIGTRAP | 0x80);
    }
    return true;
}

/*
 * While it is used
 */

struct user {
    struct load l;
    unsigned check;
    bool done;
};

static void *use(void *arg)
{
    struct user *u = arg;

    load_check(&u->l, u->check);
    __atomic_store_n(&u->done, true, __ATOMIC_RELEASE);
    return NULL;
}

static bool is_done(void *arg)
{
    const struct user *u = arg;

    return __atomic_load_n(&u->done, __ATOMIC_ACQUIRE);
}

/* Returns whether the check went on for so many points. */
static bool kill_at(struct keep *k, struct user *u, unsigned points)
{
    pthread_t thread;
    bool killed;

    u->done = false;
    ck_assert(seize(keep_pid(k)));
    ck_assert_int_eq(pthread_create(&thread, NULL, use, u), 0);
    killed = run_until(keep_pid(k), points, is_done, u);
    if (killed)
        ck_assert_msg(keep_restart(k, SIGKILL), "%s", keep_log(k));
    pthread_join(thread, NULL);
    ck_assert_msg(!keep_log_has(k, "is not used, and kept"), "%s", keep_log(k));
    return killed;
}

static void kill_at_all(bool twin)
{
    struct keep *k = keep_start_described(LOAD_DESCRIPTION, KEEP_STORE_MAX);
    unsigned step = from_environment("STEP", 41);
    unsigned only = from_environment("CHECK", LOAD_CHECKS);
    static struct user u;
    unsigned kills = 0;

    load_begin(&u.l, keep_socket(k), twin);
    for (u.check = 0; u.check < LOAD_CHECKS; u.check++) {
        if (only < LOAD_CHECKS && u.check != only)
            continue;
        for (unsigned points = 1 + (u.check * 7 + twin) % step; kill_at(k, &u, points);
             points += step)
            kills++;
    }
    printf("killed at %u points\n", kills);
    ck_assert_uint_gt(kills, 0);
    load_end(&u.l);
    keep_stop(k);
}

START_TEST(while_it_is_used)
{
    kill_at_all(_i == 1);
}
END_TEST

/*
 * While it recovers
 */

struct gap {
    struct keep *k;
    struct client *c;
    int intx;
    int ring[2];
    uint32_t rings;
    uint64_t interrupts;
};

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static bool is_ready(void *arg)
{
    return keep_ready(arg);
}

/* It dies in the write that fires the timer, behind its signal. */
static void die_in_a_step(struct gap *g)
{
    const uint64_t value = 1;
    struct pollfd p = { .fd = g->intx, .events = POLLIN };

    ck_assert(seize(keep_pid(g->k)));
    ck_assert_int_eq(client_region_post(g->c, 0, REG_TIMER_NSEC, &value, 8), 0);
    while (poll(&p, 1, 0) == 0)
        ck_assert(run_until(keep_pid(g->k), 1, never, NULL));
    g->interrupts++;
}

/* Rings that nobody has taken, a message that nobody has read, and a deadline that passes. */
static void leave_work(struct gap *g)
{
    const uint64_t rings = 2;
    const uint32_t value = 1;

    ck_assert_int_eq(client_region_post(g->c, 0, 0x808, &value, 4), 0);
    ck_assert_int_eq(write(g->ring[0], &rings, sizeof(rings)), sizeof(rings));
    g->rings += 3;
}

static void check_gap(struct gap *g)
{
    struct pollfd p = { .fd = g->intx, .events = POLLIN };
    uint64_t count = 0;

    ck_assert_uint_eq(read_reg(g->c, 0x804, 4), g->rings);
    ck_assert_uint_eq(read_reg(g->c, REG_IRQ_COUNT, 8), g->interrupts);
    ck_assert_int_eq(poll(&p, 1, 2000), 1);
    ck_assert_int_eq(read(g->intx, &count, sizeof(count)), sizeof(count));
    ck_assert_uint_eq(count, 1);
    write_reg(g->c, REG_IRQ_STATUS, 7, 4);
    read_reg(g->c, REG_IRQ_COUNT, 8);
    ck_assert_int_eq(poll(&p, 1, 0), 0);
}

static uint64_t real_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Returns whether it was not ready yet. in_step: the one before dies in a step. */
static bool kill_recovering(struct gap *g, bool in_step, unsigned points)
{
    bool early;

    if (in_step) {
        die_in_a_step(g);
    } else {
        write_reg(g->c, REG_TIMER_NSEC, real_now() + 1500000, 8);
        g->interrupts++;
    }
    keep_kill(g->k, SIGKILL);
    leave_work(g);
    usleep(in_step ? 0 : 2000);
    keep_launch(g->k);
    ck_assert(seize(keep_pid(g->k)));
    early = run_until(keep_pid(g->k), points, is_ready, g->k);
    ck_assert_msg(keep_restart(g->k, SIGKILL), "%s", keep_log(g->k));
    ck_assert_msg(!keep_log_has(g->k, "is not used, and kept"), "%s", keep_log(g->k));
    check_gap(g);
    return early;
}

START_TEST(while_it_recovers)
{
    struct gap g = { .k = keep_start(NULL, NULL, KEEP_STORE_MAX) };
    unsigned step = from_environment("STEP", 61);
    struct vfio_user_io_fd entry;
    unsigned nfds = 2;
    unsigned points = 200; /* the program has to be loaded */
    unsigned late = 0;
    unsigned n;

    g.c = keep_connect(g.k);
    client_set_timeout(g.c, 20000);
    ck_assert_int_eq(client_get_region_io_fds(g.c, 0, &entry, 1, &n, g.ring, &nfds), 0);
    ck_assert_int_eq(set_eventfds(g.c, INTX, 0, 1, &g.intx), 0);
    /* It may have been quicker than its tracer, a few times. */
    for (n = 0; late < 8; points += step) {
        bool early = kill_recovering(&g, _i == 1, points);

        n += early;
        late = early ? 0 : late + 1;
    }
    printf("killed at %u points, up to %u\n", n, points);
    ck_assert_uint_gt(n, 0);
    close(g.intx);
    close(g.ring[0]);
    close(g.ring[1]);
    client_free(g.c);
    keep_stop(g.k);
}
END_TEST

int main(void)
{
    Suite *suite;
    TCase *used;
    TCase *recovers;

    if (!may_trace()) {
        printf("SKIP: no process may be traced here\n");
        return 77;
    }
    suite = suite_create("keep_points");
    used = tcase_create("used");
    recovers = tcase_create("recovers");
    tcase_set_timeout(used, 600);
    tcase_set_timeout(recovers, 600);
    tcase_add_loop_test(used, while_it_is_used, 0, 2);
    tcase_add_loop_test(recovers, while_it_recovers, 0, 2);
    suite_add_tcase(suite, used);
    suite_add_tcase(suite, recovers);
    return run_suite(suite);
}
