/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ctl.h"
#include "format.h"

/*
 * Events for people
 */

static void print_pid_and_uid(struct json_object *client)
{
    printf("pid %lld, uid ", ctl_int(client, "pid"));
    if (ctl_get(client, "uid") != NULL)
        printf("%lld", ctl_int(client, "uid"));
    else
        fputs("unknown", stdout);
}

static void print_attached(struct json_object *event)
{
    struct json_object *client = ctl_get(event, "client");

    print_pid_and_uid(client);
    printf(", protocol %s, profile %s", ctl_string(client, "protocol"),
           ctl_string(client, "profile"));
}

static void print_monitoring(struct json_object *event)
{
    if (ctl_get(event, "client") == NULL) {
        fputs("no client is attached", stdout);
        return;
    }
    fputs("attached: ", stdout);
    print_attached(event);
}

static void print_detached(struct json_object *event)
{
    struct json_object *client = ctl_get(event, "client");
    char buf[2][FORMAT_BYTES];

    printf("pid %lld: %s; %s, %s", ctl_int(client, "pid"), ctl_string(event, "reason"),
           format_count(ctl_int(client, "requests"), "request", buf[0]),
           format_count(ctl_int(client, "errors"), "error", buf[1]));
}

static void print_refused(struct json_object *event)
{
    printf("pid %lld: %s", ctl_int(event, "pid"), ctl_string(event, "reason"));
}

static void print_interrupt(struct json_object *event)
{
    bool pending = strcmp(ctl_string(event, "delivered"), "pending") == 0;

    printf("%s", ctl_string(event, "index"));
    if (strcmp(ctl_string(event, "index"), "intx") != 0)
        printf(" %lld", ctl_int(event, "vector"));
    printf(" %s%s", pending ? "" : "delivered by ", ctl_delivery(event));
    if (ctl_get(event, "reason") != NULL)
        printf(": %s", ctl_string(event, "reason"));
}

static void print_reset(struct json_object *event)
{
    printf("by the %s", ctl_string(event, "by"));
}

static void print_range(struct json_object *event)
{
    char size[FORMAT_BYTES];

    if (ctl_get(event, "size") == NULL) {
        fputs("all", stdout);
        return;
    }
    printf("0x%llx, %s", (unsigned long long)ctl_int(event, "iova"),
           format_size(ctl_int(event, "size"), size));
}

static void print_map(struct json_object *event)
{
    print_range(event);
    printf(", %s", ctl_bool(event, "shared") ? "shared" : "by message");
}

static void print_migration(struct json_object *event)
{
    fputs(ctl_string(event, "phase"), stdout);
}

static void print_lost(struct json_object *event)
{
    char buf[FORMAT_BYTES];

    printf("%s: this reader was too slow", format_count(ctl_int(event, "count"), "event", buf));
}

static const struct kind {
    const char *name;
    enum format_style style;
    void (*print)(struct json_object *event);
} kinds[] = {
    { "monitoring", FORMAT_LABEL, print_monitoring },
    { "client-attached", FORMAT_GOOD, print_attached },
    { "client-detached", FORMAT_WARNING, print_detached },
    { "client-refused", FORMAT_BAD, print_refused },
    { "interrupt", FORMAT_PLAIN, print_interrupt },
    { "reset", FORMAT_WARNING, print_reset },
    { "dma-map", FORMAT_PLAIN, print_map },
    { "dma-unmap", FORMAT_PLAIN, print_range },
    { "migration", FORMAT_GOOD, print_migration },
    { "lost", FORMAT_BAD, print_lost },
};

static void print_event(struct json_object *reply)
{
    struct json_object *event = ctl_get(reply, "event");
    const char *name = ctl_string(event, "kind");
    const struct kind *kind = NULL;
    char when[FORMAT_BYTES];

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(name, kinds[i].name) == 0)
            kind = &kinds[i];
    }
    if (kind == NULL) {
        printf("%s  %s\n", format_time(ctl_int(event, "time"), when), name);
        return;
    }
    printf("%s  %s%-15s%s  ", format_time(ctl_int(event, "time"), when), format_style(kind->style),
           name, format_style(FORMAT_PLAIN));
    kind->print(event);
    putchar('\n');
}

/*
 * The loop
 */

/* SIGINT and SIGTERM as an fd; one that is ignored stays so. Returns -errno. */
static int catch_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -errno;
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Waits for the daemon; false: for no more, a signal came or nobody reads our output any longer. */
static bool wait_for_more(const struct ctl_link *link, int signals)
{
    struct pollfd polls[] = { { .fd = ctl_link_fd(link), .events = POLLIN },
                              { .fd = signals, .events = POLLIN },
                              { .fd = STDOUT_FILENO } };

    while (poll(polls, 3, -1) < 0) {
        if (errno != EINTR)
            return false;
    }
    return polls[1].revents == 0 && (polls[2].revents & (POLLERR | POLLHUP)) == 0;
}

/* Prints replies, of which reply is the first, until the daemon or the operator ends it. */
static int follow(const struct ctl *ctl, struct ctl_link *link, int signals,
                  struct json_object *reply)
{
    int status = CTL_DONE;

    while (status == CTL_DONE) {
        if (reply != NULL) {
            ctl_print_reply(ctl, reply, print_event);
            json_object_put(reply);
            if (fflush(stdout) != 0)
                break;
        } else if (!wait_for_more(link, signals)) {
            break;
        }
        status = ctl_take(link, &reply);
    }
    return status;
}

static int run(const struct ctl *ctl, const struct ctl_args *args)
{
    struct json_object *reply;
    struct ctl_link *link;
    int signals;
    int status = ctl_connect(ctl, &link);

    (void)args;
    if (status != CTL_DONE)
        return status;
    status = ctl_send(link, "Monitor", NULL, "more");
    if (status == CTL_DONE)
        status = ctl_receive(link, &reply);
    if (status == CTL_DONE) {
        signals = catch_signals();
        status = follow(ctl, link, signals, reply);
        if (signals >= 0)
            close(signals);
    }
    ctl_disconnect(link);
    return status;
}

const struct ctl_command ctl_monitor = {
    .name = "monitor",
    .summary = "print what happens as it happens, until interrupted",
    .help =
        "One line an event: clients that attach, detach or are turned away, interrupts, resets,\n"
        "memory mapped and unmapped. Ends with 0 at SIGINT, and with 3 when the daemon ends.\n",
    .run = run,
};
