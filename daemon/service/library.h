/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libsystemd, loaded while it is needed: at the start, when a service manager has started us. It
 * brings six other libraries along, more than half of what the daemon would weigh.
 *
 * Only library.c has ifdefs: in a build without libsystemd nothing can be loaded, and the rest of
 * service/ is the same.
 */
#ifndef VFIO_USERD_SERVICE_LIBRARY_H
#define VFIO_USERD_SERVICE_LIBRARY_H

#include <stdbool.h>
#include <stdint.h>

/* libsystemd's functions of these names, without their sd_. */
struct library {
    int (*watchdog_enabled)(int unset_environment, uint64_t *usec);
    int (*listen_fds_with_names)(int unset_environment, char ***names);
    void *handle;
};

/* Whether this build can load it. */
bool library_available(void);

/*
 * Loads it, until library_unload. Returns 0 with *out written, -ENOSYS in a build
 * without, -ENOENT with the reason logged when it is not to be had.
 */
int library_load(struct library *out);
void library_unload(struct library *l);

#endif
