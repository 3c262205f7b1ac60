/* SPDX-License-Identifier: BSD-3-Clause */
/* What was left cannot be used: nobody is served, nothing is changed, until an operator decides. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/keep_kit.h"
#include "integration/live_kit.h"
#include "keep/block.h"
#include "suite.h"

#define BAR1 VFIO_PCI_BAR1_REGION_INDEX

extern char **environ;

static void patch(int fd, size_t offset, uint32_t value)
{
    ck_assert_int_eq(pwrite(fd, &value, sizeof(value), (off_t)offset), sizeof(value));
}

/* The name of what is held for this role, and a duplicate of it. */
static int find(struct keep *k, const char *role, char name[KEEP_NAME_BYTES])
{
    int fd;

    for (unsigned i = 0; (fd = keep_nth(k, i, name)) >= 0; i++) {
        if (strncmp(name, role, strlen(role)) == 0)
            return fd;
        close(fd);
    }
    ck_abort_msg("no \"%s\" is held", role);
    return -1;
}

/* A daemon that holds what it cannot use. */
static struct keep *start_held(const char *const *options)
{
    struct keep *k = keep_start(NULL, options, KEEP_STORE_MAX);
    char name[KEEP_NAME_BYTES];
    int state = find(k, "state", name);

    patch(state, offsetof(struct block_header, version), BLOCK_VERSION + 1);
    close(state);
    ck_assert(keep_restart(k, SIGKILL));
    return k;
}

/* vfuctl with these arguments; returns its exit status. */
static int vfuctl(struct keep *k, const char *command, const char *option, const char *value)
{
    char *argv[] = { strdup("vfuctl"),
                     strdup("--socket"),
                     strdup(keep_control(k)),
                     strdup(command),
                     option != NULL ? strdup(option) : NULL,
                     value != NULL ? strdup(value) : NULL,
                     NULL };
    const char *program = getenv("VFUCTL");
    posix_spawn_file_actions_t actions;
    int status;
    pid_t pid;

    ck_assert_ptr_nonnull(program);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    ck_assert_int_eq(posix_spawn(&pid, program, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    for (unsigned i = 0; argv[i] != NULL; i++)
        free(argv[i]);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool is_served(struct keep *k)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *c;
    int err;

    ck_assert_int_eq(client_connect(keep_socket(k), &c), 0);
    version_defaults(&ours);
    err = client_negotiate(c, &ours, &theirs);
    client_free(c);
    return err == 0;
}

START_TEST(nobody_is_served)
{
    struct keep *k = start_held(NULL);

    ck_assert(keep_status_has(k, "a state is held that cannot be used"));
    ck_assert(!is_served(k));
    ck_assert_int_ne(vfuctl(k, "reset", NULL, NULL), 0);
    ck_assert_int_ne(vfuctl(k, "trigger-irq", NULL, NULL), 0);
    ck_assert_uint_eq(keep_held(k), 2);
    keep_stop(k);
}
END_TEST

/* A device that comes by a handover would be lost with the next death; and one that goes would let
 * clients in. */
START_TEST(no_handovers)
{
    struct keep *k = start_held(NULL);
    struct keep *other = keep_start(NULL, NULL, KEEP_STORE_MAX);
    struct client *c = keep_connect(other);

    ck_assert_int_ne(vfuctl(other, "migrate", "--to", keep_control(k)), 0);
    write_reg(c, 0x808, 1, 4);
    client_free(c);
    while (keep_held_role(other, "client") > 0)
        usleep(1000);
    ck_assert_int_ne(vfuctl(k, "migrate", "--to", keep_control(other)), 0);
    ck_assert(!is_served(k));
    ck_assert_uint_eq(keep_held(k), 2);
    keep_stop(k);
    keep_stop(other);
}
END_TEST

START_TEST(discarded)
{
    const char *options[] = { NULL, NULL };
    struct keep *k = start_held(options);

    ck_assert(!is_served(k));
    options[0] = "--discard-state";
    ck_assert(keep_restart(k, SIGKILL));
    ck_assert(keep_log_has(k, "what was left by the process before is dropped"));
    ck_assert(is_served(k));
    ck_assert_uint_eq(keep_held_role(k, "state"), 1);
    ck_assert_uint_eq(keep_held_role(k, "bar"), 1);
    keep_stop(k);
}
END_TEST

/* It has been said when there was no place for it, and is said again. */
START_TEST(client_without_a_place)
{
    struct keep *k = keep_start(NULL, NULL, 3);
    struct client *c = keep_connect(k);
    uint8_t value;

    ck_assert_int_eq(client_region_read(c, BAR1, 0, &value, 1), 0);
    ck_assert(keep_log_has(k, "will not survive a crash of this process"));
    ck_assert(keep_restart(k, SIGKILL));
    ck_assert_msg(keep_log_has(k, "which had no place in the store, is lost"), "%s", keep_log(k));
    ck_assert_int_ne(client_region_read(c, BAR1, 0, &value, 1), 0);
    ck_assert(is_served(k));
    client_free(c);
    keep_stop(k);
}
END_TEST

/* The first process of all is killed when its state is stored, or BAR1 only, and not complete. */
static void begins_anew(bool with_state)
{
    struct keep *k = keep_start(NULL, NULL, KEEP_STORE_MAX);
    char bar1_name[KEEP_NAME_BYTES];
    char name[KEEP_NAME_BYTES];
    int bar1 = find(k, "bar", bar1_name);
    int state = find(k, "state", name);

    keep_forget(k);
    keep_put(k, bar1_name, bar1);
    patch(state, offsetof(struct block_header, complete), 0);
    if (with_state)
        keep_put(k, name, state);
    else
        close(state);
    ck_assert(keep_restart(k, SIGKILL));
    ck_assert_msg(is_served(k), "%s", keep_log(k));
    ck_assert_uint_eq(keep_held(k), 2);
    keep_stop(k);
}

START_TEST(killed_before_it_has_begun)
{
    begins_anew(false);
    begins_anew(true);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keep: held");
    TCase *tc = tcase_create("held");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, nobody_is_served);
    tcase_add_test(tc, no_handovers);
    tcase_add_test(tc, discarded);
    tcase_add_test(tc, client_without_a_place);
    tcase_add_test(tc, killed_before_it_has_begun);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
