/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture_file.h"
#include "ctl.h"
#include "format.h"
#include "peer.h"

#define SNAPLEN_MIN 16
#define SNAPLEN_MAX 262144

#define DURATION_MAX 1e9

/* The daemon has this long to send the rest when it has been told to end. */
#define END_MS 6000

#define NEVER (INT64_MAX / 2)

enum option { SNAPLEN, DURATION, LIMIT };

static const struct ctl_option options[] = {
    [SNAPLEN] = { .name = "snaplen",
                  .value = "N",
                  .max = SNAPLEN_MAX,
                  .help = "keep at most N bytes of a message, 16 or more; default 65535" },
    [DURATION] = { .name = "duration", .value = "S", .help = "end after S seconds" },
    [LIMIT] = { .name = "limit",
                .value = "SIZE",
                .help = "end before FILE is longer than SIZE bytes, 4 KiB or more;\n"
                        "K, M and G are units of 1024" },
    { 0 },
};

/* What the command line asks for. */
struct wish {
    const char *path;
    long snaplen; /* 0: the daemon's default */
    double duration;
    uint64_t limit; /* 0: none */
};

struct run {
    const struct ctl *ctl;
    struct ctl_link *link;
    struct capture_file *file;
    sigset_t open; /* while it waits, signals come in */
    int64_t deadline;
    const char *reason; /* why it ends; NULL: it goes on */
};

/* Signals so far, and whether the user has lost patience: read by capture_file_take. */
static volatile int signals;
static volatile int impatient;

/*
 * Options
 */

/* "4096", "64K", "1.5M", "2G". Returns false for anything else. */
static bool parse_size(const char *text, uint64_t *out)
{
    static const char units[] = "KMG";
    const char *unit;
    char *end;
    double value;

    if (text[0] < '0' || text[0] > '9')
        return false;
    value = strtod(text, &end);
    unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (unit != NULL) {
        value = ldexp(value, 10 * (int)(unit - units + 1));
        end++;
    }
    if (*end != '\0' || !(value < 0x1p62))
        return false;
    *out = (uint64_t)value;
    return true;
}

static bool parse_seconds(const char *text, double *out)
{
    char *end;

    if ((text[0] < '0' || text[0] > '9') && text[0] != '.')
        return false;
    *out = strtod(text, &end);
    return *end == '\0' && *out > 0 && *out <= DURATION_MAX;
}

/* Returns CTL_DONE, or says what is wrong. */
static int parse(const struct ctl_args *args, struct wish *out)
{
    const char *snaplen = args->options[SNAPLEN];
    const char *duration = args->options[DURATION];
    const char *limit = args->options[LIMIT];

    *out = (struct wish) { .path = args->argument };
    if (snaplen != NULL)
        out->snaplen = strtol(snaplen, NULL, 10);
    if (snaplen != NULL && out->snaplen < SNAPLEN_MIN)
        return ctl_bad_usage(&ctl_capture, "--snaplen takes a number from %d to %d, not %s",
                             SNAPLEN_MIN, SNAPLEN_MAX, snaplen);
    if (duration != NULL && !parse_seconds(duration, &out->duration))
        return ctl_bad_usage(&ctl_capture, "--duration takes seconds, not %s", duration);
    if (limit != NULL && (!parse_size(limit, &out->limit) || out->limit < CAPTURE_FILE_LIMIT_MIN))
        return ctl_bad_usage(&ctl_capture, "--limit takes a size of at least 4K, not %s", limit);
    if (strcmp(out->path, "-") == 0 && isatty(STDOUT_FILENO))
        return ctl_bad_usage(&ctl_capture, "standard output is a terminal: give a file");
    return CTL_DONE;
}

/*
 * The run
 */

static void on_signal(int signum)
{
    (void)signum;
    impatient = signals > 0;
    signals = 1;
}

/* Signals come in only while it waits for the daemon, or for a reader of ours. */
static void catch_signals(struct run *r)
{
    const struct sigaction action = { .sa_handler = on_signal };
    sigset_t blocked;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &r->open);
    sigdelset(&r->open, SIGINT);
    sigdelset(&r->open, SIGTERM);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* Tells the daemon that this is enough: it sends the rest, and the last numbers. */
static void begin_end(struct run *r, const char *reason)
{
    if (r->reason != NULL)
        return;
    r->reason = reason;
    r->deadline = peer_deadline(END_MS);
    shutdown(ctl_link_fd(r->link), SHUT_WR);
}

/* Waits until there is something to read; returns false when it need not, or will not, come. */
static bool wait_for_more(struct run *r)
{
    struct pollfd p = { .fd = ctl_link_fd(r->link), .events = POLLIN };

    for (;;) {
        int64_t left = r->deadline - peer_deadline(0);
        const struct timespec wait = { .tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000 };

        if (signals > 0)
            begin_end(r, "interrupted");
        if (impatient || (left <= 0 && r->reason != NULL))
            return false;
        if (left <= 0)
            begin_end(r, "duration");
        else if (ppoll(&p, 1, &wait, &r->open) > 0)
            return true;
    }
}

/* Moves what has come to the file. Returns 0, -ENOTCONN at the end, or another -errno. */
static int move_some(struct run *r)
{
    struct capture_totals totals;
    sigset_t before;
    size_t size;
    uint8_t *room = capture_file_room(r->file, &size);
    int n = ctl_read(r->link, room, size);
    int err;

    if (n < 0)
        return n;
    /* A FIFO that nobody reads must not keep us from being interrupted. */
    sigprocmask(SIG_SETMASK, &r->open, &before);
    err = capture_file_take(r->file, (size_t)n, &impatient);
    sigprocmask(SIG_SETMASK, &before, NULL);
    capture_file_totals(r->file, &totals);
    if (totals.full)
        begin_end(r, "limit");
    return err;
}

static int run_capture(struct run *r)
{
    int err = move_some(r); /* what came behind the reply */

    while (err == 0 && wait_for_more(r))
        err = move_some(r);
    if (err == -EPIPE) {
        begin_end(r, "reader");
        err = 0;
    }
    return err == -ENOTCONN || err == -EINTR ? 0 : err; /* -EINTR: the user has lost patience */
}

/*
 * The outcome
 */

static void print_json(const struct wish *wish, const char *reason,
                       const struct capture_totals *totals)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "file", json_object_new_string(wish->path));
    json_object_object_add(o, "packets", json_object_new_int64((int64_t)totals->packets));
    json_object_object_add(o, "bytes", json_object_new_int64((int64_t)totals->bytes));
    json_object_object_add(o, "dropped", json_object_new_int64((int64_t)totals->dropped));
    json_object_object_add(o, "ended", json_object_new_string(reason));
    if (strcmp(wish->path, "-") == 0)
        fprintf(stderr, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
    else
        ctl_print_json(o);
    json_object_put(o);
}

/* On standard error: standard output may be the file. */
static void print_summary(const struct capture_totals *totals, const char *reason)
{
    static const struct {
        const char *reason;
        const char *text;
    } words[] = {
        { "limit", "; the limit is reached" },
        { "daemon", "; the daemon has ended it" },
        { "reader", "; nobody reads any more" },
    };
    char packets[FORMAT_BYTES];
    char size[FORMAT_BYTES];

    fprintf(stderr, "vfuctl: %s, %s, %llu dropped",
            format_count((long long)totals->packets, "message", packets),
            format_size((long long)totals->bytes, size), (unsigned long long)totals->dropped);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(reason, words[i].reason) == 0)
            fputs(words[i].text, stderr);
    }
    fputc('\n', stderr);
}

static int report(const struct run *r, const struct wish *wish, int err)
{
    const char *reason = r->reason != NULL ? r->reason : "daemon";
    struct capture_totals totals;

    capture_file_totals(r->file, &totals);
    if (r->ctl->json)
        print_json(wish, reason, &totals);
    else if (!r->ctl->quiet)
        print_summary(&totals, reason);
    if (err == 0 && (totals.complete || impatient || strcmp(reason, "reader") == 0))
        return CTL_DONE;
    if (err == 0) {
        fprintf(stderr, "vfuctl: the daemon is gone: %s ends early\n", wish->path);
        return CTL_UNREACHABLE;
    }
    fprintf(stderr, "vfuctl: %s: %s\n", wish->path,
            err == -EBADMSG ? "the daemon sends no pcapng stream" : strerror(-err));
    return CTL_REFUSED;
}

static int ask(struct ctl_link *link, const struct wish *wish)
{
    struct json_object *parameters = json_object_new_object();
    struct json_object *reply;
    int status;

    if (wish->snaplen != 0)
        json_object_object_add(parameters, "snaplen", json_object_new_int64(wish->snaplen));
    status = ctl_send(link, "Capture", parameters, "upgrade");
    if (status == CTL_DONE)
        status = ctl_receive(link, &reply);
    if (status == CTL_DONE)
        json_object_put(reply);
    return status;
}

static int run(const struct ctl *ctl, const struct ctl_args *args)
{
    struct run r = { .ctl = ctl, .deadline = NEVER };
    struct wish wish;
    bool begun = false;
    int status = parse(args, &wish);
    int err;

    if (status == CTL_DONE)
        status = ctl_connect(ctl, &r.link);
    if (status != CTL_DONE)
        return status;
    err = capture_file_open(wish.path, wish.limit, &r.file);
    if (err != 0) {
        fprintf(stderr, "vfuctl: %s: %s\n", wish.path, strerror(-err));
        status = CTL_REFUSED;
    } else {
        status = ask(r.link, &wish);
        begun = status == CTL_DONE;
    }
    if (begun) {
        if (wish.duration > 0)
            r.deadline = peer_deadline(0) + (int64_t)(wish.duration * 1000);
        catch_signals(&r);
        if (isatty(STDERR_FILENO) && !ctl->quiet)
            fprintf(stderr, "vfuctl: capturing; Ctrl-C ends it\n");
        status = report(&r, &wish, run_capture(&r));
    }
    err = capture_file_close(r.file, !begun);
    if (begun && status == CTL_DONE && err != 0) {
        fprintf(stderr, "vfuctl: %s: %s\n", wish.path, strerror(-err));
        status = CTL_REFUSED;
    }
    ctl_disconnect(r.link);
    return status;
}

const struct ctl_command ctl_capture = {
    .name = "capture",
    .summary = "write the vfio-user traffic to a file that Wireshark reads",
    .argument = { .name = "file",
                  .value = "FILE",
                  .help = "a new file, or a FIFO; - for standard output" },
    .options = options,
    .help = "Both directions, of all connections, from now on; it may begin before a client is\n"
            "there. It ends by itself with --duration or --limit, on SIGINT or SIGTERM, or with\n"
            "the daemon; FILE is complete then. The guest never waits for it: messages that\n"
            "find no room are dropped, and counted. FILE holds what the guest reads and writes.\n",
    .run = run,
};
