/* SPDX-License-Identifier: BSD-3-Clause */
#include "reload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

/* The first key that must stay as it is and has not, or NULL. */
static const char *fixed_key(const struct reload_outcome *outcome)
{
    for (unsigned i = 0; i < outcome->n_changed; i++) {
        if (!outcome->changed[i].live)
            return outcome->changed[i].key;
    }
    return NULL;
}

/* A restart keeps the device that the guest has: see recover.h. */
static bool is_seen_by_guest(const char *key)
{
    return strncmp(key, "pci.", 4) == 0 || strcmp(key, "bar1.size") == 0 ||
           strcmp(key, "bar1.clear_on_reset") == 0 || strcmp(key, "dma_on_irq") == 0;
}

int reload_read(const char *file, bool optional, const struct device_description *current,
                struct device_description *out, struct reload_outcome *outcome)
{
    struct device_description d;
    struct config_error error;
    const char *key;
    int err;

    outcome->n_changed = 0;
    outcome->reason[0] = '\0';
    err = config_load(file, CONFIG_REGULAR | (optional ? CONFIG_OPTIONAL : 0), &d, &error);
    if (err < 0) {
        snprintf(outcome->reason, sizeof(outcome->reason), "%s", error.text);
        return err;
    }
    outcome->n_changed = description_compare(current, &d, outcome->changed);
    key = fixed_key(outcome);
    if (key == NULL) {
        *out = d;
        return 0;
    }
    snprintf(outcome->reason, sizeof(outcome->reason), "%s: %s: changes only with a %s",
             file != NULL ? file : "the default device", key,
             is_seen_by_guest(key) ? "stop and a start" : "restart");
    outcome->n_changed = 0;
    description_fini(&d);
    return -EINVAL;
}
