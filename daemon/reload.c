/* SPDX-License-Identifier: BSD-3-Clause */
#include "reload.h"

#include <errno.h>
#include <stdio.h>

#include "config.h"

static int read_description(const char *file, bool optional, struct device_description *out,
                            struct reload_outcome *outcome)
{
    struct config_error error;
    int err = file != NULL ? config_load(file, out, &error) : -ENOENT;

    if (err == -ENOENT && (file == NULL || optional)) {
        description_default(out);
        return 0;
    }
    if (err != 0)
        snprintf(outcome->reason, sizeof(outcome->reason), "%s", error.text);
    return err;
}

/* The first key that must stay as it is and has not, or NULL. */
static const char *fixed_key(const struct reload_outcome *outcome)
{
    for (unsigned i = 0; i < outcome->n_changed; i++) {
        if (!outcome->changed[i].live)
            return outcome->changed[i].key;
    }
    return NULL;
}

int reload_read(const char *file, bool optional, const struct device_description *current,
                struct device_description *out, struct reload_outcome *outcome)
{
    struct device_description d;
    const char *key;
    int err;

    outcome->n_changed = 0;
    outcome->reason[0] = '\0';
    err = read_description(file, optional, &d, outcome);
    if (err != 0)
        return err;
    outcome->n_changed = description_compare(current, &d, outcome->changed);
    key = fixed_key(outcome);
    if (key == NULL) {
        *out = d;
        return 0;
    }
    snprintf(outcome->reason, sizeof(outcome->reason), "%s: %s: changes only with a restart",
             file != NULL ? file : "the default device", key);
    outcome->n_changed = 0;
    description_fini(&d);
    return -EINVAL;
}
