/* SPDX-License-Identifier: BSD-3-Clause */
/* A daemon that is killed, at any instant, and goes on with its client: nothing lost, nothing
 * twice. */
#define _GNU_SOURCE
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "integration/keep_kit.h"
#include "integration/live_kit.h"
#include "suite.h"

#define BAR1             VFIO_PCI_BAR1_REGION_INDEX
#define REG_DOORBELL_CNT 0x804
#define REG_TRAPPED      0x808

/* What the client has done, and what the device must have made of it. */
struct load {
    struct client *c;
    int intx;
    uint64_t turns;
    uint64_t rings;
    uint64_t interrupts;
};

static void begin(struct load *l, struct keep *k)
{
    *l = (struct load) { .c = keep_connect(k) };
    ck_assert_int_eq(set_eventfds(l->c, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &l->intx), 0);
}

static void end(struct load *l)
{
    client_free(l->c);
    close(l->intx);
}

static void check_memory(struct load *l)
{
    uint64_t value = l->turns * 0x9e3779b97f4a7c15ull;
    uint64_t offset = l->turns % 64 * 8;
    uint64_t read = 0;

    ck_assert_int_eq(client_region_write(l->c, BAR1, offset, &value, 8), 0);
    ck_assert_int_eq(client_region_read(l->c, BAR1, offset, &read, 8), 0);
    ck_assert_uint_eq(read, value);
    value = ~value;
    ck_assert_int_eq(client_region_post(l->c, BAR1, 1024 + offset, &value, 8), 0);
    ck_assert_int_eq(client_region_read(l->c, BAR1, 1024 + offset, &read, 8), 0);
    ck_assert_uint_eq(read, value);
}

/* Each write counts, also one that is not answered. */
static void check_rings(struct load *l)
{
    const uint32_t value = (uint32_t)l->turns;

    write_reg(l->c, REG_TRAPPED, value, 4);
    ck_assert_int_eq(client_region_post(l->c, 0, REG_TRAPPED, &value, 4), 0);
    l->rings += 2;
    ck_assert_uint_eq(read_reg(l->c, REG_DOORBELL_CNT, 4), (uint32_t)l->rings);
}

/* A deadline that has passed is an interrupt at once; once. */
static void check_interrupt(struct load *l)
{
    uint64_t count = 0;

    write_reg(l->c, REG_TIMER_NSEC, 1 + l->turns, 8);
    l->interrupts++;
    ck_assert_int_eq(read(l->intx, &count, sizeof(count)), sizeof(count));
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(read_reg(l->c, REG_IRQ_COUNT, 8), l->interrupts);
    write_reg(l->c, REG_IRQ_STATUS, 7, 4);
}

static void turn(struct load *l)
{
    check_memory(l);
    check_rings(l);
    check_interrupt(l);
    l->turns++;
}

static void run(int signum, unsigned times, unsigned max_us)
{
    struct keep *k = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct load l;

    begin(&l, k);
    keep_restart_often(k, signum, times, max_us, 1);
    while (keep_restarting(k))
        turn(&l);
    keep_restarted(k);
    turn(&l);
    printf("%u times: %llu turns\n", times, (unsigned long long)l.turns);
    end(&l);
    keep_stop(k);
}

START_TEST(killed_at_any_instant)
{
    run(SIGKILL, getenv("KILLS") ? (unsigned)atoi(getenv("KILLS")) : 200, 3000);
}
END_TEST

/* Also while it becomes what the one before was. */
START_TEST(killed_while_it_recovers)
{
    struct keep *k = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct load l;

    begin(&l, k);
    keep_kill_early(k, 200, 12000, 2);
    while (keep_restarting(k))
        turn(&l);
    keep_restarted(k);
    turn(&l);
    printf("killed early: %llu turns\n", (unsigned long long)l.turns);
    end(&l);
    keep_stop(k);
}
END_TEST

START_TEST(restarted_under_load)
{
    run(SIGTERM, 50, 3000);
}
END_TEST

static void check_recovery(const struct keep *k, const char *state, const char *after)
{
    struct server s = { 0 };
    struct json_object *status;
    struct json_object *recovery;
    struct json_object *value;

    snprintf(s.control, sizeof(s.control), "%s", keep_control(k));
    status = server_status(&s);
    ck_assert(json_object_object_get_ex(status, "recovery", &recovery));
    ck_assert(json_object_object_get_ex(recovery, "state", &value));
    ck_assert_str_eq(json_object_get_string(value), state);
    ck_assert(json_object_object_get_ex(recovery, "after", &value));
    ck_assert_str_eq(json_object_get_string(value), after);
    ck_assert(json_object_object_get_ex(recovery, "max_descriptors", &value));
    ck_assert_int_eq(json_object_get_int(value), KEEP_STORE_MAX);
    json_object_put(status);
}

START_TEST(operators_are_told)
{
    struct keep *k = keep_start(NULL, NULL, KEEP_STORE_MAX);

    check_recovery(k, "on", "start");
    ck_assert(keep_restart(k, SIGKILL));
    check_recovery(k, "on", "crash");
    ck_assert(keep_restart(k, SIGTERM));
    check_recovery(k, "on", "restart");
    keep_stop(k);
}
END_TEST

/* A signal that somebody sends does not come again by itself, as a fault does. */
START_TEST(faults_that_are_sent)
{
    const int faults[] = { SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE };
    struct keep *k = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct load l;

    begin(&l, k);
    for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        ck_assert(keep_restart(k, faults[i]));
        turn(&l);
    }
    end(&l);
    keep_stop(k);
}
END_TEST

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

int main(void)
{
    Suite *suite = suite_create("keep");
    TCase *tc = tcase_create("keep");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, killed_at_any_instant);
    tcase_add_test(tc, operators_are_told);
    tcase_add_test(tc, killed_while_it_recovers);
    tcase_add_test(tc, restarted_under_load);
    if (!SANITIZED) /* it would tell of each */
        tcase_add_test(tc, faults_that_are_sent);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
