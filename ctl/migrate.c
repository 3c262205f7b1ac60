/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "format.h"

#define TIMEOUT_DEFAULT 15.0
#define TIMEOUT_MAX     3600.0

/* The daemon answers by itself when its time is over; this is for one that does not. */
#define GRACE_MS 5000

enum option { TO, KEEP, TIMEOUT };

static const struct ctl_option options[] = {
    [TO] = { .name = "to",
             .value = "DEST",
             .help = "the destination: an instance, or its control socket's path; needed" },
    [KEEP] = { .name = "keep", .help = "the source stays, as an empty device" },
    [TIMEOUT] = { .name = "timeout",
                  .value = "S",
                  .help = "give up, and go on here, after S seconds; default 15" },
    { 0 },
};

struct wish {
    const char *to;
    bool keep;
    int timeout_ms;
};

static int parse(const struct ctl_args *args, struct wish *out)
{
    const char *timeout = args->options[TIMEOUT];
    double seconds = TIMEOUT_DEFAULT;
    char *end = NULL;

    *out = (struct wish) { .to = args->options[TO], .keep = args->options[KEEP] != NULL };
    if (out->to == NULL || out->to[0] == '\0')
        return ctl_bad_usage(&ctl_migrate, "--to is needed: the destination");
    if (timeout != NULL)
        seconds = strtod(timeout, &end);
    if ((end != NULL && *end != '\0') || !(seconds >= 0.001 && seconds <= TIMEOUT_MAX))
        return ctl_bad_usage(&ctl_migrate, "--timeout takes seconds, 0.001 to %.0f, not %s",
                             TIMEOUT_MAX, timeout);
    out->timeout_ms = (int)(seconds * 1000);
    return CTL_DONE;
}

static struct json_object *parameters_of(const struct wish *wish)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "to", json_object_new_string(wish->to));
    json_object_object_add(o, "connection", json_object_new_int(0));
    json_object_object_add(o, "keep", json_object_new_boolean(wish->keep));
    json_object_object_add(o, "timeout", json_object_new_int(wish->timeout_ms));
    return o;
}

/* Whether a person watches: one line then, which each phase overwrites. */
static bool redraws(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) != 0 && term != NULL && strcmp(term, "dumb") != 0;
}

static void print_phase(struct json_object *reply)
{
    long long remaining = ctl_int(reply, "remaining");
    char sent[FORMAT_BYTES];
    char left[FORMAT_BYTES];

    if (redraws())
        fputs("\r\033[K", stdout);
    printf("%-7s  %s sent", ctl_string(reply, "phase"), format_size(ctl_int(reply, "bytes"), sent));
    if (remaining > 0)
        printf(", %s to go", format_size(remaining, left));
    if (!redraws())
        putchar('\n');
}

static void print_end(const struct wish *wish, struct json_object *reply)
{
    char fds[FORMAT_BYTES];
    char size[FORMAT_BYTES];

    if (redraws())
        fputs("\r\033[K", stdout);
    printf("migrated to %s: %s, %s of state, blackout %lld us\n", wish->to,
           format_count(ctl_int(reply, "fds"), "fd", fds),
           format_size(ctl_int(reply, "bytes"), size), ctl_int(reply, "blackout") / 1000);
}

static void print(const struct ctl *ctl, const struct wish *wish, struct json_object *reply)
{
    bool last =
        strcmp(ctl_string(reply, "phase"), "running") == 0 && ctl_get(reply, "blackout") != NULL;

    if (ctl->json && !ctl->quiet)
        ctl_print_json(reply);
    else if (!ctl->quiet && last)
        print_end(wish, reply);
    else if (!ctl->quiet)
        print_phase(reply);
    fflush(stdout);
}

/* Prints replies until the last one. */
static int follow(const struct ctl *ctl, struct ctl_link *link, const struct wish *wish)
{
    bool over = false;
    int status = CTL_DONE;

    while (status == CTL_DONE && !over) {
        struct json_object *reply;

        status = ctl_wait(link, wish->timeout_ms + GRACE_MS, &reply);
        if (status != CTL_DONE)
            break;
        print(ctl, wish, reply);
        over = ctl_get(reply, "blackout") != NULL;
        ctl_set_line_open(link, redraws() && !ctl->json && !ctl->quiet && !over);
        json_object_put(reply);
    }
    return status;
}

static int run(const struct ctl *ctl, const struct ctl_args *args)
{
    struct ctl_link *link;
    struct wish wish;
    int status = parse(args, &wish);
    int fd;

    if (status == CTL_DONE)
        status = ctl_connect(ctl, &link);
    if (status != CTL_DONE)
        return status;
    fd = ctl_open(wish.to);
    if (fd < 0)
        status = CTL_UNREACHABLE;
    else
        status = ctl_send_fd(link, "Migrate", parameters_of(&wish), "more", fd);
    if (fd >= 0)
        close(fd); /* the daemons' alone: its end must be seen when one of them ends */
    if (status == CTL_DONE)
        status = follow(ctl, link, &wish);
    ctl_disconnect(link);
    return status;
}

const struct ctl_command ctl_migrate = {
    .name = "migrate",
    .summary = "move the running device to another vfio-userd on this host",
    .options = options,
    .help = "The client stays connected, and the guest has a pause of well under a millisecond or\n"
            "so. The destination must be described alike and have no client; its socket unit\n"
            "starts it where there is one. The source ends then. When something fails, the device\n"
            "goes on where it was. vfuctl only watches: the handover goes on without it.\n",
    .owners_only = true,
    .run = run,
};
