/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "ctl.h"

#define NS_PER_S 1000000000ll

/* "2026-11-22 14:03:07.250" in local time. */
static void format_time(long long ns, char *out, size_t size)
{
    time_t seconds = (time_t)(ns / NS_PER_S);
    struct tm tm;
    size_t len;

    localtime_r(&seconds, &tm);
    len = strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(out + len, size - len, ".%03lld", ns % NS_PER_S / 1000000);
}

/* "3 d 02:11:09" or "02:11:09". */
static void format_uptime(long long seconds, char *out, size_t size)
{
    long long days = seconds / 86400;
    int len = 0;

    if (days > 0)
        len = snprintf(out, size, "%lld d ", days);
    snprintf(out + len, size - (size_t)len, "%02lld:%02lld:%02lld", seconds / 3600 % 24,
             seconds / 60 % 60, seconds % 60);
}

/* "16 KiB", with as large a unit as leaves a whole number. */
static void format_size(long long bytes, char *out, size_t size)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB" };
    unsigned unit = 0;

    while (unit < 3 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, size, "%lld %s", bytes, units[unit]);
}

static void print_client(struct json_object *client)
{
    char since[64];
    char uid[24] = "unknown";

    if (client == NULL) {
        puts("client       none");
        return;
    }
    format_time(ctl_int(client, "since"), since, sizeof(since));
    if (ctl_get(client, "uid") != NULL)
        snprintf(uid, sizeof(uid), "%lld", ctl_int(client, "uid"));
    printf("client       pid %lld, uid %s, since %s\n", ctl_int(client, "pid"), uid, since);
    printf("             protocol %s, profile %s, %lld requests, %lld errors\n",
           ctl_string(client, "protocol"), ctl_string(client, "profile"),
           ctl_int(client, "requests"), ctl_int(client, "errors"));
}

static void print_timer(struct json_object *timer)
{
    char when[64];

    if (ctl_get(timer, "deadline") != NULL) {
        format_time(ctl_int(timer, "deadline"), when, sizeof(when));
        printf("timer        armed for %s\n", when);
    } else if (ctl_int(timer, "fired") != 0) {
        format_time(ctl_int(timer, "fired"), when, sizeof(when));
        printf("timer        not armed; fired last at %s\n", when);
    } else {
        puts("timer        not armed");
    }
}

static void print_interrupts(struct json_object *irq)
{
    printf("interrupts   %lld raised; %s, line %s, status 0x%llx, enable 0x%llx\n",
           ctl_int(irq, "count"), ctl_string(irq, "mode"),
           ctl_bool(irq, "level") ? "asserted" : "not asserted", ctl_int(irq, "status"),
           ctl_int(irq, "enable"));
}

static void print_dma(struct json_object *dma)
{
    char direct[32];
    char message[32];

    format_size(ctl_int(dma, "bytes_direct"), direct, sizeof(direct));
    format_size(ctl_int(dma, "bytes_message"), message, sizeof(message));
    printf("DMA          %lld maps, %lld of them shared through %lld file%s\n",
           ctl_int(dma, "maps"), ctl_int(dma, "shared"), ctl_int(dma, "files"),
           ctl_int(dma, "files") == 1 ? "" : "s");
    printf("             %s moved directly, %s by message\n", direct, message);
}

static void print_status(struct json_object *status)
{
    struct json_object *identity = ctl_get(status, "identity");
    char uptime[48];
    char bar1[32];

    format_uptime(ctl_int(status, "uptime"), uptime, sizeof(uptime));
    format_size(ctl_int(status, "bar1_size"), bar1, sizeof(bar1));
    printf("instance     %s: vfio-userd %s, pid %lld, up %s\n", ctl_string(status, "name"),
           ctl_string(status, "version"), ctl_int(status, "pid"), uptime);
    printf("device       %04llx:%04llx (subsystem %04llx:%04llx), model %s, BAR1 %s\n",
           ctl_int(identity, "vendor"), ctl_int(identity, "device"),
           ctl_int(identity, "subsystem_vendor"), ctl_int(identity, "subsystem_device"),
           ctl_string(identity, "model"), bar1);
    printf("power        %s, Bus Master %s\n", ctl_string(status, "power"),
           ctl_bool(status, "bus_master") ? "on" : "off");
    print_client(ctl_get(status, "client"));
    print_timer(ctl_get(status, "timer"));
    print_interrupts(ctl_get(status, "interrupts"));
    print_dma(ctl_get(status, "dma"));
}

static int run(const struct ctl *ctl, int argc, char **argv)
{
    struct json_object *reply;
    int status;

    if (argc > 1)
        return ctl_bad_usage(&ctl_status, "takes no arguments, not %s", argv[1]);
    status = ctl_call(ctl, "GetStatus", NULL, &reply);
    if (status != CTL_DONE)
        return status;
    if (ctl->json)
        ctl_print_json(reply);
    else if (!ctl->quiet)
        print_status(reply);
    json_object_put(reply);
    return CTL_DONE;
}

const struct ctl_command ctl_status = {
    .name = "status",
    .synopsis = "",
    .summary = "what the device is and does, and who is attached",
    .help = "",
    .run = run,
};
