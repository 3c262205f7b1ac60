/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device description: JSON in, struct device_description out. Every key is checked: unknown
 * ones, values out of range, capabilities that overlap are refused with the file, the path of the
 * key and the reason. Knows JSON and the description, and of the device only the layout rules.
 */
#ifndef VFIO_USERD_CONFIG_H
#define VFIO_USERD_CONFIG_H

#include "device/description.h"

/* Why a description was refused: "file: pci.capabilities[2].offset: reason". */
struct config_error {
    char text[512];
};

enum config_flags {
    CONFIG_OPTIONAL = 1, /* without the file, the default device; a link to nowhere is an error */
    CONFIG_REGULAR = 2,  /* nothing but a regular file, which no one has to write while we wait */
};

/*
 * Reads the description in file over the default device. Returns 0; 1 when there is none (file is
 * NULL, or flags allow it) and *out is the default device; -EINVAL, or the -errno of reading, with
 * *error written. *out is written only on success; end it with description_fini.
 */
int config_load(const char *file, unsigned flags, struct device_description *out,
                struct config_error *error);

/* The same from text; file is its name in errors. */
int config_parse(const char *file, const char *text, struct device_description *out,
                 struct config_error *error);

/*
 * Calls visit with the path of every key that there is: "bar1.size", and for those of a capability
 * its kind, "pci.capabilities[msi].vectors". The path is gone when visit returns.
 */
typedef void (*config_key_fn)(void *opaque, const char *path);
void config_each_key(config_key_fn visit, void *opaque);

/* What is odd about a valid description, one line, or NULL. Never freed. */
const char *config_warning(const struct device_description *d);

#endif
