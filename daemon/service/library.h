/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libsystemd, loaded at run time. It brings six other libraries along, more than half of what the
 * daemon would weigh, so a process that no service manager has started does without.
 *
 * Only library.c has ifdefs: in a build without libsystemd nothing can be loaded, and the rest of
 * service/ is the same.
 */
#ifndef VFIO_USERD_SERVICE_LIBRARY_H
#define VFIO_USERD_SERVICE_LIBRARY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/* libsystemd's functions of these names, without their sd_; all NULL when it is not loaded. */
struct library {
    int (*notify)(int unset_environment, const char *state);
    int (*watchdog_enabled)(int unset_environment, uint64_t *usec);
    int (*listen_fds_with_names)(int unset_environment, char ***names);
    int (*journal_sendv)(const struct iovec *iov, int n);
};

/* Whether this build can load it. */
bool library_available(void);

/*
 * Loads it, for as long as the process lives. Returns 0 with *out written, -ENOSYS in a build
 * without, -ENOENT with the reason logged when it is not to be had.
 */
int library_load(struct library *out);

#endif
