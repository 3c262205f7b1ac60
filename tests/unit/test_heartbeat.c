/* SPDX-License-Identifier: BSD-3-Clause */
/* The heartbeat on a loop of its own, with a service manager that is this test. */
#define _GNU_SOURCE
#include "heartbeat.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit/fakes.h"

static int manager;
static struct service *service;
static uv_loop_t loop;
static struct heartbeat beat;
static const char *status;

static void describe(void *opaque, char *text, size_t size)
{
    ck_assert_ptr_eq(opaque, &status);
    snprintf(text, size, "%s", status);
}

static void begin(const char *watchdog_usec)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/vfio-userd-beat.%d", (int)getpid());
    ck_assert_int_eq(bind(manager, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    setenv("NOTIFY_SOCKET", addr.sun_path, 1);
    if (watchdog_usec != NULL)
        setenv("WATCHDOG_USEC", watchdog_usec, 1);
    ck_assert_int_eq(service_new("test", &service), 0);
    status = "one";
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(heartbeat_init(&beat, &loop, service, describe, &status), 0);
    heartbeat_ready(&beat);
}

static void end(void)
{
    heartbeat_fini(&beat);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    service_free(service);
    unlink(getenv("NOTIFY_SOCKET"));
    close(manager);
}

/* What has been told, "" for nothing. */
static const char *told(void)
{
    static char text[1024];
    ssize_t n = recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static unsigned count_beats(void)
{
    const char *text;
    unsigned n = 0;

    while ((text = told())[0] != '\0')
        n += strcmp(text, "WATCHDOG=1") == 0;
    return n;
}

static void stop_loop(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void run_for(uint64_t ms)
{
    uv_timer_t timer;

    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, stop_loop, ms, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static unsigned beats_while_stuck;

static void get_stuck(uv_timer_t *timer)
{
    (void)timer;
    count_beats();
    poll(NULL, 0, 300);
    beats_while_stuck = count_beats();
}

START_TEST(no_beat_from_a_stuck_loop)
{
    uv_timer_t stuck;

    begin("40000");
    run_for(200);
    ck_assert_uint_ge(count_beats(), 3); /* each 20 ms */
    uv_timer_init(&loop, &stuck);
    uv_timer_start(&stuck, get_stuck, 1, 0);
    beats_while_stuck = 1;
    run_for(500);
    ck_assert_uint_eq(beats_while_stuck, 0);
    ck_assert_uint_ge(count_beats(), 3);
    uv_close((uv_handle_t *)&stuck, NULL);
    end();
}
END_TEST

START_TEST(status_with_the_beat)
{
    const char *text;

    begin("40000");
    ck_assert_str_eq(told(), "READY=1\nSTATUS=one");
    status = "two";
    run_for(100);
    do {
        text = told();
        ck_assert_str_ne(text, "");
    } while (strcmp(text, "STATUS=two") != 0);
    end();
}
END_TEST

START_TEST(an_idle_loop_is_not_woken)
{
    begin(NULL);
    ck_assert_str_eq(told(), "READY=1\nSTATUS=one");
    run_for(1);                         /* something has happened */
    run_for(HEARTBEAT_STATUS_MS + 200); /* and was looked at */
    ck_assert_int_eq(beat.interval_ns, 0);
    ck_assert_str_eq(told(), "");
    status = "two";
    run_for(1);
    ck_assert_str_eq(told(), ""); /* not at once */
    run_for(HEARTBEAT_STATUS_MS + 200);
    ck_assert_str_eq(told(), "STATUS=two");
    ck_assert_str_eq(told(), "");
    end();
}
END_TEST

START_TEST(nobody_to_tell)
{
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    ck_assert_int_eq(service_new("test", &service), 0);
    ck_assert(!service_is_told(service));
    ck_assert_uint_eq(service_watchdog_usec(service), 0);
    ck_assert_int_eq(service_take_fd(service, SERVICE_FD_DEVICE), -1);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(heartbeat_init(&beat, &loop, service, describe, &status), 0);
    heartbeat_ready(&beat);
    ck_assert(!uv_is_active((uv_handle_t *)&beat.turn));
    ck_assert_ptr_null(beat.watchdog);
    ck_assert_ptr_null(beat.status);
    heartbeat_fini(&beat);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    service_free(service);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nobody_to_tell,
        no_beat_from_a_stuck_loop,
        status_with_the_beat,
        an_idle_loop_is_not_woken,
    };

    /* In a build without libsystemd there is never anybody to tell. */
    return fake_run("heartbeat", tests, service_available() ? ARRAY_SIZE(tests) : 1, NULL, 0);
}
