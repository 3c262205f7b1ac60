/* SPDX-License-Identifier: BSD-3-Clause */
#include "openmetrics.h"

#include <stdio.h>

#include "ctl.h"

#define NS_PER_S 1e9

static void begin(const char *name, const char *type, const char *unit, const char *help)
{
    printf("# TYPE vfio_userd_%s %s\n", name, type);
    if (unit != NULL)
        printf("# UNIT vfio_userd_%s %s\n", name, unit);
    printf("# HELP vfio_userd_%s %s\n", name, help);
}

/* name="text", with the escapes of the format. */
static void print_label(const char *name, const char *text)
{
    printf("%s=\"", name);
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"')
            putchar('\\');
        if (*text == '\n')
            fputs("\\n", stdout);
        else
            putchar(*text);
    }
    putchar('"');
}

/* The name and the labels of a sample; label may be NULL. */
static void print_series(const char *name, const char *suffix, struct json_object *status,
                         const char *label, const char *value)
{
    printf("vfio_userd_%s%s{", name, suffix);
    print_label("instance", ctl_string(status, "name"));
    if (label != NULL) {
        putchar(',');
        print_label(label, value);
    }
    putchar('}');
}

/* A metric with one sample. */
static void print_single(const char *name, const char *type, const char *help,
                         struct json_object *status, long long value)
{
    begin(name, type, NULL, help);
    print_series(name, "", status, NULL, NULL);
    printf(" %lld\n", value);
}

static void print_info(struct json_object *stats, struct json_object *status)
{
    begin("info", "gauge", NULL, "The daemon; always 1.");
    print_series("info", "", status, "version", ctl_string(status, "version"));
    puts(" 1");
    begin("start_time_seconds", "gauge", "seconds",
          "When the daemon was started, since the Epoch.");
    print_series("start_time_seconds", "", status, NULL, NULL);
    printf(" %.3f\n", (double)ctl_int(stats, "since") / NS_PER_S);
}

static void print_dma(struct json_object *dma, struct json_object *status)
{
    print_single("dma_maps", "gauge", "Regions of guest memory that the client told of.", status,
                 ctl_int(dma, "maps"));
    print_single("dma_maps_shared", "gauge", "Those of them that are shared with the daemon.",
                 status, ctl_int(dma, "shared"));
    print_single("dma_files", "gauge", "Files that these are in.", status, ctl_int(dma, "files"));
    begin("dma_bytes_total", "counter", NULL, "Bytes of DMA: direct, or by message.");
    print_series("dma_bytes_total", "", status, "path", "direct");
    printf(" %lld\n", ctl_int(dma, "bytes_direct"));
    print_series("dma_bytes_total", "", status, "path", "message");
    printf(" %lld\n", ctl_int(dma, "bytes_message"));
}

static void print_control(struct json_object *control, struct json_object *status)
{
    print_single("control_connections_total", "counter", "Connections to the control socket.",
                 status, ctl_int(control, "connections"));
    print_single("control_calls_total", "counter", "Calls to the control socket.", status,
                 ctl_int(control, "calls"));
    print_single("control_errors_total", "counter", "Calls that failed.", status,
                 ctl_int(control, "errors"));
}

/* A counter with a sample for each command. */
static void print_by_command(const char *name, const char *key, const char *help,
                             struct json_object *commands, struct json_object *status)
{
    if (ctl_length(commands) > 0)
        begin(name, "counter", NULL, help);
    for (size_t i = 0; i < ctl_length(commands); i++) {
        struct json_object *command = ctl_at(commands, i);

        print_series(name, "", status, "command", ctl_string(command, "command"));
        printf(" %lld\n", ctl_int(command, key));
    }
}

#define DURATION "request_duration_seconds"

static void print_histogram(struct json_object *command, struct json_object *bounds,
                            struct json_object *status)
{
    struct json_object *latency = ctl_get(command, "latency");
    const char *name = ctl_string(command, "command");
    long long sum = 0;

    for (size_t i = 0; i < ctl_length(latency); i++) {
        char le[32] = "+Inf";

        if (i < ctl_length(bounds))
            snprintf(le, sizeof(le), "%.10g",
                     (double)json_object_get_int64(ctl_at(bounds, i)) / NS_PER_S);
        sum += json_object_get_int64(ctl_at(latency, i));
        printf("vfio_userd_" DURATION "_bucket{");
        print_label("instance", ctl_string(status, "name"));
        putchar(',');
        print_label("command", name);
        printf(",le=\"%s\"} %lld\n", le, sum);
    }
    print_series(DURATION, "_sum", status, "command", name);
    printf(" %.9f\n", (double)ctl_int(command, "latency_sum") / NS_PER_S);
    print_series(DURATION, "_count", status, "command", name);
    printf(" %lld\n", sum);
}

static void print_requests(struct json_object *stats, struct json_object *status)
{
    struct json_object *commands = ctl_get(stats, "commands");

    print_by_command("requests_total", "requests", "Requests of vfio-user clients.", commands,
                     status);
    print_by_command("request_errors_total", "errors", "Requests that failed.", commands, status);
    if (ctl_length(commands) > 0)
        begin(DURATION, "histogram", "seconds",
              "From a request to its reply, of those that want one.");
    for (size_t i = 0; i < ctl_length(commands); i++)
        print_histogram(ctl_at(commands, i), ctl_get(stats, "latency_bounds"), status);
}

void openmetrics_print(struct json_object *stats, struct json_object *status)
{
    print_info(stats, status);
    print_single("client_attached", "gauge", "Whether a client is attached.", status,
                 ctl_get(status, "client") != NULL);
    print_single("clients_total", "counter", "Clients that have attached.", status,
                 ctl_int(stats, "clients"));
    print_single("clients_refused_total", "counter", "Clients that were turned away.", status,
                 ctl_int(stats, "refused"));
    print_single("interrupts_total", "counter", "Interrupts raised.", status,
                 ctl_int(stats, "interrupts"));
    print_single("resets_total", "counter", "Resets of the device.", status,
                 ctl_int(stats, "resets"));
    print_dma(ctl_get(stats, "dma"), status);
    print_control(ctl_get(stats, "control"), status);
    print_requests(stats, status);
    puts("# EOF");
}
