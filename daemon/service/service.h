/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The service manager: everything that needs libsystemd, with the ifdefs inside. Without
 * libsystemd, or when not started by a service manager, all of it does nothing.
 *
 * libsystemd brings six other libraries along, more than half of what the daemon would weigh. So it
 * is loaded for as long as something is told to a service manager that has started us, and no
 * longer.
 */
#ifndef VFIO_USERD_SERVICE_H
#define VFIO_USERD_SERVICE_H

#include <stdbool.h>

/* Whether this build can talk to a service manager. */
bool service_available(void);

/* Both sockets answer. */
void service_ready(void);

/* The end has begun. */
void service_stopping(void);

#endif
