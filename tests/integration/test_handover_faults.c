/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handovers that fail, with a client that writes and reads BAR1, uses DMA and counts interrupts all
 * the time: refused; one of the two killed in each phase, or standing still until the other one's
 * time is over. There is always one owner and never two, nothing acknowledged is lost, and every
 * deadline fires once.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <grp.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "integration/control_kit.h"
#include "integration/handover_kit.h"
#include "integration/live_kit.h"
#include "suite.h"

#define SHORT_MS 300

/*
 * Refusals
 */

static const struct {
    const char *description; /* the destination's */
    const char *error;
    const char *text; /* in its parameters */
} refusals[] = {
    { "{\"bar1\": {\"size\": \"12K\"}}", "Incompatible", "\"bar1.size\"" },
    { "{\"pci\": {\"capabilities\": [{\"kind\": \"pm\"}, {\"kind\": \"msi\", \"vectors\": 2}]}}",
      "Incompatible", "\"pci.capabilities" },
    { "{\"pci\": {\"vendor\": \"0x1234\"}}", "Incompatible", "\"pci.vendor\"" },
};

START_TEST(another_device_is_refused)
{
    const struct wish wish = { .timeout_ms = 5000 };
    struct server a;
    struct server b;
    struct outcome o;
    struct load l;

    server_start(&a, NULL);
    server_start(&b, refusals[_i].description);
    load_start(&l, &a);
    handover_do(&a, &b, &wish, &o);
    ck_assert_str_eq(o.error, refusals[_i].error);
    ck_assert_msg(strstr(o.text, refusals[_i].text) != NULL, "%s", o.text);
    server_wait_log(&a, "migrate: not moved to");
    load_wait(&l, 5);
    load_stop(&l);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

START_TEST(destination_with_a_client_is_busy)
{
    const struct wish wish = { .keep = true };
    struct server a;
    struct server b;
    struct client *c;
    struct outcome o;
    struct load l;

    server_start(&a, NULL);
    server_start(&b, NULL);
    load_start(&l, &a);
    c = server_connect(&b);
    handover_do(&a, &b, &wish, &o);
    ck_assert_str_eq(o.error, "Busy");
    ck_assert_msg(strstr(o.text, "a client is attached") != NULL, "%s", o.text);
    load_wait(&l, 5);
    client_free(c);
    while (server_has_client(&b))
        poll(NULL, 0, 1);
    handover_succeeds(&a, &b, true);
    load_wait(&l, 5);
    load_stop(&l);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

START_TEST(to_itself_and_to_nobody)
{
    const struct wish wish = { .keep = true };
    const struct wish alone = { .keep = true, .no_fd = true };
    struct server a;
    struct server nobody = { .control = "/nonexistent/control.sock" };
    struct outcome o;
    struct load l;

    server_start(&a, NULL);
    load_start(&l, &a);
    handover_do(&a, &a, &wish, &o);
    ck_assert_str_eq(o.error, "Busy");
    handover_do(&a, &nobody, &alone, &o);
    ck_assert_str_eq(o.error, "MigrationFailed");
    ck_assert_str_eq(o.phase, "offer");
    load_wait(&l, 5);
    load_stop(&l);
    server_stop(&a);
}
END_TEST

/* The client moves the device itself, or somebody saves it: one at a time. */
START_TEST(device_that_is_moved_otherwise)
{
    static uint8_t bytes[1 << 20];
    const struct wish wish = { .keep = true };
    struct server a;
    struct server b;
    struct varlink *v;
    struct client *c;
    struct outcome o;

    server_start(&a, "{\"bar1\": {\"size\": \"16M\"}}");
    server_start(&b, "{\"bar1\": {\"size\": \"16M\"}}");
    c = server_connect(&a);
    ck_assert_int_eq(client_mig_set_state(c, VFIO_DEVICE_STATE_STOP), 0);
    handover_do(&a, &b, &wish, &o);
    ck_assert_str_eq(o.error, "Busy");
    ck_assert_int_eq(client_mig_set_state(c, VFIO_DEVICE_STATE_RUNNING), 0);
    memset(bytes, 0x55, sizeof(bytes)); /* more than a socket holds */
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(client_region_write(c, 1, i * sizeof(bytes), bytes, sizeof(bytes)), 0);
    v = control_open(&a);
    ck_assert_str_eq(control_error(v, "{\"method\": \"" DEVICE ".Save\", \"upgrade\": true}"), "");
    handover_do(&a, &b, &wish, &o);
    ck_assert_str_eq(o.error, "Busy");
    varlink_free(v);
    do
        handover_do(&a, &b, &wish, &o);
    while (strcmp(o.error, "Busy") == 0);
    ck_assert_msg(o.error[0] == '\0', "%s", o.text);
    read_reg(c, REG_IRQ_COUNT, 8);
    client_free(c);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

/* Two daemons of different users: neither may give the other a device, only root may. */
static void run_as_nobody(const struct server *s, void *arg)
{
    const char *const argv[] = { "vfio-userd",     "--socket-path", s->socket,
                                 "--control-path", s->control,      NULL };

    (void)arg;
    if (chown(s->dir, 65533, 65533) != 0 || setgroups(0, NULL) != 0 || setgid(65533) != 0 ||
        setuid(65533) != 0)
        _exit(126);
    server_exec(s, argv);
}

static void start_as_nobody(struct server *s)
{
    int fd = -1;

    server_fork(s, run_as_nobody, NULL);
    for (int i = 0; i < 2000 && (fd = peer_connect(s->control, 0)) < 0; i++)
        poll(NULL, 0, 5);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

/* Calls Migrate as another user, who may connect to both sockets. */
static int migrate_as(uid_t uid, const struct server *from, const struct server *to)
{
    const struct wish wish = { .keep = true };
    struct outcome o;
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        if (setgid(uid) != 0 || setuid(uid) != 0)
            _exit(9);
        handover_do(from, to, &wish, &o);
        _exit(strcmp(o.error, "PermissionDenied") == 0                                    ? 1
              : strcmp(o.error, "MigrationFailed") == 0 && strstr(o.text, "its own user") ? 2
              : o.error[0] == '\0'                                                        ? 0
                                                                                          : 3);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(rights_are_those_of_the_caller)
{
    struct server a;
    struct server b;

    if (geteuid() != 0) {
        fputs("skipped: needs root\n", stderr);
        return;
    }
    server_start(&a, NULL);
    ck_assert_int_eq(chmod(a.dir, 0755), 0);
    ck_assert_int_eq(chmod(a.control, 0666), 0);
    start_as_nobody(&b);
    ck_assert_int_eq(chmod(b.dir, 0755), 0);
    ck_assert_int_eq(chmod(b.control, 0666), 0);
    ck_assert_int_eq(migrate_as(65532, &a, &b), 1); /* nobody's */
    ck_assert_int_eq(migrate_as(65533, &b, &a), 2); /* the source's user is none there */
    ck_assert_int_eq(migrate_as(65533, &a, &b), 1);
    ck_assert_int_eq(migrate_as(0, &a, &b), 0);
    server_wait_log(&a, "Migrate is for root and vfio-userd's own user");
    server_stop(&a);
    ck_assert_int_eq(kill(b.pid, SIGTERM), 0);
    ck_assert_int_eq(server_wait(&b), 0);
    server_remove(&b);
}
END_TEST

/*
 * Faults of the destination
 */

/* Until it has read COMMIT and claimed the device, that is the source's. */
static const char *const before_commit[] = { "offer", "state", "ready", "await" };

#define N_BEFORE_COMMIT ((int)(sizeof(before_commit) / sizeof(before_commit[0])))

START_TEST(destination_is_killed)
{
    const struct fault fault = { .phase = before_commit[_i], .signal = SIGKILL };
    const struct wish wish = { .timeout_ms = 5000 };
    struct server a;
    struct server b;
    struct server c;
    struct outcome o;
    struct load l;

    server_start(&a, NULL);
    server_start_faulty(&b, &fault);
    load_start(&l, &a);
    load_wait(&l, 3);
    handover_do(&a, &b, &wish, &o);
    ck_assert_str_eq(o.error, "MigrationFailed");
    server_wait_fault(&b, &fault);
    load_wait(&l, 5);
    server_wait_log(&a, "migrate: not moved to");
    /* And it still can be moved. */
    server_start(&c, NULL);
    handover_succeeds(&a, &c, false);
    load_wait(&l, 5);
    load_stop(&l);
    ck_assert_int_eq(server_wait(&a), 0);
    server_remove(&a);
    server_clean(&b);
    server_stop(&c);
}
END_TEST

static const char *const after_commit[] = { "commit", "running" };

/* It had the device: to its client it is as any crash. The source does not take it back. */
START_TEST(destination_is_killed_as_owner)
{
    const struct fault fault = { .phase = after_commit[_i], .signal = SIGKILL };
    const struct wish wish = { .timeout_ms = 5000 };
    struct server a;
    struct server b;
    struct outcome o;
    struct client *c;
    struct load l;

    server_start(&a, NULL);
    server_start_faulty(&b, &fault);
    load_start(&l, &a);
    l.may_end = true;
    handover_do(&a, &b, &wish, &o);
    ck_assert_str_eq(o.error, "MigrationFailed");
    ck_assert_str_eq(o.phase, "commit");
    server_wait_fault(&b, &fault);
    load_wait_end(&l);
    load_stop(&l);
    /* The source has an empty device for the next client. */
    c = server_connect(&a);
    ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 0);
    client_free(c);
    server_stop(&a);
    server_clean(&b);
}
END_TEST

/*
 * The source's time is over, and it takes the device back, also where READY was sent and COMMIT is
 * on its way; what the other one does when it goes on harms nobody.
 */
START_TEST(destination_stands_still)
{
    const struct fault fault = { .phase = before_commit[_i], .signal = SIGSTOP };
    const struct wish wish = { .timeout_ms = SHORT_MS, .keep = true };
    struct server a;
    struct server b;
    struct varlink *v;
    struct outcome o;
    struct load l;

    server_start(&a, NULL);
    server_start_faulty(&b, &fault);
    load_start(&l, &a);
    v = handover_begin(&a, &b, &wish);
    server_wait_fault(&b, &fault);
    handover_wait(v, &o);
    ck_assert_str_eq(o.error, "MigrationFailed");
    ck_assert(strstr(o.text, "has not answered within") != NULL);
    load_wait(&l, 5);
    ck_assert_int_eq(kill(b.pid, SIGCONT), 0);
    server_wait_log(&b, "migrate: not received from");
    load_wait(&l, 20);
    ck_assert(server_has_client(&a) && !server_has_client(&b));
    load_stop(&l);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

/* It has read COMMIT and is late: the source tells so, and does not take the device back. */
START_TEST(destination_stands_still_as_owner)
{
    const struct fault fault = { .phase = after_commit[_i], .signal = SIGSTOP };
    const struct wish wish = { .timeout_ms = SHORT_MS };
    struct server a;
    struct server b;
    struct varlink *v;
    struct outcome o;
    struct load l;

    server_start(&a, NULL);
    server_start_faulty(&b, &fault);
    load_start(&l, &a);
    v = handover_begin(&a, &b, &wish);
    server_wait_fault(&b, &fault);
    handover_wait(v, &o);
    ck_assert_str_eq(o.error, "MigrationFailed");
    ck_assert_str_eq(o.phase, "commit");
    ck_assert_int_eq(waitpid(a.pid, NULL, WNOHANG), 0);
    ck_assert_int_eq(kill(b.pid, SIGCONT), 0);
    load_wait(&l, 20);
    load_stop(&l);
    server_wait_log(&a, "migrate: moved to");
    ck_assert_int_eq(server_wait(&a), 0);
    server_remove(&a);
    server_stop(&b);
}
END_TEST

/* Killed with COMMIT unread: the source sees that and goes on. */
START_TEST(destination_is_killed_with_commit_unread)
{
    const struct fault fault = { .phase = "await", .signal = SIGSTOP };
    const struct wish wish = { .timeout_ms = 5000 };
    struct server a;
    struct server b;
    struct varlink *v;
    struct outcome o;
    struct load l;

    server_start(&a, NULL);
    server_start_faulty(&b, &fault);
    load_start(&l, &a);
    v = handover_begin(&a, &b, &wish);
    server_wait_fault(&b, &fault);
    poll(NULL, 0, 100); /* COMMIT goes out */
    ck_assert_int_eq(kill(b.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(b.pid, NULL, 0), b.pid);
    handover_wait(v, &o);
    ck_assert_str_eq(o.phase, "ready");
    load_wait(&l, 20);
    server_wait_log(&a, "the destination has ended before it took the device");
    load_stop(&l);
    server_stop(&a);
    server_clean(&b);
}
END_TEST

/*
 * Faults of the source
 */

static const struct {
    const char *phase;
    bool lives_on; /* the destination takes over */
} source_phases[] = {
    { "offer", false }, { "freeze", false }, { "state", false },
    { "ready", true },  { "commit", true },  { "running", true },
};

START_TEST(source_is_killed)
{
    const struct fault fault = { .phase = source_phases[_i].phase, .signal = SIGKILL };
    const struct wish wish = { .timeout_ms = 5000 };
    struct server a;
    struct server b;
    struct client *c;
    struct load l;

    server_start_faulty(&a, &fault);
    server_start(&b, NULL);
    load_start(&l, &a);
    load_wait(&l, 3);
    l.may_end = !source_phases[_i].lives_on;
    varlink_free(handover_begin(&a, &b, &wish));
    server_wait_fault(&a, &fault);
    if (source_phases[_i].lives_on) {
        load_wait(&l, 20);
        ck_assert(server_has_client(&b));
        server_wait_log(&b, "migrate: received from faulty");
        load_stop(&l);
    } else {
        load_wait_end(&l);
        load_stop(&l);
        c = server_connect(&b); /* as if nothing had been */
        ck_assert_uint_eq(read_reg(c, REG_IRQ_COUNT, 8), 0);
        client_free(c);
    }
    server_clean(&a);
    server_stop(&b);
}
END_TEST

/* The destination's time is over first, or the source's: whoever has the device serves it. */
START_TEST(source_stands_still)
{
    const struct fault fault = { .phase = source_phases[_i].phase, .signal = SIGSTOP };
    const struct wish wish = { .timeout_ms = SHORT_MS, .keep = true };
    bool moves = _i >= 4; /* COMMIT was sent before */
    struct server a;
    struct server b;
    struct varlink *v;
    struct outcome o;
    struct load l;

    server_start_faulty(&a, &fault);
    server_start(&b, NULL);
    load_start(&l, &a);
    v = handover_begin(&a, &b, &wish);
    server_wait_fault(&a, &fault);
    poll(NULL, 0, SHORT_MS + 900); /* the destination is patient for half a second more */
    if (moves)
        load_wait(&l, 5);
    ck_assert_int_eq(kill(a.pid, SIGCONT), 0);
    handover_wait(v, &o);
    ck_assert_msg((o.error[0] == '\0') == moves, "%s %s", o.error, o.text);
    load_wait(&l, 20);
    ck_assert(server_has_client(&b) == moves && server_has_client(&a) == !moves);
    load_stop(&l);
    server_stop(&a);
    server_stop(&b);
}
END_TEST

/* An operator stops one of them in the middle: its end is in order, and the other one has it. */
START_TEST(source_is_told_to_end)
{
    const struct fault fault = { .phase = "state", .signal = SIGTERM };
    const struct wish wish = { .timeout_ms = 5000 };
    struct server a;
    struct server b;
    struct varlink *v;
    struct load l;

    server_start_faulty(&a, &fault);
    server_start(&b, NULL);
    load_start(&l, &a);
    l.may_end = true;
    v = handover_begin(&a, &b, &wish);
    ck_assert_int_eq(server_wait(&a), 0);
    server_remove(&a);
    varlink_free(v);
    if (server_has_client(&b))
        load_wait(&l, 5);
    else
        load_wait_end(&l);
    load_stop(&l);
    server_stop(&b);
}
END_TEST

START_TEST(destination_is_told_to_end)
{
    const struct fault fault = { .phase = "offer", .signal = SIGTERM };
    const struct wish wish = { .timeout_ms = 5000 };
    struct server a;
    struct server b;
    struct outcome o;
    struct load l;

    server_start(&a, NULL);
    server_start_faulty(&b, &fault);
    load_start(&l, &a);
    l.may_end = true;
    handover_do(&a, &b, &wish, &o);
    if (o.error[0] != '\0') {
        load_wait(&l, 5);
        ck_assert(server_has_client(&a));
        load_stop(&l);
        ck_assert_int_eq(kill(a.pid, SIGTERM), 0);
    } else { /* it had the device before it heard of its end */
        load_wait_end(&l);
        load_stop(&l);
    }
    ck_assert_int_eq(server_wait(&a), 0);
    ck_assert_int_eq(server_wait(&b), 0);
    server_remove(&a);
    server_remove(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("handover_faults");
    TCase *tcase = tcase_create("faults");

    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, another_device_is_refused, 0,
                        (int)(sizeof(refusals) / sizeof(refusals[0])));
    tcase_add_test(tcase, destination_with_a_client_is_busy);
    tcase_add_test(tcase, to_itself_and_to_nobody);
    tcase_add_test(tcase, device_that_is_moved_otherwise);
    tcase_add_test(tcase, rights_are_those_of_the_caller);
    tcase_add_loop_test(tcase, destination_is_killed, 0, N_BEFORE_COMMIT);
    tcase_add_loop_test(tcase, destination_is_killed_as_owner, 0, 2);
    tcase_add_loop_test(tcase, destination_stands_still, 0, N_BEFORE_COMMIT);
    tcase_add_loop_test(tcase, destination_stands_still_as_owner, 0, 2);
    tcase_add_test(tcase, destination_is_killed_with_commit_unread);
    tcase_add_loop_test(tcase, source_is_killed, 0, 6);
    tcase_add_loop_test(tcase, source_stands_still, 0, 6);
    tcase_add_test(tcase, source_is_told_to_end);
    tcase_add_test(tcase, destination_is_told_to_end);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
