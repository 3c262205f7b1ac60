/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon under a service manager, which is this test: passed sockets, and what it tells. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "integration/live_kit.h"
#include "suite.h"

#define FIRST_PASSED_FD 3
#define MESSAGE_BYTES   1024

/* What it is started with. */
struct setup {
    char dir[32];              /* of the manager's and the passed sockets */
    int manager;               /* the datagram socket it tells things to; -1: none */
    char notify[64];           /* its path */
    const char *watchdog_usec; /* NULL: none */
    int fds[2];                /* passed */
    unsigned n_fds;
    const char *names;          /* of the passed fds */
    const char *const *options; /* more of them, NULL at the end */
};

static void run(const struct server *s, void *arg)
{
    const struct setup *setup = arg;
    const char *argv[16] = { "vfio-userd" };
    char number[16];
    int copies[2];
    int n = 1;

    if (setup->manager >= 0)
        setenv("NOTIFY_SOCKET", setup->notify, 1);
    if (setup->watchdog_usec != NULL)
        setenv("WATCHDOG_USEC", setup->watchdog_usec, 1);
    for (unsigned i = 0; i < setup->n_fds; i++)
        copies[i] = fcntl(setup->fds[i], F_DUPFD_CLOEXEC, 100); /* out of the way */
    for (unsigned i = 0; i < setup->n_fds; i++)
        dup2(copies[i], FIRST_PASSED_FD + (int)i);
    if (setup->n_fds > 0) {
        snprintf(number, sizeof(number), "%u", setup->n_fds);
        setenv("LISTEN_FDS", number, 1);
        snprintf(number, sizeof(number), "%d", (int)getpid());
        setenv("LISTEN_PID", number, 1);
        setenv("LISTEN_FDNAMES", setup->names, 1);
    } else {
        argv[n++] = "--socket-path";
        argv[n++] = s->socket;
        argv[n++] = "--control-path";
        argv[n++] = s->control;
    }
    for (int i = 0; setup->options != NULL && setup->options[i] != NULL; i++)
        argv[n++] = setup->options[i];
    server_exec(s, argv);
}

static int bound_socket(const char *path, int type)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    unlink(path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    if (type == SOCK_STREAM)
        ck_assert_int_eq(listen(fd, 16), 0);
    return fd;
}

static void manager_open(struct setup *setup)
{
    *setup = (struct setup) { .manager = -1, .dir = "/tmp/vfio-userd-test.XXXXXX" };
    ck_assert_ptr_nonnull(mkdtemp(setup->dir));
    snprintf(setup->notify, sizeof(setup->notify), "%s/notify", setup->dir);
    setup->manager = bound_socket(setup->notify, SOCK_DGRAM);
}

static void manager_close(struct setup *setup)
{
    close(setup->manager);
    unlink(setup->notify);
    ck_assert_int_eq(rmdir(setup->dir), 0);
}

/* The next message within ms, or "". */
static const char *told(const struct setup *setup, int ms)
{
    static char text[MESSAGE_BYTES];
    struct pollfd p = { .fd = setup->manager, .events = POLLIN };
    ssize_t n = poll(&p, 1, ms) == 1 ? recv(setup->manager, text, sizeof(text) - 1, 0) : 0;

    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    return text;
}

/* Until a message with that text comes; others are passed over. */
static void wait_told(const struct setup *setup, const char *want)
{
    int64_t until = now_ms() + 3000;
    const char *text = "";

    while (now_ms() < until && strstr(text, want) == NULL)
        text = told(setup, 100);
    ck_assert_msg(strstr(text, want) != NULL, "never told: %s", want);
}

START_TEST(ready_when_both_sockets_answer)
{
    struct setup setup;
    struct server s;

    manager_open(&setup);
    server_fork(&s, run, &setup);
    ck_assert_str_eq(told(&setup, 5000),
                     "READY=1\nSTATUS=no client, timer not armed, 0 interrupts");
    client_free(server_connect(&s)); /* at once, both */
    json_object_put(server_status(&s));
    server_stop(&s);
    wait_told(&setup, "STOPPING=1\nSTATUS=stopping: SIGTERM");
    manager_close(&setup);
}
END_TEST

START_TEST(the_status_follows)
{
    const uint64_t past = 1;
    char text[96];
    struct setup setup;
    struct server s;
    struct client *c;

    manager_open(&setup);
    server_fork(&s, run, &setup);
    wait_told(&setup, "READY=1");
    c = server_connect(&s);
    snprintf(text, sizeof(text), "STATUS=client %d attached, timer not armed, 0 interrupts",
             (int)getpid());
    wait_told(&setup, text);
    write_reg(c, REG_TIMER_SEC, (uint64_t)now_ns() / 1000000000 + 1000, 8);
    wait_told(&setup, "attached, timer armed, 0 interrupts");
    write_reg(c, REG_TIMER_SEC, past, 8);
    wait_told(&setup, "attached, timer not armed, 1 interrupt");
    client_free(c);
    wait_told(&setup, "STATUS=no client, timer not armed, ");
    server_stop(&s);
    manager_close(&setup);
}
END_TEST

/* Many changes are few messages; none, none, and no wake-up. */
START_TEST(the_status_is_no_burden)
{
    struct setup setup;
    struct server s;
    struct client *c;
    int64_t until;
    unsigned messages = 0;
    long before;

    manager_open(&setup);
    server_fork(&s, run, &setup);
    wait_told(&setup, "READY=1");
    c = server_connect(&s);
    until = now_ms() + 2500;
    for (uint64_t i = 0; now_ms() < until; i++)
        write_reg(c, REG_TIMER_SEC, i % 2 == 0 ? 0 : (uint64_t)now_ns() / 1000000000 + 1000, 8);
    while (told(&setup, 1500)[0] != '\0')
        messages++;
    ck_assert_uint_ge(messages, 1);
    ck_assert_uint_le(messages, 4);
    before = server_status_value(&s, "voluntary_ctxt_switches");
    ck_assert_str_eq(told(&setup, 1500), "");
    ck_assert_int_eq(server_status_value(&s, "voluntary_ctxt_switches"), before);
    client_free(c);
    server_stop(&s);
    manager_close(&setup);
}
END_TEST

START_TEST(the_watchdog_is_fed_while_the_loop_turns)
{
    struct setup setup;
    struct server s;
    int64_t until;
    unsigned beats = 0;

    manager_open(&setup);
    setup.watchdog_usec = "200000";
    server_fork(&s, run, &setup);
    wait_told(&setup, "READY=1");
    until = now_ms() + 1050;
    while (now_ms() < until)
        beats += strcmp(told(&setup, 50), "WATCHDOG=1") == 0;
    ck_assert_uint_ge(beats, 7); /* each 100 ms; a busy machine may be late */
    ck_assert_uint_le(beats, 11);
    ck_assert_int_eq(kill(s.pid, SIGSTOP), 0);
    while (told(&setup, 50)[0] != '\0')
        ;
    ck_assert_str_eq(told(&setup, 500), "");
    ck_assert_int_eq(kill(s.pid, SIGCONT), 0);
    wait_told(&setup, "WATCHDOG=1");
    server_stop(&s);
    manager_close(&setup);
}
END_TEST

static void hang_up(const struct server *s)
{
    ck_assert_int_eq(kill(s->pid, SIGHUP), 0);
}

/* It may take more of them than the watchdog's time is long. */
START_TEST(reloads_are_told_and_leave_the_watchdog)
{
    struct setup setup;
    struct server s;
    unsigned beats = 0;
    unsigned ready = 0;

    manager_open(&setup);
    setup.watchdog_usec = "200000";
    server_fork(&s, run, &setup);
    wait_told(&setup, "READY=1");
    hang_up(&s);
    wait_told(&setup, "RELOADING=1\nMONOTONIC_USEC=");
    wait_told(&setup, "READY=1\nSTATUS=no client");
    for (int i = 0; i < 20; i++) {
        const char *text;

        hang_up(&s);
        while ((text = told(&setup, 50))[0] != '\0') {
            beats += strcmp(text, "WATCHDOG=1") == 0;
            ready += strncmp(text, "READY=1", 7) == 0;
        }
    }
    ck_assert_uint_eq(ready, 20);
    ck_assert_uint_ge(beats, 7); /* in a second and more */
    server_stop(&s);
    manager_close(&setup);
}
END_TEST

/* A manager that reads nothing is not waited for, and learns in the end how things stand. */
START_TEST(a_stuck_manager_stops_nothing)
{
    const char *text;
    struct setup setup;
    struct server s;
    bool ready = true;

    manager_open(&setup);
    server_fork(&s, run, &setup);
    wait_told(&setup, "READY=1");
    for (int i = 0; i < 2000; i++) {
        hang_up(&s);
        if (i % 100 == 0)
            ck_assert_int_lt(server_status_call(&s), 1000);
    }
    client_free(server_connect(&s));
    while ((text = told(&setup, 2 * 1000))[0] != '\0')
        ready = strncmp(text, "READY=1", 7) == 0 || (ready && strncmp(text, "STATUS=", 7) == 0);
    ck_assert(ready); /* not RELOADING for ever */
    server_stop(&s);
    manager_close(&setup);
}
END_TEST

/* The sockets are the manager's: they are served, and left where they are. */
static void serve_passed(const char *names, bool device_first)
{
    struct setup setup;
    struct server s;
    struct stat st;
    char device_path[64];
    char control_path[64];
    int device;
    int control;

    manager_open(&setup);
    snprintf(device_path, sizeof(device_path), "%s/d", setup.dir);
    snprintf(control_path, sizeof(control_path), "%s/c", setup.dir);
    device = bound_socket(device_path, SOCK_STREAM);
    control = bound_socket(control_path, SOCK_STREAM);
    setup.fds[0] = device_first ? device : control;
    setup.fds[1] = device_first ? control : device;
    setup.n_fds = 2;
    setup.names = names;
    server_fork(&s, run, &setup);
    strcpy(s.socket, device_path);
    strcpy(s.control, control_path);
    wait_told(&setup, "READY=1");
    client_free(server_connect(&s));
    json_object_put(server_status(&s));
    ck_assert(server_log_has(&s, s.socket)); /* it says where it serves */
    ck_assert_int_eq(kill(s.pid, SIGTERM), 0);
    ck_assert_int_eq(server_wait(&s), 0);
    ck_assert_int_eq(stat(s.socket, &st), 0);
    ck_assert_int_eq(stat(s.control, &st), 0);
    close(server_connect_raw(&s)); /* the next daemon will serve it */
    unlink(s.socket);
    unlink(s.control);
    server_remove(&s);
    close(device);
    close(control);
    manager_close(&setup);
}

START_TEST(passed_sockets_are_served)
{
    serve_passed("device:control", true);
    serve_passed("control:device", false);
}
END_TEST

static void refuse(int fd, unsigned n, const char *names, const char *const *options, int status,
                   const char *reason)
{
    struct setup setup = {
        .manager = -1, .fds = { fd, fd }, .n_fds = n, .names = names, .options = options
    };
    struct server s;

    server_fork(&s, run, &setup);
    ck_assert_int_eq(server_wait(&s), status);
    ck_assert_msg(server_log_has(&s, reason), "the log does not say: %s", reason);
    server_remove(&s);
}

START_TEST(passed_sockets_are_checked)
{
    static const char *const with_path[] = { "--socket-path", "/tmp/none/device.sock", NULL };
    static const char *const with_control[] = { "--control-path", "/tmp/none/device.sock", NULL };
    int stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_un any = { .sun_family = AF_UNIX };
    int pair[2];

    ck_assert_int_eq(bind(stream, (const struct sockaddr *)&any, sizeof(sa_family_t)), 0);
    ck_assert_int_eq(listen(stream, 1), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    refuse(stream, 1, "vfio-userd@dev0.socket", NULL, 2, "passed socket 3 as \"vfio-userd@dev0");
    refuse(stream, 2, "device:device", NULL, 2, "passed socket 4 as \"device\"");
    refuse(datagram, 1, "device", NULL, 2, "no listening UNIX stream socket");
    refuse(datagram, 1, "control", NULL, 2, "no listening UNIX stream socket");
    refuse(pair[0], 1, "device", NULL, 2, "no listening UNIX stream socket");
    refuse(stream, 1, "control", NULL, 2, "one of --instance, --socket-path and --fd");
    refuse(stream, 1, "device", with_path, 2, "the service manager passes it too");
    refuse(stream, 2, "control:device", with_control, 2, "the service manager passes it too");
    close(stream);
    close(datagram);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

/* A status is one line, whatever stands in the description. */
START_TEST(a_failed_start_is_one_line)
{
    static const char *options[] = { "--config", NULL, NULL };
    char path[64];
    struct setup setup;
    struct server s;
    FILE *file;

    manager_open(&setup);
    snprintf(path, sizeof(path), "%s/d.json", setup.dir);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("{\"bar1\": {\"size\": \"1\\nREADY=1\\nX\"}}", file);
    fclose(file);
    options[1] = path;
    setup.options = options;
    server_fork(&s, run, &setup);
    ck_assert_ptr_null(strstr(told(&setup, 5000), "\nREADY=1"));
    ck_assert_int_eq(server_wait(&s), 78);
    unlink(path);
    server_remove(&s);
    manager_close(&setup);
}
END_TEST

/* What is wrong with a description is told before the end. */
START_TEST(a_failed_start_is_told)
{
    static const char *const options[] = { "--config", "/tmp/vfio-userd.none.json", NULL };
    struct setup setup;
    struct server s;

    manager_open(&setup);
    setup.options = options;
    server_fork(&s, run, &setup);
    ck_assert_str_eq(told(&setup, 5000),
                     "ERRNO=2\nSTATUS=/tmp/vfio-userd.none.json: No such file or directory");
    ck_assert_int_eq(server_wait(&s), 78);
    server_remove(&s);
    manager_close(&setup);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("service");
    TCase *tcase = tcase_create("service");

    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, ready_when_both_sockets_answer);
    tcase_add_test(tcase, the_status_follows);
    tcase_add_test(tcase, the_status_is_no_burden);
    tcase_add_test(tcase, the_watchdog_is_fed_while_the_loop_turns);
    tcase_add_test(tcase, reloads_are_told_and_leave_the_watchdog);
    tcase_add_test(tcase, a_stuck_manager_stops_nothing);
    tcase_add_test(tcase, passed_sockets_are_served);
    tcase_add_test(tcase, passed_sockets_are_checked);
    tcase_add_test(tcase, a_failed_start_is_told);
    tcase_add_test(tcase, a_failed_start_is_one_line);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
