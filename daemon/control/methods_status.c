/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>

#include "config-build.h"
#include "log.h"
#include "method.h"
#include "migrate/migration.h"

#define NS_PER_S 1000000000ll

/*
 * GetStatus
 */

static struct json_object *identity(const struct device_description *d)
{
    struct json_object *o = json_object_new_object();

    method_add_string(o, "model", "timer");
    method_add_int(o, "vendor", d->pci.vendor);
    method_add_int(o, "device", d->pci.device);
    method_add_int(o, "subsystem_vendor", d->pci.subsystem_vendor);
    method_add_int(o, "subsystem_device", d->pci.subsystem_device);
    return o;
}

static struct json_object *client(const struct control_host *host)
{
    struct client_info info;

    return host->client(host->opaque, &info) ? method_client(&info) : NULL;
}

static struct json_object *timer(const struct timer_state *state)
{
    struct json_object *o = json_object_new_object();

    method_add(o, "deadline", state->deadline != 0 ? json_object_new_int64(state->deadline) : NULL);
    method_add_int(o, "fired", state->fired);
    return o;
}

static struct json_object *interrupts(struct device *dev)
{
    const struct device_state *state = device_state(dev);
    const struct irq *irq = device_irq(dev);
    struct json_object *o = json_object_new_object();

    method_add_string(o, "mode", method_irq_name(irq_mode(irq)));
    method_add_bool(o, "level", irq_level(irq));
    method_add_int(o, "status", state->timer.irq_status);
    method_add_int(o, "enable", state->timer.irq_enable);
    method_add_int(o, "count", (int64_t)irq_count(irq));
    return o;
}

static struct json_object *migration(const struct control_host *host)
{
    struct json_object *o = json_object_new_object();
    uint32_t driven = host->migration != NULL ? migration_state(host->migration)
                                              : (uint32_t)VFIO_DEVICE_STATE_RUNNING;
    const char *state = host->moving != NULL ? moving_state(host->moving) : NULL;
    const char *to = host->moving != NULL ? moving_went_to(host->moving) : NULL;

    method_add_string(o, "state", state != NULL ? state : migration_state_name(driven));
    method_add(o, "moved_to", to != NULL ? json_object_new_string(to) : NULL);
    return o;
}

static struct json_object *recovery(const struct control_host *host)
{
    struct control_recovery r = { .state = "off", .after = "start" };
    struct json_object *o = json_object_new_object();

    if (host->recovery != NULL)
        host->recovery(host->opaque, &r);
    method_add_string(o, "state", r.state);
    method_add(o, "reason", r.reason != NULL ? json_object_new_string(r.reason) : NULL);
    method_add_string(o, "after", r.after);
    method_add_int(o, "descriptors", r.descriptors);
    method_add_int(o, "max_descriptors", r.max_descriptors);
    return o;
}

void method_get_status(const struct control_host *host, struct json_object *parameters,
                       struct method_outcome *out)
{
    const struct device_description *d = device_description(host->dev);
    struct json_object *o = out->parameters;
    struct timespec now;

    (void)parameters;
    clock_gettime(CLOCK_MONOTONIC, &now);
    method_add_string(o, "name", host->name);
    method_add_string(o, "version", PACKAGE_VERSION);
    method_add_int(o, "pid", getpid());
    method_add_int(o, "uptime",
                   (now.tv_sec * NS_PER_S + now.tv_nsec - host->started_ns) / NS_PER_S);
    method_add(o, "identity", identity(d));
    method_add_string(o, "power", device_in_d0(host->dev) ? "D0" : "D3hot");
    method_add_bool(o, "bus_master", device_bus_master(host->dev));
    method_add_int(o, "bar1_size", (int64_t)d->bar1.size);
    method_add_string(o, "log_level", log_level_name(log_current_level()));
    method_add_bool(o, "capturing", host->capture != NULL && host->capturing(host->opaque));
    method_add(o, "client", client(host));
    method_add(o, "timer", timer(&device_state(host->dev)->timer));
    method_add(o, "interrupts", interrupts(host->dev));
    method_add(o, "dma", method_dma(host->dev));
    method_add(o, "migration", migration(host));
    method_add(o, "recovery", recovery(host));
}

/*
 * DumpConfig
 */

void method_dump_config(const struct control_host *host, struct json_object *parameters,
                        struct method_outcome *out)
{
    static const char hex[] = "0123456789abcdef";
    size_t size = device_config_size(host->dev);
    uint8_t config[PCI_SPACE_EXP_SIZE];
    char text[2 * PCI_SPACE_EXP_SIZE];

    (void)parameters;
    device_read(host->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, config, (uint32_t)size);
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = hex[config[i] >> 4];
        text[2 * i + 1] = hex[config[i] & 15];
    }
    method_add(out->parameters, "config", json_object_new_string_len(text, (int)(2 * size)));
}
