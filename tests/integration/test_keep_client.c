/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that uses all there is, while the daemon is killed at any instant: see keep_load.h.
 * KILLS of the environment is how often, SEED where the instants begin.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "integration/keep_kit.h"
#include "integration/keep_load.h"
#include "integration/live_kit.h"
#include "suite.h"

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? (unsigned)atoi(text) : otherwise;
}

/* max_us: how long one lives at most, when it is ready; 0: as the early ones do. */
static void run(bool twin, int signum, unsigned kills, unsigned max_us)
{
    struct keep *k = keep_start_described(LOAD_DESCRIPTION, KEEP_STORE_MAX);
    unsigned seed = from_environment("SEED", 1);
    struct load l;

    load_begin(&l, keep_socket(k), twin);
    l.small = max_us == 0;
    if (max_us > 0)
        keep_restart_often(k, signum, kills, max_us, seed);
    else
        keep_kill_early(k, kills, 15000, seed);
    while (keep_restarting(k))
        load_turn(&l);
    keep_restarted(k);
    load_turn(&l);
    printf("%u times: %llu turns, %llu DMA messages\n", kills, (unsigned long long)l.turns,
           (unsigned long long)l.dma_messages);
    load_end(&l);
    keep_stop(k);
}

START_TEST(undisturbed)
{
    run(true, SIGKILL, 1, 1000);
    run(false, SIGKILL, 1, 1000);
}
END_TEST

START_TEST(killed_with_one_socket)
{
    run(false, SIGKILL, from_environment("KILLS", 90), 5000);
}
END_TEST

START_TEST(killed_with_a_twin)
{
    run(true, SIGKILL, from_environment("KILLS", 90), 5000);
}
END_TEST

START_TEST(killed_early)
{
    run(true, SIGKILL, from_environment("KILLS", 90), 0);
}
END_TEST

START_TEST(restarted)
{
    run(true, SIGTERM, from_environment("KILLS", 30), 5000);
}
END_TEST

/* Each in a case of its own, so that CK_RUN_CASE has it alone. */
static void add(Suite *suite, const char *name, const TTest *test)
{
    TCase *tc = tcase_create(name);

    tcase_set_timeout(tc, 600);
    tcase_add_test(tc, test);
    suite_add_tcase(suite, tc);
}

int main(void)
{
    Suite *suite = suite_create("keep_client");

    add(suite, "undisturbed", undisturbed);
    add(suite, "one_socket", killed_with_one_socket);
    add(suite, "twin", killed_with_a_twin);
    add(suite, "early", killed_early);
    add(suite, "restarted", restarted);
    return run_suite(suite);
}
