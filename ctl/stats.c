/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "format.h"
#include "openmetrics.h"
#include "rows.h"

/*
 * The table. A latency is known by its bucket, so what is told is the bucket's bound: so many were
 * answered within that time.
 */

enum column { NAME, REQUESTS, ERRORS, MEAN, HALF, MOST, ALL, N_COLUMNS };

/* Commands of vfio-user, and the head. */
#define MAX_ROWS 64

struct row {
    char cells[N_COLUMNS][FORMAT_BYTES];
    bool has_errors;
};

static long long total(struct json_object *latency)
{
    long long sum = 0;

    for (size_t i = 0; i < ctl_length(latency); i++)
        sum += json_object_get_int64(ctl_at(latency, i));
    return sum;
}

/* The bound that at least this many are within; n is their total. */
static void format_within(struct json_object *latency, struct json_object *bounds, long long many,
                          char out[FORMAT_BYTES])
{
    char text[FORMAT_BYTES];
    long long sum = 0;
    size_t i;

    for (i = 0; i < ctl_length(latency); i++) {
        sum += json_object_get_int64(ctl_at(latency, i));
        if (sum >= many)
            break;
    }
    if (i < ctl_length(bounds)) {
        format_duration((double)json_object_get_int64(ctl_at(bounds, i)), out);
    } else {
        format_duration((double)json_object_get_int64(ctl_at(bounds, ctl_length(bounds) - 1)),
                        text);
        snprintf(out, FORMAT_BYTES, "> %.40s", text);
    }
}

static void fill_row(struct row *row, struct json_object *command, struct json_object *bounds)
{
    struct json_object *latency = ctl_get(command, "latency");
    long long n = total(latency);

    row->has_errors = ctl_int(command, "errors") != 0;
    snprintf(row->cells[NAME], FORMAT_BYTES, "%s", ctl_string(command, "command"));
    snprintf(row->cells[REQUESTS], FORMAT_BYTES, "%lld", ctl_int(command, "requests"));
    snprintf(row->cells[ERRORS], FORMAT_BYTES, "%lld", ctl_int(command, "errors"));
    if (n == 0 || ctl_length(bounds) == 0) {
        for (int i = MEAN; i < N_COLUMNS; i++)
            strcpy(row->cells[i], "-");
        return;
    }
    format_duration((double)ctl_int(command, "latency_sum") / (double)n, row->cells[MEAN]);
    format_within(latency, bounds, n - n / 2, row->cells[HALF]);
    format_within(latency, bounds, n - n / 100, row->cells[MOST]);
    format_within(latency, bounds, n, row->cells[ALL]);
}

static void print_row(const struct row *row, const int widths[N_COLUMNS], bool head)
{
    printf("%s%-*s", format_style(head ? FORMAT_LABEL : FORMAT_PLAIN), widths[NAME],
           row->cells[NAME]);
    for (int i = REQUESTS; i < N_COLUMNS; i++) {
        bool bad = i == ERRORS && row->has_errors;

        printf("  %s%*s%s", bad ? format_style(FORMAT_BAD) : "", widths[i], row->cells[i],
               bad ? format_style(FORMAT_PLAIN) : "");
    }
    printf("%s\n", head ? format_style(FORMAT_PLAIN) : "");
}

static void print_commands(struct json_object *commands, struct json_object *bounds)
{
    struct row rows[MAX_ROWS] = { { .cells = { "command", "requests", "errors", "mean",
                                               "50 % within", "99 % within", "all within" } } };
    int widths[N_COLUMNS] = { 0 };
    size_t n = 1;

    if (ctl_length(commands) == 0) {
        puts("no requests of a client yet");
        return;
    }
    for (size_t i = 0; i < ctl_length(commands) && n < MAX_ROWS; i++)
        fill_row(&rows[n++], ctl_at(commands, i), bounds);
    for (size_t i = 0; i < n; i++) {
        for (int j = 0; j < N_COLUMNS; j++) {
            int len = (int)strlen(rows[i].cells[j]);

            widths[j] = len > widths[j] ? len : widths[j];
        }
    }
    for (size_t i = 0; i < n; i++)
        print_row(&rows[i], widths, i == 0);
}

static void print_table(struct json_object *stats)
{
    struct json_object *control = ctl_get(stats, "control");
    char buf[3][FORMAT_BYTES];

    format_label("since");
    puts(format_time(ctl_int(stats, "since"), buf[0]));
    format_label("clients");
    printf("%lld attached, %lld refused\n", ctl_int(stats, "clients"), ctl_int(stats, "refused"));
    format_label("interrupts");
    printf("%lld raised\n", ctl_int(stats, "interrupts"));
    format_label("resets");
    printf("%lld\n", ctl_int(stats, "resets"));
    rows_print_dma(ctl_get(stats, "dma"));
    format_label("control");
    printf("%s, %s, %s\n\n", format_count(ctl_int(control, "connections"), "connection", buf[0]),
           format_count(ctl_int(control, "calls"), "call", buf[1]),
           format_count(ctl_int(control, "errors"), "error", buf[2]));
    print_commands(ctl_get(stats, "commands"), ctl_get(stats, "latency_bounds"));
}

/*
 * The command
 */

enum { FORMAT };

static const struct ctl_option options[] = {
    [FORMAT] = { .name = "format",
                 .letter = 'f',
                 .value = "FORM",
                 .choices = "table|json|openmetrics",
                 .help = "in which form; table when not given\n"
                         "table: for people; json: the daemon's reply; openmetrics: for\n"
                         "Prometheus and others" },
    { 0 },
};

static void print(const struct ctl *ctl, const char *format, struct json_object *stats,
                  struct json_object *status)
{
    if (ctl->quiet)
        return;
    if (strcmp(format, "openmetrics") == 0)
        openmetrics_print(stats, status);
    else if (strcmp(format, "json") == 0)
        ctl_print_json(stats);
    else
        print_table(stats);
}

/* What the instance's name is, only the status says. */
static int run(const struct ctl *ctl, const struct ctl_args *args)
{
    const char *format = args->options[FORMAT];
    struct json_object *status = NULL;
    struct json_object *stats = NULL;
    struct ctl_link *link;
    int exit_status = ctl_connect(ctl, &link);

    if (exit_status != CTL_DONE)
        return exit_status;
    if (format == NULL)
        format = ctl->json ? "json" : "table";
    exit_status = ctl_ask(link, "GetStats", NULL, &stats);
    if (exit_status == CTL_DONE && strcmp(format, "openmetrics") == 0)
        exit_status = ctl_ask(link, "GetStatus", NULL, &status);
    if (exit_status == CTL_DONE)
        print(ctl, format, stats, status);
    json_object_put(stats);
    json_object_put(status);
    ctl_disconnect(link);
    return exit_status;
}

const struct ctl_command ctl_stats = {
    .name = "stats",
    .summary = "counters and latencies since the daemon's start",
    .help = "Latency is the time that the daemon takes from a request to its reply; of requests\n"
            "that want none there is no latency. The table says within which power of two of\n"
            "nanoseconds the half, 99 % and all were answered.\n",
    .options = options,
    .run = run,
};
