/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the description of a running device again: what has changed, and whether it may while
 * the device runs. Decides only; whoever runs the device lets it hold.
 */
#ifndef VFIO_USERD_RELOAD_H
#define VFIO_USERD_RELOAD_H

#include <stdbool.h>

#include "device/description.h"

struct reload_outcome {
    struct description_difference changed[DESCRIPTION_MAX_DIFFERENCES]; /* all of them live */
    unsigned n_changed;                                                 /* 0 on failure */
    char reason[512];                                                   /* "" on success */
};

/*
 * Reads file over the default device, which is also what a NULL file is, or with optional one that
 * does not exist; and compares it with current. Returns 0 with *outcome the keys that differ and
 * *out what was read, for description_adopt, to be ended with description_fini. Else -EINVAL or
 * another -errno of reading, with a reason such as "FILE: bar1.size: changes only with a restart"
 * or the parser's; *out is untouched.
 */
int reload_read(const char *file, bool optional, const struct device_description *current,
                struct device_description *out, struct reload_outcome *outcome);

#endif
