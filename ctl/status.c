/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "format.h"
#include "rows.h"

/* What only some clients have has a row only for them. */
static void print_ways(struct json_object *client)
{
    const char *state = ctl_string(client, "twin_socket");
    bool twin = strcmp(state, "open") == 0;
    bool interrupts = ctl_bool(client, "vm_interrupt");

    if (strcmp(state, "closed") == 0) {
        format_label("");
        puts("twin socket closed: no DMA and interrupts by message");
        return;
    }
    if (!twin && !interrupts)
        return;
    format_label("");
    printf("%s%s%s\n", twin ? "twin socket" : "", twin && interrupts ? ", " : "",
           interrupts ? "interrupts by message" : "");
}

static void print_client(struct json_object *client)
{
    char buf[2][FORMAT_BYTES];
    char uid[24] = "unknown";

    format_label("client");
    if (client == NULL) {
        puts("none");
        return;
    }
    if (ctl_get(client, "uid") != NULL)
        snprintf(uid, sizeof(uid), "%lld", ctl_int(client, "uid"));
    printf("pid %lld, uid %s, since %s\n", ctl_int(client, "pid"), uid,
           format_time(ctl_int(client, "since"), buf[0]));
    format_label("");
    printf("protocol %s, profile %s, at most %s a transfer\n", ctl_string(client, "protocol"),
           ctl_string(client, "profile"),
           format_size(ctl_int(client, "max_data_xfer_size"), buf[0]));
    print_ways(client);
    format_label("");
    printf("%s, %s\n", format_count(ctl_int(client, "requests"), "request", buf[0]),
           format_count(ctl_int(client, "errors"), "error", buf[1]));
}

static void print_timer(struct json_object *timer)
{
    char when[FORMAT_BYTES];

    format_label("timer");
    if (ctl_get(timer, "deadline") != NULL)
        printf("armed for %s\n", format_time(ctl_int(timer, "deadline"), when));
    else if (ctl_int(timer, "fired") != 0)
        printf("not armed; fired last at %s\n", format_time(ctl_int(timer, "fired"), when));
    else
        puts("not armed");
}

static void print_interrupts(struct json_object *irq)
{
    format_label("interrupts");
    printf("%lld raised; %s, line %s, status 0x%llx, enable 0x%llx\n", ctl_int(irq, "count"),
           ctl_string(irq, "mode"), ctl_bool(irq, "level") ? "asserted" : "not asserted",
           ctl_int(irq, "status"), ctl_int(irq, "enable"));
}

/* A device that is not on its way, and has not been, has no row. */
static void print_migration(struct json_object *migration)
{
    if (migration == NULL)
        return;
    if (ctl_get(migration, "moved_to") != NULL) {
        format_label("migration");
        printf("migrated to %s\n", ctl_string(migration, "moved_to"));
    } else if (strcmp(ctl_string(migration, "state"), "running") != 0) {
        format_label("migration");
        puts(ctl_string(migration, "state"));
    }
}

/* Without a service manager that holds anything there is no row. */
static void print_recovery(struct json_object *recovery)
{
    const char *state = recovery != NULL ? ctl_string(recovery, "state") : "off";
    const char *after = recovery != NULL ? ctl_string(recovery, "after") : "start";

    if (strcmp(state, "off") == 0)
        return;
    format_label("recovery");
    if (strcmp(state, "held") == 0) {
        printf("held, and no client is served: %s\n", ctl_string(recovery, "reason"));
        return;
    }
    printf("%s, %lld of %lld descriptors held%s%s\n",
           strcmp(state, "partly") == 0 ? "not of the client" : "on",
           ctl_int(recovery, "descriptors"), ctl_int(recovery, "max_descriptors"),
           strcmp(after, "start") != 0 ? "; this process follows a " : "",
           strcmp(after, "start") != 0 ? after : "");
}

static void print_log(struct json_object *status)
{
    if (ctl_get(status, "log_level") != NULL) {
        format_label("log level");
        puts(ctl_string(status, "log_level"));
    }
    if (ctl_bool(status, "capturing")) {
        format_label("capture");
        puts("a capture of the traffic is under way");
    }
}

static void print(struct json_object *status)
{
    struct json_object *identity = ctl_get(status, "identity");
    char buf[FORMAT_BYTES];

    format_label("instance");
    printf("%s: vfio-userd %s, pid %lld, up %s\n", ctl_string(status, "name"),
           ctl_string(status, "version"), ctl_int(status, "pid"),
           format_uptime(ctl_int(status, "uptime"), buf));
    format_label("device");
    printf("%04llx:%04llx (subsystem %04llx:%04llx), model %s, BAR1 %s\n",
           ctl_int(identity, "vendor"), ctl_int(identity, "device"),
           ctl_int(identity, "subsystem_vendor"), ctl_int(identity, "subsystem_device"),
           ctl_string(identity, "model"), format_size(ctl_int(status, "bar1_size"), buf));
    format_label("power");
    printf("%s, Bus Master %s\n", ctl_string(status, "power"),
           ctl_bool(status, "bus_master") ? "on" : "off");
    print_client(ctl_get(status, "client"));
    print_timer(ctl_get(status, "timer"));
    print_interrupts(ctl_get(status, "interrupts"));
    rows_print_dma(ctl_get(status, "dma"));
    print_migration(ctl_get(status, "migration"));
    print_recovery(ctl_get(status, "recovery"));
    print_log(status);
}

const struct ctl_command ctl_status = {
    .name = "status",
    .summary = "what the device is and does, and who is attached",
    .method = "GetStatus",
    .print = print,
};
