/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that moves between two daemons, of which one or both are killed meanwhile: afterwards it
 * has one owner, and its client has lost nothing.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "integration/keep_kit.h"
#include "integration/live_kit.h"
#include "suite.h"

#define BAR1        VFIO_PCI_BAR1_REGION_INDEX
#define REG_COUNT   0x804
#define REG_TRAPPED 0x808
#define OWNER_MS    5000

extern char **environ;

enum { FROM = 1, TO = 2, BOTH = 3 };

static unsigned moves_of(unsigned normally)
{
    const char *text = getenv("VFIO_USERD_TEST_MOVES");

    return text != NULL ? (unsigned)atoi(text) : normally;
}

/* vfuctl migrate, in the background. Without keep the source ends. */
static pid_t migrate_or_end(struct keep *from, struct keep *to, bool keep)
{
    char *argv[] = { strdup("vfuctl"),
                     strdup("--socket"),
                     strdup(keep_control(from)),
                     strdup("migrate"),
                     strdup("--to"),
                     strdup(keep_control(to)),
                     NULL,
                     NULL };
    const char *program = getenv("VFUCTL");
    posix_spawn_file_actions_t actions;
    pid_t pid;

    ck_assert_ptr_nonnull(program);
    argv[6] = keep ? strdup("--keep") : NULL;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    ck_assert_int_eq(posix_spawn(&pid, program, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    for (unsigned i = 0; argv[i] != NULL; i++)
        free(argv[i]);
    return pid;
}

static pid_t migrate(struct keep *from, struct keep *to)
{
    return migrate_or_end(from, to, true);
}

/* Each write counts. */
static void turn(struct client *c, uint32_t *rings)
{
    uint64_t value = 0x1122334455667788ull * ++*rings;
    uint64_t read = 0;

    ck_assert_int_eq(client_region_write(c, BAR1, 4096 + *rings % 64 * 8, &value, 8), 0);
    write_reg(c, REG_TRAPPED, *rings, 4);
    ck_assert_uint_eq(read_reg(c, REG_COUNT, 4), *rings);
    ck_assert_int_eq(client_region_read(c, BAR1, 4096 + *rings % 64 * 8, &read, 8), 0);
    ck_assert_uint_eq(read, value);
}

/* The one that holds the client, for its next process too; the other one has none. */
static struct keep *find_owner(struct keep *a, struct keep *b)
{
    unsigned of_a = 0;
    unsigned of_b = 0;

    for (unsigned ms = 0; ms < OWNER_MS && of_a + of_b != 1; ms++) {
        of_a = keep_held_role(a, "client");
        of_b = keep_held_role(b, "client");
    }
    ck_assert_msg(of_a + of_b == 1, "%u and %u owners: %s\n%s", of_a, of_b, keep_log(a),
                  keep_log(b));
    ck_assert_uint_eq(keep_held_role(a, "token") + keep_held_role(b, "token"), 0);
    return of_a == 1 ? a : b;
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

/* How long a move takes when nobody dies, there and back. */
static unsigned time_of_move(struct keep *a, struct keep *b)
{
    int64_t began = now_us();
    int64_t took;

    ck_assert_int_gt(waitpid(migrate(a, b), NULL, 0), 0);
    ck_assert_ptr_eq(find_owner(a, b), b);
    took = now_us() - began;
    ck_assert_int_gt(waitpid(migrate(b, a), NULL, 0), 0);
    ck_assert_ptr_eq(find_owner(a, b), a);
    return (unsigned)took;
}

static void run(int who, unsigned times, unsigned seed)
{
    struct keep *a = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct keep *b = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct client *c = keep_connect(a);
    struct keep *owner = a;
    unsigned span = time_of_move(a, b);
    unsigned moved = 0;
    uint32_t rings = 0;

    for (unsigned i = 0; i < times; i++) {
        const struct timespec pause = { .tv_nsec = 1000 * (long)(rand_r(&seed) % span) };
        struct keep *other = owner == a ? b : a;
        pid_t mover = migrate(owner, other);
        struct keep *now;

        nanosleep(&pause, NULL);
        if ((who & FROM) != 0)
            ck_assert(keep_restart(owner, SIGKILL));
        if ((who & TO) != 0)
            ck_assert(keep_restart(other, SIGKILL));
        turn(c, &rings);
        ck_assert_int_eq(waitpid(mover, NULL, 0), mover);
        now = find_owner(a, b);
        turn(c, &rings);
        moved += now != owner;
        owner = now;
    }
    printf("%u of %u moves were made\n", moved, times);
    client_free(c);
    keep_stop(a);
    keep_stop(b);
}

START_TEST(the_source_dies)
{
    run(FROM, moves_of(40), 1);
}
END_TEST

START_TEST(the_destination_dies)
{
    run(TO, moves_of(40), 2);
}
END_TEST

START_TEST(both_die)
{
    run(BOTH, moves_of(40), 3);
}
END_TEST

/* What is started where it was, which nothing forbids, is an empty device of its own. */
START_TEST(the_source_ends)
{
    struct keep *a = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct keep *b = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct client *c = keep_connect(a);
    struct client *other;
    uint32_t rings = 0;
    uint32_t other_rings = 0;
    uint64_t value = 0;

    turn(c, &rings);
    turn(c, &rings);
    ck_assert_int_gt(waitpid(migrate_or_end(a, b, false), NULL, 0), 0);
    ck_assert(keep_restart(a, SIGCONT));
    other = keep_connect(a);
    ck_assert_int_eq(client_region_read(other, BAR1, 4096 + 8, &value, 8), 0);
    ck_assert_uint_eq(value, 0);
    turn(other, &other_rings);
    ck_assert_int_eq(client_region_read(c, BAR1, 4096 + 8, &value, 8), 0);
    ck_assert_uint_eq(value, 0x1122334455667788ull);
    turn(c, &rings);
    client_free(other);
    client_free(c);
    keep_stop(a);
    keep_stop(b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keep: handover");
    TCase *tc = tcase_create("handover");

    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, the_source_dies);
    tcase_add_test(tc, the_destination_dies);
    tcase_add_test(tc, both_die);
    tcase_add_test(tc, the_source_ends);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
